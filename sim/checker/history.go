package checker

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// CodeName is the name of a Kafka error code, as "UNKNOWN_TOPIC_OR_PARTITION (3)".
func CodeName(code int16) string {
	if code == -1 {
		return "no answer"
	}
	name := "NONE"
	if err, ok := kerr.ErrorForCode(code).(*kerr.Error); ok {
		name = err.Message
	}
	return fmt.Sprintf("%s (%d)", name, code)
}

// instant prints a stamp as simulated time.
func instant(stamp int64) string { return time.Duration(stamp).Round(time.Microsecond).String() }

// String names an outcome.
func (o Outcome) String() string { return [...]string{"unknown", "acknowledged", "failed"}[o] }

// Outcome is what a client knows of an operation that it sent.
type Outcome uint8

const (
	// Open: no answer yet, or none that tells whether it happened.
	Open Outcome = iota
	// Done: it happened.
	Done
	// Failed: it definitely did not happen, and never will.
	Failed
)

// Append is one batch sent by a producer. Its index in Partition.Appends is the
// value that its records carry.
type Append struct {
	Client  int32
	Records int32
	// Session names one (producer id, epoch) of an idempotent producer; 0 is none.
	Session uint64
	// Sequence counts the session's batches for this partition, from 0.
	Sequence int32
	Outcome  Outcome
	Code     int16 // of the answer
	Call     int64
	Return   int64 // when the answer came; without one, no bound
	Base     int64 // offset acknowledged; -1 unknown
	Bytes    int64 // of the batch as it was sent
	// Transaction is the index, plus one, of its transaction in the run's transactions; 0 is none.
	Transaction int32
	// Timestamp is that of its first record, in milliseconds, and Mixed how much later
	// its other records may be; see [Append.At]. With Mixed 0 all are the same.
	Timestamp, Mixed int64
}

// At is the timestamp of the batch's i-th record. With Mixed, timestamps go up and down,
// and the largest is in the middle.
func (a *Append) At(i int32) int64 {
	if a.Mixed == 0 || i == 0 {
		return a.Timestamp
	}
	return a.Timestamp + (int64(i)*7919+11)%(a.Mixed+1)
}

// Max is the largest timestamp of the batch.
func (a *Append) Max() int64 {
	largest := a.Timestamp
	for i := int32(1); a.Mixed > 0 && i < a.Records; i++ {
		largest = max(largest, a.At(i))
	}
	return largest
}

// Kind says what a batch is to the reader.
type Kind uint8

const (
	// Data are records that the reader was given.
	Data Kind = iota
	// Aborted are records that a reader of committed records leaves out: the response lists their
	// transaction as aborted.
	Aborted
	// AbortMarker and CommitMarker end a transaction in the partition.
	AbortMarker
	CommitMarker
	// GivenUp is an empty batch that takes offsets which were given up.
	GivenUp
)

// Batch is one batch that a read returned.
type Batch struct {
	Base    int64
	ID      int32 // index of the append whose value it carries; a marker has none
	Records int32
	Epoch   int32 // leader epoch in which it was written
	Kind    Kind
	Marker  Marker // of a marker
}

// Marker is what a transaction's marker says beside its kind.
type Marker struct {
	Producer  int64
	Epoch     int16
	Timestamp int64 // milliseconds
}

func (b *Batch) marker() bool { return b.Kind >= AbortMarker }

func (b *Batch) end() int64 { return b.Base + int64(b.Records) }

// Read is one partition's part of a fetch response.
type Read struct {
	Client        int32
	Drain         int32 // 1 and up: belongs to that drain
	OutOfRange    bool
	Committed     bool // read_committed
	Call, Return  int64
	From          int64
	HighWatermark int64
	LastStable    int64 // offset; with Committed, nothing at or above it is returned
	LogStart      int64 // -1: not told
	first, count  int   // in Partition.batches
}

// Bound is an answer to ListOffsets for the earliest or latest offset.
type Bound struct {
	Client       int32
	Latest       bool
	Committed    bool // of read_committed: the latest is the last stable offset
	Call, Return int64
	Offset       int64
}

// MaxTimestamp, as the timestamp of a Lookup, asks for the record with the largest
// timestamp (KIP-734).
const MaxTimestamp = -3

// Lookup is an answer to ListOffsets for a timestamp, or for [MaxTimestamp].
type Lookup struct {
	Client       int32
	Call, Return int64
	Timestamp    int64
	Offset       int64 // -1: no record is as late as that
	Found        int64 // timestamp of what was found
}

// Trim is a DeleteRecords.
type Trim struct {
	Outcome      Outcome
	Call, Return int64
	Before       int64 // -1: the high watermark
	LogStart     int64 // as answered
}

// Drain is one reading of the whole partition while nothing is written.
type Drain struct {
	Call, Return int64
	Start, End   int64
}

// EpochEnd is an answer to OffsetForLeaderEpoch (KIP-320).
type EpochEnd struct {
	Client       int32
	Call, Return int64
	Asked        int32 // leader epoch
	Epoch        int32 // as answered: the largest not above Asked; -1 undefined
	End          int64 // where it ends; -1 undefined
}

// Retention is what the broker may delete on its own; the zero value is nothing.
type Retention struct {
	Millis int64 // records older than that; 0 is no limit
	Bytes  int64 // the oldest, as long as so many bytes stay; 0 is no limit
	// WallBase is the clients' wall clock at stamp 0, in milliseconds; Ahead and Behind
	// are how far a broker's may be before or after it.
	WallBase, Ahead, Behind int64
}

func (r *Retention) any() bool { return r.Millis > 0 || r.Bytes > 0 }

// Partition is the history of one partition of one topic incarnation.
type Partition struct {
	Name string
	// Retention is what the broker may delete unasked.
	Retention Retention
	// MarkersMax is how many markers clients may have caused here, at most.
	MarkersMax int64
	Appends    []Append
	Reads      []Read
	Bounds     []Bound
	Lookups    []Lookup
	Ends       []EpochEnd
	Trims      []Trim
	Drains     []Drain
	// Undone are the stamps at which the metadata disk was exchanged or rebuilt: what was applied and not
	// acknowledged before, such as a log start that readers saw, may be undone since.
	Undone []int64
	// Lost are the offsets that an administrator gave up, ascending: what was acknowledged there may be lost, and only that (R16).
	Lost []Lost
	// OutOfOrder is how often an idempotent producer was told that a batch of its session is missing, which was acknowledged.
	OutOfOrder int

	batches []Batch
	foreign []string
}

// AddRead records a read; batches are copied.
func (p *Partition) AddRead(r Read, batches []Batch) {
	r.first, r.count = len(p.batches), len(batches)
	p.batches = append(p.batches, batches...)
	p.Reads = append(p.Reads, r)
}

// Batches are what a read returned.
func (p *Partition) Batches(r *Read) []Batch { return p.batches[r.first : r.first+r.count] }

// Foreign records bytes that no producer of this partition wrote.
func (p *Partition) Foreign(format string, args ...any) {
	p.foreign = append(p.foreign, fmt.Sprintf(format, args...))
}

// Operations counts what was recorded.
func (p *Partition) Operations() int {
	return len(p.Appends) + len(p.Reads) + len(p.Bounds) + len(p.Lookups) + len(p.Ends) + len(p.Trims)
}

// Violation is a violated invariant.
type Violation struct {
	Invariant string // I1 to I12, or the name of a check
	Text      string
}

// meanings say what a violation of an invariant means to a user; core/doc.go states the
// invariants.
var meanings = map[string]string{
	"I1":              "an acknowledged write was lost, or deleted unasked",
	"I2":              "readers were served wrong, damaged or reordered data",
	"I3":              "the high watermark, or what lies above it, was wrong",
	"I4":              "a range of a stream was committed twice, or with a gap",
	"I5":              "the WAL gave up what was not committed",
	"I6":              "a batch was stored twice, or out of its producer's order",
	"I7":              "a transaction was seen in part, too early, or against its outcome",
	"I9":              "a committed group offset was lost or rolled back",
	"group":           "a partition had two owners, or a group took what it must refuse",
	"I8":              "the object store and the metadata disagree",
	"I10":             "the metadata are not what was asked for",
	"refusal":         "a request that must be refused was taken, or refused with another code",
	"I11":             "the cluster did not come back to work in time",
	"compaction":      "compaction by key left what a later record made superfluous",
	"contract":        "the core broke the contract of its environment",
	"config":          "an acknowledged configuration is not in force",
	"epoch":           "leader epochs do not agree with the log (KIP-320)",
	"latency":         "a waiting fetch was answered too late",
	"linearizability": "no order of operations explains what clients saw",
	"lookup":          "ListOffsets found the wrong record",
	"memory":          "a buffer was never released",
	"panic":           "the broker panicked",
	"proposal":        "a broker's proposal was applied twice",
	"protocol":        "an answer breaks Kafka's protocol",
	"trim":            "the log start moved where nobody asked it to be",
}

// Meaning says in a line what a violation of an invariant means; empty if it has no line.
func Meaning(invariant string) string { return meanings[invariant] }

func (v Violation) Error() string { return v.Invariant + ": " + v.Text }
