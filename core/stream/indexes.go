package stream

import (
	"container/list"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
)

// indexKey names a part's index. An object has several parts of a stream whose ranges changed while it was filled, or if it was joined.
type indexKey struct {
	object metadata.ObjectID
	stream metadata.StreamID
	start  int64
}

// heldIndex is an index in memory, or on its way.
type heldIndex struct {
	object.Index
	key     indexKey
	waiters []func(*heldIndex, error)
	piece   *piece        // that brings it, or brought it
	place   *list.Element // nil while it is on its way
}

// indexRowsMax bounds the rows of all indexes kept, of some 50 bytes each.
const indexRowsMax = 256 << 10

func (x *heldIndex) rows() int { return len(x.Blocks) + x.Transactions.Len() }

// indexCache keeps the indexes used last.
type indexCache struct {
	indexes map[indexKey]*heldIndex
	used    list.List // front: used last
	rows    int
	gets    *fetcher
}

func newIndexCache(gets *fetcher) indexCache {
	return indexCache{indexes: make(map[indexKey]*heldIndex), gets: gets}
}

// with calls f with a part's index, now or when it came.
func (c *indexCache) with(id metadata.StreamID, p *metadata.Part, deadline env.Time, f func(*heldIndex, error)) {
	key := indexKey{p.Object, id, p.Start}
	x := c.indexes[key]
	switch {
	case x == nil:
		x = c.load(key, p, demanded(deadline))
		x.waiters = append(x.waiters, f)
		c.gets.submit(x.piece.get)
	case x.place == nil:
		x.waiters = append(x.waiters, f)
		c.gets.want(x.piece)
	default:
		c.used.MoveToFront(x.place)
		f(x, nil)
	}
}

// ahead returns a part's index if it is in memory. Else it asks for it, if there is room, and calls f in the end.
func (c *indexCache) ahead(id metadata.StreamID, p *metadata.Part, deadline env.Time, f func(error)) (x *heldIndex, asked bool) {
	key := indexKey{p.Object, id, p.Start}
	x = c.indexes[key]
	if x != nil && x.place != nil {
		c.used.MoveToFront(x.place)
		return x, true
	}
	if x == nil && !c.gets.hasRoom(int64(p.IndexBytes)) {
		return nil, false
	}
	submitted := x != nil
	if x == nil {
		x = c.load(key, p, ahead(deadline))
	}
	x.waiters = append(x.waiters, func(_ *heldIndex, err error) { f(err) })
	if !submitted {
		c.gets.submit(x.piece.get)
	}
	return nil, true
}

// load makes an index one that is on its way; its get is to be submitted.
func (c *indexCache) load(key indexKey, p *metadata.Part, want urgency) *heldIndex {
	x := &heldIndex{key: key}
	c.indexes[key] = x
	expected := *p
	g := &get{urgency: want, object: p.Object, offset: p.IndexOffset}
	x.piece = &piece{
		get: g, bytes: int(p.IndexBytes),
		check: func(data []byte) error { return x.parse(data, &expected) },
		done: func(slab *env.Slab, err error) {
			if slab != nil {
				slab.Release()
			}
			c.loaded(x, err)
		},
	}
	g.pieces = []*piece{x.piece}
	return x
}

// parse reads an index and holds it against the part's row in the image.
func (x *heldIndex) parse(data []byte, p *metadata.Part) error {
	index, err := object.ParseIndex(data)
	if err != nil {
		return err
	}
	if !isIndexOf(index, x.key.stream, p) {
		return object.ErrDamaged
	}
	x.Index = *index
	return nil
}

// isIndexOf holds an index against a part's row in the image.
func isIndexOf(x *object.Index, id metadata.StreamID, p *metadata.Part) bool {
	return x.Object == uint64(p.Object) && x.Stream == uint64(id) && x.Blocks[0].First == p.Start && x.Blocks[len(x.Blocks)-1].End == p.End
}

func (c *indexCache) loaded(x *heldIndex, err error) {
	if err != nil {
		delete(c.indexes, x.key)
	} else {
		x.place = c.used.PushFront(x)
		c.rows += x.rows()
		c.evict()
	}
	waiters := x.waiters
	x.waiters = nil
	for _, f := range waiters {
		if err != nil {
			f(nil, err)
		} else {
			f(x, nil)
		}
	}
}

func (c *indexCache) evict() {
	for c.rows > indexRowsMax && c.used.Len() > 1 {
		last := c.used.Remove(c.used.Back()).(*heldIndex)
		delete(c.indexes, last.key)
		c.rows -= last.rows()
	}
}
