package stream

import (
	"slices"

	"weir/core/env"
	"weir/core/wal"
)

// entry is one batch in the log cache.
type entry struct {
	base         int64
	maxTimestamp int64
	at           wal.Position
	slab         *cacheSlab
	offsets      int32
	bytes        int32
	place        int32 // in the slab
}

func (n *entry) end() int64 { return n.base + int64(n.offsets) }

func (n *entry) data() []byte {
	return n.slab.slab.Data[n.place : n.place+n.bytes : n.place+n.bytes]
}

const (
	chunkEntries = 32 // a power of two
	chunkShift   = 5
	chunksIdle   = 4096 // kept for reuse
)

// entryChunk is a piece of a ring.
type entryChunk [chunkEntries]entry

// entryPool keeps chunks for reuse.
type entryPool struct{ idle []*entryChunk }

func (p *entryPool) take() *entryChunk {
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c
	}
	return new(entryChunk)
}

func (p *entryPool) give(c *entryChunk) {
	if len(p.idle) < chunksIdle {
		clear(c[:])
		p.idle = append(p.idle, c)
	}
}

// ring holds a stream's entries: dense in offsets, ascending in slabs. It grows by a chunk at a time, so
// that however many there are, no append pays for moving them.
type ring struct {
	pool   *entryPool
	chunks []*entryChunk
	head   int // chunks before it are gone
	skip   int // entries of the first chunk that are gone
	n      int
}

func (r *ring) len() int { return r.n }

func (r *ring) at(i int) *entry {
	i += r.skip
	return &r.chunks[r.head+i>>chunkShift][i&(chunkEntries-1)]
}

func (r *ring) push(e entry) {
	if r.head+(r.skip+r.n)>>chunkShift == len(r.chunks) {
		if r.head > 16 && r.head > len(r.chunks)/2 {
			r.chunks, r.head = slices.Delete(r.chunks, 0, r.head), 0
		}
		r.chunks = append(r.chunks, r.pool.take())
	}
	r.n++
	*r.at(r.n - 1) = e
}

// drop takes the first n entries off.
func (r *ring) drop(n int) {
	r.skip += n
	r.n -= n
	for r.head < len(r.chunks) && (r.skip >= chunkEntries || r.n == 0) {
		r.pool.give(r.chunks[r.head])
		r.chunks[r.head] = nil
		r.head++
		r.skip = max(r.skip-chunkEntries, 0)
	}
	if r.n == 0 {
		r.chunks, r.head, r.skip = nil, 0, 0
	}
}

// search returns the first entry that ends after offset; len if none does.
func (r *ring) search(offset int64) int {
	low, high := 0, r.n
	for low < high {
		if middle := (low + high) / 2; r.at(middle).end() <= offset {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// cacheSlab is one WAL slab that the log cache keeps.
type cacheSlab struct {
	slab    *env.Slab
	serial  uint64
	pinned  int       // entries that are not committed
	streams []*Stream // with entries in it
	upload  uint64    // the last upload that retained it, see upload.retain
}

// logCache keeps the slabs of recent appends, oldest first.
type logCache struct {
	slabs  []*cacheSlab
	serial uint64
	bytes  int64
}

// of returns the cache's slab for one that the WAL lays into: the newest, or a new one.
func (c *logCache) of(slab *env.Slab) *cacheSlab {
	if n := len(c.slabs); n > 0 && c.slabs[n-1].slab == slab {
		return c.slabs[n-1]
	}
	slab.Retain()
	c.serial++
	s := &cacheSlab{slab: slab, serial: c.serial}
	c.slabs = append(c.slabs, s)
	c.bytes += int64(len(slab.Data))
	return s
}

// hasRoom reports whether an append may come in: the cache is within its limit,
// or could be if what is committed went. One slab is always allowed.
func (c *logCache) hasRoom(limit int64) bool {
	if c.bytes <= limit || len(c.slabs) <= 1 {
		return true
	}
	c.evict(limit)
	return c.bytes <= limit || len(c.slabs) <= 1
}

// evict frees the oldest slabs without a pinned entry until the cache is within
// its limit.
func (c *logCache) evict(limit int64) {
	for i := 0; i < len(c.slabs) && c.bytes > limit; {
		if c.slabs[i].pinned > 0 {
			i++
			continue
		}
		c.free(i)
	}
}

func (c *logCache) free(i int) {
	gone := c.slabs[i]
	c.slabs = slices.Delete(c.slabs, i, i+1)
	c.bytes -= int64(len(gone.slab.Data))
	for _, s := range gone.streams {
		s.forgetUpTo(gone)
	}
	gone.slab.Release()
}

// forgetUpTo drops the entries in a slab that goes, and those before them: what
// is left stays dense. All of them are committed, since those in the slab are.
func (s *Stream) forgetUpTo(gone *cacheSlab) {
	n := 0
	for n < s.entries.len() && s.entries.at(n).slab.serial <= gone.serial {
		n++
	}
	s.entries.drop(n)
	if s.lastSlab == gone {
		s.lastSlab = nil
	}
}

// cached notes an append in the log cache.
func (s *Stream) cached(e entry) {
	e.slab.pinned++
	if s.lastSlab != e.slab {
		e.slab.streams = append(e.slab.streams, s)
		s.lastSlab = e.slab
	}
	s.entries.push(e)
}

// unpin lets eviction have the entries below upTo.
func (s *Stream) unpin(upTo int64) {
	for i := s.entries.search(s.pinnedFrom); i < s.entries.len(); i++ {
		e := s.entries.at(i)
		if e.base >= upTo {
			break
		}
		e.slab.pinned--
	}
	s.pinnedFrom = max(s.pinnedFrom, upTo)
}

// firstUncommitted is where the first pinned entry lies in the WAL.
func (s *Stream) firstUncommitted() (wal.Position, bool) {
	i := s.entries.search(s.pinnedFrom)
	if i == s.entries.len() {
		return 0, false
	}
	return s.entries.at(i).at, true
}
