// AddPartitionsToTxn (24), versions 0-5: PRODUCER_FENCED (KIP-588, version 2), many transactions and verification (KIP-890, 4),
// TRANSACTION_ABORTABLE (KIP-890, 5). Clients use versions up to 3; 4 and 5 are for brokers.
//
// Difference from Kafka: a partition that a transaction names twice is answered once.

package broker

import (
	"weir/core/txn"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// transactionFenced is the version from which AddPartitionsToTxn, AddOffsetsToTxn and EndTxn know PRODUCER_FENCED.
	transactionFenced = 2
	// addPartitionsMany is the version that has many transactions.
	addPartitionsMany = 4
)

// addedTransaction is one transaction of an AddPartitionsToTxn request.
type addedTransaction struct {
	id         string
	producer   txn.Producer
	verifyOnly bool
	asked      *onceEach
	codes      []wire.Code // by partition, in the order of asked
}

// addPartitionsToTxn adds partitions to transactions, all of a transaction's or none, or verifies that they are part of it.
func (b *Broker) addPartitionsToTxn(x exchange, r *kmsg.AddPartitionsToTxnRequest) {
	x.releaseFrame()
	all := addedTransactions(r)
	open := len(all) + 1
	answered := func() {
		if open--; open == 0 {
			x.replyMessage(addedAnswer(r, all))
		}
	}
	for _, a := range all {
		b.addTransaction(a, r.Version, answered)
	}
	answered()
}

// addedTransactions are the transactions of a request of any version.
func addedTransactions(r *kmsg.AddPartitionsToTxnRequest) (all []*addedTransaction) {
	if r.Version < addPartitionsMany {
		a := &addedTransaction{id: r.TransactionalID, producer: txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, asked: newOnceEach()}
		for i := range r.Topics {
			a.add(r.Topics[i].Topic, r.Topics[i].Partitions)
		}
		return []*addedTransaction{a}
	}
	for i := range r.Transactions {
		q := &r.Transactions[i]
		a := &addedTransaction{id: q.TransactionalID, producer: txn.Producer{ID: q.ProducerID, Epoch: q.ProducerEpoch}, verifyOnly: q.VerifyOnly, asked: newOnceEach()}
		for j := range q.Topics {
			a.add(q.Topics[j].Topic, q.Topics[j].Partitions)
		}
		all = append(all, a)
	}
	return all
}

func (a *addedTransaction) add(topic string, partitions []int32) {
	for _, index := range partitions {
		a.asked.add(topic, index, 0)
	}
}

// addTransaction gives a transaction its codes, and calls done.
func (b *Broker) addTransaction(a *addedTransaction, version int16, done func()) {
	var partitions []txn.Partition
	refused := false
	for _, t := range a.asked.topics {
		for _, p := range t.partitions {
			code := b.addable(t.name, p.index, version)
			refused = refused || code != wire.None
			a.codes = append(a.codes, code)
			partitions = append(partitions, txn.Partition{Topic: t.name, Index: p.index})
		}
	}
	q := txn.AddRequest{TransactionalID: a.id, Producer: a.producer, Partitions: partitions, Version: generation(version >= addPartitionsMany)}
	switch {
	case refused:
		a.innocent()
		done()
	case b.transactions == nil:
		a.all(wire.CoordinatorNotAvailable)
		done()
	case a.verifyOnly:
		a.codes = b.transactions.Verify(q)
		done()
	default:
		b.transactions.AddForClient(q, func(code wire.Code) {
			a.all(code)
			done()
		})
	}
}

// generation is the transaction.version of a client, by the version of its request.
func generation(second bool) int16 {
	if second {
		return 2
	}
	return 0
}

// addable says why a partition cannot be part of a transaction. Clients of the first generation may not add partitions of
// internal topics: AddOffsetsToTxn does that for them.
func (b *Broker) addable(topic string, index int32, version int16) wire.Code {
	t, ok := b.image.Topic(topic)
	switch {
	case version < addPartitionsMany && isInternal(topic):
		return wire.TopicAuthorizationFailed
	case !ok || index < 0 || int(index) >= len(t.Partitions):
		return wire.UnknownTopicOrPartition
	}
	return wire.None
}

// all gives every partition the same code.
func (a *addedTransaction) all(code wire.Code) {
	for i := range a.codes {
		a.codes[i] = code
	}
}

// innocent marks the partitions that would have been added if others could be.
func (a *addedTransaction) innocent() {
	for i, code := range a.codes {
		if code == wire.None {
			a.codes[i] = wire.OperationNotAttempted
		}
	}
}

// fencedCode is a code for a client, whose version may not know PRODUCER_FENCED.
func fencedCode(code wire.Code, knows bool) int16 {
	if code == wire.ProducerFenced && !knows {
		return wire.InvalidProducerEpoch
	}
	return int16(code)
}

func addedAnswer(r *kmsg.AddPartitionsToTxnRequest, all []*addedTransaction) *kmsg.AddPartitionsToTxnResponse {
	out := r.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	for _, a := range all {
		topics := a.answer(r.Version >= transactionFenced)
		if r.Version < addPartitionsMany {
			out.Topics = topics
			break
		}
		t := kmsg.NewAddPartitionsToTxnResponseTransaction()
		t.TransactionalID = a.id
		for _, topic := range topics {
			one := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
			one.Topic, one.Partitions = topic.Topic, manyPartitions(topic.Partitions)
			t.Topics = append(t.Topics, one)
		}
		out.Transactions = append(out.Transactions, t)
	}
	return out
}

// manyPartitions are the same partitions in the type of the answer to many transactions.
func manyPartitions(in []kmsg.AddPartitionsToTxnResponseTopicPartition) []kmsg.AddPartitionsToTxnResponseTransactionTopicPartition {
	out := make([]kmsg.AddPartitionsToTxnResponseTransactionTopicPartition, len(in))
	for i, p := range in {
		out[i] = kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
		out[i].Partition, out[i].ErrorCode = p.Partition, p.ErrorCode
	}
	return out
}

func (a *addedTransaction) answer(knowsFenced bool) (topics []kmsg.AddPartitionsToTxnResponseTopic) {
	next := 0
	for _, t := range a.asked.topics {
		topic := kmsg.NewAddPartitionsToTxnResponseTopic()
		topic.Topic = t.name
		for _, p := range t.partitions {
			part := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			part.Partition, part.ErrorCode = p.index, fencedCode(a.codes[next], knowsFenced)
			topic.Partitions = append(topic.Partitions, part)
			next++
		}
		topics = append(topics, topic)
	}
	return topics
}
