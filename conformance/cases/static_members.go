package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
)

// staticMembers are cases of KIP-345, run in every version of JoinGroup with instances.
func staticMembers() []suite.Case {
	return suite.OfAPI(11, static([]suite.Case{
		{Name: "an instance joins without an id", Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			r := m.join()
			c.True("the member id begins with the instance", len(r.MemberID) > 2 && r.MemberID[:2] == "i-")
			c.Equal("Members.InstanceID", r.Members[0].InstanceID, m.instance)
		}},
		{Name: "an instance with another member id", Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "i")
			stable(m)
			m.id = "stranger"
			c.Code(m.tryJoin().ErrorCode, kerr.FencedInstanceID)
		}},
		{Name: "an unknown instance with a member id", Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			other := newStatic(c, m.group, "nobody")
			other.id = "stranger"
			c.Code(other.tryJoin().ErrorCode, kerr.UnknownMemberID)
		}},
		{Name: "an instance that comes back fences its old self", Run: func(c *suite.C) {
			old := newStatic(c, c.Name("g"), "i")
			stable(old)
			m := newStatic(c, old.group, "i")
			m.join()
			c.True("the new id differs", m.id != old.id)
			c.Equal("Generation", m.generation, old.generation)
			c.Code(old.heartbeat(), kerr.FencedInstanceID)
			c.OK(m.heartbeat(), "Heartbeat")
			c.Equal("MemberAssignment", string(m.sync().MemberAssignment), old.id)
		}},
		{Name: "an instance never gets the same id twice", Run: func(c *suite.C) {
			seen := map[string]bool{}
			for range 4 {
				m := newStatic(c, c.Name("g"), "i")
				m.join()
				c.True("%s is new", !seen[m.id], m.id)
				seen[m.id] = true
				m.startSync(assign(m, nil)).Wait()
			}
		}},
		{Name: "a follower that comes back does not disturb the group", Run: func(c *suite.C) {
			a, b := newStatic(c, c.Name("g"), "a"), newStatic(c, c.Name("g"), "b")
			stable(a, b)
			leader, follower := order(a, b)
			back := newStatic(c, leader.group, *follower.instance)
			back.join()
			c.Equal("Generation", back.generation, leader.generation)
			c.OK(leader.heartbeat(), "Heartbeat of the leader")
			c.Code(follower.heartbeat(), kerr.FencedInstanceID)
			c.Equal("MemberAssignment", string(back.sync().MemberAssignment), follower.id)
		}},
		{Name: "a leader that comes back", Run: func(c *suite.C) {
			a, b := newStatic(c, c.Name("g"), "a"), newStatic(c, c.Name("g"), "b")
			stable(a, b)
			leader, follower := order(a, b)
			back := newStatic(c, leader.group, *leader.instance)
			r := back.join()
			c.Equal("Generation", back.generation, leader.generation)
			c.OK(follower.heartbeat(), "Heartbeat of the follower")
			c.Equal("SkipAssignment", r.SkipAssignment, c.V >= 9)
			if c.V >= 9 {
				c.Equal("LeaderID", r.LeaderID, back.id)
				c.Equal("Members", len(r.Members), 2)
			} else {
				c.Equal("LeaderID", r.LeaderID, leader.id)
				c.Equal("Members", len(r.Members), 0)
			}
		}},
		{Name: "a protocol that changes the vote rebalances", Run: func(c *suite.C) {
			a := newStatic(c, c.Name("g"), "a")
			a.protocols = []string{"range", "roundrobin"}
			stable(a)
			back := newStatic(c, a.group, "a")
			back.protocols = []string{"roundrobin", "range"}
			r := back.join()
			c.Equal("Generation", r.Generation, a.generation+1)
			c.Equal("Protocol", *r.Protocol, "roundrobin")
		}},
		{Name: "a duplicate fences a parked join", Run: func(c *suite.C) {
			a, b := newStatic(c, c.Name("g"), "a"), newStatic(c, c.Name("g"), "b")
			stable(a, b)
			leader, follower := order(a, b)
			parked := leader.startJoin()
			awaitState(c, leader.group, "PreparingRebalance")
			back := newStatic(c, leader.group, *leader.instance)
			again := back.startJoin()
			c.Code(parked.Wait().ErrorCode, kerr.FencedInstanceID)
			rest := follower.startJoin()
			back.joined(again)
			follower.joined(rest)
		}},
		{Name: "a duplicate fences a parked sync", Run: func(c *suite.C) {
			a, b := newStatic(c, c.Name("g"), "a"), newStatic(c, c.Name("g"), "b")
			joinAll(a, b)
			leader, follower := order(a, b)
			parked := follower.startSync()
			leaderID := leader.heartbeat()
			c.OK(leaderID, "Heartbeat")
			back := newStatic(c, leader.group, *follower.instance)
			again := back.startJoin()
			c.Code(parked.Wait().ErrorCode, kerr.FencedInstanceID)
			leader.awaitRebalance()
			rest := leader.startJoin()
			back.joined(again)
			leader.joined(rest)
		}},
		{Name: "an absent instance keeps its place until its session ends", Run: func(c *suite.C) {
			a, b := newStatic(c, c.Name("g"), "a"), newStatic(c, c.Name("g"), "b")
			a.rebalance, b.rebalance = 1500, 1500
			stable(a, b)
			leader, absent := order(a, b)
			r := leader.join()
			c.Equal("Members", len(r.Members), 2)
			c.Code(absent.heartbeat(), kerr.IllegalGeneration, "Heartbeat of the absent")
		}},
		{Name: "an instance is dropped when its session ends", Run: func(c *suite.C) {
			m := newStatic(c, c.Name("g"), "a")
			m.session = int32(c.ConfigInt("group.min.session.timeout.ms", 6000))
			stable(m)
			awaitNoMembers(c, m.group)
			c.Code(m.heartbeat(), kerr.UnknownMemberID)
		}},
	})...)
}

func static(cases []suite.Case) []suite.Case {
	for i := range cases {
		cases[i].Name, cases[i].Versions, cases[i].Needs = "static "+cases[i].Name, from(5), classic
	}
	return cases
}
