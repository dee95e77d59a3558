package stream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

type shippedTo struct{ applied, shipped uint64 }

func (s *shippedTo) AppliedIndex() uint64 { return s.applied }
func (s *shippedTo) Shipped() uint64      { return s.shipped }

// R16: an owner never gives an offset too far beyond what is committed, or whoever gives its log up would not know where it ended.
func TestOffsetsStayNearWhatIsCommitted(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.UncommittedOffsetsMax = 6
	n := boot(w, c, o, smallLog)
	n.create(1)
	refused := 0
	for i := range 60 {
		if !n.owners[1].append(n, 1+i%3, 100, 5) {
			refused++
			w.settle()
			w.sleep()
			w.settle()
		}
		s := n.owners[1].stream
		require.LessOrEqual(t, s.End()-committedOf(c.streams[1].Newest()), int64(6))
	}
	require.Positive(t, refused)
	require.Positive(t, w.hits("stream append refused: too many offsets are not committed"))
	require.Greater(t, n.owners[1].stream.End(), int64(40), "appends go on after commits")
}

// What is committed counts once its record is shipped: the loss of all disks takes back what is not (R19).
func TestReachFollowsWhatIsShipped(t *testing.T) {
	s := &shippedTo{applied: 10, shipped: 9}
	r := reach{from: 100}
	r.renew(150, s)
	require.EqualValues(t, 100, r.from)
	s.applied, s.shipped = 20, 9
	r.renew(190, s)
	require.EqualValues(t, 100, r.from)
	s.shipped = 10
	r.renew(190, s)
	require.EqualValues(t, 150, r.from)
	s.shipped = 20
	r.renew(190, s)
	require.EqualValues(t, 190, r.from)
	r.renew(195, nil)
	require.EqualValues(t, 195, r.from)
}
