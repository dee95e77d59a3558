package stream

import "weir/core/metadata"

const (
	cursorsMax      = 4 // readers of one log that are told apart
	indexesAheadMax = 8 // parts whose indexes are asked for together
)

// cursors are the sequential readers of a log, as far as they can be told from its reads.
type cursors struct {
	all    [cursorsMax]cursor
	turn   int // the next to be replaced
	serial uint64
}

// cursor is a sequential reader. It is read ahead of by four times what it has read in sequence, as far as there is room:
// one that reads on soon has all on its way that the cache takes, and one that reads a little and stops leaves little.
type cursor struct {
	serial  uint64 // tells it from another in its place; zero: none
	next    int64  // where its next read will start
	read    int64  // bytes, in sequence
	ahead   int64  // offset up to which it was read ahead
	lead    int64  // bytes, about, from next to ahead
	waiting bool   // for an index
}

// at returns the reader whose next read starts at an offset; nil: it follows no other.
func (c *cursors) at(offset int64) *cursor {
	for i := range c.all {
		if r := &c.all[i]; r.serial != 0 && r.next == offset {
			return r
		}
	}
	return nil
}

// follow notes a read of [offset, next).
func (c *cursors) follow(offset, next, bytes int64) {
	r := c.at(offset)
	if r == nil {
		c.serial++
		r = &c.all[c.turn]
		*r = cursor{serial: c.serial}
		c.turn = (c.turn + 1) % cursorsMax
	}
	r.next, r.ahead = next, max(r.ahead, next)
	r.read += bytes
	r.lead = max(r.lead-bytes, 0)
	if r.ahead == next {
		r.lead = 0
	}
}

// wanted is how many bytes more to read ahead of a reader; zero if they would make a small GET for no need.
func (c *cursor) wanted() int64 {
	window := 4 * c.read
	if most := window - c.lead; most >= min(window/4, getBytesMax) {
		return most
	}
	return 0
}

// readAhead asks for blocks that a sequential reader will want, of as many parts as need be.
func (l *CommittedLog) readAhead(c *cursor) {
	r := l.reader
	for most := c.wanted(); most > 0 && !c.waiting; {
		if l.cached != nil && l.cached(c.ahead) {
			return
		}
		part, err := l.partFor(c.ahead)
		if err != nil {
			return
		}
		if part.Lost() {
			c.ahead = part.End
			continue
		}
		index := l.indexAhead(c, part, most)
		if index == nil {
			return
		}
		i, ok := index.Find(c.ahead)
		if !ok {
			return
		}
		passed, bytes := r.blocks.readAhead(part.Object, index.Blocks[i:], most, l.deadline())
		if passed == 0 {
			return
		}
		c.ahead = index.Blocks[i+passed-1].End
		c.lead += bytes
		most -= bytes
	}
}

// indexAhead returns the index of a part. If it has to be read, so are those of the parts that follow, as far as the reader wants bytes
// of them, and then reading ahead goes on.
func (l *CommittedLog) indexAhead(c *cursor, part metadata.Part, most int64) *heldIndex {
	serial := c.serial
	index, asked := l.reader.indexes.ahead(l.id, &part, l.deadline(), func(err error) {
		if c.serial != serial {
			return
		}
		c.waiting = false
		if err == nil && !l.reader.gets.stopping {
			l.readAhead(c)
		}
	})
	if index != nil || !asked {
		return index
	}
	c.waiting = true
	for range indexesAheadMax - 1 {
		if most -= part.Bytes; most <= 0 || l.cached != nil && l.cached(part.End) {
			break
		}
		next, err := l.partFor(part.End)
		if err != nil || next.Lost() {
			break
		}
		part = next
		if index, asked := l.reader.indexes.ahead(l.id, &part, l.deadline(), func(error) {}); index == nil && !asked {
			break
		}
	}
	return nil
}
