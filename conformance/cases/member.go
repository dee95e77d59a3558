package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is one member of a classic group, on a connection of its own.
type member struct {
	*suite.Conn
	c          *suite.C
	group      string
	id         string
	instance   *string
	generation int32
	kind       string   // the protocol type
	protocols  []string // names, by preference
	metadata   []byte
	session    int32 // ms
	rebalance  int32 // ms
	leader     bool
}

const memberTimeout = 30_000 // ms; no case waits for it

func newMember(c *suite.C, group string) *member {
	return &member{
		Conn: c.Dial(), c: c, group: group, generation: -1, kind: "consumer", protocols: []string{"range"},
		metadata: subscription(), session: memberTimeout, rebalance: memberTimeout,
	}
}

func newStatic(c *suite.C, group, instance string) *member {
	m := newMember(c, group)
	m.instance = &instance
	return m
}

// subscription is the metadata of a consumer.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

// assignment is that of a consumer.
func assignment(topic string, partitions ...int32) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	t := kmsg.NewConsumerMemberAssignmentTopic()
	t.Topic, t.Partitions = topic, partitions
	a.Topics = append(a.Topics, t)
	return a.AppendTo(nil)
}

func (m *member) joinRequest() *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.InstanceID, r.ProtocolType = m.group, m.id, m.instance, m.kind
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = m.session, m.rebalance
	for _, name := range m.protocols {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, m.metadata
		r.Protocols = append(r.Protocols, p)
	}
	return r
}

func (m *member) tryJoin() *kmsg.JoinGroupResponse { return suite.Call(m, m.joinRequest()) }

func (m *member) startJoin() *suite.Pending[*kmsg.JoinGroupResponse] {
	return suite.Start(m, m.joinRequest())
}

// takeID gets the member id that versions before 4 need not bring.
func (m *member) takeID() *member {
	r := suite.CallV(m, m.c.Broker.Highest(11), m.joinRequest())
	m.c.Code(r.ErrorCode, kerr.MemberIDRequired)
	m.id = r.MemberID
	return m
}

// join joins for the first time or again, and wants success. Where empty groups are removed often, a new group may be removed
// with its pending member, which then begins anew.
func (m *member) join() *kmsg.JoinGroupResponse {
	if m.id == "" && m.instance == nil {
		m.takeID()
	}
	r := m.startJoin().Wait()
	if r.ErrorCode == kerr.UnknownMemberID.Code && m.generation < 0 {
		m.id = ""
		m.takeID()
		r = m.startJoin().Wait()
	}
	return m.take(r)
}

// joined waits for a successful join and takes its generation.
func (m *member) joined(p *suite.Pending[*kmsg.JoinGroupResponse]) *kmsg.JoinGroupResponse {
	return m.take(p.Wait())
}

func (m *member) take(r *kmsg.JoinGroupResponse) *kmsg.JoinGroupResponse {
	m.c.OK(r.ErrorCode, "JoinGroup")
	m.id, m.generation, m.leader = r.MemberID, r.Generation, r.LeaderID == r.MemberID
	return r
}

func (m *member) syncRequest(assignments ...kmsg.SyncGroupRequestGroupAssignment) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.InstanceID, r.Generation = m.group, m.id, m.instance, m.generation
	r.ProtocolType, r.Protocol, r.GroupAssignment = &m.kind, &m.protocols[0], assignments
	return r
}

// assign is one entry of the leader's SyncGroup.
func assign(m *member, assigned []byte) kmsg.SyncGroupRequestGroupAssignment {
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = m.id, assigned
	return a
}

func (m *member) startSync(assignments ...kmsg.SyncGroupRequestGroupAssignment) *suite.Pending[*kmsg.SyncGroupResponse] {
	return suite.Start(m, m.syncRequest(assignments...))
}

func (m *member) sync(assignments ...kmsg.SyncGroupRequestGroupAssignment) *kmsg.SyncGroupResponse {
	r := m.startSync(assignments...).Wait()
	m.c.OK(r.ErrorCode, "SyncGroup")
	return r
}

func (m *member) heartbeatRequest() *kmsg.HeartbeatRequest {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Group, r.MemberID, r.InstanceID, r.Generation = m.group, m.id, m.instance, m.generation
	return r
}

func (m *member) heartbeat() int16 { return suite.Call(m, m.heartbeatRequest()).ErrorCode }

// awaitRebalance sends heartbeats until they say that the group rebalances.
func (m *member) awaitRebalance() {
	m.c.Poll("the group rebalances", func() bool {
		code := m.heartbeat()
		if code != 0 {
			m.c.Code(code, kerr.RebalanceInProgress, "Heartbeat")
		}
		return code != 0
	})
}

// leave leaves by member id.
func (m *member) leave() {
	m.c.OK(suite.CallV(m.c, 2, leaveRequest(m.group, m.id, nil)).ErrorCode, "LeaveGroup")
}

// leaveRequest has its member both as a field of old versions and as an entry of later ones.
func leaveRequest(group, id string, instance *string) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group, r.MemberID = group, id
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID, one.InstanceID = id, instance
	r.Members = append(r.Members, one)
	return r
}

// stable makes a group stable with its members, in one generation; each is assigned its own name.
func stable(members ...*member) {
	joinAll(members...)
	syncAll(members...)
}

// joinAll brings new members into one generation. Members with an id that have not joined hold the round open.
func joinAll(members ...*member) {
	first, rest := members[0], members[1:]
	first.join()
	if len(rest) == 0 {
		return
	}
	first.sync(assign(first, nil))
	joins := make([]*suite.Pending[*kmsg.JoinGroupResponse], 0, len(rest))
	for i, m := range rest {
		if m.instance == nil && m.id == "" {
			m.takeID()
		}
		joins = append(joins, m.startJoin())
		m.c.Poll("the join is taken", func() bool { return len(describeGroup(m.c, m.group).Members) >= i+2 })
	}
	again := first.startJoin()
	for i, m := range rest {
		m.joined(joins[i])
	}
	first.joined(again)
}

// syncAll lets the leader assign each member its own id.
func syncAll(members ...*member) {
	var all []kmsg.SyncGroupRequestGroupAssignment
	for _, m := range members {
		all = append(all, assign(m, []byte(m.id)))
	}
	syncs := make([]*suite.Pending[*kmsg.SyncGroupResponse], len(members))
	for i, m := range members {
		if m.leader {
			syncs[i] = m.startSync(all...)
			continue
		}
		syncs[i] = m.startSync()
	}
	for i, m := range members {
		r := syncs[i].Wait()
		m.c.OK(r.ErrorCode, "SyncGroup")
		m.c.Equal("MemberAssignment", string(r.MemberAssignment), m.id)
	}
}

// oneMember makes a stable group of one member.
func oneMember(c *suite.C, group string) *member {
	m := newMember(c, group)
	stable(m)
	return m
}

// describeGroup is the present state of a group.
func describeGroup(c *suite.C, group string) kmsg.DescribeGroupsResponseGroup {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = []string{group}
	return suite.Call(c, r).Groups[0]
}

// awaitState polls until a group is in a state.
func awaitState(c *suite.C, group, state string) {
	c.Poll("the group is "+state, func() bool { return describeGroup(c, group).State == state })
}

// describeUntil polls until a group is in a state, and returns it.
func describeUntil(c *suite.C, group, state string) kmsg.DescribeGroupsResponseGroup {
	awaitState(c, group, state)
	return describeGroup(c, group)
}

// tryLeave leaves by member id and returns the code of the group or the member.
func (m *member) tryLeave() int16 {
	r := suite.CallV(m.c, m.c.Broker.Highest(13), leaveRequest(m.group, m.id, m.instance))
	if r.ErrorCode != 0 {
		return r.ErrorCode
	}
	return r.Members[0].ErrorCode
}

// two makes a stable group of two and returns its leader first.
func two(c *suite.C, group string) (leader, follower *member) {
	a, b := newMember(c, group), newMember(c, group)
	stable(a, b)
	if b.leader {
		return b, a
	}
	return a, b
}

// noMembers reports whether a group has none. One without offsets is removed soon after its last member.
func noMembers(c *suite.C, group string) bool {
	state := describeGroup(c, group).State
	return state == "Empty" || state == "Dead"
}

func awaitNoMembers(c *suite.C, group string) {
	c.Poll("the members are gone", func() bool { return noMembers(c, group) })
}
