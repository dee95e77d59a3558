package stream

import (
	"container/list"
	"sort"

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
	key       blockKey
	slab      *env.Slab // nil while it is on its way
	batches   []blockBatch
	end       int64 // offset
	served    int64 // offsets below were served already
	again     bool  // something of it was served twice
	waiters   []func(*block, error)
	place     *list.Element
	protected bool
}

// search returns the batch that holds the offset, or the next one if the offset is missing; len if there is none.
func (b *block) search(offset int64) int {
	return sort.Search(len(b.batches), func(i int) bool { return b.batches[i].end > offset })
}

// take adds batches from offset on; it returns where it stopped, and whether the block ended there.
func (b *block) take(g *gather, offset int64, maxBytes int) (next int64, more bool) {
	b.again = b.again || offset < b.served
	next = offset
	for i := b.search(offset); i < len(b.batches); i++ {
		n := &b.batches[i]
		if !g.fits(int(n.bytes), maxBytes) {
			return next, false
		}
		g.add(b.slab.Data[n.place:n.place+n.bytes:n.place+n.bytes], b.slab)
		next = n.end
		b.served = max(b.served, n.end)
	}
	return next, true
}

// blockCache keeps blocks of the store. New ones are on trial, in the order of their last use; one
// that is read again, not merely read on, is protected. What a scan brings in goes out by itself,
// since a scan reads every offset once; so it cannot push out what is read again and again.
type blockCache struct {
	blocks    map[blockKey]*block
	trial     list.List // front: used last
	protected list.List
	bytes     int64 // of slabs, without those on their way
	safe      int64 // of protected ones
	limit     int64
	gets      *fetcher
	metrics   *readMetrics
}

func newBlockCache(limit int64, gets *fetcher) blockCache {
	return blockCache{blocks: make(map[blockKey]*block), limit: limit, gets: gets, metrics: gets.metrics}
}

// with calls f with a block, now or when it came; f retains what it keeps. A nil f reads ahead:
// only if nobody who waits is held up.
func (c *blockCache) with(id metadata.ObjectID, k *object.Block, want urgency, f func(*block, error)) {
	key := blockKey{id, k.Position}
	b := c.blocks[key]
	switch {
	case b == nil:
		if f == nil && c.gets.busy() {
			return
		}
		c.load(key, k, want, f)
	case f == nil:
	case b.slab == nil:
		b.waiters = append(b.waiters, f)
	default:
		c.metrics.blockHits.Add(1)
		f(b, nil)
		c.touch(b)
	}
}

func (c *blockCache) load(key blockKey, k *object.Block, want urgency, f func(*block, error)) {
	b := &block{key: key, end: k.End, served: k.First}
	if f != nil {
		b.waiters = append(b.waiters, f)
		c.metrics.blockMisses.Add(1)
	} else {
		c.metrics.readAhead.Add(1)
		c.gets.Telemetry.Hit("stream read: ahead")
	}
	c.blocks[key] = b
	expected := *k
	var batches []blockBatch
	c.gets.submit(&get{
		urgency: want, object: key.object, offset: k.Position, bytes: int(k.Bytes),
		check: func(data []byte) (err error) {
			batches, err = openBlock(&expected, data)
			return err
		},
		done: func(slab *env.Slab, err error) {
			b.batches = batches
			c.loaded(b, slab, err)
		},
	})
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

// add puts a block that came on trial. One that would take a large part of the cache is not kept.
func (c *blockCache) add(b *block, slab *env.Slab) bool {
	if int64(len(slab.Data)) > c.limit/4 {
		return false
	}
	b.slab = slab
	b.place = c.trial.PushFront(b)
	c.bytes += int64(len(slab.Data))
	return true
}

// peek returns a block that is in memory.
func (c *blockCache) peek(id metadata.ObjectID, position int64) *block {
	b := c.blocks[blockKey{id, position}]
	if b == nil || b.slab == nil || b.place == nil {
		return nil
	}
	return b
}

// touch notes a use; called after it.
func (c *blockCache) touch(b *block) {
	switch {
	case b.place == nil:
	case b.protected:
		c.protected.MoveToFront(b.place)
	case b.again:
		c.protect(b)
	default:
		c.trial.MoveToFront(b.place)
	}
}

// protect moves a block that is read again among the protected, which take four fifths at most.
func (c *blockCache) protect(b *block) {
	c.trial.Remove(b.place)
	b.place, b.protected = c.protected.PushFront(b), true
	c.safe += int64(len(b.slab.Data))
	for c.safe > c.limit/5*4 {
		last := c.protected.Remove(c.protected.Back()).(*block)
		last.protected, last.again = false, false
		last.place = c.trial.PushFront(last)
		c.safe -= int64(len(last.slab.Data))
	}
}

func (c *blockCache) evict() {
	for c.bytes > c.limit {
		from := &c.trial
		if from.Len() == 0 {
			from = &c.protected
		}
		c.remove(from, from.Back())
	}
	c.metrics.blockBytes.Set(c.bytes)
}

func (c *blockCache) remove(from *list.List, at *list.Element) {
	b := from.Remove(at).(*block)
	delete(c.blocks, b.key)
	c.bytes -= int64(len(b.slab.Data))
	if b.protected {
		c.safe -= int64(len(b.slab.Data))
	}
	b.slab.Release()
	b.slab, b.place = nil, nil
}

// release empties the cache.
func (c *blockCache) release() {
	for _, l := range []*list.List{&c.trial, &c.protected} {
		for l.Len() > 0 {
			c.remove(l, l.Back())
		}
	}
}
