package stream

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// archive is what a broker has of streams that others lead: an image, the objects in the store, and a reader.
type archive struct {
	*cluster
	reader *Reader
	logs   map[metadata.StreamID]*CommittedLog
}

type name string

func (n name) String() string { return string(n) }

func newArchive(t *testing.T, getsInFlightMax int) *archive {
	return newArchiveOf(t, ReaderOptions{BlockCacheBytes: 64 << 10, GetsInFlightMax: getsInFlightMax})
}

func newArchiveOf(t *testing.T, o ReaderOptions) *archive {
	w := newWorld(t)
	a := &archive{cluster: newCluster(w), logs: map[metadata.StreamID]*CommittedLog{}}
	o.Loop, o.Env, o.Telemetry, o.Image, o.Cluster = w.loop, w.env(), w.marks, a, "cluster"
	a.reader = NewReader(o)
	return a
}

// add makes a stream that somebody else leads.
func (a *archive) add(id metadata.StreamID) {
	a.create(id)
	a.logs[id] = a.reader.Log(id, name(fmt.Sprintf("topic-%d", id)))
}

// commit writes so many batches to each stream's newest range, and commits them as one object.
func (a *archive) commit(batches int, ids ...metadata.StreamID) {
	var parts []object.Part
	for _, id := range ids {
		h, from := a.histories[id], len(a.histories[id].ends)
		for range batches {
			a.write(id)
		}
		parts = append(parts, h.part(id, from, from+batches))
	}
	a.put(parts)
}

// write appends a batch of two records to a stream's newest range.
func (a *archive) write(id metadata.StreamID) {
	h := a.histories[id]
	base, data := h.end(), batchOf(2, 1000, 0, uint64(h.end())+uint64(id))
	header, _ := record.ReadHeader(data)
	sum, _ := h.sumAt(base)
	record.Patch(data, base, a.streams[id].Newest().LeaderEpoch)
	h.batches, h.ends, h.sums = append(h.batches, data), append(h.ends, base+2), append(h.sums, nextSum(sum, header.CRC))
}

// part is some of a stream's batches, for an object.
func (h *history) part(id metadata.StreamID, from, to int) object.Part {
	p := object.Part{Stream: uint64(id)}
	for i := from; i < to; i++ {
		header, _ := record.ReadHeader(h.batches[i])
		p.LeaderEpoch = header.LeaderEpoch
		p.Batches = append(p.Batches, object.Batch{Data: h.batches[i], Base: header.BaseOffset, End: h.ends[i]})
	}
	return p
}

// store puts an object, and returns the rows of its parts.
func (a *archive) store(parts []object.Part) (rows []metadata.Part) {
	id := a.nextID
	a.nextID++
	built := object.Build(object.Header{ID: uint64(id), Cluster: "cluster"}, parts, 4<<10)
	a.w.store.objects[object.Key("cluster", uint64(id))] = slices.Concat(built.Body...)
	a.committed[id] = true
	for _, p := range built.Parts {
		rows = append(rows, metadata.Part{
			Object: id, Start: p.Start, End: p.End, LeaderEpoch: p.LeaderEpoch, Bytes: p.Bytes, IndexOffset: p.IndexPosition, IndexBytes: p.IndexBytes,
		})
	}
	return rows
}

// put stores an object and commits it.
func (a *archive) put(parts []object.Part) {
	for i, row := range a.store(parts) {
		id := metadata.StreamID(parts[i].Stream)
		sum, _ := a.histories[id].sumAt(row.End)
		require.True(a.w.t, a.judge(row.Object, &metadata.CommitPart{
			Stream: id, LeaderEpoch: row.LeaderEpoch, Part: row, Checkpoint: encodeState(row.End, sum),
		}))
	}
}

// compact replaces all parts of a stream by one, and deletes the objects that nobody refers to any more.
func (a *archive) compact(id metadata.StreamID) {
	h := a.histories[id]
	a.streams[id].Parts = a.store([]object.Part{h.part(id, 0, len(h.ends))})
	a.sweep()
}

// begin begins a read; the answer is held against what was written.
func (a *archive) begin(id metadata.StreamID, offset int64) *answer {
	return a.beginWith(id, offset, 3000)
}

func (a *archive) beginWith(id metadata.StreamID, offset int64, bytes int) *answer {
	got := &answer{stream: id, next: offset}
	a.w.turn(func() {
		a.logs[id].Read(offset, bytes, func(f Fetched) {
			h := a.histories[id]
			for _, data := range f.Batches {
				i := h.at(got.next)
				require.Equal(a.w.t, h.batches[i], data, "stream %d at offset %d", id, got.next)
				got.next = h.ends[i]
			}
			got.ended, got.err = true, f.Err
			f.Release()
		})
	})
	return got
}

type answer struct {
	stream metadata.StreamID
	next   int64 // offset after what came
	err    error
	ended  bool
}

func (a *archive) read(id metadata.StreamID, offset int64) (next int64, err error) {
	got := a.begin(id, offset)
	a.w.until("a read's answer", func() bool { return got.ended })
	return got.next, got.err
}

// readAll reads a stream's log in order, up to the end of what is committed.
func (a *archive) readAll(id metadata.StreamID) {
	start, end, err := a.logs[id].Bounds()
	require.NoError(a.w.t, err)
	for at := start; at < end; {
		next, err := a.read(id, at)
		require.NoError(a.w.t, err)
		require.Greater(a.w.t, next, at)
		at = next
	}
	next, err := a.read(id, end)
	require.NoError(a.w.t, err)
	require.Equal(a.w.t, end, next, "nothing is committed there")
}

// shutdown proves that every slab is given back.
func (a *archive) shutdown() {
	done := false
	a.w.store.Abandon()
	a.w.turn(func() { a.reader.Shutdown(func() { done = true }) })
	a.w.until("the end of the shutdown", func() bool { return done })
	require.Zero(a.w.t, a.w.memory.live, "slabs leak")
}

func TestAReaderReadsStreamsThatOthersLead(t *testing.T) {
	a := newArchive(t, 0)
	for id := range metadata.StreamID(3) {
		a.add(id + 1)
	}
	for range 4 {
		a.commit(30, 1, 2, 3)
		a.commit(10, 2)
	}
	a.write(1) // durable at its leader, and in no object yet
	n := 0
	a.w.store.weather = func(string) string {
		n++
		return []string{"", "failed", "", "damaged", "", "", "short"}[n%7]
	}
	for id := range metadata.StreamID(3) {
		a.readAll(id + 1)
	}
	require.NotZero(t, a.w.hits("stream read: damaged bytes"))
	require.NotZero(t, a.w.hits("stream read: ahead"), "it follows sequential readers")
	require.Empty(t, a.w.logged)
	a.shutdown()
}

func TestAReaderStopsAtWhatIsNotCommitted(t *testing.T) {
	a := newArchive(t, 0)
	a.add(1)
	a.commit(5, 1)
	for range 3 {
		a.write(1)
	}
	a.epoch++
	a.takeOver([]metadata.RangeEnd{{Stream: 1, End: 16}})
	a.commit(5, 1) // of the next leader, before the tail of the one before it
	start, end, err := a.logs[1].Bounds()
	require.NoError(t, err)
	require.Equal(t, []int64{0, 10}, []int64{start, end})
	a.readAll(1)
	a.put([]object.Part{a.histories[1].part(1, 5, 8)})
	a.readAll(1)
	_, end, _ = a.logs[1].Bounds()
	require.Equal(t, int64(26), end)
	a.shutdown()
}

func TestAReaderFollowsAnObjectThatIsReplaced(t *testing.T) {
	a := newArchive(t, 0)
	a.add(1)
	a.commit(5, 1)
	a.commit(5, 1)
	got := a.begin(1, 12)
	a.compact(1)
	a.w.until("the answer", func() bool { return got.ended })
	require.NoError(t, got.err)
	require.Greater(t, got.next, int64(12))
	require.NotZero(t, a.w.hits("stream read: object gone"))
	require.Empty(t, a.w.logged)
	a.readAll(1)
	a.shutdown()
}

// TestAReaderOfTwoPartsOfAStreamInOneObject: its partition was moved away and back while the object was filled.
func TestAReaderOfTwoPartsOfAStreamInOneObject(t *testing.T) {
	a := newArchive(t, 0)
	a.add(1)
	for range 10 {
		a.write(1)
	}
	h := a.histories[1]
	a.put([]object.Part{h.part(1, 0, 5), h.part(1, 5, 10)})
	a.readAll(1)
	require.Empty(t, a.w.logged)
	a.shutdown()
}

func TestAReaderReportsLostRecords(t *testing.T) {
	a := newArchive(t, 0)
	a.add(1)
	a.add(2)
	a.commit(5, 1)
	a.commit(5, 2)
	keys := a.w.store.keys()
	delete(a.w.store.objects, keys[0])
	a.w.store.objects[keys[1]][object.HeaderBytes+100] ^= 1
	_, err := a.read(1, 4)
	require.ErrorIs(t, err, errNoObject)
	_, err = a.read(2, 0)
	require.ErrorIs(t, err, object.ErrDamaged)
	require.Len(t, a.w.logged, 2)
	for _, says := range []string{"their object is gone", "partition=topic-1 first_offset=0 last_offset=9", keys[0]} {
		require.Contains(t, a.w.logged[0], says)
	}
	for _, says := range []string{"their object is damaged", "partition=topic-2 first_offset=0 last_offset=", keys[1]} {
		require.Contains(t, a.w.logged[1], says)
	}
	a.shutdown()
}

// What is deleted while it is read is not lost.
func TestAReaderOfWhatIsDeletedMeanwhile(t *testing.T) {
	for _, c := range []struct {
		remove func(*archive)
		err    error
	}{
		{func(a *archive) { delete(a.streams, 1); a.sweep() }, ErrGone},
		{func(a *archive) { a.logs[1].Close(); clear(a.w.store.objects) }, ErrGone},
		{func(a *archive) { a.trim(1, 10) }, ErrTrimmed},
	} {
		a := newArchive(t, 0)
		a.add(1)
		a.commit(5, 1)
		a.commit(5, 1)
		got := a.begin(1, 2)
		c.remove(a)
		a.w.until("the answer", func() bool { return got.ended })
		require.Equal(t, c.err, got.err)
		_, err := a.read(1, 2)
		require.Equal(t, c.err, err)
		require.Empty(t, a.w.logged)
		if c.err == ErrTrimmed {
			a.readAll(1)
		}
		a.shutdown()
	}
}

func TestAReaderShutsDownWithReadsUnderWay(t *testing.T) {
	for steps := range 40 {
		a := newArchive(t, 3)
		var answers []*answer
		for id := range metadata.StreamID(8) {
			a.add(id + 1)
			a.commit(5, id+1)
		}
		delete(a.w.store.objects, object.Key("cluster", 2))
		a.w.store.weather = func(string) string { return []string{"", "", "failed"}[a.w.store.gets%3] }
		for id := range metadata.StreamID(8) {
			answers = append(answers, a.begin(id+1, 0), a.begin(id+1, 6))
		}
		for range steps {
			a.w.step()
		}
		a.shutdown()
		for _, got := range answers {
			require.True(t, got.ended)
			if got.err != nil {
				require.Equal(t, ErrStopped, got.err)
			}
		}
		require.Equal(t, ErrStopped, a.begin(1, 0).err)
	}
}
