package stream

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wal"
)

// rangeKey names a range.
type rangeKey struct {
	stream      metadata.StreamID
	leaderEpoch int32
}

// Replayer keeps the state of producers while logs are recovered: for the partitions that will own the
// streams. It is called on the loop.
type Replayer interface {
	// Replay applies a batch of a recovered log to its stream's state, which begins with the image's
	// checkpoint; batches that the checkpoint has change nothing. Those of one stream come in order, over
	// all logs, and without a gap. Header and batch are lent for the call.
	Replay(id metadata.StreamID, h *record.Header, batch []byte) error
	// Agrees compares a stream's state with a summary that its former owner wrote as of end. An error says
	// what differs that may not. A state as of another offset is not compared.
	Agrees(id metadata.StreamID, end int64, summary []byte) error
	// Restore begins a stream's state with a summary as of end, which is above the image's checkpoint.
	Restore(id metadata.StreamID, end int64, summary []byte) error
}

// recovery is the reading of one ended incarnation's log. What it takes of memory is the tail's entries: no
// header of a batch outlives the visit to it.
type recovery struct {
	logs   *recoveredLogs
	name   string
	into   Replayer // nil: the states are known
	tail   *tail
	ranges map[rangeKey]*recovered
	found  []*recovered // those that are not nil
	err    error
}

// recovered is what a log holds of one range. Nil stands for a range that the log does not owe.
type recovered struct {
	tailStream
	start int64 // committed end: nothing below counts
	limit int64 // seal: nothing at or above counts
	seen  int64 // end of the newest batch in the log, whether it counts or not; 0: none
}

// recover is [Engine.RecoverLog].
func (l *recoveredLogs) recover(name string, epoch metadata.BrokerEpoch, into Replayer, done func(ends []metadata.RangeEnd, err error)) {
	at := wal.Stored{Name: name, Epoch: int64(epoch)}
	at.First, at.Object = l.Image.ObjectWAL(epoch)
	if !l.Image.EpochOwes(epoch) {
		l.Telemetry.Hit("stream recover: nothing owed")
		t := &tail{epoch: epoch, sealed: wal.Unread(l.Loop, l.Env, at)}
		if l.freed(t) {
			l.removeUnowed(t, func() { done(nil, nil) })
			return
		}
		l.Telemetry.Hit("stream recover: nothing owed by what is not shipped")
		l.tails = append(l.tails, t)
		done(nil, nil)
		return
	}
	r := &recovery{logs: l, name: name, into: into, tail: &tail{epoch: epoch}, ranges: make(map[rangeKey]*recovered)}
	wal.Recover(l.Loop, l.Env, at, r.visit, r.visitSummary, func(sealed *wal.Sealed, err error) {
		ends, err := r.finish(sealed, err)
		if err != nil && sealed != nil {
			sealed.Close()
		}
		done(ends, err)
	})
}

// removeUnowed removes a log that nothing is owed of. One that stays behind does no harm.
func (l *recoveredLogs) removeUnowed(t *tail, done func()) {
	t.sealed.Remove(func(err error) {
		if err != nil {
			l.Telemetry.Warn("a log that is not needed any more stays behind; it is removed at the next start",
				slog.String("file", t.sealed.Name), slog.String("error", err.Error()))
		}
		done()
	})
}

func (r *recovery) corrupt(format string, args ...any) error {
	return fmt.Errorf("wal file %q does not fit the cluster's metadata: %s; acknowledged batches would be lost, so nothing was changed: "+
		"restore the file or the metadata. There is no way yet to give its records up", r.name, fmt.Sprintf(format, args...))
}

// outdated is the error for a log that is an older copy. A log keeps its batches up to the newest, so that one
// which holds any of a range holds those that were committed last, too.
func (r *recovery) outdated(t *recovered) error {
	r.logs.Telemetry.Hit("stream recover: an older copy of the log")
	return fmt.Errorf("wal file %q is an older copy: it ends at offset %d of stream %d, but the object store has records up to %d. What was "+
		"acknowledged after the copy was made may be in no object yet, so nothing was changed: start with the newer log disk. There is no way yet to give its records up",
		r.name, t.seen, t.id, t.start)
}

// visit takes one entry of the log.
func (r *recovery) visit(n wal.Entry) {
	if r.err != nil {
		return
	}
	t := r.rangeFor(rangeKey{metadata.StreamID(n.Stream), n.LeaderEpoch})
	if t == nil {
		return
	}
	t.seen = n.BaseOffset + int64(n.Offsets)
	if n.BaseOffset < t.start || n.BaseOffset >= t.limit {
		return
	}
	if n.BaseOffset != t.next {
		r.err = r.corrupt("stream %d, leader epoch %d has a batch at offset %d where %d is next", n.Stream, n.LeaderEpoch, n.BaseOffset, t.next)
		return
	}
	h, err := record.ReadHeader(n.Batch)
	if err != nil || h.BaseOffset != n.BaseOffset || h.NextOffset() != n.BaseOffset+int64(n.Offsets) || h.Bytes != int(n.Bytes) {
		r.err = r.corrupt("stream %d has a batch at offset %d whose header says otherwise", n.Stream, n.BaseOffset)
		return
	}
	t.entries.push(tailEntry{
		base: n.BaseOffset, offsets: n.Offsets, bytes: n.Bytes, at: n.At, maxTimestamp: h.MaxTimestamp,
	})
	t.next += int64(n.Offsets)
	if h.Transactional() {
		t.entries.pool.addTransaction(&t.transactions, n.Batch, n.BaseOffset)
	}
	if r.into == nil {
		return
	}
	if err := r.into.Replay(t.id, &h, n.Batch); err != nil {
		r.err = r.corrupt("stream %d: checkpoint and batches do not follow each other: %v", t.id, err)
	}
}

// visitSummary holds a summary against the batches before it: two writers of the same fact that must
// agree (R4).
func (r *recovery) visitSummary(at wal.Position, encoded []byte) {
	if r.err != nil {
		return
	}
	summary, err := decodeSummary(encoded)
	if err != nil {
		r.err = r.corrupt("its summary at position %d cannot be read: %v", at, err)
		return
	}
	for i := range summary.streams {
		if r.err = r.agree(&summary.streams[i], at); r.err != nil {
			return
		}
	}
}

// rangeFor returns what is kept of a range; nil if the image says that this epoch owes nothing of it.
func (r *recovery) rangeFor(key rangeKey) *recovered {
	t, known := r.ranges[key]
	if known {
		return t
	}
	if image, ok := r.logs.Image.Stream(key.stream); ok {
		owned, ok := rangeOf(image, key.leaderEpoch)
		if ok && owned.BrokerEpoch == r.tail.epoch && (owned.End < 0 || committedOf(owned) < owned.End) {
			t = &recovered{start: committedOf(owned), limit: owned.End}
			t.tail, t.id, t.leaderEpoch, t.next = r.tail, key.stream, key.leaderEpoch, t.start
			t.entries.pool = r.logs.notes
			if t.limit < 0 {
				t.limit = math.MaxInt64
			}
			r.found = append(r.found, t)
		}
	}
	r.ranges[key] = t
	return t
}

// finish validates what was found, and keeps it.
func (r *recovery) finish(sealed *wal.Sealed, err error) ([]metadata.RangeEnd, error) {
	if err == nil {
		err = r.err
	}
	if err == nil && r.logs.stopping {
		err = ErrStopped // nobody would close it
	}
	if err != nil {
		return nil, err
	}
	if sealed.BrokerEpoch != int64(r.tail.epoch) {
		return nil, r.corrupt("it is the log of broker epoch %d, not %d", sealed.BrokerEpoch, r.tail.epoch)
	}
	r.tail.sealed = sealed
	hitEnd(r.logs, sealed)
	if err := r.join(); err != nil {
		return nil, err
	}
	at, _ := slices.BinarySearchFunc(r.logs.tails, r.tail.epoch, func(t *tail, epoch metadata.BrokerEpoch) int { return cmp.Compare(t.epoch, epoch) })
	r.logs.tails = slices.Insert(r.logs.tails, at, r.tail)
	return r.ends(), nil
}

// hitEnd marks how a log ended.
func hitEnd(l *recoveredLogs, sealed *wal.Sealed) {
	_, object := l.Image.ObjectWAL(metadata.BrokerEpoch(sealed.BrokerEpoch))
	switch {
	case sealed.Raced:
		l.Telemetry.Hit("stream recover: a create came before the seal")
	case sealed.Torn && object:
		l.Telemetry.Hit("stream recover: slots behind the end of an object log")
	case sealed.Torn:
		l.Telemetry.Hit("stream recover: torn tail")
	}
}

// join orders what was found and checks it against the seals.
func (r *recovery) join() error {
	slices.SortStableFunc(r.found, compareRanges)
	for _, t := range r.found {
		if t.seen > 0 && t.seen < t.start {
			return r.outdated(t)
		}
		if t.limit != math.MaxInt64 && t.next < t.limit {
			return r.corrupt("stream %d, leader epoch %d ends at %d, it was sealed at %d", t.id, t.leaderEpoch, t.next, t.limit)
		}
		r.tail.streams = append(r.tail.streams, &t.tailStream)
	}
	return nil
}

// compareRanges orders by stream, then leader epoch.
func compareRanges(a, b *recovered) int {
	if a.id != b.id {
		return cmp.Compare(a.id, b.id)
	}
	return cmp.Compare(a.leaderEpoch, b.leaderEpoch)
}

// ends says where the epoch's open ranges end.
func (r *recovery) ends() []metadata.RangeEnd {
	ends := slices.Clone(r.logs.Image.OpenRanges(r.tail.epoch))
	for i := range ends {
		if t := r.rangeFor(rangeKey{ends[i].Stream, ends[i].LeaderEpoch}); t != nil {
			ends[i].End = t.next
		}
	}
	return ends
}

// agree holds one stream's summary, written at a position, against what was visited before it.
func (r *recovery) agree(s *streamSummary, at wal.Position) error {
	t := r.rangeFor(rangeKey{s.stream, s.leaderEpoch})
	if t == nil || s.end <= t.start || s.end > t.limit {
		return nil
	}
	if t.next != s.end {
		return r.corrupt("stream %d, leader epoch %d: the summary at position %d says that it ends at %d there, the batches say %d",
			s.stream, s.leaderEpoch, at, s.end, t.next)
	}
	r.logs.Telemetry.Hit("stream recover: summary agrees")
	if s.state == nil || r.into == nil {
		return nil
	}
	if err := r.into.Agrees(s.stream, s.end, s.state); err != nil {
		return r.corrupt("stream %d: checkpoint and batches do not give the state of the summary: %v", s.stream, err)
	}
	return nil
}
