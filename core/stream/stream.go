package stream

import (
	"errors"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// Owner is the partition above a stream. Called on the loop.
type Owner interface {
	// String is what people call the stream: its topic and partition.
	String() string
	// Durable says that everything below highWatermark is durable; state for
	// checkpoints must advance to exactly there. It is called once for all the
	// batches that one event made durable, in the turn of that event.
	Durable(highWatermark int64)
	// Checkpoint appends the state exactly as of the stream's high watermark (R4).
	Checkpoint(dst []byte) []byte
	// Summary appends the state exactly as of everything appended, Stream.End, in
	// the encoding of a checkpoint.
	Summary(dst []byte) []byte
	// Trimmed says that the log start moved.
	Trimmed(logStart int64)
}

// State is the state of a stream's producers while a recovered tail is replayed.
type State interface {
	// Replay applies a batch, which must begin where the state ends. Both are lent for the call.
	Replay(h *record.Header, batch []byte) error
	// AppendCheckpoint appends the state exactly as of the last batch replayed.
	AppendCheckpoint(dst []byte) []byte
}

// Image is what the engine needs of the cluster's metadata: a *metadata.Image.
// Nothing of what it returns is kept.
type Image interface {
	Streams
	// Object finds an object that was committed and is not deleted.
	Object(id metadata.ObjectID) (*metadata.Object, bool)
	// EpochOwes reports whether a range of that broker epoch is open or not wholly
	// committed, so that its WAL must live (R3).
	EpochOwes(epoch metadata.BrokerEpoch) bool
	// Committer is the epoch that may commit a range of a stream (R1, R14).
	Committer(s *metadata.Stream, r *metadata.Range) metadata.BrokerEpoch
	// Owed returns the ranges of an epoch that are not wholly committed, ascending by stream,
	// then leader epoch; End is -1 of those that are open.
	Owed(epoch metadata.BrokerEpoch) []metadata.RangeEnd
	// OpenRanges returns the newest ranges still open of that epoch, ascending by
	// stream, their ends unknown.
	OpenRanges(epoch metadata.BrokerEpoch) []metadata.RangeEnd
	// ObjectWAL returns the lowest slot of that epoch's WAL that may hold what is owed. False: it is on a device.
	ObjectWAL(epoch metadata.BrokerEpoch) (slot uint64, ok bool)
}

// Shipping says how far the cluster's metadata are in the object store (R19).
type Shipping interface {
	// AppliedIndex is the log index of the image.
	AppliedIndex() uint64
	// Shipped is the index up to which the log is in the store.
	Shipped() uint64
}

// Committer is what the engine asks of the controller: a *controller.Controller.
// Each done runs exactly once, on the loop, unless the node ends first.
type Committer interface {
	// LeaseObjects grants count object ids, from first on, to a broker epoch.
	LeaseObjects(epoch metadata.BrokerEpoch, count int32, done func(first metadata.ObjectID, err error))
	// Commit makes an object part of its streams; done runs after the record was
	// applied to the image, and says part by part what was accepted (R1, R2): the
	// engine reads it off the image. A part without a checkpoint says that the image
	// has one as of the part's end or later. After an error some parts may be accepted: the
	// engine looks at the image and asks again for the others. parts are lent until done runs. walSlot
	// is the lowest slot of the epoch's own object WAL that holds anything uncommitted, by the image; zero: none is named.
	Commit(object metadata.ObjectID, epoch metadata.BrokerEpoch, bytes int64, walSlot uint64, parts []metadata.CommitPart, done func(accepted []bool, err error))
	// Replace replaces parts of streams by those of new objects (R3a); done runs after the record was applied, and says
	// for each stream whether it was. After an error some may be: to ask again is safe. streams are lent until done runs.
	Replace(epoch metadata.BrokerEpoch, objects []metadata.NewObject, streams []metadata.Replacement, done func(accepted []bool, err error))
	// CleanStream notes how far a stream is compacted by key; epoch is its owner.
	CleanStream(epoch metadata.BrokerEpoch, stream metadata.StreamID, cleaned int64, done func(error))
	// MoveCheckpoints says where checkpoints of streams that the proposer owns lie from now on. One that does not fit any more stays.
	MoveCheckpoints(r *metadata.MoveCheckpoints, done func(error))
}

// Batch is one batch to append.
type Batch struct {
	Data          []byte // lent until Release: the frame's bytes
	Offsets       int32
	MaxTimestamp  int64
	LogAppendTime int64  // or -1
	Release       func() // the payload was copied (or the incarnation ended): the frame may go
}

// Errors of Fetched.Err that callers may tell apart; anything else is for people.
var (
	// ErrTrimmed: the offset lies below the log start.
	ErrTrimmed = errors.New("offset is below the log start")
	// ErrGone: the stream was deleted, or this broker gave it up.
	ErrGone = errors.New("stream is gone")
	// ErrStopped: the engine shuts down.
	ErrStopped = errors.New("storage engine is stopped")
)

// Fetched is a run of whole batches, the first holding the asked offset. Slabs
// are retained for the receiver, who releases each once.
type Fetched struct {
	Batches [][]byte
	Bytes   int
	Slabs   []*env.Slab
	// Aborted is, after ReadStable, the aborted transactions that overlap the batches, ascending by first offset.
	Aborted []object.AbortedTransaction
	Err     error

	part metadata.Part // that the batches were read from, if the store had them: its object is not 0
	tail bool          // they were read from a recovered tail
	owed bool          // they were read from the WAL of another broker, or of a range that this one led before
}

// Release drops the slabs.
func (f *Fetched) Release() {
	for _, s := range f.Slabs {
		s.Release()
	}
	f.Slabs = nil
}

// Stream is one partition's log on its leader. It is called on the loop only.
type Stream struct {
	engine      *Engine
	id          metadata.StreamID
	leaderEpoch int32
	owner       Owner         // nil once closed
	stored      *CommittedLog // what the store has of it

	start         int64 // of the range
	committed     int64 // as of the applied image
	cut           int64 // end of the newest upload; the next one starts here
	highWatermark int64
	end           int64
	logStart      int64
	compacted     int64 // by key, since the stream was opened: below, the store has less than the log cache
	pinnedFrom    int64 // entries from here on are pinned in the cache and keep the WAL

	reach   reach
	entries ring[entry, *entry] // in the log cache
	// transactions are those of the entries.
	transactions object.Transactions
	pinned       int64 // bytes of the entries from pinnedFrom on
	uncut        int64 // bytes between cut and highWatermark
	uncutN       int64 // batches there
	uploads      int   // under way, with a part of this stream
	lastSlab     *cacheSlab
	told         bool // in appender.dirty
	listed       bool // in uploader.toCut
	written      bool // in streamSet.written
	handed       bool // closed, sealed at its end with a checkpoint there: what is left is uploaded still (R15)
	gone         bool // the image does not have it any more: nothing of it is owed
	dead         bool // nothing of it is kept: gone, or wholly committed after Close

	compactDue      bool     // in compactor.due
	compacting      bool     // a compaction is at work on its parts
	compactAfter    env.Time // not before
	compactFailures int      // in a row
	weighed         uint64   // pass in which its parts were weighed
	largeParts      uint64   // those with which there was nothing to join

	partBytes int64 // of the committed parts above logStart, if they are counted
	counted   bool
}

// leads reports whether the stream's newest range is still this one.
func (s *Stream) leads(image *metadata.Stream) bool {
	r := image.Newest()
	return r.LeaderEpoch == s.leaderEpoch && r.BrokerEpoch == s.engine.base.Epoch
}

// handedOver reports whether the image has sealed the range exactly where this stream ends, and knows the state as of there.
func (s *Stream) handedOver() bool {
	image, ok := s.engine.base.Image.Stream(s.id)
	if !ok {
		return false
	}
	r, ok := rangeOf(image, s.leaderEpoch)
	return ok && r.BrokerEpoch == s.engine.base.Epoch && r.End == s.end && s.end == s.highWatermark && image.CheckpointEnd >= s.end
}

// LogStart is the first offset that may be read.
func (s *Stream) LogStart() int64 { return s.logStart }

// HighWatermark is the end of what is durable.
func (s *Stream) HighWatermark() int64 { return s.highWatermark }

// End is the next offset to assign.
func (s *Stream) End() int64 { return s.end }

// rangeOf finds the range of a leader epoch.
func rangeOf(s *metadata.Stream, leaderEpoch int32) (*metadata.Range, bool) {
	for i := len(s.Ranges) - 1; i >= 0; i-- {
		if s.Ranges[i].LeaderEpoch == leaderEpoch {
			return &s.Ranges[i], true
		}
	}
	return nil, false
}

// committedOf is the first offset of a range that is not committed.
func committedOf(r *metadata.Range) int64 { return max(r.Start, r.Committed) }
