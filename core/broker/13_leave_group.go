// LeaveGroup (13), versions 0-5: many members, and static ones (KIP-345, version 3), reasons (KIP-800, 5).

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveGroup removes members from a group.
func (b *Broker) leaveGroup(x exchange, r *kmsg.LeaveGroupRequest) {
	x.releaseFrame()
	m, code := b.namedGroupOf(r.Group)
	if code != wire.None {
		out := r.ResponseKind().(*kmsg.LeaveGroupResponse)
		out.ErrorCode = int16(code)
		x.replyMessage(out)
		return
	}
	m.Leave(r, func(out *kmsg.LeaveGroupResponse) { x.replyMessage(out) })
}
