package partition

import (
	"fmt"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
	"weir/core/wire"
)

const (
	// windowBatches is Kafka's bound on the requests that an idempotent producer
	// has in flight, and so on the duplicates to be recognised.
	windowBatches = 5
	noEpoch       = -1
	// DefaultProducersMax bounds the producers kept for one partition. So many, at
	// producerBytesMax each, make a checkpoint that fits one record of the quorum's
	// log: a larger one could never be committed, nor anything that follows it.
	DefaultProducersMax = 5_000
)

// sequenceRange is what is remembered of one batch.
type sequenceRange struct {
	base      int32
	delta     int32 // last sequence minus base, modulo wrap
	offset    int64 // of the first record
	timestamp int64 // max timestamp
}

func (r *sequenceRange) last() int32 { return record.AddSequence(r.base, r.delta) }
func (r *sequenceRange) end() int64  { return r.offset + int64(r.delta) + 1 }

// window is a producer's epoch and its last batches, oldest first.
type window struct {
	epoch   int16 // noEpoch: nothing known
	n       int8
	batches [windowBatches]sequenceRange
}

func (w *window) find(h *record.Header) (sequenceRange, bool) {
	if w.epoch != h.ProducerEpoch {
		return sequenceRange{}, false
	}
	for _, r := range w.batches[:w.n] {
		if r.base == h.BaseSequence && r.delta == h.LastOffsetDelta {
			return r, true
		}
	}
	return sequenceRange{}, false
}

func (w *window) add(epoch int16, r sequenceRange) {
	if w.epoch != epoch {
		w.epoch, w.n = epoch, 0
	}
	if w.n == windowBatches {
		copy(w.batches[:], w.batches[1:])
		w.n--
	}
	w.batches[w.n] = r
	w.n++
}

// producer is one producer id's state in both layers.
type producer struct {
	id       int64
	seen     env.Time // when it last appended, on this incarnation's clock
	pending  int32    // batches appended and not durable
	appended window
	durable  window // epoch noEpoch: nothing of it is durable yet
}

// State is the producer state of one partition. The zero value is not usable:
// see [LoadState].
type State struct {
	producers    []*producer // ascending by id
	last         *producer   // the one used last: a run of batches often has one producer
	pending      task.Queue[pendingBatch]
	end          int64 // the durable state is exactly as of here
	maxTimestamp int64 // of durable batches; -1: none
	appendedMax  int64
	max          int
}

// pendingBatch is the effect of a batch that is not durable yet.
type pendingBatch struct {
	end          int64
	maxTimestamp int64
	producer     *producer // nil: not idempotent
	epoch        int16
	batch        sequenceRange
}

// End is the offset as of which the durable state is.
func (s *State) End() int64 { return s.end }

// Producers is the number of producers known.
func (s *State) Producers() int { return len(s.producers) }

// MaxTimestamp is the largest timestamp of durable batches; -1: none.
func (s *State) MaxTimestamp() int64 { return s.maxTimestamp }

func (s *State) search(id int64) (int, bool) {
	return slices.BinarySearchFunc(s.producers, id, func(p *producer, id int64) int {
		switch {
		case p.id < id:
			return -1
		case p.id > id:
			return 1
		}
		return 0
	})
}

func (s *State) find(id int64) *producer {
	if s.last != nil && s.last.id == id {
		return s.last
	}
	i, ok := s.search(id)
	if !ok {
		return nil
	}
	s.last = s.producers[i]
	return s.last
}

// duplicate is the earlier batch that a retry repeats.
type duplicate struct {
	batch sequenceRange
	found bool
}

// check says whether a batch of an idempotent producer may be appended, is a
// duplicate, or breaks the producer's sequence. The rules and their order are
// Kafka's (ProducerAppendInfo): a producer of which nothing is known may begin at
// any sequence, a new epoch begins at 0, and UNKNOWN_PRODUCER_ID is never given.
// Only clients send duplicates and keep to sequences, and a replica follows its
// leader whatever the epoch.
func (s *State) check(h *record.Header, origin Origin) (duplicate, wire.Code, string) {
	p := s.find(h.ProducerID)
	if p == nil {
		return duplicate{}, wire.None, ""
	}
	w := &p.appended
	if r, ok := w.find(h); ok && origin == OriginClient {
		return duplicate{batch: r, found: true}, wire.None, ""
	}
	if h.ProducerEpoch < w.epoch && origin != OriginReplica {
		return duplicate{}, wire.InvalidProducerEpoch,
			fmt.Sprintf("producer %d has epoch %d, the batch is of epoch %d", p.id, w.epoch, h.ProducerEpoch)
	}
	if origin != OriginClient {
		return duplicate{}, wire.None, ""
	}
	expected := int32(0)
	if h.ProducerEpoch == w.epoch {
		expected = record.AddSequence(w.batches[w.n-1].last(), 1)
	}
	if h.BaseSequence != expected {
		return duplicate{}, wire.OutOfOrderSequence,
			fmt.Sprintf("producer %d at epoch %d: expected sequence %d, got %d", p.id, h.ProducerEpoch, expected, h.BaseSequence)
	}
	return duplicate{}, wire.None, ""
}

// checkEpochless checks a batch without a producer epoch. Kafka takes it, and remembers nothing of it
// that would matter, unless the producer is known with an epoch.
func (s *State) checkEpochless(h *record.Header) (wire.Code, string) {
	if h.ProducerID <= record.NoProducer || h.ProducerEpoch == noEpoch && s.find(h.ProducerID) == nil {
		return wire.None, ""
	}
	return wire.InvalidProducerEpoch, fmt.Sprintf("producer %d has an epoch, the batch is of epoch %d", h.ProducerID, h.ProducerEpoch)
}

// full reports whether the state takes no further producer without forgetting one.
func (s *State) full() bool { return len(s.producers) >= s.max }

// appended notes a batch at the offset it was given.
func (s *State) appended(h *record.Header, baseOffset, maxTimestamp int64, now env.Time) {
	entry := pendingBatch{end: baseOffset + int64(h.LastOffsetDelta) + 1, maxTimestamp: maxTimestamp}
	if h.Idempotent() {
		p := s.findOrAdd(h.ProducerID, now)
		p.seen = now
		p.pending++
		entry.producer, entry.epoch = p, h.ProducerEpoch
		entry.batch = sequenceRange{base: h.BaseSequence, delta: h.LastOffsetDelta, offset: baseOffset, timestamp: maxTimestamp}
		p.appended.add(entry.epoch, entry.batch)
	} else if maxTimestamp <= s.appendedMax {
		return // it changes nothing
	}
	s.appendedMax = max(s.appendedMax, maxTimestamp)
	s.pending.Push(entry)
}

func (s *State) findOrAdd(id int64, now env.Time) *producer {
	if p := s.find(id); p != nil {
		return p
	}
	for s.full() && s.evict() {
	}
	p := &producer{id: id, seen: now, appended: window{epoch: noEpoch}, durable: window{epoch: noEpoch}}
	i, _ := s.search(id)
	s.producers = slices.Insert(s.producers, i, p)
	s.last = p
	return p
}

// evict forgets the producer whose last batch is the oldest, unless all have batches
// that are not durable. It happens in replay alone: an owner appends nothing of a new
// producer before others have expired ([Partition.admits]). Those that expired wrote
// before all that it still knew, so whoever replays its log, without its clock, forgets
// none of these by going by offsets.
func (s *State) evict() bool {
	oldest, at := -1, int64(0)
	for i, p := range s.producers {
		if last := p.lastOffset(); p.pending == 0 && (oldest < 0 || last < at) {
			oldest, at = i, last
		}
	}
	if oldest >= 0 {
		s.producers = slices.Delete(s.producers, oldest, oldest+1)
		s.last = nil
	}
	return oldest >= 0
}

// lastOffset is where the producer's newest batch begins.
func (p *producer) lastOffset() int64 { return p.appended.batches[p.appended.n-1].offset }

// advance moves the durable layer to the high watermark.
func (s *State) advance(highWatermark int64) {
	if highWatermark < s.end {
		panic(fmt.Sprintf("partition: durable state goes back from %d to %d", s.end, highWatermark))
	}
	for s.pending.Len() > 0 && s.pending.Front().end <= highWatermark {
		e := s.pending.Pop()
		s.maxTimestamp = max(s.maxTimestamp, e.maxTimestamp)
		if e.producer != nil {
			e.producer.pending--
			e.producer.durable.add(e.epoch, e.batch)
		}
	}
	s.end = highWatermark
}

// expire forgets producers that have appended nothing for the given time.
func (s *State) expire(now env.Time, after time.Duration) {
	s.last = nil
	s.producers = slices.DeleteFunc(s.producers, func(p *producer) bool {
		return p.pending == 0 && now.Sub(p.seen) >= after
	})
}

// Replay applies the header of a recovered batch, which must begin where the
// state ends.
func (s *State) Replay(h *record.Header, now env.Time) error {
	if h.BaseOffset != s.end {
		return fmt.Errorf("partition: recovered batch begins at %d, the state ends at %d", h.BaseOffset, s.end)
	}
	if h.LastOffsetDelta < 0 {
		return fmt.Errorf("partition: recovered batch at %d has last offset delta %d", h.BaseOffset, h.LastOffsetDelta)
	}
	s.appended(h, h.BaseOffset, h.MaxTimestamp, now)
	s.advance(h.NextOffset())
	return nil
}
