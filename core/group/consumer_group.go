package group

import (
	"errors"
	"log/slog"
	"time"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/group/consumer"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// consumerGroup is a group of the protocol of KIP-848. What is durable of it is in group; the rest is about time.
type consumerGroup struct {
	m     *Machine
	g     *Group
	group *consumer.Group
	timer task.Timer
	held  int64 // bytes that the shard counts
	epoch int32 // of the group, as it was counted last
	gone  bool
}

// applyConsumer applies a record of a consumer group.
func (m *Machine) applyConsumer(r *coordinator.Record) error {
	k, _, err := consumer.ParseKey(r.Key)
	if err != nil {
		return err
	}
	c := m.consumerOf(k.Group)
	if c == nil {
		if r.Value == nil {
			return nil
		}
		c = m.becomeConsumer(k.Group)
	}
	err = c.group.Apply(k, r.Value)
	if m.serving && errors.Is(err, consumer.ErrTwoOwners) { // a damaged log may say so, a decision never does
		telemetry.Assert(invariantOneOwner, false, "%v", err)
	}
	if err != nil {
		return err
	}
	c.applied()
	return nil
}

// invariantOneOwner is I13.
const invariantOneOwner = 13

// consumerOf finds a consumer group.
func (m *Machine) consumerOf(id string) *consumerGroup {
	if g := m.groups[id]; g != nil {
		c, _ := g.members.(*consumerGroup)
		return c
	}
	return nil
}

// becomeConsumer makes a group one of the new protocol, whatever it was: its records of the classic one end before.
func (m *Machine) becomeConsumer(id string) *consumerGroup {
	g := m.group(id)
	if g.members != nil {
		g.members.close(wire.RebalanceInProgress) // who waits joins again
	}
	c := &consumerGroup{m: m, g: g, group: consumer.NewGroup(id)}
	g.members = c
	return c
}

// applied follows the state after a record.
func (c *consumerGroup) applied() {
	c.m.shard.Hold(c.group.Bytes() - c.held)
	c.held = c.group.Bytes()
	if epoch := c.group.Epoch(); epoch != c.epoch {
		if c.epoch = epoch; c.m.serving {
			c.m.count.epochs.Add(1)
		}
	}
	if c.group.Gone() {
		c.close(wire.UnknownMemberID)
		c.g.members = nil
		c.m.forget(c.g)
	}
}

// context is what a decision looks at.
func (m *Machine) context(id string) *consumer.Context {
	return &consumer.Context{
		NowMillis: m.Env.Clock.WallMillis(), Topics: m.Image,
		TopicsVersion: m.topicsVersion, NewTopicsVersion: int64(m.topicsVersion), Config: m.groupConfig(id),
	}
}

func (m *Machine) groupConfig(id string) *config.ConsumerGroup {
	if m.GroupConfig != nil {
		return m.GroupConfig(id)
	}
	return &m.Config.ConsumerGroup
}

// TopicsChanged notes that topics may have changed: consumer groups look at theirs with the next heartbeat.
func (o *Options) TopicsChanged() { o.topicsVersion = max(o.Image.AppliedIndex(), 1) }

// rearm sets the timer to the next deadline of a member.
func (c *consumerGroup) rearm() {
	if c.m.closed || c.gone {
		return
	}
	now := c.m.Loop.Now()
	expired, next := c.group.Expired(now, c.m.groupConfig(c.g.id))
	switch {
	case len(expired) > 0:
		next = now
	case next == 0:
		c.m.stop(&c.timer)
		return
	}
	c.m.Loop.Reset(&c.timer, next.Sub(now), c.expire)
}

// expire fences the members whose session, or time to give back, is over: so many of them as one batch has room for, and then the
// others. If it cannot be written, it is tried again.
func (c *consumerGroup) expire() {
	id := c.g.id
	c.m.shard.Do(&coordinator.Operation{
		Key: id,
		Decide: func() []coordinator.Entry {
			if c.gone {
				return nil
			}
			expired, _ := c.group.Expired(c.m.Loop.Now(), c.m.groupConfig(id))
			expired = c.group.FirstRemoved(expired)
			c.m.count.expired.Add(int64(len(expired)))
			return c.fence(expired...)
		},
		Done: func(code wire.Code) {
			c.m.becomeClassic(id)
			if code == wire.None {
				c.rearm()
			} else if !c.m.closed && !c.gone {
				c.m.Loop.Reset(&c.timer, expireRetry, c.expire)
			}
		},
	})
}

// expireRetry is the wait after a fence that could not be written.
const expireRetry = time.Second

// fence removes members. If only classic ones are left, the group becomes classic, for which becomeClassic must follow.
func (c *consumerGroup) fence(members ...*consumer.Member) []coordinator.Entry {
	if len(members) > 0 && c.mayDowngrade(members...) {
		if entries := c.toClassic(members...); entries != nil {
			return entries
		}
	}
	return c.group.Fence(c.m.context(c.g.id), members...)
}

// resolve matches regular expressions off the loop, and writes what they matched.
func (c *consumerGroup) resolve(expressions []string) {
	c.group.SetResolving(true)
	version := int64(c.m.topicsVersion)
	topics := c.m.topicNames()
	var resolved map[string][]string
	c.m.Env.Compute.Submit(&env.Compute{
		Work: func() { resolved = consumer.Resolve(expressions, topics) },
		Done: func(*env.Compute) {
			c.group.SetResolving(false)
			switch {
			case c.m.closed || c.gone:
			case resolved == nil:
				c.m.warnTooLarge(c.g.id, wire.UnknownServerError)
			default:
				c.writeResolved(version, resolved)
			}
		},
	})
}

func (c *consumerGroup) writeResolved(version int64, resolved map[string][]string) {
	c.m.shard.Do(&coordinator.Operation{
		Key: c.g.id,
		Decide: func() []coordinator.Entry {
			if c.gone {
				return nil
			}
			if !c.m.shard.Admits(c.group.ResolvedGrowth(resolved)) {
				return nil
			}
			return c.group.Resolved(c.m.context(c.g.id), version, resolved)
		},
		Done: func(code wire.Code) { c.m.warnTooLarge(c.g.id, code) }, // a heartbeat finds out that it is still to be done
	})
}

// warnTooLarge tells an operator of a group that cannot be assigned: what belongs together is one batch.
func (m *Machine) warnTooLarge(id string, code wire.Code) {
	if code == wire.UnknownServerError {
		m.operators.Warn(m.Telemetry, "too large", m.Loop.Now(), "a consumer group cannot go on: its assignment, or the topics that its regular expressions match, "+
			"do not fit into one batch. Raise max.message.bytes of "+offsetsTopic+", or let fewer members share fewer partitions", slog.String("group", id))
	}
}

// topicNames lists the names of all topics, sorted. The list is shared until topics change.
func (o *Options) topicNames() []string {
	if o.namesVersion != o.topicsVersion {
		topics := o.Image.Topics()
		o.names = make([]string, len(topics))
		for i, t := range topics {
			o.names[i] = t.Name
		}
		o.namesVersion = o.topicsVersion
	}
	return o.names
}

// The methods of members.

func (c *consumerGroup) kind() Type           { return Consumer }
func (c *consumerGroup) state() string        { return c.group.State() }
func (c *consumerGroup) protocolType() string { return consumerProtocol }
func (c *consumerGroup) empty() bool          { return len(c.group.Members()) == 0 }

// expires lets offsets expire one by one, each since its commit, as Kafka does for groups of this type.
func (c *consumerGroup) expires() (may bool, since int64) { return true, -1 }

func (c *consumerGroup) admitsOffsetDelete() wire.Code { return wire.None }

func (c *consumerGroup) subscribes(topic string) bool { return c.group.SubscribedTo(topic) }

func (c *consumerGroup) admitsCommit(q *commitCheck) wire.Code { return c.admits(q, false) }

func (c *consumerGroup) admitsTxnCommit(q *commitCheck) wire.Code {
	if code := c.admits(q, true); code != wire.StaleMemberEpoch {
		return code
	}
	return wire.IllegalGeneration // producers do not know the other
}

func (c *consumerGroup) admits(q *commitCheck, isTransactional bool) wire.Code {
	instance := ""
	if q.instanceID != nil {
		instance = *q.instanceID
	}
	check, err := c.group.CheckCommit(q.memberID, instance, q.generation, isTransactional, q.version)
	for i := range q.partitions {
		if err == nil && check != nil {
			p := &q.partitions[i]
			err = check(p.Topic, p.TopicID, p.Index)
		}
	}
	if err != nil {
		return codeOf(err)
	}
	if m := c.group.Member(q.memberID); m != nil && m.Classic != nil {
		c.group.Heard(m.ID, c.m.Loop.Now(), c.m.groupConfig(c.g.id))
	}
	return wire.None
}

func (c *consumerGroup) admitsFetch(memberID *string, epoch int32) wire.Code {
	if err := c.group.CheckFetch(memberID, epoch); err != nil {
		return codeOf(err)
	}
	return wire.None
}

func codeOf(err error) wire.Code {
	var refusal *consumer.Refusal
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return wire.UnknownServerError
}

func (c *consumerGroup) entries() []coordinator.Entry    { return c.group.Rewrite() }
func (c *consumerGroup) tombstones() []coordinator.Entry { return c.group.Tombstones() }

func (c *consumerGroup) serve() {
	c.rearm()
	c.m.Loop.Post(func() { c.downgrade(func() {}) })
}

func (c *consumerGroup) answerParked(wire.Code) {}

func (c *consumerGroup) close(wire.Code) {
	c.gone = true
	c.m.stop(&c.timer)
	c.m.shard.Hold(-c.held)
	c.held = 0
}
