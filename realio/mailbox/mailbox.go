package mailbox

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"weir/core/env"
	"weir/realio/clock"
)

const (
	// parkMax bounds how long the loop sleeps for a timer, whose clock stands while
	// the machine is suspended.
	parkMax = time.Second
	// keptMax is the capacity above which the room of a burst is given back.
	keptMax = 64 << 10
	// ExitCode is the process's status after a panic of the loop.
	ExitCode = 70
)

// Node is what a mailbox drives; core/node is one.
type Node interface {
	// Turn gives the node its events, in order, possibly none. The slice is the
	// caller's again when it returns.
	Turn(events []env.Event)
}

// Options shape a mailbox. The zero value is useful.
type Options struct {
	// Clock says when the loop wants to be woken; nil is a new one.
	Clock *clock.Clock
	// Panicked is told of a panic of the loop, with the stack, before Run returns.
	// Nil writes both to standard error and ends the process with ExitCode: the loop's
	// state is lost, and what was acknowledged is in the WAL.
	Panicked func(value any, stack []byte)
}

// Mailbox is the queue before one node's loop.
type Mailbox struct {
	clock    *clock.Clock
	panicked func(value any, stack []byte)
	wake     chan struct{} // has room for one
	spare    []env.Event   // the loop's

	mu      sync.Mutex
	events  []env.Event
	parked  bool
	stopped bool
}

// New returns an empty mailbox.
func New(o Options) *Mailbox {
	if o.Clock == nil {
		o.Clock = clock.New()
	}
	if o.Panicked == nil {
		o.Panicked = exit
	}
	return &Mailbox{clock: o.Clock, panicked: o.Panicked, wake: make(chan struct{}, 1)}
}

// Clock is the clock that the node must use.
func (m *Mailbox) Clock() *clock.Clock { return m.clock }

// Deliver puts an event in the mailbox. Any goroutine may call it, the loop's too;
// it does not block. After Stop the event is dropped.
func (m *Mailbox) Deliver(e env.Event) {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return
	}
	m.events = append(m.events, e)
	parked := m.parked
	m.parked = false
	m.mu.Unlock()
	if parked {
		m.wake <- struct{}{}
	}
}

// Stop makes Run return after the turn that is running. Any goroutine may call it.
func (m *Mailbox) Stop() {
	m.mu.Lock()
	m.stopped = true
	parked := m.parked
	m.parked = false
	m.mu.Unlock()
	if parked {
		m.wake <- struct{}{}
	}
}

// Run is the loop: it gives the node a first turn without events, then one whenever
// there is an event or the clock says so, and returns after Stop, or when the node
// panicked and the options let it. It is called once.
func (m *Mailbox) Run(node Node) {
	defer func() {
		if value := recover(); value != nil {
			m.Stop()
			m.panicked(value, debug.Stack())
		}
	}()
	timer := time.NewTimer(parkMax)
	defer timer.Stop()
	node.Turn(nil)
	for {
		events, due, ok := m.next(timer)
		if !ok {
			return
		}
		if due {
			m.clock.Woken()
		}
		node.Turn(events)
		clear(events)
	}
}

// next waits for events or for the time, and returns the events; false is the end.
func (m *Mailbox) next(timer *time.Timer) (events []env.Event, due, ok bool) {
	for {
		wait, timed := m.clock.Wake()
		due = timed && wait == 0
		m.mu.Lock()
		if m.stopped {
			m.mu.Unlock()
			return nil, false, false
		}
		if due || len(m.events) > 0 {
			events = m.swap()
			m.mu.Unlock()
			return events, due, true
		}
		m.parked = true
		m.mu.Unlock()
		m.park(timer, wait, timed)
	}
}

// swap takes what is there, and leaves the room of the turn before.
func (m *Mailbox) swap() []env.Event {
	if cap(m.spare) > keptMax {
		m.spare = nil
	}
	m.events, m.spare = m.spare[:0], m.events
	return m.spare
}

func (m *Mailbox) park(timer *time.Timer, wait time.Duration, timed bool) {
	if !timed {
		<-m.wake
		return
	}
	timer.Reset(min(wait, parkMax))
	select {
	case <-m.wake:
	case <-timer.C:
		m.mu.Lock()
		awaited := !m.parked // somebody is about to send
		m.parked = false
		m.mu.Unlock()
		if awaited {
			<-m.wake
		}
	}
}

func exit(value any, stack []byte) {
	fmt.Fprintf(os.Stderr, "weir: the broker's loop failed and the process ends; every acknowledged record is in the write-ahead log, "+
		"and a restart recovers it. Please report this:\npanic: %v\n\n%s", value, stack)
	os.Exit(ExitCode)
}
