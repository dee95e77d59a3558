// JoinGroup (11), versions 0-9: a rebalance timeout (KIP-62, version 1), ids before joining (KIP-394, 4), static members
// (KIP-345, 5), the protocol's type in the answer (KIP-559, 7), reasons (KIP-800, 8), a leader that keeps the assignment (KIP-814, 9).
//
// The answer may wait for other members as long as the group's rebalance timeout. A member whose connection goes meanwhile
// stays a member, and may join again on another.

package broker

import (
	"bytes"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinGroup makes a client a member of a group.
func (b *Broker) joinGroup(x exchange, r *kmsg.JoinGroupRequest) {
	for i := range r.Protocols {
		r.Protocols[i].Metadata = bytes.Clone(r.Protocols[i].Metadata) // kept by the group
	}
	x.releaseFrame()
	m, code := b.namedGroupOf(r.Group)
	if code != wire.None {
		out := r.ResponseKind().(*kmsg.JoinGroupResponse)
		out.ErrorCode, out.Generation, out.MemberID = int16(code), -1, r.MemberID
		x.replyMessage(out)
		return
	}
	m.Join(r, clientOf(x), func(out *kmsg.JoinGroupResponse) { x.replyMessage(out) })
}
