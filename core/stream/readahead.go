package stream

import "weir/core/metadata"

const (
	cursorsMax   = 4 // readers of one log that are told apart
	readAheadMax = 4 // blocks
)

// cursors are the sequential readers of a log, as far as they can be told from its reads.
type cursors struct {
	all  [cursorsMax]cursor
	turn int // the next to be replaced
}

type cursor struct {
	next   int64 // where its next read will start
	window int   // blocks to read ahead
}

// follow returns how many blocks to read ahead after a read of [offset, next): none for a read that
// follows no other, then doubling.
func (c *cursors) follow(offset, next int64) int {
	for i := range c.all {
		if r := &c.all[i]; r.next == offset && offset > 0 {
			r.next, r.window = next, min(max(1, 2*r.window), readAheadMax)
			return r.window
		}
	}
	c.all[c.turn] = cursor{next: next}
	c.turn = (c.turn + 1) % cursorsMax
	return 0
}

// readAhead asks for blocks that a sequential reader will want, into the next part if need be.
func (l *CommittedLog) readAhead(part *metadata.Part, index *heldIndex, from, blocks int) {
	r := l.reader
	want := ahead(l.deadline())
	for ; blocks > 0 && from < len(index.Blocks); from, blocks = from+1, blocks-1 {
		r.blocks.with(part.Object, &index.Blocks[from], want, nil)
	}
	if blocks == 0 || l.cached != nil && l.cached(part.End) {
		return
	}
	next, err := l.partFor(part.End)
	if err != nil {
		return
	}
	r.indexes.with(l.id, &next, want, func(index *heldIndex, err error) {
		if err == nil && !r.gets.stopping {
			r.blocks.with(next.Object, &index.Blocks[0], want, nil)
		}
	})
}
