package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
	"weir/core/task"
	"weir/core/telemetry"
)

// EntryBytesMax is the largest entry that Propose takes.
const EntryBytesMax = 1 << 20

// Errors of Propose. But for ErrUnknown, the entry is not in the log, and will not be.
var (
	ErrTooLarge  = errors.New("quorum: the entry is empty or larger than 1 MiB")
	ErrBusy      = errors.New("quorum: too many proposals wait for the disk; try again later")
	ErrClosed    = errors.New("quorum: closed, or failed")
	ErrNotLeader = errors.New("quorum: this node does not lead, or no longer")
	// ErrUnknown: the node lost the leadership, and what became of the entry cannot be told.
	ErrUnknown = errors.New("quorum: the entry may be in the log or not")
)

// StateMachine is what the log is applied to. Its methods are called on the loop.
type StateMachine interface {
	// Apply takes one committed entry. Indexes grow; they leave out those of the log's own entries.
	// data is valid for ever and must not be changed. An error, for people, ends the replica: what
	// follows an entry that cannot be applied must not be applied either.
	Apply(index, term uint64, data []byte) error
	// AppendSnapshot appends the whole state, as of the last entry applied, in a deterministic
	// encoding. At most 4 GiB. It runs off the loop too, where it must change nothing: nothing is applied meanwhile, and
	// the loop goes on reading the state.
	AppendSnapshot(dst []byte) []byte
	// Restore replaces the state by a snapshot whose last entry is index. The snapshot is lent for
	// the call only. An error ends the start, and is for people.
	Restore(index uint64, snapshot []byte) error
}

// Options are what a Quorum needs. All are required unless a zero is named.
type Options struct {
	// Loop runs the quorum; all callbacks are called on it.
	Loop *task.Loop
	// Env gives the metadata disk (Meta), the object store, the clock and random numbers.
	// Blocks of the disk must divide 4 KiB.
	Env env.Env
	// Telemetry takes lines, marks and metrics. Nil: one that logs through Env.Log.
	Telemetry *telemetry.Registry
	// Node is the broker's node.id, not negative. The disk belongs to this node for ever:
	// Open and Rebuild fail with another one.
	Node int32
	// Machine applies committed entries and makes snapshots.
	Machine StateMachine
	// Failed is called at most once, after Open succeeded. From then on nothing is
	// acknowledged, and the incarnation must end.
	Failed func(error)

	// Peers carries messages to the other members; theirs are given to [Quorum.Receive]. With
	// Peers a node with an empty disk beside another's marker becomes a member that waits to be
	// added ([Quorum.ChangeMembers]), and does not found a cluster. Nil: there is one member.
	Peers Peers
	// Joins says that this node must not found a cluster: on an empty disk it waits until another
	// has. Only with Peers. A cluster founded by a node that is no voter would be one that the others
	// cannot find, since they ask the voters to let them in.
	Joins bool
	// Among says that Rebuild may be by a node whose disk has never shipped: there are several, and any of them may be first.
	Among bool
	// ElectionTimeout is how long the leader may be silent before the others elect another, and
	// how long it leads on without hearing a majority; at most twice as long passes until an
	// election. Zero: 1 s (controller.quorum.election.timeout.ms). Shorter than a round trip
	// with a write to the disk, there is never a leader.
	ElectionTimeout time.Duration
	// LeadershipChanged is called when this member begins or ceases to take proposals, but not
	// before Open is done. Nil: not called.
	LeadershipChanged func()

	// Shipping says whether the log is kept in the object store too (R19). Zero: ShipNever.
	Shipping Shipping
	// ShipInterval is the maximum time until an applied entry that nobody waits for is in
	// the object store. Zero: 3 s. Shorter costs more PUTs; longer loses more if the disk
	// is lost.
	ShipInterval time.Duration
	// Shipped is called with each index up to which the log is in the store, before the
	// waiters for that index are. Nil: not called.
	Shipped func(index uint64)

	// Full is called whenever a write finds the metadata disk full, at the start too. It
	// may free space that was reserved for this. The write is retried about a second
	// later. Nil: not called.
	Full func()

	// SnapshotBytes is how many bytes of log after a snapshot cause the next one. Zero:
	// 4 MiB. Maximum: 16 MiB. A start replays up to this much.
	SnapshotBytes int64
	// SnapshotEntries is the same in entries. Zero: 10,000.
	SnapshotEntries int64
	// QueueBytes bounds proposals that are not applied yet; above it Propose fails with
	// ErrBusy. Zero: 8 MiB. Maximum: 16 MiB. A single proposal is always accepted.
	QueueBytes int
	// QueueEntries is the same in proposals. Zero: 10,000.
	QueueEntries int
	// BacklogBytes bounds the log since the newest snapshot, of which none is written while
	// the object store does not take the log; above it Backlogged reports true. Zero: 64 MiB.
	// It is held in memory. Less than four times SnapshotBytes refuses changes in good times.
	BacklogBytes int64
	// BacklogEntries bounds the entries that are not in the object store, and those who wait for
	// one, in the same way. Zero: 100,000.
	BacklogEntries int
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

func (o Options) resolve() (Options, error) {
	if o.Node < 0 {
		return o, fmt.Errorf("open the quorum: node id %d is negative", o.Node)
	}
	if n := o.Env.Meta.BlockBytes(); n <= 0 || blockBytes%n != 0 {
		return o, fmt.Errorf("open the quorum: the metadata disk's blocks of %d bytes do not divide %d", n, blockBytes)
	}
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(o.Env.Log, o.Env.Metrics)
	}
	o.ElectionTimeout = max(orDefault(o.ElectionTimeout, time.Second), electionTicks)
	o.ShipInterval = orDefault(o.ShipInterval, 3*time.Second)
	o.SnapshotBytes = min(orDefault(o.SnapshotBytes, 4<<20), 16<<20)
	o.SnapshotEntries = orDefault(o.SnapshotEntries, 10_000)
	o.QueueBytes = min(orDefault(o.QueueBytes, 8<<20), 16<<20)
	o.QueueEntries = orDefault(o.QueueEntries, 10_000)
	o.BacklogBytes = orDefault(o.BacklogBytes, 64<<20)
	o.BacklogEntries = orDefault(o.BacklogEntries, 100_000)
	return o, nil
}

// Quorum is one node's replica of the log. Its methods are called on the loop.
type Quorum struct {
	o       Options
	id      MemberID
	cluster clusterID
	node    *raft.RawNode
	store   *storage
	log     segmentLog
	err     error // why nothing more happens
	opened  func(error)
	founded bool // by this incarnation
	closing func()
	busy    int // procs at work on the disk

	leads    bool   // as raft says
	leading  bool   // leads, and everything committed before is applied: proposals are taken
	term     uint64 // in which it leads, or led last
	leader   uint64 // 0: unknown
	applied  uint64
	holds    int               // states that are being encoded: nothing is applied meanwhile
	held     []*raftpb.Message // what was to be applied since
	appended uint64            // index of the newest entry that raft appended
	election election
	change   *pendingChange
	contacts map[uint64]contact // of a leader; lookups only
	fetch    fetch
	confirm  confirmations
	resigned func() // waits for the end of the leadership

	proposals []proposal // proposed and not yet applied, in order
	bytes     int        // of them
	nudge     task.Timer // a turn, for proposals made after this turn's flush

	snapshots snapshotState
	ship      shipper
	metrics   metrics
	lines     *telemetry.Limiter // about a full disk
}

// proposal waits for its entry: entries of one term are applied in the order in which its leader
// proposed them.
type proposal struct {
	term  uint64
	bytes int
	began env.Time
	done  func(uint64, error)
}

type metrics struct {
	bytes, groups, snapshots                env.Counter
	shipments, shippedSnapshots, superseded env.Counter
	latency, shipLatency                    env.Histogram
	applied, shipped, shippedAt, roomWaits  env.Gauge
	elections                               env.Counter
	leader, snapshotBytes                   env.Gauge
}

func newMetrics(t *telemetry.Registry) metrics {
	return metrics{
		bytes:         t.Counter("weir_quorum_written_bytes_total", "bytes written to the quorum's log in groups, padding included"),
		groups:        t.Counter("weir_quorum_groups_total", "groups written to the quorum's log"),
		snapshots:     t.Counter("weir_quorum_snapshots_total", "snapshots of the metadata written"),
		snapshotBytes: t.Gauge("weir_quorum_snapshot_bytes", "size of the newest snapshot of the metadata that this process wrote"),
		latency:       t.Histogram("weir_quorum_commit_nanoseconds", "time from the proposal of a record to its application"),
		applied:       t.Gauge("weir_quorum_applied_index", "index of the last entry applied"),

		elections: t.Counter("weir_quorum_elections_total", "elections that this node began since it heard no leader of the metadata's quorum"),
		leader:    t.Gauge("weir_quorum_leader", "1 while this node leads the metadata's quorum, else 0"),

		roomWaits: t.Gauge("weir_quorum_room_waits", "1 while the metadata log waits for room on its disk, else 0"),

		shipments:        t.Counter("weir_quorum_shipments_total", "pieces of the log put into the object store"),
		shippedSnapshots: t.Counter("weir_quorum_shipped_snapshots_total", "snapshots put into the object store"),
		superseded:       t.Counter("weir_quorum_superseded_total", "1 once another process goes on with a copy of this disk: this one ends"),
		shipLatency:      t.Histogram("weir_quorum_ship_nanoseconds", "time from the start of a shipment until it counts"),
		shipped:          t.Gauge("weir_quorum_shipped_index", "index of the last entry that is in the object store"),
		shippedAt:        t.Gauge("weir_quorum_shipped_timestamp_ms", "wall clock at the last shipment that succeeded"),
	}
}

// Open starts the node's replica from its disk, or founds a cluster if the disk is empty (R18).
// done receives it once it leads and everything committed is applied to the machine, and proposals may
// follow at once; or once it follows a leader. Founding waits for the object store for ever; a start from a disk with a log does
// not need it. Errors are for people, apart from *CorruptError and *VersionError; after one nothing
// is open, and the machine's state is of no use.
//
// The Quorum that is returned takes messages of other members ([Quorum.Receive]) before done was called, and
// nothing else.
func Open(o Options, done func(*Quorum, error)) *Quorum {
	o, err := o.resolve()
	if err != nil {
		done(nil, err)
		return nil
	}
	q := &Quorum{o: o, id: memberID(o.Node, 0), metrics: newMetrics(o.Telemetry), lines: telemetry.NewLimiter(roomLineInterval)}
	q.opened = func(err error) {
		q.opened = nil
		if err != nil {
			done(nil, err)
			return
		}
		done(q, nil)
	}
	o.Loop.Go("open quorum", func(p *task.Proc) {
		if err := q.start(files{p, o.Env}); err != nil {
			q.fail(err)
		}
	})
	return q
}

// start reads the disk until it is known to be the newest, then leads. On a full disk it waits for room.
func (q *Quorum) start(f files) error {
	for {
		again, err := q.tryStart(f)
		switch {
		case errors.Is(err, env.ErrDiskFull):
			q.noRoom(err)
			f.proc.Sleep(fullRetryAfter)
		case err != nil || !again:
			q.metrics.roomWaits.Set(0)
			return err
		}
	}
}

// tryStart begins from what the disk holds. It reports whether the disk was replaced by what was
// shipped, so that all begins again.
func (q *Quorum) tryStart(f files) (again bool, err error) {
	list, err := f.list()
	if err != nil {
		return false, err
	}
	inv := takeInventory(list)
	if inv.restoring {
		return true, q.resumeRestoring(f)
	}
	founded := len(inv.snapshots) == 0
	if founded {
		if inv, err = q.found(f, inv); err != nil {
			return false, err
		}
	}
	r := &recovery{files: f, node: q.o.Node}
	if err := r.run(inv, q.o.Machine.Restore); err != nil {
		return false, err
	}
	if r.torn {
		q.o.Telemetry.Hit("quorum: torn tail")
	}
	q.cluster, q.store, q.applied, q.id = r.snapshot.cluster, r.store, r.snapshot.index, r.snapshot.member
	q.store.snapshot = q.offerSnapshot
	q.prepareShipping(r.shipped, r.snapshot.term)
	if q.startsAlone() {
		if again, err := q.syncWithStore(f); err != nil || again {
			return again, err
		}
	}
	q.log.marks, q.log.sequence, q.log.first = r.marks, r.sequence, r.snapshot.segment
	for _, e := range q.store.entries {
		q.snapshots.bytes += int64(recordBytes(e))
	}
	if err := q.clean(f, inv, r.snapshot); err != nil { // first, since it makes room
		return false, err
	}
	if err := q.newSegment(f); err != nil {
		return false, err
	}
	q.founded = founded
	return false, q.run()
}

// startsAlone reports whether this disk says that its member decides alone. Only then may it be compared with the store: a
// member among others may lack what they shipped, and the leader brings it.
func (q *Quorum) startsAlone() bool {
	return q.store.members.single(q.id) && !slices.ContainsFunc(q.store.entries, func(e *raftpb.Entry) bool { return e.GetType() != raftpb.EntryNormal })
}

// run starts raft. A single voter campaigns at once: it needs to hear from nobody.
func (q *Quorum) run() error {
	if q.store.members.others(q.id) && q.o.Peers == nil {
		return fmt.Errorf("the log names voters %v and learners %v, but this node is to run alone", q.store.members.voters, q.store.members.learners)
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID: uint64(q.id), ElectionTick: electionTicks, HeartbeatTick: 1, PreVote: true, CheckQuorum: true, StepDownOnRemoval: true,
		Storage: q.store, Applied: q.applied, AsyncStorageWrites: true, DisableProposalForwarding: true,
		MaxSizePerMsg: appendBytesMax, MaxInflightMsgs: 256, Logger: logger{q.o.Telemetry},
	})
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	q.node, q.appended = node, q.store.last()
	q.o.Loop.OnTurnEnd(q.flush)
	q.pump() // changes of the members that are known to be committed
	if q.err == nil && q.store.members.single(q.id) {
		if err := node.Campaign(); err != nil {
			return fmt.Errorf("campaign: %w", err)
		}
	}
	q.pump()
	return nil
}

// ClusterID is the cluster's identity, from its marker: 22 characters of base64url.
func (q *Quorum) ClusterID() string { return q.cluster.String() }

// Cluster is [Quorum.ClusterID] as bytes; zeros before it is known.
func (q *Quorum) Cluster() [16]byte { return q.cluster }

// Applied is the index of the last entry that was applied.
func (q *Quorum) Applied() uint64 { return q.applied }

// Term is the term in which this node leads.
func (q *Quorum) Term() uint64 { return q.term }

// Propose appends an entry of 1 to EntryBytesMax bytes to the log. done runs once, in a later step
// of the loop: right after Machine.Apply of the entry, which is durable then, or with ErrTooLarge,
// ErrBusy, ErrNotLeader or ErrClosed, and then the entry is not in the log; or with ErrUnknown. A
// member that loses the leadership learns what became of its proposals from the leader after it, which may
// take as long as there is none. If the node fails or closes first, done never runs, and the entry may
// or may not be in the log. data is the caller's again when Propose returns.
func (q *Quorum) Propose(data []byte, done func(index uint64, err error)) {
	if err := q.refuse(data); err != nil {
		q.o.Loop.Post(func() { done(0, err) })
		return
	}
	if err := q.node.Propose(data); err != nil {
		q.o.Loop.Post(func() { done(0, fmt.Errorf("%w (%w)", ErrBusy, err)) })
		return
	}
	q.proposals = append(q.proposals, proposal{q.term, len(data), q.o.Loop.Now(), done})
	q.bytes += len(data)
	q.wake()
}

// wake makes sure that a turn ends, and so flushes, after this one.
func (q *Quorum) wake() {
	if !q.nudge.Pending() {
		q.o.Loop.Reset(&q.nudge, 0, func() {})
	}
}

// notLeader is why a member that does not lead takes no proposals.
func (q *Quorum) notLeader() error {
	if q.err != nil || q.closing != nil {
		return ErrClosed
	}
	return ErrNotLeader
}

// Backlogged reports whether the log waits for the object store, or for room for a snapshot, with so
// much that nothing should be proposed now that can be proposed later. [Quorum.Propose] does not
// look: some proposals end the wait.
func (q *Quorum) Backlogged() bool {
	unshipped := q.applied - min(q.applied, max(q.Shipped(), q.store.index))
	return q.snapshots.bytes > q.o.BacklogBytes || unshipped > uint64(q.o.BacklogEntries) || len(q.ship.waiters) > q.o.BacklogEntries
}

func (q *Quorum) refuse(data []byte) error {
	switch {
	case q.err != nil || q.closing != nil || !q.leading:
		return q.notLeader()
	case len(data) == 0 || len(data) > EntryBytesMax:
		return ErrTooLarge
	case len(q.proposals) >= q.o.QueueEntries || len(q.proposals) > 0 && q.bytes+len(data) > q.o.QueueBytes:
		return ErrBusy
	}
	return nil
}

// flush runs at the end of every turn, when everything that the turn's events proposed has gathered.
func (q *Quorum) flush() {
	if q.err == nil {
		q.o.Loop.Stop(&q.nudge)
		q.askConfirmation()
		q.pump()
		q.answerConfirmed()
		q.keepTime()
		q.maintain()
		q.writeGroup()
		q.stepShip()
	}
	q.stepClose()
}

// pump moves everything out of raft that is ready, until nothing more is.
func (q *Quorum) pump() {
	for q.err == nil && q.node != nil && (q.node.HasReady() || q.settle()) {
		if !q.node.HasReady() {
			continue
		}
		ready := q.node.Ready()
		if s := ready.SoftState; s != nil {
			q.roleChanged(s)
		}
		for _, m := range ready.Messages {
			if q.dispatch(m); q.err != nil {
				return
			}
		}
		q.confirmed(ready.ReadStates)
	}
}

func (q *Quorum) dispatch(m *raftpb.Message) {
	switch m.GetType() {
	case raftpb.MsgStorageAppend:
		q.noteAppended(m)
		q.log.queue = append(q.log.queue, m)
	case raftpb.MsgStorageApply:
		q.applyAll(m)
	default:
		q.send(m)
	}
}

// noteAppended follows where raft's log ends.
func (q *Quorum) noteAppended(m *raftpb.Message) {
	if n := len(m.GetEntries()); n > 0 {
		q.appended = m.GetEntries()[n-1].GetIndex()
	} else if m.GetSnapshot() != nil {
		q.appended = max(q.appended, m.GetSnapshot().GetMetadata().GetIndex())
	}
}

// fail ends the replica: nothing is acknowledged after it, nothing is tried again.
func (q *Quorum) fail(err error) {
	if q.err != nil {
		return
	}
	q.err = err
	q.proposals, q.change, q.log.queue, q.ship.waiters = nil, nil, nil, nil
	q.leading = false
	q.confirm.waiting = nil
	q.stopTimers()
	if q.log.stalled {
		q.log.writing, q.log.stalled = false, false
		q.log.release()
	}
	switch {
	case q.opened != nil:
		q.shut()
		q.opened(err)
	case q.closing != nil:
		q.o.Telemetry.Error("the quorum failed while it was closed", slog.String("error", err.Error()))
	default:
		q.o.Failed(err)
	}
}

func (q *Quorum) stopTimers() {
	q.o.Loop.Stop(&q.nudge)
	q.o.Loop.Stop(&q.log.retry)
	q.o.Loop.Stop(&q.snapshots.noRoom)
	q.o.Loop.Stop(&q.ship.timer)
	q.o.Loop.Stop(&q.election.tick)
	q.o.Loop.Stop(&q.election.timeout)
}

// Close makes what was proposed durable, and a single member's applied; it marks the log as whole, and closes it; Propose
// refuses from now on, and the others elect another leader. done runs once nothing is in flight on the disk, also if the quorum failed.
// With a full disk it does not wait for room.
func (q *Quorum) Close(done func()) {
	q.closing = done
	q.o.Loop.Post(q.flush)
}

// stepClose closes once nothing is left to do.
func (q *Quorum) stepClose() {
	l := &q.log
	if q.closing == nil || q.busy > 0 || l.writing && !l.stalled {
		return
	}
	if q.err == nil && !l.stalled {
		if len(l.queue) > 0 {
			return
		}
		if !l.whole {
			q.submit()
			return
		}
	}
	done := q.closing
	q.closing = nil
	q.stopTimers()
	q.shut()
	if q.err == nil {
		q.err = ErrClosed
	}
	done()
}
