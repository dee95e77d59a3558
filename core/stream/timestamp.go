package stream

import (
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
)

// FindTimestamp finds the first batch that ends above an offset and whose max timestamp is
// at least ts, and reads it; Err nil and no batch: none. ts -1 asks for the batch with the
// largest timestamp. The batch's records at or above the offset, or the log start, may all be
// older: the caller then goes on from the batch's end.
func (s *Stream) FindTimestamp(from, ts int64, done func(Fetched)) {
	s.findTimestampBy(s.stored.deadline(), from, ts, done)
}

func (s *Stream) findTimestampBy(deadline env.Time, from, ts int64, done func(Fetched)) {
	if _, owed := s.owedElsewhere(from); owed && s.owner != nil {
		s.awaitOwed(deadline, func() { s.findTimestampBy(deadline, from, ts, done) }, done)
		return
	}
	from = max(from, s.logStart)
	if from >= s.highWatermark {
		done(Fetched{})
		return
	}
	q := &timestampSearch{stream: s, ts: ts, from: from, done: done, deadline: s.stored.deadline()}
	if ts >= 0 {
		q.next()
		return
	}
	q.ts = s.largestTimestampFrom(from)
	part, err := s.stored.partFor(from)
	if err != nil || s.inCache(from) || part.Lost() || part.Start == from || part.LargestTimestamp() < q.ts {
		q.next()
		return
	}
	q.searchFirstPart(&part)
}

// searchFirstPart makes the largest timestamp exact where the search starts within a part: what the
// image says of that part may stem from a batch below.
func (q *timestampSearch) searchFirstPart(part *metadata.Part) {
	q.ts = q.stream.largestTimestampFrom(part.End)
	q.stream.stored.largestTimestamp(*part, q.from, q.deadline, func(largest int64, err error) {
		if q.stream.stored.replaced(part, err) {
			q.stream.findTimestampBy(q.deadline, q.from, -1, q.done)
			return
		}
		if err != nil {
			q.done(Fetched{Err: err})
			return
		}
		q.ts = max(q.ts, largest)
		q.next()
	})
}

// largestTimestampFrom is the largest of what ends after an offset, as far as the image and memory
// know. The log cache, if it holds the offset, holds
// all that follows.
func (s *Stream) largestTimestampFrom(offset int64) int64 {
	largest := s.entries.largest(s.entries.search(max(offset, s.compacted)), s.entries.search(s.highWatermark))
	if s.inCache(offset) {
		return largest
	}
	for t := range s.engine.recovered.of(s.id) {
		largest = max(largest, t.entries.largest(t.entries.search(offset), t.entries.len()))
	}
	if image, ok := s.engine.base.Image.Stream(s.id); ok {
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
	s := q.stream
	for q.from < s.highWatermark {
		if s.inCache(q.from) {
			q.searchCache()
			return
		}
		if t, ok := s.engine.recovered.at(s.id, q.from); ok {
			if q.searchTail(t) {
				return
			}
			continue
		}
		part, err := s.stored.partFor(q.from)
		if err != nil {
			q.done(Fetched{Err: err})
			return
		}
		if part.Lost() || part.LargestTimestamp() < q.ts {
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

// searchPart looks through a part.
func (q *timestampSearch) searchPart(part *metadata.Part) {
	q.stream.stored.findTimestamp(*part, q.from, q.ts, q.deadline, func(at int64, found bool, err error) {
		switch {
		case q.stream.stored.replaced(part, err):
			q.next()
		case err != nil:
			q.done(Fetched{Err: err})
		case found:
			q.found(at)
		default:
			q.from = at
			q.next()
		}
	})
}

// largestTimestamp gives done the largest timestamp of the batches of a part that end above from; -1: there is
// none.
func (l *CommittedLog) largestTimestamp(part metadata.Part, from int64, deadline env.Time, done func(largest int64, err error)) {
	failed := func(err error) { done(-1, err) }
	l.withIndex(&part, deadline, failed, func(index *heldIndex) {
		largest := int64(-1)
		i, _ := index.Find(from)
		if i == len(index.Blocks) {
			done(largest, nil)
			return
		}
		for _, k := range index.Blocks[i+1:] {
			largest = max(largest, k.MaxTimestamp)
		}
		l.withBlock(&part, &index.Blocks[i], deadline, failed, func(b *block) {
			for j := b.search(from); j < len(b.batches); j++ {
				largest = max(largest, b.batches[j].maxTimestamp)
			}
			done(largest, nil)
		})
	})
}

// findTimestamp finds the first batch of a part that ends above from and whose max timestamp is at least ts. done
// gets its base offset, or else the offset at which to go on.
func (l *CommittedLog) findTimestamp(part metadata.Part, from, ts int64, deadline env.Time, done func(at int64, found bool, err error)) {
	failed := func(err error) { done(0, false, err) }
	l.withIndex(&part, deadline, failed, func(index *heldIndex) {
		i, _ := index.Find(from)
		for i < len(index.Blocks) && index.Blocks[i].MaxTimestamp < ts {
			i++
		}
		if i == len(index.Blocks) {
			done(part.End, false, nil)
			return
		}
		l.withBlock(&part, &index.Blocks[i], deadline, failed, func(b *block) {
			for i := b.search(from); i < len(b.batches); i++ {
				if b.batches[i].maxTimestamp >= ts {
					done(b.batches[i].base, true, nil)
					return
				}
			}
			done(b.end, false, nil)
		})
	})
}

// withIndex calls f with a part's index, or failed.
func (l *CommittedLog) withIndex(part *metadata.Part, deadline env.Time, failed func(error), f func(*heldIndex)) {
	l.reader.indexes.with(l.id, part, deadline, func(index *heldIndex, err error) {
		if err != nil {
			failed(l.lost(part, part.Start, part.End, err))
			return
		}
		f(index)
	})
}

// withBlock calls f with a block of a part, or failed.
func (l *CommittedLog) withBlock(part *metadata.Part, k *object.Block, deadline env.Time, failed func(error), f func(*block)) {
	l.reader.blocks.with(part.Object, []object.Block{*k}, 0, deadline, func(b *block, err error) {
		if err != nil {
			failed(l.lost(part, k.First, k.End, err))
			return
		}
		f(b)
	})
}
