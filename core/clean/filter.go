package clean

import (
	"maps"

	"weir/core/object"
	"weir/core/record"
)

// LastRecord is what a partition knows of an active producer.
type LastRecord struct {
	// Data is the offset of its last record of data at its epoch; -1: a marker is all.
	Data  int64
	Epoch int16
}

// Filter leaves of a log, batch by batch from its start, what survives a pass.
type Filter struct {
	// Offsets is where each key is last. It is read only.
	Offsets *Offsets
	// Now is the time of the pass, and DeleteRetention delete.retention.ms, both in milliseconds.
	Now, DeleteRetention int64
	// Producers are the active ones, by id. It is read only.
	Producers map[int64]LastRecord
	// BatchBytesMax bounds what a batch may decompress to; a larger one stays as it is.
	BatchBytesMax int

	transactions transactions
	unopened     bool // a batch was passed that may hide anything
}

// Outcome says what became of a batch.
type Outcome struct {
	// Kept says that something of it stays; Same, that all of it does, as it was.
	Kept, Same bool
	// MaxTimestamp is that of what stays.
	MaxTimestamp int64
	// Unopened says that it stays because it did not open.
	Unopened bool
}

// Clone returns a filter that goes on like this one, each without the other.
func (f *Filter) Clone() Filter {
	c := *f
	c.transactions.active, c.transactions.observed = maps.Clone(f.transactions.active), maps.Clone(f.transactions.observed)
	return c
}

// Begin starts a run, with the aborted transactions that overlap it, ascending by first offset.
func (f *Filter) Begin(aborted []object.AbortedTransaction) { f.transactions.begin(aborted) }

// Clean appends to dst what stays of the next batch, which is sound and h its header.
func (f *Filter) Clean(dst []byte, h *record.Header, batch []byte) ([]byte, Outcome) {
	switch {
	case h.Control() && h.Records == 0: // a pass before emptied it
		return f.emptied(dst, h)
	case h.Control():
		return f.marker(dst, h, batch)
	case f.transactions.batch(h):
		return f.emptied(dst, h)
	}
	horizon, set := h.DeleteHorizon()
	tombstones := !set || f.Now < horizon || f.unopened
	kept, err := record.Filter(batch, f.BatchBytesMax, func(r *record.Record) bool { return f.survives(r, tombstones) })
	switch {
	case err != nil:
		f.unopened = true
		return append(dst, batch...), Outcome{Kept: true, Same: true, MaxTimestamp: h.MaxTimestamp, Unopened: true}
	case kept.Kept() == 0:
		return f.emptied(dst, h)
	}
	return f.rewrite(dst, h, batch, &kept, kept.Tombstones && !set)
}

// survives decides about a record.
func (f *Filter) survives(r *record.Record, tombstones bool) bool {
	if r.Offset >= f.Offsets.end {
		return true
	}
	return r.Key != nil && r.Offset >= f.Offsets.last(r.Key) && (r.Value != nil || tombstones)
}

// marker decides about a control batch.
func (f *Filter) marker(dst []byte, h *record.Header, batch []byte) ([]byte, Outcome) {
	alone := f.transactions.marker(h)
	horizon, set := h.DeleteHorizon()
	if alone && set && horizon <= f.Now {
		return f.emptied(dst, h)
	}
	all, err := record.Filter(batch, f.BatchBytesMax, func(*record.Record) bool { return true })
	if err != nil {
		return append(dst, batch...), Outcome{Kept: true, Same: true, MaxTimestamp: h.MaxTimestamp, Unopened: true}
	}
	return f.rewrite(dst, h, batch, &all, alone && !set)
}

// emptied leaves the header of a batch if it is its producer's last.
func (f *Filter) emptied(dst []byte, h *record.Header) ([]byte, Outcome) {
	if !f.isLast(h) {
		return dst, Outcome{}
	}
	return record.AppendEmpty(dst, h), Outcome{Kept: true, Same: h.Records == 0, MaxTimestamp: h.MaxTimestamp}
}

// isLast reports whether a batch has what a partition must not forget of an active producer: its last sequence or, where
// only a marker came at its epoch, that.
func (f *Filter) isLast(h *record.Header) bool {
	last, active := f.Producers[h.ProducerID]
	if !active {
		return false
	}
	if last.Data < 0 {
		return h.Control() && h.ProducerEpoch == last.Epoch
	}
	return h.NextOffset()-1 == last.Data
}

// rewrite leaves the kept records of a batch, with a delete horizon from now on if it is to get one.
func (f *Filter) rewrite(dst []byte, h *record.Header, batch []byte, kept *record.Filtered, horizon bool) ([]byte, Outcome) {
	if kept.Whole() && !horizon {
		return append(dst, batch...), Outcome{Kept: true, Same: true, MaxTimestamp: h.MaxTimestamp}
	}
	until := int64(-1)
	if horizon {
		until = f.Now + min(f.DeleteRetention, maxRetention)
	}
	out, largest, err := kept.Append(dst, until)
	if err != nil { // a codec that does not write what it has read
		f.unopened = true
		return append(dst, batch...), Outcome{Kept: true, Same: true, MaxTimestamp: h.MaxTimestamp, Unopened: true}
	}
	return out, Outcome{Kept: true, MaxTimestamp: largest}
}

// maxRetention keeps horizons from overflowing: delete.retention.ms may be any 63-bit number.
const maxRetention = 1 << 52
