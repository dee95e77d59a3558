package event

import (
	"fmt"
	"time"
)

// Time is nanoseconds of virtual time since the run began.
type Time int64

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// String prints the time in seconds.
func (t Time) String() string {
	return fmt.Sprintf("%d.%06ds", int64(t)/1e9, int64(t)%1e9/1e3)
}

// Handler receives a scheduled event; arg is what it was scheduled with.
type Handler interface{ Fire(arg uint64) }

// Func is a Handler made of a function.
type Func func()

// Fire implements Handler.
func (f Func) Fire(uint64) { f() }

type entry struct {
	at      Time
	serial  uint64
	handler Handler
	arg     uint64
}

func (e *entry) before(o *entry) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	return e.serial < o.serial
}

// Queue is virtual time: a 4-ary heap of events by (time, serial), and with it
// the run's randomness and trace.
type Queue struct {
	Rand  Rand
	Trace Trace
	// Marks counts visits of marks of the world, by name.
	Marks map[string]int64

	heap   []entry
	now    Time
	serial uint64
	fired  uint64
}

// NewQueue returns an empty queue at time 0.
func NewQueue(seed uint64) *Queue {
	return &Queue{Rand: Rand{seed: mix(seed^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)}, heap: make([]entry, 0, 1024), Marks: map[string]int64{}}
}

// Now is the time of the event that is firing.
func (q *Queue) Now() Time { return q.now }

// Fired counts the events that have fired.
func (q *Queue) Fired() uint64 { return q.fired }

// Len counts the events that wait.
func (q *Queue) Len() int { return len(q.heap) }

// Hit counts one visit of a mark.
func (q *Queue) Hit(mark string) { q.Marks[mark]++ }

// At schedules h at time t, or now if t has passed.
func (q *Queue) At(t Time, h Handler, arg uint64) {
	if t < q.now {
		t = q.now
	}
	q.serial++
	q.heap = append(q.heap, entry{at: t, serial: q.serial, handler: h, arg: arg})
	q.up(len(q.heap) - 1)
}

// After schedules h, d from now.
func (q *Queue) After(d time.Duration, h Handler, arg uint64) { q.At(q.now.Add(d), h, arg) }

// Call runs f, d from now.
func (q *Queue) Call(d time.Duration, f func()) { q.At(q.now.Add(d), Func(f), 0) }

// Step fires the next event; false if there is none.
func (q *Queue) Step() bool {
	if len(q.heap) == 0 {
		return false
	}
	next := q.pop()
	q.now = next.at
	q.fired++
	next.handler.Fire(next.arg)
	return true
}

// RunUntil fires events until done says so, none is left, or the next lies
// after deadline; time then stands at the deadline. It reports done's last word.
func (q *Queue) RunUntil(deadline Time, done func() bool) bool {
	for !done() {
		if len(q.heap) == 0 || q.heap[0].at > deadline {
			q.now = max(q.now, deadline)
			return false
		}
		q.Step()
	}
	return true
}

func (q *Queue) pop() entry {
	h := q.heap
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h[last] = entry{}
	q.heap = h[:last]
	if last > 1 {
		q.down()
	}
	return top
}

func (q *Queue) up(i int) {
	h := q.heap
	moving := h[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !moving.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = moving
}

func (q *Queue) down() {
	h, i := q.heap, 0
	moving := h[0]
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < child+4 && c < len(h); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&moving) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = moving
}
