package txn

import (
	"math"

	"weir/core/wire"
)

// decision is what an operation makes of a transactional id. It depends on its arguments alone.
type decision struct {
	code wire.Code
	next *Transaction // to be written; nil: nothing
	// then is written behind next, in the same batch: what follows at once. Nil: nothing.
	then *Transaction
	// needsID asks to decide again with a new producer id.
	needsID bool
	// producer is the answer of EndTxn and InitProducerId.
	producer Producer
}

// Producer is a producer id with its epoch.
type Producer struct {
	ID    int64
	Epoch int16
}

// NoProducer stands for none.
var NoProducer = Producer{-1, -1}

func refuse(code wire.Code) decision { return decision{code: code, producer: NoProducer} }

// clock is the time of a decision, and what else it may need: a producer id that was never used, or -1.
type clock struct {
	now   int64 // wall clock, milliseconds
	fresh int64
	first int16 // epoch of a new transactional id
}

// change is a copy to be changed into the next record.
func (t *Transaction) change(c clock, to State) *Transaction {
	next := *t
	next.PreviousID, next.State, next.UpdateMillis = t.ProducerID, to, c.now
	return &next
}

// InitRequest is an InitProducerId with a transactional id.
type InitRequest struct {
	TransactionalID string
	TimeoutMillis   int32
	// Expected is the producer as the client knows it (KIP-360), or NoProducer.
	Expected Producer
}

// initProducer begins a producer: it fences the one before, and ends its transaction. version is the cluster's
// transaction.version. t is nil for a new id.
func (t *Transaction) initProducer(q *InitRequest, version int16, c clock) decision {
	if t == nil {
		if c.fresh < 0 {
			return decision{needsID: true}
		}
		t = &Transaction{ProducerID: c.fresh, PreviousID: -1, NextID: -1, Epoch: -1, LastEpoch: -1, StartMillis: -1}
		c.fresh = -1
	}
	switch {
	case t.prepared():
		return refuse(wire.ConcurrentTransactions)
	case !t.knows(q.Expected):
		return refuse(wire.ProducerFenced)
	case t.State == Ongoing:
		d := t.fence(version, c)
		// The producer asks again once the transaction has ended, which gives it an epoch that nobody has seen.
		d.code, d.producer = wire.ConcurrentTransactions, NoProducer
		return d
	}
	return t.beginProducer(q, c)
}

// knows reports whether a producer may go on, or begin: it is the current one, whatever its epoch; or the one before,
// whose epochs were used up, and which has not heard yet who it is now.
func (t *Transaction) knows(expected Producer) bool {
	return expected == NoProducer || t.Epoch == -1 || expected.ID == t.ProducerID ||
		expected.ID == t.PreviousID && expected.Epoch >= epochMax
}

// beginProducer gives the producer its next epoch, or a new id once the epochs are used up. A producer that asks again
// gets the answer that it missed.
func (t *Transaction) beginProducer(q *InitRequest, c clock) decision {
	next := t.change(c, Empty)
	next.TimeoutMillis, next.Partitions, next.StartMillis = q.TimeoutMillis, nil, -1
	expects := q.Expected != NoProducer
	current := !expects || t.Epoch == -1 || q.Expected.Epoch == t.Epoch
	switch {
	case current && t.exhausted() && c.fresh < 0:
		return decision{needsID: true}
	case current:
		next.LastEpoch = -1
		if expects {
			next.LastEpoch = t.Epoch
		}
		switch next.Epoch++; {
		case t.Epoch == -1:
			next.Epoch = c.first
		case t.exhausted():
			next.ProducerID, next.Epoch = c.fresh, 0
		}
	case q.Expected.Epoch == t.LastEpoch:
		next.PreviousID = t.PreviousID // so that the next retry is known too
	default:
		return refuse(wire.ProducerFenced)
	}
	return decision{next: next, producer: Producer{next.ProducerID, next.Epoch}}
}

// fence aborts an ongoing transaction in the coordinator's own name, with one bump of the epoch.
func (t *Transaction) fence(version int16, c clock) decision {
	if version >= secondGeneration {
		return t.prepare(PrepareAbort, version, c)
	}
	next := t.change(c, PrepareAbort)
	next.Epoch, next.LastEpoch, next.ClientVersion = bumped(t.Epoch), -1, 0
	return decision{next: next, producer: Producer{next.ProducerID, next.Epoch}}
}

// bumped is the next epoch. An epoch at its end stays there: a producer id that has got so far is given up anyway.
func bumped(epoch int16) int16 { return min(epoch, math.MaxInt16-1) + 1 }

// EndRequest is an EndTxn.
type EndRequest struct {
	TransactionalID string
	Producer        Producer
	Commit          bool
	// Version is the client's transaction.version: 2 from the second generation (EndTxn 5), or 0.
	Version int16
}

// end decides a transaction.
func (t *Transaction) end(q *EndRequest, c clock) decision {
	switch {
	case t == nil:
		return refuse(wire.InvalidProducerIDMapping)
	case q.Version < secondGeneration:
		return t.endFirst(q, c)
	}
	return t.endSecond(q, c)
}

// endFirst is the end of a transaction of the first generation, whose producer keeps its epoch.
func (t *Transaction) endFirst(q *EndRequest, c clock) decision {
	switch {
	case q.Producer.ID != t.ProducerID:
		return refuse(wire.InvalidProducerIDMapping)
	case q.Producer.Epoch != t.Epoch:
		return refuse(wire.ProducerFenced)
	case t.prepared():
		return refuse(wire.ConcurrentTransactions)
	case t.State == Ongoing:
		next := t.change(c, preparing(q.Commit))
		next.NextID, next.ClientVersion = -1, 0
		return decision{next: next, producer: NoProducer}
	case t.State == completing(q.Commit):
		return decision{producer: NoProducer}
	}
	return refuse(wire.InvalidTxnState)
}

// endSecond is the end of a transaction of the second generation, which bumps the epoch. A retry has the epoch before: it
// gets its answer, and decides nothing (R23). One with the present epoch is about the transaction that the producer
// has open: an abort of none bumps the epoch too.
func (t *Transaction) endSecond(q *EndRequest, c clock) decision {
	overflowed := q.Producer.ID == t.PreviousID && q.Producer.Epoch == epochMax && t.Epoch == 0
	retried := overflowed || int32(t.Epoch) == int32(q.Producer.Epoch)+1
	current := t.Epoch == q.Producer.Epoch
	switch {
	case t.prepared(): // before the producer is looked at: it may have its next id already
		return refuse(wire.ConcurrentTransactions)
	case q.Producer.ID != t.ProducerID && !overflowed:
		return refuse(wire.InvalidProducerIDMapping)
	case !current && (!retried || t.State == Ongoing || t.State == Empty):
		return refuse(wire.ProducerFenced)
	case t.State == Ongoing:
		return t.prepare(preparing(q.Commit), q.Version, c)
	case retried && t.State == completing(q.Commit):
		return decision{producer: Producer{t.ProducerID, t.Epoch}}
	case retried || q.Commit:
		return refuse(wire.InvalidTxnState)
	}
	return t.prepare(PrepareAbort, q.Version, c)
}

// prepare decides a transaction, or an abort of none, in the second generation.
func (t *Transaction) prepare(to State, version int16, c clock) decision {
	if t.exhausted() && c.fresh < 0 {
		return decision{needsID: true}
	}
	next := t.change(c, to)
	next.LastEpoch, next.Epoch, next.NextID, next.ClientVersion = t.Epoch, bumped(t.Epoch), -1, version
	if next.Epoch == t.Epoch { // partitions would refuse a marker of the second generation, which is above its transaction
		next.ClientVersion = 0
	}
	if t.State != Ongoing {
		next.StartMillis = c.now
	}
	answer := Producer{next.ProducerID, next.Epoch}
	if t.exhausted() {
		next.NextID = c.fresh
		answer = Producer{next.NextID, 0}
	}
	return decision{next: next, producer: answer}
}

func preparing(commit bool) State {
	if commit {
		return PrepareCommit
	}
	return PrepareAbort
}

func completing(commit bool) State {
	if commit {
		return CompleteCommit
	}
	return CompleteAbort
}

// complete ends a prepared transaction, once all its partitions know.
func (t *Transaction) complete(c clock) *Transaction {
	next := t.change(c, completing(t.State == PrepareCommit))
	next.Partitions, next.NextID = nil, -1
	if t.NextID >= 0 {
		next.ProducerID, next.Epoch = t.NextID, 0
	}
	return next
}

// AddRequest adds partitions to a transaction, which begins with the first.
type AddRequest struct {
	TransactionalID string
	Producer        Producer
	Partitions      []Partition
	// Version is the client's transaction.version: 2 from the second generation, or 0.
	Version int16
}

// bytes is about what a request takes while it waits.
func (q *AddRequest) bytes() (n int64) {
	for i := range q.Partitions {
		n += int64(partitionBytes + len(q.Partitions[i].Topic))
	}
	return n
}

// add adds partitions to a transaction.
func (t *Transaction) add(q *AddRequest, c clock) decision {
	switch {
	case t == nil:
		return refuse(wire.InvalidProducerIDMapping)
	case t.prepared(): // before the producer is looked at: it may have its next id already
		return refuse(wire.ConcurrentTransactions)
	case q.Producer.ID != t.ProducerID:
		return refuse(wire.InvalidProducerIDMapping)
	case q.Producer.Epoch != t.Epoch:
		return refuse(wire.ProducerFenced)
	case t.State == Ongoing && t.holds(q.Partitions):
		return decision{}
	}
	next := t.change(c, Ongoing)
	next.Partitions, next.ClientVersion = t.merged(q.Partitions), q.Version
	if t.State != Ongoing {
		next.StartMillis = c.now
	}
	return decision{next: next}
}

// verify says of each partition whether it is part of the transaction. What is being written does not count yet: the
// partition checks again when it appends.
func (t *Transaction) verify(q *AddRequest) []wire.Code {
	switch {
	case t == nil, q.Producer.ID != t.ProducerID:
		return repeated(wire.InvalidProducerIDMapping, len(q.Partitions))
	case q.Producer.Epoch != t.Epoch:
		return repeated(wire.ProducerFenced, len(q.Partitions))
	case t.prepared():
		return repeated(wire.ConcurrentTransactions, len(q.Partitions))
	}
	codes := make([]wire.Code, len(q.Partitions))
	for i, p := range q.Partitions {
		if !t.has(p) {
			codes[i] = wire.TransactionAbortable
		}
	}
	return codes
}

// repeated is one code for each of n partitions.
func repeated(code wire.Code, n int) []wire.Code {
	codes := make([]wire.Code, n)
	for i := range codes {
		codes[i] = code
	}
	return codes
}
