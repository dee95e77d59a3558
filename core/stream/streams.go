package stream

import (
	"cmp"
	"slices"

	"weir/core/metadata"
	"weir/core/telemetry"
	"weir/core/wal"
)

// streamSet is the streams that are open, and those that were closed and hold something uncommitted.
type streamSet struct {
	open    map[metadata.StreamID]*Stream
	ordered []*Stream // all, ascending by id; one that was closed, and one that was opened since, may share an id
	written []*Stream // those that were appended to and may hold something that is not settled, each once
	dead    int       // of them, those that wait to be taken out
	left    uint64    // index of the image by which a stream was last sealed, deleted or forgotten here
}

// leave notes that a stream is in no summary from now on.
func (t *streamSet) leave(b *base) {
	if b.Shipping != nil {
		t.left = b.Shipping.AppliedIndex()
	}
}

func (t *streamSet) search(id metadata.StreamID) int {
	at, _ := slices.BinarySearchFunc(t.ordered, id, func(s *Stream, id metadata.StreamID) int { return cmp.Compare(s.id, id) })
	return at
}

func (t *streamSet) add(s *Stream) {
	t.tidy()
	t.open[s.id] = s
	t.ordered = slices.Insert(t.ordered, t.search(s.id), s)
}

// tidy takes the dead streams out once they are half of all: taking each out by itself would move all behind it,
// and a deleted topic may have many.
func (t *streamSet) tidy() {
	if t.dead > 0 && t.dead*2 >= len(t.ordered) {
		t.ordered = slices.DeleteFunc(t.ordered, func(s *Stream) bool { return s.dead })
		t.dead = 0
	}
}

// refresh refreshes all streams of an id, and reports whether anything of them was committed or let go.
func (t *streamSet) refresh(id metadata.StreamID) (moved bool) {
	for at := t.search(id); at < len(t.ordered) && t.ordered[at].id == id; at++ {
		if s := t.ordered[at]; !s.dead && s.refresh() {
			moved = true
		}
	}
	return moved
}

func (t *streamSet) refreshAll() (moved bool) {
	for _, s := range t.ordered {
		if !s.dead && s.refresh() {
			moved = true
		}
	}
	return moved
}

// wrote notes that a stream was appended to. What each commit and each summary looks at are these streams, so that a partition
// that nobody writes to costs neither anything.
func (t *streamSet) wrote(s *Stream) {
	if !s.written {
		s.written = true
		t.written = append(t.written, s)
	}
}

// unsettled returns the streams that may hold something that is not settled, in no order: no other is in a summary, or keeps the WAL.
func (t *streamSet) unsettled() []*Stream {
	t.written = slices.DeleteFunc(t.written, func(s *Stream) bool {
		_, uncommitted := s.firstUncommitted()
		s.written = !s.dead && (uncommitted || s.reach.from < s.end)
		return !s.written
	})
	return t.written
}

// firstUncommitted is the lowest position in the WAL, not above upTo, that holds anything uncommitted.
func (t *streamSet) firstUncommitted(upTo wal.Position) wal.Position {
	t.tidy()
	for _, s := range t.unsettled() {
		if at, ok := s.firstUncommitted(); ok {
			upTo = min(upTo, at)
		}
	}
	return upTo
}

// refresh takes what the image says of a stream, and reports whether
// anything of it was committed or let go.
func (s *Stream) refresh() bool {
	s.counted = false
	image, ok := s.engine.base.Image.Stream(s.id)
	if !ok {
		// Deleted. Its owner may still append until it closes the stream; nothing of that counts.
		owed := s.pinnedFrom < s.end
		s.disown()
		if s.owner == nil && !s.dead {
			s.drop()
		}
		return owed
	}
	if image.LogStart > s.logStart {
		s.logStart = image.LogStart
		if s.owner != nil {
			s.owner.Trimmed(s.logStart)
		}
	}
	committed := s.highWatermark // of a range that the image knows no more: it is committed, and the log start has passed it
	if r, ok := rangeOf(image, s.leaderEpoch); ok {
		committed = committedOf(r)
	}
	moved := s.advance(committed)
	if s.owner == nil && !s.dead && s.committed >= s.end {
		s.drop()
	}
	return moved
}

// advance moves a stream's committed end to where the image has it.
func (s *Stream) advance(committed int64) bool {
	if committed < s.committed || committed > s.highWatermark {
		telemetry.Assert(4, false, "stream %d is committed up to %d, it was up to %d, and is durable up to %d",
			s.id, committed, s.committed, s.highWatermark)
	}
	if committed == s.committed {
		return false
	}
	s.unpin(committed)
	s.committed = committed
	s.reach.renew(committed, s.engine.base.Shipping)
	if s.cut < committed {
		s.engine.uploads.recut(s, committed)
	}
	return true
}

// disown lets go of what a deleted stream holds in WAL and cache.
func (s *Stream) disown() {
	s.engine.uploads.forget(s)
	if !s.gone {
		s.engine.streams.leave(&s.engine.base)
	}
	s.gone = true
	s.unpin(s.end)
}

// drop forgets a closed stream: nothing of it is kept from now on.
func (s *Stream) drop() {
	s.dead = true
	if !s.gone {
		s.engine.streams.leave(&s.engine.base)
	}
	s.engine.uploads.forget(s)
	s.unpin(s.end)
	s.entries.drop(s.entries.len())
	s.entries.pool.dropTransactions(&s.transactions)
	s.engine.streams.dead++
}
