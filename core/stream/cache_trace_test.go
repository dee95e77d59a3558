package stream

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// policy is a cache of blocks that are all of one size: visit reports whether one was there.
type policy interface{ visit(block int) bool }

// lastUse keeps the blocks that were used last.
type lastUse struct {
	room int
	used []int // the last one last
}

func (c *lastUse) visit(block int) bool {
	i := slices.Index(c.used, block)
	if i >= 0 {
		c.used = slices.Delete(c.used, i, i+1)
	}
	c.used = append(c.used, block)
	if len(c.used) > c.room {
		c.used = c.used[1:]
	}
	return i >= 0
}

// s3FIFO is the cache of "FIFO queues are all you need for cache eviction" (Yang et al., SOSP 2023): a small queue of a tenth,
// a main one, and a ghost of what left the small one.
type s3FIFO struct {
	room               int
	small, main, ghost []int
	uses               map[int]int
}

func (c *s3FIFO) visit(block int) bool {
	if uses, there := c.uses[block]; there {
		c.uses[block] = min(uses+1, 3)
		return true
	}
	if len(c.small)+len(c.main) >= c.room {
		c.evict()
	}
	c.uses[block] = 0
	if i := slices.Index(c.ghost, block); i >= 0 {
		c.ghost = slices.Delete(c.ghost, i, i+1)
		c.main = append(c.main, block)
	} else {
		c.small = append(c.small, block)
	}
	return false
}

func (c *s3FIFO) evict() {
	for len(c.small) > c.room/10 || len(c.main) == 0 {
		b := c.small[0]
		c.small = c.small[1:]
		if c.uses[b] > 1 {
			c.uses[b] = 0
			c.main = append(c.main, b)
			continue
		}
		delete(c.uses, b)
		c.ghost = append(c.ghost, b)
		if len(c.ghost) > c.room {
			c.ghost = c.ghost[1:]
		}
		return
	}
	for {
		b := c.main[0]
		c.main = c.main[1:]
		if c.uses[b] == 0 {
			delete(c.uses, b)
			return
		}
		c.uses[b]--
		c.main = append(c.main, b)
	}
}

// visited is one read of a trace: a part of a block.
type visited struct {
	block int
	part  int
}

const (
	traceParts = 4   // reads of a block by who reads on
	traceHot   = 120 // blocks that readers come back to, by a law of powers
	traceRoom  = 100 // blocks in the cache
)

// trace is readers that come back to some blocks, beside a scan of blocks that nobody reads again but, of each so many, a group
// that follows some blocks behind.
func trace(every, behind int) (reads []visited) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, traceHot-1)
	for next := traceHot; next < traceHot+3000; next++ {
		hot := int(zipf.Uint64())
		for part := range traceParts {
			reads = append(reads, visited{hot, part})
		}
		for part := range traceParts {
			reads = append(reads, visited{next, part})
			if last := next - behind; every > 0 && last >= traceHot && next%every == 0 {
				reads = append(reads, visited{last, part})
			}
		}
	}
	return reads
}

// The block cache is held against a cache by last use and against plain S3-FIFO. They see four uses where a reader reads a
// block in four pieces.
func TestTheBlockCacheOnTraces(t *testing.T) {
	for _, c := range []struct {
		name          string
		every, behind int
	}{
		{"scan", 0, 0},
		{"a group follows half of the scan, 5 blocks behind", 2, 5},
		{"a group follows half of the scan, 20 blocks behind", 2, 20},
		{"a group follows the scan, 20 blocks behind", 1, 20},
		{"a group follows the scan, 200 blocks behind", 1, 200},
	} {
		reads := trace(c.every, c.behind)
		hits := func(p policy) (n int) {
			for _, r := range reads {
				if p.visit(r.block) {
					n++
				}
			}
			return n
		}
		own := ownCacheOnATrace(t, reads)
		byUse, fifo := hits(&lastUse{room: traceRoom}), hits(&s3FIFO{room: traceRoom, uses: map[int]int{}})
		blocks := len(reads) / traceParts // each is read in so many pieces, of which but the first are hits
		percent := func(n int) float64 { return 100 - float64(len(reads)-n)*100/float64(blocks) }
		t.Logf("%s: %.1f %% of blocks were there, %.1f %% by last use, %.1f %% by S3-FIFO", c.name, percent(own), percent(byUse), percent(fifo))
		require.GreaterOrEqual(t, percent(own), percent(byUse)-1, c.name)
		require.GreaterOrEqual(t, percent(own), percent(fifo)-1, c.name)
	}
}

// ownCacheOnATrace plays a trace to the block cache itself.
func ownCacheOnATrace(t *testing.T, reads []visited) (hits int) {
	w := newWorld(t)
	m := newReadMetrics(w.marks)
	c := newBlockCache(traceRoom*1000, &fetcher{ReaderOptions: &ReaderOptions{Loop: w.loop}, metrics: &m})
	for _, r := range reads {
		key := blockKey{1, int64(r.block)}
		b := c.blocks[key]
		if b != nil {
			hits++
		} else {
			b = &block{key: key, end: traceParts, begun: -1}
			for i := range int64(traceParts) {
				b.batches = append(b.batches, blockBatch{base: i, end: i + 1, bytes: 1})
			}
			c.blocks[key] = b
			require.True(t, c.add(b, w.memory.Alloc(1000)))
			c.evict()
		}
		var g gather
		b.take(&g, int64(r.part), 1)
		g.Release()
	}
	c.release()
	require.Zero(t, w.memory.live)
	return hits
}
