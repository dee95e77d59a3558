package peer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// find asks for whoever listens at an address, and lets the net rest.
func (n *net) find(h *host, address string) (id int32, ok bool) {
	h.turn(func() { id, ok = h.mesh.Find(address) })
	n.rest()
	return id, ok
}

func TestNodeIsFoundByItsAddressAlone(t *testing.T) {
	n := newNet(t, 1)
	a, b := n.add(1, nil), n.add(2, nil)
	_, ok := n.find(a, address(2))
	require.False(t, ok, "it is dialed first")
	id, ok := n.find(a, address(2))
	require.True(t, ok)
	require.EqualValues(t, 2, id)
	require.True(t, a.send(2, "hello"))
	require.True(t, b.send(1, "back"), "who is found knows the way back")
	n.rest()
	require.Equal(t, []string{"1: hello"}, b.got)
	require.Equal(t, []string{"2: back"}, a.got)

	for _, e := range a.ends {
		e.end()
	}
	n.rest()
	_, ok = n.find(a, address(2))
	require.False(t, ok, "the connection has ended")
	_, ok = n.find(a, address(2))
	require.True(t, ok)
	n.clean()
}

// Both find each other at the same time: one connection stays.
func TestNodesThatFindEachOtherShareAConnection(t *testing.T) {
	for seed := range uint64(100) {
		n := newNet(t, seed)
		a, b := n.add(1, nil), n.add(2, nil)
		a.turn(func() { a.mesh.Find(address(2)) })
		b.turn(func() { b.mesh.Find(address(1)) })
		n.rest()
		n.pass(time.Second)
		_, there := n.find(a, address(2))
		_, back := n.find(b, address(1))
		require.True(t, there && back, "seed %d", seed)
		require.Len(t, a.mesh.conns, 1, "seed %d", seed)
		n.clean()
	}
}

// The lower node's own connection is preferred, and it resets the one by which it is looked for before that is ready: who it is was said already.
func TestANodeIsFoundByAConnectionThatIsNotUsed(t *testing.T) {
	for seed := range uint64(100) {
		n := newNet(t, seed)
		n.hasty = true
		a, b := n.add(1, nil), n.add(2, nil)
		a.turn(func() { a.mesh.SetAddress(2, address(2)) })
		require.True(t, a.send(2, "hello"))
		b.turn(func() { b.mesh.Find(address(1)) })
		n.rest()
		_, ok := n.find(b, address(1))
		require.True(t, ok, "seed %d", seed)
		n.clean()
	}
}

// All nodes are given the same addresses: a node is not found at its own.
func TestNodeDoesNotFindItself(t *testing.T) {
	n := newNet(t, 1)
	a := n.add(1, nil)
	for range 3 {
		_, ok := n.find(a, address(1))
		require.False(t, ok)
		n.pass(time.Minute)
	}
	require.Equal(t, 1, strings.Count(strings.Join(a.lines, "\n"), "and does not again"), "%q", a.lines)
	n.clean()
}

// An address where nobody listens is tried again, for as long as somebody asks.
func TestNodeIsFoundOnceItIsThere(t *testing.T) {
	n := newNet(t, 1)
	a := n.add(1, nil)
	n.find(a, address(2))
	n.pass(5 * time.Second)
	n.add(2, nil)
	n.pass(5 * time.Second)
	id, ok := n.find(a, address(2))
	require.True(t, ok)
	require.EqualValues(t, 2, id)
	n.clean()
}
