package clock

import (
	"time"

	"weir/core/env"
)

const (
	// slack is by how much the wall clock may move against the monotonic one before
	// the suspended time is read again.
	slack = time.Millisecond
	// refreshEvery bounds the age of what was read.
	refreshEvery = time.Second
)

// Clock is an env.Clock. It is used on the loop only.
type Clock struct {
	read      func() reading
	suspended func() (time.Duration, bool) // since boot; false if the system does not say

	first   reading
	offset  time.Duration // suspended time since the first reading
	zero    time.Duration // suspended time at it
	checked time.Duration // monotonic time of the last reading
	gap     time.Duration // wall against monotonic then

	wake    env.Time
	wakeSet bool
}

// reading is both of the system's clocks at one moment, each from a zero of its own.
type reading struct{ monotonic, wall time.Duration }

// New returns a clock whose zero is now.
func New() *Clock {
	base := time.Now()
	return newClock(func() reading {
		now := time.Now()
		return reading{now.Sub(base), time.Duration(now.UnixNano())}
	}, suspendedTime)
}

func newClock(read func() reading, suspended func() (time.Duration, bool)) *Clock {
	c := &Clock{read: read, suspended: suspended, first: read()}
	c.zero, _ = suspended()
	return c
}

// Now implements env.Clock.
func (c *Clock) Now() env.Time {
	r := c.read()
	elapsed := r.monotonic - c.first.monotonic
	gap := r.wall - c.first.wall - elapsed
	if moved := gap - c.gap; moved > slack || moved < -slack || elapsed-c.checked > refreshEvery {
		c.checked, c.gap = elapsed, gap
		c.refresh()
	}
	return env.Time(elapsed + c.offset)
}

// refresh reads the suspended time, which only grows: less is an inaccuracy of the
// reading.
func (c *Clock) refresh() {
	if d, ok := c.suspended(); ok {
		c.offset = max(c.offset, d-c.zero)
	}
}

// WallMillis implements env.Clock.
func (c *Clock) WallMillis() int64 { return c.read().wall.Milliseconds() }

// WakeAt implements env.Clock. The mailbox reads it with Wake.
func (c *Clock) WakeAt(t env.Time) { c.wake, c.wakeSet = t, true }

// Wake returns how long it is until the loop asked to be woken: 0 if that time has
// come, false if it did not ask.
func (c *Clock) Wake() (time.Duration, bool) {
	if !c.wakeSet {
		return 0, false
	}
	return max(0, c.wake.Sub(c.Now())), true
}

// Woken forgets the time last asked for: the loop has its turn.
func (c *Clock) Woken() { c.wakeSet = false }
