// ListTransactions (66), versions 0-2 (KIP-664): how long transactions run (KIP-994, version 1), a pattern for ids (KIP-1152, 2).
//
// Difference from Kafka: patterns that are long, or costly to match, are refused with INVALID_REGULAR_EXPRESSION.

package broker

import (
	"weir/core/txn"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listTransactions names the transactional ids that this broker coordinates.
func (b *Broker) listTransactions(x exchange, r *kmsg.ListTransactionsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.ListTransactionsResponse)
	if b.transactions == nil {
		out.ErrorCode = wire.CoordinatorNotAvailable
		x.replyMessage(out)
		return
	}
	q := txn.ListRequest{States: r.StateFilters, ProducerIDs: r.ProducerIDFilters, DurationMillis: -1}
	if r.Version >= 1 {
		q.DurationMillis = r.DurationFilterMillis
	}
	if r.Version >= 2 && r.TransactionalIDPattern != nil {
		q.Pattern = *r.TransactionalIDPattern
	}
	b.transactions.List(q, func(l txn.List) {
		out.ErrorCode, out.UnknownStateFilters = int16(l.Code), l.UnknownStates
		for _, t := range l.Transactions {
			s := kmsg.NewListTransactionsResponseTransactionState()
			s.TransactionalID, s.ProducerID, s.TransactionState = t.ID, t.ProducerID, t.State.String()
			out.TransactionStates = append(out.TransactionStates, s)
		}
		x.replyMessage(out)
	})
}
