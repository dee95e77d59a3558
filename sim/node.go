package sim

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/node"
	"weir/core/object"
	"weir/core/stream"
	"weir/core/telemetry"
	"weir/core/wal"
	"weir/sim/checker"
	"weir/sim/machine"
	"weir/sim/plan"
)

// realNode builds what production builds.
func realNode(e env.Env, o NodeOptions) machine.Node {
	return node.New(e, node.Options{
		Settings: topicDefaults(o.Config), Config: o.Config, Tuning: o.Tuning, Hostname: o.Config.Listeners[0].Host,
		Ready:  func(advertised []config.Listener) { o.Ready(advertised[0].Address()) },
		Failed: o.Failed,
	})
}

// coreOf is the node that production runs, if a machine runs it, also behind decorators.
func coreOf(n machine.Node) (*node.Node, bool) {
	if behind, ok := n.(interface{ Core() *node.Node }); ok {
		return behind.Core(), true
	}
	core, ok := n.(*node.Node)
	return core, ok
}

// topicDefaults are settings under which topics keep everything, whatever the
// clocks say: retention is what a topic of the plan asks for.
func topicDefaults(c *config.Broker) *config.Settings {
	g := &c.ConsumerGroup
	file := fmt.Sprintf(properties, c.MessageMaxBytes, g.SessionTimeout.Milliseconds(), g.HeartbeatInterval.Milliseconds(), g.AssignmentInterval.Milliseconds())
	settings, err := config.Load([]byte(file), map[string]string{"WEIR_LOG_RETENTION_MS": "-1"}, []config.Override{
		{Key: "log.message.timestamp.after.max.ms", Value: strconv.FormatInt(1<<62, 10)},
	})
	if err != nil {
		panic("sim: " + err.Error())
	}
	return settings
}

// properties is the file that a broker is started with: its environment and its flags are stronger.
const properties = `# what production sets, in all forms that Java takes
! of properties
message.max.bytes = %d
log.retention.ms: 1
broker.rack \
    rack\u002d1
num.partitions=1
log.cleanup.policy=delete,\
               delete
leader.replication.throttled.replicas=
group.consumer.session.timeout.ms=%d
group.consumer.min.session.timeout.ms=1
group.consumer.heartbeat.interval.ms=%d
group.consumer.min.heartbeat.interval.ms=1
group.consumer.assignment.interval.ms=%d
`

// audit compares the object store with the image (I8): what the image refers to is
// there, and what nothing refers to dies within the sweep time.
func (w *world) audit() {
	n := w.imageHolder()
	if n == nil {
		return // a stand-in that keeps no objects
	}
	w.auditParts(n.Image())
	w.auditReferences(n.Image())
	w.await(SweepLimit, "the death of every object that nothing refers to", func() bool { return w.orphan(n.Image()) == "" })
	if key := w.orphan(n.Image()); key != "" {
		w.violate(checker.Violation{Invariant: "I8", Text: fmt.Sprintf("object %s is in nobody's image and lives on", key)})
	}
}

// compareImages: the brokers' images are the same once they have the same records (I10).
func (w *world) compareImages() {
	var first *metadata.Image
	same := func() bool {
		first = nil
		for _, b := range w.brokers {
			n, ok := b.machine.Node().(*node.Node)
			switch {
			case !ok || !b.wanted:
			case first == nil:
				first = n.Image()
			case n.Image().AppliedIndex() != first.AppliedIndex():
				return false
			}
		}
		return true
	}
	if w.violated() || !w.await(convergeLimit, "the brokers' images to have the same records", same) || first == nil {
		return
	}
	want := first.AppendSnapshot(nil)
	for _, b := range w.brokers {
		if n, ok := b.machine.Node().(*node.Node); ok && b.wanted && !bytes.Equal(n.Image().AppendSnapshot(nil), want) {
			w.violate(checker.Violation{Invariant: "I10", Text: fmt.Sprintf("the image of machine %d differs from the first one's at index %d", b.machine.ID, first.AppliedIndex())})
		}
	}
}

// auditParts: however often a partition was uploaded, it comes to consist of few objects.
func (w *world) auditParts(image *metadata.Image) {
	if w.plan.Config.NoCompaction != 0 || w.store.Discarded > 0 || w.level() < controller.ReplacementsLevel {
		return
	}
	few := func() bool {
		_, parts, most := w.mostParts(image)
		return parts <= most
	}
	if w.run(SweepLimit, few) || w.violated() {
		return
	}
	name, parts, most := w.mostParts(image)
	w.violate(checker.Violation{Invariant: "parts", Text: fmt.Sprintf("%v after the faults healed, %s consists of %d parts, more than %d", SweepLimit, name, parts, most)})
}

// mostParts finds the partition that exceeds its bound of parts most.
func (w *world) mostParts(image *metadata.Image) (name string, parts, most int) {
	c, streams := &w.plan.Config, 0
	for _, t := range image.Topics() {
		streams += len(t.Partitions)
	}
	for _, t := range image.Topics() {
		for _, p := range t.Partitions {
			s, _ := image.Stream(p.Stream)
			bound := partsBound(c, s.Parts, streams)
			if len(s.Parts)-bound > parts-most || name == "" {
				name, parts, most = fmt.Sprintf("%s-%d", t.Name, p.Index), len(s.Parts), bound
			}
		}
	}
	return name, parts, most
}

// partsBound is how many parts a stream may consist of in the end: as many as compaction leaves alone beside those that are settled,
// or else those of which no two that lie side by side fit into one object. A part that is settled has at least a quarter of what so many
// streams have on average of an object of more than half the largest size. What was lost stays, and nothing is joined over it.
func partsBound(c *plan.Config, parts []metadata.Part, streams int) int {
	bytes, lost := int64(0), 0
	for i := range parts {
		if bytes += parts[i].Bytes; parts[i].Lost() {
			lost++
		}
	}
	objectBytes := cmp.Or(c.ObjectBytes, 10<<30)
	settled := int(2 * 4 * int64(streams) * bytes / objectBytes)
	return max(20+settled, int(2*bytes/objectBytes)+2*(lost+settled)+1)
}

// imageHolder is a node whose image counts, or nil.
func (w *world) imageHolder() *node.Node {
	for _, b := range w.brokers {
		if n, ok := coreOf(b.machine.Node()); ok && b.ready && !b.gone {
			return n
		}
	}
	return nil
}

func (w *world) auditReferences(image *metadata.Image) {
	image.Objects(func(o *metadata.Object) {
		key := object.Key(image.ClusterID(), uint64(o.ID))
		if _, stored := w.store.Object(key); !stored && o.State == metadata.ObjectCommitted {
			w.violate(checker.Violation{Invariant: "I8", Text: fmt.Sprintf("object %s is committed and gone from the store", key)})
		}
	})
}

// orphan returns the first stored object that the image does not know.
func (w *world) orphan(image *metadata.Image) string {
	for _, key := range w.store.Keys() {
		if epoch, slot, ok := wal.ParseSlotKey(image.ClusterID(), key); ok {
			if body, _ := w.store.Object(key); len(body.Body) > wal.SealBytes && image.SlotDead(metadata.BrokerEpoch(epoch), slot) {
				return key
			}
			continue
		}
		_, id, ok := object.ParseKey(key)
		if !ok {
			continue // the cluster's marker
		}
		if o, known := image.Object(metadata.ObjectID(id)); !known || o.State != metadata.ObjectCommitted {
			return key
		}
	}
	return ""
}

// invariantOf names the invariant that a panic of the core broke.
func invariantOf(value any) string {
	var broken *telemetry.InvariantViolation
	if err, ok := value.(error); ok && errors.As(err, &broken) {
		return fmt.Sprintf("I%d", broken.Number)
	}
	if text, ok := value.(string); ok && strings.HasPrefix(text, "sim:") {
		return "contract"
	}
	return "panic"
}

// brokerConfig is a broker's configuration: the plan's, and small defaults.
func brokerConfig(c *plan.Config, host string, id int32) *config.Broker {
	or := func(v, standard int64) int64 {
		if v == 0 {
			return standard
		}
		return v
	}
	b := &config.Broker{
		NodeID: id, NumPartitions: 1, MessageMaxBytes: int32(or(c.MessageBytes, 1<<20)), MaxConnections: 1000, MaxConnectionsPerIP: 1000,
		ConnectionsMaxIdle: 10 * time.Minute, QueuedMaxRequestBytes: or(c.FrameBudget, 64<<20), RetentionCheckInterval: time.Duration(or(int64(c.Housekeeping), int64(5*time.Second))),
		CleanIndexBytes: or(c.KeyIndexBytes, 1<<20), AutoCreateTopics: true, DeleteTopics: true, DefaultReplicationFactor: 1,
		FetchMaxBytes: 55 << 20, FetchSessionSlots: int(or(c.FetchSessions, 1000)), ProducerIDExpiration: time.Duration(or(int64(c.ProducerIdle), int64(24*time.Hour))),
		Groups: groupConfig(), TransactionTopicPartitions: 2,
		WALBytes: or(c.WALBytes, 16<<20), CacheBytes: or(c.CacheBytes, 16<<20), BlockCacheBytes: or(c.BlockCacheBytes, 8<<20), CoordinatorBytes: 64 << 20,
		UploadBytes: or(c.UploadBytes, 1<<20), UploadInterval: c.UploadInterval,
		Listeners:           []config.Listener{{Name: "PLAINTEXT", Host: host, Port: 9092}},
		AdvertisedListeners: []config.Listener{{Name: "PLAINTEXT", Host: host, Port: 9092}},
	}
	b.ShipAsync = c.ShipAsync != 0
	b.WALObjectBytes, b.WALCreates = or(c.WALObjectBytes, 256<<10), int(or(c.WALCreates, 4))
	b.WALLingerMin, b.WALLingerMax = c.WALLingerMin, time.Duration(or(int64(c.WALLingerMax), int64(20*time.Millisecond)))
	b.WALLingerBurst = int(or(c.WALLingerBurst, 1))
	b.WALShared = c.WALShared != 0
	b.CompactionDisabled, b.CompactionBytesPerSecond = c.NoCompaction != 0, c.CompactRate
	b.Groups = config.Groups{
		InitialRebalanceDelay: c.RebalanceDelay, MinSessionTimeout: time.Millisecond, MaxSessionTimeout: 30 * time.Minute, MaxSize: 1000, OffsetMetadataMaxBytes: 4096,
		OffsetsRetention: time.Duration(or(int64(c.OffsetsRetention), int64(10*365*24*time.Hour))), OffsetsRetentionCheckInterval: time.Hour,
		OffsetsTopicPartitions: int32(or(c.GroupPartitions, 1)),
	}
	b.ConsumerGroup = config.ConsumerGroup{
		SessionTimeout: time.Duration(or(int64(c.GroupSession), int64(3*time.Second))), HeartbeatInterval: time.Duration(or(int64(c.GroupSession), int64(3*time.Second))) / 8,
		AssignmentInterval: c.AssignmentInterval, ExpressionRefresh: 10 * time.Minute, MaxSize: 1000, Assignors: []string{"uniform", "range"}, Upgrade: true, Downgrade: true,
	}
	if c.OffsetsRetention > 0 { // else empty groups would be deleted
		b.Groups.OffsetsRetentionCheckInterval = min(2*time.Second, c.OffsetsRetention/8)
	}
	b.TransactionTopicPartitions = int32(or(c.TxnPartitions, 1))
	b.Transactions = config.Transactions{
		TimeoutMax: 15 * time.Minute, AbortInterval: 500 * time.Millisecond, RemoveInterval: time.Hour, IDExpiration: 7 * 24 * time.Hour, AddRetryMax: 100 * time.Millisecond,
	}
	if c.TxnIDExpiration > 0 {
		b.Transactions.IDExpiration, b.Transactions.RemoveInterval = c.TxnIDExpiration, c.TxnIDExpiration/4
	}
	if b.UploadInterval == 0 {
		b.UploadInterval = 2 * time.Second
	}
	b.Cluster = clusterConfig(c, host)
	b.SocketRequestMaxBytes = int32(min(100<<20, b.WALBytes/4)) // what the log takes in one piece
	return b
}

// imbalancePercent is leader.imbalance.per.broker.percentage of all simulated clusters.
const imbalancePercent = 10

// peerPort is where the nodes of a cluster reach each other.
const peerPort = 9093

// clusterConfig lets the machines of a plan with sessions be one cluster.
func clusterConfig(c *plan.Config, host string) config.Cluster {
	if c.Session == 0 {
		return config.Cluster{}
	}
	l := config.Listener{Name: "CONTROLLER", Host: host, Port: peerPort}
	return config.Cluster{
		ListenerName: l.Name, Listener: l, Advertised: l, Secret: "simulated", SessionTimeout: c.Session, HeartbeatInterval: c.Session / 6,
		ElectionTimeout: cmp.Or(c.Election, c.Session/8), DriftMaxPPM: 10_000, BalanceInterval: 2 * c.Session, ImbalancePercent: imbalancePercent,
		BalanceLoadFloor: 2 << 10, BalanceMoves: 4,
	}
}

// votersMax is how many of a cluster's machines vote, the first ones, if the plan does not say.
const votersMax = 3

// voters is how many of the cluster's machines vote, the first ones, if there are so many.
func (w *world) voters() int { return int(cmp.Or(w.plan.Config.Voters, votersMax)) }

// setVoters tells every broker who votes.
func (w *world) setVoters() {
	if w.plan.Config.Session == 0 {
		return
	}
	if w.plan.Config.Bootstrap != 0 {
		w.setBootstrap()
		return
	}
	var voters []config.Voter
	for _, b := range w.brokers[:min(len(w.brokers), w.voters())] {
		voters = append(voters, config.Voter{Node: b.config.NodeID, Address: b.config.Cluster.Listener.Address()})
	}
	for _, b := range w.brokers {
		b.config.Cluster.Voters = voters
		_, b.config.Cluster.Votes = b.config.Cluster.Voter(b.config.NodeID)
	}
}

// setBootstrap tells every broker where some are, and lets the first ones vote.
func (w *world) setBootstrap() {
	var addresses []string
	for _, b := range w.brokers[:min(len(w.brokers), votersMax)] {
		addresses = append(addresses, b.config.Cluster.Listener.Address())
	}
	for i, b := range w.brokers {
		c := &b.config.Cluster
		c.Bootstrap, c.AutoJoin, c.Votes = addresses, true, i < votersMax
	}
}

// groupConfig has Kafka's defaults, but for few partitions.
func groupConfig() config.Groups {
	g := (&config.Settings{}).Broker().Groups
	g.OffsetsTopicPartitions = 2
	return g
}

// tuning is the plan's values for bounds that no configuration key names.
func tuning(c *plan.Config) node.Tuning {
	return node.Tuning{
		SummaryEveryBytes: c.SummaryBytes, SnapshotEntries: c.SnapshotEntries, QueueBytes: int(c.QueueBytes), BacklogEntries: int(c.BacklogEntries), RecordBytesMax: int(c.RecordBytes),
		UploadsInFlightMax: int(c.Uploads), BlockBytes: int(c.DataBlockBytes), OwnObjectBytes: c.OwnObjectBytes, TailBytes: c.TailBytes, CheckpointBytes: int(c.CheckpointBytes), CheckpointInlineBytesMax: int(c.InlineBytes), CleanObjectBytes: c.KeyObjectBytes,
		SweepGrace: c.Grace, SweepListInterval: c.Listing, SweepListPage: int(c.ListPage), ProducerIDBlock: c.ProducerIDs, ProducersMax: int(c.Producers), CleanBytesMin: cmp.Or(c.CleanBytes, 16<<10),
		UncommittedOffsets: c.Ahead, FirstEpoch: int16(c.FirstEpoch), FirstGeneration: int32(c.FirstGeneration),
		Compaction: stream.CompactionOptions{
			RewriteFanIn: int(c.CompactParts), JoinFanIn: int(c.JoinParts), RewriteBytes: c.CompactBytes, JoinBytesMin: c.JoinBytes,
			ObjectBytesMax: c.ObjectBytes, Interval: c.CompactEvery, SparseAge: c.SparseAge, SparseBytesMin: c.SparseBytes,
		},
	}
}
