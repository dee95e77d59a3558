package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
)

// fillAll makes streams with so many batches each, durable at once.
func fillAll(n *node, streams, batches int) {
	for id := metadata.StreamID(1); id <= metadata.StreamID(streams); id++ {
		o := n.owners[id]
		if o == nil {
			o = n.create(id)
		}
		for range batches {
			o.append(n, 1, 100, 0)
		}
	}
	n.w.until("durability", func() bool {
		for _, o := range n.owners {
			if o.stream.HighWatermark() < o.stream.End() {
				return false
			}
		}
		return true
	})
}

func drainAll(n *node) {
	for _, id := range n.c.sorted() {
		n.owners[id].drain(n)
	}
}

func TestACommitThatFailedIsRetriedWithWhatTheImageLacks(t *testing.T) {
	_, c, n := start(t)
	fillAll(n, 12, 1)
	c.proposed = nil
	c.weather = func() string { return "first" }
	drainAll(n)
	require.Equal(t, []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, c.proposed)
	require.Zero(t, n.w.hits("stream upload: renumbered"))
	n.shutdown()
}

func TestACommitThatCannotBeProposedIsNotPutAgain(t *testing.T) {
	w, c, n := start(t)
	fillAll(n, 1, 1)
	failures := 0
	c.weather = func() string {
		if c.nextID > 1 && failures < 5*commitTriesMax {
			failures++
			return "error"
		}
		return ""
	}
	drainAll(n)
	require.Equal(t, 1, w.store.puts)
	require.Equal(t, 5*commitTriesMax, failures)
	require.NotEmpty(t, w.logged)
	for _, line := range w.logged {
		require.Contains(t, line, "cannot be committed")
	}
	require.LessOrEqual(t, len(w.logged), 1+int(time.Duration(w.now)/lostLineInterval), "the line is limited")
	n.shutdown()
}

// checkpointsPerTurn makes w note how many checkpoints owners wrote in one turn at most.
func checkpointsPerTurn(n *node) *int {
	inTurn, largest := 0, 0
	for _, o := range n.owners {
		o.checkpointed = func() { inTurn++ }
	}
	n.w.loop.OnTurnEnd(func() { largest, inTurn = max(largest, inTurn), 0 })
	return &largest
}

func TestCheckpointsAreWrittenAFewInATurn(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.CheckpointBytes = 3 * len(encodeState(0, 0))
	n := boot(w, c, o, smallLog)
	fillAll(n, 20, 1)
	largest := checkpointsPerTurn(n)
	drainAll(n)
	require.Equal(t, 3, *largest)
	for range 3 { // a stream that is written all the time holds no other up
		fillAll(n, 1, 1)
		fillAll(n, 20, 1)
		drainAll(n)
	}
	n.shutdown()
}

func TestATailPieceHasFewCheckpoints(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.CheckpointBytes = 3 * len(encodeState(0, 0))
	n := boot(w, c, o, smallLog)
	fillAll(n, 20, 1)
	drainAll(n)
	o.UploadInterval = time.Hour
	n.shutdown()
	n = boot(w, c, o, smallLog)
	fillAll(n, 20, 1)
	n.shutdown()
	n = boot(w, c, o, smallLog)
	c.proposed = nil
	w.until("the tails' commit", func() bool { return !c.EpochOwes(1) && !c.EpochOwes(2) })
	require.Equal(t, []int{3, 3, 3, 3, 3, 3, 2}, c.proposed)
	n.shutdown()
}

// Whoever refuses a tail's parts again and again is not given an object each moment.
func TestATailThatIsRefusedWaitsLongerEachTime(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.UploadInterval = time.Hour
	n := boot(w, c, o, smallLog)
	fillAll(n, 1, 1)
	n.shutdown()
	c.weather = func() string {
		if c.refused < 10 {
			return "refuse"
		}
		return ""
	}
	n = boot(w, c, o, smallLog)
	began := w.now
	w.until("the tail's commit", func() bool { return !c.EpochOwes(1) })
	require.Greater(t, w.now.Sub(began), 2*retries.Max, "ten refusals")
	n.shutdown()
}
