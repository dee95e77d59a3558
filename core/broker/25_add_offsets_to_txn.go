// AddOffsetsToTxn (25), versions 0-4: PRODUCER_FENCED (KIP-588, version 2), TRANSACTION_ABORTABLE (KIP-890, 4).

package broker

import (
	"weir/core/coordinator"
	"weir/core/txn"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// addOffsetsToTxn adds the partition that holds a group's offsets to a transaction.
func (b *Broker) addOffsetsToTxn(x exchange, r *kmsg.AddOffsetsToTxnRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	answer := func(code wire.Code) {
		out.ErrorCode = fencedCode(code, r.Version >= transactionFenced)
		x.replyMessage(out)
	}
	offsets, ok := b.image.Topic(offsetsTopic)
	switch {
	case r.TransactionalID == "":
		answer(wire.InvalidRequest)
	case b.transactions == nil:
		answer(wire.CoordinatorNotAvailable)
	case !ok:
		b.createInternalTopic(offsetsTopic) // the client asks again
		answer(wire.CoordinatorNotAvailable)
	default:
		b.transactions.AddForClient(txn.AddRequest{
			TransactionalID: r.TransactionalID, Producer: txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch},
			Partitions: []txn.Partition{{Topic: offsetsTopic, Index: coordinator.PartitionOf(r.Group, len(offsets.Partitions))}},
		}, answer)
	}
}
