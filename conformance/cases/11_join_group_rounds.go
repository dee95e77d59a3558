package cases

import (
	"slices"
	"strconv"
	"time"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func joinGroupRounds() []suite.Case {
	return suite.OfAPI(11,
		suite.Case{Name: "only the leader learns the members", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			joinAll(a, b)
			c.True("one of two leads", a.leader != b.leader)
			again := map[bool]*member{true: b, false: a}[a.leader]
			r := again.join()
			c.Equal("Members", len(r.Members), 0)
		}},
		suite.Case{Name: "the first protocol of most members wins", Needs: classic, Run: func(c *suite.C) {
			a, b, d := newMember(c, c.Name("g")), newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.protocols, b.protocols, d.protocols = []string{"x", "y"}, []string{"y", "x"}, []string{"y", "x"}
			joinAll(a, b, d)
			c.Equal("ProtocolData", describeUntil(c, a.group, "CompletingRebalance").Protocol, "")
			for _, m := range []*member{a, b, d} {
				m.protocols = []string{"y"} // what SyncGroup names
			}
			syncAll(a, b, d)
			c.Equal("Protocol", describeGroup(c, a.group).Protocol, "y")
		}},
		suite.Case{Name: "a vote counts only for what all members know", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.protocols, b.protocols = []string{"x", "y"}, []string{"z", "y"}
			joinAll(a, b)
			r := a.startJoin()
			a.c.OK(b.startJoin().Wait().ErrorCode)
			answer := a.joined(r)
			c.Equal("Protocol", *answer.Protocol, "y")
		}},
		suite.Case{Name: "the first round waits for the initial delay", Needs: classic, Run: func(c *suite.C) {
			delay := c.ConfigInt("group.initial.rebalance.delay.ms", 4000)
			a, b := newMember(c, c.Name("g")).takeID(), newMember(c, c.Name("g")).takeID()
			begun := time.Now()
			first := a.startJoin()
			second := b.startJoin()
			a.joined(first)
			took := time.Since(begun)
			b.joined(second)
			c.Equal("Generation", []int32{a.generation, b.generation}, []int32{1, 1})
			c.True("the round took at least %d ms, not %v", took >= time.Duration(delay)*time.Millisecond, delay, took)
		}},
		suite.Case{Name: "the initial delay is not longer than the rebalance timeout", Versions: from(1), Needs: classic, Run: func(c *suite.C) {
			if c.ConfigInt("group.initial.rebalance.delay.ms", 1<<30) < 50 {
				c.Skip("there is no initial delay here")
			}
			m := newMember(c, c.Name("g"))
			m.rebalance = 10
			c.Equal("Generation", m.join().Generation, 1)
		}},
		suite.Case{Name: "a full group takes no more members", Needs: classic, Run: func(c *suite.C) {
			size := c.ConfigInt("group.max.size", 50)
			members := make([]*member, size)
			for i := range members {
				members[i] = newMember(c, c.Name("g"))
			}
			joinAll(members...)
			extra := newMember(c, c.Name("g"))
			r := extra.tryJoin()
			if r.ErrorCode == kerr.MemberIDRequired.Code {
				extra.id = r.MemberID // pending members do not count
				r = extra.tryJoin()
			}
			c.Code(r.ErrorCode, kerr.GroupMaxSizeReached)
			syncAll(members...)
			c.OK(members[1].heartbeat(), "Heartbeat of an old member")
		}},
		suite.Case{Name: "a pending member that never joins is forgotten", Versions: from(4), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			pending := newMember(c, m.group)
			pending.session = int32(c.ConfigInt("group.min.session.timeout.ms", 1000))
			pending.takeID()
			c.Equal("Generation", m.join().Generation, 2)
			c.Poll("the pending member is forgotten", func() bool {
				return pending.tryLeave() == kerr.UnknownMemberID.Code
			})
		}},
		suite.Case{Name: "a round waits for a pending member", Versions: from(4), Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			pending := newMember(c, m.group).takeID()
			first := m.startJoin()
			awaitState(c, m.group, "PreparingRebalance")
			second := pending.startJoin()
			c.Equal("Generation", []int32{m.joined(first).Generation, pending.joined(second).Generation}, []int32{2, 2})
		}},
		suite.Case{Name: "a follower that changed nothing is answered at once", Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			c.Equal("Generation", follower.join().Generation, leader.generation)
			c.OK(leader.heartbeat(), "Heartbeat")
		}},
		suite.Case{Name: "the leader forces a rebalance", Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			generation := leader.generation
			first := leader.startJoin()
			follower.awaitRebalance()
			second := follower.startJoin()
			c.Equal("Generation", leader.joined(first).Generation, generation+1)
			c.Equal("Generation", follower.joined(second).Generation, generation+1)
		}},
		suite.Case{Name: "changed metadata forces a rebalance", Needs: classic, Run: func(c *suite.C) {
			leader, follower := two(c, c.Name("g"))
			follower.metadata = subscription("other")
			generation := follower.generation
			first := follower.startJoin()
			leader.awaitRebalance()
			r := leader.joined(leader.startJoin())
			c.Equal("Generation", follower.joined(first).Generation, generation+1)
			i := slices.IndexFunc(r.Members, memberIs(follower.id))
			c.Equal("ProtocolMetadata", r.Members[i].ProtocolMetadata, follower.metadata)
		}},
		suite.Case{Name: "generations count up by one", Needs: classic, Run: func(c *suite.C) {
			m := oneMember(c, c.Name("g"))
			for generation := int32(2); generation < 5; generation++ {
				c.Equal("Generation", m.join().Generation, generation)
				m.sync(assign(m, []byte(strconv.Itoa(int(generation)))))
			}
		}},
		suite.Case{Name: "a member that does not come back is dropped", Versions: from(1), Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.rebalance, b.rebalance = 1500, 1500
			stable(a, b)
			leader, absent := a, b
			if b.leader {
				leader, absent = b, a
			}
			r := leader.join()
			c.Equal("Members", len(r.Members), 1)
			c.Code(absent.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "a parked join keeps its member", Versions: from(1), Needs: classic, Run: func(c *suite.C) {
			session := int32(c.ConfigInt("group.min.session.timeout.ms", 1000))
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			a.rebalance, b.rebalance = 4*session+1500, 4*session+1500
			stable(a, b)
			leader, absent := order(a, b)
			leader.session = session
			r := leader.join() // parked until the absent member's rebalance timeout
			c.Equal("Members", len(r.Members), 1)
			c.Code(absent.heartbeat(), kerr.UnknownMemberID)
		}},
		suite.Case{Name: "a storm of members settles", Needs: classic, Run: storm},
		suite.Case{Name: "a join again replaces the parked one", Needs: classic, Run: func(c *suite.C) {
			a, b := newMember(c, c.Name("g")), newMember(c, c.Name("g"))
			stable(a, b)
			a.metadata = subscription("other")
			a.startJoin() // never answered
			b.awaitRebalance()
			twin := *a
			twin.Conn = c.Dial()
			again := twin.startJoin()
			rest := b.startJoin()
			twin.joined(again)
			b.joined(rest)
			c.Equal("Generation", twin.generation, b.generation)
		}},
	)
}

// storm lets a dozen members join at once, each as a client does: join, sync, heartbeat, and again after an error.
func storm(c *suite.C) {
	size := min(12, c.ConfigInt("group.max.size", 1<<31-1))
	generations := make([]int32, size)
	c.Together(size, func(c *suite.C, i int) {
		m := newMember(c, c.Name("g"))
		c.Poll("the group is stable", func() bool { return m.round() && len(describeGroup(c, m.group).Members) == size })
		generations[i] = m.generation
	})
	g := describeGroup(c, c.Name("g"))
	c.Equal("State", g.State, "Stable")
	c.Equal("Members", len(g.Members), size)
	c.Equal("highest and lowest generation", slices.Max(generations), slices.Min(generations))
}

// round joins and syncs if the group rebalances, and reports whether a heartbeat then finds it stable.
func (m *member) round() bool {
	if m.generation < 0 || m.heartbeat() != 0 {
		m.join()
		switch code := m.startSync().Wait().ErrorCode; code {
		case kerr.RebalanceInProgress.Code, kerr.IllegalGeneration.Code:
			return false
		default:
			m.c.OK(code, "SyncGroup")
		}
	}
	return m.heartbeat() == 0
}

func memberIs(id string) func(kmsg.JoinGroupResponseMember) bool {
	return func(m kmsg.JoinGroupResponseMember) bool { return m.MemberID == id }
}
