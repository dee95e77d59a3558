package stream

import (
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
)

// reach bounds the offsets that a stream gives (R16): by what is committed of it and certainly outlives any disk, so that whoever gives
// its WAL up knows where it ended at most. It is looked at only by an append that would pass the bound.
type reach struct {
	from  int64  // committed and shipped
	next  int64  // committed; it becomes from once index is shipped. Not above from: nothing waits
	index uint64 // of an image that has next
}

// reaches reports whether offsets up to end may be given now.
func (s *Stream) reaches(end int64) bool {
	b := &s.engine.base
	if end-s.reach.from <= b.UncommittedOffsetsMax {
		return true
	}
	s.reach.renew(s.committed, b.Shipping)
	return end-s.reach.from <= b.UncommittedOffsetsMax
}

// settled reports whether everything that was appended is committed, and certainly outlives any disk.
func (s *Stream) settled() bool {
	if s.committed < s.end {
		return false
	}
	s.reach.renew(s.committed, s.engine.base.Shipping)
	return s.reach.from >= s.end
}

func (r *reach) renew(committed int64, shipping Shipping) {
	if shipping == nil {
		r.from = committed
		return
	}
	if r.next > r.from && r.index <= shipping.Shipped() {
		r.from = r.next
	}
	if r.next <= r.from && committed > r.from {
		r.next, r.index = committed, shipping.AppliedIndex()
	}
	if r.next > r.from && r.index <= shipping.Shipped() {
		r.from = r.next
	}
}

// passOver reads what is lost of a log from an offset on (R16): an empty batch takes the offsets, behind which readers go on.
func (l *CommittedLog) passOver(part *metadata.Part, offset int64) Fetched {
	o := &l.reader.options
	o.Telemetry.Hit("stream read: passes over what was given up")
	slab := o.Env.Memory.Alloc(record.HeaderBytes)
	batch := record.AppendFiller(slab.Data[:0], offset, min(part.End-offset, metadata.UncommittedOffsetsMax), part.LeaderEpoch)
	return Fetched{Batches: [][]byte{batch}, Bytes: len(batch), Slabs: []*env.Slab{slab}}
}
