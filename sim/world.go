package sim

import (
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"weir/bill"
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

// NodeOptions are what a world gives to each incarnation of a node.
type NodeOptions struct {
	// Config is the node's configuration, from the plan.
	Config *config.Broker
	// Tuning is the plan's bounds that no configuration key names.
	Tuning node.Tuning
	// Ready is called once, when the node serves, with its address.
	Ready func(address string)
	// Failed is called at most once, when the incarnation cannot go on; the world crashes
	// the process and starts it again.
	Failed func(error)
}

// Build makes a node in an environment. It is not started: its first turn does that.
type Build func(e env.Env, o NodeOptions) machine.Node

// world is one run's world: the brokers' machines, the network, the object store,
// and the clients.
type world struct {
	options    Options
	plan       *plan.Plan
	strikes    []plan.Strike // the plan's faults
	queue      *event.Queue
	brokers    []*broker // in order of their machines, numbered from 1
	store      *store.Store
	deadSlots  map[string]deadSlot // by key; see watchSlots
	sharedWAL  *disk.Disk          // nil: each machine has its own
	net        *network.Network
	cluster    *client.Cluster
	operated   []*client.Topic // those of operators
	broken     []*client.Topic // those of breakers
	doomed     []*client.Topic // those that transactors delete
	piped      []*client.Topic // those that pipes write to, one for each group
	members    []*client.Member
	committers []*client.Committer
	kept       []*client.Topic // those of keepers
	keepers    []*client.Keeper
	operators  []*client.Operator

	violations []checker.Violation
	failures   int
	restarts   int
	faultCount int
	healed     bool
	copies     copies
	effects    effects
	losses     losses
	upgrades   upgrades
	draws      event.Stream
	workload   bill.Account // of the store, when the workload was over
}

// clientsMax bounds the numbers of clients, and so the network's links.
const clientsMax = 64

func newWorld(seed uint64, p *plan.Plan, options Options) *world {
	strikes, err := p.Strikes()
	if err != nil {
		panic(err) // plan.Parse and the swarm make none that the simulator cannot do
	}
	w := &world{options: options, plan: p, strikes: strikes, queue: event.NewQueue(seed)}
	w.store = store.New(w.queue)
	w.watchSlots()
	w.net = network.New(w.queue, clientsMax)
	w.draws = w.queue.Stream("world", 0)
	w.cluster = &client.Cluster{Queue: w.queue, Net: w.net, Fail: w.violate}
	for _, spec := range p.Machines() {
		w.addBroker(spec)
	}
	w.setVoters()
	w.cluster.Several = p.Config.Session > 0 && len(w.brokers) > 1
	if p.Config.LostHow == lostDeaf {
		w.cluster.MarkersMore = deafMarkers
	}
	for i := range p.Workloads {
		w.net.Place(int(p.Workloads[i].Client), p.Workloads[i].Zone)
	}
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

// boot starts every broker that should run and does not.
func (w *world) boot() {
	for _, b := range w.brokers {
		if b.wanted && !b.machine.Running() {
			b.boot()
		}
	}
}

// ready reports whether every broker serves.
func (w *world) ready() bool {
	for _, b := range w.brokers {
		if b.wanted && !b.ready {
			return false
		}
	}
	return true
}

// crash ends every incarnation at once.
func (w *world) crash(power bool) {
	for _, b := range w.brokers {
		b.crash(power)
	}
}

// lastError is what a broker failed with last, or nil.
func (w *world) lastError() (err error) {
	for _, b := range w.brokers {
		if b.lastError != nil {
			err = b.lastError
		}
	}
	return err
}

// run goes on until done, at most for limit; false if it took longer.
func (w *world) run(limit time.Duration, done func() bool) bool {
	w.queue.RunUntil(w.queue.Now().Add(limit), func() bool {
		w.effects.look(w)
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

// Options are a run's options beside its seed and plan.
type Options struct {
	// Build makes the node. Nil: the real one.
	Build Build
	// Echo gets the brokers' log as it is written. Nil: nowhere.
	Echo io.Writer
	// EchoClients adds a line to Echo for each response that a client receives.
	EchoClients bool
	// Trace gets every entry of the trace, to find where two runs diverge. Nil: nowhere.
	Trace io.Writer
	// NoLinear skips the linearizability check by porcupine.
	NoLinear bool
}
