package partition

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/wire"
)

// Name names a partition.
type Name struct {
	Topic   string
	TopicID metadata.TopicID
	Index   int32
}

// Verification stands for one transaction that its coordinator is asked about: is this partition part of it? It is
// Kafka's VerificationGuard (KIP-890). Zero allows nothing.
type Verification uint64

// verification is a question to a coordinator, from when it was asked until a batch or a marker of the producer is
// appended. An answer that comes later is about a transaction that has ended.
type verification struct {
	producer int64
	guard    Verification
	began    env.Time
	// epoch and lowest are of the batches that wait for the answer, or got a bad one: a batch behind them must not
	// take their place, or their retry would be out of order for ever. lowest is noSequence if there is none.
	epoch  int16
	lowest int32
	// newest is the highest epoch that was asked about.
	newest int16
	// asked is how many questions have no answer yet; agreed says that one was answered with yes.
	asked  int32
	agreed bool
	// bumps says that the producer's epoch rises with each transaction, so that each begins at sequence 0.
	bumps bool
}

// verifications are those of one partition, ascending by producer.
type verifications struct {
	all  []verification
	last Verification
}

func (v *verifications) search(producer int64) (int, bool) {
	return slices.BinarySearchFunc(v.all, producer, func(e verification, id int64) int { return cmp.Compare(e.producer, id) })
}

func (v *verifications) find(producer int64) *verification {
	if i, ok := v.search(producer); ok {
		return &v.all[i]
	}
	return nil
}

func (v *verifications) forget(producer int64) {
	if i, ok := v.search(producer); ok {
		v.all = slices.Delete(v.all, i, i+1)
	}
}

func (v *verifications) expire(now env.Time, after time.Duration) {
	v.all = slices.DeleteFunc(v.all, func(e verification) bool { return now.Sub(e.began) >= after })
}

// dropOne makes room for another one. The oldest goes of those that were refused; else of those that have no answer; else of all.
// Anybody can make up producer ids, and has them refused: they push out nothing of a producer that has a transaction.
func (v *verifications) dropOne() {
	least := 0
	for i := range v.all {
		if v.all[i].before(&v.all[least]) {
			least = i
		}
	}
	v.all = slices.Delete(v.all, least, least+1)
}

func (v *verification) before(o *verification) bool {
	return cmp.Or(cmp.Compare(v.worth(), o.worth()), cmp.Compare(v.guard, o.guard)) < 0
}

func (v *verification) worth() int {
	switch {
	case v.agreed:
		return 2
	case v.asked > 0:
		return 1
	}
	return 0
}

// Verify begins the verification of a transactional batch of a client, before its Append: whether the transaction's
// coordinator has to be asked if the partition is part of it. It has not if the transaction is open here, or the batch is
// a duplicate. If so, put the guard into [Append.Verification] once
// the coordinator has said yes: it is valid until a batch or a marker of the producer is appended. Whatever it says, call
// [Partition.Answered]. Batches of one producer that are verified at once share a guard. bumps says that the producer is of the second generation
// (Produce 12 and later).
func (p *Partition) Verify(h *record.Header, bumps bool) (guard Verification, ask bool) {
	if p.state.inTransaction(h.ProducerID, h.ProducerEpoch) || p.state.duplicateOf(h).found {
		return 0, false
	}
	v := p.verification(h.ProducerID, h.ProducerEpoch, bumps)
	v.asked++
	// A batch that comes too late to be appended holds nobody up. In Kafka, one that is delayed beyond the end of its
	// transaction makes all that follow OUT_OF_ORDER_SEQUENCE.
	if !p.state.passed(h) {
		v.wait(h)
	}
	return v.guard, true
}

// wait notes that a batch waits for the answer.
func (v *verification) wait(h *record.Header) {
	switch {
	case v.lowest == noSequence || h.ProducerEpoch > v.epoch:
		v.epoch, v.lowest = h.ProducerEpoch, h.BaseSequence
	case h.ProducerEpoch == v.epoch && sequenceBefore(h.BaseSequence, v.lowest):
		v.lowest = h.BaseSequence
	}
}

// VerifyWrite begins the verification of what a coordinator will append in a producer's transaction. It returns the guard
// for [Append.Verification], or zero if the transaction is open here: then it must still be open at the append. The
// coordinator answers for the order of its writes, and calls [Partition.Answered].
func (p *Partition) VerifyWrite(producerID int64, epoch int16) Verification {
	if p.state.inTransaction(producerID, epoch) {
		return 0
	}
	v := p.verification(producerID, epoch, false)
	v.asked++
	return v.guard
}

// Answered takes what a coordinator said, once for each guard that Verify or VerifyWrite returned; of zero it says
// nothing. When there are too many verifications, those that it agreed to are kept before others.
func (p *Partition) Answered(producerID int64, guard Verification, agreed bool) {
	if v := p.verified.find(producerID); v != nil && v.guard == guard {
		v.asked--
		v.agreed = v.agreed || agreed
	}
}

// verification returns a producer's, or adds one. There are at most as many as a partition may know producers.
func (p *Partition) verification(producer int64, epoch int16, bumps bool) *verification {
	all := &p.verified
	if v := all.find(producer); v != nil {
		v.newest = max(v.newest, epoch)
		return v
	}
	if len(all.all) >= min(p.manager.producers.max, verificationsMax) {
		all.dropOne()
	}
	all.last++
	i, _ := all.search(producer)
	all.all = slices.Insert(all.all, i, verification{
		producer: producer, guard: all.last, began: p.manager.loop.Now(), lowest: noSequence, newest: epoch, bumps: bumps,
	})
	return &all.all[i]
}

// void forgets the verification of a producer, of which a was appended. A marker of the second generation has an epoch
// above that of its transaction, so that a question about that epoch is about a later one: it may be asked before
// the marker is written, and is answered once it is (KAFKA-18654).
func (p *Partition) void(a *Append) {
	h := &a.Header
	if h.Control() && a.TransactionVersion >= 2 {
		if v := p.verified.find(h.ProducerID); v != nil && v.newest >= h.ProducerEpoch {
			return
		}
	}
	p.verified.forget(h.ProducerID)
}

// checkVerification checks that a transactional batch belongs to a transaction that its coordinator knows to include
// this partition: one that is open here, or that was verified since the last marker. It runs in the turn of the
// append: a marker may have come since the coordinator's answer, and what is appended behind it would stay open for
// ever (KAFKA-14884).
func (p *Partition) checkVerification(a *Append) (wire.Code, string) {
	h := &a.Header
	if a.Origin == OriginReplica || !h.Transactional() {
		return wire.None, ""
	}
	v := p.verified.find(h.ProducerID)
	if !p.state.inTransaction(h.ProducerID, h.ProducerEpoch) && (v == nil || a.Verification != v.guard) {
		p.manager.unverified.Hit()
		return wire.InvalidTxnState, "the batch does not belong to a transaction that is open"
	}
	switch {
	case v == nil || a.Origin != OriginClient:
	case v.bumps && h.BaseSequence != 0 && p.state.find(h.ProducerID) == nil:
		return wire.OutOfOrderSequence, fmt.Sprintf("producer %d is not known here: its first sequence has to be 0, it is %d", h.ProducerID, h.BaseSequence)
	case h.ProducerEpoch == v.epoch && v.lowest != noSequence && sequenceBefore(v.lowest, h.BaseSequence):
		return wire.OutOfOrderSequence, fmt.Sprintf("producer %d: sequence %d has to wait for %d", h.ProducerID, h.BaseSequence, v.lowest)
	}
	return wire.None, ""
}

// checkMarker checks the end of a transaction, as Kafka's ProducerAppendInfo does. A marker of the second generation
// has an epoch above that of its transaction. One that comes again finds its own epoch and no transaction
// (KAFKA-19999): it is acknowledged with what was appended so far, and not written twice. Any other is of an earlier
// transaction.
func (p *Partition) checkMarker(a *Append) (duplicate, wire.Code, string) {
	h := &a.Header
	m, err := record.ReadMarker(a.Data)
	if err != nil {
		return duplicate{}, wire.InvalidRecord, err.Error()
	}
	nothingNew := duplicate{batch: sequenceRange{offset: p.log.End() - 1, timestamp: a.Facts.MaxTimestamp}, found: true}
	known := p.state.find(h.ProducerID)
	switch {
	case a.Origin == OriginReplica:
		return duplicate{}, wire.None, ""
	case m.CoordinatorEpoch < noCoordinator: // which a checkpoint cannot hold
		return duplicate{}, wire.TransactionCoordinatorFenced, fmt.Sprintf("the marker is of coordinator epoch %d", m.CoordinatorEpoch)
	case known == nil && p.state.full():
		p.void(a)                        // what the transaction still has under way would open it behind its end
		return nothingNew, wire.None, "" // it ends nothing here, and could not be recognised if it came again
	case known == nil:
		return duplicate{}, wire.None, ""
	}
	w := &known.appended
	bumped := a.TransactionVersion >= 2
	switch {
	case h.ProducerEpoch < w.epoch, bumped && h.ProducerEpoch == w.epoch && w.openFrom != noTransaction:
		return duplicate{}, wire.InvalidProducerEpoch, fmt.Sprintf("producer %d has epoch %d, the marker is of epoch %d", known.id, w.epoch, h.ProducerEpoch)
	case m.CoordinatorEpoch < w.coordinator:
		return duplicate{}, wire.TransactionCoordinatorFenced,
			fmt.Sprintf("producer %d: the last marker is of coordinator epoch %d, this one is of %d", known.id, w.coordinator, m.CoordinatorEpoch)
	case bumped && h.ProducerEpoch == w.epoch:
		return nothingNew, wire.None, ""
	}
	return duplicate{}, wire.None, ""
}

// EndTransaction is a marker to append: the end of a producer's transaction on one partition.
type EndTransaction struct {
	ProducerID    int64
	ProducerEpoch int16
	record.Marker
	// TransactionVersion is the coordinator's (KIP-1228): 0 or 1 for the first generation, whose markers have the
	// epoch of the transaction; 2 for the second, whose markers have the epoch after it.
	TransactionVersion int8
	// Deadline is when a marker that still waits for room is given up.
	Deadline env.Time
}

// End appends the marker of a transaction, for its coordinator. done hears once it is durable, which it may be already,
// or why it is not appended: INVALID_PRODUCER_EPOCH or TRANSACTION_COORDINATOR_FENCED for one that is out of date, REQUEST_TIMED_OUT
// or NOT_LEADER_OR_FOLLOWER for one that is to be sent again.
func (p *Partition) End(e EndTransaction, done func(*Append)) {
	now := p.manager.env.Clock.WallMillis()
	a := &Append{
		Origin: OriginCoordinator, Data: record.AppendMarker(nil, e.ProducerID, e.ProducerEpoch, e.Marker, now),
		Facts: record.Facts{MinTimestamp: now, MaxTimestamp: now, Keyless: -1}, TransactionVersion: e.TransactionVersion,
		Deadline: e.Deadline, Release: func() {}, Done: done,
	}
	a.Header, _ = record.ReadHeader(a.Data)
	p.Append(a)
}

// endForgotten appends an abort marker before a batch that would begin a transaction while one of an older epoch is open. Coordinators
// agree to a producer's next transaction only once the markers of the last one are written, so that its marker was lost, with a
// write-ahead log that was given up (R16). Without it, readers would take the outcome of the next transaction for that of both (I7). What
// the coordinator had decided nobody knows here: it is aborted, as those are whose marker is lost with their records. False: the
// stream has no room, and nothing was appended.
func (p *Partition) endForgotten(h *record.Header) bool {
	known := p.state.find(h.ProducerID)
	if h.Control() || !h.Transactional() || known == nil || known.appended.openFrom == noTransaction || h.ProducerEpoch <= known.appended.epoch {
		return true
	}
	now, open := p.manager.env.Clock.WallMillis(), known.appended.openFrom
	marker := record.Marker{CoordinatorEpoch: known.appended.coordinator}
	data := record.AppendMarker(nil, h.ProducerID, h.ProducerEpoch, marker, now)
	own, _ := record.ReadHeader(data)
	base, ok := p.log.Append(stream.Batch{Data: data, Offsets: 1, MaxTimestamp: now, LogAppendTime: -1, Release: func() {}})
	if !ok {
		return false
	}
	p.state.appended(&own, &marker, base, now, p.takenBytes, p.manager.loop.Now())
	p.takenBytes += int64(own.Bytes)
	p.manager.forgotten.Hit()
	p.manager.operators.Warn(p.manager.options.Telemetry, "forgotten transaction", p.manager.loop.Now(),
		"the marker of a transaction was lost with a write-ahead log that was given up: the transaction is aborted here, whatever was decided",
		slog.String("topic", p.Name), slog.Int64("partition", int64(p.Index)), slog.Int64("producer_id", h.ProducerID), slog.Int64("start_offset", open))
	return true
}

// transactionLateDefault is Options.TransactionLate where it is not set.
const transactionLateDefault = 20 * time.Minute

// lateTransactions counts the transactions that hang: nobody will end them, since their coordinator would have by now.
// Operators are told of the first. A restart begins the count anew.
func (p *Partition) lateTransactions(now env.Time) int {
	if len(p.state.open) == 0 {
		return 0
	}
	late := 0
	for _, known := range p.state.producers {
		if known.appended.openFrom == noTransaction || now.Sub(known.seen) < p.manager.options.TransactionLate {
			continue
		}
		if late++; late == 1 {
			p.manager.operators.Warn(p.manager.options.Telemetry, "late transaction", now,
				"a transaction hangs: consumers of committed records wait for it. Find such transactions with kafka-transactions.sh find-hanging, and end them with its abort",
				slog.String("topic", p.Name), slog.Int64("partition", int64(p.Index)),
				slog.Int64("producer_id", known.id), slog.Int64("start_offset", known.appended.openFrom))
		}
	}
	return late
}

// ProducerInfo is what DescribeProducers says of a producer.
type ProducerInfo struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // -1: none at this epoch
	LastTimestamp    int64 // of its last batch or marker; -1: none at this epoch
	CoordinatorEpoch int32 // of its last marker; -1: none
	OpenFrom         int64 // first offset of its open transaction; -1: none is open
}

// CoordinatorEpoch is that of the coordinator which wrote the last marker of a producer; -1: there is none.
func (p *Partition) CoordinatorEpoch(producerID int64) int32 {
	if known := p.state.find(producerID); known != nil {
		return known.appended.coordinator
	}
	return noCoordinator
}

// Producers returns what is known of the producers, ascending by id, as of everything appended.
func (p *Partition) Producers() []ProducerInfo {
	infos := make([]ProducerInfo, 0, len(p.state.producers))
	for _, known := range p.state.producers {
		w := &known.appended
		i := ProducerInfo{ID: known.id, Epoch: w.epoch, LastSequence: -1, LastTimestamp: -1, CoordinatorEpoch: w.coordinator, OpenFrom: w.openFrom}
		if w.n > 0 {
			i.LastSequence, i.LastTimestamp = w.batches[w.n-1].last(), w.batches[w.n-1].timestamp
		}
		if w.marked != noTimestamp {
			i.LastTimestamp = w.marked
		}
		infos = append(infos, i)
	}
	return infos
}
