package wal

import (
	"errors"
	"fmt"
	"time"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
)

// errClosed is the state of a log after Close.
var errClosed = errors.New("wal is closed")

// errGivenUp is the error of a group that the world gave up because the process ends.
var errGivenUp = errors.New("wal was given up, since the process ends")

// Log is one incarnation's log. All its methods are called on the loop.
type Log struct {
	loop    *task.Loop
	env     env.Env
	config  Config
	name    string
	id      identity
	failed  func(error)
	onSpace func()
	err     error

	medium  medium
	marks   marks // as of now; the medium may have recorded older ones
	gather  gatherer
	commit  groupCommit
	trims   trimPoints
	summary summaries
	refused bool   // an append was refused since space last came free
	held    bool   // see HoldGrowth
	lowest  uint64 // sequence of the group at marks.trim, or of the one that will be there
	closing func(error)
	metrics metrics
}

type metrics struct {
	bytes, groups            env.Counter
	groupBytes, writeLatency env.Histogram
	used, size, growthWaits  env.Gauge
}

func newMetrics(m env.Metrics) metrics {
	return metrics{
		bytes:        m.Counter("weir_wal_written_bytes_total", "bytes written to the log in groups, padding included"),
		groups:       m.Counter("weir_wal_groups_total", "groups written to the log"),
		groupBytes:   m.Histogram("weir_wal_group_bytes", "size of a group"),
		writeLatency: m.Histogram("weir_wal_write_nanoseconds", "time from submitting a group to its completion"),
		size:         m.Gauge("weir_wal_size_bytes", "bytes that the log may take on its device; less than weir.wal.size.bytes if the device was full"),
		growthWaits:  m.Gauge("weir_wal_growth_waits", "1 while the log may not grow because its volume has no room, else 0"),
		used:         m.Gauge("weir_wal_used_bytes", "bytes between the trim point and the end of the log"),
	}
}

// waits says whether growth waits for room.
func (m *metrics) waits(yes bool) {
	v := int64(0)
	if yes {
		v = 1
	}
	m.growthWaits.Set(v)
}

// newLog makes a log that still lacks its medium, whose groups start at multiples of align bytes, a
// multiple of 8. The config is resolved.
func newLog(loop *task.Loop, e env.Env, config Config, name string, id identity, align int, summary Summarizer, failed func(error)) *Log {
	l := &Log{
		loop: loop, env: e, config: config, name: name, id: id, failed: failed,
		marks:   marks{summary: noPosition},
		trims:   trimPoints{apart: Position(max(blockBytes, min(config.SizeBytes/4096, 256<<10)))},
		metrics: newMetrics(e.Metrics),
	}
	l.gather = gatherer{log: l, align: align}
	l.commit = groupCommit{log: l, threshold: thresholdMin}
	l.summary = summaries{log: l, source: summary, next: Position(config.SummaryEveryBytes)}
	return l
}

// begin makes the log start behind a head of its own, which is durable: group 0, without records.
func (l *Log) begin(headBytes Position) {
	l.gather.end, l.gather.serial = headBytes, 1
	l.marks.durable, l.commit.next = headBytes, 1
}

// start lets the log work, on a medium that is ready for groups.
func (l *Log) start() {
	l.metrics.size.Set(l.Size())
	l.loop.OnTurnEnd(l.flush)
}

// AppendBytesMax is the largest payload that Append takes. It falls when a full device makes the log smaller.
func (l *Log) AppendBytesMax() int { return l.config.AppendBytesMax }

// End is the position after the last append; when everything is durable, that of the next group.
func (l *Log) End() Position { return l.gather.position() }

// Durable is the position below which everything is durable.
func (l *Log) Durable() Position { return l.marks.durable }

// Trimmed is the lowest position kept: the start of a group, at or below what Trim was given.
func (l *Log) Trimmed() Position { return l.marks.trim }

// Used is the number of bytes between Trimmed and End.
func (l *Log) Used() int64 { return int64(l.End() - l.marks.trim) }

// Size is the number of bytes that the log may take. It falls when a full device makes the log smaller.
func (l *Log) Size() int64 { return l.config.SizeBytes }

// Waits is for how long the oldest group in flight has been under way; 0: none is.
func (l *Log) Waits() time.Duration {
	if len(l.commit.inFlight) == 0 {
		return 0
	}
	return l.loop.Now().Sub(l.commit.inFlight[0].began)
}

// OnSpace sets the function that runs when space came free after a refused Append.
func (l *Log) OnSpace(f func()) { l.onSpace = f }

// HoldGrowth keeps the log from taking more of its device, or lets it go on.
func (l *Log) HoldGrowth(hold bool) {
	l.held = hold
	l.metrics.waits(hold)
	l.loop.Post(l.flush)
}

// Append places a in the gathering group. False means that the log is full (or failed, or
// closing): nothing was placed; try again when the function given to OnSpace runs. The payload must
// be a whole batch of at most AppendBytesMax bytes whose own CRC was verified: recovery takes a wrong
// one for damage. Whoever keeps a.Slab beyond Durable retains it.
func (l *Log) Append(a *Append) bool {
	if len(a.Payload) < record.HeaderBytes || len(a.Payload) > l.config.AppendBytesMax || a.Offsets <= 0 {
		panic(fmt.Sprintf("wal: append of %d bytes and %d offsets", len(a.Payload), a.Offsets))
	}
	if l.err != nil || l.closing != nil {
		return false
	}
	room := recordBytes(len(a.Payload))
	if !l.medium.reserve(l.gather.endWith(room), l.summary.spare()) {
		l.refused = true
		return false
	}
	a.kind = kindBatch
	l.gather.place(a, room)
	return true
}

// flush runs at the end of every turn, when everything that the turn's events appended has gathered.
func (l *Log) flush() {
	if l.err != nil {
		return
	}
	l.summary.step()
	l.commit.step()
	settled := l.medium.step()
	l.stepClose(settled)
}

// sealed takes a group that gathers no more to the medium, as soon as the limits allow it.
func (l *Log) sealed(g *group) {
	l.trims.note(&g.header)
	l.commit.sealed = append(l.commit.sealed, g)
	l.commit.submit()
}

// written is called by the medium when the write of a group completed.
func (l *Log) written(g *group, err error) {
	switch {
	case errors.Is(err, errGivenUp):
		l.giveUp()
	case err != nil:
		l.fail(err)
	}
	l.commit.written(g)
	l.endFailed()
}

// confirmed is called by the medium when groups with tickets up to this one are durable, once they are written.
func (l *Log) confirmed(ticket uint64) {
	l.commit.confirmed = ticket
	l.commit.settle()
}

// spaceCame is called by the medium when space may have come free.
func (l *Log) spaceCame() {
	if l.refused && l.onSpace != nil {
		l.refused = false
		l.onSpace()
	}
}

// resized is called by the medium when it has become smaller.
func (l *Log) resized(bytes int64) {
	c := &l.config
	c.SizeBytes = bytes
	c.AppendBytesMax = min(c.AppendBytesMax, int(bytes/4))
	c.GroupBytesMax = min(c.GroupBytesMax, int(bytes/8)/blockBytes*blockBytes)
	c.SummaryEveryBytes = min(c.SummaryEveryBytes, bytes/4)
	l.gather.bound()
	l.metrics.size.Set(bytes)
}

// fail ends the log: no acknowledgement follows, nothing is tried again.
func (l *Log) fail(err error) {
	if l.err != nil {
		return
	}
	l.drop(err)
	l.endFailed()
	l.failed(err)
}

// giveUp ends a log whose world gave up what was in flight, because the process ends: that is not a failure,
// and what was not acknowledged may be found by recovery or not.
func (l *Log) giveUp() {
	if l.err == nil {
		l.drop(errGivenUp)
	}
}

// drop gives up everything but what the medium has in flight.
func (l *Log) drop(err error) {
	l.err = err
	l.commit.drop()
	l.gather.drop()
	l.medium.abandon()
}

// endFailed completes the closing of a log that has failed, once the medium has no group of it any more.
func (l *Log) endFailed() {
	if l.err == nil || l.closing == nil || l.commit.writing > 0 {
		return
	}
	done := l.closing
	l.closing = nil
	done(l.err)
}

// Trim gives up everything below upTo, which must be durable. The trim point moves to the start of
// a group at or somewhat below upTo, and space comes free once the medium has recorded it:
// recovery may visit entries below upTo.
func (l *Log) Trim(upTo Position) {
	durable := l.marks.durable
	if upTo > durable && upTo > l.End() {
		panic(fmt.Sprintf("wal: trim to %d, beyond the end %d", upTo, l.End()))
	}
	start := l.trims.take(min(upTo, durable))
	if upTo >= durable {
		start = groupStart{durable, l.commit.next}
	}
	if start.at > l.marks.trim {
		l.marks.trim, l.lowest = start.at, start.sequence
	}
}

// LowestSlot is the lowest slot that holds anything which Trim has not given up: a commit carries it, so that
// recovery knows where to begin (R6). Zero: nothing was given up, or the log is a device's, which records that itself.
func (l *Log) LowestSlot() uint64 { return l.medium.lowestSlot() }

// Recorded says that recovery will begin at a slot, durably: what lies below may be deleted.
func (l *Log) Recorded(slot uint64) { l.medium.recorded(slot) }

// Close writes the group that is gathering, records where the log ends, and closes the medium. Append
// returns false from now on. Owners of appends in flight are called before Close completes.
func (l *Log) Close(done func(error)) {
	l.closing = done
	l.loop.Post(func() {
		l.flush()
		l.endFailed()
	})
}

// drained reports whether every group is durable and nothing gathers.
func (l *Log) drained() bool { return l.gather.open == nil && l.commit.empty() }

// stepClose closes the medium once nothing is in flight and the last marks are recorded.
func (l *Log) stepClose(settled bool) {
	if l.closing == nil || !settled || !l.drained() {
		return
	}
	done := l.closing
	l.gather.drop()
	l.medium.close()
	l.err, l.closing = errClosed, nil
	done(nil)
}
