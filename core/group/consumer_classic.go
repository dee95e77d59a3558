package group

import (
	"bytes"
	"slices"

	"weir/core/coordinator"
	"weir/core/group/consumer"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// do runs a decision on the group in its turn. A decision that finds the group gone or changed says so by its error.
func (c *consumerGroup) do(decide func() ([]coordinator.Entry, error), done func(error)) {
	c.doWith(0, decide, done)
}

// doWith is do for a request that takes so many bytes while it waits.
func (c *consumerGroup) doWith(bytes int64, decide func() ([]coordinator.Entry, error), done func(error)) {
	var failed error
	c.m.shard.Do(&coordinator.Operation{
		Key: c.g.id, Bytes: bytes,
		Decide: func() (entries []coordinator.Entry) {
			if c.gone {
				failed = &consumer.Refusal{Code: wire.UnknownMemberID}
				return nil
			}
			entries, failed = decide()
			return entries
		},
		Done: func(code wire.Code) {
			if failed == nil && code != wire.None {
				failed = &consumer.Refusal{Code: code}
			}
			done(failed)
		},
	})
}

// joinConsumer handles JoinGroup for a consumer group: a member of the classic protocol joins it, and is assigned like the others.
// An empty group becomes classic, unless the join is refused whatever the group is.
func (m *Machine) joinConsumer(g *Group, call *joinCall) {
	c := g.members.(*consumerGroup)
	switch {
	case c.empty() && call.MemberID != "":
		call.fail(wire.UnknownMemberID, call.MemberID)
		return
	case c.empty() && (call.ProtocolType == "" || len(call.Protocols) == 0):
		call.fail(wire.InconsistentGroupProtocol, "")
		return
	case c.empty():
		c.doWith(call.bytes()-memberBytes, func() ([]coordinator.Entry, error) {
			if !c.empty() { // somebody joined before its turn
				return nil, nil
			}
			return c.tombstones(), nil
		}, func(err error) {
			if err != nil {
				call.fail(codeOf(err), call.MemberID)
				return
			}
			if m.closed {
				call.fail(wire.NotCoordinator, call.MemberID)
				return
			}
			m.Join(call.JoinGroupRequest, call.client, call.done)
		})
		return
	}
	j, code := c.classicJoin(call)
	if code != wire.None {
		call.fail(code, call.MemberID)
		return
	}
	if j.IsNew && call.InstanceID == nil && call.Version >= joinKnownMember {
		call.fail(wire.MemberIDRequired, j.MemberID)
		return
	}
	epoch := int32(0)
	c.doWith(call.bytes()-memberBytes, func() (entries []coordinator.Entry, err error) {
		entries, epoch, err = c.group.JoinClassic(m.context(g.id), j)
		return entries, err
	}, func(err error) {
		if err != nil {
			call.fail(codeOf(err), call.MemberID)
			return
		}
		c.joined(call, j.MemberID, epoch)
	})
}

// classicJoin is what a JoinGroup says; the code refuses it.
func (c *consumerGroup) classicJoin(call *joinCall) (*consumer.ClassicJoin, wire.Code) {
	j := &consumer.ClassicJoin{
		MemberID: call.MemberID, IsNew: call.MemberID == "", InstanceID: call.InstanceID, Client: consumer.Client(call.client),
		Metadata:               consumer.Classic{SessionTimeoutMillis: call.SessionTimeoutMillis, Protocols: classicProtocols(call.Protocols)},
		RebalanceTimeoutMillis: call.RebalanceTimeoutMillis,
	}
	if !c.group.SupportsClassic(call.ProtocolType, j.Metadata.Protocols) {
		return nil, wire.InconsistentGroupProtocol
	}
	subscription, ok := consumer.ParseSubscription(j.Metadata.Protocols[0].Metadata)
	if j.Subscription = subscription; !ok {
		return nil, wire.InconsistentGroupProtocol
	}
	if !c.m.shard.Admits(c.group.JoinGrowth(j)) {
		return nil, wire.CoordinatorNotAvailable
	}
	if j.IsNew {
		j.MemberID = c.m.memberID(call.client.ID)
	}
	return j, wire.None
}

func classicProtocols(in []kmsg.JoinGroupRequestProtocol) []consumer.ClassicProtocol {
	out := make([]consumer.ClassicProtocol, len(in))
	for i := range in {
		out[i] = consumer.ClassicProtocol{Name: in[i].Name, Metadata: bytes.Clone(in[i].Metadata)}
	}
	return out
}

// joined answers a member that has joined, and waits for its SyncGroup. It follows: the broker leads.
func (c *consumerGroup) joined(call *joinCall, id string, epoch int32) {
	out := call.out
	out.MemberID, out.Generation, out.ProtocolType = id, epoch, kmsg.StringPtr(consumerProtocol)
	if mb := c.group.Member(id); mb != nil && !c.gone {
		protocol := mb.Protocol()
		out.Protocol = &protocol
		mb.Joined(c.m.Loop.Now())
		c.heard(id)
		c.rearm()
	}
	c.downgrade(func() { call.done(out) })
}

func (c *consumerGroup) heard(id string) {
	c.group.Heard(id, c.m.Loop.Now(), c.m.groupConfig(c.g.id))
}

// syncConsumer handles SyncGroup for a consumer group.
func (m *Machine) syncConsumer(g *Group, r *kmsg.SyncGroupRequest, call *syncCall) {
	c := g.members.(*consumerGroup)
	r.GroupAssignment = nil // the broker assigns
	var mb *consumer.Member
	c.do(func() (_ []coordinator.Entry, err error) {
		mb, err = c.group.FindClassic(r.MemberID, r.InstanceID, r.Generation)
		return nil, err
	}, func(err error) {
		switch {
		case err != nil:
			call.fail(codeOf(err))
		case differs(r.ProtocolType, kmsg.StringPtr(consumerProtocol)) || differs(r.Protocol, kmsg.StringPtr(mb.Protocol())):
			call.fail(wire.InconsistentGroupProtocol)
		case c.group.MustRejoinFirst(mb):
			mb.AwaitJoin(m.Loop.Now())
			c.rearm()
			call.fail(wire.RebalanceInProgress)
		default:
			mb.Synced()
			call.out.ProtocolType, call.out.Protocol = kmsg.StringPtr(consumerProtocol), kmsg.StringPtr(mb.Protocol())
			call.out.MemberAssignment = m.context(g.id).EncodeAssignment(mb.SubscriptionVersion(), mb.Assigned)
			call.done(call.out)
		}
	})
}

// heartbeatConsumer handles Heartbeat for a consumer group.
func (m *Machine) heartbeatConsumer(g *Group, r *kmsg.HeartbeatRequest, done func(wire.Code)) {
	c := g.members.(*consumerGroup)
	mb, err := c.group.FindClassic(r.MemberID, r.InstanceID, r.Generation)
	if err != nil {
		done(codeOf(err))
		return
	}
	c.heard(mb.ID)
	if c.group.MustRejoin(mb) {
		mb.AwaitJoin(m.Loop.Now())
		c.rearm()
		done(wire.RebalanceInProgress)
		return
	}
	done(wire.None)
}

// leaving is a LeaveGroup for a consumer group.
type leaving struct {
	c    *consumerGroup
	r    *kmsg.LeaveGroupRequest
	out  *kmsg.LeaveGroupResponse
	done func(*kmsg.LeaveGroupResponse)
	left []*consumer.Member // those that are still to be removed
}

// leaveConsumer handles LeaveGroup for a consumer group. Members of either protocol may leave so: administrators remove
// them by this request. They go in as many batches as they need; if one fails, those of the batches before are gone, and the
// request may be made again.
func (m *Machine) leaveConsumer(g *Group, r *kmsg.LeaveGroupRequest, out *kmsg.LeaveGroupResponse, done func(*kmsg.LeaveGroupResponse)) {
	call := &leaving{c: g.members.(*consumerGroup), r: r, out: out, done: done}
	call.c.doWith(leaveBytes(r), func() ([]coordinator.Entry, error) {
		call.find()
		return call.first(), nil
	}, call.removed)
}

// find answers for each member, and notes whom to remove.
func (call *leaving) find() {
	seen := map[string]bool{}
	for i := range call.r.Members {
		q := &call.r.Members[i]
		a := kmsg.NewLeaveGroupResponseMember()
		a.MemberID, a.InstanceID = q.MemberID, q.InstanceID
		mb, err := call.c.group.FindLeaving(q.MemberID, q.InstanceID)
		switch {
		case err != nil:
			a.ErrorCode = int16(codeOf(err))
		case !seen[mb.ID]:
			seen[mb.ID] = true
			call.left = append(call.left, mb)
		}
		call.out.Members = append(call.out.Members, a)
	}
}

// first removes as many members as one batch has room for. Only with the last of them the group may become classic: then it
// would be another one.
func (call *leaving) first() []coordinator.Entry {
	now := call.c.group.FirstRemoved(call.left)
	if call.left = call.left[len(now):]; len(call.left) == 0 {
		return call.c.fence(now...)
	}
	return call.c.group.Fence(call.c.m.context(call.c.g.id), now...)
}

func (call *leaving) removed(err error) {
	c := call.c
	if err == nil && len(call.left) > 0 && !c.gone {
		c.do(func() ([]coordinator.Entry, error) {
			call.left = slices.DeleteFunc(call.left, func(mb *consumer.Member) bool { return c.group.Member(mb.ID) != mb })
			return call.first(), nil
		}, call.removed)
		return
	}
	switch out := call.out; {
	case err != nil:
		out.ErrorCode, out.Members = int16(codeOf(err)), nil
	case len(call.left) > 0: // the group has changed its type meanwhile
		out.ErrorCode, out.Members = wire.CoordinatorNotAvailable, nil
	case call.r.Version < leaveMany:
		out.ErrorCode, out.Members = out.Members[0].ErrorCode, nil
	}
	call.done(call.out)
	c.rearm()
	c.m.becomeClassic(call.r.Group)
}

// upgraded is the consumer group that a classic one becomes with a first member of the new protocol, with the members that
// it has, or the reason why it may not.
func (c *classic) upgraded() (*consumer.Group, error) {
	cannot := func(why string) error {
		return notFound("Cannot upgrade classic group %s to consumer group because "+why, c.g.id)
	}
	configured := c.m.groupConfig(c.g.id)
	switch {
	case !configured.Upgrade:
		return nil, notFound("Group %s is not a consumer group.", c.g.id)
	case c.protocolName != consumerProtocol:
		return nil, cannot("the group does not use the consumer embedded protocol.")
	case len(c.members) > configured.MaxSize:
		return nil, cannot("the group size exceeds the consumer group maximum size.")
	}
	members := make([]consumer.ClassicMember, 0, len(c.members))
	for _, mb := range c.members {
		assignment, hasUserData, ok := consumer.ParseAssignment(mb.assignment)
		if hasUserData {
			return nil, cannot("an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.")
		}
		protocols := classicProtocols(mb.protocols)
		if !ok || len(protocols) == 0 {
			return nil, cannot("the group does not use the consumer embedded protocol.")
		}
		subscription, ok := consumer.ParseSubscription(protocols[0].Metadata)
		if !ok {
			return nil, cannot("the group does not use the consumer embedded protocol.")
		}
		metadata := consumer.Metadata{
			ClientID: mb.client.ID, ClientHost: mb.client.Host, Rack: subscription.Rack,
			Topics: consumer.Set(subscription.Topics), RebalanceTimeoutMillis: int32(mb.rebalanceTimeout.Milliseconds()),
			Classic: &consumer.Classic{SessionTimeoutMillis: int32(mb.sessionTimeout.Milliseconds()), Protocols: protocols},
		}
		if mb.instanceID != nil {
			metadata.InstanceID = *mb.instanceID
		}
		members = append(members, consumer.ClassicMember{ID: mb.id, Metadata: metadata, Assignment: assignment})
	}
	return consumer.FromClassic(c.m.context(c.g.id), c.g.id, c.generation, members), nil
}

// mayDowngrade reports whether only classic members are left without some of the members, so that the group becomes classic.
func (c *consumerGroup) mayDowngrade(without ...*consumer.Member) bool {
	left, classicLeft := len(c.group.Members())-len(without), c.group.ClassicMembers()
	for _, mb := range without {
		if mb.Classic != nil {
			classicLeft--
		}
	}
	return !c.gone && left > 0 && classicLeft == left && c.m.groupConfig(c.g.id).Downgrade && left <= int(c.m.Config.Groups.MaxSize)
}

// toClassic are the records that make the group classic, without some of its members. The others keep what they have, and
// then rebalance: their leader assigns from now on. None: a classic group is one record, and the members do not fit into it.
func (c *consumerGroup) toClassic(without ...*consumer.Member) []coordinator.Entry {
	next := c.downgraded(without)
	entries := append(c.tombstones(), next.record(nil))
	if !c.m.shard.Fits(entries) {
		return nil
	}
	c.m.next[c.g.id] = next
	return entries
}

// becomeClassic goes on with a group for which the records of toClassic are applied, if there were some. If they were not
// written, there is nothing to go on with.
func (m *Machine) becomeClassic(id string) {
	next := m.next[id]
	delete(m.next, id)
	g := m.groups[id]
	if next == nil || m.closed || g == nil {
		return
	}
	now, ok := g.members.(*classic)
	if !ok {
		return
	}
	next.g, next.stored = g, now.stored
	g.members = next
	next.serve()
	if next.phase == phaseStable {
		next.prepareRebalance()
	}
}

// downgrade makes the group classic if only classic members are left: after the last other one was replaced by one of
// them, or a coordinator began in between.
func (c *consumerGroup) downgrade(done func()) {
	if c.m.closed || !c.mayDowngrade() {
		done()
		return
	}
	id := c.g.id
	c.do(func() ([]coordinator.Entry, error) {
		if !c.mayDowngrade() {
			return nil, nil
		}
		return c.toClassic(), nil
	}, func(error) {
		c.m.becomeClassic(id)
		done()
	})
}

// downgraded is the classic group that the group becomes, stable in the generation of the group epoch.
func (c *consumerGroup) downgraded(without []*consumer.Member) *classic {
	next := newClassic(c.m, c.g)
	next.generation, next.protocolName = c.group.Epoch(), consumerProtocol
	next.phase, next.previous, next.since = phaseStable, phaseStable, c.m.Env.Clock.WallMillis()
	gone := make(map[string]bool, len(without))
	for _, mb := range without {
		gone[mb.ID] = true
	}
	for _, mb := range c.group.Members() {
		if !gone[mb.ID] {
			next.add(c.classicMember(mb))
		}
	}
	protocol := next.selectProtocol()
	next.protocol = &protocol
	next.readTopics()
	return next
}

func (c *consumerGroup) classicMember(mb *consumer.Member) *member {
	out := &member{
		id: mb.ID, client: Client{ID: mb.ClientID, Host: mb.ClientHost},
		sessionTimeout: millis(mb.Classic.SessionTimeoutMillis), rebalanceTimeout: millis(mb.RebalanceTimeoutMillis),
		assignment: c.m.context(c.g.id).EncodeAssignment(mb.SubscriptionVersion(), c.group.Target(mb.ID)),
	}
	if mb.InstanceID != "" {
		out.instanceID = kmsg.StringPtr(mb.InstanceID)
	}
	for _, p := range mb.Classic.Protocols {
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name, protocol.Metadata = p.Name, p.Metadata
		out.protocols = append(out.protocols, protocol)
	}
	return out
}
