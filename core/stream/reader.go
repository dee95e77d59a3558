package stream

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// Streams is what a [Reader] needs of the cluster's metadata: a *metadata.Image. Nothing of what it returns is kept.
type Streams interface {
	Stream(id metadata.StreamID) (*metadata.Stream, bool)
}

// ReaderOptions are what a Reader needs. All are required unless a zero is named.
type ReaderOptions struct {
	// Loop runs the reader.
	Loop *task.Loop
	// Env gives the object store, memory, the clock, computation and random numbers.
	Env env.Env
	// Telemetry takes lines, marks and metrics.
	Telemetry *telemetry.Registry
	// Image has the streams' log starts, ranges and parts. It is read only.
	Image Streams
	// Cluster is the cluster's id; object keys begin with it.
	Cluster string
	// BlockCacheBytes, GetsInFlightMax and ReadBudget are those of [Options].
	BlockCacheBytes int64
	GetsInFlightMax int
	ReadBudget      time.Duration
	// GetBytesInFlightMax bounds what the GETs in flight take of memory beside the block cache; one GET is always
	// allowed. Zero: as much as BlockCacheBytes.
	GetBytesInFlightMax int64
}

// Reader reads committed records of any stream that the image knows from the object store, whoever leads the
// stream: it needs no WAL, no ownership and no Engine. Its streams share a cache of blocks, one of indexes, and a
// bounded number of GETs in flight. It is called on the loop only.
type Reader struct {
	options ReaderOptions
	health  *storeHealth
	metrics readMetrics
	gets    fetcher
	blocks  blockCache
	indexes indexCache
	again   waits // of reads whose object was gone
	lines   *telemetry.Limiter
}

// NewReader returns a reader, which holds memory until [Reader.Shutdown].
func NewReader(o ReaderOptions) *Reader {
	return newReader(o, newStoreHealth(o.Env.Rand, o.Telemetry))
}

func newReader(o ReaderOptions, health *storeHealth) *Reader {
	o.BlockCacheBytes = orDefault(o.BlockCacheBytes, 256<<20)
	o.GetsInFlightMax = orDefault(o.GetsInFlightMax, 32)
	o.ReadBudget = orDefault(o.ReadBudget, 20*time.Second)
	o.GetBytesInFlightMax = orDefault(o.GetBytesInFlightMax, o.BlockCacheBytes)
	r := &Reader{options: o, health: health, again: waits{loop: o.Loop}, lines: telemetry.NewLimiter(lostLineInterval)}
	r.metrics = newReadMetrics(o.Telemetry)
	r.gets = fetcher{ReaderOptions: &r.options, health: health, metrics: &r.metrics}
	r.gets.brake = brake{clock: o.Env.Clock, metric: r.metrics.brake}
	r.blocks = newBlockCache(o.BlockCacheBytes, &r.gets)
	r.indexes = newIndexCache(&r.gets)
	return r
}

// appending tells the reader that the append began of which appended will tell.
func (r *Reader) appending() { r.gets.brake.appending() }

// appended tells the reader how long an append took to be durable: it gives way if that is too long.
func (r *Reader) appended(took time.Duration) { r.gets.brake.appended(took) }

// Shutdown starts no GET any more, answers waiting reads with ErrStopped, gives all memory back but what receivers
// of [Fetched] hold, and calls done. It waits for the GETs in flight: let the store abandon them before
// ([env.Abandoner]). It is called once.
func (r *Reader) Shutdown(done func()) {
	r.gets.stop(func() {
		r.blocks.release()
		done()
	})
	r.gets.cancel()
	r.again.end()
	r.gets.end()
}

// CommittedLog is the committed part of one stream's log, read through a Reader. It keeps track of sequential
// readers, to read ahead of them, and holds no other state: keep one for as long as a stream is read. Several of
// one stream share the Reader's caches, but not that.
type CommittedLog struct {
	reader  *Reader
	id      metadata.StreamID
	name    fmt.Stringer
	cursors cursors
	closed  bool
	// cached reports whether the log cache has the records from an offset on: they are not read ahead. Nil: none
	// are there, for the stream is not owned.
	cached func(offset int64) bool
}

// Log returns the committed log of a stream; name is what people call it: its topic and partition.
func (r *Reader) Log(id metadata.StreamID, name fmt.Stringer) *CommittedLog {
	return &CommittedLog{reader: r, id: id, name: name}
}

// Close makes all reads end with ErrGone, those too that would be tried again.
func (l *CommittedLog) Close() { l.closed = true }

// Bounds returns the range of offsets that Read reads, as of the image: from the log start to the end of what is
// committed without a gap. The error is ErrGone or ErrStopped.
func (l *CommittedLog) Bounds() (start, end int64, err error) {
	image, err := l.image()
	if err != nil {
		return 0, 0, err
	}
	return image.LogStart, max(image.LogStart, image.CommittedEnd()), nil
}

// Read reads from offset on: at least one batch, then as many as fit in maxBytes; it may return fewer where
// blocks end, and nothing, without an error, from the end of [CommittedLog.Bounds] on. Errors are ErrTrimmed,
// ErrGone, ErrStopped, and those for people: the store failed for ReaderOptions.ReadBudget, or the records are
// lost, which is logged too. done may run before Read returns.
func (l *CommittedLog) Read(offset int64, maxBytes int, done func(Fetched)) {
	if _, end, err := l.Bounds(); err == nil && offset >= end {
		done(Fetched{})
		return
	}
	l.read(offset, maxBytes, done)
}

// read reads from an offset that must be committed, maybe beyond a gap.
func (l *CommittedLog) read(offset int64, maxBytes int, done func(Fetched)) {
	r := &storeRead{log: l, offset: offset, maxBytes: maxBytes, done: done, deadline: l.deadline()}
	r.step()
}

func (l *CommittedLog) deadline() env.Time {
	return l.reader.options.Loop.Now().Add(l.reader.options.ReadBudget)
}

// storeRead is one read of what only the store has.
type storeRead struct {
	log      *CommittedLog
	offset   int64 // that is asked for
	next     int64 // offset after what was gathered
	maxBytes int
	deadline env.Time
	done     func(Fetched)
	resolved int    // how often the part was looked up
	gather   gather // of one part
}

const (
	resolvesMax = 4
	// reachMax bounds what a read that follows no other brings in beyond its first block.
	reachMax = 1 << 20
)

// step finds the part that holds the offset, its index and its block. A part that was replaced
// meanwhile is looked up again.
func (r *storeRead) step() {
	l := r.log
	part, err := l.partFor(r.offset)
	if err != nil {
		r.done(Fetched{Err: err})
		return
	}
	if part.Lost() {
		r.done(l.passOver(&part, r.offset))
		return
	}
	r.resolved++
	l.reader.indexes.with(l.id, &part, r.deadline, func(index *heldIndex, err error) {
		if err != nil {
			r.failed(&part, part.Start, part.End, err)
			return
		}
		i, ok := index.Find(r.offset)
		if !ok {
			r.done(Fetched{Err: fmt.Errorf("the index of object %d has no offset %d of stream %d", part.Object, r.offset, l.id)})
			return
		}
		r.next, r.gather.part = r.offset, part
		if c := l.cursors.at(r.offset); c != nil && !l.reader.gets.stopping {
			l.readAhead(c)
		}
		r.readBlock(&part, index, i)
	})
}

// readBlock gathers from the block at an index of the part, and those after it.
func (r *storeRead) readBlock(part *metadata.Part, index *heldIndex, i int) {
	reach := int64(min(r.maxBytes-r.gather.Bytes, reachMax))
	r.log.reader.blocks.with(part.Object, index.Blocks[i:], reach, r.deadline, func(b *block, err error) {
		switch k := &index.Blocks[i]; {
		case err == nil:
			r.take(part, index, i, b)
		case len(r.gather.Batches) > 0:
			r.deliver()
		default:
			r.failed(part, k.First, k.End, err)
		}
	})
}

// failed takes the error of a read of the offsets [first, end) of a part. It tries again if the object
// is gone, since the image may name another by now.
func (r *storeRead) failed(part *metadata.Part, first, end int64, err error) {
	reader := r.log.reader
	if err == errNoObject && r.resolved < resolvesMax && !reader.gets.stopping {
		reader.options.Telemetry.Hit("stream read: object gone")
		reader.again.later(reader.health.backoff("read again", uint64(r.log.id), r.resolved), r.step)
		return
	}
	if errors.Is(err, errNoObject) {
		first, end = part.Start, part.End
	}
	r.done(Fetched{Err: r.log.lost(part, first, end, err)})
}

// take takes batches from the block, and goes on with the next one if that is in memory, or all but.
func (r *storeRead) take(part *metadata.Part, index *heldIndex, i int, b *block) {
	next, more := b.take(&r.gather, r.next, r.maxBytes)
	r.next = next
	if i++; more && r.gather.Bytes < r.maxBytes && i < len(index.Blocks) &&
		r.log.reader.blocks.peek(part.Object, index.Blocks[i].Position) != nil {
		r.readBlock(part, index, i)
		return
	}
	r.deliver()
}

func (r *storeRead) deliver() {
	r.log.cursors.follow(r.offset, r.next, int64(r.gather.Bytes))
	r.done(r.gather.Fetched)
}

func (l *CommittedLog) image() (*metadata.Stream, error) {
	if l.reader.gets.stopping {
		return nil, ErrStopped
	}
	image, ok := l.reader.options.Image.Stream(l.id)
	if !ok || l.closed {
		return nil, ErrGone
	}
	return image, nil
}

// partFor finds the committed part that holds an offset.
func (l *CommittedLog) partFor(offset int64) (metadata.Part, error) {
	image, err := l.image()
	if err != nil {
		return metadata.Part{}, err
	}
	if offset < image.LogStart {
		return metadata.Part{}, ErrTrimmed
	}
	if i, ok := partAt(image.Parts, offset); ok {
		return image.Parts[i], nil
	}
	return metadata.Part{}, fmt.Errorf("no object holds offset %d of stream %d, log start %d, committed up to %d",
		offset, l.id, image.LogStart, image.CommittedEnd())
}

// replaced reports whether a read of a part failed since its object is gone, and the image has another one by now.
func (l *CommittedLog) replaced(part *metadata.Part, err error) bool {
	if !errors.Is(err, errNoObject) || l.reader.gets.stopping {
		return false
	}
	now, e := l.partFor(part.End - 1)
	if e != nil || now.Object == part.Object {
		return false
	}
	l.reader.options.Telemetry.Hit("stream read: a part was replaced meanwhile")
	return true
}

// partAt returns the part that holds offset, or where it would be.
func partAt(parts []metadata.Part, offset int64) (int, bool) {
	i := sort.Search(len(parts), func(i int) bool { return parts[i].End > offset })
	return i, i < len(parts) && parts[i].Start <= offset
}
