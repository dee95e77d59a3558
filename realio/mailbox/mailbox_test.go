package mailbox

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/core/env"
	"weir/core/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type call func()

func (c call) Deliver() { c() }

type nodeFunc func(events []env.Event)

func (f nodeFunc) Turn(events []env.Event) { f(events) }

// start runs a mailbox around a real loop; stop waits for its end.
func start(t testing.TB) (m *Mailbox, loop *task.Loop, stop func()) {
	m = New(Options{})
	loop = task.NewLoop(m.Clock())
	done := make(chan struct{})
	go func() {
		m.Run(loop)
		close(done)
	}()
	stop = func() {
		m.Stop()
		<-done
	}
	t.Cleanup(stop)
	return m, loop, stop
}

func TestTimersWakeTheLoop(t *testing.T) {
	m, loop, _ := start(t)
	fired := make(chan time.Duration)
	const wait = 30 * time.Millisecond
	m.Deliver(call(func() {
		from := loop.Now()
		loop.After(time.Hour, func() { t.Error("an hour has not passed") })
		loop.After(wait, func() {
			loop.After(wait, func() { fired <- loop.Now().Sub(from) })
		})
	}))
	if d := <-fired; d < 2*wait {
		t.Fatalf("fired after %v", d)
	}
}

// A timer further off than the loop ever sleeps costs no turns meanwhile.
func TestNoTurnWithoutReason(t *testing.T) {
	m := New(Options{})
	turns, done := 0, make(chan struct{})
	fired := make(chan struct{})
	go func() {
		m.Run(nodeFunc(func([]env.Event) {
			if turns++; turns == 1 {
				m.Clock().WakeAt(m.Clock().Now().Add(parkMax + parkMax/10))
			} else {
				close(fired)
			}
		}))
		close(done)
	}()
	<-fired
	m.Stop()
	<-done
	if turns != 2 {
		t.Fatalf("%d turns", turns)
	}
}

func TestEventsAfterStopAreDropped(t *testing.T) {
	m, _, stop := start(t)
	stop()
	m.Deliver(call(func() { t.Error("delivered after the end") }))
	m.Stop()
}

func TestEventsFromTheLoopItself(t *testing.T) {
	m, _, _ := start(t)
	done := make(chan struct{})
	m.Deliver(call(func() {
		inside := true
		m.Deliver(call(func() {
			if inside {
				t.Error("delivered inside the event that delivered it")
			}
			close(done)
		}))
		inside = false
	}))
	<-done
}

func TestPanicIsReportedWithItsStack(t *testing.T) {
	var value any
	var stack string
	m := New(Options{Panicked: func(v any, s []byte) { value, stack = v, string(s) }})
	m.Deliver(call(breakInvariant))
	m.Run(task.NewLoop(m.Clock()))
	if value != "broken" || !strings.Contains(stack, "breakInvariant") {
		t.Fatalf("%v with stack\n%s", value, stack)
	}
	m.Deliver(call(func() {}))
}

func breakInvariant() { panic("broken") }

// Deliver and wakes race with parking on a timer: nothing may be lost.
func TestParkingRaces(t *testing.T) {
	m, loop, _ := start(t)
	m.Deliver(call(func() {
		var again func()
		again = func() { loop.After(20*time.Microsecond, again) }
		again()
	}))
	done := make(chan struct{}, 1)
	for range 5_000 {
		m.Deliver(call(func() { done <- struct{}{} }))
		<-done
	}
}

// awaitParked returns once the loop has nothing to do.
func awaitParked(m *Mailbox) {
	for {
		m.mu.Lock()
		parked := m.parked && !m.lent
		m.mu.Unlock()
		if parked {
			return
		}
		runtime.Gosched()
	}
}

// check finds what a parked loop would come to late, within parkMax when it looks
// again: a test that only waits cannot tell. A parked loop sleeps for longest at most.
func check(t *testing.T, m *Mailbox, longest time.Duration) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch sleep := time.Until(m.alarm); {
	case m.lent && !m.parked:
		t.Error("the loop's goroutine was woken while the loop is lent")
	case m.lent || !m.parked: // somebody has the loop
	case len(m.events) > 0 || m.stopped:
		t.Errorf("the loop sleeps on %d events, stopped %v", len(m.events), m.stopped)
	case !m.armed || sleep > longest:
		t.Errorf("the loop sleeps for %v, armed %v", sleep, m.armed)
	}
}

// The turn is over when DeliverInTurn returns: no goroutine but the caller's ran it.
func TestTurnInPlaceOfAParkedLoop(t *testing.T) {
	m, _, _ := start(t)
	awaitParked(m)
	ran := false
	m.DeliverInTurn(call(func() { ran = true }))
	if !ran {
		t.Fatal("the event was left to the loop's goroutine")
	}
}

// What comes in a lent turn, from the turn itself too, is run after it.
func TestEventsOfALentTurn(t *testing.T) {
	m, _, _ := start(t)
	awaitParked(m)
	done := make(chan struct{})
	m.DeliverInTurn(call(func() {
		inside := true
		m.DeliverInTurn(call(func() {
			if inside {
				t.Error("turns overlap")
			}
			close(done)
		}))
		m.Deliver(nothing{})
		check(t, m, parkMax)
		inside = false
	}))
	check(t, m, parkMax)
	<-done
}

func TestTimerOfALentTurn(t *testing.T) {
	m, loop, _ := start(t)
	fired := make(chan struct{}, 1)
	var again func()
	again = func() {
		loop.After(time.Millisecond, again)
		select {
		case fired <- struct{}{}:
		default:
		}
	}
	awaitParked(m)
	m.DeliverInTurn(call(again))
	for range 5 {
		check(t, m, time.Millisecond)
		<-fired
	}
}

func TestStopInALentTurn(t *testing.T) {
	m, _, stop := start(t)
	awaitParked(m)
	m.DeliverInTurn(call(m.Stop))
	check(t, m, parkMax)
	stop()
	m.DeliverInTurn(call(func() { t.Error("delivered after the end") }))
}

func TestPanicOfALentTurn(t *testing.T) {
	var value any
	var stack string
	m := New(Options{Panicked: func(v any, s []byte) { value, stack = v, string(s) }})
	done := make(chan struct{})
	go func() {
		m.Run(task.NewLoop(m.Clock()))
		close(done)
	}()
	awaitParked(m)
	m.DeliverInTurn(call(breakInvariant))
	<-done
	if value != "broken" || !strings.Contains(stack, "breakInvariant") {
		t.Fatalf("%v with stack\n%s", value, stack)
	}
}

// Goroutines that lend themselves, others that do not, and timers: turns never overlap,
// every event is run once, in the order of its sender.
func TestTurnsNeverOverlap(t *testing.T) {
	m, loop, _ := start(t)
	const senders, each = 8, 3_000
	var next [senders]int // as inside: of whoever has the loop, for the race detector
	inside, timers := false, 0
	turn := func(f func()) {
		if inside {
			t.Error("turns overlap")
		}
		inside = true
		f()
		inside = false
	}
	m.Deliver(call(func() {
		var again func()
		again = func() {
			turn(func() { timers++ })
			loop.After(30*time.Microsecond, again)
		}
		again()
	}))
	var group sync.WaitGroup
	for s := range senders {
		deliver := m.DeliverInTurn
		if s%2 == 0 {
			deliver = m.Deliver
		}
		group.Go(func() {
			for i := range each {
				deliver(call(func() {
					turn(func() {
						if next[s] != i {
							t.Errorf("sender %d: event %d, want %d", s, i, next[s])
						}
						next[s]++
					})
				}))
			}
		})
	}
	group.Wait()
	sum := make(chan int)
	m.Deliver(call(func() {
		n := 0
		for _, events := range next {
			n += events
		}
		sum <- n
	}))
	if n := <-sum; n != senders*each {
		t.Fatalf("%d events, want %d", n, senders*each)
	}
}

type nothing struct{}

func (nothing) Deliver() {}

// BenchmarkDeliver is what an event costs from its sender through the loop.
func BenchmarkDeliver(b *testing.B) {
	m, _, stop := start(b)
	for b.Loop() {
		m.Deliver(nothing{})
	}
	done := make(chan struct{})
	m.Deliver(call(func() { close(done) }))
	<-done
	stop()
}

// BenchmarkDeliverParallel is that with a sender on every processor.
func BenchmarkDeliverParallel(b *testing.B) {
	m, _, stop := start(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Deliver(nothing{})
		}
	})
	stop()
}

// BenchmarkWake is a round trip between a parked goroutine and a parked loop: twice
// what waking takes.
func BenchmarkWake(b *testing.B) {
	m, _, stop := start(b)
	back := make(chan struct{})
	answer := call(func() { back <- struct{}{} })
	for b.Loop() {
		m.Deliver(answer)
		<-back
	}
	stop()
}

// BenchmarkTurnInPlace is a turn of a parked loop on its sender's goroutine.
func BenchmarkTurnInPlace(b *testing.B) {
	m, _, stop := start(b)
	awaitParked(m)
	for b.Loop() {
		m.DeliverInTurn(nothing{})
	}
	stop()
}
