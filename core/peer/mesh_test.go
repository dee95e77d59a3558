package peer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
)

func TestMessagesArriveInOrder(t *testing.T) {
	n := newNet(t, 1)
	a, b := n.add(1, nil), n.add(2, nil)
	n.know()
	for i := range 5 {
		require.True(t, a.send(2, fmt.Sprint(i)))
	}
	n.rest()
	require.Equal(t, []string{"1: 0", "1: 1", "1: 2", "1: 3", "1: 4"}, b.got)
	require.True(t, b.send(1, "back"), "the connection serves both ways")
	n.rest()
	require.Equal(t, []string{"2: back"}, a.got)
	require.Len(t, a.mesh.conns, 1)
	n.clean()
}

// Both dial at once, in every order of what happens then: one connection stays, and both know the same.
func TestOneConnectionAPair(t *testing.T) {
	for seed := range uint64(300) {
		n := newNet(t, seed)
		a, b := n.add(1, nil), n.add(2, nil)
		n.know()
		a.send(2, "x")
		b.send(1, "y")
		n.rest()
		n.pass(time.Second)
		require.True(t, a.mesh.Connected(2), "seed %d", seed)
		require.True(t, b.mesh.Connected(1), "seed %d", seed)
		require.Len(t, a.mesh.conns, 1, "seed %d", seed)
		require.Len(t, b.mesh.conns, 1, "seed %d", seed)
		a.got, b.got = nil, nil
		require.True(t, a.send(2, "again"))
		require.True(t, b.send(1, "too"))
		n.rest()
		require.Equal(t, [][]string{{"2: too"}, {"1: again"}}, [][]string{a.got, b.got}, "seed %d", seed)
		n.clean()
	}
}

func TestStrangersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		line   string
	}{
		"another secret":  {func(o *Options) { o.Secret = []byte("other") }, "another secret"},
		"no secret":       {func(o *Options) { o.Secret = nil }, "another secret"},
		"the same node":   {func(o *Options) { o.Node = 2 }, "node.id of this node"},
		"another address": {func(o *Options) { o.Node = 7 }, "node 7, where node 1 was expected"},
	} {
		n := newNet(t, 3)
		a, b := n.add(1, c.change), n.add(2, nil)
		b.turn(func() { b.mesh.SetAddress(1, address(1)) })
		b.send(1, "x")
		n.rest()
		require.Contains(t, strings.Join(append(a.lines, b.lines...), "\n"), c.line, name)
		require.Empty(t, a.got, name)
		require.False(t, b.mesh.Connected(1), name)
		require.Zero(t, b.mesh.node(1).bytes, name)
		n.clean()
	}
}

func TestNodesOfAnotherClusterAreRefused(t *testing.T) {
	n := newNet(t, 3)
	a, b := n.add(1, nil), n.add(2, nil)
	n.know()
	a.mesh.SetCluster([16]byte{1})
	a.send(2, "one end does not know yet")
	n.rest()
	require.Len(t, b.got, 1)

	n = newNet(t, 3)
	a, b = n.add(1, nil), n.add(2, nil)
	n.know()
	a.mesh.SetCluster([16]byte{1})
	b.mesh.SetCluster([16]byte{2})
	a.send(2, "x")
	n.rest()
	require.Empty(t, b.got)
	require.Contains(t, strings.Join(b.lines, "\n"), "another cluster")
}

// What waits is bounded, and given back when the connection ends.
func TestWhatWaitsIsBounded(t *testing.T) {
	n := newNet(t, 4)
	a, b := n.add(1, nil), n.add(2, nil)
	require.False(t, a.send(2, "no address"))
	n.know()
	long := strings.Repeat("x", 60)
	require.True(t, a.send(2, long))
	require.False(t, a.send(2, long))
	n.rest()
	require.Len(t, b.got, 1)
	require.Zero(t, a.mesh.node(2).bytes)
	require.True(t, a.send(2, strings.Repeat("y", 500)), "a single message is always taken")
	n.rest()
	require.Len(t, b.got, 2)

	require.True(t, a.send(2, long))
	for _, e := range a.ends {
		e.end()
	}
	require.False(t, a.mesh.Connected(2))
	require.Zero(t, a.mesh.node(2).bytes)
	require.True(t, a.send(2, "again"))
	n.rest()
	require.Equal(t, "1: again", b.got[len(b.got)-1])
	require.Zero(t, a.mesh.node(2).bytes)
}

// A node that cannot be reached is dialed again, ever more seldom, while something waits for it.
func TestDialsBackOff(t *testing.T) {
	n := newNet(t, 5)
	a := n.add(1, nil)
	a.turn(func() { a.mesh.SetAddress(2, address(2)) })
	dials := 0
	for range 300 {
		before := len(a.queue)
		a.send(2, "x")
		dials += len(a.queue) - before
		n.pass(10 * time.Millisecond)
	}
	require.Less(t, dials, 20)
	require.Len(t, a.lines, 1, "it is said once")
	b := n.add(2, nil)
	n.pass(5 * time.Second)
	a.send(2, "y")
	n.pass(5 * time.Second)
	require.True(t, a.mesh.Connected(2))
	require.Equal(t, "1: y", b.got[len(b.got)-1])
}

// Connections that say nothing are closed, and only so many may wait.
func TestSilentConnectionsAreClosed(t *testing.T) {
	n := newNet(t, 6)
	a := n.add(1, nil)
	stranger := &silent{}
	s := n.add(9, nil)
	for range pendingMax + 3 {
		s.Dial(&env.Dial{Address: address(1), Handler: stranger, Codec: shaking{}, Done: func(*env.Dial) {}})
	}
	n.rest()
	require.Equal(t, 3, stranger.closed)
	require.Len(t, a.mesh.pending, pendingMax)
	n.pass(11 * time.Second)
	require.Equal(t, pendingMax+3, stranger.closed)
	require.Empty(t, a.mesh.conns)
	n.clean()
}

type silent struct{ closed int }

func (s *silent) Opened(env.ConnID, env.ConnInfo)      {}
func (s *silent) Received(env.ConnID, any, *env.Frame) {}
func (s *silent) Closed(env.ConnID, error)             { s.closed++ }

// A stranger who replays or makes up frames gets nowhere.
func TestForgedFramesEndTheConnection(t *testing.T) {
	honest := &hello{versionMin: 1, versionMax: 1, node: 2}
	for name, frame := range map[string][]byte{
		"a message first":  append([]byte{byte(KindMin)}, "x"...),
		"ready first":      {byte(kindReady)},
		"a proof first":    append([]byte{byte(kindProof)}, make([]byte, proofBytes)...),
		"an answer":        append(honest.append(kindAnswer, nil), make([]byte, proofBytes)...),
		"a short hello":    honest.append(kindHello, nil)[:40],
		"another protocol": append([]byte{byte(kindHello)}, make([]byte, helloBytes-1)...),
		"a later version":  (&hello{versionMin: 9, versionMax: 9, node: 2}).append(kindHello, nil),
		"a negative node":  (&hello{versionMin: 1, versionMax: 1, node: -1}).append(kindHello, nil),
		"much at once":     make([]byte, 4096),
	} {
		n := newNet(t, 7)
		a, s := n.add(1, nil), n.add(9, nil)
		stranger := &silent{}
		s.Dial(&env.Dial{Address: address(1), Handler: stranger, Codec: shaking{}, Done: func(d *env.Dial) { s.Send(&env.Send{Conn: d.Conn, Message: raw(frame)}) }})
		n.rest()
		require.Equal(t, 1, stranger.closed, name)
		require.Empty(t, a.got, name)
		require.Empty(t, a.mesh.conns, name)
		n.clean()
	}
}

// A peer's message that cannot be read closes the connection, and no more.
func TestABadMessageClosesTheConnection(t *testing.T) {
	n := newNet(t, 8)
	a, b := n.add(1, nil), n.add(2, nil)
	n.know()
	a.send(2, "x")
	n.rest()
	a.send(2, "bad")
	n.rest()
	require.False(t, a.mesh.Connected(2))
	require.False(t, b.mesh.Connected(1))
	a.send(2, "z")
	n.rest()
	require.Equal(t, []string{"1: x", "1: z"}, b.got)
}

func TestCloseClosesAll(t *testing.T) {
	n := newNet(t, 9)
	a, b := n.add(1, nil), n.add(2, nil)
	n.know()
	a.send(2, "x")
	n.rest()
	a.turn(a.mesh.Close)
	n.rest()
	require.False(t, a.send(2, "y"))
	require.False(t, b.mesh.Connected(1))
	b.send(1, "nobody listens any more")
	n.pass(time.Second)
	require.Empty(t, a.got)
	require.Empty(t, a.mesh.conns)
	n.clean()
}

func FuzzHello(f *testing.F) {
	f.Add((&hello{versionMin: 1, versionMax: 2, node: 5}).append(kindHello, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHello(b); err == nil {
			require.Equal(t, b[1:13], h.append(kindHello, nil)[1:13])
		}
	})
}
