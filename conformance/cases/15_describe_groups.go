package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeGroups() []suite.Case {
	return suite.OfAPI(15,
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			g := describeGroup(c, c.Name("g"))
			c.Equal("State", g.State, "Dead")
			c.Equal("Members", len(g.Members), 0)
			if c.V < 6 {
				c.OK(g.ErrorCode)
				return
			}
			c.Code(g.ErrorCode, kerr.GroupIDNotFound)
			c.Equal("ErrorMessage", *g.ErrorMessage, "Group "+c.Name("g")+" not found.")
		}},
		suite.Case{Name: "the empty id is a group", Serial: true, Needs: []int16{8}, Run: func(c *suite.C) {
			needEmptyGroup(c)
			commitSimple(c, "", newTopic(c, "t", 1), 5)
			c.Equal("State", describeGroup(c, "").State, "Empty")
		}},
		suite.Case{Name: "no groups", Run: func(c *suite.C) {
			c.Equal("Groups", len(suite.Call(c, kmsg.NewPtrDescribeGroupsRequest()).Groups), 0)
		}},
		suite.Case{Name: "a stable group", Needs: classic, Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			stable(m)
			g := describeGroup(c, m.group)
			c.OK(g.ErrorCode)
			c.Equal("State", g.State, "Stable")
			c.Equal("ProtocolType", g.ProtocolType, "consumer")
			c.Equal("Protocol", g.Protocol, "range")
			c.Equal("Members", len(g.Members), 1)
			c.Equal("MemberID", g.Members[0].MemberID, m.id)
			c.Equal("ClientID", g.Members[0].ClientID, "weir-conformance")
			c.Equal("ProtocolMetadata", g.Members[0].ProtocolMetadata, m.metadata)
			c.Equal("MemberAssignment", string(g.Members[0].MemberAssignment), m.id)
			if c.V >= 4 {
				c.Equal("InstanceID", g.Members[0].InstanceID, m.instance)
			}
			c.Equal("AuthorizedOperations", g.AuthorizedOperations, -1<<31)
		}},
		suite.Case{Name: "authorized operations", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups, r.IncludeAuthorizedOperations = []string{m.group}, true
			g := suite.Call(c, r).Groups[0]
			// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
			c.Equal("AuthorizedOperations", g.AuthorizedOperations, 1<<3|1<<6|1<<8|1<<10|1<<11)
		}},
		suite.Case{Name: "a group that waits for assignments", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.join()
			g := describeGroup(c, m.group)
			c.Equal("State", g.State, "CompletingRebalance")
			c.Equal("Protocol", g.Protocol, "")
			c.Equal("ProtocolMetadata", len(g.Members[0].ProtocolMetadata), 0)
			c.Equal("MemberAssignment", len(g.Members[0].MemberAssignment), 0)
		}},
		suite.Case{Name: "a group that waits for assignments again", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			m.join()
			g := describeGroup(c, m.group)
			c.Equal("State", g.State, "CompletingRebalance")
			c.Equal("ProtocolMetadata", len(g.Members[0].ProtocolMetadata), 0)
			c.Equal("MemberAssignment", string(g.Members[0].MemberAssignment), m.id)
		}},
		suite.Case{Name: "a group that rebalances", Needs: classic, Run: func(c *suite.C) {
			leader, _ := two(c, c.Name("g"))
			leader.startJoin()
			g := describeUntil(c, leader.group, "PreparingRebalance")
			c.Equal("Members", len(g.Members), 2)
			c.Equal("ProtocolMetadata", len(g.Members[0].ProtocolMetadata), 0)
			c.Equal("MemberAssignment", string(g.Members[0].MemberAssignment), g.Members[0].MemberID)
		}},
		suite.Case{Name: "an empty group", Needs: classicAndOffsets, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			c.OK(m.commit(newTopic(c, "t", 1), 0, 5)) // offsets keep the group
			m.leave()
			g := describeGroup(c, m.group)
			c.Equal("State", g.State, "Empty")
			c.Equal("ProtocolType", g.ProtocolType, "consumer")
			c.Equal("Protocol", g.Protocol, "")
		}},
		suite.Case{Name: "several groups in order", Needs: classic, Run: func(c *suite.C) {
			a, b := oneMember(c, c.Group("a")), oneMember(c, c.Group("b"))
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Groups = []string{b.group, c.Name("none"), a.group}
			answer := suite.Call(c, r)
			states := map[string]string{}
			for _, g := range answer.Groups {
				states[g.Group] = g.State
			}
			c.Equal("State", states, map[string]string{a.group: "Stable", b.group: "Stable", c.Name("none"): "Dead"})
		}},
	)
}
