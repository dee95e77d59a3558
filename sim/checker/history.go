package checker

import "fmt"

// Outcome is what a client knows of an operation that it gave.
type Outcome uint8

const (
	// Open: no answer yet, or none that tells whether it happened.
	Open Outcome = iota
	// Done: it happened.
	Done
	// Failed: it definitely did not happen, and never will.
	Failed
)

// Append is one batch given by a producer. Its index in Partition.Appends is the
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
	// Timestamp is that of all its records.
	Timestamp int64
}

// Batch is one batch that a read returned.
type Batch struct {
	Base    int64
	ID      int32 // index of the append whose value it carries
	Records int32
}

// Read is one partition's part of a fetch response.
type Read struct {
	Client        int32
	Drain         int32 // 1 and up: belongs to that drain
	OutOfRange    bool
	Call, Return  int64
	From          int64
	HighWatermark int64
	LogStart      int64 // -1: not told
	first, count  int   // in Partition.batches
}

// Bound is an answer to ListOffsets for the earliest or latest offset.
type Bound struct {
	Latest       bool
	Call, Return int64
	Offset       int64
}

// Lookup is an answer to ListOffsets for a timestamp.
type Lookup struct {
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

// Partition is the history of one partition of one topic incarnation.
type Partition struct {
	Name string
	// Trimming says that the broker may trim on its own (retention).
	Trimming bool
	Appends  []Append
	Reads    []Read
	Bounds   []Bound
	Lookups  []Lookup
	Trims    []Trim
	Drains   []Drain

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
	return len(p.Appends) + len(p.Reads) + len(p.Bounds) + len(p.Lookups) + len(p.Trims)
}

// Violation is a broken promise.
type Violation struct {
	Invariant string // I1 to I12, or the name of a check
	Text      string
}

func (v Violation) Error() string { return v.Invariant + ": " + v.Text }
