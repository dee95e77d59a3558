package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/core/broker"
	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/partition"
	"weir/core/quorum"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wal"
)

// start brings the node up, step by step; the first error ends the incarnation.
func (n *Node) start(p *task.Proc) {
	steps := []struct {
		name string
		run  func(*task.Proc) error
	}{
		{"listen for other nodes", n.openPeers},
		{"open the quorum's log", n.openQuorum},
		{"found the cluster", n.foundCluster},
		{"catch up with the cluster", n.catchUp},
		{"look for write-ahead logs", n.checkLogs},
		{"register the broker", n.register},
		{"give lost write-ahead logs up", n.forgoLogs},
		{"recover the write-ahead log", n.recoverLogs},
		{"create the write-ahead log", n.createLog},
		{"take over ranges", n.takeOver},
		{"open partitions", n.openPartitions},
		{"listen", n.listen},
		{"tell where it listens", n.advertise},
	}
	for _, step := range steps {
		n.step = step.name
		if err := step.run(p); err != nil {
			n.fail(fmt.Errorf("%s: %w", step.name, err))
		}
		if n.failed {
			return
		}
	}
	n.step, n.started = "", true
	n.adopt()
	n.telemetry.Info("ready", slog.Int64("epoch", int64(n.epoch)), slog.String("cluster", n.metadata.image.ClusterID()))
	n.options.Ready(n.listeners)
}

// listen binds every listener. It comes last: until then clients are refused, and
// try again, instead of waiting on a connection that a failed start would cut.
func (n *Node) listen(p *task.Proc) error {
	var bound []config.Listener
	for _, l := range n.config.Listeners {
		op := &env.Listen{Name: l.Name, Address: l.Address(), Handler: &n.gate, Codec: n.codec()}
		p.Await(func(wake func()) {
			op.Done = func(*env.Listen) { wake() }
			n.env.Network.Listen(op)
		})
		if op.Err != nil {
			return fmt.Errorf("listener %s: %w; free the address, or change the key listeners", l, op.Err)
		}
		at, err := config.ParseListeners(l.Name + "://" + op.Bound)
		if err != nil {
			return err
		}
		n.telemetry.Info("listening", slog.String("listener", l.Name), slog.String("address", op.Bound))
		bound = append(bound, at...)
	}
	n.listeners = n.config.Advertise(bound, n.options.Hostname)
	return nil
}

func (n *Node) codec() env.Codec {
	return &broker.Codec{ProduceBytesMax: int(n.config.SocketRequestMaxBytes)}
}

func (n *Node) openQuorum(p *task.Proc) (err error) {
	o := n.quorumOptions()
	p.Await(func(wake func()) {
		n.replica = quorum.Open(o, func(q *quorum.Quorum, openErr error) {
			n.quorum, err = q, openErr
			wake()
		})
	})
	if err != nil {
		return err
	}
	if n.peers != nil {
		n.peers.mesh.SetCluster(n.quorum.Cluster())
	}
	n.controller = controller.New(controller.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Image: n.metadata.image, Proposer: &n.metadata,
		Broker: metadata.BrokerID(n.config.NodeID), Config: n.config, Settings: n.options.Settings,
		RecordBytesMax: n.options.Tuning.RecordBytesMax, ProducerIDBlock: n.options.Tuning.ProducerIDBlock,
		Features: n.release.features(), Others: n.askFeatures,
	})
	if n.peers != nil {
		n.sessions = controller.NewSessions(controller.SessionsOptions{
			Loop: n.loop, Telemetry: n.telemetry, Image: n.metadata.image, Proposer: &n.metadata, Config: &n.config.Cluster, Confirm: n.quorum.ConfirmLeadership,
			UncommittedOffsetsMax: n.options.Tuning.UncommittedOffsets,
		})
		n.balancer = controller.NewBalancer(controller.BalancerOptions{
			Loop: n.loop, Telemetry: n.telemetry, Image: n.metadata.image, Alive: func() []*metadata.Broker { return n.leavers.but(n.sessions.Alive()) }, Move: n.Move,
			Interval: n.config.Cluster.BalanceInterval, ImbalancePercent: n.config.Cluster.ImbalancePercent,
			LoadFloor: n.config.Cluster.BalanceLoadFloor, MovesMax: n.config.Cluster.BalanceMoves,
		})
		n.leadershipChanged()
	}
	return nil
}

func (n *Node) quorumOptions() quorum.Options {
	o := quorum.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Node: n.config.NodeID,
		Machine: &n.metadata, Failed: n.failure("the quorum's log"), SnapshotEntries: n.options.Tuning.SnapshotEntries, QueueBytes: n.options.Tuning.QueueBytes,
		BacklogEntries: n.options.Tuning.BacklogEntries,
		Full:           n.metadataFull, Shipping: n.shipping(), ShipInterval: n.config.ShipInterval, Shipped: n.shippedTo,
	}
	if n.peers != nil {
		o.Peers, o.ElectionTimeout, o.LeadershipChanged = n.peers, n.config.Cluster.ElectionTimeout, n.leadershipChanged
		o.Joins = !n.peers.mayFound()
	}
	return o
}

// leadershipChanged begins what only the leader of the quorum does, or ends it.
func (n *Node) leadershipChanged() {
	switch {
	case n.peers == nil || n.quorum == nil || n.sessions == nil:
	case n.quorum.Leads():
		n.peers.tend()
		n.sessions.Lead(n.quorum.Term())
		n.balancer.Start()
		n.startSweeper()
	default:
		n.balancer.Stop()
		n.sessions.Resign()
		n.stopSweeper()
	}
}

func (n *Node) startSweeper() {
	if n.engine == nil || n.broker == nil || n.peers != nil && !n.quorum.Leads() {
		return
	}
	n.stopSweeper()
	cluster := n.quorum.ClusterID()
	n.sweeper = controller.NewSweeper(controller.SweeperOptions{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Image: n.metadata.image, Proposer: &n.metadata,
		Prefix: object.Prefix(cluster), KeyOf: func(id metadata.ObjectID) string { return object.Key(cluster, uint64(id)) },
		Shipped: n.metadata.Shipped, Floor: func() (metadata.BrokerEpoch, metadata.ObjectID) { return n.epoch, n.engine.ObjectFloor() },
		Grace: n.options.Tuning.SweepGrace, ListPage: n.options.Tuning.SweepListPage, ListInterval: n.options.Tuning.SweepListInterval,
	})
	n.sweeper.Start()
	n.sweepSlots()
}

func (n *Node) stopSweeper() {
	if n.sweeper != nil {
		n.sweeper.Stop()
		n.sweeper = nil
	}
	if n.slotSweeper != nil {
		n.slotSweeper.Stop()
		n.slotSweeper = nil
	}
}

func (n *Node) shipping() quorum.Shipping {
	if n.config.ShipAsync {
		return quorum.ShipAsync
	}
	return quorum.ShipWait
}

func (n *Node) foundCluster(p *task.Proc) (err error) {
	id := n.quorum.ClusterID()
	for n.metadata.follows() && n.metadata.image.ClusterID() == "" && !n.failed {
		p.Sleep(startPoll) // whoever leads founds it
	}
	if known := n.metadata.image.ClusterID(); known == id {
		return controller.ValidateFeatures(n.metadata.image.Features(), n.release.features())
	} else if known != "" {
		return fmt.Errorf("the metadata belong to cluster %s, the disk's marker to %s: disks were mixed up", known, id)
	}
	p.Await(func(wake func()) {
		n.controller.FoundCluster(id, func(foundErr error) {
			err = foundErr
			wake()
		})
	})
	return err
}

// register begins the broker epoch. Where the broker listens is told once it does.
func (n *Node) register(p *task.Proc) error {
	if err := n.announce(p); err != nil {
		return err
	}
	n.keepLease()
	n.buildStorage()
	n.reportLoads()
	return nil
}

// drawIncarnation draws what tells this process from every other of the node.
func (n *Node) drawIncarnation() {
	for i := range n.incarnation {
		n.incarnation[i] = byte(n.env.Rand.Uint64("broker incarnation", 0, uint64(i)))
	}
	n.metadata.forward = forwarder{log: &n.metadata, nonce: binary.LittleEndian.Uint64(n.incarnation[:]), pending: map[uint64]*forwarded{}}
}

// advertise tells the cluster where clients reach this broker, and lets them in.
func (n *Node) advertise(p *task.Proc) error {
	if err := n.announce(p); err != nil {
		return err
	}
	n.gate.open(n.broker)
	return nil
}

// announce registers this incarnation with the listeners that it has by now.
func (n *Node) announce(p *task.Proc) (err error) {
	b := metadata.Broker{ID: metadata.BrokerID(n.config.NodeID), Incarnation: n.incarnation, Rack: n.config.Rack}
	for _, l := range n.listeners {
		b.Listeners = append(b.Listeners, metadata.Endpoint{Listener: l.Name, Host: l.Host, Port: l.Port})
	}
	if n.peers != nil {
		epoch, err := n.registerAtLeader(p, b)
		if err == nil && n.epoch != 0 && epoch != n.epoch {
			return ErrFenced // it was unregistered meanwhile: the log is of the older epoch
		}
		n.epoch = epoch
		return err
	}
	p.Await(func(wake func()) {
		n.controller.RegisterBroker(b, n.config.WALObject, func(epoch metadata.BrokerEpoch, registerErr error) {
			n.epoch, err = epoch, registerErr
			wake()
		})
	})
	return err
}

// buildStorage makes the engine and the partitions on it, with nothing opened.
func (n *Node) buildStorage() {
	t := &n.options.Tuning
	compaction := t.Compaction
	compaction.Allowed = func() bool {
		return n.metadata.image.Feature(controller.MetadataFeature) >= controller.ReplacementsLevel
	}
	mayClean := func() bool { return n.metadata.image.Feature(controller.MetadataFeature) >= controller.CleaningLevel }
	mayStore := func() bool {
		return n.metadata.image.Feature(controller.MetadataFeature) >= controller.StoredCheckpointsLevel
	}
	dense := func() bool {
		return n.metadata.image.Feature(controller.MetadataFeature) >= controller.PackedSnapshotsLevel
	}
	compaction.Disabled, compaction.BytesPerSecond = n.config.CompactionDisabled, n.config.CompactionBytesPerSecond
	n.engine = stream.NewEngine(stream.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry,
		Image: n.metadata.image, Controller: n.controller, Shipping: &n.metadata, Epoch: n.epoch, Cluster: n.quorum.ClusterID(),
		CacheBytes: n.config.CacheBytes, BlockCacheBytes: n.config.BlockCacheBytes,
		UploadBytes: n.config.UploadBytes, UploadInterval: n.config.UploadInterval,
		UploadsInFlightMax: t.UploadsInFlightMax, BlockBytes: t.BlockBytes, OwnObjectBytes: t.OwnObjectBytes, TailBytes: t.TailBytes, CheckpointBytes: t.CheckpointBytes, Compaction: compaction,
		CleanIndexBytes: n.config.CleanIndexBytes, CleanObjectBytes: t.CleanObjectBytes, MayClean: mayClean,
		CheckpointInlineBytesMax: t.CheckpointInlineBytesMax, MayStoreCheckpoints: mayStore, CheckpointArrived: n.checkpointArrived,
		UncommittedOffsetsMax: t.UncommittedOffsets, AskHolder: n.askHolder,
		NewState: partition.RecoveredState(n.loop, dense), Failed: n.failure("the storage engine"),
	})
	n.partitions = partition.NewManager(partition.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Image: n.metadata.image,
		Broker: metadata.BrokerID(n.config.NodeID), Epoch: n.epoch,
		Engine: partition.OverStreams(n.engine), Trim: n.controller.TrimStream, MayOpen: n.unshipped.mayOpen, Checkpoint: n.engine.Checkpoint, Leased: n.leased,
		TopicConfig: func(overrides []metadata.Config) config.Topic {
			return n.options.Settings.Topic(config.Overrides(overrides))
		},
		ProducerIDExpiration: n.config.ProducerIDExpiration, HousekeepingInterval: n.config.RetentionCheckInterval, CleanInterval: n.cleanInterval(), ProducersMax: t.ProducersMax, StoresCheckpoints: mayStore, DenseCheckpoints: dense,
		TransactionLate: n.config.Transactions.TimeoutMax + transactionGrace,
	})
	n.adoptions.states = n.partitions.NewReplayed()
}

// cleanInterval is log.cleaner.backoff.ms, but at least a second: a search looks at all partitions.
func (n *Node) cleanInterval() time.Duration { return max(n.config.CleanInterval, time.Second) }

// transactionGrace is how long after the longest timeout of a transaction its end is still waited for, as in Kafka.
const transactionGrace = 5 * time.Minute

const logPrefix = "wal-"

func logName(epoch metadata.BrokerEpoch) string {
	return fmt.Sprintf("%s%016x", logPrefix, int64(epoch))
}

// missingLogPoll is how often a start looks whether a missing log is there, or is not owed any more.
const missingLogPoll = time.Second

// checkLogs ends the start while nothing was changed yet if the device lacks a log that
// is owed: an old copy of the disks must not end the epoch of a newer one. Beside other brokers it waits, since its quorum may need this
// node, not least to give the log up.
func (n *Node) checkLogs(p *task.Proc) error {
	for !n.failed {
		missing, err := n.missingLogs(p)
		if err != nil || len(missing) == 0 {
			return err
		}
		n.telemetry.Hit("node: an owed log is missing")
		name := logName(missing[0])
		err = fmt.Errorf("file %s is missing, and records that it holds were acknowledged: bring it back to %s. If it is lost for good, and other "+
			"brokers run, weir abandon-wal gives the records up; else --set weir.wal.abandoned=%s does, and this broker starts without them", name, n.config.WALPath, name)
		if n.peers == nil {
			return err
		}
		n.lines.Error(n.telemetry, "missing log", n.loop.Now(), "this broker waits for its write-ahead log, and its partitions with it", slog.String("error", err.Error()))
		p.Sleep(missingLogPoll)
	}
	return nil
}

// missingLogs are the ended epochs of this broker whose logs are owed and not there, but for those that may be done without.
func (n *Node) missingLogs(p *task.Proc) (missing []metadata.BrokerEpoch, err error) {
	epochs, err := n.findLogs(p)
	if err != nil {
		return nil, err
	}
	n.abandoned = nil
	for _, owing := range n.metadata.image.EpochsOwingOf(metadata.BrokerID(n.config.NodeID)) {
		_, object := n.metadata.image.ObjectWAL(owing)
		switch {
		case object || slices.Contains(epochs, owing) || !n.recovers(owing):
		case slices.Contains(n.config.WALAbandoned, logName(owing)):
			n.abandoned = append(n.abandoned, owing)
		default:
			missing = append(missing, owing)
		}
	}
	return missing, nil
}

// recoverLogs reads the logs of ended epochs, the oldest first.
func (n *Node) recoverLogs(p *task.Proc) error {
	epochs, err := n.findLogs(p)
	if err != nil {
		return err
	}
	epochs = n.withContinuedLogs(n.withObjectLogs(epochs))
	if len(epochs) > 1 {
		n.telemetry.Hit("node: several logs recovered at one start")
	}
	for _, epoch := range epochs {
		n.sayIfGivenUp(epoch)
		if err := n.recoverLog(p, epoch); err != nil {
			return err
		}
	}
	if n.config.WALShared {
		return n.sweepFences(p)
	}
	return nil
}

// recoversOwn reports whether an epoch was this broker's, and the present one recovers its log.
func (n *Node) recoversOwn(epoch metadata.BrokerEpoch) bool {
	return slices.ContainsFunc(n.metadata.image.Recoveries(), func(r metadata.Recovery) bool {
		return r.Ended == epoch && r.By == n.epoch && r.Broker == metadata.BrokerID(n.config.NodeID)
	})
}

// withObjectLogs adds the ended epochs whose logs are in the object store: the image names those that are owed. The
// kind may have changed from one start to the next.
func (n *Node) withObjectLogs(epochs []metadata.BrokerEpoch) []metadata.BrokerEpoch {
	for _, w := range n.metadata.image.ObjectWALs() {
		if n.recoversOwn(w.Epoch) {
			n.telemetry.Hit("node: an object log is recovered")
			epochs = append(epochs, w.Epoch)
		}
	}
	slices.Sort(epochs)
	return epochs
}

// withContinuedLogs adds the logs of this broker that another one recovers by now, and whose records a log goes on with that this one recovers: that the older
// range ended says a takeover, which states no producers. The story: a log in the store, a start that takes its partitions over with a private log, and
// is over before anything is uploaded. Others recover the first log; only this broker can read the second.
func (n *Node) withContinuedLogs(epochs []metadata.BrokerEpoch) []metadata.BrokerEpoch {
	im := n.metadata.image
	open := im.OpenRangesToRecover(n.epoch)
	for _, r := range im.Recoveries() {
		_, object := im.ObjectWAL(r.Ended)
		readable := object || r.Shared && n.config.WALShared
		if r.Broker != metadata.BrokerID(n.config.NodeID) || !readable || im.EpochLeads(r.Ended) || slices.Contains(epochs, r.Ended) {
			continue
		}
		continued := func(e metadata.RangeEnd) bool {
			return slices.ContainsFunc(open, func(o metadata.RangeEnd) bool { return o.Stream == e.Stream })
		}
		if slices.ContainsFunc(im.Owed(r.Ended), continued) {
			n.telemetry.Hit("node: a log is replayed that another broker recovers")
			epochs = append(epochs, r.Ended)
		}
	}
	slices.Sort(epochs)
	return epochs
}

// storedName is the name of an epoch's log, of either kind.
func (n *Node) storedName(epoch metadata.BrokerEpoch) string {
	if _, object := n.metadata.image.ObjectWAL(epoch); object {
		return wal.ObjectName(n.quorum.ClusterID(), int64(epoch))
	}
	return logName(epoch)
}

// findLogs returns the epochs of the logs on the device, ascending.
func (n *Node) findLogs(p *task.Proc) (epochs []metadata.BrokerEpoch, err error) {
	list := &env.DiskList{Prefix: logPrefix}
	p.Await(func(wake func()) {
		list.Done = func(*env.DiskList) { wake() }
		n.env.WAL.List(list)
	})
	if list.Err != nil {
		return nil, list.Err
	}
	for _, f := range list.Files {
		epoch, err := strconv.ParseInt(strings.TrimPrefix(f.Name, logPrefix), 16, 64)
		if err != nil {
			continue // none of ours
		}
		if n.config.WALShared && !n.recovers(metadata.BrokerEpoch(epoch)) {
			continue
		}
		if uint64(epoch) > n.metadata.image.AppliedIndex() || n.epoch != 0 && metadata.BrokerEpoch(epoch) >= n.epoch {
			return nil, fmt.Errorf("file %s is of a later epoch than the metadata know: the metadata's disk is older than the log's, "+
				"and so is what the object store has of it; start with the newer metadata disk", f.Name)
		}
		epochs = append(epochs, metadata.BrokerEpoch(epoch))
	}
	return epochs, nil // the names sort as the numbers do
}

// countingReplayer counts the batches of a log.
type countingReplayer struct {
	stream.Replayer
	node    *Node
	batches int64
}

func (r *countingReplayer) Replay(id metadata.StreamID, h *record.Header, batch []byte) error {
	r.batches++
	r.node.progress = r.node.loop.Now()
	return r.Replayer.Replay(id, h, batch)
}

func (n *Node) recoverLog(p *task.Proc, epoch metadata.BrokerEpoch) (err error) {
	n.adoptions.known[epoch] = true
	if err := n.fenceLog(p, epoch); err != nil {
		return err
	}
	began, into := n.loop.Now(), &countingReplayer{Replayer: n.partitions, node: n}
	n.progress = began
	p.Await(func(wake func()) {
		n.engine.RecoverLog(n.storedName(epoch), epoch, into, func(ends []metadata.RangeEnd, recoverErr error) {
			n.ends, err = append(n.ends, ends...), recoverErr
			wake()
		})
	})
	n.progress = 0
	if err == nil {
		n.telemetry.Info("recovered a write-ahead log", slog.Int64("epoch", int64(epoch)), slog.Int64("batches", into.batches),
			slog.Duration("took", n.loop.Now().Sub(began)))
	}
	return err
}

func (n *Node) createLog(p *task.Proc) (err error) {
	v := n.measureVolume(p)
	if !n.config.WALObject {
		n.checkSize(v)
	}
	c := wal.Config{
		SizeBytes:         n.config.WALBytes,
		AppendBytesMax:    int(n.config.SocketRequestMaxBytes), // no batch is larger than its request
		SummaryEveryBytes: n.options.Tuning.SummaryEveryBytes,
		FloorBytes:        v.floor,
		Shared:            n.config.WALShared,
		// The log cache gives memory up by whole slabs, so it must hold many of them.
		SlabBytes: int(min(max(8<<20, n.config.WALObjectBytes), max(n.config.CacheBytes/16, 64<<10))),
	}
	create := wal.Create
	if n.config.WALObject {
		create = wal.CreateObject
		c.GroupBytesMax, c.WritesInFlightMax = int(n.config.WALObjectBytes), n.config.WALCreates
		c.LingerMin, c.LingerMax, c.LingerBurst = n.config.WALLingerMin, n.config.WALLingerMax, n.config.WALLingerBurst
	}
	for {
		p.Await(func(wake func()) {
			create(n.loop, n.env, c, n.storedName(n.epoch), int64(n.epoch), n.engine, n.failure("the write-ahead log"), func(l *wal.Log, createErr error) {
				n.log, err = l, createErr
				wake()
			})
		})
		if !errors.Is(err, env.ErrDiskFull) {
			break
		}
		if err := n.makeRoom(p, err); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	n.engine.UseLog(n.log)
	n.log.HoldGrowth(true)
	kept, err := n.keepReserves(p)
	if err != nil {
		return err
	}
	if !kept {
		n.keepLogSmall()
		return nil
	}
	n.log.HoldGrowth(false)
	return nil
}

func (n *Node) takeOver(p *task.Proc) (err error) {
	p.Await(func(wake func()) {
		n.controller.TakeOver(n.epoch, n.ends, func(takeErr error) {
			err = takeErr
			wake()
		})
	})
	n.ends = nil
	return err
}

// openPartitions opens what this broker leads, and what serves it.
func (n *Node) openPartitions(p *task.Proc) error {
	n.buildCoordinators()
	n.broker = broker.New(broker.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Config: n.config, Settings: n.options.Settings,
		Image: n.metadata.image, Cluster: clusterOf{n}, Controller: n.controller, Partitions: n.partitions, Groups: n.groups, AwaitApplied: n.awaitApplied,
		Transactions: n.transactions, Verifier: produceVerifier{n}, Features: n.release.features(),
	})
	if n.unshipped.wait {
		p.Await(func(wake func()) { n.metadata.awaitShipped(n.metadata.AppliedIndex(), wake) })
	}
	n.imageChanged()
	if n.failed {
		return nil
	}
	n.startSweeper()
	return nil
}

// sweepSlots begins to sweep object logs, if there is any.
func (n *Node) sweepSlots() {
	if n.peers == nil && len(n.metadata.image.ObjectWALs()) == 0 {
		return
	}
	cluster := n.quorum.ClusterID()
	n.slotSweeper = controller.NewSlotSweeper(controller.SlotSweeperOptions{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Image: n.metadata.image, Shipped: n.metadata.Shipped,
		Prefix: wal.ObjectPrefix(cluster), SealBytes: wal.SealBytes,
		Parse: func(key string) (metadata.BrokerEpoch, uint64, bool) {
			epoch, slot, ok := wal.ParseSlotKey(cluster, key)
			return metadata.BrokerEpoch(epoch), slot, ok
		},
		ListInterval: n.options.Tuning.SweepListInterval, ListPage: n.options.Tuning.SweepListPage,
	})
	n.slotSweeper.Start()
}
