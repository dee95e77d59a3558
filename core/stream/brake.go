package stream

import (
	"slices"
	"time"

	"weir/core/env"
)

const (
	brakeWindow   = 500 * time.Millisecond
	brakeQuiet    = time.Second // without a GET, after which appends count as undisturbed; without an append, after which GETs are
	brakeSamples  = 64
	brakeSlowMin  = time.Millisecond
	brakeRateMin  = 32 << 20 // bytes a second
	brakeRateMax  = 8 << 30
	brakeFreeMax  = 64 << 10 // bytes of a GET that waits for nothing, such as an index
	brakePerMille = 20
	brakeAppends  = 10 // in a window that is judged
)

// brake makes reads of the store give way to acknowledgements, with which they may share a disk and processors. It
// compares how long appends take while something is read with how long they take while nothing is. If they are slow for
// half as much again of the time, and for two hundredths of it more, the reads get three quarters of the bytes a
// second that they had, down to an eighth of the most they had; then a little more with each half second in which
// appends are not slow. If they stay slow although the reads have no more than that, it is not for the reads, and in some
// seconds counts as how appends are without them. Without appends, nothing is held back.
type brake struct {
	clock  env.Clock
	metric env.Gauge

	rate     int64    // bytes a second; zero: no limit
	most     int64    // bytes a second that were reached while nothing was held back
	next     env.Time // the next GET may start
	read     env.Time // a GET started or ended last; zero: none did
	acked    env.Time // an append became durable last
	window   brakeTime
	quiet    [brakeSamples]time.Duration // the newest appends while nothing was read
	quiets   int                         // of all
	limit    time.Duration               // from which on an append is slow; zero: not known
	baseline int64                       // thousandths of the time, about, that appends are slow while nothing is read
}

// brakeTime is what happened in a window of time.
type brakeTime struct {
	began   env.Time
	slow    time.Duration // that appends were slow
	appends int
	bytes   int64 // of GETs that were started
	reading bool
}

// wait is how long a GET has to wait.
func (b *brake) wait(bytes int64) time.Duration {
	if b.rate == 0 || bytes <= brakeFreeMax {
		return 0
	}
	now := b.clock.Now()
	if now.Sub(b.acked) > brakeQuiet {
		b.hold(0)
		return 0
	}
	return max(b.next.Sub(now), 0)
}

// hold limits the reads.
func (b *brake) hold(rate int64) {
	b.rate = rate
	b.metric.Set(rate)
}

// started notes a GET.
func (b *brake) started(bytes int64) {
	now := b.clock.Now()
	b.read, b.window.reading = now, true
	b.window.bytes += bytes
	if b.rate > 0 {
		b.next = max(b.next, now).Add(time.Duration(bytes * int64(time.Second) / b.rate))
	}
}

// ended notes the end of a GET.
func (b *brake) ended() { b.read = b.clock.Now() }

// appended takes how long one append took to be durable. The next that is told must have begun after that, so that all
// together say for how much of the time appends were slow.
func (b *brake) appended(took time.Duration) {
	now := b.clock.Now()
	b.acked = now
	if now.Sub(b.window.began) > 4*brakeWindow {
		b.window = brakeTime{began: now} // nothing was appended for a while
	}
	w := &b.window
	if b.read == 0 || now.Sub(b.read) > brakeQuiet {
		b.learn(took)
	} else {
		w.reading = true
	}
	w.appends++
	if took > b.limit {
		w.slow += took
	}
	if d := now.Sub(w.began); d >= brakeWindow {
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
		b.limit = max(brakeSlowMin, 2*sorted[brakeSamples/2])
	}
}

// judge takes a window of so long.
func (b *brake) judge(d time.Duration) {
	w := &b.window
	if b.limit == 0 || w.appends < brakeAppends {
		return
	}
	slow, had := int64(w.slow)*1000/int64(d), w.bytes*int64(time.Second)/int64(d)
	if b.rate == 0 {
		b.most = max(b.most*7/8, had)
	}
	switch {
	case !w.reading:
		b.baseline += (slow - b.baseline) / 4
	case slow > b.baseline*3/2+brakePerMille:
		least := max(b.most/8, brakeRateMin)
		if b.rate > 0 {
			had = min(had, b.rate)
		}
		if b.rate == least { // it is not for the reads: there is more to append, or other work on the disk
			b.baseline += (slow - b.baseline) / 8
		}
		b.hold(max(had/4*3, least))
	case b.rate > brakeRateMax:
		b.hold(0)
	case b.rate > 0:
		b.hold(b.rate + b.rate/16 + 1<<20)
	}
}
