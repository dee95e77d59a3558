package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// R19, R18: all disks of a quorum of three are lost. Any node begins the new incarnation, as a member that no old disk has promised
// anything to; the others join it, and everything that was shipped is there.
func TestAQuorumIsRebuiltByAnyOfItsNodes(t *testing.T) {
	for first := range 3 {
		c := newCluster(t, 7, 3)
		c.found()
		old := map[MemberID]bool{}
		for _, n := range c.nodes {
			old[n.node.replica.Member()] = true
		}
		for range 30 {
			c.propose(c.awaitLeader())
		}
		c.until("the entries", func() bool { return len(c.acked) == 30 })
		c.until("their shipment", func() bool { return c.leader().node.q.Shipped() >= c.leader().node.machine.index })
		for i, n := range c.nodes {
			c.stop(i, never)
			n.w.disk.files = map[string]*file{}
		}
		c.net = nil
		rebuilt := c.rebuild(first)
		require.True(t, rebuilt.Done)
		require.EqualValues(t, 1, rebuilt.Incarnation)

		c.start(first)
		n := c.awaitLeader()
		require.Equal(t, first, n.index)
		require.NotContains(t, old, n.node.replica.Member())
		for i := range c.nodes {
			if i != first {
				c.start(i)
				c.add(i)
			}
		}
		c.propose(c.awaitLeader())
		c.converge()
		require.Subset(t, c.longest, c.acked)
	}
}

// rebuild rebuilds the quorum on the empty disk of a node that is down.
func (c *cluster) rebuild(i int) (found Rebuilt) {
	c.t.Helper()
	n := c.nodes[i]
	n.w.now = c.now.Add(time.Second)
	done := false
	n.w.turn(func() {
		Rebuild(Options{Loop: n.w.loop, Env: n.w.env(), Machine: &machine{t: c.t}, Node: int32(i)}, func(Rebuilt) bool { return true }, func(r Rebuilt, err error) {
			require.NoError(c.t, err)
			found, done = r, true
		})
	})
	n.w.settle()
	require.True(c.t, done)
	return found
}
