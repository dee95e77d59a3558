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

func (n *entry) end() int64       { return n.base + int64(n.offsets) }
func (n *entry) size() int64      { return int64(n.bytes) }
func (n *entry) timestamp() int64 { return n.maxTimestamp }

func (n *entry) data() []byte {
	return n.slab.slab.Data[n.place : n.place+n.bytes : n.place+n.bytes]
}

// cacheSlab is one WAL slab that the log cache keeps.
type cacheSlab struct {
	slab    *env.Slab
	serial  uint64
	pinned  int       // entries that are not committed
	streams []*Stream // with entries in it
	upload  uint64    // the last upload that retained it, see upload.retain
}

// logCache keeps the slabs of recent appends, oldest first, and counts what else grows with the number of
// batches: with small ones that is more than their bytes.
type logCache struct {
	slabs   []*cacheSlab
	serial  uint64
	bytes   int64                // of slabs
	entries chunkPool[entry]     // of all streams
	tails   chunkPool[tailEntry] // of all recovered tails
}

// What notes of batches take of the heap, which the garbage collector lets grow to twice what is in use.
const (
	entryChunkBytes = 2 * (chunkEntries*48 + 16)
	tailChunkBytes  = 2 * (chunkEntries*32 + 16)
	// uploadEntryBytes is what a batch takes in an upload: its object.Batch, and its piece of the body.
	uploadEntryBytes = 2 * (48 + 24)
	// transactionBytes is what a transaction takes.
	transactionBytes = 2 * 64
	// batchOverhead is what a batch takes beside its bytes, from its append to its commit.
	batchOverhead = entryChunkBytes/chunkEntries + uploadEntryBytes
)

// used is the memory that counts against Options.CacheBytes.
func (c *logCache) used() int64 {
	return c.bytes + c.entries.chunks*entryChunkBytes + c.entries.entries*uploadEntryBytes + c.tails.chunks*tailChunkBytes +
		(c.entries.transactions+c.tails.transactions)*transactionBytes
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
	if c.used() <= limit || len(c.slabs) <= 1 {
		return true
	}
	c.evict(limit)
	return c.used() <= limit || len(c.slabs) <= 1
}

// evict frees the oldest slabs without a pinned entry until the cache is within
// its limit.
func (c *logCache) evict(limit int64) {
	for i := 0; i < len(c.slabs) && c.used() > limit; {
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
	first := s.end
	if s.entries.len() > 0 {
		first = s.entries.at(0).base
	}
	s.entries.pool.forgetTransactions(&s.transactions, first)
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
	s.pinned += int64(e.bytes)
}

// unpin lets eviction have the entries below upTo.
func (s *Stream) unpin(upTo int64) {
	for i := s.entries.search(s.pinnedFrom); i < s.entries.len(); i++ {
		e := s.entries.at(i)
		if e.base >= upTo {
			break
		}
		e.slab.pinned--
		s.pinned -= int64(e.bytes)
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
