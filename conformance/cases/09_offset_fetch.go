package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetFetch() []suite.Case {
	return suite.OfAPI(9,
		suite.Case{Name: "a committed offset", Needs: []int16{8}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			r := commitRequest(c.Name("g"), t, 0, 7)
			r.Topics[0].Partitions[0].Metadata, r.Topics[0].Partitions[0].LeaderEpoch = pointer("note"), 2
			c.OK(commitCode(c, r))
			found, code := offsetsIn(suite.Call(c, fetchRequest(c.Name("g"), t, 0, 1)), t)
			c.OK(code)
			epoch := int32(-1)
			if c.V >= 5 {
				epoch = 2
			}
			c.Equal("partition 0", found[0], committed{7, epoch, found[0].Metadata, 0})
			c.Equal("Metadata", *found[0].Metadata, "note")
			c.Equal("partition 1", found[1], committed{-1, -1, found[1].Metadata, 0})
			c.Equal("Metadata", *found[1].Metadata, "")
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			got := fetchCommitted(c, c.Name("g"), t, 0)
			c.Equal("Offset", got.Offset, -1)
			c.OK(got.ErrorCode)
		}},
		suite.Case{Name: "all offsets", Versions: from(2), Needs: []int16{8}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 3)
			commitSimple(c, c.Name("g"), t, 7)
			c.OK(commitCode(c, commitRequest(c.Name("g"), t, 2, 9)))
			found, code := offsetsIn(suite.Call(c, allOffsets(c.Name("g"))), t)
			c.OK(code)
			c.Equal("partitions", len(found), 2)
			c.Equal("Offset", []int64{found[0].Offset, found[2].Offset}, []int64{7, 9})
		}},
		suite.Case{Name: "all offsets of an unknown group", Versions: from(2), Run: func(c *suite.C) {
			r := suite.Call(c, allOffsets(c.Name("g")))
			_, code := offsetsIn(r, topic{})
			c.OK(code)
			c.Equal("Topics", len(r.Topics), 0)
			if c.V >= 8 {
				c.Equal("Topics", len(r.Groups[0].Topics), 0)
			}
		}},
		suite.Case{Name: "no topics", Needs: []int16{8}, Run: func(c *suite.C) {
			commitSimple(c, c.Name("g"), newTopic(c, "t", 1), 7)
			r := allOffsets(c.Name("g"))
			r.Topics, r.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
			answer := suite.Call(c, r)
			c.Equal("Topics", len(answer.Topics), 0)
			if c.V >= 8 {
				c.Equal("Topics", len(answer.Groups[0].Topics), 0)
			}
		}},
		suite.Case{Name: "the empty id is a group", Run: func(c *suite.C) {
			needEmptyGroup(c)
			c.Equal("Offset", fetchCommitted(c, "", newTopic(c, "t", 1), 0).Offset, -1)
		}},
		suite.Case{Name: "unknown topic", Versions: upTo(9), Needs: []int16{8}, Run: func(c *suite.C) {
			commitSimple(c, c.Name("g"), newTopic(c, "t", 1), 7)
			got := fetchCommitted(c, c.Name("g"), topic{name: c.Name("none")}, 0)
			c.Equal("Offset", got.Offset, -1)
			c.OK(got.ErrorCode)
		}},
		suite.Case{Name: "unknown topic id", Versions: from(10), Needs: []int16{8}, Run: func(c *suite.C) {
			commitSimple(c, c.Name("g"), newTopic(c, "t", 1), 7)
			got := fetchCommitted(c, c.Name("g"), topic{id: [16]byte{1, 2, 3}}, 0)
			c.Equal("Offset", got.Offset, -1)
			c.Code(got.ErrorCode, kerr.UnknownTopicID)
		}},
		suite.Case{Name: "many groups", Versions: from(8), Needs: []int16{8}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Group("a"), t, 7)
			commitSimple(c, c.Group("b"), t, 8)
			r := fetchRequest(c.Group("a"), t, 0)
			r.Groups = append(r.Groups, fetchRequest(c.Group("b"), t, 0).Groups[0], allOffsets(c.Group("b")).Groups[0], fetchRequest(c.Name("none"), t, 0).Groups[0])
			answer := suite.Call(c, r)
			c.Equal("Groups", len(answer.Groups), 4)
			for i, want := range []int64{7, 8, 8, -1} {
				c.OK(answer.Groups[i].ErrorCode)
				c.Equal("Group", answer.Groups[i].Group, r.Groups[i].Group)
				c.Equal("Offset", answer.Groups[i].Topics[0].Partitions[0].Offset, want)
			}
		}},
		suite.Case{Name: "a topic made again under its name", Needs: []int16{8}, Run: func(c *suite.C) {
			old := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), old, 7)
			deleteTopic(c, old)
			again := newTopic(c, "t", 1)
			if got := fetchCommitted(c, c.Name("g"), again, 0); c.V >= 10 {
				c.Equal("Offset by id", got.Offset, -1)
			}
		}},
		suite.Case{Name: "offsets go with a deleted topic", Needs: []int16{8}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 7)
			deleteTopic(c, t)
			c.Poll("the offset is gone", func() bool {
				found, _ := offsetsIn(suite.CallV(c, min(c.V, 9), fetchRequest(c.Name("g"), t, 0)), t)
				return found[0].Offset == -1
			})
		}},
		suite.Case{Name: "a member's epoch is not asked of a classic group", Versions: from(9), Needs: classicAndOffsets, Run: func(c *suite.C) {
			t, m := newTopic(c, "t", 1), oneMember(c, c.Name("g"))
			c.OK(m.commit(t, 0, 7))
			r := fetchRequest(m.group, t, 0)
			r.Groups[0].MemberID, r.Groups[0].MemberEpoch = pointer("stranger"), 5
			found, code := offsetsIn(suite.Call(c, r), t)
			c.OK(code)
			c.Equal("Offset", found[0].Offset, 7)
		}},
		suite.Case{Name: "require stable without a transaction", Versions: from(7), Needs: []int16{8}, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 7)
			r := fetchRequest(c.Name("g"), t, 0)
			r.RequireStable = true
			found, _ := offsetsIn(suite.Call(c, r), t)
			c.Equal("Offset", found[0].Offset, 7)
		}},
	)
}

// allOffsets asks for everything that a group has committed.
func allOffsets(group string) *kmsg.OffsetFetchRequest { return fetchRequest(group, topic{}) }
