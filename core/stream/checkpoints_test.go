package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/object"
)

// startStoring begins with an engine whose commits name every checkpoint; it says which streams have come to hand.
func startStoring(t *testing.T) (w *world, c *cluster, n *node, arrived *[]metadata.StreamID) {
	w, arrived = newWorld(t), new([]metadata.StreamID)
	c = newCluster(w)
	o := smallOptions
	o.CheckpointInlineBytesMax = 1
	o.CheckpointArrived = func(id metadata.StreamID) { *arrived = append(*arrived, id) }
	return w, c, boot(w, c, o, smallLog), arrived
}

// commitAll writes something to each of some streams, and has it committed.
func commitAll(n *node, owners ...*owner) {
	for _, o := range owners {
		o.append(n, 1, 100, 0)
	}
	for _, o := range owners {
		n.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
		o.drain(n)
	}
}

// stateOf is the state in a checkpoint of a test's owner.
func stateOf(t *testing.T, c *cluster, id metadata.StreamID) []byte {
	end := c.streams[id].CheckpointEnd
	sum, ok := c.histories[id].sumAt(end)
	require.True(t, ok)
	return encodeState(end, sum)
}

func TestNeighbouringCheckpointsShareAGet(t *testing.T) {
	w, c, n, arrived := startStoring(t)
	commitAll(n, n.create(1), n.create(2), n.create(3))
	gets := w.store.gets
	w.turn(func() {
		for _, id := range []metadata.StreamID{3, 1, 2, 1} {
			_, here := n.e.Checkpoint(c.streams[id])
			require.False(t, here)
		}
	})
	w.settle()
	require.ElementsMatch(t, []metadata.StreamID{1, 2, 3}, *arrived)
	require.Equal(t, gets+1, w.store.gets)
	for id := range metadata.StreamID(3) {
		state, here := n.e.Checkpoint(c.streams[id+1])
		require.True(t, here)
		require.Equal(t, stateOf(t, c, id+1), state)
	}
	require.Equal(t, gets+1, w.store.gets)
	n.shutdown()
}

// A stream whose checkpoint the store does not give waits, and no other does.
func TestOnlyTheStreamWhoseCheckpointIsAwayWaits(t *testing.T) {
	w, c, n, arrived := startStoring(t)
	a, b := n.create(1), n.create(2)
	commitAll(n, a)
	commitAll(n, b)
	key := object.Key("cluster", uint64(c.streams[1].Stored.Object))
	body := w.store.objects[key]
	delete(w.store.objects, key)
	w.turn(func() {
		n.e.Checkpoint(c.streams[1])
		n.e.Checkpoint(c.streams[2])
	})
	w.until("the other's", func() bool { return len(*arrived) > 0 })
	w.until("a failure", func() bool { return w.hits("stream checkpoints: a read failed") > 2 })
	require.Equal(t, []metadata.StreamID{2}, *arrived)
	require.Contains(t, w.logged[0], "the partition waits for it")
	w.store.objects[key] = body
	w.until("the checkpoint", func() bool { return len(*arrived) == 2 })
	state, here := n.e.Checkpoint(c.streams[1])
	require.True(t, here)
	require.Equal(t, stateOf(t, c, 1), state)
	n.shutdown()
}

// R4: a checkpoint of an older commit is never taken for the one that the image names by now, be it at hand or on its way.
func TestACheckpointOfAnOlderCommitIsNotUsed(t *testing.T) {
	for _, early := range []bool{false, true} {
		w, c, n, arrived := startStoring(t)
		o := n.create(1)
		commitAll(n, o)
		w.turn(func() { n.e.Checkpoint(c.streams[1]) })
		if early {
			w.settle()
			require.Len(t, *arrived, 1)
		}
		old := stateOf(t, c, 1)
		commitAll(n, o)
		_, here := n.e.Checkpoint(c.streams[1])
		require.False(t, here)
		w.turn(func() { n.e.StreamsChanged([]metadata.StreamID{1}) })
		w.turn(func() { n.e.Checkpoint(c.streams[1]) })
		w.settle()
		state, here := n.e.Checkpoint(c.streams[1])
		require.True(t, here)
		require.NotEqual(t, old, state)
		require.Equal(t, stateOf(t, c, 1), state)
		n.shutdown()
	}
}

// A log whose batches follow a checkpoint in the store is read once that is there, by a restart and by a new leader alike; what was
// committed before needs nothing else.
func TestRecoveryReadsTheCheckpointsFirst(t *testing.T) {
	w, c, n, _ := startStoring(t)
	a, b := n.create(1), n.create(2)
	commitAll(n, a, b)
	w.store.weather = func(string) string { return "failed" }
	b.fill(n, 100<<10) // a summary, which does not have the other stream
	a.append(n, 1, 100, 0)
	w.until("durability", func() bool { return a.stream.HighWatermark() == a.stream.End() })
	w.crash()
	failures := 5
	w.store.weather = func(string) string {
		if failures--; failures >= 0 {
			return "failed"
		}
		return ""
	}
	o := smallOptions
	o.CheckpointInlineBytesMax = 1
	n = boot(w, c, o, smallLog)
	require.Positive(t, w.hits("stream checkpoints: read"))
	require.Positive(t, w.hits("stream recover: the ends are looked for again with checkpoints"))
	n.owners[1].readAll(n, 1000)
	w.until("the tail's commit", func() bool { return c.streams[1].CommittedEnd() == 2 })
	n.shutdown()
}

// States that are stored for a record keep their id in use until they are released, whatever the store answers.
func TestStatesAreStoredForARecord(t *testing.T) {
	w, c, n, _ := startStoring(t)
	commitAll(n, n.create(1))
	w.store.weather = func(string) string { return "" }
	answers := []string{"failed", "lost before", "lost after"}
	w.store.weather = func(op string) string {
		if op != "put" || len(answers) == 0 {
			return ""
		}
		answer := answers[0]
		answers = answers[1:]
		return answer
	}
	var stored *StoredStates
	states := []object.Checkpoint{{Stream: 1, End: 7, State: []byte("one")}, {Stream: 2, End: 9, State: []byte("two")}}
	w.turn(func() { n.e.StoreStates(states, func(s *StoredStates) { stored = s }) })
	w.until("the object", func() bool { return stored != nil })
	require.LessOrEqual(t, n.e.ObjectFloor(), stored.Object.ID)
	data := w.store.objects[object.Key("cluster", uint64(stored.Object.ID))]
	require.EqualValues(t, len(data), stored.Object.Bytes)
	for i, at := range stored.Stored {
		c.streams[1].ID, c.streams[1].Stored = metadata.StreamID(states[i].Stream), at
		w.turn(func() { n.e.Checkpoint(c.streams[1]) })
		w.settle()
		state, here := n.e.Checkpoint(c.streams[1])
		require.True(t, here)
		require.Equal(t, states[i].State, state)
	}
	stored.Release()
	require.Greater(t, n.e.ObjectFloor(), stored.Object.ID)
	(*StoredStates)(nil).Release()
	c.streams[1].ID, c.streams[1].Stored = 1, metadata.StoredCheckpoint{}
	n.shutdown()
}

// A shutdown waits for no checkpoint and no state that is on its way, and leaves nothing behind.
func TestAShutdownGivesUpCheckpoints(t *testing.T) {
	for _, hang := range []bool{false, true} {
		w, c, n, _ := startStoring(t)
		commitAll(n, n.create(1), n.create(2))
		w.store.hangs = hang
		w.store.weather = func(string) string { return "failed" }
		w.turn(func() {
			n.e.Checkpoint(c.streams[1])
			n.e.StoreStates([]object.Checkpoint{{Stream: 1, State: []byte("one")}}, func(*StoredStates) { t.Error("it was not stored") })
		})
		w.now += 1000
		for range 5 {
			w.step()
		}
		w.now = w.now.Add(time.Second)
		w.turn(func() { n.e.Checkpoint(c.streams[2]) })
		n.shutdown()
	}
}

// A quiet stream's checkpoint does not keep alive the object whose records have gone: it moves to a small one, or into the image.
func TestTheCheckpointOfAQuietStreamMoves(t *testing.T) {
	for _, inline := range []int{1, 100} {
		w, c, n := startCompacting(t, func(o *Options) {
			o.CheckpointInlineBytesMax, o.Compaction.SparseAge, o.Compaction.SparseBytesMin = 1, time.Second, 1<<10
		})
		a, b := n.create(1), n.create(2)
		b.fill(n, 40<<10)
		commitAll(n, a, b)
		large := c.streams[1].Stored.Object
		n.e.base.CheckpointInlineBytesMax = inline
		w.turn(func() { c.trim(2, b.stream.End()); n.e.StreamsChanged([]metadata.StreamID{2}) })
		commitAll(n, b)
		w.until("the move", func() bool { return c.moved > 0 && c.streams[1].Stored.Object != large })
		require.Equal(t, inline == 1, c.streams[1].Stored.Named())
		require.Equal(t, inline != 1, len(c.streams[1].Checkpoint) > 0)
		a.readAll(n, 1000)
		commitAll(n, a)
		n.shutdown()
	}
}
