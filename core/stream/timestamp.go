package stream

import (
	"weir/core/env"
	"weir/core/metadata"
)

// FindTimestamp finds the first batch that ends above an offset and whose max timestamp is
// at least ts, and reads it; Err nil and no batch: none. ts -1 asks for the batch with the
// largest timestamp. The batch's records at or above the offset, or the log start, may all be
// older: the caller then goes on from the batch's end.
func (s *Stream) FindTimestamp(from, ts int64, done func(Fetched)) {
	from = max(from, s.logStart)
	if from >= s.highWatermark {
		done(Fetched{})
		return
	}
	q := &timestampSearch{stream: s, ts: ts, from: from, done: done, deadline: s.engine.loop.Now().Add(s.engine.options.ReadBudget)}
	if ts >= 0 {
		q.next()
		return
	}
	q.ts = s.largestTimestampFrom(from)
	part, err := s.partFor(from)
	if err != nil || s.inCache(from) || part.Start == from || part.LargestTimestamp() < q.ts {
		q.next()
		return
	}
	q.searchFirstPart(&part)
}

// searchFirstPart makes the largest timestamp exact where the search starts within a part: what the
// image says of that part may stem from a batch below.
func (q *timestampSearch) searchFirstPart(part *metadata.Part) {
	s, e, p := q.stream, q.stream.engine, *part
	q.ts = s.largestTimestampFrom(p.End)
	e.withIndex(s.id, &p, demanded(q.deadline), func(index *heldIndex, err error) {
		if err != nil {
			q.done(Fetched{Err: s.lost(&p, p.Start, p.End, err)})
			return
		}
		i, _ := index.Find(q.from)
		if i == len(index.Blocks) {
			q.next()
			return
		}
		for _, k := range index.Blocks[i+1:] {
			q.ts = max(q.ts, k.MaxTimestamp)
		}
		k := &index.Blocks[i]
		e.withBlock(p.Object, k, demanded(q.deadline), func(b *block, err error) {
			if err != nil {
				q.done(Fetched{Err: s.lost(&p, k.First, k.End, err)})
				return
			}
			for j := b.search(q.from); j < len(b.batches); j++ {
				q.ts = max(q.ts, b.batches[j].maxTimestamp)
			}
			q.next()
		})
	})
}

// largestTimestampFrom is the largest of what ends after an offset, as far as the image and memory
// know. The log cache, if it holds the offset, holds
// all that follows.
func (s *Stream) largestTimestampFrom(offset int64) int64 {
	largest := s.entries.largest(s.entries.search(offset), s.entries.search(s.highWatermark))
	if s.inCache(offset) {
		return largest
	}
	for t := range s.engine.tailsOf(s.id) {
		largest = max(largest, t.entries.largest(t.entries.search(offset), t.entries.len()))
	}
	if image, ok := s.engine.image.Stream(s.id); ok {
		first, _ := partAt(image.Parts, offset)
		for i := range image.Parts[first:] {
			largest = max(largest, image.Parts[first+i].LargestTimestamp())
		}
	}
	return largest
}

// timestampSearch walks the log by offset: parts, whose largest timestamps spare most reads, then
// tails, then the log cache.
type timestampSearch struct {
	stream   *Stream
	ts       int64
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
		if part.LargestTimestamp() < q.ts {
			q.from = part.End
			continue
		}
		q.searchPart(&part)
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
	durable := s.entries.search(s.highWatermark)
	if i := s.entries.find(s.entries.search(q.from), durable, q.ts); i < durable {
		q.found(s.entries.at(i).base)
		return
	}
	q.done(Fetched{})
}

func (q *timestampSearch) searchTail(t *tailStream) (ended bool) {
	if i := t.entries.find(t.entries.search(q.from), t.entries.len(), q.ts); i < t.entries.len() {
		q.found(t.entries.at(i).base)
		return true
	}
	q.from = t.entries.at(t.entries.len() - 1).end()
	return false
}

// searchPart looks through the blocks of a part, by its index.
func (q *timestampSearch) searchPart(part *metadata.Part) {
	s, e := q.stream, q.stream.engine
	p := *part
	e.withIndex(s.id, &p, demanded(q.deadline), func(index *heldIndex, err error) {
		if err != nil {
			q.done(Fetched{Err: s.lost(&p, p.Start, p.End, err)})
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
		k := &index.Blocks[i]
		e.withBlock(p.Object, k, demanded(q.deadline), func(b *block, err error) {
			if err != nil {
				q.done(Fetched{Err: s.lost(&p, k.First, k.End, err)})
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
