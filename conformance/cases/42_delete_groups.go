package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func deleteGroups() []suite.Case {
	return suite.OfAPI(42,
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			c.Code(deleteGroup(c, c.Name("g")), kerr.GroupIDNotFound)
		}},
		suite.Case{Name: "the empty id is a group", Serial: true, Needs: []int16{8}, Run: func(c *suite.C) {
			needEmptyGroup(c)
			commitSimple(c, "", newTopic(c, "t", 1), 5)
			c.OK(deleteGroup(c, ""))
			c.Code(deleteGroup(c, ""), kerr.GroupIDNotFound)
		}},
		suite.Case{Name: "members present", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			c.Code(deleteGroup(c, m.group), kerr.NonEmptyGroup)
			c.OK(m.heartbeat(), "Heartbeat")
		}},
		suite.Case{Name: "offsets go with their group", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 5)
			c.OK(deleteGroup(c, c.Name("g")))
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, -1)
			c.Code(deleteGroup(c, c.Name("g")), kerr.GroupIDNotFound)
		}},
		suite.Case{Name: "after the last member left", Needs: classicAndOffsets, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			c.OK(m.commit(newTopic(c, "t", 1), 0, 5)) // offsets keep the group
			m.leave()
			c.OK(deleteGroup(c, m.group))
			c.Equal("State", describeGroup(c, m.group).State, "Dead")
		}},
		suite.Case{Name: "each group has its answer", Needs: classicAndOffsets, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			commitSimple(c, c.Name("g"), t, 5)
			m := oneMember(c, c.Group("full"))
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = []string{c.Name("g"), m.group, c.Name("none")}
			codes := map[string]int16{}
			for _, g := range suite.Call(c, r).Groups {
				codes[g.Group] = g.ErrorCode
			}
			c.Equal("ErrorCode", codes, map[string]int16{
				c.Name("g"): 0, m.group: kerr.NonEmptyGroup.Code, c.Name("none"): kerr.GroupIDNotFound.Code,
			})
		}},
	)
}

func deleteGroup(c *suite.C, group string) int16 {
	r := kmsg.NewPtrDeleteGroupsRequest()
	r.Groups = []string{group}
	answer := suite.Call(c, r)
	c.Equal("Groups", len(answer.Groups), 1)
	c.Equal("Group", answer.Groups[0].Group, group)
	return answer.Groups[0].ErrorCode
}
