package partition

import (
	"cmp"
	"fmt"
	"math"
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
	// noTransaction stands for the first offset of a transaction that is not open.
	noTransaction = -1
	noSequence    = -1
	noTimestamp   = -1
	// noCoordinator stands for the epoch of a coordinator that wrote no marker yet.
	noCoordinator = -1
	// DefaultProducersMax bounds the producers that the partitions of one broker know together: at about 330 bytes each,
	// some 170 MiB.
	DefaultProducersMax = 1 << 19
	// producersInlineMax bounds the producers of one partition while the cluster's records carry checkpoints, as those of
	// earlier releases do. So many, at producerBytesMax each, make a checkpoint that fits one record of the quorum's log: a
	// larger one could never be committed, nor anything that follows it.
	producersInlineMax = 5_000
	// verificationsMax bounds the verifications of one partition; they are as many as its producers may be at most.
	verificationsMax = 5_000
)

// producerRoom is how many producers the partitions of a broker may know together, and how many they do.
type producerRoom struct {
	max, known int
	// stores reports whether a partition may have more than producersInlineMax. Nil: it may.
	stores func() bool
}

// full reports whether a partition that knows so many producers may know no other one.
func (r *producerRoom) full(known int) bool {
	return r.known >= r.max || known >= producersInlineMax && r.stores != nil && !r.stores()
}

// sequenceRange is what is remembered of one batch.
type sequenceRange struct {
	base      int32
	delta     int32 // last sequence minus base, modulo wrap
	offset    int64 // of the first record
	timestamp int64 // max timestamp; noTimestamp: none, or not kept (dense.go)
}

func (r *sequenceRange) last() int32 { return record.AddSequence(r.base, r.delta) }
func (r *sequenceRange) end() int64  { return r.offset + int64(r.delta) + 1 }

// window is a producer's epoch, its last batches, oldest first, and its transaction. A marker of a new
// epoch leaves a window without a batch.
type window struct {
	epoch       int16 // noEpoch: nothing known
	n           int8
	coordinator int32 // epoch of the coordinator that wrote the last marker, or noCoordinator
	openFrom    int64 // first offset of the open transaction, or noTransaction
	marked      int64 // timestamp of the last marker, or noTimestamp if a batch came after it
	batches     [windowBatches]sequenceRange
}

func newWindow() window {
	return window{epoch: noEpoch, coordinator: noCoordinator, openFrom: noTransaction, marked: noTimestamp}
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
	w.setEpoch(epoch)
	if w.n == windowBatches {
		copy(w.batches[:], w.batches[1:])
		w.n--
	}
	w.batches[w.n] = r
	w.n++
}

// setEpoch forgets the batches of another epoch.
func (w *window) setEpoch(epoch int16) {
	if w.epoch != epoch {
		w.epoch, w.n = epoch, 0
	}
}

// nextSequence is the sequence that a batch of the same epoch has to begin with.
func (w *window) nextSequence() int32 {
	if w.n == 0 {
		return 0
	}
	return record.AddSequence(w.batches[w.n-1].last(), 1)
}

// take applies a batch or a marker, and reports whether it began a transaction or ended one.
func (w *window) take(e *pendingBatch) (began, ended bool) {
	if e.marker {
		w.setEpoch(e.epoch)
		ended = w.openFrom != noTransaction
		w.coordinator, w.openFrom, w.marked = e.coordinator, noTransaction, e.batch.timestamp
		return false, ended
	}
	w.add(e.epoch, e.batch)
	w.marked = noTimestamp
	if e.transactional && w.openFrom == noTransaction {
		w.openFrom = e.batch.offset
		return true, false
	}
	return false, false
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
	open         []openTransaction // of the durable state, ascending by first offset
	end          int64             // the durable state is exactly as of here
	maxTimestamp int64             // of durable batches; -1: none
	appendedMax  int64
	dense        func() bool   // whether its checkpoints are of the dense version; nil: they are not
	newestTimes  func() bool   // whether those keep timestamps of newest batches only; nil: they keep all
	room         *producerRoom // nil: no partition has the state yet; it takes what the log says
}

// settle counts the state's producers among those of a broker, until leave.
func (s *State) settle(room *producerRoom) {
	s.room = room
	room.known += len(s.producers)
}

func (s *State) leave() {
	s.count(-len(s.producers))
	s.room = nil
}

func (s *State) count(producers int) {
	if s.room != nil {
		s.room.known += producers
	}
}

// pendingBatch is the effect of a batch that is not durable yet.
type pendingBatch struct {
	end           int64
	maxTimestamp  int64
	producer      *producer // nil: not idempotent
	epoch         int16
	transactional bool
	marker        bool
	coordinator   int32 // of a marker
	batch         sequenceRange
	bytesBefore   int64 // see openTransaction
}

// openTransaction is a transaction whose marker is not durable yet.
type openTransaction struct {
	first int64 // offset
	// bytesBefore is what was appended before it since the partition opened. It is far below zero if it was open
	// then: what becomes readable at its end is then more than any reader waits for.
	bytesBefore int64
}

// openBefore is the bytesBefore of a transaction that is older than the opening of its partition.
const openBefore = math.MinInt64 / 2

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

// duplicateOf finds the earlier batch that h repeats. Only clients send duplicates.
func (s *State) duplicateOf(h *record.Header) duplicate {
	p := s.find(h.ProducerID)
	if p == nil {
		return duplicate{}
	}
	r, ok := p.appended.find(h)
	return duplicate{batch: r, found: ok}
}

// inTransaction reports whether the producer has a transaction open at that epoch, as far as it is appended.
func (s *State) inTransaction(id int64, epoch int16) bool {
	p := s.find(id)
	return p != nil && p.appended.openFrom != noTransaction && p.appended.epoch == epoch
}

// passed reports whether the producer has written a later epoch or sequence, so that the batch can never be appended.
func (s *State) passed(h *record.Header) bool {
	p := s.find(h.ProducerID)
	if p == nil || p.appended.epoch != h.ProducerEpoch {
		return p != nil && p.appended.epoch > h.ProducerEpoch
	}
	return p.appended.n > 0 && sequenceBefore(h.BaseSequence, p.appended.nextSequence())
}

// sequenceBefore reports whether a comes before b; sequences wrap, so the nearer way counts.
func sequenceBefore(a, b int32) bool { return (a-b)&math.MaxInt32 >= 1<<30 }

// check says whether a batch of an idempotent producer may be appended, or breaks the producer's epoch, sequence
// or transaction. The rules and their order are Kafka's (ProducerAppendInfo): a producer of which nothing is
// known may begin at any sequence, a new epoch begins at 0, and UNKNOWN_PRODUCER_ID is never given.
// Only clients keep to sequences, and a replica follows its leader whatever the epoch.
func (s *State) check(h *record.Header, origin Origin) (wire.Code, string) {
	p := s.find(h.ProducerID)
	if p == nil || origin == OriginReplica {
		return wire.None, ""
	}
	w := &p.appended
	if h.ProducerEpoch < w.epoch {
		return wire.InvalidProducerEpoch,
			fmt.Sprintf("producer %d has epoch %d, the batch is of epoch %d", p.id, w.epoch, h.ProducerEpoch)
	}
	expected := int32(0)
	if h.ProducerEpoch == w.epoch {
		expected = w.nextSequence()
	}
	if origin == OriginClient && h.BaseSequence != expected {
		return wire.OutOfOrderSequence,
			fmt.Sprintf("producer %d at epoch %d: expected sequence %d, got %d", p.id, h.ProducerEpoch, expected, h.BaseSequence)
	}
	if w.openFrom != noTransaction && !h.Transactional() {
		return wire.InvalidTxnState,
			fmt.Sprintf("producer %d has a transaction open since offset %d, the batch does not belong to it", p.id, w.openFrom)
	}
	return wire.None, ""
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
func (s *State) full() bool { return s.room != nil && s.room.full(len(s.producers)) }

// appended notes a batch at the offset it was given; marker is nil for data. bytesBefore is what was appended before
// it since the partition opened.
func (s *State) appended(h *record.Header, marker *record.Marker, baseOffset, maxTimestamp, bytesBefore int64, now env.Time) {
	e := pendingBatch{end: baseOffset + int64(h.LastOffsetDelta) + 1, maxTimestamp: maxTimestamp}
	if p := s.writer(h, now); p != nil {
		p.seen = now
		p.pending++
		e.producer, e.epoch, e.transactional = p, h.ProducerEpoch, h.Transactional()
		e.batch = sequenceRange{base: h.BaseSequence, delta: h.LastOffsetDelta, offset: baseOffset, timestamp: maxTimestamp}
		e.bytesBefore = bytesBefore
		if marker != nil {
			e.marker, e.coordinator = true, max(marker.CoordinatorEpoch, noCoordinator) // logs of earlier releases have lower ones
		}
		p.appended.take(&e)
	} else if maxTimestamp <= s.appendedMax {
		return // it changes nothing
	}
	s.appendedMax = max(s.appendedMax, maxTimestamp)
	s.pending.Push(e)
}

// writer finds the producer of a batch, or adds it; nil if the batch has none. A marker for an unknown producer ends
// nothing here, and forgets no other producer.
func (s *State) writer(h *record.Header, now env.Time) *producer {
	if !h.Idempotent() || h.Control() && s.full() && s.find(h.ProducerID) == nil {
		return nil
	}
	return s.findOrAdd(h.ProducerID, now)
}

func (s *State) findOrAdd(id int64, now env.Time) *producer {
	if p := s.find(id); p != nil {
		return p
	}
	if s.full() {
		s.evict()
	}
	s.count(1)
	p := &producer{id: id, seen: now, appended: newWindow(), durable: newWindow()}
	i, _ := s.search(id)
	s.producers = slices.Insert(s.producers, i, p)
	s.last = p
	return p
}

// evict forgets the producer whose last batch is the oldest, unless all have batches
// that are not durable, or an open transaction. It happens for what coordinators append, where no late
// retry is to be recognised, and for what a replica follows: for a client, an owner appends nothing of a new
// producer before others have expired ([Partition.admits]). Whoever replays the log forgets none.
func (s *State) evict() bool {
	oldest := s.oldestIdle()
	if oldest < 0 {
		return false
	}
	s.producers = slices.Delete(s.producers, oldest, oldest+1)
	s.last = nil
	s.count(-1)
	return true
}

// oldestIdle finds the idle producer whose last batch is the oldest; -1: none is idle.
func (s *State) oldestIdle() int {
	oldest, at := -1, int64(0)
	for i, p := range s.producers {
		if last := p.lastOffset(); p.idle() && (oldest < 0 || last < at) {
			oldest, at = i, last
		}
	}
	return oldest
}

// lastOffset is where the producer's newest batch begins; -1 if a marker was all.
func (p *producer) lastOffset() int64 {
	if p.appended.n == 0 {
		return -1
	}
	return p.appended.batches[p.appended.n-1].offset
}

// idle reports whether the producer may be forgotten as far as the log goes: everything of it is durable, and
// no transaction is open, whose end nobody could recognise.
func (p *producer) idle() bool {
	return p.pending == 0 && p.appended.openFrom == noTransaction
}

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
			s.becomesDurable(&e)
		}
	}
	s.end = highWatermark
}

// becomesDurable applies a batch to the durable state.
func (s *State) becomesDurable(e *pendingBatch) {
	w := &e.producer.durable
	first := w.openFrom
	switch began, ended := w.take(e); {
	case began: // the batches become durable in order, so that the newest transaction is the last
		s.open = append(s.open, openTransaction{first: w.openFrom, bytesBefore: e.bytesBefore})
	case ended:
		i, _ := slices.BinarySearchFunc(s.open, first, func(o openTransaction, first int64) int { return cmp.Compare(o.first, first) })
		s.open = slices.Delete(s.open, i, i+1)
	}
}

// expire forgets producers that have appended nothing for the given time and have no transaction open.
func (s *State) expire(now env.Time, after time.Duration) {
	s.last = nil
	before := len(s.producers)
	s.producers = slices.DeleteFunc(s.producers, func(p *producer) bool {
		return p.idle() && now.Sub(p.seen) >= after
	})
	s.count(len(s.producers) - before)
}

// Replay applies a recovered batch, which must begin where the state ends. Of the batch, lent for the call, only
// that of a marker is read.
func (s *State) Replay(h *record.Header, batch []byte, now env.Time) error {
	if h.BaseOffset != s.end {
		return fmt.Errorf("partition: recovered batch begins at %d, the state ends at %d", h.BaseOffset, s.end)
	}
	if h.LastOffsetDelta < 0 {
		return fmt.Errorf("partition: recovered batch at %d has last offset delta %d", h.BaseOffset, h.LastOffsetDelta)
	}
	marker, err := markerOf(h, batch)
	if err != nil {
		return fmt.Errorf("partition: recovered control batch at %d: %w", h.BaseOffset, err)
	}
	s.appended(h, marker, h.BaseOffset, h.MaxTimestamp, openBefore, now)
	s.advance(h.NextOffset())
	return nil
}

// markerOf reads the marker of a control batch; nil if it is none.
func markerOf(h *record.Header, batch []byte) (*record.Marker, error) {
	if !h.Control() {
		return nil, nil
	}
	m, err := record.ReadMarker(batch)
	return &m, err
}
