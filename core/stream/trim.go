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
	slot    uint64        // below which the slots of an object WAL may go, or will
	waiting []shippedTrim // ascending by index
}

// shippedTrim gives up the log below a position once the image of that index is shipped, and the slots below the one
// with which recovery begins by that image.
type shippedTrim struct {
	index uint64
	upTo  wal.Position
	slot  uint64
}

// trim gives up the WAL below the lowest position that holds anything
// uncommitted of any stream that the image knows (I5).
func (t *trimmer) trim() {
	if t.log == nil || t.stopping {
		return
	}
	upTo := t.streams.firstUncommitted(t.log.Durable())
	slot, _ := t.Image.ObjectWAL(t.Epoch)
	if upTo <= t.upTo && slot <= t.slot {
		return
	}
	t.upTo, t.slot = max(t.upTo, upTo), max(t.slot, slot)
	if t.Shipping == nil {
		t.giveUp(t.upTo, t.slot)
		return
	}
	t.waiting = append(t.waiting, shippedTrim{t.Shipping.AppliedIndex(), t.upTo, t.slot})
	t.trimShipped()
}

// giveUp trims the log, so that the next commit can name where recovery would begin; and deletes the slots below
// where it begins by a commit before that.
func (t *trimmer) giveUp(upTo wal.Position, slot uint64) {
	t.log.Trim(upTo)
	t.log.Recorded(slot)
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
	last := t.waiting[n-1]
	t.waiting = slices.Delete(t.waiting, 0, n)
	t.giveUp(last.upTo, last.slot)
}
