package mailbox

import (
	"fmt"
	"os"
	"runtime"
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

// Options configure a mailbox. The zero value is usable.
type Options struct {
	// Clock is the loop's clock; its timers wake the loop. Nil: a new one.
	Clock *clock.Clock
	// Panicked is called with a panic of the loop and its stack, before Run returns.
	// Nil: both are written to standard error, and the process ends with ExitCode. The
	// loop's state is lost then; what was acknowledged is in the WAL.
	Panicked func(value any, stack []byte)
	// Metrics gets how long turns take: whatever waits for the loop waits for the turn that is running. Nil: none.
	Metrics env.Metrics
}

// Mailbox is the event queue of one node's loop. The goroutine that runs a turn, the
// loop's own or a driver's, owns the loop until the turn ends.
type Mailbox struct {
	clock    *clock.Clock
	panicked func(value any, stack []byte)
	wake     chan struct{} // has room for one
	timer    *time.Timer

	// Of whoever has the loop.
	node  Node
	spare []env.Event
	turns *turnTimes

	mu      sync.Mutex
	events  []env.Event
	parked  bool // the loop's goroutine waits, and nobody has woken it
	lent    bool // a driver's goroutine has the loop; only while parked
	stopped bool
	armed   bool      // the timer will fire
	alarm   time.Time // when; like the timer, it stands while the machine is suspended
}

// New returns an empty mailbox.
func New(o Options) *Mailbox {
	if o.Clock == nil {
		o.Clock = clock.New()
	}
	if o.Panicked == nil {
		o.Panicked = exit
	}
	m := &Mailbox{clock: o.Clock, panicked: o.Panicked, wake: make(chan struct{}, 1)}
	if o.Metrics != nil {
		m.turns = newTurnTimes(o.Metrics)
	}
	return m
}

// Clock is the clock that the node must use.
func (m *Mailbox) Clock() *clock.Clock { return m.clock }

// Deliver puts an event in the mailbox. Any goroutine may call it, the loop's too;
// it does not block. After Stop the event is dropped.
func (m *Mailbox) Deliver(e env.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopped {
		m.events = append(m.events, e)
		m.rouse()
	}
}

// DeliverInTurn is Deliver for a goroutine that holds no lock and can spare the time
// of a turn: if the loop is parked, the caller runs the turn itself, and returns after
// it.
func (m *Mailbox) DeliverInTurn(e env.Event) {
	m.mu.Lock()
	if !m.parked || m.lent || m.stopped {
		m.mu.Unlock()
		m.Deliver(e)
		return
	}
	m.events = append(m.events, e)
	m.lent = true
	events := m.swap()
	m.mu.Unlock()
	_, due := m.pause()
	m.turn(events, due)
	m.giveBack()
	// What the turn woke waits for this processor, and goes before the caller's next
	// blocking call, which would keep it.
	runtime.Gosched()
}

// giveBack ends a turn by a driver's goroutine. What came meanwhile is the loop's
// own goroutine's, so that a driver has one turn at most.
func (m *Mailbox) giveBack() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lent = false
	if wait, due := m.pause(); m.stopped || due || len(m.events) > 0 {
		m.rouse()
	} else {
		m.arm(wait)
	}
}

// rouse wakes the loop's goroutine if it is parked and the loop is not lent. m.mu is
// held; wake has room, since only one that is parked is sent to.
func (m *Mailbox) rouse() {
	if m.parked && !m.lent {
		m.parked = false
		m.wake <- struct{}{}
	}
}

// Stop makes Run return after the turn that is running. Any goroutine may call it.
func (m *Mailbox) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	m.rouse()
}

// Run is the loop: it gives the node a first turn without events, then one whenever
// there is an event or the clock says so, and returns after Stop, or when the node
// panicked and the options let it. It is called once.
func (m *Mailbox) Run(node Node) {
	m.node = node
	m.timer = time.NewTimer(parkMax)
	m.timer.Stop()
	defer m.timer.Stop()
	m.turn(nil, false)
	for {
		events, due, ok := m.next()
		if !ok {
			return
		}
		m.turn(events, due)
	}
}

// turn gives the node a turn. The caller has the loop.
func (m *Mailbox) turn(events []env.Event, due bool) {
	defer func() {
		if value := recover(); value != nil {
			m.Stop()
			m.panicked(value, debug.Stack())
		}
	}()
	if due {
		m.clock.Woken()
	}
	if m.turns == nil {
		m.node.Turn(events)
	} else {
		began := m.clock.Now()
		m.node.Turn(events)
		m.turns.took(began, m.clock.Now())
	}
	clear(events)
}

// next waits for events or for the time, and returns the events and whether it is
// time; not ok is the end.
func (m *Mailbox) next() (_ []env.Event, _, ok bool) {
	for {
		m.mu.Lock()
		wait, due := m.pause()
		if m.stopped {
			m.mu.Unlock()
			return nil, false, false
		}
		if due || len(m.events) > 0 {
			events := m.swap()
			m.mu.Unlock()
			return events, due, true
		}
		m.parked = true
		m.arm(wait)
		m.mu.Unlock()
		m.park()
	}
}

// pause returns how long the loop may sleep, or that it is due. The caller has the
// loop.
func (m *Mailbox) pause() (wait time.Duration, due bool) {
	wait, timed := m.clock.Wake()
	if !timed || wait > parkMax {
		return parkMax, false
	}
	return wait, wait == 0
}

// arm sets the timer, unless it fires sooner: waking for nothing costs less than
// setting it at every turn. m.mu is held.
func (m *Mailbox) arm(wait time.Duration) {
	alarm := time.Now().Add(wait)
	if m.armed && !m.alarm.After(alarm) {
		return
	}
	m.armed, m.alarm = true, alarm
	m.timer.Reset(wait)
}

// swap takes what is there, and leaves the room of the turn before.
func (m *Mailbox) swap() []env.Event {
	if cap(m.spare) > keptMax {
		m.spare = nil
	}
	m.events, m.spare = m.spare[:0], m.events
	return m.spare
}

// park waits until the loop's goroutine is woken, or the timer fires while the loop
// is not lent.
func (m *Mailbox) park() {
	for {
		select {
		case <-m.wake:
			return
		case <-m.timer.C:
		}
		m.mu.Lock()
		m.armed = false
		m.rouse() // unless somebody has, or the loop is lent
		m.mu.Unlock()
	}
}

func exit(value any, stack []byte) {
	fmt.Fprintf(os.Stderr, "weir: the broker's loop failed and the process ends; every acknowledged record is in the write-ahead log, "+
		"and a restart recovers it. Please report this:\npanic: %v\n\n%s", value, stack)
	os.Exit(ExitCode)
}
