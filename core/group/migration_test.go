package group

import (
	"fmt"
	"testing"
	"time"

	"weir/core/group/consumer"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// oldClient is a consumer of the classic protocol with the cooperative assignor.
type oldClient struct {
	r          *rig
	id         string
	instance   *string
	generation int32
	leads      bool
	owns       []kmsg.ConsumerMemberMetadataOwnedPartition
}

func (c *oldClient) subscription() []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics, s.OwnedPartitions = 3, []string{"a", "b"}, c.owns
	return s.AppendTo(nil)
}

// join sends JoinGroup until it has an id and an answer, which may be nil: it is parked.
func (c *oldClient) join() (out *kmsg.JoinGroupResponse) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.ProtocolType = 9, "g", c.id, c.instance, "consumer"
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 10_000, 30_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "cooperative-sticky", c.subscription()
	q.Protocols = append(q.Protocols, p)
	c.r.machine().Join(q, Client{ID: "old", Host: "/127.0.0.1"}, func(a *kmsg.JoinGroupResponse) {
		out = a
		if a.ErrorCode == wire.None {
			c.id, c.generation, c.leads = a.MemberID, a.Generation, a.LeaderID == a.MemberID
		}
	})
	c.r.Turn()
	if out != nil && out.ErrorCode == wire.MemberIDRequired {
		c.id = out.MemberID
		return c.join()
	}
	return out
}

func (c *oldClient) sync(assign map[string][]byte) wire.Code {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 5, "g", c.id, c.instance, c.generation
	for id, data := range assign {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, data
		q.GroupAssignment = append(q.GroupAssignment, a)
	}
	code := wire.Code(-9)
	c.r.machine().Sync(q, func(out *kmsg.SyncGroupResponse) {
		if code = wire.Code(out.ErrorCode); code != wire.None {
			return
		}
		partitions, _, ok := consumer.ParseAssignment(out.MemberAssignment)
		require.True(c.r.t, ok)
		c.owns = nil
		for _, n := range partitions {
			c.owns = append(c.owns, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: n.Topic, Partitions: n.Partitions})
		}
	})
	c.r.Turn()
	return code
}

func (c *oldClient) beat() (code wire.Code) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, "g", c.id, c.instance, c.generation
	c.r.machine().Heartbeat(q, func(out wire.Code) { code = out })
	c.r.Turn()
	return code
}

func (c *oldClient) leave() (code wire.Code) {
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, "g"
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = c.id, c.instance
	q.Members = append(q.Members, m)
	c.r.machine().Leave(q, func(out *kmsg.LeaveGroupResponse) { code = wire.Code(out.Members[0].ErrorCode) })
	c.r.Turn()
	return code
}

func assignmentOf(topic string, partitions ...int32) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	t := kmsg.NewConsumerMemberAssignmentTopic()
	t.Topic, t.Partitions = topic, partitions
	a.Version, a.Topics = 3, append(a.Topics, t)
	return a.AppendTo(nil)
}

// oldGroup is a stable classic group of one member that has all of topic a.
func oldGroup(r *rig) *oldClient {
	c := &oldClient{r: r}
	require.Nil(r.t, c.join())
	r.pass(3 * time.Second)
	require.True(r.t, c.leads)
	require.EqualValues(r.t, wire.None, c.sync(map[string][]byte{c.id: assignmentOf("a", 0, 1)}))
	require.Equal(r.t, "[{a [0 1]}]", show(c.owns))
	return c
}

func show(owns []kmsg.ConsumerMemberMetadataOwnedPartition) string {
	out := []string{}
	for _, o := range owns {
		out = append(out, fmt.Sprintf("{%s %v}", o.Topic, o.Partitions))
	}
	return fmt.Sprint(out)
}

func (r *rig) groupType() Type { return r.machine().groups["g"].members.kind() }

// A member of the new protocol joins a classic group; its old members learn of it by their heartbeats, give back and go on, and
// in the end the group is classic again.
func TestOnlineMigration(t *testing.T) {
	r := newConsumerRig(t)
	old := oldGroup(r)
	a := r.heartbeat("m1", 0, joins("a", "b"))
	require.EqualValues(t, wire.None, a.ErrorCode)
	require.Equal(t, Consumer, r.groupType())
	require.EqualValues(t, 2, a.MemberEpoch)
	require.Len(t, a.Assignment.Topics, 1, "b is free, a is the old member's")
	members := r.machine().DescribeConsumer("g").Members
	require.EqualValues(t, 0, members[1].MemberType, "the old member, told by its type")

	require.EqualValues(t, wire.RebalanceInProgress, old.beat())
	r.reload() // a coordinator that starts in the middle goes on
	require.EqualValues(t, wire.RebalanceInProgress, old.beat())
	before := old.id
	out := old.join()
	require.EqualValues(t, wire.None, out.ErrorCode)
	require.Equal(t, before, old.id)
	require.Equal(t, "cooperative-sticky", *out.Protocol)
	require.EqualValues(t, wire.None, old.sync(nil))
	require.Equal(t, "[{a [0 1]}]", show(old.owns), "two partitions each: it keeps its own")
	require.EqualValues(t, wire.None, old.beat())
	require.EqualValues(t, 2, old.generation)

	// Commits of both.
	require.EqualValues(t, wire.IllegalGeneration, r.admits(old.id, 1))
	require.EqualValues(t, wire.None, r.admits(old.id, 2))
	require.EqualValues(t, wire.StaleMemberEpoch, r.admits("m1", 3))

	// The new member goes: the group is classic, and rebalances.
	require.EqualValues(t, wire.None, r.heartbeat("m1", -1).ErrorCode)
	require.Equal(t, Classic, r.groupType())
	require.EqualValues(t, wire.RebalanceInProgress, old.beat())
	require.NotNil(t, old.join())
	require.True(t, old.leads)
	require.EqualValues(t, 3, old.generation)
	r.reload()
	require.Equal(t, Classic, r.groupType())
}

func (r *rig) admits(member string, generation int32) wire.Code {
	return r.machine().groups["g"].members.admitsCommit(&commitCheck{
		version: 9, memberID: member, generation: generation, partitions: []Partition{{Topic: "a", TopicID: metadata.TopicID{1}, Index: 7}},
	})
}

// The policy forbids either way; so do an assignor with user data, and a group of something else than consumers.
func TestMigrationIsRefused(t *testing.T) {
	r := newConsumerRig(t)
	oldGroup(r)
	r.config.ConsumerGroup.Upgrade = false
	require.EqualValues(t, wire.GroupIDNotFound, r.heartbeat("m1", 0, joins("a")).ErrorCode)
	r.config.ConsumerGroup.Upgrade, r.config.ConsumerGroup.Downgrade = true, false
	require.EqualValues(t, wire.None, r.heartbeat("m1", 0, joins("a")).ErrorCode)
	require.EqualValues(t, wire.None, r.heartbeat("m1", -1).ErrorCode)
	require.Equal(t, Consumer, r.groupType())

	r = newConsumerRig(t)
	c := &oldClient{r: r}
	require.Nil(t, c.join())
	r.pass(3 * time.Second)
	data := kmsg.NewConsumerMemberAssignment()
	data.UserData = []byte{1}
	require.EqualValues(t, wire.None, c.sync(map[string][]byte{c.id: data.AppendTo(nil)}))
	require.EqualValues(t, wire.GroupIDNotFound, r.heartbeat("m1", 0, joins("a")).ErrorCode)
	require.Equal(t, Classic, r.groupType())
}

// A classic member that does not come back within its rebalance timeout, or is silent, is removed.
func TestOldMemberIsFenced(t *testing.T) {
	r := newConsumerRig(t)
	old := oldGroup(r)
	r.heartbeat("m1", 0, joins("a", "b"))
	for range 4 {
		require.EqualValues(t, wire.RebalanceInProgress, old.beat())
		r.pass(9 * time.Second)
		r.heartbeat("m1", 2)
	}
	require.EqualValues(t, wire.UnknownMemberID, old.beat())
	require.EqualValues(t, wire.None, old.join().ErrorCode, "with its id: members of a consumer group choose theirs")
	require.EqualValues(t, wire.None, old.leave())
	require.EqualValues(t, wire.UnknownMemberID, old.leave())
	require.Equal(t, Consumer, r.groupType())
}

// A static member of one protocol takes the seat of one of the other (KAFKA-17228).
func TestStaticMemberMigrates(t *testing.T) {
	r := newConsumerRig(t)
	instance := "i"
	old := &oldClient{r: r, instance: &instance}
	require.Nil(t, old.join())
	r.pass(3 * time.Second)
	require.EqualValues(t, wire.None, old.sync(map[string][]byte{old.id: assignmentOf("a", 0, 1)}))
	a := r.heartbeat("m1", 0, joins("a", "b"), func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = &instance })
	require.EqualValues(t, wire.None, a.ErrorCode)
	require.Len(t, r.machine().DescribeConsumer("g").Members, 1)
	require.EqualValues(t, wire.FencedInstanceID, old.beat())

	// And back: with the last member of the new protocol replaced, the group is classic.
	again := &oldClient{r: r, instance: &instance}
	require.EqualValues(t, wire.None, again.join().ErrorCode)
	require.Equal(t, Classic, r.groupType())
	require.EqualValues(t, wire.RebalanceInProgress, again.beat())
	require.NotNil(t, again.join())
	require.True(t, again.leads)
}

// An empty consumer group becomes classic with its first classic member.
func TestEmptyConsumerGroupBecomesClassic(t *testing.T) {
	r := newConsumerRig(t)
	r.heartbeat("m1", 0, joins("a"))
	r.heartbeat("m1", -1)
	c := &oldClient{r: r}
	require.Nil(t, c.join())
	r.pass(3 * time.Second)
	require.True(t, c.leads)
	require.Equal(t, Classic, r.groupType())
}

// A group whose classic members do not fit into the one record of a classic group stays a consumer group, and those of the new protocol can
// leave it, or are fenced. Once it has fewer members it becomes classic.
func TestTooLargeForAClassicGroup(t *testing.T) {
	r := newConsumerRig(t)
	old := []*oldClient{oldGroup(r)}
	require.EqualValues(t, wire.None, r.heartbeat("m1", 0, joins("a", "b")).ErrorCode)
	for range 40 {
		c := &oldClient{r: r}
		require.EqualValues(t, wire.None, c.join().ErrorCode)
		require.EqualValues(t, wire.None, c.sync(nil))
		old = append(old, c)
	}
	r.log.BytesMax = 5000 // 41 classic members take more
	require.EqualValues(t, wire.None, r.heartbeat("m1", -1).ErrorCode)
	require.Equal(t, Consumer, r.groupType())
	require.Len(t, r.machine().consumerOf("g").group.Members(), 41)
	for _, c := range old[5:] {
		require.EqualValues(t, wire.None, c.leave())
	}
	require.Equal(t, Classic, r.groupType())
}

// A join that is refused leaves an empty consumer group as it is, and makes no classic one.
func TestRefusedJoinOfAnEmptyConsumerGroup(t *testing.T) {
	r := newConsumerRig(t)
	r.heartbeat("m1", 0, joins("a"))
	r.heartbeat("m1", -1)
	before := r.machine().durable()
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.join("", with()).code())
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.join("", func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "" }).code())
	require.EqualValues(t, wire.UnknownMemberID, r.join("stranger").code())
	require.Equal(t, before, r.machine().durable())
	require.Equal(t, Consumer, r.groupType())
}

// A member of the new protocol and one of the old join an empty consumer group at once: who comes second joins the first one's group.
func TestBothProtocolsJoinAnEmptyConsumerGroup(t *testing.T) {
	r := newConsumerRig(t)
	r.heartbeat("m1", 0, joins("a"))
	r.heartbeat("m1", -1)
	r.log.Held = true
	require.Nil(t, r.heartbeat("m2", 0, joins("a")))
	old := &oldClient{r: r}
	old.join()
	r.log.Held = false
	r.log.Durable()
	for range 5 {
		r.Turn()
	}
	require.Equal(t, Consumer, r.groupType())
	member := r.machine().consumerOf("g").group.Member("m2")
	require.NotNil(t, member)
	require.EqualValues(t, wire.None, r.heartbeat("m2", member.Epoch).ErrorCode)
}
