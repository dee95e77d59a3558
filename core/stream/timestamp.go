package stream

import (
	"weir/core/env"
	"weir/core/metadata"
)

// FindTimestamp finds the first batch whose max timestamp is at least ts and
// reads it; Err nil and no batch: none. ts -1 asks for the batch with the largest timestamp.
func (s *Stream) FindTimestamp(ts int64, done func(Fetched)) {
	q := &timestampSearch{stream: s, ts: ts, from: s.logStart, done: done, deadline: s.engine.Loop.Now().Add(s.engine.ReadBudget)}
	if ts < 0 {
		q.ts, q.second = s.largestTimestamps()
	}
	q.next()
}

// largestTimestamps returns the largest timestamp of the log, and that of the log without the part in
// which it begins: the largest of that part may belong to a batch that was trimmed.
func (s *Stream) largestTimestamps() (all, without int64) {
	without = -1
	first := int64(-1)
	if image, ok := s.engine.Image.Stream(s.id); ok {
		for i := range image.Parts {
			switch p := &image.Parts[i]; {
			case p.End <= s.logStart:
			case p.Start < s.logStart:
				first = p.MaxTimestamp
			default:
				without = max(without, p.MaxTimestamp)
			}
		}
	}
	for _, t := range s.engine.tails {
		for _, ts := range t.streams {
			for i := range ts.entries {
				if ts.id == s.id && ts.entries[i].end() > s.logStart {
					without = max(without, ts.entries[i].maxTimestamp)
				}
			}
		}
	}
	for i := s.entries.search(s.logStart); i < s.entries.len() && s.entries.at(i).base < s.highWatermark; i++ {
		without = max(without, s.entries.at(i).maxTimestamp)
	}
	return max(first, without), without
}

// timestampSearch walks the log by offset: parts, whose largest timestamps spare most reads, then
// tails, then the log cache.
type timestampSearch struct {
	stream   *Stream
	ts       int64
	second   int64 // to look for if nothing has ts; 0: nothing
	from     int64
	deadline env.Time
	done     func(Fetched)
}

// next goes on from an offset until it finds the batch, waits, or is through.
func (q *timestampSearch) next() {
	s, e := q.stream, q.stream.engine
	for q.from < s.highWatermark {
		if s.inCache(q.from) {
			q.searchCache()
			return
		}
		if t, ok := e.tailAt(s.id, q.from); ok {
			if q.searchTail(t) {
				return
			}
			continue
		}
		part, err := s.partFor(q.from)
		if err != nil {
			q.done(Fetched{Err: err})
			return
		}
		if part.MaxTimestamp < q.ts {
			q.from = part.End
			continue
		}
		q.searchPart(&part)
		return
	}
	q.none()
}

// none ends a search that found nothing.
func (q *timestampSearch) none() {
	if q.second > 0 && q.second < q.ts {
		q.ts, q.second, q.from = q.second, 0, q.stream.logStart
		q.next()
		return
	}
	q.done(Fetched{})
}

// found reads the batch at an offset, and no other.
func (q *timestampSearch) found(base int64) {
	q.stream.Read(max(base, q.stream.logStart), 1, q.done)
}

func (q *timestampSearch) searchCache() {
	s := q.stream
	for i := s.entries.search(q.from); i < s.entries.len(); i++ {
		n := s.entries.at(i)
		if n.base >= s.highWatermark {
			break
		}
		if n.maxTimestamp >= q.ts {
			q.found(n.base)
			return
		}
	}
	q.none()
}

func (q *timestampSearch) searchTail(t *tailStream) (ended bool) {
	for i, _ := t.holds(q.from); i < len(t.entries); i++ {
		if t.entries[i].maxTimestamp >= q.ts {
			q.found(t.entries[i].base)
			return true
		}
		q.from = t.entries[i].end()
	}
	return false
}

// searchPart looks through the blocks of a part, by its index.
func (q *timestampSearch) searchPart(part *metadata.Part) {
	s, e := q.stream, q.stream.engine
	p := *part
	e.withIndex(s.id, &p, demanded(q.deadline), func(index *heldIndex, err error) {
		if err != nil {
			q.done(Fetched{Err: err})
			return
		}
		i, _ := index.Find(q.from)
		for i < len(index.Blocks) && index.Blocks[i].MaxTimestamp < q.ts {
			i++
		}
		if i == len(index.Blocks) {
			q.from = p.End
			q.next()
			return
		}
		e.withBlock(p.Object, &index.Blocks[i], demanded(q.deadline), func(b *block, err error) {
			if err != nil {
				q.done(Fetched{Err: err})
				return
			}
			q.searchBlock(b)
		})
	})
}

func (q *timestampSearch) searchBlock(b *block) {
	for i := b.search(q.from); i < len(b.batches); i++ {
		if b.batches[i].maxTimestamp >= q.ts {
			q.found(b.batches[i].base)
			return
		}
	}
	q.from = b.end
	q.next()
}
