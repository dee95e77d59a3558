package group

import (
	"bytes"
	"slices"
	"time"

	"weir/core/coordinator"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// joinKnownMember is the version from which a member must know its id before it joins (KIP-394), and
	// joinSkipsAssignment the one from which a leader may be told to keep the assignment (KIP-814).
	joinKnownMember     = 4
	joinSkipsAssignment = 9
	// newMemberTimeout is how long the first join of a member may be parked. Its client cannot send heartbeats, since it does
	// not know its id before the answer.
	newMemberTimeout = 5 * time.Minute
)

// joinCall is a JoinGroup request under way.
type joinCall struct {
	*kmsg.JoinGroupRequest
	client Client
	out    *kmsg.JoinGroupResponse
	done   func(*kmsg.JoinGroupResponse)
}

// Join handles JoinGroup. The request must not lie in memory that is given back. done runs once.
func (m *Machine) Join(r *kmsg.JoinGroupRequest, client Client, done func(*kmsg.JoinGroupResponse)) {
	call := &joinCall{r, client, r.ResponseKind().(*kmsg.JoinGroupResponse), done}
	call.out.Generation = -1
	if r.Version < 1 {
		r.RebalanceTimeoutMillis = r.SessionTimeoutMillis
	}
	forgetUnused(r)
	r.Protocols = onceEach(r.Protocols)
	g := m.groups[r.Group]
	switch {
	case r.Group == "":
		call.fail(wire.InvalidGroupID, r.MemberID)
	case millis(r.SessionTimeoutMillis) < m.Config.Groups.MinSessionTimeout || millis(r.SessionTimeoutMillis) > m.Config.Groups.MaxSessionTimeout:
		call.fail(wire.InvalidSessionTimeout, r.MemberID)
	case g == nil && r.MemberID != "":
		call.fail(wire.UnknownMemberID, r.MemberID)
	case g == nil && (r.ProtocolType == "" || len(r.Protocols) == 0): // no group appears
		call.fail(wire.InconsistentGroupProtocol, "")
	case g != nil && g.members != nil && g.members.kind() != Classic:
		m.joinConsumer(g, call)
	default:
		g = m.group(r.Group)
		m.joinClassic(g, call)
		if c, ok := g.members.(*classic); ok {
			c.dropUnused()
		}
	}
}

// forgetUnused drops what nobody asks for of a request that may be parked, and whose protocols stay with the member. A tag that is not
// known here lies in the frame, which may have a hundred megabytes, and would keep it.
func forgetUnused(r *kmsg.JoinGroupRequest) {
	r.Reason, r.UnknownTags = nil, kmsg.Tags{}
	for i := range r.Protocols {
		r.Protocols[i].UnknownTags = kmsg.Tags{}
	}
}

// onceEach drops protocols that are there again. The others have an array of their own: millions may have been dropped.
func onceEach(in []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	seen := make(map[string]bool)
	return slices.Clone(slices.DeleteFunc(in, func(p kmsg.JoinGroupRequestProtocol) bool {
		again := seen[p.Name]
		seen[p.Name] = true
		return again
	}))
}

func (call *joinCall) fail(code wire.Code, memberID string) {
	call.out.ErrorCode, call.out.MemberID = int16(code), memberID
	call.done(call.out)
}

// joinClassic handles JoinGroup for a classic group, or one that may become one.
func (m *Machine) joinClassic(g *Group, call *joinCall) {
	c := m.classicOf(g)
	switch {
	case !c.hasRoom(call.MemberID):
		if mb := c.byID[call.MemberID]; mb != nil {
			c.answerJoinError(mb, "", wire.GroupMaxSizeReached)
			c.answerSyncError(mb, wire.UnknownMemberID)
			c.remove(mb)
		}
		c.removePending(call.MemberID)
		call.fail(wire.GroupMaxSizeReached, "")
		c.completeIfJoined()
	case call.MemberID == "":
		c.joinNew(call)
	default:
		c.rejoin(call)
	}
}

// hasRoom reports whether a group may take a member. While a rebalance is prepared, those count that have joined: so the
// last to rejoin lose if the maximum was lowered.
func (c *classic) hasRoom(memberID string) bool {
	mb, maximum := c.byID[memberID], int(c.m.Config.Groups.MaxSize)
	switch c.phase {
	case phaseEmpty:
		return true
	case phasePreparing:
		return mb != nil && mb.join != nil || c.joining < maximum
	}
	return mb != nil || len(c.members) < maximum
}

// joinNew handles a member that has no id yet.
func (c *classic) joinNew(call *joinCall) {
	switch {
	case !c.supports(call.ProtocolType, call.Protocols):
		call.fail(wire.InconsistentGroupProtocol, "")
	case call.InstanceID != nil:
		c.joinStatic(call)
	case !c.m.admitsJoin(call, 0):
		call.fail(wire.CoordinatorNotAvailable, "")
	case call.Version >= joinKnownMember:
		id := c.m.memberID(call.client.ID)
		c.addPending(id, millis(call.SessionTimeoutMillis))
		call.fail(wire.MemberIDRequired, id)
	default:
		c.addMember(call, c.m.memberID(call.client.ID))
	}
}

func (c *classic) addPending(id string, timeout time.Duration) {
	p := &pendingMember{charged: int64(pendingBytes + len(id) + len(c.g.id))} // whose group may have nothing else
	c.pending[id] = p
	c.m.shard.Hold(p.charged)
	c.m.extend(&p.session, timeout, func() {
		c.removePending(id)
		if c.phase == phasePreparing && c.allJoined() {
			c.completeJoin(nil)
		}
		c.dropUnused()
	})
}

// rejoin handles a member with an id.
func (c *classic) rejoin(call *joinCall) {
	if !c.supports(call.ProtocolType, call.Protocols) {
		call.fail(wire.InconsistentGroupProtocol, call.MemberID)
		return
	}
	if c.pending[call.MemberID] != nil {
		if call.InstanceID != nil {
			call.fail(wire.UnknownServerError, call.MemberID) // as Kafka: ids that are handed out are of dynamic members
			return
		}
		if !c.m.admitsJoin(call, c.pending[call.MemberID].charged) {
			call.fail(wire.CoordinatorNotAvailable, call.MemberID)
			return
		}
		c.removePending(call.MemberID)
		c.addMember(call, call.MemberID)
		return
	}
	mb, code := c.validate(call.MemberID, call.InstanceID)
	if code != wire.None {
		call.fail(code, call.MemberID)
		return
	}
	unchanged := mb.matches(call.Protocols)
	if !unchanged && !c.m.admitsJoin(call, mb.said()) {
		call.fail(wire.CoordinatorNotAvailable, call.MemberID)
		return
	}
	switch c.phase {
	case phasePreparing:
		c.update(mb, call)
		c.completeIfJoined()
	case phaseCompleting:
		if unchanged {
			c.answerJoin(mb, call) // the answer before may have been lost
			return
		}
		c.update(mb, call)
		c.prepareRebalance()
	case phaseStable:
		if unchanged && mb != c.leader {
			c.answerJoin(mb, call)
			return
		}
		c.update(mb, call)
		c.prepareRebalance()
	default:
		call.fail(wire.UnknownMemberID, call.MemberID)
	}
}

// validate finds a member, and checks its instance id.
func (c *classic) validate(memberID string, instanceID *string) (*member, wire.Code) {
	if instanceID != nil {
		switch mb := c.static[*instanceID]; {
		case mb == nil:
			return nil, wire.UnknownMemberID
		case mb.id != memberID:
			return nil, wire.FencedInstanceID
		}
	}
	mb := c.byID[memberID]
	if mb == nil {
		return nil, wire.UnknownMemberID
	}
	return mb, wire.None
}

func (mb *member) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(mb.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// addMember adds a new member, whose join is parked until the rebalance is complete.
func (c *classic) addMember(call *joinCall, id string) {
	if c.phase == phasePreparing && c.previous == phaseEmpty {
		c.newcomer = true
	}
	if len(c.members) == 0 {
		c.protocolName = call.ProtocolType
	}
	mb := &member{
		id: id, instanceID: call.InstanceID, client: call.client, isNew: true, assignment: []byte{},
		sessionTimeout: millis(call.SessionTimeoutMillis), rebalanceTimeout: millis(call.RebalanceTimeoutMillis), protocols: call.Protocols,
	}
	c.add(mb)
	c.m.charge(mb)
	c.park(mb, call)
	c.beatFor(mb, newMemberTimeout)
	c.rebalance()
}

// update takes over what a member says when it joins again, and parks its join.
func (c *classic) update(mb *member, call *joinCall) {
	c.revise(mb, call)
	c.park(mb, call)
}

func (c *classic) revise(mb *member, call *joinCall) {
	c.vote(mb, -1)
	mb.protocols = call.Protocols
	c.vote(mb, 1)
	mb.sessionTimeout, mb.rebalanceTimeout = millis(call.SessionTimeoutMillis), millis(call.RebalanceTimeoutMillis)
	c.m.charge(mb)
}

// park keeps a join until the rebalance is complete. Of two for one member the newest counts: the client has given up the
// other, and maybe its connection.
func (c *classic) park(mb *member, call *joinCall) {
	c.answerJoinError(mb, mb.id, wire.RebalanceInProgress)
	mb.join = call
	c.joining++
}

// answerJoinError answers the parked join of a member, if there is one.
func (c *classic) answerJoinError(mb *member, memberID string, code wire.Code) {
	if call := c.unpark(mb); call != nil {
		call.fail(code, memberID)
	}
}

func (c *classic) unpark(mb *member) *joinCall {
	call := mb.join
	if call != nil {
		mb.join = nil
		c.joining--
	}
	return call
}

// answerJoin answers a join with the generation as it is.
func (c *classic) answerJoin(mb *member, call *joinCall) {
	out := call.out
	if mb == c.leader {
		out.Members = c.joinedMembers()
	}
	c.describeGeneration(out)
	out.MemberID = mb.id
	call.done(out)
}

func (c *classic) describeGeneration(out *kmsg.JoinGroupResponse) {
	out.Generation, out.Protocol = c.generation, c.protocol
	if c.protocolName != "" {
		out.ProtocolType = kmsg.StringPtr(c.protocolName)
	}
	if c.leader != nil {
		out.LeaderID = c.leader.id
	}
}

func (c *classic) joinedMembers() []kmsg.JoinGroupResponseMember {
	out := make([]kmsg.JoinGroupResponseMember, len(c.members))
	for i, mb := range c.members {
		out[i] = kmsg.NewJoinGroupResponseMember()
		out[i].MemberID, out[i].InstanceID, out[i].ProtocolMetadata = mb.id, mb.instanceID, mb.metadata(c.protocol)
	}
	return out
}

// joinStatic handles a static member that has no member id: a new one, or one that started again (KIP-345).
func (c *classic) joinStatic(call *joinCall) {
	mb := c.static[*call.InstanceID]
	id := c.m.memberID(*call.InstanceID)
	said := int64(0)
	if mb != nil {
		said = mb.said()
	}
	switch {
	case !c.m.admitsJoin(call, said):
		call.fail(wire.CoordinatorNotAvailable, "")
	case mb == nil:
		c.addMember(call, id)
	case c.phase == phaseStable && c.keepsProtocol(mb, call):
		c.replaceStored(mb, call, id)
	default:
		c.replace(mb, call, id)
		c.park(mb, call)
		switch c.phase {
		case phasePreparing:
			c.completeIfJoined()
		default:
			c.prepareRebalance()
		}
	}
}

// keepsProtocol reports whether the members would choose the same protocol again.
func (c *classic) keepsProtocol(mb *member, call *joinCall) bool {
	before := mb.protocols
	set := func(protocols []kmsg.JoinGroupRequestProtocol) {
		c.vote(mb, -1)
		mb.protocols = protocols
		c.vote(mb, 1)
	}
	set(call.Protocols)
	next := c.selectProtocol()
	set(before)
	return c.protocol != nil && *c.protocol == next
}

// replace gives a static member a new id. Whoever uses the old one is fenced.
func (c *classic) replace(mb *member, call *joinCall, id string) {
	c.answerJoinError(mb, mb.id, wire.FencedInstanceID)
	c.answerSyncError(mb, wire.FencedInstanceID)
	delete(c.byID, mb.id)
	mb.id, mb.client = id, call.client
	c.byID[id] = mb
	c.revise(mb, call)
	c.beat(mb)
}

// replaceStored replaces a static member of a stable group, without a rebalance: once the new id is stored it is used.
// If meanwhile something else has changed, the join is looked at again.
func (c *classic) replaceStored(mb *member, call *joinCall, id string) {
	old, generation := mb.id, c.generation
	current := func() bool {
		return c.g.members == members(c) && c.phase == phaseStable && c.generation == generation && c.byID[old] == mb && c.keepsProtocol(mb, call)
	}
	c.m.shard.Do(&coordinator.Operation{
		Key: c.g.id,
		Decide: func() []coordinator.Entry {
			if !current() {
				return nil
			}
			return []coordinator.Entry{c.record(func(o *member, s *kmsg.GroupMetadataValueMember) {
				if o != mb {
					return
				}
				s.MemberID, s.ClientID, s.ClientHost = id, call.client.ID, call.client.Host
				s.SessionTimeoutMillis, s.RebalanceTimeoutMillis = call.SessionTimeoutMillis, call.RebalanceTimeoutMillis
				for i := range call.Protocols {
					if call.Protocols[i].Name == *c.protocol {
						s.Subscription = call.Protocols[i].Metadata
					}
				}
			})}
		},
		Done: func(code wire.Code) {
			switch {
			case code != wire.None:
				c.describeGeneration(call.out)
				call.fail(code, "")
			case c.m.closed:
				call.fail(wire.NotCoordinator, "")
			case !current():
				c.m.Join(call.JoinGroupRequest, call.client, call.done)
			default:
				c.answerReplaced(mb, call, id)
			}
		},
	})
}

func (c *classic) answerReplaced(mb *member, call *joinCall, id string) {
	leader := mb == c.leader
	before := mb.id
	c.replace(mb, call, id)
	c.describeGeneration(call.out)
	call.out.MemberID = id
	switch {
	case call.Version < joinSkipsAssignment && leader:
		// Such a leader would assign anew and nobody would hear of it: it is told that another leads (KAFKA-13435).
		call.out.LeaderID = before
	case leader:
		call.out.Members, call.out.SkipAssignment = c.joinedMembers(), true
	}
	call.done(call.out)
}
