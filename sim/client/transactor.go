package client

import (
	"math"
	"time"

	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/event"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TransactorOptions configure a transactor.
type TransactorOptions struct {
	// Topics are those that it writes to, all partitions.
	Topics []*Topic
	// Doomed is a topic of its own, which it deletes within a transaction that wrote to it. Nil: none.
	Doomed *Topic
	// ID is the transactional id. Transactors with the same id fence each other.
	ID string
	// First makes it speak the first generation of transactions: no epoch of its own for each transaction.
	First bool
	// Timeout is transaction.timeout.ms.
	Timeout time.Duration
	// Pause is the mean time between two transactions.
	Pause time.Duration
	// Records is the maximum of records in a batch, 1 and up; Spread that of partitions in a request.
	Records, Spread int64
	// Abort is how many transactions in a thousand are aborted.
	Abort int64
	// Stall is how many transactions in a thousand pause until about their timeout; Die how many are left
	// to a new incarnation of the producer.
	Stall, Die int64
	// Empty is how many transactions in a thousand of the second generation are followed at once by the abort of one that is empty.
	// Alone says that no other transactor has the id, and that it does not expire: then that abort is never fenced.
	Empty int64
	Alone bool
	// Late is how many requests in a thousand arrive once more, later.
	Late int64
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Transactor writes in transactions.
type Transactor struct {
	session
	options TransactorOptions
	parts   []*txnPart
	ghost   *ghost
	pipe    *Pipe // gives it its work; nil: it works for itself

	producerEpoch
	initialize bool // a new epoch is needed
	bump       bool // it may ask for the one after its own
	known      bool // the topics
	busy       bool // a request is under way, or a pause
	ending     bool
	standIn    bool // the broker has no transactions
	ended      bool // the last transaction after End is over
	refusals   int  // how often a partition had no room for one more producer
	fences     int  // how often it was fenced after End
	number     int32
	due        event.Time

	// Of the transaction number.
	rounds   int  // of batches to come
	stalls   bool // it pauses before it ends
	dies     bool
	aborting bool
	ends     int // how often its EndTxn was sent
	written  bool
	empty    bool // nothing is written
	input    *txnInput
	doom     doom
	// echoed: an EndTxn with this epoch may still arrive after its transaction.
	echoed bool
}

// txnPart is a transactor's view of a partition.
type txnPart struct {
	*Partition
	session  uint64
	sequence int32
	ordinal  int32
	added    bool   // to the transaction
	wanted   bool   // of the request under way
	batch    *batch // unacknowledged
}

// NewTransactor makes a transactor; Start starts it.
func NewTransactor(c *Cluster, client int, options TransactorOptions) *Transactor {
	t := &Transactor{options: options, producerEpoch: producerEpoch{-1, -1}, initialize: true}
	t.initAs(c, client, "transactor", t)
	t.lag = options.Lag
	t.floors = map[int16]int16{keyFindCoordinator: 1} // version 0 cannot ask for the coordinator of transactions
	t.ghost = newGhost(c, client)
	t.ghost.routes = t.routes
	if options.First {
		t.ceilings = map[int16]int16{keyProduce: 11, keyEndTxn: 4, keyTxnOffsetCommit: 4, keyAddPartitions: 3} // later ones are for brokers
	}
	for _, topic := range t.topics() {
		for _, p := range topic.Partitions {
			t.parts = append(t.parts, &txnPart{Partition: p})
		}
	}
	return t
}

// notEnoughReplicas is what Produce answers while the coordinator cannot tell whether a transaction is open.
const notEnoughReplicas = 19

// Keys of the requests of transactions.
const (
	keyProduce         = 0
	keyFindCoordinator = 10
	keyAddPartitions   = 24
	keyEndTxn          = 26
	keyTxnOffsetCommit = 28
)

// Start connects and begins.
func (t *Transactor) Start() {
	t.connect()
	t.Queue.Call(t.draws.Duration(0, t.options.Pause), t.wake)
}

// End has it commit one more transaction, and stop.
func (t *Transactor) End() {
	t.ending = true
	t.step()
}

// Idle reports whether the last transaction is over.
func (t *Transactor) Idle() bool { return t.standIn || t.ended || t.pipe != nil }

// Stop ends the client.
func (t *Transactor) Stop() {
	t.stop()
	t.ghost.stop()
}

// wake is a tick: it begins what is due.
func (t *Transactor) wake() {
	if t.stopped {
		return
	}
	t.step()
	if !t.ended {
		t.Queue.Call(t.draws.Duration(t.options.Pause/2, t.options.Pause*3/2), t.wake)
	}
}

func (t *Transactor) sessionUp() {
	t.busy = false
	if !t.speaks(keyEndTxn) {
		t.standIn = true
		return
	}
	t.second()
	t.known = false
	t.learn(t.topics(), func(known bool) {
		if !known {
			t.after(100*time.Millisecond, t.sessionUp)
			return
		}
		t.known = true
		t.findCoordinator(t.options.ID, 1, t.step)
	})
}

// second keeps a client of the second generation to versions that know of it.
func (t *Transactor) second() {
	if t.options.First {
		return
	}
	t.floors[keyProduce], t.floors[keyEndTxn], t.floors[keyTxnOffsetCommit] = 12, 5, 5
}

// call sends a request; its answer, or its loss, ends what is under way.
func (t *Transactor) call(r kmsg.Request, done func(kmsg.Response)) {
	t.busy = true
	t.request(r, func(response kmsg.Response, err error) {
		t.busy = false
		if err == nil {
			done(response)
		}
	})
	if t.draws.PerMille(t.options.Late) && !t.ending {
		t.echo(r)
	}
}

// again goes on a little later.
func (t *Transactor) again() {
	t.busy = true
	t.after(t.draws.Duration(10*time.Millisecond, 60*time.Millisecond), func() {
		t.busy = false
		t.step()
	})
}

// step does what comes next.
func (t *Transactor) step() {
	if !t.up || !t.known || t.busy || t.stopped || t.standIn {
		return
	}
	switch {
	case t.initialize:
		t.initProducer()
	case t.number == 0:
		t.begin()
	case t.aborting:
		t.end(false)
	case t.options.First && t.toAdd():
		t.addPartitions()
	case t.unacknowledged():
		t.send()
	case t.dooms():
		t.deleteDoomed()
	case t.rounds > 0:
		t.rounds--
		t.fill()
		t.step()
	case t.dies:
		t.left()
		t.initialize, t.bump = true, false
		t.step()
	case t.stalls:
		t.stalls, t.busy = false, true
		t.after(t.draws.Duration(0, 2*t.options.Timeout), func() {
			t.busy = false
			t.step()
		})
	case t.input != nil && t.input.state < inputCommitted:
		t.commitInput()
	default:
		t.end(t.written && !t.draws.PerMille(t.options.Abort))
	}
}

// initProducer takes the next epoch, which fences the one before.
func (t *Transactor) initProducer() {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionalID, r.TransactionTimeoutMillis = kmsg.StringPtr(t.options.ID), int32(t.options.Timeout.Milliseconds())
	r.ProducerID, r.ProducerEpoch = -1, -1
	if t.bump {
		r.ProducerID, r.ProducerEpoch = t.id, t.epoch
	}
	t.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.InitProducerIDResponse)
		switch v.ErrorCode {
		case 0:
		case wire.ProducerFenced, wire.InvalidProducerEpoch, wire.InvalidProducerIDMapping:
			t.bump = false
			t.fenced()
			return
		default:
			t.passing("InitProducerId", v.ErrorCode)
			return
		}
		if v.ProducerID != t.id {
			t.noteTransactional(t.client, t.options.ID, v.ProducerID)
		}
		t.take(producerEpoch{v.ProducerID, v.ProducerEpoch})
		t.initialize, t.bump, t.echoed = false, false, false
		t.step()
	})
}

// take begins with another epoch.
func (t *Transactor) take(p producerEpoch) {
	if p.epoch == math.MaxInt16 {
		t.fail("I7", "client %d was given producer %d with epoch %d, which is left for fencing it", t.client, p.id, p.epoch)
	}
	t.notePair(t.client, p)
	fresh := p.id != t.id && p.epoch == 0
	t.producerEpoch = p
	for _, part := range t.parts {
		part.sequence = 0
		if fresh {
			part.sequence = t.firstSequence()
		}
		t.sessions++
		part.session, part.ordinal = t.sessions, 0
	}
}

// firstSequence is where a producer id that a partition does not know may begin.
func (t *Transactor) firstSequence() int32 {
	if t.options.First && t.draws.PerMille(300) {
		return math.MaxInt32 - int32(t.draws.Below(100))
	}
	return 0
}

// begin begins a transaction, if one is due.
func (t *Transactor) begin() {
	if t.ended || t.Queue.Now() < t.due && !t.ending && !t.empty {
		return
	}
	if t.pipe != nil && !t.empty {
		if t.input = t.pipe.take(); t.input == nil {
			return
		}
	}
	t.due = t.Queue.Now().Add(t.draws.Duration(0, t.options.Pause))
	t.Transactions = append(t.Transactions, checker.Transaction{
		Client: int32(t.client), Producer: t.id, Epoch: t.epoch, First: t.options.First, Stale: t.options.First && t.echoed,
		Call: math.MaxInt64, Return: math.MaxInt64,
	})
	t.number = int32(len(t.Transactions))
	t.aborting, t.ends, t.written = false, 0, false
	if t.rounds = int(t.draws.Between(1, 3)); t.empty {
		t.rounds = 0
	}
	t.stalls = !t.ending && t.draws.PerMille(t.options.Stall)
	t.dies = !t.ending && t.draws.PerMille(t.options.Die)
	if t.input != nil {
		t.rounds = 1
		t.own().Inputs = t.input.spans
	}
	for _, part := range t.parts {
		if part.ordinal == 0 && (part.added || part.wanted) {
			part.sequence = 0 // the marker came alone: the partition knows the producer, and expects its first sequence
		}
		part.added, part.wanted, part.batch = false, false, nil
	}
	t.step()
}

// own is the record of the transaction.
func (t *Transactor) own() *checker.Transaction { return &t.Transactions[t.number-1] }

// fill gives some partitions a batch.
func (t *Transactor) fill() {
	for range t.draws.Between(1, max(1, min(t.options.Spread, int64(len(t.parts))))) {
		part := t.parts[t.draws.Below(int64(len(t.parts)))]
		if part.batch != nil || part.Topic.Deleting {
			continue
		}
		b := &batch{created: t.Queue.Now()}
		b.spec = batchSpec{
			tag: part.tag, id: -1, records: int32(t.draws.Between(1, max(1, t.options.Records))), valueSize: int(t.draws.Between(1, 100)),
			timestamp: t.wallMillis(), transactional: true,
		}
		if part.Topic.Untimed {
			b.spec.timestamp = -1
		}
		part.batch = b
	}
}

func (t *Transactor) unacknowledged() bool {
	for _, part := range t.parts {
		if part.batch != nil {
			return true
		}
	}
	return false
}

// toAdd reports whether a partition has to be added before it is written to.
func (t *Transactor) toAdd() bool {
	any := false
	for _, part := range t.parts {
		part.wanted = part.batch != nil && !part.added
		any = any || part.wanted
	}
	return any
}

// addPartitions is the first generation's way to tell the coordinator.
func (t *Transactor) addPartitions() {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch = t.options.ID, t.id, t.epoch
	for _, part := range t.parts {
		if !part.wanted {
			continue
		}
		part.History.MarkersMax += markersMax + t.MarkersMore
		if n := len(r.Topics); n > 0 && r.Topics[n-1].Topic == part.Topic.Name {
			r.Topics[n-1].Partitions = append(r.Topics[n-1].Partitions, part.Index)
			continue
		}
		topic := kmsg.NewAddPartitionsToTxnRequestTopic()
		topic.Topic, topic.Partitions = part.Topic.Name, []int32{part.Index}
		r.Topics = append(r.Topics, topic)
	}
	t.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.AddPartitionsToTxnResponse)
		worst := v.ErrorCode
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				if code := v.Topics[i].Partitions[j].ErrorCode; code != 0 && (worst == 0 || worst == wire.OperationNotAttempted) {
					worst = code
				}
			}
		}
		if worst != 0 {
			t.refused("AddPartitionsToTxn", worst)
			return
		}
		for _, part := range t.parts {
			part.added = part.added || part.wanted
		}
		t.step()
	})
}

// markersMax is how many markers a transaction may leave in a partition at most: one, and more of the first generation, whose
// markers are written again after a restart of the coordinator.
const markersMax = 3

// send sends all batches that are not acknowledged, again if need be.
func (t *Transactor) send() {
	r := kmsg.NewPtrProduceRequest()
	r.TransactionID, r.Acks, r.TimeoutMillis = kmsg.StringPtr(t.options.ID), -1, 3000
	var sent []*txnPart
	for _, part := range t.parts {
		if part.batch == nil {
			continue
		}
		t.prepare(part)
		data := appendBatch(nil, &part.batch.spec)
		part.History.Appends[part.batch.spec.id].Bytes = int64(len(data))
		addProduce(r, part.Partition, data)
		sent = append(sent, part)
	}
	t.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.ProduceResponse)
		worst := int16(0)
		for _, part := range sent {
			code, base, ok := findProduced(v, part.Partition)
			if !ok {
				t.fail("protocol", "no answer for %s in a produce response", part.History.Name)
				return
			}
			t.answered(part, code, base)
			if code != 0 && (worst == 0 || !t.aborting) {
				worst = code
			}
		}
		switch {
		case t.unacknowledged() && worst != 0:
			t.refused("Produce", worst)
		default:
			t.step()
		}
	})
}

func (t *Transactor) prepare(part *txnPart) {
	b := part.batch
	if b.ever {
		t.Resends++
		return
	}
	if !t.options.First && !part.added {
		part.History.MarkersMax += markersMax + t.MarkersMore
		part.added = true
	}
	a := b.spec.append(t.client, t.Stamp())
	a.Session, a.Sequence, a.Transaction = part.session, part.ordinal, t.number
	if part.ordinal == 0 && t.echoed {
		part.sequence = 0 // a late EndTxn may have left a marker alone in the partition, as in begin
	}
	b.spec.producer, b.spec.epoch, b.spec.sequence = t.id, t.epoch, part.sequence
	part.ordinal++
	part.sequence = (part.sequence + b.spec.records) & math.MaxInt32
	b.spec.id = int32(len(part.History.Appends))
	part.History.Appends = append(part.History.Appends, a)
	b.ever = true
}

func (t *Transactor) answered(part *txnPart, code int16, base int64) {
	a := &part.History.Appends[part.batch.spec.id]
	switch code {
	case 0, wire.DuplicateSequence:
		if code != 0 {
			base = -1
		}
		a.Outcome, a.Return, a.Base = checker.Done, t.Stamp(), base
		t.Acked++
		part.batch, t.written = nil, true
	case wire.OutOfOrderSequence:
		a.Code = code
		t.fail("I6", "%s: %s for batch %d of session %d of client %d, though all before it is acknowledged", part.History.Name, checker.CodeName(code), a.Sequence, a.Session, t.client)
	case wire.PolicyViolation:
		t.refusals++
		a.Code = code
	default:
		a.Code = code
	}
}

// left leaves the transaction as it is: whether it was committed, its EndTxn decides, if one was sent.
func (t *Transactor) left() {
	t.number, t.empty = 0, false
	for _, part := range t.parts {
		part.batch = nil
	}
	if t.pipe != nil && t.input != nil {
		t.pipe.over(false)
	}
	t.input = nil
}

// end sends EndTxn, with the same decision each time.
func (t *Transactor) end(commit bool) {
	own := t.own()
	if own.Asked == checker.Nothing {
		own.Asked, own.Call = checker.Abort, t.Stamp()
		if commit {
			own.Asked = checker.Commit
		}
	}
	r := kmsg.NewPtrEndTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = t.options.ID, t.id, t.epoch, own.Asked == checker.Commit
	t.ends++
	if t.ends > 1 && t.options.First {
		t.echoed = true // one of them may arrive later
	}
	t.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.EndTxnResponse)
		switch {
		case v.ErrorCode == 0:
			t.done(v)
		default:
			t.checkEmpty(v.ErrorCode)
			t.refusedEnd(v.ErrorCode)
		}
	})
}

// done: the decision is acknowledged.
func (t *Transactor) done(v *kmsg.EndTxnResponse) {
	own := t.own()
	own.Outcome, own.Return = checker.Done, t.Stamp()
	committed := own.Asked == checker.Commit
	dirty := t.unacknowledged()
	if t.pipe != nil && t.input != nil {
		t.pipe.over(committed)
	}
	t.input = nil
	t.number = 0
	for _, part := range t.parts {
		part.batch = nil
	}
	if !t.options.First {
		next := producerEpoch{v.ProducerID, v.ProducerEpoch}
		if next.id == t.id && next.epoch != t.epoch+1 || next.id != t.id && next.epoch != 0 {
			t.fail("I7", "client %d: EndTxn of producer %d epoch %d was answered with producer %d epoch %d", t.client, t.id, t.epoch, next.id, next.epoch)
		}
		t.take(next)
		t.empty = !t.empty && !t.ending && t.pipe == nil && t.draws.PerMille(t.options.Empty)
	} else if dirty {
		t.initialize, t.bump = true, true // sequences were left out
	}
	if t.ending && t.pipe == nil && (committed || t.refusals > 0) {
		t.ended = true
		return
	}
	t.step()
}
