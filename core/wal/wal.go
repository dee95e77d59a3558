// Package wal is the write-ahead log, device kind.
package wal

import (
	"weir/core/env"
	"weir/core/task"
)

// Position is a logical byte position in one log; it only grows. Its place in
// the file is Position modulo the circular region.
type Position uint64

// Config bounds a log.
type Config struct {
	SizeBytes         int64 // of the circular region
	SlabBytes         int   // of a slab that groups are laid into, one after another (log cache granularity)
	GroupBytesMax     int
	WritesInFlightMax int
	SummaryEveryBytes int64 // 32 MiB
	GrowBytes         int64 // zero-written growth step ahead of use
}

// Owner is told when its append became durable. Called on the loop, in order of
// appends of the whole log.
type Owner interface{ Durable(a *Append) }

// Append is one batch to log. The caller owns the struct again at Durable.
type Append struct {
	Stream        uint64
	LeaderEpoch   int32
	BaseOffset    int64
	Offsets       int32  // how many offsets the batch takes
	Payload       []byte // lent until Durable: copied off the loop, into the slab, patched there with BaseOffset and LeaderEpoch
	LogAppendTime int64  // milliseconds to stamp into the batch, or -1
	Owner         Owner

	// Set by Log.Append.
	At     Position
	Slab   *env.Slab // the slab that will hold the batch; valid to read once durable
	Offset int       // of the batch in Slab.Data
}

// Summarizer appends to dst what a recoverer needs to know without payloads:
// stream ends, producers, open transactions (R4), as of everything appended.
type Summarizer interface{ AppendSummary(dst []byte) []byte }

// Log is one incarnation's log.
type Log struct{}

// Create makes the log of one broker epoch; an existing name is an error (R5).
// failed is called at most once, when the device failed: the incarnation must end.
func Create(loop *task.Loop, e env.Env, config Config, name string, brokerEpoch int64, summary Summarizer, failed func(error), done func(*Log, error)) {
	panic("stub")
}

// Append places a in the gathering group. False means the log is full: nothing
// was placed; try again when the function given to OnSpace runs.
func (l *Log) Append(a *Append) bool { panic("stub") }

// OnSpace sets the function that runs when space came free after a refused Append.
func (l *Log) OnSpace(f func()) { panic("stub") }

// Trim gives up everything below upTo.
func (l *Log) Trim(upTo Position) { panic("stub") }

// End is the position after the last append; Trimmed the lowest kept; Used the bytes between.
func (l *Log) End() Position     { panic("stub") }
func (l *Log) Trimmed() Position { panic("stub") }
func (l *Log) Used() int64       { panic("stub") }

// Entry is one recovered record: where it lies and its batch's header.
type Entry struct {
	Stream      uint64
	LeaderEpoch int32
	BaseOffset  int64
	Offsets     int32
	Bytes       int32
	At          Position
	BatchHeader []byte // the batch's 61 header bytes, patched; valid during the visit only
}

// Sealed is a log of an ended incarnation, open for reading.
type Sealed struct {
	Name        string
	BrokerEpoch int64
	Summary     []byte // newest valid summary, nil if none
	SummaryAt   Position
	End         Position
}

// Recover opens the named log, syncs it before it trusts what it reads (R7),
// checks every group, and visits every entry from the trim point to the end in
// order. Damage below the highest durable mark is an error (loud).
func Recover(loop *task.Loop, e env.Env, name string, visit func(Entry), done func(*Sealed, error)) {
	panic("stub")
}

// Read reads one entry's batch back into a slab of its own, checksums checked.
func (s *Sealed) Read(at Position, bytes int32, done func(slab *env.Slab, offset int, err error)) {
	panic("stub")
}

// Remove deletes the log's file. Only once all its ranges are committed (R3).
func (s *Sealed) Remove(done func(error)) { panic("stub") }
