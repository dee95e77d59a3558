package cases

import (
	"fmt"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// modern are the API keys that KIP-848 needs.
var modern = []int16{68, 69}

func consumerHeartbeat() []suite.Case {
	return suite.OfAPI(68,
		suite.Case{Name: "a member joins", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 3)
			m := newConsumer(c, c.Name("g"), c.Name("m"), t)
			r := m.join()
			c.Equal("MemberID", *r.MemberID, c.Name("m"))
			c.True("the member epoch is positive", r.MemberEpoch > 0)
			c.Equal("HeartbeatIntervalMillis", r.HeartbeatIntervalMillis, c.ConfigInt("group.consumer.heartbeat.interval.ms", 1<<30))
			c.True("there is an assignment", r.Assignment != nil)
			settle(3, m)
			c.Equal("assigned", m.assigned, []string{t.name + "/0", t.name + "/1", t.name + "/2"})
		}},
		suite.Case{Name: "the broker makes a member id", Versions: only(0), Needs: modern, Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), "", newTopic(c, "t", 1))
			r := m.join()
			c.True("there is a member id", r.MemberID != nil && *r.MemberID != "")
		}},
		suite.Case{Name: "no member id", Versions: from(1), Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), "")
			c.Code(m.try(m.full(0)).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			m := newConsumer(c, "", "m")
			r := m.try(m.full(0))
			c.Code(r.ErrorCode, kerr.InvalidRequest)
			c.True("there is a message", r.ErrorMessage != nil)
		}},
		suite.Case{Name: "no rebalance timeout", Run: func(c *suite.C) {
			refused(c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })
		}},
		suite.Case{Name: "no owned partitions", Run: func(c *suite.C) { refused(c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil }) }},
		suite.Case{Name: "owned partitions at epoch 0", Run: func(c *suite.C) {
			refused(c, func(r *kmsg.ConsumerGroupHeartbeatRequest) {
				own := kmsg.NewConsumerGroupHeartbeatRequestTopic()
				own.TopicID, own.Partitions = [16]byte{1}, []int32{0}
				r.Topics = append(r.Topics, own)
			})
		}},
		suite.Case{Name: "no subscription", Run: func(c *suite.C) {
			refused(c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil })
		}},
		suite.Case{Name: "empty rack", Run: func(c *suite.C) { refused(c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = pointer("") }) }},
		suite.Case{Name: "empty instance", Run: func(c *suite.C) {
			refused(c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = pointer("") })
		}},
		suite.Case{Name: "an instance leaves for a while without a name", Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), "m")
			c.Code(m.try(m.leaving(-2)).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "a negative epoch", Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), "m")
			c.Code(m.try(m.full(-5)).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "unknown assignor", Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), "m")
			m.assignor = pointer("nonsense")
			c.Code(m.try(m.full(0)).ErrorCode, kerr.UnsupportedAssignor)
		}},
		suite.Case{Name: "an empty subscription joins", Needs: modern, Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), c.Name("m"))
			m.join()
			settle(0, m)
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), "m")
			c.Code(m.try(m.bare(3)).ErrorCode, kerr.GroupIDNotFound)
			c.Code(m.try(m.leaving(-1)).ErrorCode, kerr.GroupIDNotFound)
		}},
		suite.Case{Name: "unknown member", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			other := newConsumer(c, m.group, "other")
			c.Code(other.try(other.bare(m.epoch)).ErrorCode, kerr.UnknownMemberID)
			c.Code(other.try(other.leaving(-1)).ErrorCode, kerr.UnknownMemberID)
		}},
		suite.Case{Name: "a later epoch is fenced", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			c.Code(m.try(m.bare(m.epoch+1)).ErrorCode, kerr.FencedMemberEpoch)
		}},
		suite.Case{Name: "the epoch before is accepted with its partitions", Needs: modern, Run: func(c *suite.C) {
			t, other := newTopic(c, "t", 1), newTopic(c, "other", 1)
			m := alone(c, c.Name("g"), 1, t)
			before, owned := m.epoch, m.owned
			m.names[other.id], m.topics = other.name, []string{other.name, t.name}
			m.took(m.try(m.full(m.epoch)))
			settle(2, m)
			c.Equal("epoch", m.epoch, before+1)
			r := m.bare(before)
			r.Topics = owned
			answer := m.try(r)
			c.OK(answer.ErrorCode)
			c.Equal("MemberEpoch", answer.MemberEpoch, m.epoch)
			c.Code(m.try(m.bare(before)).ErrorCode, kerr.FencedMemberEpoch, "the epoch before without partitions")
		}},
		suite.Case{Name: "epoch 0 joins again", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 2, newTopic(c, "t", 2))
			epoch := m.epoch
			r := m.join()
			c.Equal("MemberEpoch", r.MemberEpoch, epoch)
			c.Equal("assigned", len(m.assigned), 2)
		}},
		suite.Case{Name: "a bare heartbeat has no assignment", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			r := m.beat()
			c.True("there is no assignment", r.Assignment == nil)
			c.Equal("MemberEpoch", r.MemberEpoch, m.epoch)
		}},
		suite.Case{Name: "a full heartbeat has the assignment", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			r := m.try(m.full(m.epoch))
			c.OK(r.ErrorCode)
			c.True("there is an assignment", r.Assignment != nil && len(r.Assignment.Topics) == 1)
		}},
		suite.Case{Name: "the same subscription raises no epoch", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 2, newTopic(c, "a", 1), newTopic(c, "b", 1))
			r := m.full(m.epoch)
			r.SubscribedTopicNames = []string{m.topics[1], m.topics[0]}
			c.Equal("MemberEpoch", m.try(r).MemberEpoch, m.epoch)
			c.Equal("Epoch", describeConsumers(c, m.group).Epoch, m.epoch)
		}},
		suite.Case{Name: "leaving", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			r := m.try(m.leaving(-1))
			c.OK(r.ErrorCode)
			c.Equal("MemberEpoch", r.MemberEpoch, -1)
			c.Code(m.try(m.bare(m.epoch)).ErrorCode, choose(describeConsumers(c, m.group).State == "Dead", kerr.GroupIDNotFound, kerr.UnknownMemberID))
		}},
		suite.Case{Name: "a full group", Needs: modern, Run: func(c *suite.C) {
			size := c.ConfigInt("group.consumer.max.size", 50)
			t := newTopic(c, "t", 1)
			for i := range size {
				newConsumer(c, c.Name("g"), fmt.Sprint("m", i), t).join()
			}
			extra := newConsumer(c, c.Name("g"), "extra", t)
			c.Code(extra.try(extra.full(0)).ErrorCode, kerr.GroupMaxSizeReached)
		}},
		suite.Case{Name: "a group of offsets becomes one of consumers", Needs: append([]int16{8, 9}, modern...), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 7)
			m := alone(c, c.Name("g"), 1, t)
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
		}},
	)
}

// refused changes a request to join, which is then invalid.
func refused(c *suite.C, change func(*kmsg.ConsumerGroupHeartbeatRequest)) {
	m := newConsumer(c, c.Name("g"), "m")
	r := m.full(0)
	change(r)
	answer := m.try(r)
	c.Code(answer.ErrorCode, kerr.InvalidRequest)
	c.True("there is a message", answer.ErrorMessage != nil)
}

func consumerRebalance() []suite.Case {
	return suite.OfAPI(68,
		suite.Case{Name: "partitions move once they are revoked", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 4)
			a := alone(c, c.Name("g"), 4, t)
			before := a.epoch
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			c.Equal("assigned before", len(b.assigned), 0)
			c.Poll("partitions are to be revoked", func() bool { return a.beat().Assignment != nil })
			c.Equal("kept", len(a.assigned), 2)
			c.Equal("epoch while it revokes", a.epoch, before)
			b.beat()
			c.Equal("assigned before the revocation", len(b.assigned), 0)
			a.confirm()
			c.Equal("epoch once it has revoked", a.epoch, before+1)
			settle(4, a, b)
			c.Equal("assigned", []int{len(a.assigned), len(b.assigned)}, []int{2, 2})
		}},
		suite.Case{Name: "a leaver's partitions go to the others", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 4)
			a := alone(c, c.Name("g"), 4, t)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			settle(4, a, b)
			epoch := a.epoch
			c.OK(b.try(b.leaving(-1)).ErrorCode)
			settle(4, a)
			c.Equal("epoch", a.epoch, epoch+1)
		}},
		suite.Case{Name: "a third member takes the fewest", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 6)
			a := alone(c, c.Name("g"), 6, t)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			settle(6, a, b)
			hadA, hadB := a.assigned, b.assigned
			d := newConsumer(c, a.group, c.Name("d"), t)
			d.join()
			settle(6, a, b, d)
			c.Equal("assigned", []int{len(a.assigned), len(b.assigned), len(d.assigned)}, []int{2, 2, 2})
			c.True("members keep what they had", contains(hadA, a.assigned) && contains(hadB, b.assigned))
		}},
		suite.Case{Name: "a joiner during a revocation", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 6)
			a := alone(c, c.Name("g"), 6, t)
			b, d := newConsumer(c, a.group, c.Name("b"), t), newConsumer(c, a.group, c.Name("d"), t)
			b.join()
			c.Poll("partitions are to be revoked", func() bool { return a.beat().Assignment != nil })
			d.join()
			settle(6, a, b, d)
		}},
		suite.Case{Name: "epoch 0 during a revocation", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 4)
			a := alone(c, c.Name("g"), 4, t)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			c.Poll("partitions are to be revoked", func() bool { return a.beat().Assignment != nil })
			a.join()
			settle(4, a, b)
		}},
		suite.Case{Name: "epoch 0 of a member that waits for partitions", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 4)
			a := alone(c, c.Name("g"), 4, t)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			c.Poll("partitions are to be revoked", func() bool { return a.beat().Assignment != nil })
			b.beat()
			b.join()
			settle(4, a, b)
		}},
		suite.Case{Name: "a changed subscription", Needs: modern, Run: func(c *suite.C) {
			t, other := newTopic(c, "t", 2), newTopic(c, "other", 3)
			m := alone(c, c.Name("g"), 2, t)
			epoch := m.epoch
			m.names[other.id], m.topics = other.name, []string{other.name}
			m.took(m.try(m.full(m.epoch)))
			settle(3, m)
			c.Equal("epoch", m.epoch, epoch+1)
		}},
		suite.Case{Name: "more partitions of a topic", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.OK(morePartitions(c, t.name, 3), "CreatePartitions")
			settle(3, m)
		}},
		suite.Case{Name: "a topic that is made later", Needs: modern, Run: func(c *suite.C) {
			m := newConsumer(c, c.Name("g"), c.Name("m"), topic{name: c.Name("late")})
			m.join()
			settle(0, m)
			t := newTopic(c, "late", 2)
			m.names[t.id] = t.name
			settle(2, m)
		}},
		suite.Case{Name: "a topic that is deleted", Needs: modern, Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 1), newTopic(c, "b", 1)
			m := alone(c, c.Name("g"), 2, a, b)
			deleteTopic(c, b)
			settle(1, m)
		}},
		suite.Case{Name: "fewer partitions than members", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			a := alone(c, c.Name("g"), 1, t)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			settle(1, a, b)
			c.Equal("assigned to the first", len(a.assigned), 1)
		}},
		suite.Case{Name: "members with different subscriptions", Needs: modern, Run: func(c *suite.C) {
			x, y := newTopic(c, "x", 2), newTopic(c, "y", 2)
			a := newConsumer(c, c.Name("g"), c.Name("a"), x)
			b := newConsumer(c, c.Name("g"), c.Name("b"), x, y)
			a.join()
			b.join()
			settle(4, a, b)
			c.Equal("assigned", a.assigned, []string{x.name + "/0", x.name + "/1"})
			c.Equal("assigned", b.assigned, []string{y.name + "/0", y.name + "/1"})
		}},
		suite.Case{Name: "the range assignor", Needs: modern, Run: func(c *suite.C) {
			x, y := newTopic(c, "x", 3), newTopic(c, "y", 3)
			a := newConsumer(c, c.Name("g"), c.Name("a"), x, y)
			b := newConsumer(c, c.Name("g"), c.Name("b"), x, y)
			a.assignor, b.assignor = pointer("range"), pointer("range")
			a.join()
			b.join()
			settle(6, a, b)
			sizes := []int{len(a.assigned), len(b.assigned)}
			c.True("co-partitioned blocks, not %v", sizes[0] == 4 && sizes[1] == 2 || sizes[0] == 2 && sizes[1] == 4, sizes)
			c.Equal("AssignorName", describeConsumers(c, a.group).AssignorName, "range")
		}},
		suite.Case{Name: "a silent member is dropped", Needs: append([]int16{44}, modern...), Run: func(c *suite.C) {
			shortSession(c, c.Name("g"))
			m := newConsumer(c, c.Name("g"), c.Name("m"), newTopic(c, "t", 1))
			m.join()
			c.Poll("the member is dropped", func() bool { return len(describeConsumers(c, m.group).Members) == 0 })
			code := m.try(m.bare(m.epoch)).ErrorCode
			c.True("the member is unknown, not %d", code == kerr.UnknownMemberID.Code || code == kerr.GroupIDNotFound.Code, code)
		}},
		suite.Case{Name: "a member that does not revoke in time is dropped", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			a := newConsumer(c, c.Name("g"), c.Name("a"), t)
			a.timeout = 400
			a.join()
			settle(2, a)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			c.Poll("partitions are to be revoked", func() bool { return a.beat().Assignment != nil })
			settle(2, b)
			c.Code(a.try(a.bare(a.epoch)).ErrorCode, kerr.UnknownMemberID)
		}},
	)
}

// contains reports whether all of part are in whole.
func contains(whole, part []string) bool {
	set := map[string]bool{}
	for _, s := range whole {
		set[s] = true
	}
	for _, s := range part {
		if !set[s] {
			return false
		}
	}
	return true
}

func morePartitions(c *suite.C, name string, count int32) int16 {
	r := kmsg.NewPtrCreatePartitionsRequest()
	r.TimeoutMillis = 10_000
	in := kmsg.NewCreatePartitionsRequestTopic()
	in.Topic, in.Count = name, count
	r.Topics = append(r.Topics, in)
	return suite.Call(c, r).Topics[0].ErrorCode
}

// shortSession gives a group the shortest session timeout that the broker allows.
func shortSession(c *suite.C, group string) {
	timeout := c.ConfigInt("group.consumer.min.session.timeout.ms", 5000)
	interval := c.ConfigInt("group.consumer.min.heartbeat.interval.ms", timeout-1)
	setGroup(c, group, "consumer.heartbeat.interval.ms", fmt.Sprint(interval))
	setGroup(c, group, "consumer.session.timeout.ms", fmt.Sprint(timeout))
}
