package group

import (
	"time"

	"weir/core/coordinator"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rebalance begins a rebalance, or goes on with the one that is under way.
func (c *classic) rebalance() {
	if c.phase == phasePreparing {
		c.completeIfJoined()
		return
	}
	c.prepareRebalance()
}

// prepareRebalance waits until all members have joined again: in a new group for as long as more of them come.
func (c *classic) prepareRebalance() {
	if c.phase == phaseCompleting {
		c.resetAssignments()
		c.answerSyncs(wire.RebalanceInProgress)
	}
	c.clearSync()
	initial := c.phase == phaseEmpty
	c.transition(phasePreparing)
	c.m.count.rebalances.Add(1)
	if initial {
		delay := c.m.Config.Groups.InitialRebalanceDelay
		c.newcomer = false
		c.awaitNewcomers(delay, max(c.rebalanceTimeout()-delay, 0))
		return
	}
	if c.allJoined() {
		c.completeJoin(nil)
		return
	}
	c.awaitJoins()
}

// silentWait is the shortest wait for static members that are silent, whatever timeouts they gave: none of them would
// otherwise have the broker look for them again and again.
const silentWait = time.Second

func (c *classic) awaitJoins() {
	c.m.Loop.Reset(&c.joinTimer, c.rebalanceTimeout(), func() { c.completeJoin(nil) })
}

// awaitNewcomers delays the first rebalance of a group: by delay, and again while members come, no longer than remaining.
func (c *classic) awaitNewcomers(delay, remaining time.Duration) {
	c.m.Loop.Reset(&c.joinTimer, delay, func() {
		if !c.newcomer || remaining == 0 {
			c.completeJoin(nil)
			return
		}
		c.newcomer = false
		c.awaitNewcomers(min(c.m.Config.Groups.InitialRebalanceDelay, remaining), max(remaining-delay, 0))
	})
}

// allJoined reports whether nobody is waited for.
func (c *classic) allJoined() bool { return c.joining == len(c.members) && len(c.pending) == 0 }

// completeIfJoined ends the wait once all have joined; the first one of a group has its time.
func (c *classic) completeIfJoined() {
	if c.phase == phasePreparing && c.previous != phaseEmpty && c.allJoined() {
		c.completeJoin(nil)
	}
}

// completeJoin begins the next generation with those that have joined, and static members. If nobody is left, the empty group is
// stored, and done hears of it; done may be nil.
func (c *classic) completeJoin(done func(wire.Code)) {
	c.m.stop(&c.joinTimer)
	for _, mb := range c.members {
		if mb.join == nil && mb.instanceID == nil {
			c.answerSyncError(mb, wire.UnknownMemberID)
			c.detach(mb)
		}
	}
	c.compact()
	if !c.electLeader() && len(c.members) > 0 {
		c.m.Loop.Reset(&c.joinTimer, max(c.rebalanceTimeout(), silentWait), func() { c.completeJoin(nil) }) // until the sessions of the silent end
		hear(done, wire.None)
		return
	}
	c.generation++
	c.clearSync()
	if len(c.members) == 0 {
		c.becomeEmpty(done)
		return
	}
	protocol := c.selectProtocol()
	c.protocol = &protocol
	c.readTopics()
	c.transition(phaseCompleting)
	for _, mb := range c.members {
		c.owes(mb, true)
		c.beat(mb)
		mb.isNew = false
		if call := c.unpark(mb); call != nil {
			c.answerJoin(mb, call)
		}
	}
	generation := c.generation
	c.m.Loop.Reset(&c.syncTimer, c.rebalanceTimeout(), func() { c.syncExpired(generation) })
	hear(done, wire.None)
}

func hear(done func(wire.Code), code wire.Code) {
	if done != nil {
		done(code)
	}
}

// electLeader makes a member leader that has joined; false if none has.
func (c *classic) electLeader() bool {
	if c.leader == nil || c.leader.join != nil {
		return c.leader != nil
	}
	for _, mb := range c.members {
		if mb.join != nil {
			c.leader = mb
			return true
		}
	}
	return false
}

// becomeEmpty stores that a group has no members. If that fails, the generation before is back after a restart, and ends by
// its timeouts.
func (c *classic) becomeEmpty(done func(wire.Code)) {
	c.protocol = nil
	c.readTopics()
	c.transition(phaseEmpty)
	generation := c.generation
	c.m.shard.Do(&coordinator.Operation{
		Key: c.g.id,
		Decide: func() []coordinator.Entry {
			if c.generation != generation || c.phase != phaseEmpty || c.g.members != members(c) {
				return nil
			}
			return []coordinator.Entry{c.record(nil)}
		},
		Done: func(code wire.Code) { hear(done, code) },
	})
}

// clearSync forgets who owes a sync.
func (c *classic) clearSync() {
	for _, mb := range c.members {
		c.owes(mb, false)
	}
	c.m.stop(&c.syncTimer)
}

// syncExpired removes the members that have not asked for their assignment in time.
func (c *classic) syncExpired(generation int32) {
	if c.generation != generation || c.phase != phaseCompleting && c.phase != phaseStable {
		return
	}
	if c.owing == 0 {
		return
	}
	for _, mb := range c.members {
		if mb.owesSync {
			c.answerJoinError(mb, "", wire.UnknownMemberID)
			c.detach(mb)
		}
	}
	c.compact()
	c.prepareRebalance()
}

// syncCall is a SyncGroup request under way.
type syncCall struct {
	out  *kmsg.SyncGroupResponse
	done func(*kmsg.SyncGroupResponse)
}

func (call *syncCall) fail(code wire.Code) {
	call.out.ErrorCode = int16(code)
	call.out.MemberAssignment = []byte{}
	call.done(call.out)
}

// Sync handles SyncGroup. The request must not lie in memory that is given back. done runs once.
func (m *Machine) Sync(r *kmsg.SyncGroupRequest, done func(*kmsg.SyncGroupResponse)) {
	call := &syncCall{r.ResponseKind().(*kmsg.SyncGroupResponse), done}
	g := m.groups[r.Group]
	switch {
	case r.Group == "":
		call.fail(wire.InvalidGroupID)
	case g == nil || g.members == nil:
		call.fail(wire.UnknownMemberID)
	case g.members.kind() != Classic:
		m.syncConsumer(g, r, call)
	default:
		m.classicOf(g).syncGroup(r, call)
	}
}

func (c *classic) syncGroup(r *kmsg.SyncGroupRequest, call *syncCall) {
	mb, code := c.validate(r.MemberID, r.InstanceID)
	switch {
	case code != wire.None:
	case r.Generation != c.generation:
		code = wire.IllegalGeneration
	case differs(r.ProtocolType, &c.protocolName) || differs(r.Protocol, c.protocol):
		code = wire.InconsistentGroupProtocol
	case c.phase == phasePreparing:
		code = wire.RebalanceInProgress
	case c.phase == phaseEmpty:
		code = wire.UnknownMemberID
	}
	if code != wire.None {
		call.fail(code)
		return
	}
	c.owesNoSync(mb)
	if c.phase == phaseStable {
		c.answerSync(mb, call)
		return
	}
	c.answerSyncError(mb, wire.RebalanceInProgress)
	mb.sync = call
	if mb == c.leader {
		c.storeAssignments(r.GroupAssignment)
	}
}

// differs reports whether a client named something else.
func differs(asked, is *string) bool { return asked != nil && is != nil && *asked != *is }

func (c *classic) owesNoSync(mb *member) {
	if c.owes(mb, false); c.owing == 0 {
		c.m.stop(&c.syncTimer)
	}
}

// owes notes whether a member owes a sync.
func (c *classic) owes(mb *member, owes bool) {
	switch {
	case owes && !mb.owesSync:
		c.owing++
	case !owes && mb.owesSync:
		c.owing--
	}
	mb.owesSync = owes
}

// storeAssignments stores the generation with what its leader has assigned. Members whom the leader left out have nothing.
func (c *classic) storeAssignments(in []kmsg.SyncGroupRequestGroupAssignment) {
	generation := c.generation
	assigned := make(map[string][]byte, len(in))
	for i := range in {
		assigned[in[i].MemberID] = in[i].MemberAssignment
	}
	of := func(mb *member) []byte {
		if a := assigned[mb.id]; a != nil {
			return a
		}
		return []byte{}
	}
	current := func() bool {
		return c.g.members == members(c) && c.phase == phaseCompleting && c.generation == generation
	}
	refused := wire.Code(wire.None)
	c.m.shard.Do(&coordinator.Operation{
		Key: c.g.id,
		Decide: func() []coordinator.Entry {
			if !current() {
				return nil
			}
			more := int64(-len(c.stored))
			e := c.record(func(mb *member, s *kmsg.GroupMetadataValueMember) {
				s.Assignment = of(mb)
				more += int64(len(s.Assignment) - len(mb.assignment))
			})
			if !c.m.shard.Admits(more + int64(len(e.Value))) {
				refused = wire.CoordinatorNotAvailable
				return nil
			}
			return []coordinator.Entry{e}
		},
		Done: func(code wire.Code) {
			if code == wire.None {
				code = refused
			}
			switch {
			case c.m.closed || !current(): // what was parked is answered
			case code != wire.None:
				c.resetAssignments()
				c.answerSyncs(code)
				c.prepareRebalance()
			default:
				for _, mb := range c.members {
					mb.assignment = of(mb)
					c.m.charge(mb)
				}
				c.transition(phaseStable)
				c.answerSyncs(wire.None)
			}
		},
	})
}

func (c *classic) resetAssignments() {
	for _, mb := range c.members {
		mb.assignment = []byte{}
		c.m.charge(mb)
	}
}

// answerSyncs answers what is parked.
func (c *classic) answerSyncs(code wire.Code) {
	for _, mb := range append([]*member(nil), c.members...) {
		call := mb.sync
		if call == nil {
			continue
		}
		mb.sync = nil
		c.beat(mb)
		if code != wire.None {
			call.fail(code)
			continue
		}
		c.answerSync(mb, call)
	}
}

func (c *classic) answerSync(mb *member, call *syncCall) {
	call.out.ProtocolType, call.out.Protocol, call.out.MemberAssignment = kmsg.StringPtr(c.protocolName), c.protocol, mb.assignment
	call.done(call.out)
}

func (c *classic) answerSyncError(mb *member, code wire.Code) {
	if call := mb.sync; call != nil {
		mb.sync = nil
		call.fail(code)
	}
}

// Heartbeat handles Heartbeat, at once.
func (m *Machine) Heartbeat(r *kmsg.HeartbeatRequest, done func(wire.Code)) {
	g := m.groups[r.Group]
	switch {
	case r.Group == "":
		done(wire.InvalidGroupID)
	case g == nil || g.members == nil:
		done(wire.UnknownMemberID)
	case g.members.kind() != Classic:
		m.heartbeatConsumer(g, r, done)
	default:
		done(m.classicOf(g).heartbeat(r))
	}
}

func (c *classic) heartbeat(r *kmsg.HeartbeatRequest) wire.Code {
	mb, code := c.validate(r.MemberID, r.InstanceID)
	switch {
	case code != wire.None:
		return code
	case r.Generation != c.generation:
		return wire.IllegalGeneration
	case c.phase == phaseEmpty:
		return wire.UnknownMemberID
	}
	c.beat(mb)
	if c.phase == phasePreparing {
		return wire.RebalanceInProgress
	}
	return wire.None
}

// leaveMany is the version of LeaveGroup from which many members may leave (KIP-345).
const leaveMany = 3

// Leave handles LeaveGroup. done runs once.
func (m *Machine) Leave(r *kmsg.LeaveGroupRequest, done func(*kmsg.LeaveGroupResponse)) {
	out := r.ResponseKind().(*kmsg.LeaveGroupResponse)
	fail := func(code wire.Code) {
		out.ErrorCode = int16(code)
		done(out)
	}
	if r.Version < leaveMany {
		one := kmsg.NewLeaveGroupRequestMember()
		one.MemberID = r.MemberID
		r.Members = []kmsg.LeaveGroupRequestMember{one}
	}
	g := m.groups[r.Group]
	switch {
	case r.Group == "":
		fail(wire.InvalidGroupID)
	case g == nil:
		done(unknownMembers(r, out))
	case g.members != nil && g.members.kind() != Classic:
		m.leaveConsumer(g, r, out, done)
	default:
		c := m.classicOf(g)
		c.leave(r, out, func(code wire.Code) {
			if code != wire.None {
				out.Members = nil
				fail(code)
				return
			}
			if r.Version < leaveMany {
				out.ErrorCode, out.Members = out.Members[0].ErrorCode, nil
			}
			done(out)
		})
		c.dropUnused()
	}
}

// unknownMembers answers for the members of a group that is not there.
func unknownMembers(r *kmsg.LeaveGroupRequest, out *kmsg.LeaveGroupResponse) *kmsg.LeaveGroupResponse {
	if r.Version < leaveMany {
		out.ErrorCode = wire.UnknownMemberID
		return out
	}
	for i := range r.Members {
		a := kmsg.NewLeaveGroupResponseMember()
		a.MemberID, a.InstanceID, a.ErrorCode = r.Members[i].MemberID, r.Members[i].InstanceID, wire.UnknownMemberID
		out.Members = append(out.Members, a)
	}
	return out
}

// leave removes members, and answers for each.
func (c *classic) leave(r *kmsg.LeaveGroupRequest, out *kmsg.LeaveGroupResponse, done func(wire.Code)) {
	left := 0
	for i := range r.Members {
		q := &r.Members[i]
		a := kmsg.NewLeaveGroupResponseMember()
		a.MemberID, a.InstanceID = q.MemberID, q.InstanceID
		code := c.leaveOne(q)
		if a.ErrorCode = int16(code); code == wire.None {
			left++
		}
		out.Members = append(out.Members, a)
	}
	c.compact() // once: a request may name as many members as a group has
	switch {
	case left == 0:
		done(wire.None)
	case c.phase == phaseStable || c.phase == phaseCompleting:
		c.leaveAndRebalance(done)
	case c.phase == phasePreparing && c.previous != phaseEmpty && c.allJoined():
		c.completeJoin(done)
	default:
		done(wire.None)
	}
}

// leaveAndRebalance is prepareRebalance whose empty group is stored before done.
func (c *classic) leaveAndRebalance(done func(wire.Code)) {
	if len(c.members) > 0 || len(c.pending) > 0 {
		c.prepareRebalance()
		done(wire.None)
		return
	}
	c.clearSync()
	c.transition(phasePreparing)
	c.completeJoin(done)
}

func (c *classic) leaveOne(q *kmsg.LeaveGroupRequestMember) wire.Code {
	var mb *member
	switch {
	case q.MemberID == "":
		// Tools remove a static member by its instance id.
		if q.InstanceID == nil || c.static[*q.InstanceID] == nil {
			return wire.UnknownMemberID
		}
		mb = c.static[*q.InstanceID]
	case c.pending[q.MemberID] != nil:
		c.removePending(q.MemberID)
		return wire.None
	default:
		var code wire.Code
		if mb, code = c.validate(q.MemberID, q.InstanceID); code != wire.None {
			return code
		}
	}
	c.answerJoinError(mb, "", wire.UnknownMemberID)
	c.answerSyncError(mb, wire.UnknownMemberID)
	c.detach(mb)
	return wire.None
}
