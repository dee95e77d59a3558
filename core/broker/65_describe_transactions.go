// DescribeTransactions (65), version 0 (KIP-664).
//
// Difference from Kafka: a transactional id that a request has twice is answered once.

package broker

import (
	"weir/core/txn"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeTransactions shows the states of transactional ids that this broker coordinates.
func (b *Broker) describeTransactions(x exchange, r *kmsg.DescribeTransactionsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range distinct(r.TransactionalIDs) {
		out.TransactionStates = append(out.TransactionStates, b.describeTransaction(id))
	}
	x.replyMessage(out)
}

// describeTransaction leaves what is not known at zero, as Kafka does.
func (b *Broker) describeTransaction(id string) kmsg.DescribeTransactionsResponseTransactionState {
	out := kmsg.NewDescribeTransactionsResponseTransactionState()
	out.TransactionalID = id
	if b.transactions == nil {
		out.ErrorCode = wire.CoordinatorNotAvailable
		return out
	}
	t, code := b.transactions.Describe(id)
	if out.ErrorCode = int16(code); code != wire.None {
		return out
	}
	out.State, out.TimeoutMillis, out.StartTimestamp = t.State.String(), t.TimeoutMillis, t.StartMillis
	out.ProducerID, out.ProducerEpoch = t.ProducerID, t.Epoch
	out.Topics = describePartitions(t.Partitions)
	return out
}

func describePartitions(partitions []txn.Partition) (topics []kmsg.DescribeTransactionsResponseTransactionStateTopic) {
	for _, p := range partitions {
		if n := len(topics); n == 0 || topics[n-1].Topic != p.Topic {
			t := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			t.Topic = p.Topic
			topics = append(topics, t)
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, p.Index)
	}
	return topics
}
