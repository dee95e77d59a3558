package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
)

func syncGroup() []suite.Case {
	return suite.OfAPI(14,
		suite.Case{Name: "the leader gets its own assignment", Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.join()
			r := m.sync(assign(m, []byte("mine")))
			c.Equal("MemberAssignment", string(r.MemberAssignment), "mine")
			if c.V >= 5 {
				c.Equal("ProtocolType", *r.ProtocolType, "consumer")
				c.Equal("Protocol", *r.Protocol, "range")
			}
		}},
		suite.Case{Name: "a follower waits for the leader", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			joinAll(a, b)
			leader, follower := order(a, b)
			parked := follower.startSync()
			leader.sync(assign(leader, []byte("l")), assign(follower, []byte("f")))
			c.Equal("MemberAssignment", string(parked.Wait().MemberAssignment), "f")
		}},
		suite.Case{Name: "a late follower is answered at once", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			joinAll(a, b)
			leader, follower := order(a, b)
			leader.sync(assign(leader, []byte("l")), assign(follower, []byte("f")))
			c.Equal("MemberAssignment", string(follower.sync().MemberAssignment), "f")
			c.Equal("MemberAssignment again", string(follower.sync().MemberAssignment), "f")
		}},
		suite.Case{Name: "a member that the leader leaves out", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			joinAll(a, b)
			leader, follower := order(a, b)
			leader.sync(assign(leader, []byte("l")))
			c.Equal("MemberAssignment", len(follower.sync().MemberAssignment), 0)
		}},
		suite.Case{Name: "a stranger in the assignments", Needs: classic, Run: func(c *suite.C) {
			m, stranger := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			m.join()
			stranger.id = "stranger"
			c.Equal("MemberAssignment", string(m.sync(assign(stranger, []byte("s")), assign(m, []byte("m"))).MemberAssignment), "m")
		}},
		suite.Case{Name: "unknown group", Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.id, m.generation = "stranger", 1
			r := m.startSync().Wait()
			c.Code(r.ErrorCode, kerr.UnknownMemberID)
			c.Equal("MemberAssignment", len(r.MemberAssignment), 0)
		}},
		suite.Case{Name: "empty group id", Run: func(c *suite.C) {
			m := newMember(c, "")
			m.id, m.generation = "stranger", 1
			c.Code(m.startSync().Wait().ErrorCode, kerr.InvalidGroupID)
		}},
		suite.Case{Name: "unknown member", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			m.id = "stranger"
			c.Code(m.startSync().Wait().ErrorCode, kerr.UnknownMemberID)
		}},
		suite.Case{Name: "wrong generation", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			for _, generation := range []int32{0, 2, -1} {
				m.generation = generation
				c.Code(m.startSync().Wait().ErrorCode, kerr.IllegalGeneration)
			}
		}},
		suite.Case{Name: "while members join", Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			leader.startJoin()
			awaitState(c, leader.group, "PreparingRebalance")
			c.Code(follower.startSync().Wait().ErrorCode, kerr.RebalanceInProgress)
		}},
		suite.Case{Name: "the leader leaves while followers wait", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			joinAll(a, b)
			leader, follower := order(a, b)
			parked := follower.startSync()
			c.Code(suite.CallV(c, 4, leader.heartbeatRequest()).ErrorCode, nil, "Heartbeat")
			leader.leave()
			c.Code(parked.Wait().ErrorCode, kerr.RebalanceInProgress)
			follower.join()
			c.Equal("leader", follower.leader, true)
		}},
		suite.Case{Name: "a member that does not sync is dropped", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.rebalance, b.rebalance = 1500, 1500
			joinAll(a, b)
			leader, silent := order(a, b)
			leader.sync(assign(leader, []byte("l")))
			c.Poll("the silent member is dropped", func() bool { return silent.heartbeat() == kerr.UnknownMemberID.Code })
			c.Code(leader.heartbeat(), kerr.RebalanceInProgress)
		}},
		suite.Case{Name: "a leader that does not sync is dropped", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.rebalance, b.rebalance = 1500, 1500
			joinAll(a, b)
			leader, follower := order(a, b)
			c.Code(follower.startSync().Wait().ErrorCode, kerr.RebalanceInProgress)
			c.Code(leader.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "another protocol type", Versions: from(5), Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.join()
			m.kind = "connect"
			c.Code(m.startSync(assign(m, nil)).Wait().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "another protocol", Versions: from(5), Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.join()
			m.protocols = []string{"roundrobin"}
			c.Code(m.startSync(assign(m, nil)).Wait().ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "no protocol is named", Versions: from(5), Needs: classic, Run: func(c *suite.C) {
			m := newMember(c, c.Name("g"))
			m.join()
			r := m.syncRequest(assign(m, []byte("mine")))
			r.ProtocolType, r.Protocol = nil, nil
			c.Code(suite.Call(m, r).ErrorCode, kerr.InconsistentGroupProtocol)
		}},
		suite.Case{Name: "a fenced instance", Versions: from(3), Needs: classic, Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			m.join()
			m.id = "stranger"
			c.Code(m.startSync().Wait().ErrorCode, kerr.FencedInstanceID)
		}},
	)
}

// order returns the leader of two members first.
func order(a, b *member) (leader, follower *member) {
	if b.leader {
		return b, a
	}
	return a, b
}
