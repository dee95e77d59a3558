package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func consumerDescribe() []suite.Case {
	return suite.OfAPI(69,
		suite.Case{Name: "a stable group", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			m := newConsumer(c, c.Name("g"), c.Name("m"), t)
			m.instance, m.rack = pointer("i"), pointer("r")
			m.join()
			settle(2, m)
			g := describeConsumers(c, m.group)
			c.OK(g.ErrorCode)
			c.Equal("State", g.State, "Stable")
			c.Equal("Epoch", g.Epoch, m.epoch)
			c.Equal("AssignmentEpoch", g.AssignmentEpoch, m.epoch)
			c.Equal("AssignorName", g.AssignorName, "uniform")
			c.Equal("AuthorizedOperations", g.AuthorizedOperations, -1<<31)
			one := g.Members[0]
			c.Equal("MemberID", one.MemberID, m.id)
			c.Equal("InstanceID", *one.InstanceID, "i")
			c.Equal("RackID", *one.RackID, "r")
			c.Equal("MemberEpoch", one.MemberEpoch, m.epoch)
			c.Equal("ClientID", one.ClientID, "weir-conformance")
			c.Equal("SubscribedTopics", one.SubscribedTopics, []string{t.name})
			for _, a := range []kmsg.Assignment{one.Assignment, one.TargetAssignment} {
				c.Equal("topics", len(a.TopicPartitions), 1)
				c.Equal("TopicID", a.TopicPartitions[0].TopicID, t.id)
				c.Equal("Topic", a.TopicPartitions[0].Topic, t.name)
				slices.Sort(a.TopicPartitions[0].Partitions)
				c.Equal("Partitions", a.TopicPartitions[0].Partitions, []int32{0, 1})
			}
			if c.V >= 1 {
				c.Equal("MemberType", one.MemberType, 1)
			}
		}},
		suite.Case{Name: "authorized operations", Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			r := kmsg.NewPtrConsumerGroupDescribeRequest()
			r.Groups, r.IncludeAuthorizedOperations = []string{m.group}, true
			// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
			c.Equal("AuthorizedOperations", suite.Call(c, r).Groups[0].AuthorizedOperations, 1<<3|1<<6|1<<8|1<<10|1<<11)
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			g := describeConsumers(c, c.Name("g"))
			c.Code(g.ErrorCode, kerr.GroupIDNotFound)
			c.Equal("ErrorMessage", *g.ErrorMessage, "Group "+c.Name("g")+" not found.")
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			c.Code(describeConsumers(c, "").ErrorCode, kerr.InvalidGroupID)
		}},
		suite.Case{Name: "a classic group", Needs: classic, Run: func(c *suite.C) {
			g := describeConsumers(c, oneMember(c, c.Name("g")).group)
			c.Code(g.ErrorCode, kerr.GroupIDNotFound)
			c.Equal("ErrorMessage", *g.ErrorMessage, "Group "+c.Name("g")+" is not a consumer group.")
		}},
		suite.Case{Name: "a group that rebalances", Needs: modern, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			a := alone(c, c.Name("g"), 2, t)
			b := newConsumer(c, a.group, c.Name("b"), t)
			b.join()
			c.Poll("the group reconciles", func() bool { a.beat(); return describeConsumers(c, a.group).State == "Reconciling" })
		}},
		suite.Case{Name: "by the classic API", Needs: append([]int16{15}, modern...), Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups = []string{m.group}
			g := suite.CallV(c, 6, r).Groups[0]
			c.Code(g.ErrorCode, kerr.GroupIDNotFound)
			c.Equal("State", g.State, "Dead")
		}},
		suite.Case{Name: "listed as a consumer group", Needs: append([]int16{16}, modern...), Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			g := listed(c, m.group, []string{"stable"}, []string{"consumer"})
			c.True("it is listed", g != nil)
			c.Equal("GroupType", g.GroupType, "consumer")
			c.Equal("GroupState", g.GroupState, "Stable")
			c.Equal("ProtocolType", g.ProtocolType, "consumer")
		}},
		suite.Case{Name: "deleted once it is empty", Needs: append([]int16{8, 42}, modern...), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.OK(m.commit(t, m.epoch, 7))
			c.Code(deleteGroup(c, m.group), kerr.NonEmptyGroup)
			c.OK(m.try(m.leaving(-1)).ErrorCode)
			c.Equal("State", describeConsumers(c, m.group).State, "Empty")
			c.OK(deleteGroup(c, m.group))
			c.Code(describeConsumers(c, m.group).ErrorCode, kerr.GroupIDNotFound)
		}},
	)
}

func consumerOffsets() []suite.Case {
	needs := append([]int16{8, 9}, modern...)
	return suite.OfArea("KIP-848-offsets",
		suite.Case{Name: "a commit with the member epoch", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.OK(m.commit(t, m.epoch, 7))
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
		}},
		suite.Case{Name: "a later member epoch", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.Code(m.commit(t, m.epoch+1, 7), kerr.StaleMemberEpoch)
		}},
		suite.Case{Name: "below version 9", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			r := commitRequest(m.group, t, 0, 7)
			r.MemberID, r.Generation = m.id, m.epoch+1
			c.Code(suite.CallV(m, 8, r).Topics[0].Partitions[0].ErrorCode, kerr.UnsupportedVersion)
		}},
		suite.Case{Name: "an unknown member", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			m.id = "stranger"
			c.Code(m.commit(t, m.epoch, 7), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "without a member", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.Code(commitCode(c, commitRequest(m.group, t, 0, 7)), kerr.UnknownMemberID)
			c.OK(m.commit(t, m.epoch, 8))
			c.OK(m.try(m.leaving(-1)).ErrorCode)
			commitSimple(c, m.group, t, 9)
		}},
		suite.Case{Name: "an older epoch of a partition held since", Needs: needs, Run: func(c *suite.C) {
			t, other := newTopic(c, "t", 1), newTopic(c, "other", 1)
			m := alone(c, c.Name("g"), 1, t)
			before := m.epoch
			m.names[other.id], m.topics = other.name, []string{other.name, t.name}
			m.took(m.try(m.full(m.epoch)))
			settle(2, m)
			c.OK(m.commit(t, before, 7), "KIP-1251")
			c.Code(m.commit(other, before, 7), kerr.StaleMemberEpoch)
		}},
		suite.Case{Name: "a read with the member epoch", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.OK(m.commit(t, m.epoch, 7))
			offset, code := m.readOffset(t, m.epoch)
			c.OK(code)
			c.Equal("Offset", offset, 7)
			_, code = m.readOffset(t, m.epoch+1)
			c.Code(code, kerr.StaleMemberEpoch)
			m.id = "stranger"
			_, code = m.readOffset(t, m.epoch)
			c.Code(code, kerr.UnknownMemberID)
		}},
		suite.Case{Name: "an offset of a subscribed topic is not deleted", Needs: append([]int16{47}, needs...), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m := alone(c, c.Name("g"), 1, t)
			c.OK(m.commit(t, m.epoch, 7))
			c.Code(suite.Call(c, deleteOffsets(m.group, t.name, 0)).Topics[0].Partitions[0].ErrorCode, kerr.GroupSubscribedToTopic)
		}},
		suite.Case{Name: "in a transaction", Needs: append(append([]int16{65}, transactions...), needs...), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			m, p := alone(c, c.Name("g"), 1, t), newProducer(c, c.Name("x"))
			r := p.offsetsRequest(m.group, t, 7)
			r.MemberID, r.Generation = "stranger", m.epoch
			c.Code(p.tryStage(r), kerr.UnknownMemberID)
			r.MemberID, r.Generation = m.id, m.epoch+1
			c.Code(p.tryStage(r), kerr.IllegalGeneration)
			r.Generation = m.epoch
			c.OK(p.tryStage(r))
			p.end(true)
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
		}},
	)
}

// commit commits as a member of an epoch.
func (m *consumer) commit(t topic, epoch int32, offset int64) int16 {
	r := commitRequest(m.group, t, 0, offset)
	r.MemberID, r.Generation, r.InstanceID = m.id, epoch, m.instance
	return commitCode(m, r)
}

// readOffset asks as a member of an epoch.
func (m *consumer) readOffset(t topic, epoch int32) (offset int64, code int16) {
	r := fetchRequest(m.group, t, 0)
	r.Groups[0].MemberID, r.Groups[0].MemberEpoch = &m.id, epoch
	found, code := offsetsIn(suite.Call(m, r), t)
	return found[0].Offset, code
}
