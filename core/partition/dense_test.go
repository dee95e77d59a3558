package partition

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Four producers that write a partition by turns, as long as one likes: what the state of a partition takes of each record of the metadata. The
// dense checkpoint says the same in less.
func TestDenseCheckpointsSayTheSameInLess(t *testing.T) {
	r := newRig(t)
	for i := range int32(400) {
		for id := range int64(4) {
			r.send(1000+id, 0, i*3, 3)
		}
	}
	r.log.durable(r.log.at)
	plain := slices.Clone(r.p.Checkpoint(nil))
	level := false
	r.p.state.dense = func() bool { return level }
	require.Equal(t, plain, r.p.Checkpoint(nil))
	level = true
	dense := r.p.Checkpoint(nil)
	t.Logf("%d bytes, dense %d", len(plain), len(dense))
	require.Less(t, 5*len(dense), 4*len(plain))
	a, err := LoadState(plain, r.log.hw, 0)
	require.NoError(t, err)
	b, err := LoadState(dense, r.log.hw, 0)
	require.NoError(t, err)
	require.Equal(t, a.producers, b.producers)
	require.Equal(t, plain, b.AppendCheckpoint(nil))
}

// A batch whose sequence does not follow from the one after it is remembered as it was: sequences begin again at zero, and epochs begin with any.
func TestDenseCheckpointsOfSequencesThatJump(t *testing.T) {
	dense := func() bool { return true }
	s := &State{end: 100, maxTimestamp: 7, dense: dense}
	w := newWindow()
	w.epoch, w.n = 3, 5
	w.batches = [windowBatches]sequenceRange{
		{sequenceMask - 1, 1, 10, 5}, {0, 0, 12, 6}, {1, 9, 20, 7}, {500, 1, 40, -1}, {7, 0, 99, 7},
	}
	s.producers = []*producer{{id: 5, durable: w}, {id: 6, durable: newWindow()}}
	again, err := LoadState(s.AppendCheckpoint(nil), 100, 0)
	require.NoError(t, err)
	require.Len(t, again.producers, 1)
	require.Equal(t, w, again.producers[0].durable)
}
