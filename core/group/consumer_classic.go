package group

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinConsumer handles JoinGroup for a group of consumers of the protocol of KIP-848.
func (m *Machine) joinConsumer(g *Group, call *joinCall) {
	call.fail(wire.InconsistentGroupProtocol, "")
}

// syncConsumer handles SyncGroup for such a group.
func (m *Machine) syncConsumer(g *Group, r *kmsg.SyncGroupRequest, call *syncCall) {
	call.fail(wire.UnknownMemberID)
}

// heartbeatConsumer handles Heartbeat for such a group.
func (m *Machine) heartbeatConsumer(g *Group, r *kmsg.HeartbeatRequest, done func(wire.Code)) {
	done(wire.UnknownMemberID)
}

// leaveConsumer handles LeaveGroup for such a group.
func (m *Machine) leaveConsumer(g *Group, r *kmsg.LeaveGroupRequest, out *kmsg.LeaveGroupResponse, done func(*kmsg.LeaveGroupResponse)) {
	out.ErrorCode = wire.UnknownMemberID
	done(out)
}
