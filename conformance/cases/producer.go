package cases

import (
	"weir/conformance/recordbatch"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// API keys that transactions need.
var transactions = []int16{10, 22, 24, 25, 26, 28}

// producer is a transactional producer on a connection of its own. It speaks the second generation of KIP-890, or the first.
type producer struct {
	*suite.Conn
	c        *suite.C
	id       string
	first    bool // of the first generation
	producer int64
	epoch    int16
	next     map[string]map[int32]int32 // sequence by topic and partition
}

// newProducer gets a producer id for a transactional id.
func newProducer(c *suite.C, id string) *producer {
	p := &producer{Conn: c.Dial(), c: c, id: id, next: map[string]map[int32]int32{}}
	p.init()
	return p
}

// firstProducer is a producer of the first generation, whose partitions are added by requests.
func firstProducer(c *suite.C, id string) *producer {
	p := newProducer(c, id)
	p.first = true
	return p
}

const transactionTimeout = 60_000 // ms

func initRequest(id string) *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionalID, r.TransactionTimeoutMillis = &id, transactionTimeout
	return r
}

// initUntil asks for a producer id until no transaction is being ended any more.
func initUntil(on suite.Caller, c *suite.C, r *kmsg.InitProducerIDRequest) (answer *kmsg.InitProducerIDResponse) {
	c.Poll("the old transaction is ended", func() bool {
		answer = suite.Call(on, r)
		return answer.ErrorCode != kerr.ConcurrentTransactions.Code
	})
	return answer
}

func (p *producer) init() {
	r := initUntil(p, p.c, initRequest(p.id))
	p.c.OK(r.ErrorCode, "InitProducerID")
	p.producer, p.epoch, p.next = r.ProducerID, r.ProducerEpoch, map[string]map[int32]int32{}
}

// batch is the next batch for a partition.
func (p *producer) batch(t topic, partition int32, n int) []byte {
	if p.next[t.name] == nil {
		p.next[t.name] = map[int32]int32{}
	}
	b := recordbatch.New(now, n)
	b.Attributes, b.ProducerID, b.ProducerEpoch, b.Sequence = recordbatch.Transactional, p.producer, p.epoch, p.next[t.name][partition]
	return b.Bytes()
}

// tryWrite sends a batch of a transaction. The first generation adds the partition before.
func (p *producer) tryWrite(t topic, partition int32, n int) kmsg.ProduceResponseTopicPartition {
	version := p.c.Broker.Highest(0)
	if p.first {
		version = 11
		p.c.OK(p.add(t, partition), "AddPartitionsToTxn")
	}
	r := produceRequest(t, partition, p.batch(t, partition, n))
	r.TransactionID = &p.id
	return suite.CallV(p, version, r).Topics[0].Partitions[0]
}

// write writes n records and returns the first's offset. The transaction before may still be ending.
func (p *producer) write(t topic, partition int32, n int) int64 {
	var answer kmsg.ProduceResponseTopicPartition
	p.c.Poll("the transaction begins", func() bool {
		answer = p.tryWrite(t, partition, n)
		return answer.ErrorCode != kerr.ConcurrentTransactions.Code && answer.ErrorCode != kerr.NotEnoughReplicas.Code
	})
	p.c.OK(answer.ErrorCode, "Produce")
	p.next[t.name][partition] += int32(n)
	return answer.BaseOffset
}

func (p *producer) addRequest(t topic, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch = p.id, p.producer, p.epoch
	in := kmsg.NewAddPartitionsToTxnRequestTopic()
	in.Topic, in.Partitions = t.name, partitions
	r.Topics = append(r.Topics, in)
	one, inOne := kmsg.NewAddPartitionsToTxnRequestTransaction(), kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
	inOne.Topic, inOne.Partitions = t.name, partitions
	one.TransactionalID, one.ProducerID, one.ProducerEpoch, one.Topics = p.id, p.producer, p.epoch, append(one.Topics, inOne)
	r.Transactions = append(r.Transactions, one)
	return r
}

// add adds a partition to the transaction as clients of the first generation do, and waits for the one before to end.
func (p *producer) add(t topic, partition int32) (code int16) {
	p.c.Poll("the old transaction is ended", func() bool {
		code = suite.CallV(p, 3, p.addRequest(t, partition)).Topics[0].Partitions[0].ErrorCode
		return code != kerr.ConcurrentTransactions.Code
	})
	return code
}

func (p *producer) endRequest(commit bool) *kmsg.EndTxnRequest {
	r := kmsg.NewPtrEndTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = p.id, p.producer, p.epoch, commit
	return r
}

func (p *producer) tryEnd(commit bool) *kmsg.EndTxnResponse {
	if p.first {
		return suite.CallV(p, 4, p.endRequest(commit))
	}
	return suite.CallV(p, 5, p.endRequest(commit))
}

// end ends the transaction and waits until it has ended on its partitions.
func (p *producer) end(commit bool) {
	r := p.tryEnd(commit)
	p.c.OK(r.ErrorCode, "EndTxn")
	p.took(r)
	p.ended()
}

// took takes the producer id and epoch that the second generation continues with.
func (p *producer) took(r *kmsg.EndTxnResponse) {
	if p.first {
		return
	}
	if p.epoch != r.ProducerEpoch || p.producer != r.ProducerID {
		p.next = map[string]map[int32]int32{}
	}
	p.producer, p.epoch = r.ProducerID, r.ProducerEpoch
}

// ended waits until the coordinator shows the transaction as complete.
func (p *producer) ended() {
	p.c.Poll("the transaction is complete", func() bool {
		state := describeTransaction(p.c, p.id).State
		return state != "Ongoing" && state != "PrepareCommit" && state != "PrepareAbort"
	})
}

func describeTransaction(c *suite.C, id string) kmsg.DescribeTransactionsResponseTransactionState {
	r := kmsg.NewPtrDescribeTransactionsRequest()
	r.TransactionalIDs = []string{id}
	return suite.Call(c, r).TransactionStates[0]
}

// commitOffsets stages an offset in the transaction.
func (p *producer) offsetsRequest(group string, t topic, offset int64) *kmsg.TxnOffsetCommitRequest {
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.Generation = p.id, group, p.producer, p.epoch, -1
	in, part := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Offset, part.LeaderEpoch, part.Metadata = offset, -1, pointer("")
	in.Topic, in.TopicID, in.Partitions = t.name, t.id, append(in.Partitions, part)
	r.Topics = append(r.Topics, in)
	return r
}

// tryStage sends TxnOffsetCommit in the case's version if it is the case's API, else in the producer's; versions below 5 need
// AddOffsetsToTxn before.
func (p *producer) tryStage(r *kmsg.TxnOffsetCommitRequest) int16 {
	version := min(int16(5), p.c.Broker.Highest(28))
	if p.first {
		version = 4
	}
	if p.c.APIKey() == 28 {
		version = p.c.V
	}
	if version < 5 {
		p.c.OK(p.addOffsets(r.Group), "AddOffsetsToTxn")
	}
	var code int16
	p.c.Poll("the old transaction is ended", func() bool {
		code = suite.CallV(p, version, r).Topics[0].Partitions[0].ErrorCode
		return code != kerr.ConcurrentTransactions.Code
	})
	return code
}

func (p *producer) addOffsetsRequest(group string) *kmsg.AddOffsetsToTxnRequest {
	r := kmsg.NewPtrAddOffsetsToTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group = p.id, p.producer, p.epoch, group
	return r
}

func (p *producer) addOffsets(group string) (code int16) {
	p.c.Poll("the old transaction is ended", func() bool {
		code = suite.Call(p, p.addOffsetsRequest(group)).ErrorCode
		return code != kerr.ConcurrentTransactions.Code
	})
	return code
}

// stage stages an offset and wants success.
func (p *producer) stage(group string, t topic, offset int64) {
	p.c.OK(p.tryStage(p.offsetsRequest(group, t, offset)), "TxnOffsetCommit")
}
