package stream

import (
	"cmp"
	"errors"
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
	// all logs, and without a gap. Header and batch are lent for the call. ErrCheckpointAway has all come again.
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
	ranges map[rangeKey]*tailStream // of the tail
	glance *glance                  // nil: none
	err    error
}

// recover is [Engine.RecoverLog].
func (l *recoveredLogs) recover(name string, epoch metadata.BrokerEpoch, into Replayer, done func(ends []metadata.RangeEnd, err error)) {
	at := wal.Stored{Name: name, Epoch: int64(epoch)}
	at.First, at.Object = l.Image.ObjectWAL(epoch)
	wanted := l.lacking(epoch)
	if into != nil {
		wanted = l.unread(epoch)
	}
	switch {
	case !l.Image.EpochOwes(epoch):
		l.Telemetry.Hit("stream recover: nothing owed")
		t := &tail{epoch: epoch, sealed: wal.Unread(l.Loop, l.Env, at)}
		if l.freed(t) {
			l.removeUnowed(t, func() { done(nil, nil) })
			return
		}
		l.Telemetry.Hit("stream recover: nothing owed by what is not shipped")
		l.keep(t)
		done(nil, nil)
		return
	case len(wanted) == 0:
		l.Telemetry.Hit("stream recover: all that is owed is recovered elsewhere")
		done(nil, nil)
		return
	}
	r := &recovery{logs: l, name: name, into: into, tail: &tail{epoch: epoch, reading: true}, ranges: make(map[rangeKey]*tailStream)}
	var replayed []metadata.StreamID // whose states begin with the image's checkpoints
	for _, e := range wanted {
		r.await(e)
		if into != nil {
			replayed = append(replayed, e.Stream)
		}
	}
	l.underway = append(l.underway, r)
	ended := func(sealed *wal.Sealed, err error) {
		l.underway = slices.DeleteFunc(l.underway, func(u *recovery) bool { return u == r })
		ends, err := r.finish(sealed, err)
		if err != nil {
			r.fail(sealed)
		}
		if errors.Is(err, ErrCheckpointAway) && !l.stopping { // the image has a newer one by now
			l.recover(name, epoch, into, done)
			return
		}
		l.checkpoints.used(replayed)
		done(ends, err)
	}
	l.checkpoints.await(replayed, func() {
		if l.stopping {
			ended(nil, ErrStopped)
			return
		}
		r.read(at, ended)
	})
}

// read reads the log. ended hears when it was, and why it was not.
func (r *recovery) read(at wal.Stored, ended func(*wal.Sealed, error)) {
	l := r.logs
	switch {
	case !r.sealed():
		wal.Recover(l.Loop, l.Env, at, r.visit, r.visitSummary, ended)
	case r.into != nil:
		wal.RecoverSealed(l.Loop, l.Env, at, func(*wal.Sealed) {}, r.visit, r.visitSummary, ended)
	default:
		r.glance = newGlance(r)
		r.glance.take(at, func() {
			if l.stopping {
				ended(nil, ErrStopped)
				return
			}
			wal.RecoverSealed(l.Loop, l.Env, at, r.opened, r.visit, r.visitSummary, ended)
		})
	}
}

// lacking are the ranges of an ended epoch that this one is to commit, and that it has not read and does not read now.
func (l *recoveredLogs) lacking(ended metadata.BrokerEpoch) []metadata.RangeEnd {
	return slices.DeleteFunc(l.unread(ended), func(e metadata.RangeEnd) bool { return !l.commits(e) })
}

// unread are the ranges of an ended epoch that are owed, by whomever, and that this one has not read and does not read now. Whoever replays a
// log needs all of them: a newer range may go on with the state that another broker's records lead to.
func (l *recoveredLogs) unread(ended metadata.BrokerEpoch) []metadata.RangeEnd {
	return slices.DeleteFunc(l.Image.Owed(ended), func(e metadata.RangeEnd) bool { return l.has(e.Stream, e.LeaderEpoch) })
}

// commits reports whether this epoch is to commit a range.
func (l *recoveredLogs) commits(e metadata.RangeEnd) bool {
	image, ok := l.Image.Stream(e.Stream)
	if !ok {
		return false
	}
	r, ok := rangeOf(image, e.LeaderEpoch)
	return ok && l.Image.Committer(image, r) == l.Epoch
}

// has reports whether a range was read from a log, or is looked for in one by now.
func (l *recoveredLogs) has(id metadata.StreamID, leaderEpoch int32) bool {
	for t := range l.of(id) {
		if t.leaderEpoch == leaderEpoch && t.entries.len() > 0 {
			return true
		}
	}
	return slices.ContainsFunc(l.underway, func(r *recovery) bool {
		t := r.ranges[rangeKey{id, leaderEpoch}]
		return t != nil && !t.gone
	})
}

// await makes a range of the log one that is looked for: all that it owes must be there.
func (r *recovery) await(e metadata.RangeEnd) {
	image, ok := r.logs.Image.Stream(e.Stream)
	if !ok {
		return
	}
	owned, ok := rangeOf(image, e.LeaderEpoch)
	if !ok {
		return
	}
	t := &tailStream{tail: r.tail, id: e.Stream, leaderEpoch: e.LeaderEpoch, start: committedOf(owned), limit: owned.End}
	t.next = t.start
	t.entries.pool = r.logs.notes
	if t.limit < 0 {
		t.limit = math.MaxInt64
	}
	r.tail.streams = append(r.tail.streams, t)
	r.ranges[rangeKey{t.id, t.leaderEpoch}] = t
}

// sealed reports whether the image says where all ranges end that are looked for: whoever found that out has made the log durable up to there.
func (r *recovery) sealed() bool {
	return !slices.ContainsFunc(r.tail.streams, func(t *tailStream) bool { return t.limit == math.MaxInt64 })
}

// opened lets readers have what was visited, while the rest is still read.
func (r *recovery) opened(sealed *wal.Sealed) {
	if r.logs.stopping || sealed.BrokerEpoch != int64(r.tail.epoch) {
		return
	}
	r.tail.sealed = sealed
	r.logs.keep(r.tail)
}

// keep adds a tail to those that are read from.
func (l *recoveredLogs) keep(t *tail) {
	at, _ := slices.BinarySearchFunc(l.tails, t.epoch+1, func(t *tail, epoch metadata.BrokerEpoch) int { return cmp.Compare(t.epoch, epoch) })
	l.tails = slices.Insert(l.tails, at, t)
}

// forget takes a tail from those that are read from.
func (l *recoveredLogs) forget(t *tail) {
	l.tails = slices.DeleteFunc(l.tails, func(kept *tail) bool { return kept == t })
	for _, s := range t.streams {
		s.drop()
	}
}

// fail gives up what was found. A log that was not read whole is closed by then.
func (r *recovery) fail(sealed *wal.Sealed) {
	r.logs.forget(r.tail)
	r.glance.drop()
	if sealed != nil {
		sealed.Close()
	}
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
func (r *recovery) outdated(t *tailStream) error {
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
	t := r.ranges[rangeKey{metadata.StreamID(n.Stream), n.LeaderEpoch}]
	if t == nil || t.gone {
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
	h, ok := t.take(&n)
	if !ok {
		r.err = r.corrupt("stream %d has a batch at offset %d whose header says otherwise", n.Stream, n.BaseOffset)
		return
	}
	if r.into == nil {
		return
	}
	if err := r.into.Replay(t.id, &h, n.Batch); errors.Is(err, ErrCheckpointAway) {
		r.err = err
	} else if err != nil {
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
	if err := r.check(); err != nil {
		return nil, err
	}
	if !slices.Contains(r.logs.tails, r.tail) {
		r.logs.keep(r.tail)
	}
	r.tail.reading = false
	for _, t := range r.tail.streams {
		t.refresh(r.logs.Image, r.logs.Epoch) // what others commit was only replayed
	}
	r.glance.drop()
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

// check holds what was found against the seals.
func (r *recovery) check() error {
	for _, t := range r.tail.streams {
		switch {
		case t.gone:
		case t.seen > 0 && t.seen < t.start:
			return r.outdated(t)
		case t.limit != math.MaxInt64 && t.next < t.limit:
			return r.corrupt("stream %d, leader epoch %d ends at %d, it was sealed at %d", t.id, t.leaderEpoch, t.next, t.limit)
		}
	}
	return nil
}

// ends says where the ranges end that are open.
func (r *recovery) ends() []metadata.RangeEnd {
	var ends []metadata.RangeEnd
	for _, e := range r.logs.Image.OpenRanges(r.tail.epoch) {
		if t := r.ranges[rangeKey{e.Stream, e.LeaderEpoch}]; t != nil {
			e.End = t.next
			ends = append(ends, e)
		}
	}
	return ends
}

// agree holds one stream's summary, written at a position, against what was visited before it.
func (r *recovery) agree(s *streamSummary, at wal.Position) error {
	t := r.ranges[rangeKey{s.stream, s.leaderEpoch}]
	if t == nil || t.gone || s.end <= t.start || s.end > t.limit {
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
