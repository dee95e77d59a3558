package stream

import (
	"iter"
	"log/slog"
	"slices"
	"sort"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/telemetry"
	"weir/core/wal"
)

// tail is what the WAL of an ended incarnation holds that is not committed yet.
type tail struct {
	epoch   metadata.BrokerEpoch
	sealed  *wal.Sealed
	streams []*tailStream // ascending by stream, then leader epoch
	freed   uint64        // index of the image that owes it nothing, or 0
}

// tailStream is one range's part of a tail, dense in offsets.
type tailStream struct {
	tail        *tail
	id          metadata.StreamID
	leaderEpoch int32
	entries     ring[tailEntry, *tailEntry] // from the range's committed end on
	next        int64                       // offset after the last
	sealed      bool                        // the image says where the range ends
	state       State                       // as of stateEnd, while it is uploaded; nil: to be rebuilt
	stateEnd    int64                       // may lie above the entries: the checkpoint of a newer range covers them
	failed      bool                        // it could not be read: the others go first
}

// tailEntry is one batch of a tail.
type tailEntry struct {
	base         int64
	maxTimestamp int64
	at           wal.Position
	offsets      int32
	bytes        int32
}

func (n *tailEntry) end() int64       { return n.base + int64(n.offsets) }
func (n *tailEntry) size() int64      { return int64(n.bytes) }
func (n *tailEntry) timestamp() int64 { return n.maxTimestamp }

// holds returns the entry that holds an offset.
func (t *tailStream) holds(offset int64) (int, bool) {
	i := t.entries.search(offset)
	return i, i < t.entries.len() && t.entries.at(i).base <= offset
}

// tailsOf iterates over what the tails hold of a stream, oldest first.
func (e *Engine) tailsOf(id metadata.StreamID) iter.Seq[*tailStream] {
	return func(yield func(*tailStream) bool) {
		for _, t := range e.tails {
			i := sort.Search(len(t.streams), func(i int) bool { return t.streams[i].id >= id })
			for ; i < len(t.streams) && t.streams[i].id == id; i++ {
				if !yield(t.streams[i]) {
					return
				}
			}
		}
	}
}

// tailAt finds the tail that holds an offset of a stream.
func (e *Engine) tailAt(id metadata.StreamID, offset int64) (*tailStream, bool) {
	for t := range e.tailsOf(id) {
		if _, ok := t.holds(offset); ok {
			return t, true
		}
	}
	return nil, false
}

// refreshTails takes what the image says of the ranges in recovered logs.
func (e *Engine) refreshTails() {
	for _, t := range e.tails {
		for _, s := range t.streams {
			s.refresh(e.image)
		}
	}
	e.settleTails()
}

// UploadTails uploads what it can of the recovered logs although the engine has none of its own yet: those of
// ranges that are sealed. It is called now and then while the log's disk has no room for one.
func (e *Engine) UploadTails() { e.refreshTails() }

// refreshTailsOf does so for some streams only.
func (e *Engine) refreshTailsOf(ids []metadata.StreamID) {
	if len(e.tails) == 0 {
		return
	}
	for _, id := range ids {
		for s := range e.tailsOf(id) {
			s.refresh(e.image)
		}
	}
	e.settleTails()
}

// settleTails gives up logs that are not owed any more (R3), and goes on uploading the others.
func (e *Engine) settleTails() {
	if e.stopping != nil {
		return
	}
	e.tails = slices.DeleteFunc(e.tails, func(t *tail) bool {
		if e.image.EpochOwes(t.epoch) || e.tailUp.uses(t) || !e.freed(t) {
			return false
		}
		e.removeLog(t)
		return true
	})
	e.offerRoom()
	e.tailUp.pump()
}

// freed reports whether the record that freed a log is shipped.
func (e *Engine) freed(t *tail) bool {
	if e.options.Shipping == nil {
		return true
	}
	if t.freed == 0 {
		t.freed = e.options.Shipping.AppliedIndex()
	}
	return t.freed <= e.options.Shipping.Shipped()
}

func (e *Engine) removeLog(t *tail) {
	for _, s := range t.streams {
		if s.entries.len() > 0 {
			telemetry.Assert(1, false, "log %q is given up, stream %d has batches from offset %d in it", t.sealed.Name, s.id, s.entries.at(0).base)
		}
	}
	e.telemetry.Hit("stream recover: log removed")
	if e.log == nil {
		e.telemetry.Hit("stream recover: log removed before there is a new one")
	}
	e.inFlight++
	t.sealed.Remove(func(err error) {
		e.inFlight--
		if err != nil {
			e.telemetry.Warn("a log that is not needed any more stays behind; it is removed at the next start",
				slog.String("file", t.sealed.Name), slog.String("error", err.Error()))
		}
		e.stopped()
	})
}

// refresh drops what is committed, deleted, or beyond the range's seal.
func (s *tailStream) refresh(im Image) {
	image, ok := im.Stream(s.id)
	if !ok {
		s.entries.drop(s.entries.len())
		return
	}
	r, ok := rangeOf(image, s.leaderEpoch)
	if !ok {
		s.entries.drop(s.entries.len())
		return
	}
	s.sealed = r.End >= 0
	if s.sealed && r.End > s.next {
		telemetry.Assert(1, false, "stream %d, leader epoch %d: sealed at %d, its log ends at %d", s.id, s.leaderEpoch, r.End, s.next)
	}
	committed := committedOf(r)
	s.entries.drop(s.entries.search(committed))
	if n := s.entries.search(r.End); s.sealed && n < s.entries.len() {
		s.entries.truncate(n)
	}
}

const (
	tailReadEntriesMax = 32 // of one read
	tailReadTriesMax   = 5
)

// tailRead is one read of a tail: its batches come one by one, in any order.
type tailRead struct {
	engine *Engine
	stream metadata.StreamID
	offset int64
	most   int
	tries  int
	done   func(Fetched)
	left   int
	got    []tailBatch
}

// tailBatch is one batch read back from a tail.
type tailBatch struct {
	slab *env.Slab
	data []byte
	err  error
}

// read reads from offset, which the tail holds.
func (t *tailStream) read(e *Engine, offset int64, maxBytes int, done func(Fetched)) {
	r := &tailRead{engine: e, stream: t.id, offset: offset, most: maxBytes, done: done}
	r.start(t)
}

func (r *tailRead) start(t *tailStream) {
	first, _ := t.holds(r.offset)
	last, bytes := first, 0
	for last < t.entries.len() && last < first+tailReadEntriesMax {
		bytes += int(t.entries.at(last).bytes)
		if last > first && bytes > r.most {
			break
		}
		last++
	}
	r.left = last - first
	r.got = make([]tailBatch, last-first)
	for i := first; i < last; i++ {
		slot := &r.got[i-first]
		r.engine.readTail(t.tail, *t.entries.at(i), func(b tailBatch) {
			*slot = b
			if r.left--; r.left == 0 {
				r.arrived()
			}
		})
	}
}

// readTail reads one batch of a tail.
func (e *Engine) readTail(t *tail, n tailEntry, done func(tailBatch)) {
	e.inFlight++
	t.sealed.Read(n.at, n.bytes, func(slab *env.Slab, offset int, err error) {
		e.inFlight--
		b := tailBatch{slab: slab, err: err}
		if err == nil {
			b.data = slab.Data[offset : offset+int(n.bytes) : offset+int(n.bytes)]
		}
		done(b)
		e.stopped()
	})
}

// arrived hands out what came, up to the first batch that did not.
func (r *tailRead) arrived() {
	e := r.engine
	var g gather
	for i := range r.got {
		if r.got[i].err != nil {
			break
		}
		g.add(r.got[i].data, r.got[i].slab)
	}
	for i := range r.got {
		if r.got[i].slab != nil {
			r.got[i].slab.Release()
		}
	}
	if err := r.got[0].err; err != nil {
		if r.tries++; r.tries < tailReadTriesMax && e.stopping == nil {
			e.later(e.backoff("tail read retry", uint64(r.stream), r.tries), r.again)
			return
		}
		g.Err = err
	}
	r.done(g.Fetched)
}

// again reads once more, from wherever the offset is by now.
func (r *tailRead) again() {
	if t, ok := r.engine.tailAt(r.stream, r.offset); ok && r.engine.stopping == nil {
		r.start(t)
		return
	}
	if s := r.engine.streams[r.stream]; s != nil {
		s.Read(r.offset, r.most, r.done)
		return
	}
	r.done(Fetched{Err: ErrGone})
}
