package stream

import (
	"errors"
	"fmt"
	"sort"

	"weir/core/env"
	"weir/core/metadata"
)

// Read reads from offset, which lies in [LogStart, HighWatermark), up to the high
// watermark: at least one batch, then as many as fit in maxBytes; it may return
// fewer where the source changes. done may run before Read returns (log cache hit).
func (s *Stream) Read(offset int64, maxBytes int, done func(Fetched)) {
	e := s.engine
	switch {
	case e.stopping != nil:
		done(Fetched{Err: ErrStopped})
	case s.owner == nil:
		done(Fetched{Err: ErrGone})
	case offset < s.logStart:
		done(Fetched{Err: ErrTrimmed})
	case offset >= s.highWatermark:
		done(Fetched{})
	case s.inCache(offset):
		done(s.readCache(offset, maxBytes))
	default:
		if t, ok := e.tailAt(s.id, offset); ok {
			t.read(e, offset, maxBytes, done)
			return
		}
		r := &storeRead{stream: s, offset: offset, maxBytes: maxBytes, done: done, deadline: e.loop.Now().Add(e.options.ReadBudget)}
		r.step()
	}
}

func (s *Stream) inCache(offset int64) bool {
	return s.entries.len() > 0 && offset >= s.entries.at(0).base
}

// readCache takes batches from the log cache, without a copy.
func (s *Stream) readCache(offset int64, maxBytes int) Fetched {
	first := s.entries.search(offset)
	last, bytes := first, 0
	for last < s.entries.len() {
		n := s.entries.at(last)
		if n.base >= s.highWatermark || (last > first && bytes+int(n.bytes) > maxBytes) {
			break
		}
		bytes += int(n.bytes)
		last++
	}
	g := gather{Fetched: Fetched{Batches: make([][]byte, 0, last-first)}}
	for i := first; i < last; i++ {
		n := s.entries.at(i)
		g.add(n.data(), n.slab.slab)
	}
	return g.Fetched
}

// gather collects batches and one reference to each of their slabs.
type gather struct{ Fetched }

func (g *gather) add(data []byte, slab *env.Slab) {
	if n := len(g.Slabs); n == 0 || g.Slabs[n-1] != slab {
		slab.Retain()
		g.Slabs = append(g.Slabs, slab)
	}
	g.Batches = append(g.Batches, data)
	g.Bytes += len(data)
}

// fits reports whether one more batch of that size may come.
func (g *gather) fits(bytes, most int) bool { return len(g.Batches) == 0 || g.Bytes+bytes <= most }

// storeRead is one read of what only the store has.
type storeRead struct {
	stream   *Stream
	offset   int64
	maxBytes int
	deadline env.Time
	done     func(Fetched)
	resolved int // how often the part was looked up
}

const resolvesMax = 4

// step finds the part that holds the offset, its index and its block. A part that was replaced
// meanwhile is looked up again.
func (r *storeRead) step() {
	s, e := r.stream, r.stream.engine
	part, err := s.partFor(r.offset)
	if err != nil {
		r.done(Fetched{Err: err})
		return
	}
	r.resolved++
	e.withIndex(s.id, &part, demanded(r.deadline), func(index *heldIndex, err error) {
		if err != nil {
			r.failed(&part, part.Start, part.End, err)
			return
		}
		i, ok := index.Find(r.offset)
		if !ok {
			r.done(Fetched{Err: fmt.Errorf("the index of object %d has no offset %d of stream %d", part.Object, r.offset, s.id)})
			return
		}
		k := &index.Blocks[i]
		e.withBlock(part.Object, k, demanded(r.deadline), func(b *block, err error) {
			if err != nil {
				r.failed(&part, k.First, k.End, err)
				return
			}
			r.deliver(&part, index, i, b)
		})
	})
}

// failed takes the error of a read of the offsets [first, end) of a part. It tries again if the object
// is gone, since the image may name another by now.
func (r *storeRead) failed(part *metadata.Part, first, end int64, err error) {
	e := r.stream.engine
	if err == errNoObject && r.resolved < resolvesMax && e.stopping == nil {
		e.telemetry.Hit("stream read: object gone")
		e.later(e.backoff("read again", uint64(r.stream.id), r.resolved), r.step)
		return
	}
	if errors.Is(err, errNoObject) {
		first, end = part.Start, part.End
	}
	r.done(Fetched{Err: r.stream.lost(part, first, end, err)})
}

// deliver takes batches from the block, and from those after it that happen to be in memory.
func (r *storeRead) deliver(part *metadata.Part, index *heldIndex, i int, b *block) {
	s, e := r.stream, r.stream.engine
	var g gather
	next, more := b.take(&g, r.offset, r.maxBytes)
	for more && i+1 < len(index.Blocks) {
		if b = e.blocks.peek(part.Object, index.Blocks[i+1].Position); b == nil {
			break
		}
		i++
		next, more = b.take(&g, next, r.maxBytes)
		e.blocks.touch(b)
	}
	if window := s.follow(r.offset, next); window > 0 {
		s.readAhead(part, index, i+1, window)
	}
	r.done(g.Fetched)
}

// partFor finds the committed part that holds an offset.
func (s *Stream) partFor(offset int64) (metadata.Part, error) {
	if s.engine.stopping != nil {
		return metadata.Part{}, ErrStopped
	}
	image, ok := s.engine.image.Stream(s.id)
	if !ok || s.owner == nil {
		return metadata.Part{}, ErrGone
	}
	if offset < image.LogStart {
		return metadata.Part{}, ErrTrimmed
	}
	if i, ok := partAt(image.Parts, offset); ok {
		return image.Parts[i], nil
	}
	return metadata.Part{}, fmt.Errorf("no object holds offset %d of stream %d, log start %d, high watermark %d",
		offset, s.id, s.logStart, s.highWatermark)
}

// partAt returns the part that holds offset, or where it would be.
func partAt(parts []metadata.Part, offset int64) (int, bool) {
	i := sort.Search(len(parts), func(i int) bool { return parts[i].End > offset })
	return i, i < len(parts) && parts[i].Start <= offset
}

const (
	readersMax   = 4 // readers of one stream that are told apart
	readAheadMax = 4 // blocks
)

// reader is one sequential reader of a stream, as far as it can be told from its reads.
type reader struct {
	next   int64 // where its next read will start
	window int   // blocks to read ahead
}

// follow returns how many blocks to read ahead after a read of [offset, next): none for a read that
// follows no other, then doubling.
func (s *Stream) follow(offset, next int64) int {
	for i := range s.readers {
		if r := &s.readers[i]; r.next == offset && offset > 0 {
			r.next, r.window = next, min(max(1, 2*r.window), readAheadMax)
			return r.window
		}
	}
	s.readers[s.turn] = reader{next: next}
	s.turn = (s.turn + 1) % readersMax
	return 0
}

// readAhead asks for blocks that a sequential reader will want, into the next part if need be.
func (s *Stream) readAhead(part *metadata.Part, index *heldIndex, from, blocks int) {
	e := s.engine
	want := ahead(e.loop.Now().Add(e.options.ReadBudget))
	for ; blocks > 0 && from < len(index.Blocks); from, blocks = from+1, blocks-1 {
		e.withBlock(part.Object, &index.Blocks[from], want, nil)
	}
	if blocks == 0 || s.inCache(part.End) {
		return
	}
	next, err := s.partFor(part.End)
	if err != nil {
		return
	}
	e.withIndex(s.id, &next, want, func(index *heldIndex, err error) {
		if err == nil && e.stopping == nil {
			e.withBlock(next.Object, &index.Blocks[0], want, nil)
		}
	})
}
