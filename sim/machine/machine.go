package machine

import (
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
)

// Node is what a machine drives: core/node, or a stand-in for it.
type Node interface {
	// Turn gives the node events; the first turn starts it.
	Turn(events []env.Event)
	// Shutdown ends it cleanly, and says so.
	Shutdown(done func())
	// Abandon drops it, as a crash does.
	Abandon()
}

// Machine drives one node through its incarnations.
type Machine struct {
	ID  uint64
	Log *Log

	// TurnCost and EventCost are what a turn and each of its events take; while
	// they last, further events gather.
	TurnCost, EventCost time.Duration
	// Slow scales computation (1000 is once).
	Slow int64
	// Around runs each turn, to measure what it costs in the real world; nil: nothing is around it.
	Around func(turn func())

	queue       *event.Queue
	clock       Clock
	box         *Box
	node        Node
	incarnation uint64
	mailbox     []env.Event
	spare       []env.Event
	scheduled   bool
	paused      bool
	busyUntil   event.Time
	turns       uint64
}

// New returns a machine without a node.
func New(queue *event.Queue, id uint64) *Machine {
	m := &Machine{ID: id, queue: queue, TurnCost: 2 * time.Microsecond, EventCost: time.Microsecond}
	m.Log = &Log{queue: queue, machine: id}
	m.clock = Clock{machine: m, wallBase: 1_790_000_000_000}
	return m
}

// Boot begins an incarnation and returns its mailbox. Start must follow.
func (m *Machine) Boot() *Box {
	if m.box != nil && !m.box.dead {
		panic("sim: machine booted twice")
	}
	m.incarnation++
	m.mailbox, m.scheduled, m.paused, m.busyUntil = m.mailbox[:0], false, false, 0
	draws := m.queue.Stream("clock zero", m.ID<<32|m.incarnation)
	m.clock.base = env.Time(draws.Below(int64(1000 * time.Hour)))
	m.clock.epoch = m.queue.Now()
	m.clock.wakeSerial++
	m.clock.wakeAt = 0
	m.box = NewBox(m.ID, m.incarnation, m.take)
	return m.box
}

// Start gives the incarnation its node and the first turn.
func (m *Machine) Start(node Node) {
	m.node = node
	m.queue.Note(event.KindNode, m.ID, 1, m.incarnation, 0)
	m.schedule()
}

// Running reports whether a node lives.
func (m *Machine) Running() bool { return m.node != nil }

// Node is the living node, or nil.
func (m *Machine) Node() Node { return m.node }

// Incarnation counts starts.
func (m *Machine) Incarnation() uint64 { return m.incarnation }

// Turns counts turns of all incarnations.
func (m *Machine) Turns() uint64 { return m.turns }

// Box is the present incarnation's mailbox.
func (m *Machine) Box() *Box { return m.box }

// Crash ends the incarnation at once. The devices are told by the world.
func (m *Machine) Crash() {
	if m.node == nil {
		return
	}
	m.queue.Note(event.KindNode, m.ID, 2, m.incarnation, 0)
	m.box.Kill()
	m.node.Abandon()
	m.node = nil
	clear(m.mailbox)
	m.mailbox = m.mailbox[:0]
}

// Pause stops the loop (not the clocks) until Resume.
func (m *Machine) Pause() { m.paused = true }

// Resume lets the loop go on.
func (m *Machine) Resume() {
	if m.paused {
		m.paused = false
		if m.node != nil {
			m.schedule()
		}
	}
}

// Paused reports whether the loop is stopped.
func (m *Machine) Paused() bool { return m.paused }

func (m *Machine) take(e env.Event) {
	m.mailbox = append(m.mailbox, e)
	m.schedule()
}

func (m *Machine) schedule() {
	if m.scheduled || m.paused {
		return
	}
	m.scheduled = true
	m.queue.At(max(m.queue.Now(), m.busyUntil), m, m.incarnation)
}

// Fire implements event.Handler: a turn.
func (m *Machine) Fire(incarnation uint64) {
	if incarnation != m.incarnation || m.node == nil {
		return
	}
	m.scheduled = false
	if m.paused {
		return
	}
	m.mailbox, m.spare = m.spare[:0], m.mailbox
	count := len(m.spare)
	m.turns++
	m.queue.Note(event.KindTurn, m.ID, uint64(count), 0, 0)
	m.busyUntil = m.queue.Now().Add(m.TurnCost + time.Duration(count)*m.EventCost)
	if m.Around != nil {
		m.Around(func() { m.node.Turn(m.spare) })
	} else {
		m.node.Turn(m.spare)
	}
	clear(m.spare)
}

// Clock is a machine's clocks.
type Clock struct {
	// DriftPPM is by how many millionths the monotonic clock runs fast.
	DriftPPM int64

	machine    *Machine
	base       env.Time
	epoch      event.Time
	wallBase   int64
	wallStep   int64
	wakeSerial uint64
	wakeAt     env.Time // of the last wake asked for
}

// Clock is the machine's clock, an env.Clock.
func (m *Machine) Clock() *Clock { return &m.clock }

// StepWall moves the wall clock.
func (c *Clock) StepWall(millis int64) { c.wallStep += millis }

// SetDrift changes by how much the clock runs fast, from now on.
func (c *Clock) SetDrift(ppm int64) {
	if ppm == c.DriftPPM {
		return
	}
	now := c.machine.queue.Now()
	c.base, c.epoch, c.DriftPPM = c.base+env.Time(c.local(now)), now, ppm
	if c.wakeAt > 0 {
		c.WakeAt(c.wakeAt)
	}
}

// Now implements env.Clock.
func (c *Clock) Now() env.Time { return c.base + env.Time(c.local(c.machine.queue.Now())) }

// WallMillis implements env.Clock.
func (c *Clock) WallMillis() int64 {
	return c.wallBase + c.wallStep + int64(c.machine.queue.Now())/1e6
}

// WakeAt implements env.Clock.
func (c *Clock) WakeAt(t env.Time) {
	c.wakeSerial++
	c.wakeAt = t
	c.machine.queue.At(c.world(t), (*wake)(c), c.wakeSerial)
}

// local is how far the clock ran since boot.
func (c *Clock) local(now event.Time) int64 {
	d := int64(now - c.epoch)
	return d + d/1_000_000*c.DriftPPM + d%1_000_000*c.DriftPPM/1_000_000
}

// world is the first virtual time at which the clock shows at least t.
func (c *Clock) world(t env.Time) event.Time {
	want := int64(t - c.base)
	at := c.epoch + event.Time(want-want/1_000_000*c.DriftPPM)
	for c.local(at) < want {
		at += event.Time(max(1, (want-c.local(at))/2))
	}
	return at
}

type wake Clock

func (w *wake) Fire(serial uint64) {
	m := w.machine
	if serial == w.wakeSerial && m.node != nil {
		m.schedule()
	}
}

// Computer is an incarnation's env.Computer.
type Computer struct {
	machine *Machine
	box     *Box
	draws   event.Stream
}

// Computer returns the present incarnation's computer.
func (m *Machine) Computer() *Computer {
	return &Computer{machine: m, box: m.box, draws: m.queue.Stream("compute", m.box.Key())}
}

type computing struct {
	computer *Computer
	work     *env.Compute
}

// Submit implements env.Computer.
func (c *Computer) Submit(work *env.Compute) {
	d := latency.Compute.Scaled(&c.draws, c.machine.Slow)
	c.machine.queue.After(d, &computing{c, work}, 0)
}

func (w *computing) Fire(uint64) {
	box := w.computer.box
	if box.Dead() {
		return
	}
	w.work.Work()
	w.computer.machine.queue.Note(event.KindCompute, box.Machine, 0, 0, 0)
	box.Deliver(w.work)
}

// Rand is an incarnation's env.Rand: keyed by the run's seed, the incarnation,
// and what the core names.
type Rand struct {
	rand event.Rand
	key  uint64
}

// Rand returns the present incarnation's randomness.
func (m *Machine) Rand() Rand {
	return Rand{rand: m.queue.Rand, key: event.Purpose("node") ^ m.box.Key()*0x9e3779b97f4a7c15}
}

// Uint64 implements env.Rand.
func (r Rand) Uint64(purpose string, entity, counter uint64) uint64 {
	return r.rand.Draw(event.Purpose(purpose)^r.key, entity, counter)
}
