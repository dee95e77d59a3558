package sim

import (
	"fmt"
	"time"

	"weir/core/config"
	"weir/core/env"
	"weir/sim/checker"
	"weir/sim/disk"
	"weir/sim/event"
	"weir/sim/machine"
	"weir/sim/plan"
)

// broker is one machine of the cluster: its disks, its place in the network, and the
// node that runs there, through all of the node's incarnations. Two machines may run
// the same node id: a clone of a disk keeps the id of the broker that wrote it.
type broker struct {
	*world
	zone    int64
	drift   int64 // of its clock where no fault says otherwise, parts per million
	machine *machine.Machine
	wal     *disk.Disk
	port    *disk.Port // to wal, if that is shared
	meta    *disk.Disk
	memory  *machine.Memory
	metrics machine.Metrics
	config  *config.Broker

	ready      bool
	ended      func() // what a shutdown that is under way tells; nil: there is none
	served     bool   // was ready since its disks were exchanged
	wanted     bool   // a supervisor starts it again after it ended
	gone       bool   // the cluster has lost it for good
	real       bool   // runs the real node, not a stand-in
	rebuilding bool   // the metadata disk was lost: recover-cluster runs before the broker
	release    int64  // which it runs, by the highest level of weir.metadata that it serves; 0: the newest
	downgraded bool   // it is to be started as a release that does not serve the level in force
	lostLog    bool   // its log disk was lost, and it has not served since
	lastError  error
	draws      event.Stream
}

// addBroker adds a machine, with empty disks and not started, as the plan describes it.
func (w *world) addBroker(spec plan.Broker) *broker {
	id := uint64(len(w.brokers) + 1)
	c := &w.plan.Config
	block := int(c.BlockBytes)
	if block == 0 {
		block = 4096
	}
	b := &broker{world: w, zone: spec.Zone, wanted: spec.Start == 0, release: spec.Release, machine: machine.New(w.queue, id)}
	b.drift = c.DriftPPM + spec.DriftPPM
	b.machine.Clock().DriftPPM = b.drift
	b.machine.Slow = c.ComputeSlow
	if c.TurnCost > 0 {
		b.machine.TurnCost = c.TurnCost
	}
	b.machine.Log.Echo = w.options.Echo
	b.wal, b.meta = w.newDisks(id, block)
	if c.WALShared != 0 && c.Session > 0 {
		if w.sharedWAL == nil {
			w.sharedWAL = disk.New(w.queue, 0, "wal", disk.Options{BlockBytes: block, Volume: disk.NewVolume(0, c.WALDiskBytes)})
		}
		b.wal, b.port = w.sharedWAL, w.sharedWAL.Port(id)
	}
	b.wal.OnPrepared = b.checkReuse
	b.config = brokerConfig(c, hostname(id), int32(id))
	if spec.NodeID != 0 {
		b.config.NodeID = int32(spec.NodeID)
	}
	host := w.net.Host(id)
	host.FrameBudget, host.Zone = b.config.QueuedMaxRequestBytes, spec.Zone
	b.draws = w.queue.Stream("world", id)
	w.brokers = append(w.brokers, b)
	return b
}

// newDisks makes the disks of a machine, on one volume if the plan says so.
func (w *world) newDisks(id uint64, block int) (wal, meta *disk.Disk) {
	c := &w.plan.Config
	own := disk.NewVolume(id<<1, c.WALDiskBytes)
	other := disk.NewVolume(id<<1|1, 0)
	if c.VolumeBytes > 0 {
		own = disk.NewVolume(id<<1, c.VolumeBytes)
		other = own
	}
	return disk.New(w.queue, id, "wal", disk.Options{BlockBytes: block, Volume: own}),
		disk.New(w.queue, id, "meta", disk.Options{BlockBytes: block, Volume: other})
}

// hostname is under what name clients reach a machine.
func hostname(id uint64) string {
	if id == 1 {
		return "broker"
	}
	return fmt.Sprintf("broker-%d", id)
}

func (b *broker) attachWAL(box *machine.Box) env.Disk {
	if b.port != nil {
		return b.port.Attach(box)
	}
	return b.wal.Attach(box)
}

func (b *broker) crashWAL(power bool) {
	if b.port != nil {
		b.port.Crash(power)
		return
	}
	b.wal.Crash(power)
}

// walFaults are those of the machine's way to its log.
func (b *broker) walFaults() *disk.Faults {
	if b.port != nil {
		return &b.port.Faults
	}
	return &b.wal.Faults
}

// boot starts the machine's next incarnation.
func (b *broker) boot() {
	if b.awaitsRebuild() {
		b.bootAfter(rebuildPoll)
		return
	}
	b.ready = false
	box := b.machine.Boot()
	kind := b.plan.Config.WALObject
	b.config.WALObject = kind == 1 || kind == 2 && b.machine.Incarnation()%2 == 1
	b.memory = &machine.Memory{}
	e := env.Env{
		Clock: b.machine.Clock(), WAL: b.attachWAL(box), Meta: b.meta.Attach(box),
		Network: b.net.Host(b.machine.ID).Attach(box), Store: b.store.Attach(box), Rand: b.machine.Rand(),
		Compute: b.machine.Computer(), Memory: b.memory, Log: b.machine.Log, Metrics: &b.metrics,
	}
	if b.rebuilding {
		b.machine.Start(b.recoverCluster(e, box))
		return
	}
	bounds := tuning(&b.plan.Config)
	if bounds.MetadataLevel = int16(b.release); b.release != 0 {
		b.queue.Hit("world: a broker ran as an older release")
	}
	built := b.options.Build(e, NodeOptions{
		Config: b.config, Tuning: bounds,
		Ready: func(address string) {
			if !box.Dead() {
				if b.downgraded && b.release != 0 {
					b.violate(checker.Violation{Invariant: "level", Text: fmt.Sprintf("broker %d serves as a release that does not know the level in force", b.config.NodeID)})
				}
				b.ready, b.served = true, true
				b.found()
				b.cluster.Serves(b.machine.ID, address)
			}
		},
		Failed: func(err error) {
			if !box.Dead() {
				b.failed(err)
			}
		},
	})
	if _, real := coreOf(built); real {
		b.real = true
	}
	b.machine.Start(built)
}

// failed is called by a node whose incarnation cannot go on: the process ends, and its
// supervisor starts it again.
func (b *broker) failed(err error) {
	b.failures++
	b.lastError = err
	b.endsOlder(err)
	b.queue.Hit("world: the node gave up")
	b.queue.Note(event.KindNode, b.machine.ID, 3, uint64(b.failures), 0)
	// Not from within its own turn.
	incarnation := b.machine.Incarnation()
	b.queue.Call(0, func() {
		if b.machine.Incarnation() == incarnation && b.machine.Running() {
			ended := b.ended
			b.crash(false)
			if ended != nil { // it failed while it shut down, as one does whose epoch others ended
				ended()
				return
			}
			b.bootAfter(b.draws.Duration(50*time.Millisecond, 500*time.Millisecond))
		}
	})
}

// crash ends the incarnation: by power failure, or by the death of its process.
func (b *broker) crash(power bool) {
	if !b.machine.Running() {
		if power {
			b.crashWAL(true)
			b.meta.Crash(true)
		}
		return
	}
	b.ready, b.ended = false, nil
	box := b.machine.Box()
	b.takeMarks()
	b.machine.Crash()
	b.crashWAL(power)
	b.meta.Crash(power)
	b.store.Crash(box)
	b.net.Host(b.machine.ID).Crash(power && b.draws.PerMille(500))
}

// bootAfter starts the machine's node unless something else has by then.
func (b *broker) bootAfter(d time.Duration) {
	b.restarts++
	b.queue.Call(d, func() {
		if (b.wanted || b.zombie()) && !b.machine.Running() {
			b.boot()
		}
	})
}

// shutdown ends the incarnation cleanly, and checks that it left nothing behind; a
// start that is given up, or a read of another broker's log, may leave what it has in flight.
func (b *broker) shutdown(done func()) {
	incarnation, served, told := b.machine.Incarnation(), b.ready, b.queue.Now()
	b.ended = done
	b.machine.Node().Shutdown(func() {
		if took := b.queue.Now().Sub(told); took > shutdownLimit {
			b.violate(checker.Violation{Invariant: "latency", Text: fmt.Sprintf("a clean shutdown took %v, more than %v", took, shutdownLimit)})
		}
		// Not from within its own turn.
		b.queue.Call(0, func() {
			if b.machine.Incarnation() != incarnation || !b.machine.Running() {
				return
			}
			if n, ok := coreOf(b.machine.Node()); served && !(ok && n.Adopts()) {
				b.checkLeaks()
			}
			b.crash(false)
			done()
		})
	})
	b.machine.Box().Deliver(nudge{})
}

// nudge gives the node a turn.
type nudge struct{}

func (nudge) Deliver() {}

func (b *broker) checkLeaks() {
	if n := b.memory.Live(); n != 0 {
		b.violate(checker.Violation{Invariant: "memory", Text: fmt.Sprintf("%d slabs of %d bytes were never released", n, b.memory.LiveBytes())})
	}
	b.memory.Check()
	if n := b.net.Host(b.machine.ID).Frames(); n != 0 {
		b.violate(checker.Violation{Invariant: "memory", Text: fmt.Sprintf("%d frames were never released", n)})
	}
}

// takeMarks adds the marks that the running node has hit, and names the step of its
// start.
func (b *broker) takeMarks() {
	n, ok := coreOf(b.machine.Node())
	if !ok {
		return
	}
	for _, m := range n.Telemetry().Marks() {
		b.queue.Marks[m.Name] += m.Hits
	}
	if step := n.Starting(); step != "" {
		b.queue.Hit("world: the node ended while it was to " + step)
	}
}
