package broker

import (
	"time"

	"weir/core/env"
)

const (
	// heldPart is the part, as a divisor, of the room left that one answer may take.
	heldPart = 4
	// heldPatience is how long a client may take for an answer once there is no room.
	heldPatience = 10 * time.Second
	// heldRetry is how long a request that found no room waits before it looks again.
	heldRetry = 500 * time.Millisecond
	// heldLogInterval is the shortest time between two lines about clients that were cut off.
	heldLogInterval = time.Minute
	// heldSource of the limit, in quarters, is the most that the clients of one address
	// hold, so that they cannot keep all others waiting.
	heldSource = 3
)

// heldAnswers counts the answers that clients have not taken yet, but for small ones.
// Records are memory that no cache counts once it has given the slabs up. The nearer
// they are to the limit, or their address to its part of it, the fewer records answers
// have; at the limit requests wait ([turnstile]), and the clients that have kept
// their answers waiting are cut off.
type heldAnswers struct {
	limit       int64 // zero: none
	bytes       int64
	cut         int64 // of bytes, those whose connections were cut
	sources     map[string]*heldBytes
	first, last *heldAnswer // in the order of sending
	// wasCut hears of each answer whose client is cut off; nil: nobody does.
	wasCut func(a *heldAnswer, now env.Time)
}

// heldBytes is what the clients of one address hold, all and cut, as in heldAnswers.
type heldBytes struct{ bytes, cut int64 }

// heldAnswer is one answer on its way.
type heldAnswer struct {
	exchange       exchange
	source         *heldBytes
	bytes          int64
	since          env.Time
	cut            bool
	previous, next *heldAnswer
}

func newHeldAnswers(limit int64) heldAnswers {
	return heldAnswers{limit: limit, sources: make(map[string]*heldBytes)}
}

// left is the room for the clients of an address.
func (h *heldAnswers) left(address string) int64 {
	left := h.limit - h.bytes
	if s := h.sources[address]; s != nil {
		left = min(left, h.limit/4*heldSource-s.bytes)
	}
	return max(left, 0)
}

func (h *heldAnswers) full(x exchange) bool { return h.limit > 0 && h.left(x.address()) == 0 }

// room is how much the next answer may hold beyond its first batch.
func (h *heldAnswers) room(x exchange, most int) int {
	if h.limit == 0 {
		return most
	}
	return int(min(int64(most), h.left(x.address())/heldPart))
}

// add counts an answer until done.
func (h *heldAnswers) add(x exchange, bytes int64, now env.Time) *heldAnswer {
	s := h.sources[x.address()]
	if s == nil {
		s = &heldBytes{}
		h.sources[x.address()] = s
	}
	a := &heldAnswer{exchange: x, source: s, bytes: bytes, since: now, previous: h.last}
	if h.last == nil {
		h.first = a
	} else {
		h.last.next = a
	}
	h.last = a
	h.bytes += bytes
	s.bytes += bytes
	return a
}

func (h *heldAnswers) done(a *heldAnswer) {
	h.bytes -= a.bytes
	a.source.bytes -= a.bytes
	if a.cut {
		h.cut -= a.bytes
		a.source.cut -= a.bytes
	}
	if a.source.bytes == 0 {
		delete(h.sources, a.exchange.address())
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
// room for the clients of an address, as far as patience allows: only theirs, if what
// keeps them waiting is their own.
func (h *heldAnswers) relieve(x exchange, now env.Time) {
	own := h.sources[x.address()]
	for a := h.first; a != nil && now.Sub(a.since) > heldPatience; a = a.next {
		short := h.bytes-h.cut >= h.limit
		if !short && (own == nil || own.bytes-own.cut < h.limit/4*heldSource) {
			return
		}
		if !a.cut && (short || a.source == own) {
			a.cut = true
			h.cut += a.bytes
			a.source.cut += a.bytes
			if h.wasCut != nil {
				h.wasCut(a, now)
			}
			a.exchange.cut()
		}
	}
}
