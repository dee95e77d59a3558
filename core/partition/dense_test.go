package partition

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
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

// Timestamps of batches before the newest are kept where a duplicate is answered with them, and nowhere else. A log that is replayed has them all, and
// agrees with a summary that has not.
func TestDenseCheckpointsKeepTimestampsThatAreAskedFor(t *testing.T) {
	for _, ofBroker := range []bool{false, true} {
		r := newRig(t)
		r.p.state.dense = func() bool { return true }
		r.p.topic.config.LogAppendTime = ofBroker
		r.p.state.newestTimes = r.p.topic.newestTimes
		for i := range int32(3) {
			r.send(7, 0, i*2, 2)
			r.clock.now += env.Time(time.Second)
		}
		r.log.durable(6)
		whole := r.p.state.find(7).durable
		loaded, err := LoadState(r.p.Checkpoint(nil), 6, 0)
		require.NoError(t, err)
		kept := loaded.find(7).durable
		require.Equal(t, whole.batches[2], kept.batches[2])
		for i := range 2 {
			require.Equal(t, ofBroker, kept.batches[i].timestamp == whole.batches[i].timestamp, "batch %d", i)
			kept.batches[i].timestamp = whole.batches[i].timestamp
		}
		require.Equal(t, whole, kept)
		require.NoError(t, r.p.state.agrees(r.p.Summary(nil)))
		loaded.find(7).durable.batches[2].timestamp--
		require.Error(t, r.p.state.agrees(loaded.AppendCheckpoint(nil)), "what is kept must be what the batches say")
	}
}
