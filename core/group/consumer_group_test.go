package group

import (
	"testing"
	"time"

	"weir/core/coordinator"
	"weir/core/coordinator/coordinatortest"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inline computes at once.
type inline struct{}

func (inline) Submit(c *env.Compute) {
	c.Work()
	c.Done(c)
}

func newConsumerRig(t testing.TB) *rig {
	r := newRig(t)
	r.machine().Env.Compute = inline{}
	return r
}

// reload opens the log again, as another incarnation would.
func (r *rig) reload() {
	r.Runtime.Close()
	r.open(r.log.At(r.log.LogEnd()), r.Clock)
	r.machine().Env.Compute = inline{}
}

func (r *rig) pass(d time.Duration) {
	r.Clock.At = r.Clock.At.Add(d)
	r.Turn()
}

func (r *rig) heartbeat(id string, epoch int32, set ...func(*kmsg.ConsumerGroupHeartbeatRequest)) *kmsg.ConsumerGroupHeartbeatResponse {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.MemberEpoch = 1, "g", id, epoch
	for _, f := range set {
		f(q)
	}
	require.Nil(r.t, RefuseConsumerHeartbeat(q, r.config.ConsumerGroup.Assignors))
	var answer *kmsg.ConsumerGroupHeartbeatResponse
	r.machine().ConsumerHeartbeat(q, Client{ID: "client", Host: "/127.0.0.1"}, func(a *kmsg.ConsumerGroupHeartbeatResponse) {
		require.Nil(r.t, answer)
		answer = a
	})
	r.Turn()
	return answer
}

// joins makes a heartbeat one of a member that joins.
func joins(topics ...string) func(*kmsg.ConsumerGroupHeartbeatRequest) {
	return func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 60_000, topics, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
}

func matches(expression string) func(*kmsg.ConsumerGroupHeartbeatRequest) {
	return func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicRegex = &expression }
}

func TestConsumerGroupLives(t *testing.T) {
	r := newConsumerRig(t)
	require.EqualValues(t, wire.GroupIDNotFound, r.heartbeat("m1", 3).ErrorCode)
	require.EqualValues(t, wire.GroupIDNotFound, r.heartbeat("m1", -1).ErrorCode)
	a := r.heartbeat("m1", 0, joins("a", "b"))
	require.EqualValues(t, 2, a.MemberEpoch)
	require.Len(t, a.Assignment.Topics, 2)
	require.Equal(t, Consumer, r.machine().groups["g"].members.kind())
	require.Equal(t, "Stable", r.machine().DescribeConsumer("g").State)
	require.Equal(t, "consumer", r.machine().List(nil, nil, NewFilter([]string{"consumer"}))[0].GroupType)
	require.EqualValues(t, wire.GroupIDNotFound, r.machine().DescribeConsumer("h").ErrorCode)

	// A group loaded is the group that was, and its sessions begin anew.
	before := r.machine().DescribeConsumer("g")
	r.reload()
	require.Equal(t, before, r.machine().DescribeConsumer("g"))
	require.EqualValues(t, wire.None, r.heartbeat("m1", 2).ErrorCode)

	// A member that is silent is removed; the empty group is deleted by request.
	r.pass(44 * time.Second)
	require.EqualValues(t, wire.None, r.heartbeat("m1", 2).ErrorCode)
	r.pass(44 * time.Second)
	require.Len(t, r.machine().DescribeConsumer("g").Members, 1)
	r.pass(time.Second)
	require.Equal(t, "Empty", r.machine().DescribeConsumer("g").State)
	require.EqualValues(t, wire.UnknownMemberID, r.heartbeat("m1", 2).ErrorCode)
	code := wire.Code(-9)
	r.machine().DeleteGroup("g", func(c wire.Code) { code = c })
	r.Turn()
	require.EqualValues(t, wire.None, code)
	require.Empty(t, r.machine().groups)
	require.Zero(t, r.Memory.Held())
	r.reload()
	require.Empty(t, r.machine().groups)
}

// A write that fails leaves no trace, and its code reaches the client; the member may try again.
func TestConsumerWriteFails(t *testing.T) {
	r := newConsumerRig(t)
	r.log.Refuse = wire.RequestTimedOut
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.heartbeat("m1", 0, joins("a")).ErrorCode)
	require.Empty(t, r.machine().groups)
	r.log.Refuse = wire.None
	require.EqualValues(t, wire.None, r.heartbeat("m1", 0, joins("a")).ErrorCode)

	// A fence that cannot be written is tried again.
	r.log.Refuse = wire.RequestTimedOut
	r.pass(45 * time.Second)
	require.Len(t, r.machine().DescribeConsumer("g").Members, 1)
	r.log.Refuse = wire.None
	r.pass(time.Second)
	require.Empty(t, r.machine().DescribeConsumer("g").Members)
}

func TestConsumerMemberIDOfVersion0(t *testing.T) {
	r := newConsumerRig(t)
	a := r.heartbeat("", 0, joins("a"), func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Version = 0 })
	require.Len(t, *a.MemberID, 22)
	require.EqualValues(t, wire.None, r.heartbeat(*a.MemberID, a.MemberEpoch).ErrorCode)
}

func TestConsumerExpressions(t *testing.T) {
	r := newConsumerRig(t)
	a := r.heartbeat("m1", 0, joins(), matches("[a-z]+"), func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = nil })
	require.Empty(t, a.Assignment.Topics)
	a = r.heartbeat("m1", a.MemberEpoch)
	require.Len(t, a.Assignment.Topics, 2)
	// A new topic is found with a heartbeat, ten seconds after the last look.
	r.image.topics = append(r.image.topics, &metadata.Topic{Name: "c", ID: metadata.TopicID{9}, Partitions: make([]metadata.Partition, 1)})
	r.image.index += 10
	r.machine().TopicsChanged()
	r.pass(11 * time.Second)
	a = r.heartbeat("m1", a.MemberEpoch) // looks
	a = r.heartbeat("m1", a.MemberEpoch)
	require.Len(t, a.Assignment.Topics, 3)
}

// A group with offsets alone, and an empty one of the classic protocol, become consumer groups with their first member.
func TestGroupBecomesConsumer(t *testing.T) {
	r := newConsumerRig(t)
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation = 9, "g", -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	topic.Topic, topic.Partitions = "a", append(topic.Partitions, partition)
	q.Topics = append(q.Topics, topic)
	commit := func() wire.Code {
		c := NewCommit(r.image, q)
		r.machine().Commit(c, func() {})
		r.Turn()
		return wire.Code(c.Response().(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	}
	require.EqualValues(t, wire.None, commit())
	require.EqualValues(t, wire.GroupIDNotFound, r.heartbeat("m1", 1).ErrorCode)
	require.EqualValues(t, wire.None, r.heartbeat("m1", 0, joins("a")).ErrorCode)
	require.Equal(t, Consumer, r.machine().groups["g"].members.kind())
	require.Len(t, r.machine().groups["g"].offsets, 1, "offsets stay")

	// Commits name the member and its epoch now.
	require.EqualValues(t, wire.UnknownMemberID, commit())
	q.MemberID, q.Generation = "m1", 2
	require.EqualValues(t, wire.None, commit())
	q.Generation = 3
	require.EqualValues(t, wire.StaleMemberEpoch, commit())
	r.reload()
	require.Equal(t, Consumer, r.machine().groups["g"].members.kind())
}

// What the shard writes anew is the whole group.
func TestConsumerGroupIsWrittenAnew(t *testing.T) {
	r := newConsumerRig(t)
	r.heartbeat("m1", 0, joins("a", "b"))
	before := r.machine().DescribeConsumer("g")
	log := &coordinatortest.Log{}
	r.Runtime.Close()
	entries, _ := r.machineAt(r.log).Rewrite("g")
	r.open(log, r.Clock)
	r.machine().shard.Do(&coordinator.Operation{Key: "g", Decide: func() []coordinator.Entry { return entries }, Done: func(wire.Code) {}})
	r.Turn()
	require.Equal(t, before, r.machine().DescribeConsumer("g"))
}

// machineAt is the machine of a log that is opened for it.
func (r *rig) machineAt(log *coordinatortest.Log) *Machine {
	r.open(log.At(log.LogEnd()), r.Clock)
	m := r.machine()
	r.Runtime.Close()
	return m
}

// When members hold as much memory as they may, none joins and none grows; those that are there go on, and may leave.
func TestConsumerMembersAreBounded(t *testing.T) {
	r := newConsumerRig(t)
	a := r.heartbeat("m1", 0, joins("a"))
	r.Memory.Max = 1
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.heartbeat("m2", 0, joins("a")).ErrorCode)
	names := make([]string, 1000)
	for i := range names {
		names[i] = "a topic with a long name"
	}
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.heartbeat("m1", a.MemberEpoch, joins(names...)).ErrorCode)
	require.EqualValues(t, wire.None, r.heartbeat("m1", a.MemberEpoch).ErrorCode)
	require.EqualValues(t, wire.None, r.heartbeat("m1", -1).ErrorCode)
	r.machine().DeleteGroup("g", func(wire.Code) {})
	r.Turn()
	require.Zero(t, r.Memory.Held())
}
