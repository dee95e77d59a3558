package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
)

func heartbeat() []suite.Case {
	return suite.OfAPI(12,
		suite.Case{Name: "stable", Needs: classic, Run: func(c *suite.C) {
			c.OK(oneMember(c, c.Name("g")).heartbeat())
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.id, m.generation = "stranger", 1
			c.Code(m.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			m := newMember(c, "")
			m.id, m.generation = "stranger", 1
			c.Code(m.heartbeat(), kerr.InvalidGroupID)
		}},
		suite.Case{Name: "empty group", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			m.leave()
			c.Code(m.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "unknown member", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			m.id = "stranger"
			c.Code(m.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "wrong generation", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			for _, generation := range []int32{0, 2, -1} {
				m.generation = generation
				c.Code(m.heartbeat(), kerr.IllegalGeneration)
			}
		}},
		suite.Case{Name: "while members join", Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			leader.startJoin()
			awaitState(c, leader.group, "PreparingRebalance")
			c.Code(follower.heartbeat(), kerr.RebalanceInProgress)
		}},
		suite.Case{Name: "while assignments are awaited", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.join()
			c.OK(m.heartbeat())
		}},
		suite.Case{Name: "a silent member is dropped", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.session = int32(c.ConfigInt("group.min.session.timeout.ms", 6000))
			stable(m)
			awaitNoMembers(c, m.group)
			c.Code(m.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "heartbeats keep a member", Needs: classic, Run: func(c *suite.C) {
			silent, m := newMember(c, c.Group("silent")), newMember(c, c.Name("g"))
			m.session = int32(c.ConfigInt("group.min.session.timeout.ms", 1000)) + 1900
			silent.session = 2 * m.session
			stable(m)
			stable(silent)
			c.Poll("a silent member with twice the timeout is dropped", func() bool {
				c.OK(m.heartbeat())
				return noMembers(c, silent.group)
			})
		}},
		suite.Case{Name: "fenced instance", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			stable(m)
			m.id = "stranger"
			c.Code(m.heartbeat(), kerr.FencedInstanceID)
		}},
		suite.Case{Name: "unknown instance", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			m.instance = pointer("nobody")
			c.Code(m.heartbeat(), kerr.UnknownMemberID)
		}},
	)
}
