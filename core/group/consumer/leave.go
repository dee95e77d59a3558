package consumer

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/coordinator"
)

// leave decides on a heartbeat with which a member leaves.
func (g *Group) leave(c *Context, r *kmsg.ConsumerGroupHeartbeatRequest) (Decision, error) {
	out := r.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	out.MemberID, out.MemberEpoch = &r.MemberID, r.MemberEpoch
	m := g.Member(r.MemberID)
	switch {
	case r.InstanceID != nil:
		m = g.Static(*r.InstanceID)
		if err := g.checkStatic(m, r.MemberID, *r.InstanceID); err != nil {
			return Decision{}, err
		}
	case m == nil:
		return Decision{}, g.unknownMember(r.MemberID)
	}
	if r.MemberEpoch == epochLeaveStatic {
		return Decision{Entries: g.leaveForAWhile(m), Answer: out}, nil
	}
	return Decision{Entries: g.Fence(c, m), Answer: out, Fenced: m}, nil
}

// leaveForAWhile keeps a static member's seat and partitions until its session ends, or it comes back. What it was
// told to give back is free: it consumes nothing any more.
func (g *Group) leaveForAWhile(m *Member) []coordinator.Entry {
	left := m.current()
	left.epoch, left.revoking = epochStaticLeft, nil
	return []coordinator.Entry{entry(Key{TypeCurrent, g.ID, m.ID}, left)}
}

// Fence removes members, and bumps the group epoch once. Without members it writes nothing.
func (g *Group) Fence(c *Context, members ...*Member) (entries []coordinator.Entry) {
	if len(members) == 0 {
		return nil
	}
	gone := make(map[string]int, 1) // members less for an expression
	for _, m := range members {
		entries = append(entries, g.removal(m.ID)...)
		if m.Expression == "" {
			continue
		}
		gone[m.Expression]++
		if n, _ := g.subscribed.Get(m.Expression); n == gone[m.Expression] {
			entries = append(entries, entry(Key{TypeExpression, g.ID, m.Expression}, nil))
		}
	}
	epoch := g.value.epoch + 1
	entries = append(entries, entry(Key{TypeGroup, g.ID, ""}, groupValue{epoch, g.hashWithout(c, members)}))
	if len(g.members) == len(members) {
		// Nothing is to be assigned: the empty group is as it should be (KAFKA-20442).
		entries = append(entries, entry(Key{TypeTarget, g.ID, ""}, targetValue{epoch: epoch}))
	}
	return entries
}

// removalBytesMax bounds the tombstones of members that are removed together. Kafka's default of max.message.bytes is four times as much.
const removalBytesMax = 256 << 10

// FirstRemoved returns the first of some members, at least one if there is one: so many as may be removed in one batch.
func (g *Group) FirstRemoved(members []*Member) []*Member {
	bytes := 0
	for i, m := range members {
		bytes += len(m.Expression)
		for _, e := range g.removal(m.ID) {
			bytes += len(e.Key)
		}
		if bytes > removalBytesMax && i > 0 {
			return members[:i]
		}
	}
	return members
}

// Tombstones removes the group.
func (g *Group) Tombstones() (entries []coordinator.Entry) {
	for _, m := range g.members {
		entries = append(entries, g.removal(m.ID)...)
	}
	for _, id := range sortedKeys(g.targets) {
		if g.Member(id) == nil {
			entries = append(entries, entry(Key{TypeTargetOf, g.ID, id}, nil))
		}
	}
	g.expressions.Scan(func(text string, _ *Resolved) bool {
		entries = append(entries, entry(Key{TypeExpression, g.ID, text}, nil))
		return true
	})
	entries = append(entries, entry(Key{TypeTarget, g.ID, ""}, nil))
	if g.oldPartitions {
		entries = append(entries, entry(Key{TypePartitions, g.ID, ""}, nil))
	}
	return append(entries, entry(Key{TypeGroup, g.ID, ""}, nil))
}

// Rewrite returns records that make the group as it is.
func (g *Group) Rewrite() (entries []coordinator.Entry) {
	if g.Gone() {
		return nil
	}
	for _, m := range g.members {
		if m.known {
			entries = append(entries, entry(Key{TypeMember, g.ID, m.ID}, memberValue{m.Metadata}))
		}
		if m.placed {
			entries = append(entries, entry(Key{TypeCurrent, g.ID, m.ID}, m.current()))
		}
	}
	for _, id := range sortedKeys(g.targets) {
		entries = append(entries, entry(Key{TypeTargetOf, g.ID, id}, targetOfValue{g.targets[id]}))
	}
	g.expressions.Scan(func(text string, r *Resolved) bool {
		entries = append(entries, entry(Key{TypeExpression, g.ID, text}, expressionValue{*r}))
		return true
	})
	if g.written.target {
		entries = append(entries, entry(Key{TypeTarget, g.ID, ""}, g.target))
	}
	if g.written.group {
		entries = append(entries, entry(Key{TypeGroup, g.ID, ""}, g.value))
	}
	return entries
}
