package clock

import (
	"testing"
	"time"

	"weir/core/env"
)

var _ env.Clock = (*Clock)(nil)

func TestNowNeverGoesBack(t *testing.T) {
	c := New()
	last := c.Now()
	for range 100_000 {
		now := c.Now()
		if now < last {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	}
}

func TestWallMillis(t *testing.T) {
	before := time.Now().UnixMilli()
	if got := New().WallMillis(); got < before || got > before+10_000 {
		t.Fatalf("%d, not %d", got, before)
	}
}

func TestWake(t *testing.T) {
	c := New()
	if _, ok := c.Wake(); ok {
		t.Fatal("a wake that nobody asked for")
	}
	c.WakeAt(c.Now().Add(time.Hour))
	if d, ok := c.Wake(); !ok || d < 59*time.Minute || d > time.Hour {
		t.Fatalf("in %v, %v", d, ok)
	}
	c.WakeAt(c.Now())
	if d, ok := c.Wake(); !ok || d != 0 {
		t.Fatalf("in %v, %v", d, ok)
	}
	c.Woken()
	if _, ok := c.Wake(); ok {
		t.Fatal("asked for once, given twice")
	}
}

// machine is one whose monotonic clock stands while it is suspended.
type machine struct {
	running   time.Duration
	suspended time.Duration
	step      time.Duration // of the wall clock
	reads     int
}

func (m *machine) clock() *Clock {
	return newClock(func() reading { return reading{m.running, m.running + m.suspended + m.step} }, func() (time.Duration, bool) {
		m.reads++
		return m.suspended, true
	})
}

func (m *machine) expect(t *testing.T, c *Clock, want time.Duration) {
	t.Helper()
	if now := c.Now(); now != env.Time(want) {
		t.Fatalf("%v, not %v", time.Duration(now), want)
	}
}

func TestSuspendedTimeCountsAtOnce(t *testing.T) {
	m := &machine{suspended: time.Minute} // before the start: does not count
	c := m.clock()
	m.running += time.Second / 2
	m.expect(t, c, time.Second/2)
	if m.reads != 1 {
		t.Fatalf("read %d times", m.reads)
	}
	m.suspended += time.Hour
	m.expect(t, c, time.Hour+time.Second/2)
	m.suspended -= time.Microsecond // an inaccurate reading
	m.step = time.Minute            // makes it read anew
	m.expect(t, c, time.Hour+time.Second/2)
}

// A wall clock set back by just the time suspended hides that for a second.
func TestHiddenSuspension(t *testing.T) {
	m := &machine{}
	c := m.clock()
	m.suspended, m.step = time.Hour, -time.Hour
	m.running += refreshEvery
	m.expect(t, c, refreshEvery)
	m.running++
	m.expect(t, c, refreshEvery+1+time.Hour)
}

func BenchmarkNow(b *testing.B) {
	c := New()
	for b.Loop() {
		c.Now()
	}
}
