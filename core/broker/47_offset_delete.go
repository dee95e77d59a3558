// OffsetDelete (47), version 0 (KIP-496).

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetDelete deletes offsets of topics that no member of the group reads.
func (b *Broker) offsetDelete(x exchange, r *kmsg.OffsetDeleteRequest) {
	x.releaseFrame()
	m, code := b.namedGroupOf(r.Group)
	if code != wire.None {
		out := r.ResponseKind().(*kmsg.OffsetDeleteResponse)
		out.ErrorCode = int16(code)
		x.replyMessage(out)
		return
	}
	m.DeleteOffsets(r, func(out *kmsg.OffsetDeleteResponse) { x.replyMessage(out) })
}
