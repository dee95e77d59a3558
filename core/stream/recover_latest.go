package stream

import (
	"errors"
	"fmt"

	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wal"
)

// latest finds out how an ended incarnation's log ends, by its newest summary and what follows: nothing in it takes longer for a
// log that holds more. Whatever it does not understand is an error, and the log is read whole.
type latest struct {
	logs   *recoveredLogs
	epoch  metadata.BrokerEpoch
	into   Replayer
	open   map[rangeKey]*openRange
	ends   []metadata.RangeEnd // of the open ranges, in the image's order
	joined bool                // a summary was visited
	away   []metadata.StreamID // whose checkpoints are to be read first
	err    error
}

// openRange is what is known of one open range.
type openRange struct {
	start int64 // nothing below is joined: the committed end, or the summary's
	next  int64
	seen  int64 // end of the newest batch that the log is known to have, 0: none
	state bool  // into has its state as of next; else the image must
	away  bool  // its checkpoint is to be read before
}

var errSummaryOverflow = errors.New("the newest summary has not all streams")

// recoverEnds is [Engine.RecoverEnds].
func (l *recoveredLogs) recoverEnds(name string, epoch metadata.BrokerEpoch, into Replayer, done func(ends []metadata.RangeEnd, err error)) {
	at := wal.Stored{Name: name, Epoch: int64(epoch)}
	at.First, at.Object = l.Image.ObjectWAL(epoch)
	r := &latest{logs: l, epoch: epoch, into: into, open: make(map[rangeKey]*openRange)}
	for _, e := range l.Image.OpenRanges(epoch) {
		if image, ok := l.Image.Stream(e.Stream); ok {
			if owned, ok := rangeOf(image, e.LeaderEpoch); ok {
				committed := committedOf(owned)
				r.open[rangeKey{e.Stream, e.LeaderEpoch}] = &openRange{start: committed, next: committed}
				r.ends = append(r.ends, e)
			}
		}
	}
	wal.RecoverLatest(l.Loop, l.Env, at, r.visit, r.visitSummary, func(sealed *wal.Sealed, err error) {
		ends, err := r.finish(sealed, err)
		if err == nil && len(r.away) > 0 {
			l.Telemetry.Hit("stream recover: the ends are looked for again with checkpoints")
			l.checkpoints.await(r.away, func() { l.recoverEndsAgain(name, epoch, into, done) })
			return
		}
		l.checkpoints.used(r.streams())
		done(ends, err)
	})
}

func (l *recoveredLogs) recoverEndsAgain(name string, epoch metadata.BrokerEpoch, into Replayer, done func([]metadata.RangeEnd, error)) {
	if l.stopping {
		done(nil, ErrStopped)
		return
	}
	l.recoverEnds(name, epoch, into, done)
}

func (r *latest) streams() []metadata.StreamID {
	ids := make([]metadata.StreamID, len(r.ends))
	for i := range r.ends {
		ids[i] = r.ends[i].Stream
	}
	return ids
}

// visitSummary takes the state of the open ranges from the first summary, and holds later ones against what was visited before them.
func (r *latest) visitSummary(_ wal.Position, encoded []byte) {
	if r.err != nil {
		return
	}
	summary, err := decodeSummary(encoded)
	if err != nil {
		r.err = err
		return
	}
	if !r.joined && summary.overflow {
		r.logs.Telemetry.Hit("stream recover: the newest summary is not enough")
		r.err = errSummaryOverflow
		return
	}
	for i := range summary.streams {
		s := &summary.streams[i]
		t := r.open[rangeKey{s.stream, s.leaderEpoch}]
		switch {
		case t == nil || r.err != nil:
		case r.joined:
			r.err = r.agree(t, s)
		default:
			r.err = r.restore(t, s)
		}
	}
	r.joined = true
}

// restore begins a range with its summary, unless the image's checkpoint is as new.
func (r *latest) restore(t *openRange, s *streamSummary) error {
	t.seen = s.end
	if s.end <= t.start {
		return nil
	}
	if s.state == nil {
		return errSummaryOverflow
	}
	t.start, t.next, t.state = s.end, s.end, true
	r.logs.Telemetry.Hit("stream recover: a state from a summary")
	return r.into.Restore(s.stream, s.end, s.state)
}

func (r *latest) agree(t *openRange, s *streamSummary) error {
	if s.end <= t.start {
		return nil
	}
	if t.next != s.end {
		return fmt.Errorf("stream %d: a summary says that it ends at %d, the batches before it say %d", s.stream, s.end, t.next)
	}
	if s.state == nil || t.away {
		return nil
	}
	return r.into.Agrees(s.stream, s.end, s.state)
}

// visit joins a batch to what is known of its range: without a gap (R4).
func (r *latest) visit(n wal.Entry) {
	t := r.open[rangeKey{metadata.StreamID(n.Stream), n.LeaderEpoch}]
	if t == nil || r.err != nil {
		return
	}
	end := n.BaseOffset + int64(n.Offsets)
	t.seen = end
	if n.BaseOffset < t.start {
		return
	}
	h, err := record.ReadHeader(n.Batch)
	if err == nil && (n.BaseOffset != t.next || h.BaseOffset != n.BaseOffset || h.NextOffset() != end) {
		err = fmt.Errorf("stream %d has a batch at offset %d where %d is next", n.Stream, n.BaseOffset, t.next)
	}
	if err == nil && !t.away {
		err = r.into.Replay(metadata.StreamID(n.Stream), &h, n.Batch)
	}
	if errors.Is(err, ErrCheckpointAway) { // the summary lacks the stream: it was wholly committed
		t.away, r.away, err = true, append(r.away, metadata.StreamID(n.Stream)), nil
	}
	t.next, t.state, r.err = end, true, err
}

// finish says where the open ranges end.
func (r *latest) finish(sealed *wal.Sealed, err error) ([]metadata.RangeEnd, error) {
	if err == nil {
		err = r.err
	}
	if err != nil {
		return nil, err
	}
	if sealed.BrokerEpoch != int64(r.epoch) {
		return nil, fmt.Errorf("it is the log of broker epoch %d, not %d", sealed.BrokerEpoch, r.epoch)
	}
	hitEnd(r.logs, sealed)
	for i := range r.ends {
		e := &r.ends[i]
		t := r.open[rangeKey{e.Stream, e.LeaderEpoch}]
		if t.seen > 0 && t.seen < t.start {
			return nil, fmt.Errorf("stream %d ends at %d in it, and %d is committed", e.Stream, t.seen, t.start)
		}
		if image, ok := r.logs.Image.Stream(e.Stream); ok && !t.state && image.CheckpointEnd != t.next {
			return nil, fmt.Errorf("stream %d: its state is as of offset %d, the range begins at %d, and what is between lies in an older log", e.Stream, image.CheckpointEnd, t.next)
		}
		e.End = t.next
	}
	return r.ends, nil
}
