package stream

import (
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// Options are what an Engine needs. All are required unless a zero is named.
type Options struct {
	// Loop runs the engine.
	Loop *task.Loop
	// Env gives the log's disk, the object store, memory, the clock and random numbers.
	Env env.Env
	// Telemetry takes lines, marks and metrics.
	Telemetry *telemetry.Registry
	// Image has the streams' ranges and objects. It is read only.
	Image Image
	// Controller commits uploaded objects to the image.
	Controller Committer
	// Shipping says when a commit is in the object store, so that WAL space may be given
	// up (R19). Nil: as soon as it is applied.
	Shipping Shipping
	// Epoch is this incarnation's: it owns the ranges that it opens.
	Epoch metadata.BrokerEpoch
	// Cluster is the cluster's id; object keys begin with it.
	Cluster string
	// NewState rebuilds the state of a stream's producers from a checkpoint as of
	// end; an empty checkpoint knows none.
	NewState func(checkpoint []byte, end int64) (State, error)
	// Failed is called with an error that the engine cannot work around: the incarnation
	// must end, and an operator must act. Nil: it panics.
	Failed func(error)

	// CacheBytes is memory for recent batches (all uncommitted ones, then the last appended),
	// and for the bookkeeping of each batch that is not evicted or, in a recovered tail, not
	// uploaded. Zero: 512 MiB. Appends wait while it is full; smaller makes them wait sooner
	// while the store is slow.
	CacheBytes int64
	// BlockCacheBytes is memory for blocks read back from the store. Zero: 256 MiB. Up to as much again is in
	// flight. Smaller reads less far ahead, so that a distant store is read more slowly.
	BlockCacheBytes int64
	// UploadBytes is how many uncommitted bytes start an upload, each batch counted with
	// batchOverhead. Zero: 500 MB. Maximum: a third of CacheBytes and of the WAL. Lower
	// makes smaller objects and more PUTs.
	UploadBytes int64
	// UploadInterval is the age of the oldest uncommitted byte that starts an upload.
	// Zero: 60 s. Longer keeps the WAL the only copy for longer.
	UploadInterval time.Duration
	// UploadsInFlightMax bounds the uploads in flight. Zero: 3.
	UploadsInFlightMax int
	// BlockBytes is the target size of a data block, the unit of reads from the store.
	// Zero: 512 KiB.
	BlockBytes int
	// OwnObjectBytes is how much of one stream in an upload puts it into an object of its
	// own. Zero: 8 MiB. Lower makes more and smaller objects.
	OwnObjectBytes int64
	// GetsInFlightMax bounds the GETs in flight. Zero: 32.
	GetsInFlightMax int
	// ReadBudget is how long a read is retried against a failing store before its fetch
	// is answered with an error. Zero: 20 s.
	ReadBudget time.Duration
	// TailBytes is how many bytes of a recovered WAL are uploaded at a time; they are in
	// memory meanwhile. Zero: 32 MiB. Maximum: UploadBytes.
	TailBytes int64
	// CleanIndexBytes is memory for the keys of what is dirty in a pass of compaction by key. Zero: 128 MiB. Less makes a
	// pass of many keys end earlier, so that more passes are needed.
	CleanIndexBytes int64
	// CleanObjectBytes is how much of a compacted stream goes into one object, and is in memory meanwhile. Zero: 32 MiB.
	CleanObjectBytes int64
	// MayClean says whether all members of the cluster know what compaction by key does. Nil: they do.
	MayClean func() bool
	// AskHolder asks the broker of another epoch, which has the WAL of a sealed range and leads it no more, with a request for its
	// [Engine.AnswerOwed]. It reports whether anybody was asked; then done runs once, in a later step, unless the node ends. An error that is
	// not [ErrNotHeld] says that nobody answers for now. Both slices are lent for good. Nil: nobody can be asked; reads wait until what is owed was uploaded.
	AskHolder func(holder metadata.BrokerEpoch, request []byte, done func(answer []byte, err error)) bool
	// CheckpointBytes is about how many bytes of checkpoints go into one object; they are
	// encoded in one turn of the loop. Zero: 512 KiB. More makes that turn longer, less
	// makes smaller objects.
	CheckpointBytes int
	// CheckpointInlineBytesMax is the size of the largest checkpoint that commits carry: a larger one lies in the object of the
	// commit, which names it. Zero: 4 KiB, the state of some 50 producers. To read it costs a GET when its partition is opened; to
	// carry it costs its bytes in each commit, and in each snapshot of the metadata.
	CheckpointInlineBytesMax int
	// CheckpointArrived tells that a stream may be opened for which [Engine.Checkpoint] had none. Nil: nobody is told.
	CheckpointArrived func(metadata.StreamID)
	// MayStoreCheckpoints says whether all members of the cluster know checkpoints that lie in objects. Nil: they do.
	MayStoreCheckpoints func() bool
	// UncommittedOffsetsMax bounds the offsets of a stream that are appended and not committed: an append that would pass it waits
	// for a commit. Zero: metadata.UncommittedOffsetsMax, which is the maximum and the same for all brokers of a cluster: a
	// WAL that is given up is taken to have held no more (R16).
	UncommittedOffsetsMax int64
	// Compaction is how small parts of streams become larger ones.
	Compaction CompactionOptions
}

// CompactionOptions bound the compaction of objects. All are optional.
type CompactionOptions struct {
	// Disabled leaves all parts as they were uploaded: their number grows for ever.
	Disabled bool
	// Allowed says whether all members of the cluster know what compaction does. Nil: they do.
	Allowed func() bool
	// BytesPerSecond bounds what is read and written. Zero: no bound. Too low for what is uploaded,
	// parts become more and more.
	BytesPerSecond int64
	// RewriteFanIn is how many parts of a stream are rewritten as one. Zero: 8. Lower makes fewer
	// parts and more bytes written, higher the opposite.
	RewriteFanIn int
	// JoinFanIn is how many parts of a stream are joined to one. Zero: 3. Lower makes fewer parts and
	// more requests.
	JoinFanIn int
	// RewriteBytes is how much one rewrite holds in memory. Zero: 64 MiB. Lower makes smaller objects
	// and more requests.
	RewriteBytes int64
	// JoinBytesMin is the smallest run of an object that a join copies. Zero: 8 MiB. S3 copies 5 MiB
	// and up. Maximum: a quarter of RewriteBytes, so that what is rewritten can be joined.
	JoinBytesMin int64
	// ObjectBytesMax is the size of the largest object that a join makes. Zero: 10 GiB.
	ObjectBytesMax int64
	// JobsMax is how many compactions run at once. Zero: 2. Each has RewriteBytes in memory.
	JobsMax int
	// Interval is the time between two looks at all streams. Zero: 30 s.
	Interval time.Duration
	// SparseAge is for how long less than a quarter of an object is in use before that moves to another. Zero: 10
	// min. Lower gives storage back sooner and writes more.
	SparseAge time.Duration
	// SparseBytesMin is how much must come free by that. Zero: 1 MiB.
	SparseBytesMin int64
}

// policy is what the options say of parts.
func (o *CompactionOptions) policy() mergePolicy {
	return mergePolicy{
		rewriteFanIn: o.RewriteFanIn, joinFanIn: o.JoinFanIn, rewriteBytes: o.RewriteBytes, rewriteStreams: rewriteStreams,
		joinBytesMin: o.JoinBytesMin, joinStreams: joinStreams, objectBytesMax: o.ObjectBytesMax,
	}
}

func (o *CompactionOptions) resolve() {
	o.RewriteFanIn = max(orDefault(o.RewriteFanIn, 8), 2)
	o.JoinFanIn = max(orDefault(o.JoinFanIn, 3), 2)
	o.RewriteBytes = orDefault(o.RewriteBytes, 64<<20)
	o.JoinBytesMin = min(orDefault(o.JoinBytesMin, 8<<20), o.RewriteBytes/4)
	o.ObjectBytesMax = orDefault(o.ObjectBytesMax, 10<<30)
	o.JobsMax = orDefault(o.JobsMax, 2)
	o.Interval = orDefault(o.Interval, 30*time.Second)
	o.SparseAge = orDefault(o.SparseAge, 10*time.Minute)
	o.SparseBytesMin = orDefault(o.SparseBytesMin, 1<<20)
}

// mayStore reports whether checkpoints may lie in objects.
func (o *Options) mayStore() bool { return o.MayStoreCheckpoints == nil || o.MayStoreCheckpoints() }

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

func (o Options) resolve() Options {
	o.CacheBytes = orDefault(o.CacheBytes, 512<<20)
	o.UploadBytes = min(orDefault(o.UploadBytes, 500_000_000), max(o.CacheBytes/3, 1))
	o.UploadInterval = orDefault(o.UploadInterval, 60*time.Second)
	o.UploadsInFlightMax = orDefault(o.UploadsInFlightMax, 3)
	o.BlockBytes = orDefault(o.BlockBytes, 512<<10)
	o.OwnObjectBytes = orDefault(o.OwnObjectBytes, 8<<20)
	o.TailBytes = min(orDefault(o.TailBytes, 32<<20), o.UploadBytes)
	o.CleanIndexBytes = orDefault(o.CleanIndexBytes, cleanIndexBytes)
	o.CleanObjectBytes = orDefault(o.CleanObjectBytes, 32<<20)
	o.CheckpointBytes = orDefault(o.CheckpointBytes, 512<<10)
	o.CheckpointInlineBytesMax = orDefault(o.CheckpointInlineBytesMax, 4<<10)
	o.UncommittedOffsetsMax = min(orDefault(o.UncommittedOffsetsMax, metadata.UncommittedOffsetsMax), metadata.UncommittedOffsetsMax)
	o.Compaction.resolve()
	if o.Failed == nil {
		o.Failed = func(err error) { panic(err) }
	}
	return o
}
