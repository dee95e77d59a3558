package quorum

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
)

var clusters = flag.Int("clusters", 60, "how many random clusters TestRandomClusters takes")

// cluster is several nodes, each with a world of its own; they share the object store and the time. Nothing happens
// before the test says so.
type cluster struct {
	t         testing.TB
	rng       *rand.Rand
	nodes     []*clusterNode
	net       []packet
	objects   map[string][]byte
	now       env.Time
	cut       map[[2]int]bool // links that drop everything
	slow      map[[2]int]bool // links whose packets are held in late
	late      []packet
	serial    int
	acked     []string        // proposals that succeeded
	refused   map[string]bool // proposals that are not in the log
	longest   []string        // of all that was applied
	snapshots int64           // Options.SnapshotEntries
	options   func(*Options)
	lenient   bool // nodes may fail
	confirmed int  // leaderships
}

// packet is encoded when it is delivered: until then it may share what the sender holds.
type packet struct {
	from, to int
	message  *Message
}

type clusterNode struct {
	*node
	c     *cluster
	w     *world
	index int
	up    bool
	draws uint64
	open  map[string]bool // proposals without an outcome
}

func newCluster(t testing.TB, seed uint64, nodes int) *cluster {
	c := &cluster{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), objects: map[string][]byte{}, now: 1000, cut: map[[2]int]bool{}, refused: map[string]bool{}, snapshots: 20,
	}
	for i := range nodes {
		w := newWorld(t)
		w.store.objects = c.objects
		c.nodes = append(c.nodes, &clusterNode{c: c, w: w, index: i})
	}
	return c
}

// Send implements Peers.
func (n *clusterNode) Send(m *Message) {
	to := int(m.To.Node())
	switch link := [2]int{n.index, to}; {
	case n.c.cut[link]:
	case n.c.slow[link]:
		n.c.late = append(n.c.late, packet{n.index, to, m})
	default:
		n.c.net = append(n.c.net, packet{n.index, to, m})
	}
}

func (c *cluster) start(i int) {
	n := c.nodes[i]
	n.draws += 1000
	n.open = map[string]bool{}
	n.w.now, n.w.draws, n.up = c.now, n.draws+uint64(i)*7, true
	n.node = n.w.open(func(o *Options) {
		o.Node, o.Peers, o.Shipping = int32(i), n, ShipAsync
		o.SnapshotEntries, o.SnapshotBytes = c.snapshots, 1<<20
		o.ShipInterval = time.Second
		if c.options != nil {
			c.options(o)
		}
	})
	n.node.machine.applied = func() { c.check(n) }
}

// check: all nodes apply the same.
func (c *cluster) check(n *clusterNode) {
	for i, e := range n.node.machine.entries {
		switch {
		case i == len(c.longest):
			c.longest = append(c.longest, string(e))
		case c.longest[i] != string(e):
			c.t.Fatalf("node %d applied %q as number %d, where another applied %q", n.index, e, i, c.longest[i])
		}
	}
}

func (c *cluster) stop(i int, keep func() bool) {
	n := c.nodes[i]
	n.up, n.node = false, nil
	n.w.crash(keep)
}

func (c *cluster) live(n *clusterNode) bool {
	if n.up && n.node != nil && !c.lenient && (n.node.failure != nil || n.node.err != nil) {
		c.t.Fatalf("node %d failed: %v %v", n.index, n.node.failure, n.node.err)
	}
	return n.up
}

// complete ends the k-th operation in flight of a node.
func (c *cluster) complete(n *clusterNode, k int) {
	n.w.now = c.now
	n.w.complete(k)
	n.w.now = c.now
	c.live(n)
}

// deliver hands over the k-th packet.
func (c *cluster) deliver(k int, keep bool) {
	p := c.net[k]
	if !keep {
		c.net = slices.Delete(c.net, k, k+1)
	}
	n := c.nodes[p.to]
	if !n.up || n.node == nil || c.cut[[2]int{p.from, p.to}] {
		return
	}
	m, err := DecodeMessage(p.message.AppendTo(nil))
	require.NoError(c.t, err)
	n.w.now = c.now
	n.w.turn(func() { n.node.replica.Receive(m) })
	c.live(n)
}

// pass lets time pass up to the next timer of any node.
func (c *cluster) pass() {
	next := c.now + env.Time(time.Second)
	for _, n := range c.nodes {
		if n.up && n.w.wake > c.now {
			next = min(next, n.w.wake)
		}
	}
	c.now = next
	for _, n := range c.nodes {
		if n.up {
			n.w.now = c.now
			if n.w.wake <= c.now {
				n.w.turn(func() {})
				c.live(n)
			}
		}
	}
}

// rest completes and delivers everything until nothing is under way.
func (c *cluster) rest() {
	for range 1_000_000 {
		if !c.round() {
			return
		}
	}
	c.t.Fatal("the cluster never comes to rest")
}

// round completes one operation of each node and delivers one packet. It reports whether there was any.
func (c *cluster) round() (busy bool) {
	for _, n := range c.nodes {
		if n.up && len(n.w.pending) > 0 {
			c.complete(n, 0)
			busy = true
		}
	}
	if len(c.net) > 0 {
		c.deliver(0, false)
		busy = true
	}
	return busy
}

// until lets everything happen in order until a condition holds.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	limit := c.now.Add(2 * time.Minute)
	for c.rest(); !holds(); c.rest() {
		if c.now > limit {
			for _, n := range c.nodes {
				if n.up && n.node.q != nil {
					q := n.node.q
					c.t.Logf("node %d: member %v leads=%v leading=%v leader=%v term=%d applied=%d members=%v shipped=%d synced=%v", n.index, q.id, q.leads, q.leading, q.Leader(), q.term, q.applied, q.store.members, q.ship.at.last, q.ship.synced)
				}
			}
			c.t.Fatalf("did not come within two minutes: %s", what)
		}
		c.pass()
	}
}

// leader is the node that takes proposals, or nil.
func (c *cluster) leader() *clusterNode {
	var leader *clusterNode
	for _, n := range c.nodes {
		if n.up && n.node.q != nil && n.node.q.Leads() && (leader == nil || n.node.q.Term() > leader.node.q.Term()) {
			leader = n
		}
	}
	return leader
}

func (c *cluster) awaitLeader() *clusterNode {
	c.t.Helper()
	c.until("a leader", func() bool { return c.leader() != nil })
	return c.leader()
}

// propose proposes one entry at a node.
func (c *cluster) propose(n *clusterNode) {
	c.serial++
	data := fmt.Sprintf("entry %d", c.serial)
	open := n.open
	n.w.now, open[data] = c.now, true
	n.w.turn(func() {
		n.node.q.Propose([]byte(data), func(_ uint64, err error) {
			delete(open, data)
			switch {
			case err == nil:
				c.acked = append(c.acked, data)
			case err != ErrUnknown:
				c.refused[data] = true
			}
		})
	})
	c.live(n)
	c.confirm(n)
}

// confirm: a node whose leadership is confirmed has applied whatever anybody had acknowledged when it was asked for.
func (c *cluster) confirm(n *clusterNode) {
	known, node := len(c.acked), n.node
	n.w.turn(func() {
		node.q.ConfirmLeadership(func(leads bool) {
			if !leads || n.node != node {
				return
			}
			c.confirmed++
			for _, e := range c.acked[:known] {
				require.True(c.t, slices.ContainsFunc(node.machine.entries, func(have []byte) bool { return string(have) == e }), "%s was acknowledged before", e)
			}
		})
	})
	c.live(n)
}

// change changes the members and waits until that is in force.
func (c *cluster) change(change MemberChange, id func() MemberID) {
	c.t.Helper()
	done, busy := false, false
	c.until(fmt.Sprintf("change %d", change), func() bool {
		if n := c.leader(); n != nil && !done && !busy {
			busy = true
			n.w.turn(func() {
				n.node.q.ChangeMembers(change, id(), func(err error) { done, busy = err == nil, false })
			})
		}
		return done
	})
}

// found starts all nodes: the first founds the cluster, the others join as voters.
func (c *cluster) found() {
	c.t.Helper()
	for i := range c.nodes {
		c.start(i)
		if i == 0 {
			c.awaitLeader()
			continue
		}
		c.add(i)
	}
}

// add makes a node that was started a voter.
func (c *cluster) add(i int) {
	c.t.Helper()
	c.until("a member", func() bool { return c.nodes[i].node.replica.Member() != 0 })
	id := func() MemberID { return c.nodes[i].node.replica.Member() }
	c.change(AddLearner, id)
	c.change(PromoteVoter, id)
}

// converge: every node that is up has all that was acknowledged, and nothing that was refused.
func (c *cluster) converge() {
	c.t.Helper()
	c.cut = map[[2]int]bool{}
	for i, n := range c.nodes {
		if !n.up {
			c.start(i)
		}
	}
	c.until("the members are the nodes", c.tend)
	c.propose(c.awaitLeader())
	c.until("a confirmed leadership", func() bool { return c.confirmed > 0 })
	c.until("all nodes are equal", func() bool {
		for _, n := range c.nodes {
			if n.node.machine == nil || len(n.node.machine.entries) != len(c.longest) || n.node.q == nil || len(n.open) > 0 {
				return false
			}
		}
		return len(c.acked) > 0 && slices.Contains(c.longest, c.acked[len(c.acked)-1])
	})
	seen := map[string]int{}
	for _, e := range c.longest {
		seen[e]++
		require.LessOrEqual(c.t, seen[e], 1, "%s is in the log twice", e)
		require.False(c.t, c.refused[e], "%s was refused, and is in the log", e)
	}
	for _, e := range c.acked {
		require.Equal(c.t, 1, seen[e], "%s was acknowledged", e)
	}
}

// tend takes the next step that makes exactly the nodes' members voters, as far as it can now. It reports whether none is needed.
func (c *cluster) tend() bool {
	n := c.leader()
	if n == nil {
		return false
	}
	own := map[MemberID]bool{}
	for _, other := range c.nodes {
		if other.up && other.node.replica.Member() != 0 {
			own[other.node.replica.Member()] = true
		}
	}
	step := func(change MemberChange, id MemberID) bool {
		n.w.now = c.now
		n.w.turn(func() { n.node.q.ChangeMembers(change, id, func(error) {}) })
		c.live(n)
		return false
	}
	voters, learners := n.node.q.Members()
	for _, other := range c.nodes {
		if !other.up || other.node.replica.Member() == 0 {
			return false
		}
		switch id := other.node.replica.Member(); {
		case slices.Contains(learners, id):
			return step(PromoteVoter, id)
		case !slices.Contains(voters, id):
			return step(AddLearner, id)
		}
	}
	for _, id := range append(voters, learners...) {
		if !own[id] {
			return step(RemoveMember, id)
		}
	}
	return true
}

// wipe gives a node an empty disk, unless another's is not replaced yet: a minority may be lost.
func (c *cluster) wipe(n *clusterNode) {
	var members []MemberID
	for _, other := range c.nodes {
		if !other.up || other.node.q == nil {
			return
		}
		members = append(members, other.node.replica.Member())
	}
	slices.Sort(members)
	for _, other := range c.nodes {
		if voters, learners := other.node.q.Members(); !slices.Equal(voters, members) || len(learners) > 0 {
			return
		}
	}
	c.stop(n.index, never)
	n.w.disk.files = map[string]*file{}
	c.start(n.index)
}

func TestThreeVotersReplicateAndElect(t *testing.T) {
	c := newCluster(t, 1, 3)
	c.found()
	first := c.awaitLeader()
	for range 50 {
		c.propose(first)
	}
	c.until("the entries", func() bool { return len(c.acked) == 50 })
	c.stop(first.index, never)
	second := c.awaitLeader()
	require.NotEqual(t, first.index, second.index)
	for range 50 {
		c.propose(second)
	}
	c.until("more entries", func() bool { return len(c.acked) == 100 })
	c.converge()
}

// A leader that nobody hears, and one that hears nobody, make room for another (R17).
func TestALeaderBehindAOneWayCutIsReplaced(t *testing.T) {
	for _, inwards := range []bool{false, true} {
		c := newCluster(t, 2, 3)
		c.found()
		first := c.awaitLeader()
		for i := range 3 {
			link := [2]int{first.index, i}
			if inwards {
				link = [2]int{i, first.index}
			}
			c.cut[link] = i != first.index
		}
		c.propose(first)
		c.until("another leader", func() bool { n := c.leader(); return n != nil && n != first })
		c.propose(c.leader())
		c.converge()
	}
}

// A node that lacks what the others no longer have fetches a snapshot from the object store.
func TestAMemberThatWasAwayForLongFetchesASnapshot(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.found()
	away := (c.awaitLeader().index + 1) % 3
	c.stop(away, always)
	for range 200 {
		n := c.awaitLeader()
		want := len(c.acked) + 1
		c.propose(n)
		c.until("an entry", func() bool { return len(c.acked) >= want })
	}
	require.Greater(t, c.awaitLeader().node.q.store.index, uint64(150))
	c.start(away)
	c.converge()
	c.stop(away, never)
	c.start(away)
	c.converge()
}

// The log's start passes a snapshot while a member installs it. The member is offered a newer one as soon as it says that it has that one.
func TestASnapshotThatTheLogHasLeftBehindIsFollowedByANewerOne(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.snapshots = 5
	c.found()
	leader := c.awaitLeader()
	away := (leader.index + 1) % 3
	c.stop(away, always)
	extend := func(entries int) {
		for range entries {
			want := len(c.acked) + 1
			c.propose(leader)
			c.until("an entry", func() bool { return len(c.acked) >= want })
		}
	}
	extend(50)
	c.start(away)
	n := c.nodes[away]
	for limit := c.now.Add(time.Minute); n.node.q == nil || !n.node.q.fetch.active; {
		require.Less(t, c.now, limit)
		if !c.round() {
			c.pass()
		}
	}
	c.slow = map[[2]int]bool{{away, leader.index}: true}
	extend(50)
	c.net, c.late, c.slow = append(c.net, c.late...), nil, nil
	limit := c.now.Add(10 * time.Second)
	c.until("the member has everything", func() bool { return len(n.node.machine.entries) == len(c.longest) })
	require.Less(t, c.now, limit)
}

// A member that has what an offered snapshot holds says so: else the leader would wait for it.
func TestAnOfferThatIsNotNeededIsAnswered(t *testing.T) {
	c := newCluster(t, 6, 3)
	c.found()
	leader := c.awaitLeader()
	other := c.nodes[(leader.index+1)%3]
	c.until("a shipped snapshot", func() bool { return other.node.q.ship.at.ref.nonce != 0 })
	at := other.node.q.ship.at
	data := make([]byte, markBytes)
	at.encode(data)
	offer := &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(uint64(leader.node.q.id)), To: new(uint64(other.node.q.id)), Term: new(leader.node.q.term),
		Snapshot: &raftpb.Snapshot{Data: data, Metadata: &raftpb.SnapshotMetadata{
			Index: new(at.ref.index), Term: new(leader.node.q.term), ConfState: leader.node.q.store.members.confState(),
		}},
	}
	c.net = nil
	other.w.turn(func() {
		other.node.q.Receive(&Message{Cluster: leader.node.q.cluster, From: leader.node.q.id, To: other.node.q.id, raft: offer})
	})
	require.Len(t, c.net, 1)
	require.Equal(t, raftpb.MsgAppResp, c.net[0].message.raft.GetType())
	require.GreaterOrEqual(t, c.net[0].message.raft.GetIndex(), at.ref.index)
}

// R18: a voter that was restored from an older copy of its disk does not vote away what it acknowledged.
func TestAVoterOfAnOlderDiskStops(t *testing.T) {
	c := newCluster(t, 4, 3)
	c.found()
	leader := c.awaitLeader()
	old := c.nodes[(leader.index+1)%3]
	c.stop(old.index, always)
	files := map[string]*file{}
	for name, f := range old.w.disk.files {
		files[name] = &file{data: slices.Clone(f.data), durable: slices.Clone(f.durable)}
	}
	c.start(old.index)
	for range 5 {
		c.propose(leader)
	}
	c.until("the entries", func() bool { return len(c.acked) == 5 && len(old.node.machine.entries) == 5 })
	c.stop(old.index, always)
	old.w.disk.files = files
	c.start(old.index)
	c.lenient = true
	c.until("the member of the old disk stops", func() bool { return old.node.failure != nil || old.node.err != nil })
	require.ErrorIs(t, errors.Join(old.node.failure, old.node.err), ErrLostEntries)
}

// A cluster keeps what was acknowledged over messages that are lost, repeated and late, crashes and cuts.
// R9: a leader that was suspended, and resumes, does not take itself for the leader: others may have elected another meanwhile.
func TestASuspendedLeaderIsNotConfirmed(t *testing.T) {
	c := newCluster(t, 5, 3)
	c.found()
	old := c.awaitLeader()
	old.up = false // nothing of it runs
	c.until("another leader", func() bool { l := c.leader(); return l != nil && l != old })
	c.propose(c.leader())
	c.until("an acknowledgement", func() bool { return len(c.acked) > 0 })
	old.up = true
	for i := range c.nodes {
		c.cut[[2]int{i, old.index}] = true
	}
	require.True(t, old.node.q.Leads(), "it does not know yet")
	answered, confirmed := false, false
	old.w.turn(func() {
		old.node.q.ConfirmLeadership(func(leads bool) { answered, confirmed = true, leads })
	})
	require.False(t, confirmed)
	c.until("the end of its leadership", func() bool { return answered })
	require.False(t, confirmed)
}

func TestRandomClusters(t *testing.T) {
	for seed := range uint64(*clusters) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newCluster(t, seed, 3+2*int(seed%2))
			c.snapshots = 2 + int64(seed/2%4)*8
			c.found()
			c.storm(3000)
			c.converge()
		})
	}
}

// storm does what is likely in bad weather, and what is not.
func (c *cluster) storm(steps int) {
	down := func() (n int) {
		for _, node := range c.nodes {
			if !node.up {
				n++
			}
		}
		return n
	}
	keep := func() bool { return c.rng.IntN(2) == 0 }
	for _, n := range c.nodes {
		ills := 1 + c.rng.IntN(40)
		n.w.store.ill = func(env.Event) int { return max(healthy, lostAfter-c.rng.IntN(ills)) }
		defer func() { n.w.store.ill = nil }()
	}
	for range steps {
		n := c.nodes[c.rng.IntN(len(c.nodes))]
		switch k := c.rng.IntN(104); {
		case k < 40 && n.up && len(n.w.pending) > 0:
			c.complete(n, c.rng.IntN(min(3, len(n.w.pending))))
		case k < 75 && len(c.net) > 0:
			c.deliver(c.rng.IntN(min(20, len(c.net))), c.rng.IntN(20) == 0)
		case k < 78 && len(c.net) > 0:
			i := c.rng.IntN(len(c.net))
			c.net = slices.Delete(c.net, i, i+1)
		case k < 86:
			c.pass()
		case k < 96 && n.up && n.node.q != nil && n.node.failure == nil:
			c.propose(n)
			if c.rng.IntN(40) == 0 {
				n.w.turn(func() { n.node.q.Resign(func() {}) })
				c.live(n)
			}
		case k == 96 && n.up && down() < len(c.nodes)/2+c.rng.IntN(2):
			c.stop(n.index, keep)
		case k == 97 && !n.up:
			c.start(n.index)
		case k == 98:
			c.cut[[2]int{n.index, c.rng.IntN(len(c.nodes))}] = true
		case k == 99:
			c.cut = map[[2]int]bool{}
		case k == 100 && c.rng.IntN(5) == 0:
			c.wipe(n)
		case k > 100:
			c.tend()
		}
	}
}

// A learner that was made a voter by an entry that it lacks votes all the same: nobody could lead without it.
func TestALearnerThatLacksItsPromotionVotes(t *testing.T) {
	c := newCluster(t, 4, 2)
	c.start(0)
	first := c.awaitLeader()
	c.start(1)
	other := c.nodes[1]
	c.change(AddLearner, func() MemberID { return other.node.replica.Member() })
	c.until("the learner follows", func() bool { return other.node.q != nil && other.node.q.Leader() == first.node.replica.Member() })
	id := other.node.replica.Member()
	c.until("the learner has caught up", func() bool { return other.node.q.Applied() == first.node.q.Applied() })
	c.rest()
	c.cut[[2]int{0, 1}] = true
	first.w.now = c.now
	first.w.turn(func() { first.node.q.ChangeMembers(PromoteVoter, id, func(error) {}) })
	c.live(first)
	c.until("the promotion", func() bool {
		voters, _ := first.node.q.Members()
		return slices.Contains(voters, id)
	})
	voters, _ := other.node.q.Members()
	require.NotContains(t, voters, id, "it does not know")
	c.until("the leader hears no majority", func() bool { return c.leader() == nil })
	clear(c.cut)
	c.propose(c.awaitLeader())
	c.until("an entry", func() bool { return len(c.acked) > 0 })
}

// A change of the voters is known after a restart, although nothing was written behind it: those that are left are a majority with it,
// and none without.
func TestAPromotionOutlivesTheRestartOfAll(t *testing.T) {
	c := newCluster(t, 7, 3)
	c.found()
	c.until("all know of the promotion", func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *clusterNode) bool {
			voters, _ := n.node.q.Members()
			return len(voters) != 3
		})
	})
	c.rest()
	for i := range c.nodes {
		c.stop(i, func() bool { return false })
	}
	c.start(1)
	c.start(2)
	c.awaitLeader()
}

// A leader that is removed while it writes what comes behind its removal: the answer of its own disk is of no member any more.
func TestALeaderThatIsRemovedStillWrites(t *testing.T) {
	c := newCluster(t, 9, 3)
	c.found()
	first := c.awaitLeader()
	c.rest()
	done := false
	first.w.turn(func() {
		first.node.q.ChangeMembers(RemoveMember, first.node.replica.Member(), func(err error) { done = err == nil })
	})
	c.propose(first)
	c.complete(first, 0) // the removal is durable, the next group is under way
	for !done {
		require.NotEmpty(t, c.net)
		c.deliver(0, false)
		for _, n := range c.nodes {
			for n != first && len(n.w.pending) > 0 {
				c.complete(n, 0)
			}
		}
	}
	require.NotEmpty(t, first.w.pending)
	c.rest()
	c.until("another leader", func() bool { l := c.leader(); return l != nil && l != first })
}

// raft turns a change of the members down, without a word, while its leader has not applied what came before its term. Whoever asked hears of
// it, and can ask again: else nobody could be added or made a voter for as long as that leader leads.
func TestAChangeThatIsTurnedDownCanBeMadeAgain(t *testing.T) {
	c := newCluster(t, 11, 3)
	var asked, answered int
	var gone MemberID
	c.options = func(o *Options) {
		n := c.nodes[o.Node]
		o.LeadershipChanged = func() {
			if gone == 0 || !n.node.q.Leads() {
				return
			}
			asked++
			n.node.q.ChangeMembers(RemoveMember, gone, func(err error) {
				require.ErrorIs(t, err, ErrBusy)
				answered++
			})
		}
	}
	c.found()
	first := c.awaitLeader()
	c.rest()
	c.propose(first)
	lacks := func(n *clusterNode) bool {
		last, err := n.node.q.store.LastIndex()
		require.NoError(t, err)
		return n != first && last > n.node.q.applied
	}
	for !slices.ContainsFunc(c.nodes, lacks) { // until another has an entry of which it does not know that it is committed
		switch {
		case len(first.w.pending) > 0:
			c.complete(first, 0)
		case len(c.net) > 0:
			c.deliver(0, false)
		default:
			c.complete(c.nodes[1], 0)
		}
	}
	gone = first.node.replica.Member()
	c.stop(first.index, func() bool { return true })
	c.until("a new leader's first change is answered", func() bool { return answered > 0 })
	c.change(RemoveMember, func() MemberID { return gone })
	require.Equal(t, asked, answered)
}
