package clean

import (
	"weir/core/object"
	"weir/core/record"
)

// Indexer reads what is dirty of a log into Offsets, in runs of batches, each of one part.
type Indexer struct {
	// Offsets takes the keys.
	Offsets *Offsets
	// From is the first dirty offset.
	From int64
	// BatchBytesMax bounds what a batch may decompress to; a larger one is passed over.
	BatchBytesMax int

	transactions transactions
}

// Begin starts a run, with the aborted transactions that overlap it, ascending by first offset.
func (x *Indexer) Begin(aborted []object.AbortedTransaction) { x.transactions.begin(aborted) }

// Add reads the next batch, which is sound. False: there is no room for its keys, and nothing of it was noted.
func (x *Indexer) Add(batch []byte) bool {
	h, err := record.ReadHeader(batch)
	if err != nil {
		return true
	}
	switch {
	case h.Control() && h.Records == 0: // a pass before emptied it
	case h.Control():
		x.transactions.marker(&h)
	case x.transactions.batch(&h):
	case h.NextOffset() <= x.From:
	case x.Offsets.Full(int(h.Records)) && x.Offsets.used > 0:
		return false
	default:
		x.note(batch)
	}
	x.Offsets.end = max(x.Offsets.end, h.NextOffset())
	return true
}

// note takes the keys of a batch: all of them, since half of those of a batch that does not open would be as good as none.
func (x *Indexer) note(batch []byte) {
	_ = record.Each(batch, x.BatchBytesMax, func(r record.Record) bool {
		if r.Key != nil && r.Offset >= x.From && !x.Offsets.Full(1) {
			x.Offsets.put(r.Key, r.Offset)
		}
		return true
	})
}
