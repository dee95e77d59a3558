package task

import (
	"time"

	"weir/core/env"
)

// Loop orders everything that happens in one node. It is not safe for
// concurrent use: its world calls Turn once at a time, each call after the one
// before, and everything else is called from inside a turn.
type Loop struct {
	clock   env.Clock
	timers  timerHeap
	serial  uint64
	posted  []func()
	running []func()
	turnEnd []func()
	wakeAt  env.Time
	wakeSet bool
	procs   pool
}

// NewLoop returns a loop that reads time from clock.
func NewLoop(clock env.Clock) *Loop { return &Loop{clock: clock} }

// Now reads the monotonic clock.
func (l *Loop) Now() env.Time { return l.clock.Now() }

// Turn delivers the events in order, fires due timers, runs what was posted,
// and flushes. The slice is the caller's again when it returns.
func (l *Loop) Turn(events []env.Event) {
	for _, event := range events {
		event.Deliver()
		l.runPosted()
	}
	l.fireTimers()
	l.runPosted()
	for _, flush := range l.turnEnd {
		flush()
	}
	l.runPosted()
	l.armWake()
}

// OnTurnEnd registers a function that runs at the end of every turn, in order
// of registration, once, after all events of the turn.
func (l *Loop) OnTurnEnd(flush func()) { l.turnEnd = append(l.turnEnd, flush) }

// Post runs f in this turn, after the event that is running now. It breaks
// recursion between parts that call each other back.
func (l *Loop) Post(f func()) { l.posted = append(l.posted, f) }

func (l *Loop) runPosted() {
	for len(l.posted) > 0 {
		l.running, l.posted = l.posted, l.running[:0]
		for i, f := range l.running {
			f()
			l.running[i] = nil
		}
	}
}

// Timer is a pending call. Its zero value is a stopped timer.
type Timer struct {
	at     env.Time
	serial uint64
	index  int // position in the heap plus one; 0 when not pending
	fire   func()
}

// Pending reports whether the timer will still fire.
func (t *Timer) Pending() bool { return t.index != 0 }

// After calls f once, d from now (at once, in a later step, if d <= 0).
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{}
	l.Reset(t, d, f)
	return t
}

// Reset (re)arms t to call f, d from now.
func (l *Loop) Reset(t *Timer, d time.Duration, f func()) {
	l.Stop(t)
	l.serial++
	t.at, t.serial, t.fire = l.clock.Now().Add(d), l.serial, f
	l.timers.push(t)
}

// Stop makes sure t does not fire. Stopping a stopped or nil timer is fine.
func (l *Loop) Stop(t *Timer) {
	if t != nil && t.index != 0 {
		l.timers.remove(t.index - 1)
		t.fire = nil
	}
}

func (l *Loop) fireTimers() {
	if len(l.timers) == 0 {
		return
	}
	now := l.clock.Now()
	// Only timers set before this pass fire in it, so that a timer that sets
	// itself with no delay cannot hold the loop.
	last := l.serial
	for len(l.timers) > 0 {
		t := l.timers[0]
		if t.at > now || t.serial > last {
			return
		}
		l.timers.remove(0)
		fire := t.fire
		t.fire = nil
		fire()
		l.runPosted()
	}
}

func (l *Loop) armWake() {
	if len(l.timers) == 0 {
		l.wakeSet = false
		return
	}
	at := l.timers[0].at
	if l.wakeSet && at == l.wakeAt && at > l.clock.Now() {
		return
	}
	l.wakeAt, l.wakeSet = at, true
	l.clock.WakeAt(at)
}

// timerHeap is a 4-ary min-heap by (at, serial).
type timerHeap []*Timer

func (h timerHeap) less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].serial < h[j].serial
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *timerHeap) push(t *Timer) {
	*h = append(*h, t)
	t.index = len(*h)
	h.up(len(*h) - 1)
}

func (h *timerHeap) remove(i int) {
	last := len(*h) - 1
	t := (*h)[i]
	if i != last {
		h.swap(i, last)
	}
	(*h)[last] = nil
	*h = (*h)[:last]
	if i != last {
		h.down(i)
		h.up(i)
	}
	t.index = 0
}

func (h timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 4
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timerHeap) down(i int) {
	for {
		least := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(h); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
