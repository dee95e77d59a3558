package partition

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/wire"
)

// R15: nothing is appended or served once a seal may have been proposed. Who asks for a second handover begins none, and so has none to give
// up: two balancers, or an administrator and a shutdown, ask for the same partition while the seal waits for the quorum.
func TestAHandoverThatIsUnderWayIsNotBegunAgain(t *testing.T) {
	r := newRig(t)
	var ready *Handover
	first := r.p.HandOver(func(h *Handover) { ready = h })
	r.loop.Turn(nil)
	require.Same(t, first, ready)
	require.Nil(t, r.p.HandOver(func(*Handover) { t.Fatal("a second handover") }))
	r.loop.Turn(nil)
	require.EqualValues(t, wire.NotLeaderOrFollower, r.p.Serves())
}

// A handover that was given up ends no later one.
func TestAHandoverGivesUpOnlyItself(t *testing.T) {
	r := newRig(t)
	first := r.p.HandOver(func(*Handover) { t.Fatal("it was given up") })
	first.Resume()
	require.EqualValues(t, wire.None, r.p.Serves())
	require.NotNil(t, r.p.HandOver(func(*Handover) {}))
	r.loop.Turn(nil)
	first.Resume()
	require.EqualValues(t, wire.NotLeaderOrFollower, r.p.Serves())
}
