// Package stream is the storage engine: ordered append, fetch, trim, ranges.
package stream

import (
	"weir/core/env"
	"weir/core/metadata"
)

// Owner is the partition above a stream. Called on the loop.
type Owner interface {
	// Durable says that everything below highWatermark is durable; state for
	// checkpoints must advance to exactly there.
	Durable(highWatermark int64)
	// Checkpoint appends the state exactly as of the stream's high watermark (R4).
	Checkpoint(dst []byte) []byte
	// Trimmed says that the log start moved.
	Trimmed(logStart int64)
}

// Batch is one batch to append.
type Batch struct {
	Data          []byte // lent until Release: the frame's bytes
	Offsets       int32
	MaxTimestamp  int64
	LogAppendTime int64  // or -1
	Release       func() // the payload was copied (or the incarnation ended): the frame may go
}

// Stream is one partition's log on its leader.
type Stream struct{}

// Append gives the batch the next offsets. False: the WAL or the cache is full;
// nothing was taken; Engine.OnSpace tells when to try again.
func (s *Stream) Append(b Batch) (baseOffset int64, ok bool) { panic("stub") }

func (s *Stream) LogStart() int64      { panic("stub") }
func (s *Stream) HighWatermark() int64 { panic("stub") }
func (s *Stream) End() int64           { panic("stub") } // next offset to assign

// Fetched is a run of whole batches, the first holding the asked offset. Slabs
// are retained for the receiver, who releases each once.
type Fetched struct {
	Batches [][]byte
	Bytes   int
	Slabs   []*env.Slab
	Err     error
}

// Release drops the slabs.
func (f *Fetched) Release() {
	for _, s := range f.Slabs {
		s.Release()
	}
	f.Slabs = nil
}

// Read reads from offset, which lies in [LogStart, HighWatermark), up to the high watermark: at
// least one batch, then as many as fit in maxBytes. done may run before Read returns (log cache hit).
func (s *Stream) Read(offset int64, maxBytes int, done func(Fetched)) { panic("stub") }

// FindTimestamp finds the first batch whose max timestamp is at least ts and
// reads it; Err nil and no batch: none. ts -1 asks for the batch with the largest timestamp.
func (s *Stream) FindTimestamp(ts int64, done func(Fetched)) { panic("stub") }

// Sizes for retention and DescribeLogDirs.
func (s *Stream) Bytes() int64 { panic("stub") }

// RetentionPoint returns the log start that retention asks for: parts wholly
// older than minTimestamp (or -1) or beyond the newest maxBytes (or -1) go.
func (s *Stream) RetentionPoint(minTimestamp, maxBytes int64) int64 { panic("stub") }

// Engine is all streams of one broker incarnation, over one WAL and one store.
type Engine struct{}

// Open opens the stream's newest range, which this incarnation owns, at start. Recovered state below
// start comes from the image and from sealed WALs handed over with Recover.
func (e *Engine) Open(id metadata.StreamID, leaderEpoch int32, owner Owner) *Stream { panic("stub") }

// Close gives a stream up (topic deleted, leadership lost).
func (e *Engine) Close(id metadata.StreamID) { panic("stub") }

// OnSpace sets the function that runs when appends may be tried again.
func (e *Engine) OnSpace(f func()) { panic("stub") }

// ImageChanged tells the engine that records were applied.
func (e *Engine) ImageChanged() { panic("stub") }
