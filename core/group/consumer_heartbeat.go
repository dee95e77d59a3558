package group

import (
	"errors"
	"strings"

	"weir/core/coordinator"
	"weir/core/group/consumer"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerCall is a ConsumerGroupHeartbeat request under way.
type consumerCall struct {
	m      *Machine
	r      *kmsg.ConsumerGroupHeartbeatRequest
	client Client
	answer *kmsg.ConsumerGroupHeartbeatResponse
	failed error
	// wrote says that records were written; resolve are expressions to be resolved then.
	wrote   bool
	resolve []string
}

// RefuseConsumerHeartbeat validates what of a ConsumerGroupHeartbeat can be said without its group, and returns the answer
// if it is refused, else nil.
func RefuseConsumerHeartbeat(r *kmsg.ConsumerGroupHeartbeatRequest, assignors []string) *kmsg.ConsumerGroupHeartbeatResponse {
	if err := consumer.CheckHeartbeat(r, assignors); err != nil {
		return (&consumerCall{r: r, failed: err}).response()
	}
	return nil
}

// ConsumerHeartbeat handles a ConsumerGroupHeartbeat that RefuseConsumerHeartbeat has passed. The request must not lie in memory that is
// given back. done runs once.
func (m *Machine) ConsumerHeartbeat(r *kmsg.ConsumerGroupHeartbeatRequest, client Client, done func(*kmsg.ConsumerGroupHeartbeatResponse)) {
	call := &consumerCall{m: m, r: r, client: client}
	if r.MemberID == "" {
		r.MemberID = m.newMemberID()
	}
	m.shard.Do(&coordinator.Operation{
		Key:    r.Group,
		Bytes:  heartbeatBytes(r),
		Decide: call.decide,
		Done: func(code wire.Code) {
			call.decided(code)
			done(call.response())
		},
	})
}

func (call *consumerCall) decide() []coordinator.Entry {
	group, before, err := call.find()
	if err != nil {
		call.failed = err
		return nil
	}
	d, err := group.Heartbeat(call.m.context(call.r.Group), call.r, consumer.Client(call.client))
	if err != nil {
		call.failed = err
		return nil
	}
	call.answer, call.resolve = d.Answer, d.Resolve
	entries := append(before, d.Entries...)
	if c := call.m.consumerOf(call.r.Group); c != nil && d.Fenced != nil {
		entries = c.fence(d.Fenced) // which may make the group classic
	}
	call.wrote = len(entries) > 0
	return entries
}

// find returns the group of the request, and what must be written before anything of it. A group comes to be
// with the first member that joins; an empty one of the classic protocol changes its type.
func (call *consumerCall) find() (*consumer.Group, []coordinator.Entry, error) {
	m, r := call.m, call.r
	joins := r.MemberEpoch == 0
	g := m.groups[r.Group]
	switch {
	case g == nil && r.MemberEpoch < 0:
		return nil, nil, notFound("Group %s not found.", r.Group)
	case g == nil && !joins:
		return nil, nil, notFound("Consumer group %s not found.", r.Group)
	case !m.shard.Admits(m.heartbeatGrowth(g, call)):
		return nil, nil, outOfMemory
	case g == nil || g.members == nil && joins:
		return consumer.NewGroup(r.Group), nil, nil
	}
	switch members := g.members.(type) {
	case *consumerGroup:
		return members.group, nil, nil
	case *classic:
		switch {
		case joins && members.phase == phaseEmpty:
			return consumer.NewGroup(r.Group), members.tombstones(), nil
		case joins:
			group, err := members.upgraded()
			if err != nil {
				return nil, nil, err
			}
			return group, append(members.tombstones(), group.Rewrite()...), nil
		}
	}
	return nil, nil, notFound("Group %s is not a consumer group.", r.Group)
}

// outOfMemory refuses what the coordinators have no memory for.
var outOfMemory = &consumer.Refusal{Code: wire.CoordinatorNotAvailable, Message: "Groups, offsets and transactional ids hold as much memory as they may."}

// heartbeatGrowth is how many bytes more a group holds with what a request says of its member.
func (m *Machine) heartbeatGrowth(g *Group, call *consumerCall) int64 {
	client := consumer.Client(call.client)
	if g != nil {
		if c, ok := g.members.(*consumerGroup); ok {
			return c.group.Growth(call.r, client)
		}
		return consumer.NewGroup(g.id).Growth(call.r, client)
	}
	return (&Group{id: call.r.Group}).bytes() + consumer.NewGroup(call.r.Group).Growth(call.r, client)
}

func notFound(format, group string) error {
	return &consumer.Refusal{Code: wire.GroupIDNotFound, Message: strings.Replace(format, "%s", group, 1)}
}

// decided goes on once the records are applied.
func (call *consumerCall) decided(code wire.Code) {
	if code != wire.None && call.failed == nil {
		call.failed = &consumer.Refusal{Code: code}
		call.m.warnTooLarge(call.r.Group, code)
	}
	call.m.becomeClassic(call.r.Group)
	c := call.m.consumerOf(call.r.Group)
	if call.failed != nil || c == nil || call.m.closed {
		return
	}
	if call.r.MemberEpoch >= 0 {
		c.group.Heard(call.r.MemberID, call.m.Loop.Now(), call.m.groupConfig(call.r.Group))
	}
	if call.wrote || !c.timer.Pending() {
		c.rearm()
	}
	if call.resolve != nil && !c.group.Resolving() {
		c.resolve(call.resolve)
	}
}

func (call *consumerCall) response() *kmsg.ConsumerGroupHeartbeatResponse {
	if call.failed == nil {
		return call.answer
	}
	out := call.r.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	out.ErrorCode = wire.UnknownServerError
	var refusal *consumer.Refusal
	if errors.As(call.failed, &refusal) {
		out.ErrorCode = int16(refusal.Code)
		if refusal.Message != "" {
			out.ErrorMessage = &refusal.Message
		}
	}
	return out
}

// DescribeConsumer handles one group of ConsumerGroupDescribe.
func (m *Machine) DescribeConsumer(id string) kmsg.ConsumerGroupDescribeResponseGroup {
	if c := m.consumerOf(id); c != nil {
		return c.group.Describe(m.context(id))
	}
	text := "Group " + id + " not found."
	if g := m.groups[id]; g != nil {
		text = "Group " + id + " is not a consumer group."
	}
	out := kmsg.NewConsumerGroupDescribeResponseGroup()
	out.Group, out.ErrorCode, out.ErrorMessage = id, wire.GroupIDNotFound, &text
	return out
}
