// SyncGroup (14), versions 0-5: static members (KIP-345, version 3), the protocol in request and answer (KIP-559, 5).
//
// A follower's answer waits for its leader, and all wait until the generation is stored.

package broker

import (
	"bytes"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// syncNamesProtocol is the version from which a member must say which protocol it means.
const syncNamesProtocol = 5

// syncGroup takes the assignments from a leader, and gives each member its own.
func (b *Broker) syncGroup(x exchange, r *kmsg.SyncGroupRequest) {
	for i := range r.GroupAssignment {
		r.GroupAssignment[i].MemberAssignment = bytes.Clone(r.GroupAssignment[i].MemberAssignment) // kept by the group
	}
	x.releaseFrame()
	m, code := b.namedGroupOf(r.Group)
	if r.Version >= syncNamesProtocol && (r.ProtocolType == nil || r.Protocol == nil) {
		code = wire.InconsistentGroupProtocol
	}
	if code != wire.None {
		out := r.ResponseKind().(*kmsg.SyncGroupResponse)
		out.ErrorCode = int16(code)
		x.replyMessage(out)
		return
	}
	m.Sync(r, func(out *kmsg.SyncGroupResponse) { x.replyMessage(out) })
}
