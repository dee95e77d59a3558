package broker

import (
	"time"

	"weir/core/env"
)

const (
	// heldPart is the part, as a divisor, of the room left that one answer may take.
	heldPart = 4
	// heldPatience is how long a client may take for an answer once there is no room.
	heldPatience = 2 * time.Second
)

// heldAnswers counts the records in answers that clients have not taken yet: memory
// that no cache counts once it has given the slabs up. The nearer they are to the
// limit, the smaller answers become; at the limit there are none with records, and
// the clients that have kept theirs waiting are cut off.
type heldAnswers struct {
	limit       int64 // zero: none
	bytes       int64
	cut         int64       // of bytes, those whose connections were cut
	first, last *heldAnswer // in the order of sending
}

// heldAnswer is one answer on its way.
type heldAnswer struct {
	exchange       exchange
	bytes          int64
	since          env.Time
	cut            bool
	previous, next *heldAnswer
}

func (h *heldAnswers) full() bool { return h.limit > 0 && h.bytes >= h.limit }

// room is how much the next answer may hold beyond its first batch.
func (h *heldAnswers) room(most int) int {
	if h.limit == 0 {
		return most
	}
	return int(min(int64(most), max(h.limit-h.bytes, 0)/heldPart))
}

// add counts an answer until done.
func (h *heldAnswers) add(x exchange, bytes int64, now env.Time) *heldAnswer {
	a := &heldAnswer{exchange: x, bytes: bytes, since: now, previous: h.last}
	if h.last == nil {
		h.first = a
	} else {
		h.last.next = a
	}
	h.last = a
	h.bytes += bytes
	return a
}

func (h *heldAnswers) done(a *heldAnswer) {
	h.bytes -= a.bytes
	if a.cut {
		h.cut -= a.bytes
	}
	if a.previous == nil {
		h.first = a.next
	} else {
		a.previous.next = a.next
	}
	if a.next == nil {
		h.last = a.previous
	} else {
		a.next.previous = a.previous
	}
}

// relieve cuts the connections whose answers have waited longest until there will be
// room, as far as patience allows.
func (h *heldAnswers) relieve(now env.Time) {
	for a := h.first; a != nil && h.bytes-h.cut >= h.limit && now.Sub(a.since) > heldPatience; a = a.next {
		if !a.cut {
			a.cut = true
			h.cut += a.bytes
			a.exchange.cut()
		}
	}
}
