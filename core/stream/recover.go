package stream

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wal"
)

// rangeKey names a range.
type rangeKey struct {
	stream      metadata.StreamID
	leaderEpoch int32
}

// recovery is the reading of one ended incarnation's log.
type recovery struct {
	engine *Engine
	name   string
	header func(metadata.StreamID, record.Header)
	tail   *tail
	ranges map[rangeKey]*recovered
	found  []*recovered // those that are not nil
	err    error
}

// recovered is what a log holds of one range. Nil stands for a range that the log does not owe.
type recovered struct {
	tailStream
	start   int64 // committed end: nothing below counts
	limit   int64 // seal: nothing at or above counts
	seen    int64 // end of the newest batch in the log, whether it counts or not; 0: none
	headers []record.Header
}

// RecoverLog reads the log of an ended broker epoch and keeps, for reading and upload, what the image
// says that epoch owns and has not committed. The image must be as new as the end of that epoch, and
// logs are recovered in order of their epochs. header gets each kept batch's header, those of one
// stream in order; what it got counts only if done gets no error. done gets the ends of the epoch's
// open ranges, for the record that closes them (R3). Errors mean damage to acknowledged data, or a
// device that fails: the broker must not start as if nothing were missing. A log of which nothing is
// owed any more is removed unread (R3): what it holds, damage included, matters to nobody.
func (e *Engine) RecoverLog(name string, epoch metadata.BrokerEpoch, header func(metadata.StreamID, record.Header), done func(ends []metadata.RangeEnd, err error)) {
	if !e.image.EpochOwes(epoch) {
		e.telemetry.Hit("stream recover: nothing owed")
		e.removeUnowed(name, func() { done(nil, nil) })
		return
	}
	r := &recovery{engine: e, name: name, header: header, tail: &tail{epoch: epoch}, ranges: make(map[rangeKey]*recovered)}
	wal.Recover(e.loop, e.env, name, r.visit, func(sealed *wal.Sealed, err error) {
		ends, err := r.finish(sealed, err)
		if err != nil && sealed != nil {
			sealed.Close()
		}
		done(ends, err)
	})
}

// removeUnowed removes a log that nothing is owed of. One that stays behind does no harm.
func (e *Engine) removeUnowed(name string, done func()) {
	e.env.WAL.Remove(&env.DiskRemove{Name: name, Done: func(op *env.DiskRemove) {
		if op.Err != nil {
			e.telemetry.Warn("a log that is not needed any more stays behind; it is removed at the next start",
				slog.String("file", name), slog.String("error", op.Err.Error()))
		}
		done()
	}})
}

func (r *recovery) corrupt(format string, args ...any) error {
	return fmt.Errorf("wal file %q does not fit the cluster's metadata: %s; acknowledged batches would be lost, so nothing was changed: "+
		"restore the file or the metadata, or give the log up by an explicit decision", r.name, fmt.Sprintf(format, args...))
}

// outdated is the error for a log that is an older copy. A log keeps its batches up to the newest, so that one
// which holds any of a range holds those that were committed last, too.
func (r *recovery) outdated(t *recovered) error {
	r.engine.telemetry.Hit("stream recover: an older copy of the log")
	return fmt.Errorf("wal file %q is an older copy: it ends at offset %d of stream %d, but the object store has records up to %d. What was "+
		"acknowledged after the copy was made may be in no object yet, so nothing was changed: start with the newer log disk, or give the log up by an explicit decision",
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
	h, err := record.ParseHeader(n.BatchHeader)
	if err != nil || h.BaseOffset != n.BaseOffset || h.NextOffset() != n.BaseOffset+int64(n.Offsets) || h.Bytes != int(n.Bytes) {
		r.err = r.corrupt("stream %d has a batch at offset %d whose header says otherwise", n.Stream, n.BaseOffset)
		return
	}
	t.entries = append(t.entries, tailEntry{
		base: n.BaseOffset, offsets: n.Offsets, bytes: n.Bytes, at: n.At, maxTimestamp: h.MaxTimestamp,
	})
	t.next += int64(n.Offsets)
	t.headers = append(t.headers, h)
	r.header(t.id, h)
}

// rangeFor returns what is kept of a range; nil if the image says that this epoch owes nothing of it.
func (r *recovery) rangeFor(key rangeKey) *recovered {
	t, known := r.ranges[key]
	if known {
		return t
	}
	if image, ok := r.engine.image.Stream(key.stream); ok {
		owned, ok := rangeOf(image, key.leaderEpoch)
		if ok && owned.BrokerEpoch == r.tail.epoch && (owned.End < 0 || committedOf(owned) < owned.End) {
			t = &recovered{start: committedOf(owned), limit: owned.End}
			t.tail, t.id, t.leaderEpoch, t.next = r.tail, key.stream, key.leaderEpoch, t.start
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
	e := r.engine
	if err == nil {
		err = r.err
	}
	if err != nil {
		return nil, err
	}
	if sealed.BrokerEpoch != int64(r.tail.epoch) {
		return nil, r.corrupt("it is the log of broker epoch %d, not %d", sealed.BrokerEpoch, r.tail.epoch)
	}
	r.tail.sealed = sealed
	if sealed.Torn {
		e.telemetry.Hit("stream recover: torn tail")
	}
	if err := r.join(sealed); err != nil {
		return nil, err
	}
	e.tails = append(e.tails, r.tail)
	return r.ends(), nil
}

// join orders what was found and checks it against seals and the newest summary.
func (r *recovery) join(sealed *wal.Sealed) error {
	summary, err := decodeSummary(sealed.Summary)
	if err != nil && sealed.Summary != nil {
		return r.corrupt("its summary cannot be read: %v", err)
	}
	for i := range summary.streams {
		if err := r.agree(&summary.streams[i], sealed.SummaryAt); err != nil {
			return err
		}
	}
	slices.SortStableFunc(r.found, compareRanges)
	for _, t := range r.found {
		if t.seen > 0 && t.seen < t.start {
			return r.outdated(t)
		}
		if t.limit != math.MaxInt64 && t.next < t.limit {
			return r.corrupt("stream %d, leader epoch %d ends at %d, it was sealed at %d", t.id, t.leaderEpoch, t.next, t.limit)
		}
		t.headers = nil
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
	ends := slices.Clone(r.engine.image.OpenRanges(r.tail.epoch))
	for i := range ends {
		if t := r.rangeFor(rangeKey{ends[i].Stream, ends[i].LeaderEpoch}); t != nil {
			ends[i].End = t.next
		}
	}
	return ends
}

// agree holds one stream's summary, written at a position, against the entries: two writers of the
// same fact that must agree (R4).
func (r *recovery) agree(s *streamSummary, at wal.Position) error {
	t := r.rangeFor(rangeKey{s.stream, s.leaderEpoch})
	if t == nil || s.end <= t.start || s.end > t.limit {
		return nil
	}
	n := 0
	end := t.start
	for n < len(t.entries) && t.entries[n].at < at {
		end = t.entries[n].end()
		n++
	}
	if end != s.end {
		return r.corrupt("stream %d, leader epoch %d: the summary at position %d says that it ends at %d there, the batches say %d",
			s.stream, s.leaderEpoch, at, s.end, end)
	}
	r.engine.telemetry.Hit("stream recover: summary agrees")
	return r.agreeState(t, s, t.headers[:n])
}

// agreeState replays the headers before the summary from the image's checkpoint on.
func (r *recovery) agreeState(t *recovered, s *streamSummary, headers []record.Header) error {
	image, ok := r.engine.image.Stream(s.stream)
	if !ok || s.state == nil || image.CheckpointEnd != t.start {
		return nil // an older tail comes between: the owner joins them all
	}
	state, err := r.engine.options.NewState(image.Checkpoint, image.CheckpointEnd)
	for i := range headers {
		if err == nil {
			err = state.Replay(&headers[i])
		}
	}
	if err == nil {
		err = state.Agrees(s.state)
	}
	if err != nil {
		return r.corrupt("stream %d: checkpoint and batches do not give the state of the summary: %v", s.stream, err)
	}
	r.engine.telemetry.Hit("stream recover: state agrees")
	return nil
}
