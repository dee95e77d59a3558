package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/broker"
	"weir/core/config"
	"weir/core/controller"
	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/group"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/quorum"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/txn"
	"weir/core/wal"
)

// drainTimeout is how long a shutdown waits for requests that are under way.
const drainTimeout = 20 * time.Second

// shutdownTimeout bounds all of a shutdown's waits for others together: those for new leaders, for requests and for uploads. With what
// follows them it stays below the 30 s that service managers commonly give a process before they kill it.
const shutdownTimeout = 22 * time.Second

// Options are what a node needs beside its environment. All are required unless a
// zero is named. All functions are called on the loop.
type Options struct {
	// Settings is the node's configuration.
	Settings *config.Settings
	// Config is the configuration that the node uses. Nil: Settings.Broker(). The
	// simulator sets sizes here that Settings would refuse.
	Config *config.Broker
	// Tuning overrides bounds that no configuration key names. Zero fields: the defaults.
	Tuning Tuning
	// Hostname is advertised for a listener that is bound to every address. With a name
	// that clients cannot resolve, they bootstrap and then fail.
	Hostname string
	// Ready is called once, when the broker serves, with the listeners as advertised.
	Ready func(advertised []config.Listener)
	// Failed is called at most once, when this incarnation cannot go on. Its process
	// must end: only a new incarnation may try again.
	Failed func(error)
}

// Tuning holds bounds of the node's parts that have no configuration key. Production
// leaves them zero. The simulator makes them small, so that what is rare in production
// happens in every run. Unit, default, maximum and risk are those of the options named
// beside each field.
type Tuning struct {
	SummaryEveryBytes  int64 // wal.Config
	SnapshotEntries    int64 // quorum.Options
	QueueBytes         int   // quorum.Options
	BacklogEntries     int   // quorum.Options
	RecordBytesMax     int   // controller.Options
	UploadsInFlightMax int   // stream.Options
	BlockBytes         int   // stream.Options
	OwnObjectBytes     int64 // stream.Options
	TailBytes          int64 // stream.Options
	CheckpointBytes    int   // stream.Options

	CheckpointInlineBytesMax int           // stream.Options
	CleanObjectBytes         int64         // stream.Options
	SweepGrace               time.Duration // controller.SweeperOptions.Grace
	SweepListInterval        time.Duration // controller.SweeperOptions.ListInterval
	SweepListPage            int           // controller.SweeperOptions.ListPage
	ProducerIDBlock          int64         // controller.Options
	ProducersMax             int           // partition.Options
	CleanBytesMin            int64         // coordinator.Options
	UncommittedOffsets       int64         // stream.Options.UncommittedOffsetsMax; the same on all nodes
	FirstEpoch               int16         // txn.Options
	FirstGeneration          int32         // group.Options
	MetadataLevel            int16         // the node is of an older release, which serves controller.MetadataFeature up to this level only

	Compaction stream.CompactionOptions // but what configuration keys say
}

// Node is one incarnation of a broker. Its methods are called by its world, once at
// a time, each call after the one before.
type Node struct {
	env       env.Env
	options   Options
	release   release
	config    *config.Broker
	loop      *task.Loop
	telemetry *telemetry.Registry
	store     *telemetry.StoreWatch

	gate         gate
	metadata     metadataLog
	unshipped    unshipped
	peers        *peers         // nil: there are no other nodes
	replica      *quorum.Quorum // takes messages of its peers while quorum is being opened
	quorum       *quorum.Quorum
	controller   *controller.Controller
	sessions     *controller.Sessions // nil without peers
	lease        lease
	handovers    handovers
	leavers      leavers
	moves        moves                // that clients asked for
	balancer     *controller.Balancer // nil without peers
	loads        loadReports
	adoptions    adoptions
	sweeper      *controller.Sweeper
	slotSweeper  *controller.SlotSweeper // nil: no log is in the object store
	engine       *stream.Engine
	log          *wal.Log
	partitions   *partition.Manager
	groups       *coordinator.Runtime
	groupOptions *group.Options
	transactions *txn.Coordinator
	broker       *broker.Broker
	epoch        metadata.BrokerEpoch
	incarnation  [16]byte
	listeners    []config.Listener      // as advertised
	ends         []metadata.RangeEnd    // of ranges in recovered logs, until they are taken over
	abandoned    []metadata.BrokerEpoch // whose logs are lost, and given up by this broker's administrator

	transactionRuntime *coordinator.Runtime
	coordinatorMemory  *coordinator.Memory

	begun      bool
	step       string   // of the start, while it runs
	progress   env.Time // when the recovery of a log at the start last got on; 0: none runs
	started    bool     // the start is over
	failed     bool
	ending     func() // set once Shutdown was called
	shutting   bool
	shutdownBy env.Time // until when a shutdown waits for others

	freeing   bool   // a proc gives up a reserve for the metadata
	reserving bool   // a proc makes the reserves again
	writing   bool   // and is at the disk
	written   func() // set by who waits until it is not
	lines     *telemetry.Limiter
}

// New returns a node that its first turn starts.
func New(e env.Env, o Options) *Node {
	n := &Node{env: e, options: o, config: o.Config, loop: task.NewLoop(e.Clock), telemetry: telemetry.New(e.Log, e.Metrics)}
	if n.config == nil {
		n.config = o.Settings.Broker()
	}
	n.release = releaseOf(&o.Tuning)
	n.lines = telemetry.NewLimiter(roomLineInterval)
	n.store = telemetry.WatchStore(e.Store, e.Clock, n.telemetry)
	n.env.Store = n.store
	n.gate.network = e.Network
	n.handovers.node = n
	n.leavers = leavers{}
	n.adoptions.known, n.adoptions.busy = map[metadata.BrokerEpoch]bool{}, map[metadata.BrokerEpoch]bool{}
	n.metadata = metadataLog{node: n, image: metadata.NewImage()}
	n.unshipped = unshipped{wait: !n.config.ShipAsync, streams: map[metadata.StreamID]uint64{}}
	return n
}

// Turn delivers events. The first one starts the node.
func (n *Node) Turn(events []env.Event) {
	if !n.begun {
		n.begun = true
		n.loop.Post(func() { n.loop.Go("start", n.start) })
	}
	n.loop.Turn(events)
}

// Abandon drops the node where it stands, as a crash does.
func (n *Node) Abandon() { n.loop.Abandon() }

// Image is the cluster's metadata as this node knows it, for audits.
func (n *Node) Image() *metadata.Image { return n.metadata.image }

// Voters is how many members of the metadata's quorum vote, as far as this node knows; 0: nothing yet. It is for audits.
func (n *Node) Voters() int {
	if n.quorum == nil {
		return 0
	}
	voters, _ := n.quorum.Members()
	return len(voters)
}

// Telemetry is the node's marks and metrics.
func (n *Node) Telemetry() *telemetry.Registry { return n.telemetry }

// LeadsQuorum reports whether this node leads the metadata's quorum, and how many members vote then, as far as it has applied.
func (n *Node) LeadsQuorum() (voters int, leads bool) {
	if n.quorum == nil || !n.quorum.Leads() {
		return 0, false
	}
	members, _ := n.quorum.Members()
	return len(members), true
}

// Epoch is the broker epoch of this incarnation; 0 before it is registered.
func (n *Node) Epoch() metadata.BrokerEpoch { return n.epoch }

// Controls reports whether this node leads the metadata's quorum, and so is the active controller.
func (n *Node) Controls() bool { return n.quorum != nil && n.quorum.Leads() }

// Starting names the step that the start is at; it is empty before and after.
func (n *Node) Starting() string { return n.step }

// Shutdown ends the node cleanly: it answers what is under way, closes the log,
// and calls done once nothing is in flight. It may be called outside of a turn;
// the next one begins it. During the start nothing is acknowledged, so a shutdown
// gives the start up as a crash would: what is in flight then, done does not wait for.
func (n *Node) Shutdown(done func()) {
	n.ending = done
	n.loop.Post(n.shutdown)
}

func (n *Node) shutdown() {
	if n.shutting || n.ending == nil {
		return
	}
	n.shutting = true
	if !n.started {
		n.failed = true // what the start still waits for finds that it is over
		n.telemetry.Info("the start is given up")
		n.ending()
		return
	}
	n.telemetry.Info("shutting down")
	n.shutdownBy = n.loop.Now().Add(shutdownTimeout)
	if n.failed {
		n.ending()
		return
	}
	drain := func() { n.broker.Drain(n.shutdownTimeLeft(drainTimeout), func() { n.loop.Go("shutdown", n.stop) }) }
	n.tellLeaving()
	if !n.leave(func() { n.linger(drain) }) {
		drain()
	}
}

// shutdownTimeLeft is how long one wait of a shutdown may take.
func (n *Node) shutdownTimeLeft(limit time.Duration) time.Duration {
	left := max(0, n.shutdownBy.Sub(n.loop.Now()))
	if left < limit {
		n.telemetry.Hit("node: a shutdown shortens a wait")
	}
	return min(limit, left)
}

// stop closes what start opened, in reverse.
func (n *Node) stop(p *task.Proc) {
	n.transactionRuntime.Close()
	if n.peers != nil {
		n.peers.calls.GiveUp(methodAddPartitions) // a Produce whose client has gone may hold its frame for the answer
	}
	n.groups.Close()
	n.partitions.Close()
	p.Await(n.partitions.Drained)
	if n.slotSweeper != nil {
		n.slotSweeper.Stop()
	}
	n.stopSweeper()
	n.awaitReserves(p)
	n.awaitUploads(p)
	p.Await(n.engine.Shutdown)
	if n.peers != nil {
		p.Await(n.quorum.Resign)
		p.Await(n.lease.leave)
	}
	p.Await(n.quorum.Close)
	if n.peers != nil {
		n.peers.close()
	}
	n.ending()
}

// fail ends the incarnation: its world ends the process.
func (n *Node) fail(err error) {
	if n.failed {
		return
	}
	n.failed, n.started = true, true
	if fenced := new(wal.FencedError); errors.As(err, &fenced) {
		err = fmt.Errorf("%w: %w", ErrFenced, err) // the log says so before the image does
	}
	n.telemetry.Error("this incarnation ends", slog.String("error", err.Error()))
	n.options.Failed(err)
	n.loop.Post(n.shutdown)
}

// failure is fail as a callback for the parts of the node.
func (n *Node) failure(part string) func(error) {
	return func(err error) { n.fail(fmt.Errorf("%s: %w", part, err)) }
}
