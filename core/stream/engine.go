package stream

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wal"
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
	// BlockCacheBytes is memory for blocks read back from the store. Zero: 256 MiB.
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
	// CheckpointBytes is about how many bytes of checkpoints go into one object; they are
	// encoded in one turn of the loop. Zero: 512 KiB. More makes that turn longer, less
	// makes smaller objects.
	CheckpointBytes int
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

func (o Options) resolve() Options {
	o.CacheBytes = orDefault(o.CacheBytes, 512<<20)
	o.BlockCacheBytes = orDefault(o.BlockCacheBytes, 256<<20)
	o.UploadBytes = min(orDefault(o.UploadBytes, 500_000_000), max(o.CacheBytes/3, 1))
	o.UploadInterval = orDefault(o.UploadInterval, 60*time.Second)
	o.UploadsInFlightMax = orDefault(o.UploadsInFlightMax, 3)
	o.BlockBytes = orDefault(o.BlockBytes, 512<<10)
	o.OwnObjectBytes = orDefault(o.OwnObjectBytes, 8<<20)
	o.GetsInFlightMax = orDefault(o.GetsInFlightMax, 32)
	o.ReadBudget = orDefault(o.ReadBudget, 20*time.Second)
	o.TailBytes = min(orDefault(o.TailBytes, 32<<20), o.UploadBytes)
	o.CheckpointBytes = orDefault(o.CheckpointBytes, 512<<10)
	if o.Failed == nil {
		o.Failed = func(err error) { panic(err) }
	}
	return o
}

// Engine is all streams of one broker incarnation, over one WAL and one store.
// It is called on the loop only.
type Engine struct {
	options    Options
	loop       *task.Loop
	env        env.Env
	telemetry  *telemetry.Registry
	image      Image
	controller Committer

	log     *wal.Log
	streams map[metadata.StreamID]*Stream
	ordered []*Stream // all that hold anything uncommitted or are open, ascending by id
	onSpace func()
	refused bool // an append was refused since space last came free

	idle     []*pending // append structs for reuse
	dirty    []*Stream  // whose owner has yet to hear of the high watermark
	flush    func()     // tells them
	flushes  bool       // flush is posted
	unowed   bool       // something became durable of which nothing is owed
	cache    logCache
	up       uploader
	gets     fetcher
	blocks   blockCache
	indexes  indexCache
	tails    []*tail // of ended incarnations, ascending by epoch
	tailUp   tailUploader
	stopping func() // set by Shutdown
	failed   bool   // Failed was told
	released bool   // every slab was given back
	scratch  []byte // of AppendSummary
	inFlight int    // operations of the world

	storeFailures int // of the store in a row
	waits         []*wait
	trimmedTo     wal.Position
	trims         []shippedTrim // ascending by index
	metrics       metrics
	lines         *telemetry.Limiter // about records that are lost, and commits that fail
}

// NewEngine returns an engine without a WAL: recover old ones first
// ([Engine.RecoverLog]), then give it its own ([Engine.UseLog]).
func NewEngine(o Options) *Engine {
	e := &Engine{
		options: o.resolve(), loop: o.Loop, env: o.Env, telemetry: o.Telemetry, image: o.Image, controller: o.Controller,
		streams: make(map[metadata.StreamID]*Stream), onSpace: func() {},
	}
	e.flush = e.tellOwners
	e.metrics = newMetrics(e.telemetry, e.env.Clock)
	e.lines = telemetry.NewLimiter(lostLineInterval)
	e.up.engine, e.tailUp.engine, e.gets.engine = e, e, e
	e.blocks = newBlockCache(e.options.BlockCacheBytes, &e.metrics)
	e.indexes = newIndexCache()
	e.loop.OnTurnEnd(e.up.turnEnd)
	return e
}

// UseLog gives the engine the log of its own epoch, before any stream is opened.
// The engine owns it from now on: Shutdown closes it.
func (e *Engine) UseLog(l *wal.Log) {
	e.log = l
	l.OnSpace(e.spaceCame)
}

// AppendBytesMax is the largest batch that Append takes.
func (e *Engine) AppendBytesMax() int { return e.log.AppendBytesMax() }

// OnSpace sets the function that runs when appends may be tried again.
func (e *Engine) OnSpace(f func()) { e.onSpace = f }

func (e *Engine) spaceCame() {
	if e.refused && e.stopping == nil {
		e.refused = false
		e.onSpace()
	}
}

// Open opens the stream's newest range, which the image says this incarnation
// owns. What lies below its start is read from the store and from recovered WALs.
func (e *Engine) Open(id metadata.StreamID, leaderEpoch int32, owner Owner) *Stream {
	image, ok := e.image.Stream(id)
	if !ok {
		panic(fmt.Sprintf("stream: open of stream %d, which the image does not have", id))
	}
	r, ok := rangeOf(image, leaderEpoch)
	if !ok || r.BrokerEpoch != e.options.Epoch || r.End >= 0 || e.streams[id] != nil {
		panic(fmt.Sprintf("stream: open of stream %d at leader epoch %d, which is not this epoch's or open already", id, leaderEpoch))
	}
	start := committedOf(r)
	s := &Stream{
		engine: e, id: id, leaderEpoch: leaderEpoch, owner: owner, start: r.Start,
		committed: start, cut: start, highWatermark: start, end: start, pinnedFrom: start, logStart: image.LogStart,
	}
	s.entries.pool = &e.cache.entries
	e.streams[id] = s
	at, _ := e.search(id)
	e.ordered = slices.Insert(e.ordered, at, s)
	return s
}

func (e *Engine) search(id metadata.StreamID) (int, bool) {
	return slices.BinarySearchFunc(e.ordered, id, func(s *Stream, id metadata.StreamID) int { return cmp.Compare(s.id, id) })
}

// Close gives a stream up (topic deleted, leadership lost, shutdown). Its owner
// hears nothing more. What it left uncommitted stays in the WAL, for recovery,
// until the image says that the stream is gone or the range committed.
func (e *Engine) Close(id metadata.StreamID) {
	s := e.streams[id]
	if s == nil {
		return
	}
	delete(e.streams, id)
	e.up.forget(s)
	s.owner = nil
	if e.refreshStream(s) {
		e.settle()
	}
}

// settleClosed drops a closed stream that no longer owes anything.
func (e *Engine) settleClosed(s *Stream) {
	if s.owner != nil || s.dead || s.committed < s.end {
		return
	}
	e.drop(s)
}

// drop forgets a stream: nothing of it is kept from now on.
func (e *Engine) drop(s *Stream) {
	s.dead = true
	e.up.forget(s)
	s.unpin(s.end)
	s.entries.drop(s.entries.len())
	at, _ := e.search(s.id)
	for at < len(e.ordered) && e.ordered[at] != s {
		at++ // one that was closed, and one that was opened since, may share an id
	}
	if at < len(e.ordered) {
		e.ordered = slices.Delete(e.ordered, at, at+1)
	}
}

// StreamsChanged tells the engine which streams the records that were applied changed: it looks at no
// other.
func (e *Engine) StreamsChanged(ids []metadata.StreamID) {
	moved := false
	for _, id := range ids {
		if e.refreshID(id) {
			moved = true
		}
	}
	e.refreshTailsOf(ids)
	if moved {
		e.settle()
	}
}

// refreshID refreshes a stream, and those of its id that were closed.
func (e *Engine) refreshID(id metadata.StreamID) (moved bool) {
	for at, _ := e.search(id); at < len(e.ordered) && e.ordered[at].id == id; {
		s := e.ordered[at]
		if e.refreshStream(s) {
			moved = true
		}
		if !s.dead {
			at++ // else it is not there any more
		}
	}
	return moved
}

// ImageChanged tells the engine that records were applied, whatever they changed.
func (e *Engine) ImageChanged() {
	moved := false
	for i := 0; i < len(e.ordered); {
		s := e.ordered[i]
		if e.refreshStream(s) {
			moved = true
		}
		if !s.dead {
			i++ // else it is not there any more
		}
	}
	e.refreshTails()
	if moved {
		e.settle()
	}
}

// fail tells, once, of what a person must look at.
func (e *Engine) fail(err error) {
	if !e.failed {
		e.failed = true
		e.options.Failed(err)
	}
}

// settle uses what commits made free.
func (e *Engine) settle() {
	e.trim()
	e.cache.evict(e.options.CacheBytes)
	e.offerRoom()
}

// offerRoom lets refused appends try again if the cache has room for them.
func (e *Engine) offerRoom() {
	e.metrics.cacheBytes.Set(e.cache.used())
	if e.refused && e.cache.hasRoom(e.options.CacheBytes) {
		e.loop.Post(e.spaceCame)
	}
}

// refreshStream takes what the image says of a stream, and reports whether
// anything of it was committed or let go.
func (e *Engine) refreshStream(s *Stream) bool {
	s.counted = false
	image, ok := e.image.Stream(s.id)
	if !ok {
		// Deleted. Its owner may still append until it closes the stream; nothing of that counts.
		owed := s.pinnedFrom < s.end
		s.disown()
		if s.owner == nil {
			e.drop(s)
		}
		return owed
	}
	if image.LogStart > s.logStart {
		s.logStart = image.LogStart
		if s.owner != nil {
			s.owner.Trimmed(s.logStart)
		}
	}
	r, ok := rangeOf(image, s.leaderEpoch)
	if !ok {
		return false
	}
	moved := e.advance(s, committedOf(r))
	e.settleClosed(s)
	return moved
}

// advance moves a stream's committed end to where the image has it.
func (e *Engine) advance(s *Stream, committed int64) bool {
	if committed < s.committed || committed > s.highWatermark {
		telemetry.Assert(4, false, "stream %d is committed up to %d, it was up to %d, and is durable up to %d",
			s.id, committed, s.committed, s.highWatermark)
	}
	if committed == s.committed {
		return false
	}
	s.unpin(committed)
	s.committed = committed
	if s.cut < committed {
		e.up.recut(s, committed)
	}
	return true
}

// disown lets go of what a deleted stream holds in WAL and cache.
func (s *Stream) disown() {
	s.engine.up.forget(s)
	s.gone = true
	s.unpin(s.end)
}

// trim gives up the WAL below the lowest position that holds anything
// uncommitted of any stream that the image knows (I5).
func (e *Engine) trim() {
	if e.log == nil || e.stopping != nil {
		return
	}
	upTo := e.log.Durable()
	for _, s := range e.ordered {
		if at, ok := s.firstUncommitted(); ok {
			upTo = min(upTo, at)
		}
	}
	if upTo <= e.trimmedTo {
		return
	}
	e.trimmedTo = upTo
	if e.options.Shipping == nil {
		e.log.Trim(upTo)
		return
	}
	e.trims = append(e.trims, shippedTrim{e.options.Shipping.AppliedIndex(), upTo})
	e.trimShipped()
}

// shippedTrim gives up the log below a position once the image of that index is shipped.
type shippedTrim struct {
	index uint64
	upTo  wal.Position
}

// trimShipped trims the log by what is shipped (R19).
func (e *Engine) trimShipped() {
	shipped, n := e.options.Shipping.Shipped(), 0
	for n < len(e.trims) && e.trims[n].index <= shipped {
		n++
	}
	if n == 0 {
		return
	}
	upTo := e.trims[n-1].upTo
	e.trims = slices.Delete(e.trims, 0, n)
	e.log.Trim(upTo)
}

// ImageShipped tells the engine that more of the image is in the object store: log space
// that it had freed may be given up.
func (e *Engine) ImageShipped() {
	if e.log == nil || e.stopping != nil || e.options.Shipping == nil {
		return
	}
	e.trimShipped()
	if len(e.tails) > 0 {
		e.settleTails()
	}
}
