package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Op is one change of a key.
type Op struct {
	Key   string
	Op    int8 // OpSet, ...
	Value string
}

// What an Op does, numbered as in IncrementalAlterConfigs.
const (
	OpSet      = 0
	OpDelete   = 1
	OpAppend   = 2 // to a List
	OpSubtract = 3 // from a List
)

// Errors that callers of Alter branch on: Kafka's INVALID_CONFIG and
// INVALID_REQUEST.
var (
	ErrInvalidConfig = errors.New("invalid configuration")
	ErrInvalidOp     = errors.New("invalid operation")
)

// fault is an error with a text of its own and one of the sentinels above.
type fault struct {
	text string
	kind error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

func refuse(kind error, format string, args ...any) error {
	return &fault{fmt.Sprintf(format, args...), kind}
}

// AlterTopic applies ops to a topic's overrides and returns the new ones, sorted
// by key. With replace, what ops do not set is removed. The overrides given are
// not changed.
func (s *Settings) AlterTopic(overrides []Override, ops []Op, replace bool) ([]Override, error) {
	return alter(overrides, ops, replace, TopicKey, func(d *Definition) string {
		text, _, _ := s.effective(d, true)
		return text
	})
}

// AlterBroker applies ops to a broker's dynamic overrides, or to those of all
// brokers, like AlterTopic.
func (s *Settings) AlterBroker(overrides []Override, ops []Op, replace bool) ([]Override, error) {
	for _, o := range ops {
		if d, ok := BrokerKey(o.Key); ok && d.Update == ReadOnly {
			return nil, refuse(ErrInvalidOp, "Cannot update these configs dynamically: Set(%s)", o.Key)
		}
	}
	return alter(overrides, ops, replace, BrokerKey, func(d *Definition) string {
		text, _, _ := s.effective(d, false)
		return text
	})
}

// NewTopic checks the overrides that a topic is created with.
func (s *Settings) NewTopic(overrides []Override) ([]Override, error) {
	ops := make([]Op, len(overrides))
	for i, o := range overrides {
		ops[i] = Op{Key: o.Key, Value: o.Value}
	}
	return s.AlterTopic(nil, ops, true)
}

func alter(current []Override, ops []Op, replace bool, find func(string) (*Definition, bool), below func(*Definition) string) ([]Override, error) {
	var next []Override
	if !replace {
		next = slices.Clone(current)
	}
	for i, o := range ops {
		for j := range ops[:i] {
			if ops[j].Key == o.Key {
				return nil, refuse(ErrInvalidOp, "Error due to duplicate config keys: %s", o.Key)
			}
		}
		d, ok := find(o.Key)
		if !ok {
			if _, set := get(next, o.Key); set && o.Op == OpDelete {
				next = without(next, o.Key) // of another version: it may go
				continue
			}
			return nil, refuse(ErrInvalidConfig, "Unknown topic config name: %s", o.Key)
		}
		var err error
		if next, err = apply(next, d, o, below); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func apply(next []Override, d *Definition, o Op, below func(*Definition) string) ([]Override, error) {
	value := strings.TrimSpace(o.Value)
	switch o.Op {
	case OpSet:
	case OpDelete:
		return without(next, o.Key), nil
	case OpAppend, OpSubtract:
		if d.Type != List {
			return nil, refuse(ErrInvalidConfig, "Can't %s to key %s because its type is not LIST.", opName(o.Op), o.Key)
		}
		have, set := get(next, o.Key)
		if !set {
			have = below(d)
		}
		value = combine(SplitList(have), SplitList(value), o.Op == OpAppend)
	default:
		return nil, refuse(ErrInvalidOp, "Unknown operation type %d", o.Op)
	}
	if err := d.Validate(value); err != nil {
		return nil, refuse(ErrInvalidConfig, "%s", err.Error())
	}
	return put(next, o.Key, value), nil
}

func opName(op int8) string {
	if op == OpAppend {
		return "APPEND"
	}
	return "SUBTRACT"
}

// combine adds the elements of change that are not there, or removes those that are.
func combine(have, change []string, add bool) string {
	for _, element := range change {
		at := slices.Index(have, element)
		switch {
		case add && at < 0:
			have = append(have, element)
		case !add && at >= 0:
			have = slices.Delete(have, at, at+1)
		}
	}
	return strings.Join(have, ",")
}

func without(list []Override, key string) []Override {
	return slices.DeleteFunc(list, func(o Override) bool { return o.Key == key })
}
