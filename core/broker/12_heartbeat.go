// Heartbeat (12), versions 0-4: static members (KIP-345, version 3).

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeat keeps a member alive, and tells it to join again.
func (b *Broker) heartbeat(x exchange, r *kmsg.HeartbeatRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.HeartbeatResponse)
	answer := func(code wire.Code) {
		out.ErrorCode = int16(code)
		x.replyMessage(out)
	}
	switch m, code := b.namedGroupOf(r.Group); code {
	case wire.None:
		m.Heartbeat(r, answer)
	case wire.CoordinatorLoadInProgress:
		answer(wire.None) // sessions begin when the group is loaded
	default:
		answer(code)
	}
}
