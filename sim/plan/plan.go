// Package plan says what a run does: the brokers and their configuration, the topics, the
// clients' workloads, and the faults. A run is (seed, plan); the seed decides all
// that the plan leaves open.
//
// A plan is a list of lines. Each line can be removed without a change to the others,
// so a failing plan can be shrunk. Text is its only stored form; a field that is left
// out has its zero value, which means "no fault" or the default.
//
// [Swarm] draws a plan from a seed; the simulator's speed is measured with
// [Reference].
package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/faults"
)

// Plan is one run's plan.
type Plan struct {
	Config    Config      // the line config
	Brokers   []Broker    // empty: one, in zone 1
	Topics    []Topic     // created before the workloads start
	Workloads []Workload  // the clients
	Faults    faults.Plan // in no order
	Never     []string    // marks that no run of this plan reaches: it would be a violation
}

// Config is the run's length and the broker's configuration. Zero fields take the
// simulator's default, which is named beside them where it is not the option's own.
// Sizes are in bytes.
type Config struct {
	Duration        time.Duration // of the phase with faults
	WALBytes        int64         // size of the WAL; 16 MiB
	WALDiskBytes    int64         // of the disk that the logs are on; 0: no bound
	WALShared       int64         // not 0: the logs are such as other brokers may take over
	VolumeBytes     int64         // of the volume that logs and metadata share; 0: each has its own
	CacheBytes      int64         // log cache; 16 MiB
	BlockCacheBytes int64         // block cache; 8 MiB
	UploadBytes     int64         // uncommitted bytes that start an upload; 1 MiB
	UploadInterval  time.Duration // age of a record that starts an upload; 2 s
	FrameBudget     int64         // queued.max.request.bytes; 64 MiB
	FetchSessions   int64         // slots for fetch sessions; 1,000
	BlockBytes      int64         // block size of the disks, 512 or 4096; 4096
	DriftPPM        int64         // of the broker's clock, parts per million
	TurnCost        time.Duration // what a turn of the loop takes; 2 µs
	ComputeSlow     int64         // time that computation off the loop takes, thousandths; 0: 1000
	Restarts        int64         // of the broker between drains at the end; 0: none
	MessageBytes    int64         // the largest batch that the broker accepts; 1 MiB

	// Bounds of the broker's parts that no setting names; see node.Tuning.
	SummaryBytes    int64         // SummaryEveryBytes
	SnapshotEntries int64         // SnapshotEntries
	RecordBytes     int64         // RecordBytesMax
	QueueBytes      int64         // QueueBytes: proposals that the quorum has not applied yet
	BacklogEntries  int64         // BacklogEntries: of the quorum's log that the store has not taken
	Uploads         int64         // UploadsInFlightMax
	DataBlockBytes  int64         // BlockBytes: of a data block in an object
	OwnObjectBytes  int64         // OwnObjectBytes
	TailBytes       int64         // TailBytes
	CheckpointBytes int64         // CheckpointBytes
	InlineBytes     int64         // CheckpointInlineBytesMax: a checkpoint that is larger lies in an object
	KeyObjectBytes  int64         // CleanObjectBytes: of a partition that is compacted by key, in one object
	KeyIndexBytes   int64         // log.cleaner.dedupe.buffer.size; 1 MiB
	Grace           time.Duration // SweepGrace: before destroyed objects are deleted
	Listing         time.Duration // SweepListInterval: between two listings of the store
	Housekeeping    time.Duration // between two rounds of retention; 5 s
	ProducerIdle    time.Duration // after which an idle producer is forgotten; 24 h
	Producers       int64         // ProducersMax: known of a broker's partitions
	ShipAsync       int64         // not 0: nothing waits for the metadata's copy in the store
	WALObject       int64         // 1: the WAL is in the object store; 2: in turns there and on the disk, from one start to the next
	WALObjectBytes  int64         // weir.wal.object.bytes; 256 KiB
	WALCreates      int64         // weir.wal.object.creates.in.flight; 4
	WALLingerMin    time.Duration // weir.wal.object.linger.min.ms
	WALLingerMax    time.Duration // weir.wal.object.linger.max.ms; 20 ms
	WALLingerBurst  int64         // weir.wal.object.linger.burst; 1
	ProducerIDs     int64         // ProducerIDBlock: granted to a broker at a time
	ListPage        int64         // SweepListPage: keys in a page of a listing of the store
	CompactParts    int64         // Compaction.RewriteFanIn
	JoinParts       int64         // Compaction.JoinFanIn
	CompactBytes    int64         // Compaction.RewriteBytes
	JoinBytes       int64         // Compaction.JoinBytesMin
	ObjectBytes     int64         // Compaction.ObjectBytesMax
	CompactEvery    time.Duration // Compaction.Interval
	SparseAge       time.Duration // Compaction.SparseAge
	SparseBytes     int64         // Compaction.SparseBytesMin
	CompactRate     int64         // weir.compaction.bytes.per.second; 0: no bound
	NoCompaction    int64         // not 0: weir.compaction.enabled=false
	Ahead           int64         // UncommittedOffsets: that a broker gives beyond what is committed. 0: 2^31, too many for a log that is given up
	CleanBytes      int64         // CleanBytesMin: after which a coordinator writes its state anew; 16 KiB

	// Coordinators.
	GroupPartitions    int64         // offsets.topic.num.partitions; 1
	TxnPartitions      int64         // transaction.state.log.num.partitions; 1
	RebalanceDelay     time.Duration // group.initial.rebalance.delay.ms; 0
	AddRetry           time.Duration // add.partitions.to.txn.retry.backoff.max.ms; 0
	OffsetsRetention   time.Duration // offsets.retention.minutes; 0: for ever
	TxnIDExpiration    time.Duration // transactional.id.expiration.ms; 7 days
	GroupSession       time.Duration // group.consumer.session.timeout.ms; 3 s
	FirstEpoch         int64         // FirstEpoch: producer epoch of a new transactional id, at most 32,766; 0
	FirstGeneration    int64         // FirstGeneration: before the first generation of a classic group, below 2^31; 0
	AssignmentInterval time.Duration // group.consumer.assignment.interval.ms; 0

	// ComeBack is how long producers are idle, once all have their answers, before they
	// write again. 0: they do not.
	ComeBack time.Duration

	// Session is broker.session.timeout.ms of a cluster of several brokers; 0: each machine is alone.
	Session time.Duration
	// Election is controller.quorum.election.timeout.ms; an eighth of Session.
	Election time.Duration
	// Voters is how many of the machines vote in the metadata's quorum, the first ones; 3, or all if they are fewer.
	Voters int64
	// RemoveVoters is not 0 if operators remove voters, which come back as new ones.
	RemoveVoters int64
	// LostZone is a zone that the cluster loses for good at LostAt; 0: none. The others must come back to work without its machines.
	// LostHow says how: 0, their power is gone; 1, they run on, isolated from everybody; 2, they hear no machine of another zone any more.
	LostZone int64
	LostAt   time.Duration
	LostHow  int64
	// Bootstrap is not 0 if the machines find the quorum by addresses alone (controller.quorum.bootstrap.servers), and become voters by
	// themselves.
	Bootstrap int64
	// Finalize is from when on an administrator raises weir.metadata to the newest level, after the start of the workloads, and asks again until it is;
	// 0: nobody does. Downgrade is a machine that is then started once more as the release that it was; 0: none.
	Finalize  time.Duration
	Downgrade int64
}

// Broker is one machine of the cluster; machines are numbered from 1 in the plan's order.
type Broker struct {
	NodeID int64 // node.id; 0: the machine's number
	Zone   int64 // availability zone, 1 and up
	// DriftPPM is by how much its clock runs faster than that of the plan says, parts per million.
	DriftPPM int64
	// Start is when it starts for the first time, after the start of the workloads; 0: with the cluster. It does not vote then.
	Start time.Duration
	// Release is the highest level of weir.metadata that its release serves; 0: the newest. Upgrade is when it is restarted as the newest
	// release, after the start of the workloads; 0: never.
	Release int64
	Upgrade time.Duration
}

// Machines are the plan's brokers: at least one.
func (p *Plan) Machines() []Broker {
	if len(p.Brokers) == 0 {
		return []Broker{{Zone: 1}}
	}
	return p.Brokers
}

// Topic is a topic that is created before the workloads start.
type Topic struct {
	Name           string        // unique
	Partitions     int64         // 1 and up
	Retention      time.Duration // retention.ms; 0: for ever
	RetentionBytes int64         // retention.bytes; 0: no limit
	Untimed        int64         // 1: records are written without a timestamp
}

// Workload is one client. What a field means is said by the client's options
// (sim/client); rates "in a thousand" are thousandths.
type Workload struct {
	// Kind is one of [WorkloadKinds]: a producer, a consumer, a churn (creates and deletes
	// topics), a trimmer (deletes records), an operator (changes configurations and
	// partitions), a breaker (sends what must be refused), a member (of a consumer group), a transactor
	// (writes in transactions), a pipe (consumes, transforms and produces, exactly once), a committer (commits, deletes and
	// fetches offsets of a group without members), a keeper (keeps a table in a compacted topic).
	Kind string
	// Client is its number, unique; its random draws depend on it.
	Client int64
	// Lag is how far below the newest versions of requests it speaks, in thousandths.
	Lag int64
	// Zone is where it is; 0: in none of the brokers' zones.
	Zone int64

	// Producer.
	PerSecond  int64         // mean requests a second; 0: none
	Records    int64         // maximum in a batch, 1 and up
	ValueBytes int64         // maximum of a value, 1 and up
	InFlight   int64         // maximum of unacknowledged batches of a partition, 1 to 5
	Spread     int64         // maximum of partitions in a request, 1 and up
	Idempotent int64         // not 0: with a producer id
	Compress   int64         // compressed batches in a thousand
	Huge       int64         // batches in a thousand that are nearly as large as the broker accepts
	Excess     int64         // batches in a thousand that are larger than that
	GiveUp     time.Duration // age at which an idempotent producer abandons a batch; 0: never
	Acks       int64         // of a producer that is not idempotent. 0: all; 1: the leader's; 2: none
	Poison     int64         // rounds in a thousand with a batch that must be refused
	Mixed      int64         // milliseconds between the timestamps of a batch's records

	// Consumer.
	Sessions       int64         // not 0: with fetch sessions
	MaxWait        time.Duration // of a fetch
	MinBytes       int64         // of a fetch
	MaxBytes       int64         // of a fetch
	PartitionBytes int64         // maximum of one partition in a fetch
	Rewind         int64         // fetches in a thousand that start at a random earlier offset
	Ask            int64         // fetches in a thousand after a ListOffsets
	Epochs         int64         // fetches in a thousand after an OffsetForLeaderEpoch
	Forget         int64         // fetches in a thousand of a session that drop a partition

	// Consumer, member, pipe.
	Committed int64 // not 0: reads committed records only

	// Member, pipe.
	Group       int64         // number of its group
	Consumer    int64         // not 0: speaks the protocol of KIP-848
	Cooperative int64         // not 0: keeps its partitions while the group rebalances
	Static      int64         // not 0: with group.instance.id
	Session     time.Duration // timeout; 3 s
	Rebalance   time.Duration // timeout; 5 s
	Heartbeat   time.Duration // interval; 500 ms
	Leave       int64         // heartbeats in a thousand instead of which it leaves
	Die         int64         // heartbeats in a thousand, or transactions, at which it is started anew
	Freeze      int64         // heartbeats in a thousand after which it does nothing for longer than its session
	Unstable    int64         // not 0: fetches offsets without waiting for open transactions
	Choosy      int64         // not 0: offers only some of the classic protocols of its group
	Expression  int64         // not 0: subscribes by a regular expression (KIP-848)
	Slow        int64         // revocations in a thousand that take a while (KIP-848)
	Mute        int64         // classic joins in a thousand that no SyncGroup follows
	Quit        int64         // lost connections in a thousand that end it for good; not of a group's first member
	Large       int64         // commits in a thousand with metadata that are too large
	Old         int64         // commits in a thousand with the oldest epoch that is allowed (KIP-848)

	// Transactor, pipe. A transactor uses Records and Spread, too.
	ID      int64         // number of its transactional id
	First   int64         // not 0: speaks the first generation
	Timeout time.Duration // transaction.timeout.ms; 5 s (committer, too)
	Abort   int64         // transactions in a thousand that are aborted
	Stall   int64         // transactions in a thousand that pause until about their timeout
	Late    int64         // requests in a thousand of which a copy arrives later
	Empty   int64         // transactions in a thousand that an empty one follows (transactor of the second generation)
	Doom    int64         // not 0: a topic of its own is deleted within a transaction (transactor)

	// Keeper. It uses Records, MaxBytes and Abort, too, and Compress as the number of its topic's compression.type: 0 is producer, 1
	// uncompressed, then the codecs in the order of their numbers.
	Keys       int64 // that it writes, 1 and up
	Deletes    int64 // records in a thousand that delete their key
	Transacts  int64 // not 0: it writes in transactions
	Tombstones int64 // not 0: its tombstones stay for longer than the run
	Expires    int64 // not 0: its topic is compacted and deleted by retention, which deletes nothing in a run

	// Churn.
	Reuse int64 // 1: each topic has the name of the one before

	// All but producers: mean time between two operations.
	Pause time.Duration
}

// WorkloadKinds are the kinds of clients.
var WorkloadKinds = []string{"producer", "consumer", "churn", "trimmer", "operator", "breaker", "member", "transactor", "pipe", "committer", "keeper"}

// field is one field of a line: its name and where it lies.
type field struct {
	name string
	to   any // *string, *int64 or *time.Duration
}

func (c *Config) fields() []field {
	return []field{
		{"duration", &c.Duration},
		{"wal", &c.WALBytes},
		{"wal-disk", &c.WALDiskBytes},
		{"wal-shared", &c.WALShared},
		{"volume", &c.VolumeBytes},
		{"cache", &c.CacheBytes},
		{"block-cache", &c.BlockCacheBytes},
		{"upload", &c.UploadBytes},
		{"interval", &c.UploadInterval},
		{"frames", &c.FrameBudget},
		{"sessions", &c.FetchSessions},
		{"block", &c.BlockBytes},
		{"drift", &c.DriftPPM},
		{"turn", &c.TurnCost},
		{"compute", &c.ComputeSlow},
		{"restarts", &c.Restarts},
		{"message", &c.MessageBytes},
		{"summary", &c.SummaryBytes},
		{"snapshot", &c.SnapshotEntries},
		{"record", &c.RecordBytes},
		{"queue", &c.QueueBytes},
		{"backlog", &c.BacklogEntries},
		{"uploads", &c.Uploads},
		{"data-block", &c.DataBlockBytes},
		{"own-object", &c.OwnObjectBytes},
		{"tail", &c.TailBytes},
		{"checkpoints", &c.CheckpointBytes},
		{"checkpoint-inline", &c.InlineBytes},
		{"key-object", &c.KeyObjectBytes},
		{"key-index", &c.KeyIndexBytes},
		{"grace", &c.Grace},
		{"listing", &c.Listing},
		{"housekeeping", &c.Housekeeping},
		{"producer-idle", &c.ProducerIdle},
		{"producers", &c.Producers},
		{"ship-async", &c.ShipAsync},
		{"wal-object", &c.WALObject},
		{"wal-object-bytes", &c.WALObjectBytes},
		{"wal-creates", &c.WALCreates},
		{"wal-linger-burst", &c.WALLingerBurst},
		{"wal-linger-min", &c.WALLingerMin},
		{"wal-linger-max", &c.WALLingerMax},
		{"producer-ids", &c.ProducerIDs},
		{"list-page", &c.ListPage},
		{"come-back", &c.ComeBack},
		{"session", &c.Session},
		{"election", &c.Election},
		{"voters", &c.Voters},
		{"remove-voters", &c.RemoveVoters},
		{"lost-zone", &c.LostZone},
		{"lost-at", &c.LostAt},
		{"lost-how", &c.LostHow},
		{"bootstrap", &c.Bootstrap},
		{"finalize", &c.Finalize},
		{"downgrade", &c.Downgrade},
		{"clean", &c.CleanBytes},
		{"compact-parts", &c.CompactParts},
		{"join-parts", &c.JoinParts},
		{"compact-bytes", &c.CompactBytes},
		{"join-bytes", &c.JoinBytes},
		{"object-bytes", &c.ObjectBytes},
		{"compact-every", &c.CompactEvery},
		{"sparse-age", &c.SparseAge},
		{"sparse-bytes", &c.SparseBytes},
		{"compact-rate", &c.CompactRate},
		{"no-compaction", &c.NoCompaction},
		{"group-partitions", &c.GroupPartitions},
		{"txn-partitions", &c.TxnPartitions},
		{"rebalance-delay", &c.RebalanceDelay},
		{"add-retry", &c.AddRetry},
		{"offsets-retention", &c.OffsetsRetention},
		{"txn-id-expiration", &c.TxnIDExpiration},
		{"group-session", &c.GroupSession},
		{"assignment-interval", &c.AssignmentInterval},
		{"ahead", &c.Ahead},
		{"first-epoch", &c.FirstEpoch},
		{"first-generation", &c.FirstGeneration},
	}
}

func (b *Broker) fields() []field {
	return []field{{"id", &b.NodeID}, {"zone", &b.Zone}, {"drift", &b.DriftPPM}, {"start", &b.Start}, {"release", &b.Release}, {"upgrade", &b.Upgrade}}
}

func (t *Topic) fields() []field {
	return []field{{"name", &t.Name}, {"partitions", &t.Partitions}, {"retention", &t.Retention}, {"retention-bytes", &t.RetentionBytes}, {"untimed", &t.Untimed}}
}

func (w *Workload) fields() []field {
	return []field{
		{"client", &w.Client},
		{"lag", &w.Lag},
		{"zone", &w.Zone},
		{"rate", &w.PerSecond},
		{"records", &w.Records},
		{"value", &w.ValueBytes},
		{"in-flight", &w.InFlight},
		{"spread", &w.Spread},
		{"idempotent", &w.Idempotent},
		{"compress", &w.Compress},
		{"give-up", &w.GiveUp},
		{"huge", &w.Huge},
		{"excess", &w.Excess},
		{"sessions", &w.Sessions},
		{"max-wait", &w.MaxWait},
		{"min-bytes", &w.MinBytes},
		{"max-bytes", &w.MaxBytes},
		{"partition-bytes", &w.PartitionBytes},
		{"rewind", &w.Rewind},
		{"ask", &w.Ask},
		{"acks", &w.Acks},
		{"poison", &w.Poison},
		{"mixed", &w.Mixed},
		{"epochs", &w.Epochs},
		{"forget", &w.Forget},
		{"reuse", &w.Reuse},
		{"committed", &w.Committed},
		{"group", &w.Group},
		{"kip-848", &w.Consumer},
		{"cooperative", &w.Cooperative},
		{"static", &w.Static},
		{"session", &w.Session},
		{"rebalance", &w.Rebalance},
		{"heartbeat", &w.Heartbeat},
		{"leave", &w.Leave},
		{"die", &w.Die},
		{"freeze", &w.Freeze},
		{"unstable", &w.Unstable},
		{"choosy", &w.Choosy},
		{"expression", &w.Expression},
		{"slow", &w.Slow},
		{"mute", &w.Mute},
		{"quit", &w.Quit},
		{"large", &w.Large},
		{"old", &w.Old},
		{"id", &w.ID},
		{"first", &w.First},
		{"timeout", &w.Timeout},
		{"abort", &w.Abort},
		{"stall", &w.Stall},
		{"late", &w.Late},
		{"doom", &w.Doom},
		{"empty", &w.Empty},
		{"keys", &w.Keys},
		{"deletes", &w.Deletes},
		{"transacts", &w.Transacts},
		{"tombstones", &w.Tombstones},
		{"expires", &w.Expires},
		{"pause", &w.Pause},
	}
}

func (s *Strike) fields() []field {
	return []field{{"at", &s.At}, {"for", &s.For}, {"client", &s.Client}, {"rate", &s.Rate}, {"amount", &s.Amount}, {"node", &s.Node}, {"zone", &s.Zone}, {"early", &s.Early}}
}

// String is the plan's text.
func (p *Plan) String() string {
	var b strings.Builder
	writeLine(&b, "config", p.Config.fields())
	for i := range p.Brokers {
		writeLine(&b, "broker", p.Brokers[i].fields())
	}
	for i := range p.Topics {
		writeLine(&b, "topic", p.Topics[i].fields())
	}
	for i := range p.Workloads {
		writeLine(&b, "client "+p.Workloads[i].Kind, p.Workloads[i].fields())
	}
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "fault %v\n", f)
	}
	for _, mark := range p.Never {
		fmt.Fprintf(&b, "never %s\n", mark)
	}
	return b.String()
}

func writeLine(b *strings.Builder, head string, fields []field) {
	b.WriteString(head)
	for _, f := range fields {
		switch to := f.to.(type) {
		case *string:
			fmt.Fprintf(b, " %s=%s", f.name, *to)
		case *int64:
			if *to != 0 {
				fmt.Fprintf(b, " %s=%d", f.name, *to)
			}
		case *time.Duration:
			if *to != 0 {
				fmt.Fprintf(b, " %s=%v", f.name, *to)
			}
		}
	}
	b.WriteByte('\n')
}

// Parse reads a plan's text. Empty lines and lines that start with # are skipped.
func Parse(text string) (*Plan, error) {
	p := &Plan{}
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := p.parseLine(words); err != nil {
			return nil, fmt.Errorf("plan, line %d: %w", n+1, err)
		}
	}
	return p, nil
}

func (p *Plan) parseLine(words []string) error {
	switch words[0] {
	case "config":
		return parseFields(words[1:], p.Config.fields())
	case "broker":
		p.Brokers = append(p.Brokers, Broker{})
		return parseFields(words[1:], p.Brokers[len(p.Brokers)-1].fields())
	case "topic":
		p.Topics = append(p.Topics, Topic{})
		return parseFields(words[1:], p.Topics[len(p.Topics)-1].fields())
	case "client":
		if len(words) < 2 || !contains(WorkloadKinds, words[1]) {
			return fmt.Errorf("client wants a kind, one of %s", strings.Join(WorkloadKinds, " "))
		}
		p.Workloads = append(p.Workloads, Workload{Kind: words[1]})
		return parseFields(words[2:], p.Workloads[len(p.Workloads)-1].fields())
	case "fault":
		f, err := parseFault(words[1:])
		p.Faults = append(p.Faults, f)
		return err
	case "never":
		p.Never = append(p.Never, strings.Join(words[1:], " "))
		return nil
	}
	return fmt.Errorf("unknown line %q", words[0])
}

// parseFault reads a fault's line, or a strike's kind and fields. It refuses what the simulator cannot do.
func parseFault(words []string) (faults.Fault, error) {
	f, err := readFault(words)
	if err == nil {
		_, err = strikeOf(&f)
	}
	return f, err
}

func readFault(words []string) (faults.Fault, error) {
	if len(words) == 0 || !contains(FaultKinds, words[0]) && !contains(ClusterFaultKinds, words[0]) && !contains(LossKinds, words[0]) {
		return faults.Parse(strings.Join(words, " "))
	}
	s := Strike{Kind: words[0]}
	if err := parseFields(words[1:], s.fields()); err != nil {
		return faults.Fault{}, err
	}
	return s.fault()
}

func contains(list []string, s string) bool {
	for _, o := range list {
		if o == s {
			return true
		}
	}
	return false
}

func parseFields(words []string, fields []field) error {
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return fmt.Errorf("%q is not name=value", word)
		}
		if err := parseField(name, value, fields); err != nil {
			return err
		}
	}
	return nil
}

func parseField(name, value string, fields []field) error {
	for _, f := range fields {
		if f.name != name {
			continue
		}
		var err error
		switch to := f.to.(type) {
		case *string:
			*to = value
		case *int64:
			*to, err = strconv.ParseInt(value, 10, 64)
		case *time.Duration:
			*to, err = time.ParseDuration(value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("unknown field %q", name)
}
