package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// migration are cases of groups that change between the protocols.
func migration() []suite.Case {
	return suite.OfArea("KIP-848-migration", needing(slices.Concat([]int16{8, 9, 16}, modern, classic), []suite.Case{
		{Name: "an empty classic group becomes one of consumers", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := oneMember(c, c.Name("g"))
			c.OK(m.commit(t, 0, 7))
			m.leave()
			alone(c, m.group, 1, t)
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
			c.Equal("GroupType", listed(c, m.group, nil, nil).GroupType, "consumer")
		}},
		{Name: "an empty group of consumers becomes classic", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.OK(m.commit(t, m.epoch, 7))
			c.OK(m.try(m.leaving(-1)).ErrorCode)
			oneMember(c, m.group)
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
			c.Equal("GroupType", listed(c, m.group, nil, nil).GroupType, "classic")
		}},
		{Name: "a consumer joins a classic group", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			old := owner(c, c.Name("g"), t, 0, 1)
			m := newConsumer(c, old.group, c.Name("m"), t)
			m.join()
			c.Equal("GroupType", listed(c, m.group, nil, nil).GroupType, "consumer")
			old.awaitRebalance()
			old.metadata = subscription(t.name)
			c.Equal("assigned to the classic member", old.joinedPartitions(), 1)
			m.confirm()
			settle(1, m)
			types := map[string]int8{}
			for _, one := range describeConsumers(c, m.group).Members {
				types[one.MemberID] = one.MemberType
			}
			c.Equal("MemberType", types, map[string]int8{old.id: 0, m.id: 1})
			c.OK(old.heartbeat(), "Heartbeat")
		}},
		{Name: "a classic member joins a group of consumers", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			m := alone(c, c.Name("g"), 2, t)
			old := newMember(c, m.group)
			old.metadata = subscription(t.name)
			c.Equal("assigned while the other owns all", old.joinedPartitions(), 0)
			c.Equal("GroupType", listed(c, m.group, nil, nil).GroupType, "consumer")
			c.Poll("partitions are to be revoked", func() bool { return m.beat().Assignment != nil })
			m.confirm()
			old.awaitRebalance()
			c.Equal("assigned", old.joinedPartitions(), 1)
		}},
		{Name: "the last consumer leaves", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			old := owner(c, c.Name("g"), t, 0, 1)
			m := newConsumer(c, old.group, c.Name("m"), t)
			m.join()
			c.OK(m.try(m.leaving(-1)).ErrorCode)
			c.Equal("GroupType", listed(c, m.group, nil, nil).GroupType, "classic")
			c.Code(old.heartbeat(), kerr.IllegalGeneration, "Heartbeat of the generation before")
			old.metadata = subscription(t.name)
			old.join()
			old.sync(assign(old, assignment(t.name, 0, 1)))
			c.OK(old.heartbeat(), "Heartbeat")
			c.Equal("State", describeGroup(c, old.group).State, "Stable")
		}},
		{Name: "offsets stay", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			old := owner(c, c.Name("g"), t, 0)
			c.OK(old.commit(t, 0, 7))
			m := newConsumer(c, old.group, c.Name("m"), t)
			m.join()
			c.Equal("Offset of the consumer group", fetchCommitted(c, m.group, t, 0).Offset, 7)
			c.OK(m.try(m.leaving(-1)).ErrorCode)
			c.Equal("Offset of the classic group", fetchCommitted(c, m.group, t, 0).Offset, 7)
		}},
		{Name: "an assignor with user data forbids it", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			old := newMember(c, c.Name("g"))
			old.metadata = subscription(t.name)
			old.join()
			a := kmsg.NewConsumerMemberAssignment()
			a.UserData = []byte("mine")
			old.sync(assign(old, a.AppendTo(nil)))
			m := newConsumer(c, old.group, c.Name("m"), t)
			c.Code(m.try(m.full(0)).ErrorCode, kerr.GroupIDNotFound)
			c.OK(old.heartbeat(), "Heartbeat")
		}},
		{Name: "a group of another protocol type forbids it", Run: func(c *suite.C) {
			old := newMember(c, c.Name("g"))
			old.kind = "connect"
			stable(old)
			m := newConsumer(c, old.group, c.Name("m"))
			c.Code(m.try(m.full(0)).ErrorCode, kerr.GroupIDNotFound)
		}},
		{Name: "a member of another protocol type in a group of consumers", Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			old := newMember(c, m.group)
			old.kind = "connect"
			c.Code(old.tryJoin().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		{Name: "the classic API in a group of consumers", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			old := owner(c, c.Name("g"), t, 0, 1)
			m := newConsumer(c, old.group, c.Name("m"), t)
			m.join()
			old.awaitRebalance()
			old.metadata = subscription(t.name)
			old.join()
			old.generation++
			c.Code(old.startSync().Wait().ErrorCode, kerr.IllegalGeneration, "SyncGroup")
			c.Code(old.heartbeat(), kerr.IllegalGeneration, "Heartbeat")
			c.Code(old.commit(t, 0, 7), kerr.IllegalGeneration, "OffsetCommit")
			old.generation--
			c.Equal("assigned", partitionsOf(c, old.sync()), 1)
			c.OK(old.commit(t, 0, 7), "OffsetCommit")
			old.id = "stranger"
			c.Code(old.heartbeat(), kerr.UnknownMemberID, "Heartbeat")
			c.Code(old.startSync().Wait().ErrorCode, kerr.UnknownMemberID, "SyncGroup")
		}},
		{Name: "a classic member leaves a group of consumers", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			old := owner(c, c.Name("g"), t, 0, 1)
			m := newConsumer(c, old.group, c.Name("m"), t)
			m.join()
			old.leave()
			settle(2, m)
		}},
		{Name: "a consumer replaces a classic instance", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			old := newStatic(c, c.Name("g"), "instance")
			old.metadata = subscription(t.name)
			old.join()
			old.sync(assign(old, assignment(t.name, 0)))
			m := staticConsumer(c, old.group, "m", t)
			m.join()
			settle(1, m)
			c.Equal("Members", len(describeConsumers(c, m.group).Members), 1)
			c.Code(old.heartbeat(), kerr.FencedInstanceID, "Heartbeat")
		}},
		{Name: "a classic instance replaces a consumer", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := staticConsumer(c, c.Name("g"), "m", t)
			m.join()
			settle(1, m)
			old := newStatic(c, m.group, "instance")
			old.metadata = subscription(t.name)
			old.join()
			c.Poll("the group is classic", func() bool { return listed(c, m.group, nil, nil).GroupType == "classic" })
		}},
	})...)
}

// needing sets what cases need.
func needing(keys []int16, cases []suite.Case) []suite.Case {
	for i := range cases {
		cases[i].Needs = keys
	}
	return cases
}

// owner is the only member of a classic group of consumers, with partitions of a topic.
func owner(c *suite.C, group string, t topic, partitions ...int32) *member {
	m := newMember(c, group)
	m.metadata = subscription(t.name)
	m.join()
	m.sync(assign(m, assignment(t.name, partitions...)))
	return m
}

// joinedPartitions counts the partitions that a member of a group of consumers has once its join and sync succeed. Until the
// assignment is computed, SyncGroup asks it to join again.
func (m *member) joinedPartitions() int {
	var r *kmsg.SyncGroupResponse
	m.c.Poll("the member has its assignment", func() bool {
		m.join()
		r = m.startSync().Wait()
		return r.ErrorCode != kerr.RebalanceInProgress.Code
	})
	return partitionsOf(m.c, r)
}

// partitionsOf counts the partitions that SyncGroup gives to a consumer.
func partitionsOf(c *suite.C, r *kmsg.SyncGroupResponse) (n int) {
	c.OK(r.ErrorCode, "SyncGroup")
	a := kmsg.NewConsumerMemberAssignment()
	c.NoError(a.ReadFrom(r.MemberAssignment))
	for _, t := range a.Topics {
		n += len(t.Partitions)
	}
	return n
}
