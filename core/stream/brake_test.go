package stream

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/env"
)

// road is a brake on a clock, with appends that follow each other.
type road struct {
	brake
	now env.Time
}

func newRoad() *road {
	r := &road{now: 1}
	r.brake = brake{clock: r, metric: nothing{}}
	return r
}

func (r *road) Now() env.Time        { return r.now }
func (*road) WallMillis() int64      { return 0 }
func (*road) WakeAt(env.Time)        {}
func (r *road) pass(d time.Duration) { r.now = r.now.Add(d) }

func (r *road) append(took time.Duration) {
	r.appending()
	r.pass(took)
	r.appended(took)
}

// drive lets time pass with appends of so long, one after another, and GETs as large and as many as the brake allows, up
// to most bytes a second.
func (r *road) drive(d, took time.Duration, most int64) {
	const get = 1 << 20
	read, from := int64(0), r.now
	for r.now.Sub(from) < d {
		r.append(took)
		for due := most * int64(r.now.Sub(from)) / int64(time.Second); read+get <= due && r.wait(get) == 0; read += get {
			r.started(get)
			r.ended()
		}
		if r.rate > 0 { // what it was held back from is not made up for
			from, d, read = r.now, d-r.now.Sub(from), 0
		}
	}
}

// beside lets time pass with one append after each pause, and returns the bytes of the GETs meanwhile: as many as the brake allows, up
// to most bytes a second.
func (r *road) beside(d, pause time.Duration, took func() time.Duration, most int64) (read int64) {
	const get, tick = 1 << 20, time.Millisecond
	began, next := r.now, r.now.Add(pause)
	var length time.Duration // of the append that is under way
	for due := int64(0); r.now.Sub(began) < d; r.pass(tick) {
		for due = min(due+most/int64(time.Second/tick), 8*get); due >= get && r.wait(get) == 0; due -= get {
			r.started(get)
			r.ended()
			read += get
		}
		switch {
		case r.now < next:
		case length == 0:
			length = took()
			next = r.now.Add(length)
			r.appending()
		default:
			r.appended(length)
			length, next = 0, r.now.Add(pause)
		}
	}
	return read
}

const gigabyte = 1 << 30

func TestTheBrakeHoldsNothingBackWithoutNeed(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	require.Equal(t, 4*time.Millisecond, r.limit)
	r.drive(10*time.Second, 2400*time.Microsecond, gigabyte)
	require.Zero(t, r.rate, "appends are about as quick as before")
}

// Most appends may be slower without one that is slow.
func TestTheBrakeHoldsReadsBackWhileMostAppendsTakeLonger(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.drive(10*time.Second, 2*time.Millisecond, gigabyte)
	require.Zero(t, r.rate)
	r.drive(3*time.Second, 3*time.Millisecond, gigabyte)
	require.NotZero(t, r.rate)
	require.Less(t, r.rate, int64(gigabyte/2))
}

// Reads that begin beside appends, and appends that begin beside reads, do not meet at full speed.
func TestReadsAndAppendsMeetSlowly(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.drive(brakeWindow/2, 2*time.Millisecond, gigabyte)
	require.Equal(t, int64(brakeRateStart), r.rate)
	r.drive(2*brakeWindow, 2*time.Millisecond, gigabyte)
	require.Equal(t, int64(4*brakeRateStart), r.rate, "twice as much with each window")
	r.drive(time.Second, 20*time.Millisecond, gigabyte)
	held := r.rate
	require.Less(t, held, int64(4*brakeRateStart))
	for range 10 {
		r.pass(brakeQuiet / 2)
		r.started(1 << 20)
	}
	require.Zero(t, r.wait(1<<20), "nothing is appended")
	r.drive(brakeAppends*2*time.Millisecond, 2*time.Millisecond, gigabyte)
	require.Equal(t, held, r.rate, "what did no harm the last time")
}

// A consumer that catches up commits an offset now and then.
func TestAFewAppendsHoldNothingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pause := time.Duration(rapid.IntRange(300, 5_000).Draw(t, "pause")) * time.Millisecond
		draw := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		jitter := func() time.Duration { return time.Duration(10+3*(draw.IntN(5)/3)) * time.Millisecond }
		r := newRoad()
		for range 10 * brakeSamples {
			r.append(jitter())
		}
		r.pass(2 * brakeQuiet)
		require.Greater(t, r.beside(2*time.Minute, pause, jitter, gigabyte), int64(90*gigabyte), "reads and appends do not disturb each other")
	})
}

// An append that takes longer than the brake is patient without any is no reason to let go.
func TestTheBrakeHoldsReadsBackDuringOneLongAppend(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	long := func() time.Duration { return 3 * brakeQuiet / 2 }
	r.beside(10*time.Second, time.Millisecond, long, gigabyte)
	require.Less(t, r.beside(10*time.Second, time.Millisecond, long, gigabyte), int64(10*gigabyte/4))
	r.appending()
	r.pass(2 * brakeUnderWay)
	require.Zero(t, r.wait(1<<20), "the log hangs, whatever is read")
}

// However much is read, the brake knows how much that was.
func TestTheBrakeCountsAllThatWasRead(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.pass(2 * brakeQuiet)
	r.beside(5*time.Second, time.Millisecond, func() time.Duration { return 4 * time.Second }, 4*gigabyte)
	require.Greater(t, r.rate, int64(gigabyte))
}

// So slow that few come at a time, appends are judged too.
func TestTheBrakeJudgesFewAppends(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.drive(10*time.Second, 2*time.Millisecond, gigabyte)
	require.Zero(t, r.rate)
	r.drive(2*brakeWindowMax, 300*time.Millisecond, gigabyte)
	require.NotZero(t, r.rate)
}

func TestTheBrakeHoldsReadsBackWhileAppendsAreSlow(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.drive(10*time.Second, 2*time.Millisecond, gigabyte)
	r.drive(3*time.Second, 20*time.Millisecond, gigabyte)
	require.NotZero(t, r.rate)
	require.Less(t, r.rate, int64(gigabyte/2))
	held := r.rate
	r.drive(10*time.Second, 2*time.Millisecond, gigabyte)
	require.Greater(t, r.rate, 2*held, "more again, once they are not slow")
	r.drive(time.Minute, 2*time.Millisecond, gigabyte)
	require.Zero(t, r.rate)
}

// Appends that stay slow although little is read are not slow for the reads.
func TestTheBrakeHoldsNothingBackForGood(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.drive(10*time.Second, 2*time.Millisecond, gigabyte)
	for range 20 {
		r.drive(brakeWindow, 20*time.Millisecond, gigabyte)
		require.True(t, r.rate == 0 || r.rate >= gigabyte/10, "%d", r.rate)
	}
	r.drive(2*time.Minute, 20*time.Millisecond, gigabyte)
	require.Zero(t, r.rate)
}

func TestTheBrakeLetsGoWithoutAppends(t *testing.T) {
	r := newRoad()
	r.drive(10*time.Second, 2*time.Millisecond, 0)
	r.drive(5*time.Second, 20*time.Millisecond, gigabyte)
	r.started(1 << 30)
	require.NotZero(t, r.wait(1<<20))
	require.Zero(t, r.wait(brakeFreeMax), "indexes wait for nothing")
	r.pass(2 * brakeQuiet)
	require.Zero(t, r.wait(1<<20))
	require.Zero(t, r.rate)
}

// Appends that were always slow are not slow for the reads.
func TestTheBrakeKnowsHowAppendsAreWithoutReads(t *testing.T) {
	r := newRoad()
	for i := range 300 {
		r.drive(100*time.Millisecond, 2*time.Millisecond, 0)
		if i%2 == 0 {
			r.drive(30*time.Millisecond, 30*time.Millisecond, 0)
		}
	}
	for i := range 300 {
		r.drive(100*time.Millisecond, 2*time.Millisecond, gigabyte)
		if i%2 == 0 {
			r.drive(30*time.Millisecond, 30*time.Millisecond, gigabyte)
		}
		require.True(t, i < 100 || r.rate == 0, "%d", r.rate)
	}
}

// Indexes pass blocks that are held back.
func TestASmallGetPassesWhatTheBrakeHoldsBack(t *testing.T) {
	a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 1 << 20})
	a.add(1)
	a.commit(10, 1)
	gets, f := 0, &a.reader.gets
	ask := func(bytes int) {
		g := &get{urgency: demanded(a.w.now.Add(time.Minute)), object: 1}
		g.pieces = []*piece{{
			get: g, bytes: bytes, check: func([]byte) error { return nil }, done: func(slab *env.Slab, _ error) {
				if gets++; slab != nil {
					slab.Release()
				}
			},
		}}
		f.submit(g)
	}
	a.w.turn(func() {
		f.brake.acked = a.w.now
		f.brake.hold(brakeRateMin)
		f.brake.started(brakeRateMin / 2)
		ask(100 << 10)
		ask(1 << 10)
	})
	a.settle()
	require.Equal(t, 1, gets)
	require.Len(t, f.queue, 1)
	a.shutdown()
	require.Equal(t, 2, gets)
}
