package stream

import (
	"iter"
	"log/slog"
	"slices"
	"sort"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
	"weir/core/telemetry"
	"weir/core/wal"
)

// recoveredLogs is what the WALs of ended incarnations hold that is not committed yet: it is read from there, and
// uploaded in the background; then they are removed.
type recoveredLogs struct {
	*base
	tails     []*tail               // ascending by epoch
	underway  []*recovery           // what is being read
	notes     *chunkPool[tailEntry] // of their batches; they count against the log cache
	offerRoom func()                // is called when there may be fewer
	again     waits                 // of reads that failed
	uploads   tailUploader

	checkpoints *checkpoints
}

// tail is what the WAL of an ended incarnation holds that is not committed yet.
type tail struct {
	epoch   metadata.BrokerEpoch
	sealed  *wal.Sealed
	streams []*tailStream // ascending by stream, then leader epoch
	freed   uint64        // index of the image that owes it nothing, or 0
	glance  bool          // the last of a log of which all will be read
	reading bool          // more of it comes, and is to be checked: nothing of it is uploaded yet
}

// tailStream is one range's part of a tail, dense in offsets.
type tailStream struct {
	tail        *tail
	id          metadata.StreamID
	leaderEpoch int32
	entries     ring[tailEntry, *tailEntry] // from the range's committed end on
	// transactions are those of the entries, and of earlier ones until all are gone.
	transactions object.Transactions
	start        int64 // committed end when the log was opened: nothing below counts
	limit        int64 // seal, or the largest number: nothing at or above counts
	seen         int64 // end of the newest batch of the range in the log, whether it counts or not; 0: none
	next         int64 // offset after the last
	gone         bool  // the range is not there any more, or another epoch recovers it: nothing more is taken
	sealed       bool  // the image says where the range ends
	state        State // as of stateEnd, while it is uploaded; nil: to be rebuilt
	stateEnd     int64 // may lie above the entries: the checkpoint of a newer range covers them
	failed       bool  // it could not be read: the others go first
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

// take notes the batch that follows those before; false: its header says otherwise than the log.
func (t *tailStream) take(n *wal.Entry) (h record.Header, ok bool) {
	h, err := record.ReadHeader(n.Batch)
	if err != nil || h.BaseOffset != n.BaseOffset || h.NextOffset() != n.BaseOffset+int64(n.Offsets) || h.Bytes != int(n.Bytes) {
		return h, false
	}
	t.entries.push(tailEntry{
		base: n.BaseOffset, offsets: n.Offsets, bytes: n.Bytes, at: n.At, maxTimestamp: h.MaxTimestamp,
	})
	t.next += int64(n.Offsets)
	if h.Transactional() {
		t.entries.pool.addTransaction(&t.transactions, n.Batch, n.BaseOffset)
	}
	return h, true
}

// holds returns the entry that holds an offset.
func (t *tailStream) holds(offset int64) (int, bool) {
	i := t.entries.search(offset)
	return i, i < t.entries.len() && t.entries.at(i).base <= offset
}

// of iterates over what the tails hold of a stream, oldest first.
func (l *recoveredLogs) of(id metadata.StreamID) iter.Seq[*tailStream] {
	return func(yield func(*tailStream) bool) {
		for _, t := range l.tails {
			i := sort.Search(len(t.streams), func(i int) bool { return t.streams[i].id >= id })
			for ; i < len(t.streams) && t.streams[i].id == id; i++ {
				if !yield(t.streams[i]) {
					return
				}
			}
		}
	}
}

// at finds the tail that holds an offset of a stream.
func (l *recoveredLogs) at(id metadata.StreamID, offset int64) (*tailStream, bool) {
	for t := range l.of(id) {
		if _, ok := t.holds(offset); ok {
			return t, true
		}
	}
	return nil, false
}

// reach is how far, from an offset on, the tails hold a stream without a gap.
func (l *recoveredLogs) reach(id metadata.StreamID, offset int64) int64 {
	for t, ok := l.at(id, offset); ok; t, ok = l.at(id, offset) {
		offset = t.next
	}
	return offset
}

// refresh takes what the image says of the ranges in recovered logs.
func (l *recoveredLogs) refresh() {
	for _, t := range l.tails {
		for _, s := range t.streams {
			l.refreshRange(s)
		}
	}
	l.settle()
}

// refreshRange takes what the image says of a range.
func (l *recoveredLogs) refreshRange(s *tailStream) {
	was := s.gone
	s.refresh(l.Image, l.Epoch)
	if _, there := l.Image.Stream(s.id); there && s.gone && !was {
		l.Telemetry.Hit("stream recover: a range is another epoch's to recover from now on")
	}
}

// refreshOf does so for some streams only.
func (l *recoveredLogs) refreshOf(ids []metadata.StreamID) {
	if len(l.tails) == 0 {
		return
	}
	for _, id := range ids {
		for s := range l.of(id) {
			l.refreshRange(s)
		}
	}
	l.settle()
}

// settle gives up logs that are not owed any more (R3), and goes on uploading the others.
func (l *recoveredLogs) settle() {
	if l.stopping {
		return
	}
	l.tails = slices.DeleteFunc(l.tails, func(t *tail) bool {
		if t.reading || l.Image.EpochOwes(t.epoch) || l.uploads.uses(t) || !l.freed(t) {
			return false
		}
		for _, s := range t.streams {
			s.refresh(l.Image, l.Epoch) // during a start nobody tells of records that others propose, such as a deletion
		}
		l.remove(t)
		return true
	})
	l.offerRoom()
	l.uploads.pump()
}

// freed reports whether the record that freed a log is shipped.
func (l *recoveredLogs) freed(t *tail) bool {
	if l.Shipping == nil {
		return true
	}
	if t.freed == 0 {
		t.freed = l.Shipping.AppliedIndex()
	}
	return t.freed <= l.Shipping.Shipped()
}

func (l *recoveredLogs) remove(t *tail) {
	for _, s := range t.streams {
		if s.entries.len() > 0 {
			telemetry.Assert(1, false, "log %q is given up, stream %d has batches from offset %d in it", t.sealed.Name, s.id, s.entries.at(0).base)
		}
	}
	l.Telemetry.Hit("stream recover: log removed")
	if l.log == nil {
		l.Telemetry.Hit("stream recover: log removed before there is a new one")
	}
	l.begin()
	t.sealed.Remove(func(err error) {
		if err != nil {
			l.Telemetry.Warn("a log that is not needed any more stays behind; it is removed at the next start",
				slog.String("file", t.sealed.Name), slog.String("error", err.Error()))
		}
		l.end()
	})
}

// refresh drops what is committed, deleted, beyond the range's seal, or not this epoch's to commit.
func (s *tailStream) refresh(im Image, by metadata.BrokerEpoch) {
	if s.gone {
		return // if the range comes back, it is read again
	}
	image, ok := im.Stream(s.id)
	if !ok {
		s.leave()
		return
	}
	r, ok := rangeOf(image, s.leaderEpoch)
	if !ok || im.Committer(image, r) != by {
		s.leave()
		return
	}
	s.sealed = r.End >= 0
	if s.sealed && r.End > s.next && !s.tail.reading {
		telemetry.Assert(1, false, "stream %d, leader epoch %d: sealed at %d, its log ends at %d", s.id, s.leaderEpoch, r.End, s.next)
	}
	committed := committedOf(r)
	s.entries.drop(s.entries.search(committed))
	s.entries.pool.forgetTransactions(&s.transactions, committed)
	if n := s.entries.search(r.End); s.sealed && n < s.entries.len() {
		s.entries.truncate(n)
		s.entries.pool.truncateTransactions(&s.transactions, r.End)
		s.next = r.End
	}
	if s.entries.len() == 0 {
		s.drop()
	}
}

// leave lets go of a range that is not to be recovered here.
func (s *tailStream) leave() {
	s.gone = true
	s.drop()
}

// drop lets go of all entries.
func (s *tailStream) drop() {
	s.entries.drop(s.entries.len())
	s.entries.pool.dropTransactions(&s.transactions)
}

const (
	tailReadEntriesMax = 32 // of one read
	tailReadTriesMax   = 5
)

// tailRead is one read of a tail: its batches come one by one, in any order.
type tailRead struct {
	logs   *recoveredLogs
	id     metadata.StreamID
	offset int64
	most   int
	tries  int
	moved  func() // no tail has the offset any more
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

// read reads from offset, which t holds. It calls moved instead of done if the records are elsewhere before it could read them.
func (l *recoveredLogs) read(t *tailStream, offset int64, maxBytes int, moved func(), done func(Fetched)) {
	r := &tailRead{logs: l, id: t.id, offset: offset, most: maxBytes, moved: moved, done: done}
	r.start(t)
}

func (r *tailRead) start(t *tailStream) {
	if t.tail.reading {
		r.logs.Telemetry.Hit("stream read: from a log that is still looked through")
	}
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
		r.logs.readBatch(t.tail, *t.entries.at(i), func(b tailBatch) {
			*slot = b
			if r.left--; r.left == 0 {
				r.arrived()
			}
		})
	}
}

// readBatch reads one batch of a tail.
func (l *recoveredLogs) readBatch(t *tail, n tailEntry, done func(tailBatch)) {
	l.begin()
	t.sealed.Read(n.at, n.bytes, func(slab *env.Slab, offset int, err error) {
		b := tailBatch{slab: slab, err: err}
		if err == nil {
			b.data = slab.Data[offset : offset+int(n.bytes) : offset+int(n.bytes)]
		}
		done(b)
		l.end()
	})
}

// arrived hands out what came, up to the first batch that did not.
func (r *tailRead) arrived() {
	l := r.logs
	g := gather{Fetched{tail: true}}
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
		if r.tries++; r.tries < tailReadTriesMax && !l.stopping {
			l.again.later(l.health.backoff("tail read retry", uint64(r.id), r.tries), r.again)
			return
		}
		g.Err = err
	}
	r.done(g.Fetched)
}

// again reads once more, from wherever the offset is by now.
func (r *tailRead) again() {
	if t, ok := r.logs.at(r.id, r.offset); ok && !r.logs.stopping {
		r.start(t)
		return
	}
	r.moved()
}
