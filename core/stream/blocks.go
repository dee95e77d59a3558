package stream

import (
	"container/list"
	"sort"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// blockKey names a block: no two bodies share an object id.
type blockKey struct {
	object   metadata.ObjectID
	position int64
}

// blockBatch is one batch of a block.
type blockBatch struct {
	base, end    int64
	maxTimestamp int64
	place, bytes int32
}

// block is one block in memory, or on its way.
type block struct {
	key     blockKey
	bytes   int64     // that it takes of the cache
	slab    *env.Slab // nil while it is on its way
	batches []blockBatch
	end     int64 // offset
	begun   int   // the batch at which the first read of it began; -1: there was none
	returns int8  // how often a read began there again, up to returnsMax
	waiters []func(*block, error)
	piece   *piece // that brings it, or brought it
	unread  bool   // read ahead, and nobody has asked for it yet
	landed  env.Time
	queue   *blockQueue // that it is in; nil: the cache does not keep it
	place   *list.Element
}

// search returns the batch that holds the offset, or the next one if the offset is missing; len if there is none.
func (b *block) search(offset int64) int {
	return sort.Search(len(b.batches), func(i int) bool { return b.batches[i].end > offset })
}

// take adds batches from offset on; it returns where it stopped, and whether the block ended there.
func (b *block) take(g *gather, offset int64, maxBytes int) (next int64, more bool) {
	start := b.search(offset)
	switch {
	case b.begun < 0:
		b.begun = start
	case b.begun == start:
		b.returns = min(b.returns+1, returnsMax)
	}
	next = offset
	for i := start; i < len(b.batches); i++ {
		n := &b.batches[i]
		if !g.fits(int(n.bytes), maxBytes) {
			return next, false
		}
		g.add(b.slab.Data[n.place:n.place+n.bytes:n.place+n.bytes], b.slab)
		next = n.end
	}
	return next, true
}

// blockCache keeps blocks of the store, by S3-FIFO ("FIFO queues are all you need for cache eviction", Yang et al., SOSP
// 2023) with two changes. New blocks are on trial in a quarter of the memory, in the order in which they came; one to which
// readers returned meanwhile, or that comes again soon after it left, goes on to the main queue, where it stays for
// as long as readers return to it. So a scan goes through the trial and pushes nothing else out.
//
// The changes: a reader returns to a block if it begins where an earlier one began, so that reading on through a block
// in many small pieces counts nothing; and it takes two returns to leave the trial well, so that a group that
// follows another, and reads each block a second and last time, does not fill the main queue.
//
// What is read ahead is apart until somebody reads it, and takes five eighths of the cache at most, what is on its way
// counted too.
type blockCache struct {
	blocks  map[blockKey]*block
	trial   blockQueue
	main    blockQueue
	ahead   blockQueue // read ahead, in memory, not read yet
	gone    ghosts
	bytes   int64 // of slabs, without those on their way
	unread  int64 // of blocks read ahead and not read yet, those on their way too
	limit   int64
	gets    *fetcher
	metrics *readMetrics
}

const (
	returnsMax     = 3
	returnsOfTrial = 2
)

// blockQueue is blocks in the order in which they came.
type blockQueue struct {
	list.List // front: the newest
	bytes     int64
}

func (q *blockQueue) oldest() *block { return q.Back().Value.(*block) }

// ghosts are blocks that left the trial of late.
type ghosts struct {
	all   map[blockKey]*list.Element
	order list.List // of ghost; front: the newest
	bytes int64
}

type ghost struct {
	key   blockKey
	bytes int64
}

// add notes a block that left; together they would take so much memory at most.
func (g *ghosts) add(b *block, limit int64) {
	g.all[b.key] = g.order.PushFront(ghost{b.key, b.bytes})
	g.bytes += b.bytes
	for g.bytes > limit {
		g.take(g.order.Back().Value.(ghost).key)
	}
}

// take reports whether a block is among them, and forgets it.
func (g *ghosts) take(key blockKey) bool {
	e := g.all[key]
	if e == nil {
		return false
	}
	g.bytes -= g.order.Remove(e).(ghost).bytes
	delete(g.all, key)
	return true
}

// unreadAgeMax is how long a block that was read ahead waits for its reader.
const unreadAgeMax = 10 * time.Second

func newBlockCache(limit int64, gets *fetcher) blockCache {
	return blockCache{blocks: make(map[blockKey]*block), gone: ghosts{all: make(map[blockKey]*list.Element)}, limit: limit, gets: gets, metrics: gets.metrics}
}

// with calls f with the first of some blocks of an object, now or when it came; f retains what it keeps. If it has to be
// read, those that follow come with it, as far as they have to be read too and all together have at most reach bytes.
func (c *blockCache) with(id metadata.ObjectID, blocks []object.Block, reach int64, deadline env.Time, f func(*block, error)) {
	b := c.blocks[blockKey{id, blocks[0].Position}]
	switch {
	case b == nil:
		c.metrics.blockMisses.Add(1)
		run := c.missing(id, blocks, reach)
		b = c.load(id, run, demanded(deadline))
		b.waiters = append(b.waiters, f)
		c.gets.submit(b.piece.get)
	case b.slab == nil:
		c.isRead(b)
		b.waiters = append(b.waiters, f)
		c.gets.want(b.piece)
	default:
		c.metrics.blockHits.Add(1)
		c.isRead(b)
		f(b, nil)
	}
}

// readAhead asks for blocks of an object that nobody waits for yet, adjacent ones with one GET, up to about so many bytes
// and as far as there is room. It returns how many blocks from the first on are in memory or on their way, and their bytes.
func (c *blockCache) readAhead(id metadata.ObjectID, blocks []object.Block, most int64, deadline env.Time) (passed int, bytes int64) {
	for passed < len(blocks) && bytes < most {
		if k := &blocks[passed]; c.blocks[blockKey{id, k.Position}] != nil {
			passed++
			bytes += int64(k.Bytes)
			continue
		}
		run := c.missing(id, blocks[passed:], min(most-bytes, c.limit/16))
		if n := bytesOf(run); n > c.aheadRoom() || !c.gets.hasRoom(n) {
			break
		}
		b := c.load(id, run, ahead(deadline))
		c.gets.submit(b.piece.get)
		passed += len(run)
		bytes += bytesOf(run)
	}
	return passed, bytes
}

// aheadRoom is how much may be read ahead at a time: half of what is left for it, so that a reader that comes later finds some.
func (c *blockCache) aheadRoom() int64 {
	now := c.gets.Loop.Now()
	for e := c.ahead.Back(); e != nil && now.Sub(e.Value.(*block).landed) > unreadAgeMax; e = c.ahead.Back() {
		b := e.Value.(*block)
		c.metrics.aheadWasted.Add(1)
		c.isRead(b)
		b.queue.MoveToBack(b.place)
	}
	return max(c.limit/8*5-c.unread, 0) / 2
}

func bytesOf(blocks []object.Block) (n int64) {
	for i := range blocks {
		n += int64(blocks[i].Bytes)
	}
	return n
}

// missing returns the first of the blocks, which is not there, and those after it that are not either, of at most so many
// bytes together. They lie one behind the other in the object, which those of different sources of a joined one need not.
func (c *blockCache) missing(id metadata.ObjectID, blocks []object.Block, most int64) []object.Block {
	most = min(most, getBytesMax)
	n, bytes := 1, int64(blocks[0].Bytes)
	for n < len(blocks) && blocks[n].Position == blocks[0].Position+bytes && bytes+int64(blocks[n].Bytes) <= most && c.blocks[blockKey{id, blocks[n].Position}] == nil {
		bytes += int64(blocks[n].Bytes)
		n++
	}
	return blocks[:n]
}

// load makes adjacent blocks ones that are on their way, and returns the first, whose get is to be submitted.
func (c *blockCache) load(id metadata.ObjectID, run []object.Block, want urgency) *block {
	g := &get{urgency: want, object: id, offset: run[0].Position}
	if len(run) > 1 {
		c.gets.Telemetry.Hit("stream read: several blocks with one GET")
	}
	var first *block
	for i := range run {
		k := run[i]
		b := &block{key: blockKey{id, k.Position}, bytes: int64(k.Bytes), end: k.End, begun: -1, unread: !want.demanded}
		if first == nil {
			first = b
		}
		if b.unread {
			c.unread += b.bytes
			c.metrics.readAhead.Add(1)
			c.gets.Telemetry.Hit("stream read: ahead")
		}
		c.blocks[b.key] = b
		var batches []blockBatch
		b.piece = &piece{
			get: g, bytes: int(k.Bytes),
			check: func(data []byte) (err error) {
				batches, err = openBlock(&k, data)
				return err
			},
			done: func(slab *env.Slab, err error) {
				b.batches = batches
				c.loaded(b, slab, err)
			},
		}
		g.pieces = append(g.pieces, b.piece)
	}
	return first
}

// openBlock checks a block and lists its batches.
func openBlock(k *object.Block, data []byte) (batches []blockBatch, err error) {
	place := int32(0)
	err = k.Open(data, func(h *record.Header, data []byte) {
		batches = append(batches, blockBatch{base: h.BaseOffset, end: h.NextOffset(), maxTimestamp: h.MaxTimestamp, place: place, bytes: int32(len(data))})
		place += int32(len(data))
	})
	return batches, err
}

func (c *blockCache) loaded(b *block, slab *env.Slab, err error) {
	waiters := b.waiters
	b.waiters = nil
	kept := err == nil && c.add(b, slab)
	if !kept {
		c.isRead(b)
		delete(c.blocks, b.key)
		b.slab = slab
	}
	for _, f := range waiters {
		if err != nil {
			f(nil, err)
		} else {
			f(b, nil)
		}
	}
	if !kept && slab != nil {
		slab.Release()
	}
	if kept {
		c.evict()
	}
}

// add puts a block that came into its queue. One that would take a large part of the cache is not kept.
func (c *blockCache) add(b *block, slab *env.Slab) bool {
	bytes := int64(len(slab.Data))
	if bytes > c.limit/4 {
		return false
	}
	if b.unread {
		c.unread += bytes - b.bytes
	}
	b.slab, b.bytes, b.landed = slab, bytes, c.gets.Loop.Now()
	c.bytes += bytes
	if b.unread {
		c.enqueue(b, &c.ahead)
	} else {
		c.enter(b)
	}
	return true
}

// enter puts a block that somebody reads on trial, or back into the main queue.
func (c *blockCache) enter(b *block) {
	if c.gone.take(b.key) {
		c.enqueue(b, &c.main)
	} else {
		c.enqueue(b, &c.trial)
	}
}

// enqueue makes a block the newest of a queue.
func (c *blockCache) enqueue(b *block, to *blockQueue) {
	c.dequeue(b)
	b.queue, b.place = to, to.PushFront(b)
	to.bytes += b.bytes
}

func (c *blockCache) dequeue(b *block) {
	if b.queue != nil {
		b.queue.Remove(b.place)
		b.queue.bytes -= b.bytes
		b.queue, b.place = nil, nil
	}
}

// isRead notes that somebody asked for a block.
func (c *blockCache) isRead(b *block) {
	if !b.unread {
		return
	}
	b.unread = false
	c.unread -= b.bytes
	if b.queue != nil {
		c.enter(b)
	}
}

// peek returns a block that is in memory, or came and is being checked: in a moment it is.
func (c *blockCache) peek(id metadata.ObjectID, position int64) *block {
	b := c.blocks[blockKey{id, position}]
	if b == nil || b.slab == nil && !b.piece.coming() {
		return nil
	}
	return b
}

func (c *blockCache) evict() {
	for c.bytes > c.limit {
		switch {
		case c.trial.Len() > 0 && (c.main.Len() == 0 || c.trial.bytes > (c.trial.bytes+c.main.bytes)/4):
			c.judge(c.trial.oldest())
		case c.main.Len() > 0:
			c.pass(c.main.oldest())
		default:
			c.remove(c.ahead.oldest())
		}
	}
	c.metrics.blockBytes.Set(c.bytes)
}

// judge ends a block's trial.
func (c *blockCache) judge(b *block) {
	if b.returns >= returnsOfTrial {
		b.returns = 0
		c.enqueue(b, &c.main)
		return
	}
	c.gone.add(b, c.limit)
	c.remove(b)
}

// pass lets a block of the main queue go, or go round once more for a return to it.
func (c *blockCache) pass(b *block) {
	if b.returns == 0 {
		c.remove(b)
		return
	}
	b.returns--
	c.enqueue(b, &c.main)
}

func (c *blockCache) remove(b *block) {
	if b.unread {
		c.metrics.aheadWasted.Add(1)
		b.unread = false
		c.unread -= b.bytes
	}
	c.dequeue(b)
	delete(c.blocks, b.key)
	c.bytes -= b.bytes
	b.slab.Release()
	b.slab = nil
}

// release empties the cache.
func (c *blockCache) release() {
	for _, q := range []*blockQueue{&c.trial, &c.main, &c.ahead} {
		for q.Len() > 0 {
			c.remove(q.oldest())
		}
	}
}
