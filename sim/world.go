package sim

import (
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"weir/core/config"
	"weir/core/env"
	"weir/core/node"
	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/machine"
	"weir/sim/network"
	"weir/sim/plan"
	"weir/sim/store"
)

// NodeOptions is what a world tells a node at birth.
type NodeOptions struct {
	Config *config.Broker
	Tuning node.Tuning
	Ready  func(address string)
	Failed func(error)
}

// Build makes a node in an environment. It is not started: its first turn does that.
type Build func(e env.Env, o NodeOptions) machine.Node

// world is one run's world: one broker's machine with its disks, the network, the
// object store, and the clients.
type world struct {
	options Options
	plan    *plan.Plan
	queue   *event.Queue
	machine *machine.Machine
	wal     *disk.Disk
	meta    *disk.Disk
	store   *store.Store
	net     *network.Network
	cluster *client.Cluster
	metrics machine.Metrics
	memory  *machine.Memory
	config  *config.Broker

	violations []checker.Violation
	ready      bool
	wanted     bool // the broker should be up
	failures   int
	restarts   int
	faultCount int
	healed     bool
	draws      event.Stream
	lastError  error
}

const brokerID = 1

func newWorld(seed uint64, p *plan.Plan, options Options) *world {
	w := &world{options: options, plan: p, queue: event.NewQueue(seed)}
	block := int(p.Config.BlockBytes)
	if block == 0 {
		block = 4096
	}
	w.machine = machine.New(w.queue, brokerID)
	w.machine.Clock().DriftPPM = p.Config.DriftPPM
	w.machine.Slow = p.Config.ComputeSlow
	if p.Config.TurnCost > 0 {
		w.machine.TurnCost = p.Config.TurnCost
	}
	w.machine.Log.Echo = options.Echo
	w.wal = disk.New(w.queue, brokerID, "wal", disk.Options{BlockBytes: block})
	w.meta = disk.New(w.queue, brokerID, "meta", disk.Options{BlockBytes: block})
	w.store = store.New(w.queue)
	w.net = network.New(w.queue, 64)
	w.config = brokerConfig(&p.Config, p.Topics)
	w.net.Host(brokerID).FrameBudget = w.config.QueuedMaxRequestBytes
	w.draws = w.queue.Stream("world", 0)
	w.cluster = &client.Cluster{Queue: w.queue, Net: w.net, Fail: w.violate}
	if options.Trace != nil {
		w.queue.Trace.Sink = func(at event.Time, kind event.Kind, node, a, b, c uint64) {
			fmt.Fprintf(options.Trace, "%d %v %d %x %x %x\n", int64(at), kind, node, a, b, c)
		}
	}
	if options.Echo != nil && options.EchoClients {
		w.cluster.Echo = func(line string) { fmt.Fprintln(options.Echo, line) }
	}
	return w
}

func (w *world) violate(v checker.Violation) {
	if len(w.violations) < 20 {
		w.violations = append(w.violations, v)
	}
}

func (w *world) violated() bool { return len(w.violations) > 0 }

// guard runs a piece of the run; a panic anywhere in it is a violation.
func (w *world) guard(f func()) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		w.violate(panicked(value, debug.Stack()))
	}()
	f()
}

// boot starts the broker's next incarnation.
func (w *world) boot() {
	w.ready = false
	box := w.machine.Boot()
	w.memory = &machine.Memory{}
	e := env.Env{
		Clock: w.machine.Clock(), WAL: w.wal.Attach(box), Meta: w.meta.Attach(box),
		Network: w.net.Host(brokerID).Attach(box), Store: w.store.Attach(box), Rand: w.machine.Rand(),
		Compute: w.machine.Computer(), Memory: w.memory, Log: w.machine.Log, Metrics: &w.metrics,
	}
	built := w.options.Build(e, NodeOptions{
		Config: w.config, Tuning: tuning(&w.plan.Config),
		Ready: func(address string) {
			if !box.Dead() {
				w.ready, w.cluster.Address = true, address
			}
		},
		Failed: func(err error) {
			if !box.Dead() {
				w.failed(err)
			}
		},
	})
	w.machine.Start(built)
}

// failed is the node's word that its incarnation cannot go on: the world ends the
// process, and its supervisor starts it again.
func (w *world) failed(err error) {
	w.failures++
	w.lastError = err
	w.queue.Hit("world: the node gave up")
	w.queue.Note(event.KindNode, brokerID, 3, uint64(w.failures), 0)
	// Not from within its own turn.
	incarnation := w.machine.Incarnation()
	w.queue.Call(0, func() {
		if w.machine.Incarnation() == incarnation && w.machine.Running() {
			w.crash(false)
			w.bootAfter(w.draws.Duration(50*time.Millisecond, 500*time.Millisecond))
		}
	})
}

// crash ends the incarnation: by power failure, or by the death of its process.
func (w *world) crash(power bool) {
	if !w.machine.Running() {
		if power {
			w.wal.Crash(true)
			w.meta.Crash(true)
		}
		return
	}
	w.ready = false
	box := w.machine.Box()
	w.takeMarks()
	w.machine.Crash()
	w.wal.Crash(power)
	w.meta.Crash(power)
	w.store.Crash(box)
	w.net.Host(brokerID).Crash(power && w.draws.PerMille(500))
}

// bootAfter starts the broker unless something else has by then.
func (w *world) bootAfter(d time.Duration) {
	w.restarts++
	w.queue.Call(d, func() {
		if w.wanted && !w.machine.Running() {
			w.boot()
		}
	})
}

// shutdown ends the incarnation cleanly, and checks that it left nothing behind; a
// start that is given up may leave what it has in flight.
func (w *world) shutdown(done func()) {
	incarnation, served := w.machine.Incarnation(), w.ready
	w.machine.Node().Shutdown(func() {
		// Not from within its own turn.
		w.queue.Call(0, func() {
			if w.machine.Incarnation() != incarnation || !w.machine.Running() {
				return
			}
			if served {
				w.checkLeaks()
			}
			w.crash(false)
			done()
		})
	})
	w.machine.Box().Deliver(nudge{})
}

// nudge gives the node a turn.
type nudge struct{}

func (nudge) Deliver() {}

func (w *world) checkLeaks() {
	if n := w.memory.Live(); n != 0 {
		w.violate(checker.Violation{Invariant: "memory", Text: fmt.Sprintf("%d slabs of %d bytes were never released", n, w.memory.LiveBytes())})
	}
	w.memory.Check()
	if n := w.net.Host(brokerID).Frames(); n != 0 {
		w.violate(checker.Violation{Invariant: "memory", Text: fmt.Sprintf("%d frames were never released", n)})
	}
}

// run goes on until done, at most for limit; false if it took longer.
func (w *world) run(limit time.Duration, done func() bool) bool {
	w.queue.RunUntil(w.queue.Now().Add(limit), func() bool {
		if w.queue.Fired() > eventsMax && !w.violated() {
			w.violate(checker.Violation{Invariant: "I11", Text: fmt.Sprintf("%d events and no end: something spins", w.queue.Fired())})
		}
		return w.violated() || done()
	})
	return done()
}

// eventsMax ends a run that spins in place.
const eventsMax = 50_000_000

func never() bool { return false }

// Options are what a run takes beside its seed and plan.
type Options struct {
	// Build makes the node; nil is the real one.
	Build Build
	// Echo gets the node's log as it comes; EchoClients adds a line for each answer.
	Echo        io.Writer
	EchoClients bool
	// Trace gets every entry of the trace, to find where two runs part.
	Trace io.Writer
	// NoLinear leaves porcupine out.
	NoLinear bool
}
