package txn

import (
	"log/slog"
	"slices"
	"time"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// Topic holds the state of transactional ids.
const Topic = "__transaction_state"

// Options are what a Coordinator needs. All are required unless a zero is named.
type Options struct {
	// Loop runs the coordinator.
	Loop *task.Loop
	// Env gives clock, random numbers, and computations off the loop.
	Env env.Env
	// Telemetry takes marks, metrics and log lines. Nil: none.
	Telemetry *telemetry.Registry
	// Config is asked each time, since it may change.
	Config func() config.Transactions
	// Version is the cluster's transaction.version.
	Version func() int16
	// LeaderEpoch is the leader epoch of a partition of Topic that this broker leads.
	LeaderEpoch func(partition int32) int32
	// ProducerID calls done with a producer id that was never given, or with the code for a client.
	ProducerID func(done func(id int64, code wire.Code))
	// Markers writes markers.
	Markers MarkerWriter
	// IDsMax bounds the transactional ids of one partition; zero: DefaultIDsMax. Each takes some 300 bytes, and more while
	// it has a transaction over many partitions.
	IDsMax int
	// FirstEpoch is the producer epoch that a new transactional id begins with; zero, as in Kafka, to 32,766. A large one
	// uses up the epochs of a producer id early. Only simulations set it.
	FirstEpoch int16
}

// DefaultIDsMax is for partitions of Topic, of which there are 50 by default.
const DefaultIDsMax = 100_000

// operatorsInterval is the shortest time between two log lines of one kind.
const operatorsInterval = time.Minute

// Coordinator answers requests to the transactional ids whose partitions this broker leads. It is called on the loop only.
type Coordinator struct {
	Options
	runtime *coordinator.Runtime

	operators                                          *telemetry.Limiter
	expired, skipped, retried, outdated, parked, begun *telemetry.Mark
	timedOut                                           env.Counter
	marking                                            env.Gauge
	markings                                           int64
}

// New returns a coordinator, which answers once it has a runtime: see Run.
func New(o Options) *Coordinator {
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(nil, nil)
	}
	if o.IDsMax == 0 {
		o.IDsMax = DefaultIDsMax
	}
	return &Coordinator{
		Options: o, operators: telemetry.NewLimiter(operatorsInterval),
		expired:  o.Telemetry.Mark("txn: a transaction timed out"),
		skipped:  o.Telemetry.Mark("txn: a marker was for a partition that is gone"),
		retried:  o.Telemetry.Mark("txn: markers were written again"),
		outdated: o.Telemetry.Mark("txn: a marker was refused"),
		parked:   o.Telemetry.Mark("txn: a partition waited for the transaction before"),
		begun:    o.Telemetry.Mark("txn: a transaction began with the record that completed the one before"),
		timedOut: o.Telemetry.Counter("weir_transactions_timed_out_total", "Transactions that the coordinator aborted since their time was over."),
		marking:  o.Telemetry.Gauge("weir_transactions_completing", "Transactions that are decided, and whose markers are being written. One that stays holds up read_committed consumers."),
	}
}

// NewMachine is for coordinator.Options.
func (c *Coordinator) NewMachine(s *coordinator.Shard) coordinator.Machine { return newMachine(c, s) }

// Run gives the coordinator its runtime, whose machines are its own.
func (c *Coordinator) Run(r *coordinator.Runtime) { c.runtime = r }

func (c *Coordinator) marked(change int64) int64 {
	c.markings += change
	return c.markings
}

// machine finds the machine of an id.
func (c *Coordinator) machine(id string) (*Machine, wire.Code) {
	s, code := c.runtime.Find(id)
	if code != wire.None {
		return nil, code
	}
	return s.Machine().(*Machine), wire.None
}

// InitProducerID begins a producer with a transactional id (KIP-98, KIP-360). While a transaction is being ended,
// or is ended for this, the answer is CONCURRENT_TRANSACTIONS, and the client asks again.
func (c *Coordinator) InitProducerID(q InitRequest, done func(Producer, wire.Code)) {
	max := c.Config().TimeoutMax.Milliseconds()
	switch {
	case q.TransactionalID == "":
		done(NoProducer, wire.InvalidRequest)
		return
	case q.TimeoutMillis <= 0 || int64(q.TimeoutMillis) > max:
		done(NoProducer, wire.InvalidTransactionTimeout)
		return
	}
	m, code := c.machine(q.TransactionalID)
	if code != wire.None {
		done(NoProducer, code)
		return
	}
	m.do(q.TransactionalID, func(t *Transaction, k clock) decision {
		if t == nil && m.ids.Len() >= c.IDsMax {
			return refuse(wire.PolicyViolation)
		}
		if t == nil && !m.shard.Admits(t.bytes(q.TransactionalID)) {
			return refuse(wire.CoordinatorNotAvailable)
		}
		return t.initProducer(&q, c.Version(), k)
	}, func(d decision) { done(d.producer, d.code) })
}

// EndTxn commits or aborts a transaction. The answer comes once the decision is durable; markers follow. In the second generation
// it has the producer for the next transaction.
func (c *Coordinator) EndTxn(q EndRequest, done func(Producer, wire.Code)) {
	if q.TransactionalID == "" {
		done(NoProducer, wire.InvalidRequest)
		return
	}
	m, code := c.machine(q.TransactionalID)
	if code != wire.None {
		done(NoProducer, code)
		return
	}
	m.do(q.TransactionalID, func(t *Transaction, k clock) decision { return t.end(&q, k) }, func(d decision) {
		if d.code == wire.InvalidTxnState {
			m.warnEnd(&q)
		}
		done(d.producer, d.code)
	})
}

// warnEnd says why a producer gets INVALID_TXN_STATE, which ends it.
func (m *Machine) warnEnd(q *EndRequest) {
	if e, ok := m.ids.Get(q.TransactionalID); ok {
		m.warn("end", "the end of a transaction was refused: none is open, or it ended otherwise; the producer can go on only after it begins anew", e,
			slog.Bool("commit", q.Commit), slog.Int64("of", q.Producer.ID), slog.Int("epoch", int(q.Producer.Epoch)), slog.Int("current", int(e.Epoch)), slog.Int("generation", int(q.Version)))
	}
}

// AddForClient adds partitions for a client (AddPartitionsToTxn, AddOffsetsToTxn), all or none.
func (c *Coordinator) AddForClient(q AddRequest, done func(wire.Code)) {
	if q.TransactionalID == "" {
		done(wire.InvalidRequest)
		return
	}
	m, code := c.machine(q.TransactionalID)
	if code != wire.None {
		done(code)
		return
	}
	m.add(&q, done)
}

// Verify says of each partition whether it is part of the transaction: TRANSACTION_ABORTABLE if not.
func (c *Coordinator) Verify(q AddRequest) []wire.Code {
	if q.TransactionalID == "" {
		return repeated(wire.InvalidRequest, len(q.Partitions))
	}
	m, code := c.machine(q.TransactionalID)
	if code != wire.None {
		return repeated(code, len(q.Partitions))
	}
	return m.find(q.TransactionalID).verify(&q)
}

// AddPartitions is for Produce and TxnOffsetCommit (KIP-890): it adds partitions to a transaction of the second generation, or
// only checks that they are part of one. done hears, once and maybe at once, a code for each partition, as
// AddPartitionsToTxn 5 has them; it is for the caller to turn them into what its client understands.
//
// Requests to add to one transactional id are answered in the order in which they came, whatever they wait for: a producer has
// several batches for a partition under way, and the second must not be appended before the first. To add waits up to add.partitions.to.txn.retry.backoff.max.ms for the transaction before to complete.
func (c *Coordinator) AddPartitions(transactionalID string, producerID int64, epoch int16, partitions []Partition, verifyOnly bool, done func(codes []wire.Code)) {
	q := AddRequest{TransactionalID: transactionalID, Producer: Producer{producerID, epoch}, Partitions: partitions, Version: secondGeneration}
	if verifyOnly {
		done(c.Verify(q))
		return
	}
	q.Partitions = slices.Clone(partitions)
	answer := func(code wire.Code) { done(repeated(code, len(q.Partitions))) }
	m, code := c.machine(transactionalID)
	switch {
	case transactionalID == "":
		answer(wire.InvalidRequest)
	case code != wire.None:
		answer(code)
	default:
		m.addInOrder(&q, answer)
	}
}

func (m *Machine) add(q *AddRequest, done func(wire.Code)) {
	m.doWith(q.TransactionalID, request{fresh: -1, bytes: q.bytes()}, func(t *Transaction, c clock) decision {
		return m.decideAdd(q, t, t, c)
	}, func(d decision) { done(d.code) })
}

// decideAdd adds to a transaction within the bounds of record and memory; before is what memory holds of it now.
func (m *Machine) decideAdd(q *AddRequest, before, t *Transaction, c clock) decision {
	d := t.add(q, c)
	if d.next != nil && !m.endable(q.TransactionalID, d.next) {
		return refuse(wire.UnknownServerError) // as for a record that is too large itself
	}
	if d.next != nil && !m.shard.Admits(d.next.bytes(q.TransactionalID)-before.bytes(q.TransactionalID)) {
		return refuse(wire.CoordinatorNotAvailable)
	}
	return d
}

// endBytes is what a batch takes beside the key and value of its record, and what the records that end a transaction
// have more than the one that adds to it: at most 80 and 30 bytes.
const endBytes = 128

// endable reports whether the log will take the records that end the transaction. Else it could only begin: whoever adds
// partitions until one is refused, and then aborts, would find the abort refused too.
func (m *Machine) endable(id string, t *Transaction) bool {
	limit := int64(m.shard.BatchBytesMax()) - endBytes
	return t.bytes(id) <= limit || int64(len(encodeKey(id))+len(encodeValue(t))) <= limit // the first is more, and known
}
