package stream

import (
	"slices"

	"weir/core/wal"
)

// trimmer gives up the WAL below what is not committed.
type trimmer struct {
	*base
	streams *streamSet
	upTo    wal.Position  // given up, or waiting
	waiting []shippedTrim // ascending by index
}

// shippedTrim gives up the log below a position once the image of that index is shipped.
type shippedTrim struct {
	index uint64
	upTo  wal.Position
}

// trim gives up the WAL below the lowest position that holds anything
// uncommitted of any stream that the image knows (I5).
func (t *trimmer) trim() {
	if t.log == nil || t.stopping {
		return
	}
	upTo := t.streams.firstUncommitted(t.log.Durable())
	if upTo <= t.upTo {
		return
	}
	t.upTo = upTo
	if t.Shipping == nil {
		t.log.Trim(upTo)
		return
	}
	t.waiting = append(t.waiting, shippedTrim{t.Shipping.AppliedIndex(), upTo})
	t.trimShipped()
}

// trimShipped trims the log by what is shipped (R19).
func (t *trimmer) trimShipped() {
	shipped, n := t.Shipping.Shipped(), 0
	for n < len(t.waiting) && t.waiting[n].index <= shipped {
		n++
	}
	if n == 0 {
		return
	}
	upTo := t.waiting[n-1].upTo
	t.waiting = slices.Delete(t.waiting, 0, n)
	t.log.Trim(upTo)
}
