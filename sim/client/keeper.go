package client

import (
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/record"
	"weir/core/wire"
	"weir/sim/checker"
)

// KeeperOptions configure a keeper.
type KeeperOptions struct {
	// Topic is a topic of its own, of one partition, created with [KeeperConfigs].
	Topic *Topic
	// Keys is how many keys it writes, 1 and up.
	Keys int64
	// Records is the maximum of records in a batch, 1 and up.
	Records int64
	// Deletes is how many records in a thousand delete their key.
	Deletes int64
	// ID is its transactional id; empty: it writes outside transactions. Abort is how many transactions in a thousand are aborted.
	ID    string
	Abort int64
	// Pause is the mean time between two batches, and between two readings of the whole topic.
	Pause time.Duration
	// FetchBytes bounds each fetch of a reading.
	FetchBytes int32
	// TombstonesStay says that delete.retention.ms is longer than the run.
	TombstonesStay bool
	// Lag is how far below the newest version of each request it may speak, in thousandths of the range that both sides have.
	Lag int64
}

// KeeperConfigs are the configurations of a keeper's topic: any dirty byte is compacted, in its turn.
func KeeperConfigs(policy, compression string, tombstones time.Duration) []Config {
	return []Config{
		{Key: "cleanup.policy", Value: policy},
		{Key: "compression.type", Value: compression},
		{Key: "min.cleanable.dirty.ratio", Value: "0"},
		{Key: "delete.retention.ms", Value: fmt.Sprint(tombstones.Milliseconds())},
	}
}

// Keeper keeps a table in a compacted topic: it writes and deletes keys, one batch after another, and reads the whole topic again and
// again. It is the only writer, so that the order of the log is that of its writes.
type Keeper struct {
	session
	options KeeperOptions
	history *checker.Keyed
	part    *Partition
	reader  *keeperReader

	producerEpoch
	initialize bool
	known      bool
	busy       bool
	ending     bool
	ended      bool
	standIn    bool // the broker has no transactions
	sequence   int32
	batch      []byte // unacknowledged
	first      int    // write of its first record
	open       int    // first write of the open transaction; -1: none is open
	decided    bool   // EndTxn was sent
	commit     bool
	left       int // batches to come in the transaction
}

// NewKeeper makes a keeper; Start starts it.
func NewKeeper(c *Cluster, client int, options KeeperOptions) *Keeper {
	k := &Keeper{options: options, part: options.Topic.Partitions[0], producerEpoch: producerEpoch{-1, -1}, initialize: true, open: -1}
	k.history = &checker.Keyed{Name: k.part.History.Name, TombstonesStay: options.TombstonesStay, Transactional: options.ID != ""}
	k.initAs(c, client, "keeper", k)
	k.lag = options.Lag
	if options.ID != "" {
		k.floors = map[int16]int16{keyFindCoordinator: 1, keyProduce: 12, keyEndTxn: 5}
	}
	k.reader = newKeeperReader(k)
	return k
}

// nextEpoch gives up the batch, and goes on as a client does that is told of a gap: with an epoch of its own making.
func (k *Keeper) nextEpoch() {
	k.batch, k.sequence = nil, 0
	if k.epoch == math.MaxInt16 {
		k.initialize = true
		return
	}
	k.epoch++
}

// History is what it wrote and read, and what was lost of it.
func (k *Keeper) History() *checker.Keyed {
	k.history.Lost = k.part.History.Lost
	return k.history
}

// Start connects and begins.
func (k *Keeper) Start() {
	k.connect()
	k.reader.connect()
	k.tick()
}

// End has it end what it began.
func (k *Keeper) End() { k.ending = true }

// Idle reports whether that is done, and the topic was read since.
func (k *Keeper) Idle() bool { return k.standIn || k.ended && k.reader.served() }

// Stop ends the client.
func (k *Keeper) Stop() {
	k.stop()
	k.reader.stop()
}

func (k *Keeper) tick() {
	if k.stopped || k.ended {
		return
	}
	k.step()
	k.Queue.Call(k.draws.Duration(k.options.Pause/2, k.options.Pause*3/2), k.tick)
}

func (k *Keeper) sessionUp() {
	k.busy, k.known = false, false
	if k.options.ID != "" && !k.speaks(keyEndTxn) {
		k.standIn = true
		return
	}
	k.learn([]*Topic{k.options.Topic}, func(known bool) {
		if !known {
			k.after(100*time.Millisecond, k.sessionUp)
			return
		}
		if k.options.ID == "" {
			k.known = true
			return
		}
		k.locate()
	})
}

// locate asks who its coordinator is.
func (k *Keeper) locate() {
	k.known = false
	k.findCoordinator(k.options.ID, txnCoordinator, func() { k.known = true })
}

func (k *Keeper) call(r kmsg.Request, done func(kmsg.Response)) {
	k.busy = true
	k.request(r, func(response kmsg.Response, err error) {
		k.busy = false
		if err != nil {
			k.abandon()
			return
		}
		done(response)
	})
}

// step does what comes next.
func (k *Keeper) step() {
	if !k.up || !k.known || k.busy || k.stopped || k.ended {
		return
	}
	switch {
	case k.initialize:
		k.initProducer()
	case k.batch != nil:
		k.send()
	case k.open >= 0 && (k.left <= 0 || k.decided):
		k.endTransaction()
	case k.ending && k.open < 0:
		k.ended = true
	default:
		k.write()
	}
}

// abandon leaves a transaction whose request has no answer to the next epoch: it is aborted, unless its commit was asked for. What is
// written outside transactions is sent again.
func (k *Keeper) abandon() {
	if k.options.ID == "" {
		return
	}
	k.initialize, k.batch = true, nil
}

// initProducer asks for a producer id, or for the next epoch.
func (k *Keeper) initProducer() {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.ProducerID, r.ProducerEpoch = -1, -1
	if k.options.ID != "" {
		r.TransactionalID, r.TransactionTimeoutMillis = kmsg.StringPtr(k.options.ID), 60_000
	}
	k.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.InitProducerIDResponse)
		switch v.ErrorCode {
		case 0:
		case wire.NotCoordinator, wire.CoordinatorNotAvailable:
			if k.options.ID != "" {
				k.locate()
			} else {
				k.leaves(v.ErrorCode)
			}
			return
		default:
			return
		}
		if v.ProducerID != k.id && k.options.ID != "" {
			k.noteTransactional(k.client, k.options.ID, v.ProducerID)
		} else if k.options.ID == "" {
			k.noteProducer(k.client, v.ProducerID)
		}
		if k.open >= 0 {
			if !k.decided || !k.commit {
				k.settle(checker.Failed)
			}
			k.open = -1
		}
		k.id, k.epoch, k.sequence, k.initialize = v.ProducerID, v.ProducerEpoch, 0, false
	})
}

// settle notes the outcome of the transaction's writes.
func (k *Keeper) settle(outcome checker.Outcome) {
	at := k.Stamp()
	for i := k.open; i < len(k.history.Writes); i++ {
		k.history.Writes[i].Outcome, k.history.Writes[i].Return = outcome, at
	}
}

// keeperTime is the timestamp of a write: it says which one it is.
func keeperTime(write int) int64 { return startMillis + int64(write) }

// write makes a batch of a few keys.
func (k *Keeper) write() {
	h := k.history
	k.first = len(h.Writes)
	records := make([]record.Record, k.draws.Between(1, k.options.Records))
	for i := range records {
		w := checker.KeyedWrite{Key: int32(k.draws.Below(k.options.Keys)), Tombstone: k.draws.PerMille(k.options.Deletes), Call: k.Stamp(), Base: -1}
		records[i] = record.Record{Timestamp: keeperTime(len(h.Writes)), Key: fmt.Append(nil, "key", w.Key)}
		if !w.Tombstone {
			records[i].Value = keeperValue(len(h.Writes), int(k.draws.Between(1, 200)))
		}
		h.Writes = append(h.Writes, w)
	}
	newest := compress.Zstd
	if k.options.Lag > 0 {
		newest = compress.LZ4
	}
	b := record.Builder{
		ProducerID: k.id, ProducerEpoch: k.epoch, BaseSequence: k.sequence, Transactional: k.options.ID != "",
		Codec: compress.Codec(k.draws.Below(int64(newest) + 1)),
	}
	k.batch = b.AppendBatch(nil, records)
	k.sequence += int32(len(records))
	if k.options.ID != "" && k.open < 0 {
		k.open, k.decided, k.left = k.first, false, int(k.draws.Between(1, 3))
	}
	k.left--
	k.send()
}

// keeperValue is the value of a write.
func keeperValue(write, size int) []byte {
	v := make([]byte, size)
	for i := range v {
		v[i] = byte(write*31 + i)
	}
	return v
}

func (k *Keeper) send() {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 3000
	if k.options.ID != "" {
		r.TransactionID = kmsg.StringPtr(k.options.ID)
	}
	addProduce(r, k.part, k.batch)
	k.call(r, func(response kmsg.Response) {
		code, base, ok := findProduced(response.(*kmsg.ProduceResponse), k.part)
		switch {
		case !ok:
			k.fail("protocol", "no answer for %s in a produce response", k.history.Name)
		case code == 0 || code == wire.DuplicateSequence:
			k.acknowledged(code, base)
		case code == wire.OutOfOrderSequence && k.LogsLost && k.options.ID == "": // what it knew of the producer is gone with a log
			k.history.OutOfOrder++
			k.nextEpoch()
		case code == wire.OutOfOrderSequence || code == wire.InvalidProducerEpoch && k.options.ID == "":
			k.fail("I6", "%s: %s for the batch with write %d, though all before it is acknowledged", k.history.Name, checker.CodeName(code), k.first)
		case code == wire.PolicyViolation: // the partition knows as many producers as it may
		case k.options.ID != "":
			k.abandon()
		}
	})
}

func (k *Keeper) acknowledged(code int16, base int64) {
	k.Acked++
	k.batch = nil
	at := k.Stamp()
	for i := k.first; i < len(k.history.Writes); i++ {
		w := &k.history.Writes[i]
		if code == 0 && base >= 0 {
			w.Base = base + int64(i-k.first)
		}
		if k.options.ID == "" {
			w.Outcome, w.Return = checker.Done, at
		}
	}
}

func (k *Keeper) endTransaction() {
	if !k.decided {
		k.decided, k.commit = true, !k.draws.PerMille(k.options.Abort)
	}
	r := kmsg.NewPtrEndTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = k.options.ID, k.id, k.epoch, k.commit
	k.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.EndTxnResponse)
		switch v.ErrorCode {
		case 0:
		case wire.NotCoordinator, wire.CoordinatorNotAvailable:
			k.locate()
			return
		case wire.ConcurrentTransactions, wire.CoordinatorLoadInProgress:
			return
		default:
			k.abandon()
			return
		}
		if k.commit {
			k.settle(checker.Done)
		} else {
			k.settle(checker.Failed)
		}
		if v.ProducerID != k.id {
			k.noteTransactional(k.client, k.options.ID, v.ProducerID)
		}
		k.open, k.sequence, k.producerEpoch = -1, 0, producerEpoch{v.ProducerID, v.ProducerEpoch}
	})
}
