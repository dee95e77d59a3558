package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/record"
)

// dead is a log of many slots, of two streams, whose broker is dead and of which nothing was uploaded. The next incarnation leads both, and has read nothing
// of it.
func dead(t *testing.T) (*world, *cluster, *node) {
	w := newWorld(t)
	c := newCluster(w)
	c.object = true
	config := smallLog
	config.GroupBytesMax = 8 << 10
	o := smallOptions
	o.UploadInterval = time.Hour
	n := boot(w, c, o, config)
	a, b := n.create(1), n.create(2)
	for range 80 {
		a.fill(n, 1000)
		b.fill(n, 1000)
	}
	n.shutdown()

	c.epoch++
	n = &node{w: w, c: c, owners: map[metadata.StreamID]*owner{}}
	o.Loop, o.Env, o.Telemetry, o.Image, o.Controller = w.loop, w.env(), w.marks, c, c
	o.Epoch, o.Cluster, o.NewState, o.Compaction.Disabled = c.epoch, "cluster", newTestState, true
	w.store.ended = false
	n.e = NewEngine(o)
	soon := n.recoverEnds(1)
	require.NotNil(t, soon)
	c.takeOver(soon.ends)
	n.createLog(config)
	n.open(1)
	n.open(2)
	return w, c, n
}

// readLog reads the log of the dead incarnation; the outcome is there once the world has made enough steps.
func (n *node) readLog(epoch metadata.BrokerEpoch) *struct {
	done bool
	err  error
} {
	got := &struct {
		done bool
		err  error
	}{}
	n.w.turn(func() {
		n.e.RecoverLog(n.c.logName(epoch), epoch, nil, func(_ []metadata.RangeEnd, err error) { got.done, got.err = true, err })
	})
	return got
}

// R14: what a dead log held last is read long before the log was, and the rest as it is found.
func TestADeadLogIsReadFromWhileItIsRead(t *testing.T) {
	w, c, n := dead(t)
	read := n.readLog(1)
	o := n.owners[1]
	end := o.history.end()
	var tails []*tail
	w.until("the last of it", func() bool {
		tails = n.e.recovered.tails
		return len(tails) == 1 && n.e.recovered.reach(1, end-1) == end
	})
	require.True(t, tails[0].glance)
	require.Zero(t, o.stream.tailBytes(), "its size is counted once: when it is read for good")
	require.False(t, read.done)
	next, err := o.read(n, end-1, 1)
	require.NoError(t, err)
	require.Equal(t, end, next)
	_, owed := o.stream.owedElsewhere(0)
	require.True(t, owed)
	_, owed = o.stream.owedElsewhere(end - 1)
	require.False(t, owed)

	w.until("the first of it", func() bool { return n.e.recovered.reach(1, 0) > 0 })
	require.False(t, read.done)
	_, err = o.read(n, 0, 1)
	require.NoError(t, err)
	require.False(t, read.done)
	w.turn(n.e.UploadTails)
	require.Nil(t, n.e.recovered.uploads.piece, "it may be damaged further on")

	w.until("the whole log", func() bool { return read.done })
	require.NoError(t, read.err)
	require.Len(t, n.e.recovered.tails, 1)
	for _, o := range n.owners {
		_, owed = o.stream.owedElsewhere(0)
		require.False(t, owed)
		o.readAll(n, 3000)
	}
	w.turn(n.e.UploadTails)
	w.until("its upload", func() bool { return !c.EpochOwes(1) })
	n.owners[2].readAll(n, 3000)
	n.shutdown()
}

// R14: each recoverer reads and commits its own streams, and the log lives until all are committed. One that takes a stream over reads the log for that.
func TestEachRecovererHasItsStreams(t *testing.T) {
	w, c, n := dead(t)
	another := c.epoch + 1
	c.committers = map[metadata.StreamID]metadata.BrokerEpoch{2: another}
	require.True(t, n.e.Lacks(1))
	read := n.readLog(1)
	w.until("the log", func() bool { return read.done })
	require.NoError(t, read.err)
	require.False(t, n.e.Lacks(1))
	require.False(t, n.e.HasTail(2, 0))
	w.turn(n.e.UploadTails)
	w.until("the upload of its own", func() bool { return c.streams[1].CommittedEnd() == n.owners[1].history.end() })
	w.settle()
	require.Zero(t, c.streams[2].CommittedEnd())
	require.True(t, c.EpochOwes(1))
	_, owed := n.owners[2].stream.owedElsewhere(0)
	require.True(t, owed)

	delete(c.committers, 2)
	require.True(t, n.e.Lacks(1))
	read = n.readLog(1)
	require.False(t, n.e.Lacks(1), "it is being read")
	w.until("the log", func() bool { return read.done })
	require.NoError(t, read.err)
	require.False(t, n.e.HasTail(1, 0))
	w.turn(n.e.UploadTails)
	w.until("its upload", func() bool { return !c.EpochOwes(1) })
	w.settle()
	require.Empty(t, n.e.recovered.tails)
	n.owners[1].readAll(n, 3000)
	n.owners[2].readAll(n, 3000)
	n.shutdown()
}

// Whoever replays a log for the states of producers replays also what another epoch commits of it, and keeps nothing of that.
func TestWhatAnotherRecoversIsReplayed(t *testing.T) {
	w, c, n := dead(t)
	c.committers = map[metadata.StreamID]metadata.BrokerEpoch{1: c.epoch + 1, 2: c.epoch + 1}
	into := &countedReplays{offsets: map[metadata.StreamID]int64{}}
	read := false
	w.turn(func() {
		n.e.RecoverLog(c.logName(1), 1, into, func(_ []metadata.RangeEnd, err error) {
			require.NoError(t, err)
			read = true
		})
	})
	w.until("the log", func() bool { return read })
	for id, o := range n.owners {
		require.Equal(t, o.history.end(), into.offsets[id])
		require.False(t, n.e.HasTail(id, 0))
	}
	c.committers = nil
	again := n.readLog(1)
	w.until("the log once more", func() bool { return again.done })
	w.turn(n.e.UploadTails)
	w.until("the upload", func() bool { return !c.EpochOwes(1) })
	n.shutdown()
}

// countedReplays notes as far as what was replayed.
type countedReplays struct {
	Replayer
	offsets map[metadata.StreamID]int64
}

func (r *countedReplays) Replay(id metadata.StreamID, h *record.Header, _ []byte) error {
	r.offsets[id] = h.NextOffset()
	return nil
}

func (r *countedReplays) Agrees(metadata.StreamID, int64, []byte) error { return nil }

// A stream that another epoch recovers from now on is let go of, at whatever time, and read again if it comes back.
func TestAStreamIsRecoveredByAnotherMeanwhile(t *testing.T) {
	for steps := 0; ; steps += 5 {
		w, c, n := dead(t)
		read := n.readLog(1)
		for range steps {
			w.step()
		}
		late := read.done
		c.committers = map[metadata.StreamID]metadata.BrokerEpoch{1: c.epoch + 1}
		w.turn(n.e.ImageChanged)
		c.committers = nil
		w.turn(n.e.ImageChanged)
		w.until("the log", func() bool { return read.done })
		require.NoError(t, read.err)
		again := n.readLog(1)
		w.until("the log once more", func() bool { return again.done })
		require.NoError(t, again.err)
		w.turn(n.e.UploadTails)
		n.owners[1].readAll(n, 3000)
		w.until("the upload", func() bool { return !c.EpochOwes(1) })
		n.owners[2].readAll(n, 3000)
		n.shutdown()
		if late {
			break
		}
	}
}

// What was found of a log that turns out to be damaged is not served any more, nor is it uploaded; it is read again.
func TestADamagedLogIsReadAgain(t *testing.T) {
	w, c, n := dead(t)
	key := c.logName(1) + "/000000000000000c"
	require.Contains(t, w.store.objects, key)
	body := w.store.objects[key]
	damaged := slices.Clone(body)
	damaged[len(damaged)/2]++
	w.store.objects[key] = damaged
	read := n.readLog(1)
	w.until("the damage", func() bool { return read.done })
	require.Error(t, read.err)
	require.Empty(t, n.e.recovered.tails)
	require.True(t, n.e.Lacks(1))
	w.store.objects[key] = body
	read = n.readLog(1)
	w.until("the log", func() bool { return read.done })
	require.NoError(t, read.err)
	n.owners[1].readAll(n, 3000)
	n.shutdown()
}

// A shutdown while a log is read, or was: nothing is kept that was found.
func TestAShutdownWhileADeadLogIsRead(t *testing.T) {
	for steps := 0; ; steps += 5 {
		w, _, n := dead(t)
		read := n.readLog(1)
		for range steps {
			w.step()
		}
		late := read.done
		stopped := false
		w.turn(func() {
			n.e.Close(1)
			n.e.Close(2)
			n.e.Shutdown(func() { stopped = true })
		})
		w.until("the end", func() bool { return stopped && read.done })
		w.settle()
		require.Empty(t, n.e.recovered.tails)
		require.Zero(t, w.memory.live)
		if late {
			break
		}
	}
}
