// EndTxn (26), versions 0-5: PRODUCER_FENCED (KIP-588, version 2), TRANSACTION_ABORTABLE (KIP-890, 4), a new epoch with the end of
// each transaction (KIP-890, 5).

package broker

import (
	"weir/core/txn"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// endTxnBumps is the version of the second generation, which answers the epoch of the next transaction.
const endTxnBumps = 5

// endTxn commits or aborts a transaction.
func (b *Broker) endTxn(x exchange, r *kmsg.EndTxnRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.EndTxnResponse)
	answer := func(p txn.Producer, code wire.Code) {
		out.ErrorCode = fencedCode(code, r.Version >= transactionFenced)
		out.ProducerID, out.ProducerEpoch = p.ID, p.Epoch
		x.replyMessage(out)
	}
	if b.transactions == nil {
		answer(txn.NoProducer, wire.CoordinatorNotAvailable)
		return
	}
	b.transactions.EndTxn(txn.EndRequest{
		TransactionalID: r.TransactionalID, Producer: txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, Commit: r.Commit,
		Version: generation(r.Version >= endTxnBumps),
	}, answer)
}
