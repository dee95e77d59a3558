package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
	"weir/core/telemetry"
)

// Log is one incarnation's log. All its methods are called on the loop.
type Log struct {
	loop    *task.Loop
	env     env.Env
	config  Config
	name    string
	file    env.FileID
	failed  func(error)
	onSpace func()
	err     error

	super  superblock // as of the newest durable one on the device, but for durable, trim and summary
	end    Position   // after the newest sealed group
	saved  Position   // trim point of the newest durable superblock: nothing at or above it is overwritten
	trims  []Position // starts of groups, some distance apart, that the trim point may move to
	apart  Position   // that distance
	serial uint64     // sequence of the next group

	slab     *env.Slab // the slab being laid
	slabUsed int
	open     *group   // gathering, nil if nothing is gathered
	sealed   []*group // waiting to be written, in order
	inFlight []*group // submitted, in order; some may be written already, but not all before them
	writing  int      // of them, those that the device still has
	bytes    int64    // in flight
	idle     []*group

	arrived   int64 // bytes ever placed
	threshold int64 // see mayOverlap
	refused   bool  // an append was refused since space last came free

	summary summaryState
	supers  superState
	growth  growthState
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

// AppendBytesMax is the largest payload that Append takes. It falls when a full device makes the log smaller.
func (l *Log) AppendBytesMax() int { return l.config.AppendBytesMax }

// End is the position after the last append; when everything is durable, that of the next group.
func (l *Log) End() Position {
	if l.open != nil {
		return l.open.header.at + Position(l.open.used)
	}
	return l.end
}

// Durable is the position below which everything is durable.
func (l *Log) Durable() Position { return l.super.durable }

// Trimmed is the lowest position kept: the start of a group, at or below what Trim was given.
func (l *Log) Trimmed() Position { return l.super.trim }

// Used is the number of bytes between Trimmed and End.
func (l *Log) Used() int64 { return int64(l.End() - l.super.trim) }

// Size is the number of bytes of the circular region. It falls when a full device makes the log smaller.
func (l *Log) Size() int64 { return l.super.region }

// OnSpace sets the function that runs when space came free after a refused Append.
func (l *Log) OnSpace(f func()) { l.onSpace = f }

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
	if !l.hasSpace(room, l.summary.reserve(l.super.region)) {
		l.refused = true
		return false
	}
	a.kind = kindBatch
	l.place(a, room)
	return true
}

// hasSpace reports whether room more bytes, placed now, would stay out of what is kept, with
// reserve bytes to spare.
func (l *Log) hasSpace(room int, reserve int64) bool {
	end := l.endWith(room)
	if l.growth.grown < l.super.region && end > Position(l.growth.grown) {
		l.growth.wanted = max(l.growth.wanted, int64(end))
		return false // placed there, it could not be moved if the device turns out to be full
	}
	if l.shrinking() && end > Position(l.super.region) {
		return false // nothing wraps before the superblock says where
	}
	return int64(end-l.saved)+reserve <= l.super.region
}

// endWith is where the log would end after placing room more bytes.
func (l *Log) endWith(room int) Position {
	start := l.end
	if g := l.open; g != nil {
		if l.fits(room) {
			return g.header.at + Position(roundUp(g.used+room))
		}
		start = g.header.at + Position(roundUp(g.used))
	}
	bytes := roundUp(groupHeaderBytes + room)
	if left := l.super.toWrap(start); int64(bytes) > left {
		start += Position(left)
	}
	return start + Position(bytes)
}

// fits reports whether the gathering group takes room more bytes.
func (l *Log) fits(room int) bool {
	g := l.open
	bytes := roundUp(g.used + room)
	return bytes <= l.config.GroupBytesMax && g.slabAt+bytes <= len(g.slab.Data) && int64(bytes) <= l.super.toWrap(g.header.at)
}

func (l *Log) place(a *Append, room int) {
	if l.open != nil && !l.fits(room) {
		l.seal()
	}
	if l.open == nil {
		l.openGroup(room)
	}
	g := l.open
	a.At, a.Slab, a.Offset = g.header.at+Position(g.used), g.slab, g.slabAt+g.used+recordHeaderBytes
	g.used += room
	g.appends = append(g.appends, a)
	l.arrived += int64(room)
}

// openGroup starts a group that has room for at least one record of room bytes.
func (l *Log) openGroup(room int) {
	bytes := roundUp(groupHeaderBytes + room)
	if left := l.super.toWrap(l.end); int64(bytes) > left {
		l.openAt(blockBytes)
		l.open.header.flags = flagFiller
		l.sealAs(uint32(left))
	}
	l.openAt(bytes)
}

func (l *Log) openAt(bytes int) {
	if l.slab == nil || l.slabUsed+bytes > len(l.slab.Data) {
		l.releaseSlab()
		l.slab, l.slabUsed = l.env.Memory.Alloc(max(bytes, l.config.SlabBytes)), 0
	}
	g := l.newGroup()
	l.slab.Retain()
	g.slab, g.slabAt, g.used = l.slab, l.slabUsed, groupHeaderBytes
	g.header = groupHeader{epoch: l.super.epoch, nonce: l.super.nonce, sequence: l.serial, at: l.end}
	l.serial++
	l.open = g
}

func (l *Log) releaseSlab() {
	if l.slab != nil {
		l.slab.Release()
		l.slab = nil
	}
}

func (l *Log) seal() { l.sealAs(uint32(roundUp(l.open.used))) }

// sealAs ends the gathering group, which takes bytes of the log, and starts its write if it may.
func (l *Log) sealAs(bytes uint32) {
	g := l.open
	l.open = nil
	g.header.bytes, g.header.records = bytes, uint32(len(g.appends))
	g.op.Data = g.slab.Data[g.slabAt : g.slabAt+g.header.written()]
	g.op.Offset = l.super.fileOffset(g.header.at)
	l.slabUsed += len(g.op.Data)
	l.noteStart(g.header.at)
	l.end = g.end()
	l.sealed = append(l.sealed, g)
	l.submitSealed()
}

// submitSealed writes sealed groups while the limits allow it. The device has a number of writes at
// most; one that it delays is overtaken by others, but only so far: bytes count from the first group
// that is not durable, so that recovery knows how far a hole can reach.
func (l *Log) submitSealed() {
	for len(l.sealed) > 0 && l.writing < l.config.WritesInFlightMax {
		g := l.sealed[0]
		if len(l.inFlight) > 0 && l.bytes+int64(g.header.bytes) > l.config.inFlightBytes() {
			return
		}
		l.sealed = popFront(l.sealed)
		l.inFlight = append(l.inFlight, g)
		l.writing++
		l.bytes += int64(g.header.bytes)
		g.header.durable = l.super.durable
		l.checkReuse(g)
		g.arrived, g.began = l.arrived, l.loop.Now()
		l.env.WAL.Write(&g.op)
	}
}

// checkReuse asserts that a group leaves alone what the superblock keeps that is durable on the device (I5).
func (l *Log) checkReuse(g *group) {
	if kept := &l.supers.saved; g.end() > kept.trim+Position(kept.region) {
		telemetry.Assert(5, false, "a group ends at %d, and the durable superblock of %q keeps positions from %d on in %d bytes", g.end(), l.name, kept.trim, kept.region)
	}
}

// popFront shifts instead of slicing, so that the backing array is used for ever.
func popFront(queue []*group) []*group {
	n := copy(queue, queue[1:])
	queue[n] = nil
	return queue[:n]
}

// flush runs at the end of every turn, when everything that the turn's events appended has gathered.
func (l *Log) flush() {
	if l.err != nil {
		return
	}
	l.summarize()
	if l.open != nil && len(l.sealed) == 0 && l.mayOverlap() {
		l.seal()
	}
	l.submitSealed()
	l.saveSuperblock()
	l.grow()
	l.stepClose()
}

// mayOverlap is group commit's one knob. With no write in flight what has gathered goes at once: at
// a low rate nothing waits. While a write is in flight a further one may overlap it only once
// threshold bytes have gathered. The threshold is half of what arrives during one write, learnt as
// a moving average from the bytes placed between submit and completion: about two writes are then
// in flight in the steady state, each as large as the load makes it, so groups grow with load and
// with the device's latency, and a write that the device delays is overtaken by others. No clock
// enters; the byte counter is the clock.
func (l *Log) mayOverlap() bool {
	n := l.writing
	return n == 0 || n < l.config.WritesInFlightMax && (int64(l.open.used) >= l.threshold || l.closing != nil)
}

// learn moves the threshold towards half of what arrived during g's write.
func (l *Log) learn(g *group) {
	half := (l.arrived - g.arrived) / 2
	l.threshold += (half - l.threshold) / 8
	l.threshold = min(max(l.threshold, blockBytes), int64(l.config.GroupBytesMax))
}

// groupWritten takes a completed write; groups become durable from the front.
func (l *Log) groupWritten(g *group) {
	l.writing--
	if err := g.op.Err; err != nil {
		l.fail(fmt.Errorf("write of wal file %q at position %d: %w", l.name, g.header.at, err))
	}
	if l.err != nil {
		g.slab.Release()
		return
	}
	g.written = true
	l.learn(g)
	l.metrics.writeLatency.Observe(int64(l.loop.Now().Sub(g.began)))
	l.metrics.groupBytes.Observe(int64(g.header.bytes))
	l.metrics.bytes.Add(int64(g.header.bytes))
	l.metrics.groups.Add(1)
	for l.err == nil && len(l.inFlight) > 0 && l.inFlight[0].written {
		l.acknowledge(l.inFlight[0])
	}
	l.metrics.used.Set(l.Used())
}

// acknowledge makes the first group in flight durable and tells its owners, who may append.
func (l *Log) acknowledge(g *group) {
	l.inFlight = popFront(l.inFlight)
	l.bytes -= int64(g.header.bytes)
	l.super.durable = g.end()
	for _, a := range g.appends {
		a.Owner.Durable(a)
	}
	g.slab.Release()
	l.recycle(g)
}

// fail ends the log: no acknowledgement follows, nothing is tried again.
func (l *Log) fail(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	for _, g := range l.inFlight {
		if g.written {
			g.slab.Release()
		}
	}
	for _, g := range l.sealed {
		g.slab.Release()
	}
	if l.open != nil {
		l.open.slab.Release()
	}
	l.open, l.sealed, l.inFlight = nil, nil, nil
	l.releaseSlab()
	l.growth.abandon()
	l.loop.Stop(&l.growth.retry)
	l.supers.abandon()
	if l.closing != nil {
		l.closing(err)
	}
	l.failed(err)
}

// noteStart remembers a group's start for Trim.
func (l *Log) noteStart(at Position) {
	if n := len(l.trims); n == 0 || at >= l.trims[n-1]+l.apart {
		l.trims = append(l.trims, at)
	}
}

// Trim gives up everything below upTo, which must be durable. The trim point moves to the start of
// a group at or somewhat below upTo, and space comes free once a superblock with it is durable:
// recovery may visit entries below upTo.
func (l *Log) Trim(upTo Position) {
	if upTo > l.super.durable && upTo > l.End() {
		panic(fmt.Sprintf("wal: trim to %d, beyond the end %d", upTo, l.End()))
	}
	if upTo >= l.super.durable {
		l.super.trim = l.super.durable
	}
	kept := 0
	for kept < len(l.trims) && l.trims[kept] <= upTo && l.trims[kept] <= l.super.durable {
		l.super.trim = max(l.super.trim, l.trims[kept])
		kept++
	}
	if kept > 0 {
		l.trims = l.trims[:copy(l.trims, l.trims[kept:])]
	}
}

// Close writes the group that is gathering, records where the log ends, and closes the file. Append
// returns false from now on. Owners of appends in flight are called before Close completes.
func (l *Log) Close(done func(error)) {
	if l.err != nil {
		done(l.err)
		return
	}
	l.closing = done
	l.loop.Post(l.flush)
}

// stepClose closes the file once nothing is in flight and the last superblock is durable.
func (l *Log) stepClose() {
	if l.closing == nil || l.open != nil || len(l.sealed)+len(l.inFlight) > 0 ||
		l.supers.writing || l.growth.writing || l.supers.saved != l.super.content() {
		return
	}
	done := l.closing
	l.releaseSlab()
	l.growth.abandon()
	l.supers.abandon()
	l.loop.Stop(&l.growth.retry)
	l.env.WAL.Close(l.file)
	l.err, l.closing = errClosed, nil
	done(nil)
}
