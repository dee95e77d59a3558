package stream

import (
	"cmp"
	"slices"
	"time"

	"weir/core/env"
)

const (
	brakeWindow    = 500 * time.Millisecond
	brakeWindowMax = 4 * brakeWindow // of too few appends to be judged sooner
	brakeQuiet     = time.Second     // without a GET, after which appends count as undisturbed; without an append, after which GETs are
	brakeSamples   = 64
	brakeSlowMin   = time.Millisecond
	brakeRateMin   = 32 << 20 // bytes a second
	brakeRateStart = 64 << 20 // of reads that begin beside appends, or appends beside reads, as long as nothing better is known
	brakeRateMax   = 8 << 30
	brakeFreeMax   = 64 << 10 // bytes of a GET that waits for nothing, such as an index
	brakePerMille  = 20
	brakeAppends   = 10              // in a window that is judged, and in a row that reads meet
	brakeUnderWay  = 10 * brakeQuiet // of an append that does not end: so long it is one that reads may hold up
)

// brake makes reads of the store give way to acknowledgements, with which they may share a disk and processors. It
// compares how long appends take while something is read with how long they take while nothing is. If they are slow for
// half as much again of the time, and for two hundredths of it more, or if most of ten and up take more than a quarter longer than half of
// them did, the reads get three quarters of the bytes a second that they had, down to an eighth of the most they had; then a little
// more with each half second in which appends are not slow. Where reads and appends meet, the reads begin with what was found
// to do no harm the last time; if that is not known, with little, and twice as much with each half second up to the first in which appends are slow.
// A few appends now and then, such as offsets that consumers commit, meet nobody.
// If appends stay slow although the reads have no more than the least, it is not for the reads, and in some
// seconds counts as how appends are without them. Without appends, nothing is held back.
type brake struct {
	clock  env.Clock
	metric env.Gauge

	rate     int64    // bytes a second; zero: no limit
	found    int64    // bytes a second to begin with the next time; zero: not known
	probing  bool     // the limit is not known yet: it doubles until appends are slow
	most     int64    // bytes a second that were reached while no limit was known
	next     env.Time // the next GET may start
	read     env.Time // a GET started or ended last; zero: none did
	acked    env.Time // an append became durable last
	begun    env.Time // of the append that is under way; zero: none is
	inRow    int      // appends without a pause
	window   brakeTime
	quiet    [brakeSamples]time.Duration // the newest appends while nothing was read
	quiets   int                         // of all
	usual    time.Duration               // half of them took less; zero: not known
	limit    time.Duration               // from which on an append is slow; zero: not known
	baseline int64                       // thousandths of the time, about, that appends are slow while nothing is read
}

// brakeTime is what happened in a window of time.
type brakeTime struct {
	began   env.Time
	slow    time.Duration // that appends were slow
	appends int
	longer  int   // of the appends: a quarter longer than usual
	bytes   int64 // of GETs that were started
	reading bool
}

// wait is how long a GET has to wait.
func (b *brake) wait(bytes int64) time.Duration {
	if b.rate == 0 || bytes <= brakeFreeMax {
		return 0
	}
	now := b.clock.Now()
	if !b.isAppended(now) {
		b.hold(0)
		return 0
	}
	return max(b.next.Sub(now), 0)
}

// isAppended reports whether something is appended, or was a moment ago.
func (b *brake) isAppended(now env.Time) bool {
	return now.Sub(b.acked) <= brakeQuiet || b.begun != 0 && now.Sub(b.begun) <= brakeUnderWay
}

// hold limits the reads.
func (b *brake) hold(rate int64) {
	b.rate = rate
	b.metric.Set(rate)
}

// meet limits reads that meet appends.
func (b *brake) meet() {
	if b.rate == 0 && b.limit > 0 {
		b.probing = b.found == 0
		b.hold(cmp.Or(b.found, brakeRateStart))
	}
}

// started notes a GET.
func (b *brake) started(bytes int64) {
	now := b.clock.Now()
	if !b.isRead(now) && b.inRow >= brakeAppends && b.isAppended(now) {
		b.meet()
	}
	b.read, b.window.reading = now, true
	b.window.bytes += bytes
	if b.rate > 0 {
		b.next = max(b.next, now).Add(time.Duration(bytes * int64(time.Second) / b.rate))
	}
}

// ended notes the end of a GET.
func (b *brake) ended() { b.read = b.clock.Now() }

// isRead reports whether something is read, or was a moment ago.
func (b *brake) isRead(now env.Time) bool { return b.read != 0 && now.Sub(b.read) <= brakeQuiet }

// appending notes that an append begins.
func (b *brake) appending() {
	now := b.clock.Now()
	if now.Sub(b.acked) > brakeQuiet { // nothing was appended for a while
		b.window, b.inRow = brakeTime{began: now}, 0
	}
	b.begun = now
}

// appended takes how long that append took to be durable. The next that is told must begin after that, so that all
// together say for how much of the time appends were slow.
func (b *brake) appended(took time.Duration) {
	now := b.clock.Now()
	reading := b.isRead(now)
	b.acked, b.begun = now, 0
	if b.inRow++; b.inRow == brakeAppends && reading {
		b.meet()
	}
	w := &b.window
	w.reading = w.reading || reading
	if !reading {
		b.learn(took)
	}
	w.appends++
	if took > b.limit {
		w.slow += took
	}
	if took > b.usual/4*5 {
		w.longer++
	}
	if d := now.Sub(w.began); d >= brakeWindow && w.appends >= brakeAppends || d >= brakeWindowMax {
		b.judge(d)
		b.window = brakeTime{began: now}
	}
}

// learn takes an append while nothing is read.
func (b *brake) learn(took time.Duration) {
	b.quiet[b.quiets%brakeSamples] = took
	if b.quiets++; b.quiets%brakeSamples == 0 {
		sorted := slices.Clone(b.quiet[:])
		slices.Sort(sorted)
		b.usual = sorted[brakeSamples/2]
		b.limit = max(brakeSlowMin, 2*b.usual)
	}
}

// judge takes a window of so long.
func (b *brake) judge(d time.Duration) {
	w := &b.window
	if b.limit == 0 {
		return
	}
	slow, had := int64(w.slow)*1000/int64(d), w.bytes*1000/d.Milliseconds()
	if b.rate == 0 || b.probing {
		b.most = max(b.most*7/8, had)
	}
	switch {
	case !w.reading:
		b.baseline += (slow - b.baseline) / 4
	case slow > b.baseline*3/2+brakePerMille || w.appends >= brakeAppends && w.longer > w.appends/2:
		b.slacken(slow, had)
	case b.rate > brakeRateMax:
		b.found, b.probing = 0, false
		b.hold(0)
	case b.probing:
		b.hold(b.rate * 2)
	case b.rate > 0:
		b.hold(b.rate + (b.rate/16+1<<20)*int64(d/brakeWindow))
		b.found = b.rate
	}
}

// slacken gives reads less, which had so many bytes a second while appends were slow for so many thousandths of the time.
func (b *brake) slacken(slow, had int64) {
	least := max(b.most/8, brakeRateMin)
	if b.rate > 0 {
		had = min(had, b.rate)
	}
	if b.rate == least { // it is not for the reads: there is more to append, or other work on the disk
		b.baseline += (slow - b.baseline) / 8
		b.usual += max(b.usual/16, time.Microsecond)
		b.limit = max(b.limit, b.usual*2)
	}
	b.probing = false
	b.hold(max(had/4*3, least))
	b.found = b.rate
}
