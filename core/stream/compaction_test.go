package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// startCompacting starts a node that compacts what it uploads, in tiny sizes.
func startCompacting(t testing.TB, change func(*Options)) (*world, *cluster, *node) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.Compaction = CompactionOptions{
		Interval: time.Second, RewriteFanIn: 4, JoinFanIn: 3, RewriteBytes: 32 << 10, JoinBytesMin: 12 << 10, ObjectBytesMax: 256 << 10,
	}
	if change != nil {
		change(&o)
	}
	return w, c, boot(w, c, o, smallLog)
}

// uploadRounds uploads so often a batch of each of so many streams.
func uploadRounds(n *node, streams, rounds, bytes int) {
	for range rounds {
		for id := metadata.StreamID(1); id <= metadata.StreamID(streams); id++ {
			o := n.owners[id]
			if o == nil {
				o = n.create(id)
			}
			n.w.until("room", func() bool { return o.append(n, 1, bytes, int64(n.w.now)%1000) })
		}
		for id := metadata.StreamID(1); id <= metadata.StreamID(streams); id++ {
			o := n.owners[id]
			n.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
			o.drain(n)
		}
		n.w.turn(n.e.ImageChanged)
	}
}

// atRest waits until compaction has nothing to do.
func (n *node) atRest() {
	n.w.t.Helper()
	n.w.until("the end of compaction", func() bool {
		if n.e.compactor.due.Len() > 0 || len(n.e.compactor.jobs) > 0 {
			return false
		}
		for _, s := range n.e.streams.open {
			if s.compactAfter > n.w.now {
				return false
			}
		}
		return true
	})
	n.w.turn(n.e.ImageChanged)
}

// settleCompaction waits until whatever can be compacted is.
func (n *node) settleCompaction() {
	n.w.t.Helper()
	for done := -1; done != n.c.replacements; {
		done = n.c.replacements
		n.w.turn(n.e.ImageChanged)
		n.atRest()
	}
}

func TestPartsOfAStreamStayFew(t *testing.T) {
	w, c, n := startCompacting(t, nil)
	uploadRounds(n, 8, 120, 300)
	n.settleCompaction()
	for _, id := range c.sorted() {
		require.LessOrEqual(t, len(c.streams[id].Parts), 12, "stream %d", id)
		n.owners[id].readAll(n, 5000)
	}
	require.Positive(t, w.hits("stream compaction: rewritten"))
	require.Positive(t, w.hits("stream compaction: joined"))
	require.Positive(t, w.store.composes)
	w.store.audit()
	n.shutdown()
}

// A stream that is deleted or trimmed while a compaction of it is under way loses nothing by it, and the others go on.
func TestACompactionLosesAgainstTrimAndDeletion(t *testing.T) {
	w, c, n := startCompacting(t, func(o *Options) { o.Compaction.RewriteFanIn = 8 })
	uploadRounds(n, 6, 7, 300)
	n.atRest()
	require.Zero(t, w.hits("stream compaction: begun"))
	uploadRounds(n, 6, 1, 300)
	w.until("a compaction", func() bool { return w.store.puts > 8 && w.hits("stream compaction: begun") > 0 })
	c.trim(1, 3)
	delete(c.streams, 2)
	w.turn(func() { n.e.StreamsChanged([]metadata.StreamID{1, 2}) })
	w.turn(func() { n.e.Close(2) })
	n.settleCompaction()
	require.Positive(t, w.hits("stream compaction: sources were not current any more"))
	for _, id := range c.sorted() {
		if id != 1 {
			require.Len(t, c.streams[id].Parts, 1, "stream %d", id)
		}
		n.owners[id].readAll(n, 5000)
	}
	n.shutdown()
}

// What cannot be read is not written anew: its partition keeps its parts, operators are told once, and others go on.
func TestDamageIsNotCompacted(t *testing.T) {
	w, c, n := startCompacting(t, func(o *Options) { o.Compaction.RewriteFanIn = 8 })
	uploadRounds(n, 6, 8, 300)
	damaged := c.streams[3].Parts[2]
	key := object.Key("cluster", uint64(damaged.Object))
	whole := slices.Clone(w.store.objects[key])
	index, err := object.ParseIndex(whole[damaged.IndexOffset:][:damaged.IndexBytes])
	require.NoError(t, err)
	w.store.objects[key][index.Blocks[0].Position+70] ^= 1
	w.until("a compaction that fails", func() bool { return w.hits("stream compaction: failed") > 0 })
	w.until("one of the others", func() bool { return len(c.streams[1].Parts) == 1 && len(c.streams[6].Parts) == 1 })
	require.Len(t, c.streams[3].Parts, 8)
	require.Len(t, w.logged, 1, "%q", w.logged)
	require.Contains(t, w.logged[0], "a compaction of objects failed")
	w.store.objects[key] = whole
	n.settleCompaction()
	require.Len(t, c.streams[3].Parts, 1)
	n.owners[3].readAll(n, 5000)
	n.shutdown()
}

// Whatever step of a compaction a crash strikes, everything is there afterwards, and is compacted then.
func TestACrashAtAnyStepOfACompaction(t *testing.T) {
	for step := range 60 {
		w, c, n := startCompacting(t, nil)
		w.pick = func(k int) int { return step % k }
		uploadRounds(n, 5, 14, 700)
		w.until("a compaction", func() bool { return w.hits("stream compaction: begun") > 0 })
		for range step {
			w.step()
		}
		w.crash()
		o := smallOptions
		o.Compaction = n.e.base.Compaction
		n = boot(w, c, o, smallLog)
		for _, id := range c.sorted() {
			n.owners[id].readAll(n, 5000)
		}
		uploadRounds(n, 5, 4, 300)
		n.settleCompaction()
		for _, id := range c.sorted() {
			require.LessOrEqual(t, len(c.streams[id].Parts), 8, "step %d, stream %d", step, id)
			n.owners[id].readAll(n, 5000)
		}
		n.shutdown()
	}
}

// Answers that are lost or never come cost time and nothing else; what cannot be done is given up for a while.
func TestACompactionInBadWeather(t *testing.T) {
	for seed := range 30 {
		w, c, n := startCompacting(t, nil)
		uploadRounds(n, 4, 3, 500)
		draw, bad := uint64(seed)*0x9e3779b97f4a7c15+1, true
		next := func(k uint64) uint64 {
			draw ^= draw << 13
			draw ^= draw >> 7
			draw ^= draw << 17
			return draw % k
		}
		w.pick = func(k int) int { return int(next(uint64(k))) }
		w.store.weather = func(op string) string {
			switch {
			case !bad || next(3) > 0:
				return ""
			case op == "put":
				return []string{"failed", "lost before", "lost after", "late"}[next(4)]
			}
			return []string{"failed", "damaged", "short"}[next(3)]
		}
		c.weather = func() string {
			if !bad || next(4) > 0 {
				return ""
			}
			return []string{"error", "lost", "refuse", "first"}[next(4)]
		}
		uploadRounds(n, 4, 25, 500)
		for _, arrive := range w.late {
			arrive()
		}
		bad, w.late = false, nil
		n.settleCompaction()
		for _, id := range c.sorted() {
			require.LessOrEqual(t, len(c.streams[id].Parts), 10)
			n.owners[id].readAll(n, 5000)
		}
		w.store.audit()
		n.shutdown()
	}
}

// Compaction reads and writes no more than it may.
func TestCompactionKeepsToItsBandwidth(t *testing.T) {
	const rate = 5000
	w, c, n := startCompacting(t, func(o *Options) {
		o.Compaction.RewriteFanIn, o.Compaction.JoinBytesMin, o.Compaction.BytesPerSecond = 8, 8000, rate
	})
	ids := []metadata.StreamID{1, 3000, 6000, 9000} // too far from each other to be compacted together
	for _, id := range ids {
		n.create(id)
	}
	for range 8 {
		for _, id := range ids {
			n.owners[id].append(n, 1, 300, 0)
		}
		for _, id := range ids {
			w.until("durability", func() bool { return n.owners[id].stream.HighWatermark() == n.owners[id].stream.End() })
			n.owners[id].drain(n)
		}
	}
	w.until("the first", func() bool { return w.hits("stream compaction: begun") > 0 })
	began := w.now
	n.settleCompaction()
	require.EqualValues(t, len(ids), w.hits("stream compaction: rewritten"))
	bytes := c.streams[1].Parts[0].Bytes
	require.GreaterOrEqual(t, int64(w.now-began), 2*bytes*3*int64(time.Second)/rate, "the last one need not be waited for")
	n.shutdown()
}

// Nobody waits for compaction: it begins nothing while uploads are under way.
func TestUploadsGoBeforeCompaction(t *testing.T) {
	w, _, n := startCompacting(t, func(o *Options) { o.UploadsInFlightMax = 1 })
	uploadRounds(n, 4, 3, 300)
	down := true
	w.store.weather = func(op string) string {
		if down && op == "put" {
			return "failed"
		}
		return ""
	}
	n.owners[1].append(n, 1, 300, 0)
	w.until("an upload that waits", func() bool { return len(n.e.uploads.queue) > 0 })
	w.turn(n.e.ImageChanged)
	for range 300 {
		w.step()
	}
	require.Zero(t, w.hits("stream compaction: begun"))
	require.Positive(t, w.hits("stream compaction: waits for others"))
	down = false
	uploadRounds(n, 4, 3, 300)
	n.settleCompaction()
	require.Positive(t, w.hits("stream compaction: begun"))
	n.shutdown()
}

// A lookup that meets an object which was replaced meanwhile goes on with what replaced it.
func TestLookupsOutliveAReplacement(t *testing.T) {
	w, c, n := startCompacting(t, func(o *Options) { o.Compaction.RewriteFanIn, o.CacheBytes, o.BlockCacheBytes = 8, 64<<10, 1 }) // nothing is kept
	uploadRounds(n, 1, 7, 9000)
	o := n.owners[1]
	require.False(t, o.stream.inCache(0))
	w.store.hangs = true
	var found, stable Fetched
	ended := 0
	w.turn(func() {
		o.stream.FindTimestamp(0, 0, func(f Fetched) { found = f; ended++ })
		q := &abortedSearch{stream: o.stream, at: 0, deadline: o.stream.stored.deadline(), done: func(f Fetched) { stable = f; ended++ }}
		q.To = 2
		q.next()
	})
	require.NotEmpty(t, w.store.hung)
	h := c.histories[1]
	part := object.Part{Stream: 1}
	for i, data := range h.batches {
		base := h.ends[i] - 1
		if base < c.streams[1].Parts[len(c.streams[1].Parts)-1].End {
			part.Batches = append(part.Batches, object.Batch{Data: data, Base: base, End: h.ends[i]})
		}
	}
	built := object.Build(object.Header{ID: 9999, Cluster: "cluster"}, []object.Part{part}, 4<<10)
	w.store.objects[object.Key("cluster", 9999)] = slices.Concat(built.Body...)
	info := built.Parts[0]
	c.streams[1].Parts = []metadata.Part{{Object: 9999, Start: info.Start, End: info.End, MaxTimestamp: 1000, Bytes: info.Bytes, IndexOffset: info.IndexPosition, IndexBytes: info.IndexBytes}}
	c.sweep()
	w.store.hangs = false
	for _, op := range w.store.hung {
		w.store.Get(op.event.(*env.GetObject))
	}
	w.store.hung = nil
	w.until("both", func() bool { return ended == 2 })
	require.NoError(t, found.Err)
	require.NoError(t, stable.Err)
	require.Positive(t, w.hits("stream read: a part was replaced meanwhile"))
	found.Release()
	n.shutdown()
}

// An object of which little is in use any more is given back: what is left of it moves.
func TestWhatIsLeftOfAnObjectMoves(t *testing.T) {
	w, c, n := startCompacting(t, func(o *Options) { o.Compaction.SparseAge, o.Compaction.SparseBytesMin = 3*time.Second, 8<<10 })
	uploadRounds(n, 2, 1, 300)
	pinned := object.Key("cluster", uint64(c.streams[1].Parts[0].Object))
	require.Len(t, w.store.keys(), 1)
	n.owners[2].fill(n, 20_000)
	n.owners[1].append(n, 1, 300, 0)
	n.w.until("durability", func() bool { return n.owners[1].stream.HighWatermark() == n.owners[1].stream.End() })
	n.owners[2].drain(n)
	n.owners[1].drain(n)
	shared := object.Key("cluster", uint64(c.streams[1].Parts[1].Object))
	require.Equal(t, c.streams[1].Parts[1].Object, c.streams[2].Parts[1].Object)
	c.trim(2, n.owners[2].stream.HighWatermark())
	w.turn(func() { n.e.StreamsChanged([]metadata.StreamID{2}) })
	w.until("the object's end", func() bool { return w.store.objects[shared] == nil })
	require.NotNil(t, w.store.objects[pinned], "a small one may stay")
	require.Positive(t, w.hits("stream compaction: a part moves off an object that is little in use"))
	n.owners[1].readAll(n, 5000)
	moves := w.store.puts
	end := w.now.Add(time.Minute)
	w.until("a minute", func() bool { return w.now >= end })
	require.Equal(t, moves, w.store.puts, "what has moved stays")
	n.shutdown()
}

// While the transactions of what was read are searched, the parts behind are merged with those before: the index of the merged part has
// the first marker of a producer in all of it, which is of another transaction.
func TestASearchForTransactionsDoesNotEnterAMergedPart(t *testing.T) {
	o := smallOptions
	o.Compaction.Disabled = true
	w := newWorld(t)
	c := newCluster(w)
	n := boot(w, c, o, smallLog)
	p := n.create(1)
	upload := func(batches ...[]byte) {
		for _, b := range batches {
			w.turn(func() { require.True(t, p.put(b, 1, 5)) })
		}
		w.until("durability", func() bool { return p.stream.HighWatermark() == p.stream.End() })
		p.drain(n)
	}
	data := func() []byte {
		b := record.Builder{ProducerID: 7, Transactional: true}
		return b.AppendBatch(nil, []record.Record{{Timestamp: 5, Value: []byte("v")}})
	}
	end := func(commit bool) []byte { return record.AppendMarker(nil, 7, 0, record.Marker{Commit: commit}, 5) }
	upload(data(), end(true))
	upload(data())
	upload(batchOf(1, 100, 5, 1))
	upload(end(true), data(), end(false))
	w.crash()
	n = boot(w, c, o, smallLog)
	p = n.owners[1]
	require.Len(t, c.streams[1].Parts, 4)

	var first Fetched
	w.turn(func() { p.stream.Read(2, 1, func(f Fetched) { first = f }) }) // so that block and index are there
	w.until("a read", func() bool { return len(first.Batches) > 0 })
	first.Release()
	w.store.hangs = true
	var got Fetched
	ended := false
	w.turn(func() { p.stream.ReadStable(2, 7, 1, func(f Fetched) { got, ended = f, true }) })
	require.False(t, ended, "it waits for the index of the part behind, whose object stays for a while")
	merged := object.Part{Stream: 1}
	for i, b := range c.histories[1].batches {
		merged.Batches = append(merged.Batches, object.Batch{Data: b, Base: int64(i), End: int64(i + 1)})
	}
	built := object.Build(object.Header{ID: 9999, Cluster: "cluster"}, []object.Part{merged}, 4<<10)
	w.store.objects[object.Key("cluster", 9999)] = slices.Concat(built.Body...)
	info := built.Parts[0]
	c.streams[1].Parts = []metadata.Part{{Object: 9999, End: info.End, Bytes: info.Bytes, IndexOffset: info.IndexPosition, IndexBytes: info.IndexBytes}}
	w.store.hangs = false
	for _, op := range w.store.hung {
		w.store.Get(op.event.(*env.GetObject))
	}
	w.store.hung = nil
	w.until("the stable read", func() bool { return ended })
	require.NoError(t, got.Err)
	require.Empty(t, got.Aborted, "the transaction at 2 is committed")
	got.Release()
	n.shutdown()
}

// The blocks of a joined part lie apart where its sources did: a GET of several takes only those that lie one behind the other.
func TestReadsOfAJoinedPartReachOverNoJoint(t *testing.T) {
	w, c, n := startCompacting(t, func(o *Options) { o.BlockBytes = 1 << 10 })
	for range 24 {
		for _, id := range c.sorted() { // several blocks of each in an object
			w.until("room", func() bool { return n.owners[id].append(n, 1, 2000, 5) })
			w.until("room", func() bool { return n.owners[id].append(n, 1, 2000, 5) })
		}
		uploadRounds(n, 3, 1, 2000)
	}
	n.settleCompaction()
	require.Positive(t, w.hits("stream compaction: joined"))
	apart := 0
	for _, id := range c.sorted() {
		for _, p := range c.streams[id].Parts {
			index, err := object.ParseIndex(w.store.objects[object.Key("cluster", uint64(p.Object))][p.IndexOffset:][:p.IndexBytes])
			require.NoError(t, err)
			for i := range index.Blocks[1:] {
				if k := &index.Blocks[i]; k.Position+int64(k.Bytes) != index.Blocks[i+1].Position {
					apart++
				}
			}
		}
	}
	require.Positive(t, apart)
	w.crash()
	o := smallOptions
	o.Compaction.Disabled, o.BlockCacheBytes = true, 1<<20
	n = boot(w, c, o, smallLog)
	for _, id := range c.sorted() {
		n.owners[id].readAll(n, 100_000)
	}
	require.Positive(t, w.hits("stream read: several blocks with one GET"))
	require.Empty(t, w.logged)
	n.shutdown()
}
