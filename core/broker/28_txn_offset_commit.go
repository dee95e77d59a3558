// TxnOffsetCommit (28), versions 0-6: leader epochs (KIP-320, version 2), member and generation (KIP-447, 3), TRANSACTION_ABORTABLE
// (KIP-890, 4), the offsets' partition is added to the transaction (KIP-890, 5), topic
// ids (6).

package broker

import (
	"weir/core/group"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnOffsetCommit stores offsets that count once their transaction is committed.
func (b *Broker) txnOffsetCommit(x exchange, r *kmsg.TxnOffsetCommitRequest) {
	x.releaseFrame()
	b.commit(x, group.NewTxnCommit(b.image, r))
}
