package clean

import (
	"weir/core/object"
	"weir/core/record"
)

// transactions follows the transactions of a log while its batches pass, in order: Kafka's CleanedTransactionMetadata.
type transactions struct {
	aborted  []object.AbortedTransaction // to come, ascending by first offset
	active   map[int64]bool              // producers whose batches belong to an aborted transaction
	observed map[int64]bool              // producers of which a batch came since their last marker
}

// begin starts a run of batches whose aborted transactions are given, those that began before it with their first
// batch in the run.
func (t *transactions) begin(aborted []object.AbortedTransaction) {
	t.aborted, t.active = aborted, nil
}

// batch takes a batch of data, and reports whether its transaction was aborted.
func (t *transactions) batch(h *record.Header) bool {
	if !h.Transactional() {
		return false
	}
	t.activate(h.NextOffset())
	if t.observed == nil {
		t.observed = make(map[int64]bool)
	}
	t.observed[h.ProducerID] = true
	return t.active[h.ProducerID]
}

// marker takes a control batch, and reports whether no batch of its transaction was there.
func (t *transactions) marker(h *record.Header) (alone bool) {
	t.activate(h.NextOffset())
	alone = !t.observed[h.ProducerID]
	delete(t.observed, h.ProducerID)
	delete(t.active, h.ProducerID)
	return alone
}

// activate takes the aborted transactions that begin below an offset.
func (t *transactions) activate(below int64) {
	for len(t.aborted) > 0 && t.aborted[0].First < below {
		if t.active == nil {
			t.active = make(map[int64]bool)
		}
		t.active[t.aborted[0].Producer] = true
		t.aborted = t.aborted[1:]
	}
}
