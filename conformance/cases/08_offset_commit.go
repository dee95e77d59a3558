package cases

import (
	"strings"
	"time"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetCommit() []suite.Case {
	return suite.OfAPI(8,
		suite.Case{Name: "a group of offsets only", Needs: []int16{9}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := suite.Call(c, commitRequest(c.Name("g"), t, 0, 7))
			c.OK(r.Topics[0].Partitions[0].ErrorCode)
			if c.V >= 10 {
				c.Equal("TopicID", r.Topics[0].TopicID, t.id)
			} else {
				c.Equal("Topic", r.Topics[0].Topic, t.name)
			}
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, 7)
		}},
		suite.Case{Name: "as a member", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			c.OK(m.commit(t, 0, 7))
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
		}},
		suite.Case{Name: "the last commit counts", Needs: []int16{9}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			for _, offset := range []int64{7, 3, 0} {
				commitSimple(c, c.Name("g"), t, offset)
				c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, offset)
			}
		}},
		suite.Case{Name: "generation without a group", Run: func(c *suite.C) {
			r := commitRequest(c.Name("g"), newTopic(c, "t", 1), 0, 7)
			r.Generation, r.MemberID = 1, "stranger"
			c.Code(commitCode(c, r), choose(c.V >= 9, kerr.GroupIDNotFound, kerr.IllegalGeneration))
		}},
		suite.Case{Name: "the empty id is a group", Run: func(c *suite.C) {
			needEmptyGroup(c)
			c.OK(commitCode(c, commitRequest("", newTopic(c, "t", 1), 0, 7)))
		}},
		suite.Case{Name: "unknown member", Needs: classic, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			m.id = "stranger"
			c.Code(m.commit(t, 0, 7), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "wrong generation", Needs: classic, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			for _, generation := range []int32{0, 2} {
				m.generation = generation
				c.Code(m.commit(t, 0, 7), kerr.IllegalGeneration)
			}
		}},
		suite.Case{Name: "without a member while there are some", Needs: classic, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			c.Code(commitCode(c, commitRequest(m.group, t, 0, 7)), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "without a member after all left", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			m.leave()
			commitSimple(c, m.group, t, 7)
		}},
		suite.Case{Name: "while assignments are awaited", Needs: classic, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), newMember(c, c.Name("g"))
			m.join()
			c.Code(m.commit(t, 0, 7), kerr.RebalanceInProgress)
		}},
		suite.Case{Name: "while members join", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			leader, follower := two(c, c.Name("g"))
			leader.startJoin()
			awaitState(c, leader.group, "PreparingRebalance")
			c.OK(follower.commit(t, 0, 7))
			c.Equal("Offset", fetchCommitted(c, leader.group, t, 0).Offset, 7)
		}},
		suite.Case{Name: "fenced instance", Versions: from(7), Needs: classic, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), newStatic(c, c.Name("g"), "i")
			stable(m)
			c.OK(m.commit(t, 0, 7))
			m.id = "stranger"
			c.Code(m.commit(t, 0, 8), kerr.FencedInstanceID)
		}},
		suite.Case{Name: "unknown instance", Versions: from(7), Needs: classic, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			m.instance = pointer("nobody")
			c.Code(m.commit(t, 0, 7), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "unknown topic", Versions: upTo(9), Run: func(c *suite.C) {
			c.Code(commitCode(c, commitRequest(c.Name("g"), topic{name: c.Name("none")}, 0, 7)), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown topic id", Versions: from(10), Run: func(c *suite.C) {
			c.Code(commitCode(c, commitRequest(c.Name("g"), topic{id: [16]byte{1, 2, 3}}, 0, 7)), kerr.UnknownTopicID)
		}},
		suite.Case{Name: "unknown partition", Run: func(c *suite.C) {
			c.Code(commitCode(c, commitRequest(c.Name("g"), newTopic(c, "t", 1), 1, 7)), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "metadata too large", Needs: []int16{9}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			r := commitRequest(c.Name("g"), t, 0, 7)
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, commitRequest("", t, 1, 8).Topics[0].Partitions...)
			r.Topics[0].Partitions[0].Metadata = pointer(strings.Repeat("m", 4097))
			answer := suite.Call(c, r).Topics[0]
			codes := map[int32]int16{}
			for _, p := range answer.Partitions {
				codes[p.Partition] = p.ErrorCode
			}
			c.Equal("ErrorCode", codes, map[int32]int16{0: kerr.OffsetMetadataTooLarge.Code, 1: 0})
			c.Equal("Offset 0", fetchCommitted(c, c.Name("g"), t, 0).Offset, -1)
			c.Equal("Offset 1", fetchCommitted(c, c.Name("g"), t, 1).Offset, 8)
		}},
		suite.Case{Name: "metadata of the greatest size", Needs: []int16{9}, Run: func(c *suite.C) {
			t, text := newTopic(c, "t", 1), strings.Repeat("m", 4096)
			r := commitRequest(c.Name("g"), t, 0, 7)
			r.Topics[0].Partitions[0].Metadata = &text
			c.OK(commitCode(c, r))
			c.Equal("Metadata", *fetchCommitted(c, c.Name("g"), t, 0).Metadata, text)
		}},
		suite.Case{Name: "metadata is null", Needs: []int16{9}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := commitRequest(c.Name("g"), t, 0, 7)
			r.Topics[0].Partitions[0].Metadata = nil
			c.OK(commitCode(c, r))
			c.Equal("Metadata", *fetchCommitted(c, c.Name("g"), t, 0).Metadata, "")
		}},
		suite.Case{Name: "leader epoch", Versions: from(6), Needs: []int16{9}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := commitRequest(c.Name("g"), t, 0, 7)
			r.Topics[0].Partitions[0].LeaderEpoch = 3
			c.OK(commitCode(c, r))
			c.Equal("LeaderEpoch", fetchCommitted(c, c.Name("g"), t, 0).LeaderEpoch, 3)
		}},
		suite.Case{Name: "a negative offset", Needs: []int16{9}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, -5)
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, -5)
		}},
		suite.Case{Name: "no topics", Run: func(c *suite.C) {
			r := commitRequest(c.Name("g"), topic{}, 0, 0)
			r.Topics = nil
			c.Equal("Topics", len(suite.Call(c, r).Topics), 0)
		}},
		suite.Case{Name: "a retention time is honoured", Versions: between(2, 4), Needs: []int16{9}, Run: func(c *suite.C) {
			c.ConfigInt("offsets.retention.check.interval.ms", 2000)
			t := newTopic(c, "t", 2)
			r := commitRequest(c.Name("g"), t, 0, 7)
			r.RetentionTimeMillis = 1
			c.OK(commitCode(c, r))
			r = commitRequest(c.Name("g"), t, 1, 8)
			r.RetentionTimeMillis = time.Hour.Milliseconds()
			c.OK(commitCode(c, r))
			c.Poll("the offset expires", func() bool { return fetchCommitted(c, c.Name("g"), t, 0).Offset == -1 })
			c.Equal("Offset of the other", fetchCommitted(c, c.Name("g"), t, 1).Offset, 8)
		}},
		suite.Case{Name: "offsets of a subscribed topic do not expire", Versions: between(2, 4), Needs: classicAndOffsets, Run: func(c *suite.C) {
			c.ConfigInt("offsets.retention.check.interval.ms", 2000)
			t, other, m := newTopic(c, "t", 1), newTopic(c, "other", 1), newMember(c, c.Name("g"))
			m.metadata = subscription(t.name)
			stable(m)
			for _, in := range []topic{t, other} {
				r := commitRequest(m.group, in, 0, 7)
				r.MemberID, r.Generation, r.RetentionTimeMillis = m.id, m.generation, 1
				c.OK(commitCode(c, r))
			}
			c.Poll("the offset of the other topic expires", func() bool { return fetchCommitted(c, m.group, other, 0).Offset == -1 })
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
		}},
		suite.Case{Name: "a commit keeps a member", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t, silent, m := newTopic(c, "t", 1), newMember(c, c.Group("silent")), newMember(c, c.Name("g"))
			m.session = int32(c.ConfigInt("group.min.session.timeout.ms", 1000)) + 1900
			silent.session = 2 * m.session
			stable(m)
			stable(silent)
			c.Poll("a silent member with twice the timeout is dropped", func() bool {
				c.OK(m.commit(t, 0, 1))
				return noMembers(c, silent.group)
			})
		}},
		suite.Case{Name: "several topics", Needs: []int16{9}, Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 1), newTopic(c, "b", 1)
			r := commitRequest(c.Name("g"), a, 0, 7)
			r.Topics = append(r.Topics, commitRequest("", b, 0, 8).Topics...)
			for _, in := range suite.Call(c, r).Topics {
				c.OK(in.Partitions[0].ErrorCode)
			}
			c.Equal("Offset of a", fetchCommitted(c, c.Name("g"), a, 0).Offset, 7)
			c.Equal("Offset of b", fetchCommitted(c, c.Name("g"), b, 0).Offset, 8)
		}},
		suite.Case{Name: "to a topic deleted since", Versions: from(10), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			deleteTopic(c, t)
			c.Code(commitCode(c, commitRequest(c.Name("g"), t, 0, 7)), kerr.UnknownTopicID)
		}},
	)
}

func offsetDelete() []suite.Case {
	return suite.OfAPI(47,
		suite.Case{Name: "an offset", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			commitSimple(c, c.Name("g"), t, 7)
			r := commitRequest(c.Name("g"), t, 1, 8)
			c.OK(commitCode(c, r))
			answer := suite.Call(c, deleteOffsets(c.Name("g"), t.name, 0))
			c.OK(answer.ErrorCode)
			c.OK(answer.Topics[0].Partitions[0].ErrorCode)
			c.Equal("Offset 0", fetchCommitted(c, c.Name("g"), t, 0).Offset, -1)
			c.Equal("Offset 1", fetchCommitted(c, c.Name("g"), t, 1).Offset, 8)
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			c.Code(suite.Call(c, deleteOffsets(c.Name("g"), "t", 0)).ErrorCode, kerr.GroupIDNotFound)
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			c.Code(suite.Call(c, deleteOffsets("", "t", 0)).ErrorCode, kerr.InvalidGroupID)
		}},
		suite.Case{Name: "unknown topic", Needs: classicAndOffsets, Run: func(c *suite.C) {
			commitSimple(c, c.Name("g"), newTopic(c, "t", 1), 7)
			answer := suite.Call(c, deleteOffsets(c.Name("g"), c.Name("none"), 0))
			c.OK(answer.ErrorCode)
			c.Code(answer.Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown partition", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 7)
			c.Code(suite.Call(c, deleteOffsets(c.Name("g"), t.name, 5)).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "a partition without an offset", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			commitSimple(c, c.Name("g"), t, 7)
			c.OK(suite.Call(c, deleteOffsets(c.Name("g"), t.name, 1)).Topics[0].Partitions[0].ErrorCode)
		}},
		suite.Case{Name: "a subscribed topic", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t, other := newTopic(c, "t", 1), newTopic(c, "other", 1)
			m := newMember(c, c.Name("g"))
			m.metadata = subscription(t.name)
			stable(m)
			c.OK(m.commit(t, 0, 7))
			c.OK(m.commit(other, 0, 7))
			c.Code(suite.Call(c, deleteOffsets(m.group, t.name, 0)).Topics[0].Partitions[0].ErrorCode, kerr.GroupSubscribedToTopic)
			c.OK(suite.Call(c, deleteOffsets(m.group, other.name, 0)).Topics[0].Partitions[0].ErrorCode)
			c.Equal("Offset", fetchCommitted(c, m.group, t, 0).Offset, 7)
			c.Equal("Offset of the other", fetchCommitted(c, m.group, other, 0).Offset, -1)
		}},
		suite.Case{Name: "members of another protocol type", Needs: classicAndOffsets, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.kind = "connect"
			stable(m)
			c.Code(suite.Call(c, deleteOffsets(m.group, newTopic(c, "t", 1).name, 0)).ErrorCode, kerr.NonEmptyGroup)
		}},
	)
}

func deleteOffsets(group, topic string, partition int32) *kmsg.OffsetDeleteRequest {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = group
	in, p := kmsg.NewOffsetDeleteRequestTopic(), kmsg.NewOffsetDeleteRequestTopicPartition()
	p.Partition = partition
	in.Topic, in.Partitions = topic, append(in.Partitions, p)
	r.Topics = append(r.Topics, in)
	return r
}
