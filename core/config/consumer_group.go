package config

import (
	"errors"
	"fmt"
	"time"
)

// ConsumerGroup is what is configured for a consumer group (KIP-848): by its own keys, else by the broker's.
type ConsumerGroup struct {
	// SessionTimeout is consumer.session.timeout.ms, else group.consumer.session.timeout.ms: how long a member
	// may be silent. More than HeartbeatInterval.
	SessionTimeout time.Duration
	// HeartbeatInterval is consumer.heartbeat.interval.ms, else group.consumer.heartbeat.interval.ms, which members are
	// told to keep.
	HeartbeatInterval time.Duration
	// AssignmentInterval is consumer.assignment.interval.ms, else group.consumer.assignment.interval.ms: the shortest time
	// between two assignments. 0: every change is assigned at once, which costs large groups much.
	AssignmentInterval time.Duration
	// ExpressionRefresh is group.consumer.regex.refresh.interval.ms: how often expressions are matched again.
	ExpressionRefresh time.Duration
	// MaxSize is group.consumer.max.size, at least 1: how many members a group may have.
	MaxSize int
	// Assignors is group.consumer.assignors, by name, the default first. At least one.
	Assignors []string
	// Upgrade and Downgrade say by group.consumer.migration.policy whether a group with members may change to the
	// consumer protocol, and back.
	Upgrade, Downgrade bool
}

// pairedKey is a group key that has bounds by broker keys.
type pairedKey struct{ key, broker, minimum, maximum string }

var pairedKeys = []pairedKey{
	{"consumer.session.timeout.ms", "group.consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"consumer.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.assignment.interval.ms", "group.consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
}

// ConsumerGroup resolves the configuration of a group with overrides, which may be nil. An override that is not valid counts as not
// set; a value that is outside of the broker's bounds, which may have changed since it was set, as the nearest bound.
func (s *Settings) ConsumerGroup(overrides []Override) ConsumerGroup {
	value := func(key string) time.Duration { return s.pairedMillis(key, overrides) }
	policy := s.text("group.consumer.migration.policy")
	return ConsumerGroup{
		SessionTimeout:     value("consumer.session.timeout.ms"),
		HeartbeatInterval:  value("consumer.heartbeat.interval.ms"),
		AssignmentInterval: value("consumer.assignment.interval.ms"),
		ExpressionRefresh:  s.millis("group.consumer.regex.refresh.interval.ms"),
		MaxSize:            int(s.integer("group.consumer.max.size")),
		Assignors:          SplitList(s.text("group.consumer.assignors")),
		Upgrade:            policy == "bidirectional" || policy == "upgrade",
		Downgrade:          policy == "bidirectional" || policy == "downgrade",
	}
}

func (s *Settings) pairedMillis(key string, overrides []Override) time.Duration {
	for _, p := range pairedKeys {
		if p.key != key {
			continue
		}
		n := s.integer(p.broker)
		d, _ := find(groupKeys, key)
		for _, o := range overrides {
			if o.Key == key && d.Validate(o.Value) == nil {
				n, _ = parseInteger(o.Value)
			}
		}
		return millis(min(max(n, s.integer(p.minimum)), s.integer(p.maximum)))
	}
	panic("config: no paired key " + key)
}

// checkConsumerGroups validates the broker's keys of consumer groups against each other.
func (s *Settings) checkConsumerGroups() error {
	var faults []error
	for _, p := range pairedKeys {
		low, value, high := s.integer(p.minimum), s.integer(p.broker), s.integer(p.maximum)
		switch {
		case high < low:
			faults = append(faults, fmt.Errorf("%s (%d) must be greater than or equal to %s (%d)", p.maximum, high, p.minimum, low))
		case value < low:
			faults = append(faults, fmt.Errorf("%s (%d) must be greater than or equal to %s (%d)", p.broker, value, p.minimum, low))
		case value > high:
			faults = append(faults, fmt.Errorf("%s (%d) must be less than or equal to %s (%d)", p.broker, value, p.maximum, high))
		}
	}
	if g := s.ConsumerGroup(nil); g.HeartbeatInterval >= g.SessionTimeout {
		faults = append(faults, fmt.Errorf("group.consumer.heartbeat.interval.ms (%d) must be less than group.consumer.session.timeout.ms (%d): members would expire between heartbeats",
			g.HeartbeatInterval.Milliseconds(), g.SessionTimeout.Milliseconds()))
	}
	return errors.Join(faults...)
}

// AlterGroup applies ops to a group's overrides, like AlterTopic. The keys of a group are validated against the bounds that
// the broker has for them, and against each other (KAFKA-17618).
func (s *Settings) AlterGroup(overrides []Override, ops []Op, replace bool) ([]Override, error) {
	next, err := alter(overrides, ops, replace, "group", GroupKey, func(d *Definition) string { return "" })
	if err != nil {
		return nil, err
	}
	for _, p := range pairedKeys {
		text, set := get(next, p.key)
		n, _ := parseInteger(text) // validated
		if low, high := s.integer(p.minimum), s.integer(p.maximum); set && (n < low || n > high) {
			return nil, refuse(ErrInvalidConfig, "%s must be in the range %d to %d inclusive.", p.key, low, high)
		}
	}
	if g := s.ConsumerGroup(next); g.HeartbeatInterval >= g.SessionTimeout {
		return nil, refuse(ErrInvalidConfig, "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms.")
	}
	return next, nil
}
