// Package plan says what a run does: the brokers and their configuration, the topics, the
// clients' workloads, and the faults. A run is (seed, plan); the seed decides all
// that the plan leaves open.
//
// A plan is a list of lines, each of which can be removed without a change to any
// other: that is what makes a failing plan shrink. Its text form is its only form;
// a field left out has its zero value, which means "no fault" or the default.
//
// [Swarm] draws a plan from a seed; [Reference] is the committed plan by which the
// simulator's speed is measured.
package plan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Plan is one run's plan.
type Plan struct {
	Config    Config
	Brokers   []Broker // none: one, in zone 1
	Topics    []Topic
	Workloads []Workload
	Faults    []Fault
}

// Config is the run's length and the broker's configuration; zero fields have the
// defaults of the simulator.
type Config struct {
	Duration        time.Duration // of the phase with faults
	WALBytes        int64
	WALDiskBytes    int64 // of the disk that the logs lie on; 0: no bound
	VolumeBytes     int64 // of the volume that logs and metadata share; 0: each has its own
	CacheBytes      int64
	BlockCacheBytes int64
	UploadBytes     int64
	UploadInterval  time.Duration
	FrameBudget     int64
	FetchSessions   int64
	BlockBytes      int64 // of the disks
	DriftPPM        int64 // of the broker's clock
	TurnCost        time.Duration
	ComputeSlow     int64 // thousandths
	Restarts        int64 // how often the broker is restarted between drains at the end
	MessageBytes    int64 // the largest batch that the broker takes

	// Bounds of the broker's parts that no setting names; see node.Tuning.
	SummaryBytes    int64
	SnapshotEntries int64
	RecordBytes     int64
	QueueBytes      int64 // of proposals that the quorum has not applied yet
	Uploads         int64
	DataBlockBytes  int64
	OwnObjectBytes  int64
	TailBytes       int64
	CheckpointBytes int64
	Grace           time.Duration // before destroyed objects are deleted
	Listing         time.Duration // between two listings of the store
	Housekeeping    time.Duration // between two rounds of retention
	ProducerIdle    time.Duration // after which an idle producer is forgotten
	Producers       int64         // known of one partition
	ShipAsync       int64         // not 0: nothing waits for the metadata's copy in the store
	ProducerIDs     int64         // granted to a broker at a time
	ListPage        int64         // keys of one listing of the store

	// ComeBack is how long producers are idle, once all have their answers, before they
	// write again; 0: they do not.
	ComeBack time.Duration
}

// Broker is one machine of the cluster; machines are numbered from 1 in the plan's order.
type Broker struct {
	NodeID int64 // 0: the machine's number
	Zone   int64 // 1 and up
}

// Machines are the plan's brokers: at least one.
func (p *Plan) Machines() []Broker {
	if len(p.Brokers) == 0 {
		return []Broker{{Zone: 1}}
	}
	return p.Brokers
}

// Topic is a topic made before the workloads start.
type Topic struct {
	Name           string
	Partitions     int64
	Retention      time.Duration // 0: for ever
	RetentionBytes int64         // 0: no limit
	Untimed        int64         // 1: records are written without a timestamp
}

// Workload is one client.
type Workload struct {
	// Kind is one of [WorkloadKinds]: a producer, a consumer, a churn (makes and deletes
	// topics), a trimmer (deletes records), an operator (changes configurations and
	// partitions), a breaker (sends what must be refused).
	Kind string
	// Client is its number, unique; draws are keyed by it.
	Client int64
	Lag    int64 // how far below the newest versions it speaks, in thousandths
	Zone   int64 // where it is; 0: in none of the brokers' zones

	// Producer.
	PerSecond  int64
	Records    int64
	ValueBytes int64
	InFlight   int64
	Spread     int64
	Idempotent int64
	Compress   int64 // thousandths
	Huge       int64 // thousandths of batches that are nearly as large as the broker takes
	Excess     int64 // thousandths of batches that are larger than that
	GiveUp     time.Duration
	Acks       int64 // of a plain producer. 0: all; 1: the leader's; 2: none
	Poison     int64 // rounds in a thousand with a batch that must be refused
	Mixed      int64 // milliseconds between the timestamps of a batch's records

	// Consumer.
	Sessions       int64
	MaxWait        time.Duration
	MinBytes       int64
	MaxBytes       int64
	PartitionBytes int64
	Rewind         int64 // thousandths
	Ask            int64 // thousandths of fetches behind a ListOffsets
	Epochs         int64 // thousandths of fetches behind a question about leader epochs
	Forget         int64 // thousandths of a session's fetches that drop a partition

	// Churn.
	Reuse int64 // 1: each topic has the name of the one before

	// All but producers: mean time between two operations.
	Pause time.Duration
}

// Fault is one fault and its time; At counts from the start of the workloads, or of
// the world. It strikes the machine Node, or the machines of Zone, or all if both are 0;
// a fault of the object store strikes all.
//
//	crash, kill, stop    power failure, SIGKILL, clean shutdown; restarted after For
//	crash-put, kill-put  the same, when the next PUT has taken effect and its answer is under way
//	crash-wal, kill-wal, crash-meta, kill-meta  the same, while the next write of that disk is in flight
//	crash-super, kill-super  the same, while the next superblock of the log is being written
//	pause                the loop stands still for For
//	clock-step           the wall clock jumps by Amount
//	wal-*, meta-*        slow (Rate thousandths), stall (Rate millionths of operations, by Amount),
//	                     full, read-error, write-error, sync-error (Rate millionths)
//	wal-shear            a power failure leaves a block of a write in flight part new, part old (Rate thousandths)
//	store-*              refuse, lost-before, lost-after, late, short, corrupt, slow, deny-put, deny-get,
//	                     join (Rate thousandths); uplink, downlink (Rate bytes a second of each machine)
//	cut, cut-in, cut-out, stall, net-slow (Rate thousandths), reset    of Client, or of all if -1
//
// Disks are restored, cloned and lost, one after another: a fault that comes while another of them is under
// way is left out. Each begins with a power failure, and ends when the operator has made it right.
//
//	meta-old     the metadata disk is replaced by its copy of Amount ago; after For, if the broker could not
//	             start from it, by the newer disk
//	disks-old    both disks are copied; Amount later the copies take their place, and after For the newer disks
//	             theirs, unless the copies went on
//	clone        a second machine starts from a copy of both disks; after For the one with the newer log goes on
//	meta-lost    the metadata disk is empty after For, and is rebuilt from the object store
type Fault struct {
	Kind   string
	At     time.Duration
	For    time.Duration
	Client int64
	Rate   int64
	Amount time.Duration
	Node   int64 // machine; 0: each in Zone
	Zone   int64 // 0: any
	// Early counts At from before the broker's first start, if it is not 0.
	Early int64
}

// WorkloadKinds are the kinds of clients.
var WorkloadKinds = []string{"producer", "consumer", "churn", "trimmer", "operator", "breaker"}

// FaultKinds are the kinds of faults, in the order in which the swarm draws them.
var FaultKinds = []string{
	"crash", "kill", "stop", "crash-put", "kill-put", "pause", "clock-step",
	"wal-slow", "wal-stall", "wal-full", "wal-read-error", "wal-write-error", "wal-sync-error",
	"meta-slow", "meta-stall", "meta-full", "meta-read-error", "meta-write-error", "meta-sync-error",
	"store-refuse", "store-lost-before", "store-lost-after", "store-late", "store-short", "store-corrupt", "store-slow",
	"cut", "cut-in", "cut-out", "stall", "net-slow", "reset",
	"crash-wal", "kill-wal", "crash-meta", "kill-meta",
	"store-deny-put", "store-deny-get", "store-join", "store-uplink", "store-downlink",
	"meta-old", "disks-old", "clone", "meta-lost",
	"crash-super", "kill-super", "wal-shear",
}

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
		{"uploads", &c.Uploads},
		{"data-block", &c.DataBlockBytes},
		{"own-object", &c.OwnObjectBytes},
		{"tail", &c.TailBytes},
		{"checkpoints", &c.CheckpointBytes},
		{"grace", &c.Grace},
		{"listing", &c.Listing},
		{"housekeeping", &c.Housekeeping},
		{"producer-idle", &c.ProducerIdle},
		{"producers", &c.Producers},
		{"ship-async", &c.ShipAsync},
		{"producer-ids", &c.ProducerIDs},
		{"list-page", &c.ListPage},
		{"come-back", &c.ComeBack},
	}
}

func (b *Broker) fields() []field { return []field{{"id", &b.NodeID}, {"zone", &b.Zone}} }

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
		{"pause", &w.Pause},
	}
}

func (f *Fault) fields() []field {
	return []field{{"at", &f.At}, {"for", &f.For}, {"client", &f.Client}, {"rate", &f.Rate}, {"amount", &f.Amount}, {"node", &f.Node}, {"zone", &f.Zone}, {"early", &f.Early}}
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
	for i := range p.Faults {
		writeLine(&b, "fault "+p.Faults[i].Kind, p.Faults[i].fields())
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
		if len(words) < 2 || !contains(FaultKinds, words[1]) {
			return fmt.Errorf("fault wants a kind, one of %s", strings.Join(FaultKinds, " "))
		}
		p.Faults = append(p.Faults, Fault{Kind: words[1]})
		return parseFields(words[2:], p.Faults[len(p.Faults)-1].fields())
	}
	return fmt.Errorf("unknown line %q", words[0])
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
