package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func leaveGroup() []suite.Case {
	return suite.OfAPI(13,
		suite.Case{Name: "the last member leaves", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			r := suite.Call(c, leaveRequest(m.group, m.id, nil))
			c.OK(leaveCode(c, r))
			c.True("there are no members", noMembers(c, m.group))
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			r := suite.Call(c, leaveRequest(c.Name("g"), "stranger", nil))
			c.Code(leaveCode(c, r), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			c.Code(suite.Call(c, leaveRequest("", "stranger", nil)).ErrorCode, kerr.InvalidGroupID)
		}},
		suite.Case{Name: "unknown member", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			c.Code(leaveCode(c, suite.Call(c, leaveRequest(m.group, "stranger", nil))), kerr.UnknownMemberID)
			c.OK(m.heartbeat(), "Heartbeat")
		}},
		suite.Case{Name: "leaving twice", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			c.OK(leaveCode(c, suite.Call(c, leaveRequest(m.group, m.id, nil))))
			c.Code(leaveCode(c, suite.Call(c, leaveRequest(m.group, m.id, nil))), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "the others rebalance", Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			c.OK(leaveCode(c, suite.Call(c, leaveRequest(leader.group, leader.id, nil))))
			c.Code(follower.heartbeat(), kerr.RebalanceInProgress)
			follower.join()
			c.Equal("leader", follower.leader, true)
		}},
		suite.Case{Name: "a pending member leaves", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g")).takeID()
			c.OK(leaveCode(c, suite.Call(c, leaveRequest(m.group, m.id, nil))))
			c.Code(m.tryJoin().ErrorCode, kerr.UnknownMemberID, "JoinGroup")
		}},
		suite.Case{Name: "each member has its answer", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			r := leaveRequest(leader.group, leader.id, nil)
			r.Members = append(r.Members, leaveRequest("", "stranger", nil).Members[0], leaveRequest("", follower.id, nil).Members[0])
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Equal("Members", codesOf(answer.Members), []int16{0, kerr.UnknownMemberID.Code, 0})
			c.Equal("Members.MemberID", answer.Members[1].MemberID, "stranger")
			c.True("there are no members", noMembers(c, leader.group))
		}},
		suite.Case{Name: "no members", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			r := leaveRequest(m.group, "", nil)
			r.Members = nil
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Equal("Members", len(answer.Members), 0)
		}},
		suite.Case{Name: "an instance leaves without its member id", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			stable(m)
			answer := suite.Call(c, leaveRequest(m.group, "", m.instance))
			c.OK(leaveCode(c, answer))
			c.Equal("Members.InstanceID", answer.Members[0].InstanceID, m.instance)
			c.True("there are no members", noMembers(c, m.group))
		}},
		suite.Case{Name: "an instance with another member id", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			stable(m)
			c.Code(leaveCode(c, suite.Call(c, leaveRequest(m.group, "stranger", m.instance))), kerr.FencedInstanceID)
			c.OK(m.heartbeat(), "Heartbeat")
		}},
		suite.Case{Name: "unknown instance", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			c.Code(leaveCode(c, suite.Call(c, leaveRequest(m.group, "", pointer("nobody")))), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "an instance of KIP-848", Versions: from(3), Needs: modern, Run: func(c *suite.C) {
			m := staticConsumer(c, c.Name("g"), "m", newTopic(c, "t", 1))
			m.join()
			settle(1, m)
			c.OK(leaveCode(c, suite.Call(c, leaveRequest(m.group, "", m.instance))))
			c.Equal("Members", len(describeConsumers(c, m.group).Members), 0)
		}},
		suite.Case{Name: "a member of KIP-848", Versions: from(3), Needs: modern, Run: func(c *suite.C) {
			m := alone(c, c.Name("g"), 1, newTopic(c, "t", 1))
			c.OK(leaveCode(c, suite.Call(c, leaveRequest(m.group, m.id, nil))))
			c.Equal("Members", len(describeConsumers(c, m.group).Members), 0)
		}},
		suite.Case{Name: "a reason is accepted", Versions: from(5), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			r := leaveRequest(m.group, m.id, nil)
			r.Members[0].Reason = pointer("the test is over")
			c.OK(leaveCode(c, suite.Call(c, r)))
		}},
	)
}

// leaveCode is the code of the only member that leaves, which old versions have for the whole answer.
func leaveCode(c *suite.C, r *kmsg.LeaveGroupResponse) int16 {
	if r.Version < 3 || r.ErrorCode != 0 {
		return r.ErrorCode
	}
	c.Equal("Members", len(r.Members), 1)
	return r.Members[0].ErrorCode
}

func codesOf(members []kmsg.LeaveGroupResponseMember) (codes []int16) {
	for _, m := range members {
		codes = append(codes, m.ErrorCode)
	}
	return codes
}
