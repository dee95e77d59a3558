package group

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/core/group/consumer"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// recount is what a machine holds, counted anew.
func (m *Machine) recount() int64 {
	n := m.recountDurable()
	for _, g := range m.groups {
		n += g.bytes()
		c, ok := g.members.(*classic)
		if !ok {
			continue
		}
		for _, mb := range c.members {
			n += mb.bytes()
		}
		for topic := range c.topics {
			n += int64(topicBytes + len(topic))
		}
		for id := range c.pending {
			n += int64(pendingBytes + len(id) + len(g.id))
		}
	}
	return n
}

// recountDurable is the part that is in the log. A group itself may be there with nothing in the log.
func (m *Machine) recountDurable() (n int64) {
	for _, g := range m.groups {
		for topic, of := range g.offsets {
			for _, o := range of {
				n += o.bytes(g.id, topic)
			}
		}
		switch members := g.members.(type) {
		case *classic:
			n += int64(len(members.stored))
		case *consumerGroup:
			n += members.group.Bytes()
		}
	}
	for _, t := range m.open {
		n += transactionBytes
		for at, o := range t.values {
			n += at.bytes(o)
		}
	}
	return n
}

// At the bound offsets of more partitions are refused, plain and staged, and longer metadata. Those of partitions that have one
// are stored, transactions end, and what is deleted makes room.
func TestOffsetsAreBounded(t *testing.T) {
	r := newRig(t)
	require.EqualValues(t, wire.None, r.commit("a", 0, 1))
	require.EqualValues(t, wire.None, r.stage(7, "a", 1, 5))
	r.Memory.Max = r.Memory.Held()
	require.EqualValues(t, wire.None, r.commit("a", 0, 2))
	require.EqualValues(t, wire.None, r.stage(7, "a", 1, 6))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.commit("b", 0, 2))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.commit("a", 0, 3, func(q *kmsg.OffsetCommitRequest) {
		q.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("x", 4000))
	}))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.commit("a", 0, 2, func(q *kmsg.OffsetCommitRequest) { q.Group = "another" }))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.stage(7, "b", 0, 2))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.stage(8, "a", 1, 2))
	require.EqualValues(t, 2, r.offset("a", 0))
	require.Len(t, r.machine().groups, 1)
	r.marker(7, true)
	require.EqualValues(t, 6, r.offset("a", 1))
	require.EqualValues(t, wire.None, r.commit("b", 0, 2), "a committed offset takes less than a staged one")
	r.deleteOffsets("a", 1)
	r.deleteOffsets("b", 0)
	require.EqualValues(t, wire.None, r.commit("b", 1, 2))
	require.Equal(t, r.machine().recount(), r.Memory.Held())

	// A coordinator that loads more than it may hold serves, and refuses what is more still.
	r.open(r.log.Reopen(), r.Clock)
	r.Memory.Max = 1
	require.EqualValues(t, 2, r.offset("b", 1))
	require.EqualValues(t, wire.None, r.commit("b", 1, 3))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.commit("b", 0, 3))
	r.Runtime.Close()
	require.Zero(t, r.Memory.Held())
}

// At the bound members go on as they are, and leave. None joins, none says more of itself, and their leader assigns no more.
func TestMembersGoOnAtTheBound(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(2)
	r.Memory.Max = r.Memory.Held()
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.join("", static("i")).code())
	longer := func(q *kmsg.JoinGroupRequest) { q.Protocols[0].Metadata = make([]byte, 10_000) }
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.join(ids[0], longer).code())
	require.EqualValues(t, wire.None, r.beat(ids[0], generation))
	first, second := r.join(ids[0]), r.join(ids[1])
	require.EqualValues(t, wire.None, first.code())
	require.EqualValues(t, wire.None, second.code())
	generation = first.out.Generation
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 3, "g", ids[0], generation
	q.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: ids[0], MemberAssignment: make([]byte, 100_000)}}
	code := wire.Code(noAnswer)
	r.machine().Sync(q, func(a *kmsg.SyncGroupResponse) { code = wire.Code(a.ErrorCode) })
	r.Turn()
	require.EqualValues(t, wire.CoordinatorNotAvailable, code)
	first, _ = r.join(ids[0]), r.join(ids[1])
	require.EqualValues(t, wire.None, r.sync(ids[0], first.out.Generation, ids...).code(), "it assigns as much as before")
	r.leave(ids...)
	r.pass(time.Minute)
	require.Equal(t, "Empty", r.phase())
	require.Equal(t, r.machine().recount(), r.Memory.Held())
}

// What of a group of KIP-848 depends on its members' words is refused at the bound, by either protocol.
func TestConsumerGroupsAtTheBound(t *testing.T) {
	r := newConsumerRig(t)
	a := r.heartbeat("m1", 0, joins("a"))
	require.Equal(t, r.machine().recount(), r.Memory.Held())
	r.Memory.Max = r.Memory.Held()
	for _, more := range []func(*kmsg.ConsumerGroupHeartbeatRequest){
		matches(strings.Repeat("a|", 1000) + "b"),
		func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = kmsg.StringPtr(strings.Repeat("r", 1000)) },
		joins("a", strings.Repeat("x", 249)),
	} {
		require.EqualValues(t, wire.CoordinatorNotAvailable, r.heartbeat("m1", a.MemberEpoch, more).ErrorCode)
	}
	require.EqualValues(t, wire.None, r.heartbeat("m1", a.MemberEpoch).ErrorCode)
	require.EqualValues(t, wire.None, r.heartbeat("m1", 0, joins("a")).ErrorCode, "it may join again as it was")
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.join("", func(q *kmsg.JoinGroupRequest) {
		q.Protocols[0].Metadata = (&kmsg.ConsumerMemberMetadata{Topics: []string{"a"}}).AppendTo(nil)
	}).code())
	r.reload()
	require.EqualValues(t, wire.None, r.heartbeat("m1", a.MemberEpoch).ErrorCode)
	require.Equal(t, r.machine().recount(), r.Memory.Held())
}

// What is short in a request and long in memory is counted as it is held.
func TestSmallThingsAreCounted(t *testing.T) {
	r := newRig(t)
	const many = 10_000
	r.join("", func(q *kmsg.JoinGroupRequest) {
		q.Protocols = nil
		for i := range many {
			q.Protocols = append(q.Protocols, kmsg.JoinGroupRequestProtocol{Name: strconv.FormatInt(int64(i), 36)})
		}
	})
	require.Greater(t, r.Memory.Held(), int64(100*many), "protocols, each with its place among the votes")

	r = newRig(t)
	topics := make([]string, many)
	for i := range topics {
		topics[i] = strconv.FormatInt(int64(i), 36)
	}
	r.join("", func(q *kmsg.JoinGroupRequest) { q.Protocols[0].Metadata = subscription(topics...) })
	r.pass(3 * time.Second)
	require.Greater(t, r.Memory.Held(), int64(50*many), "topics that a member subscribes to")
	require.Equal(t, r.machine().recount(), r.Memory.Held())

	r = newConsumerRig(t)
	id := strings.Repeat("m", 30_000) // which the client chooses
	r.heartbeat(id, 0, joins("a"))
	require.Greater(t, r.Memory.Held(), int64(2*len(id)), "of the member and of its target")
	require.Equal(t, r.machine().recount(), r.Memory.Held())
	r.Memory.Max = r.Memory.Held() + int64(len(id))
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.heartbeat("n"+id, 0, joins("a")).ErrorCode)
	require.EqualValues(t, wire.None, r.heartbeat(id, -1).ErrorCode)
	require.Less(t, r.Memory.Held(), int64(len(id)))

	r = newRig(t)
	group := strings.Repeat("g", 30_000) // which each record has
	for p := range int32(2) {
		require.EqualValues(t, wire.None, r.commit("a", p, 1, func(q *kmsg.OffsetCommitRequest) { q.Group = group }))
	}
	require.Greater(t, r.Memory.Held(), int64(2*len(group)))
	require.Equal(t, r.machine().recount(), r.Memory.Held())
}

// A member keeps nothing of the frame of its join, as tags that are not known here would, nor room for what its join repeats.
func TestMemberKeepsNoFrame(t *testing.T) {
	r := newRig(t)
	j := r.join("", func(q *kmsg.JoinGroupRequest) {
		q.Version, q.InstanceID, q.Reason = 9, kmsg.StringPtr("i"), kmsg.StringPtr("why")
		q.UnknownTags.Set(100, []byte("in the frame"))
		q.Protocols[0].UnknownTags.Set(100, []byte("in the frame"))
		q.Protocols = slices.Repeat(q.Protocols, 1000)
	})
	require.Nil(t, j.out)
	mb := r.machine().groups["g"].members.(*classic).members[0]
	require.Zero(t, mb.join.UnknownTags.Len())
	require.Nil(t, mb.join.Reason)
	require.Zero(t, mb.protocols[0].UnknownTags.Len())
	require.Less(t, cap(mb.protocols), 10)
}

// What expressions match is refused at the bound: the group goes on with what they matched before.
func TestExpressionsAtTheBound(t *testing.T) {
	r := newConsumerRig(t)
	expression := func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		joins()(q)
		matches("[a-z]+")(q)
		q.SubscribedTopicNames = nil
	}
	member := func() *consumer.Member { return r.machine().consumerOf("g").group.Member("m1") }
	r.log.Held = true // until the member is stored
	r.heartbeat("m1", 0, expression)
	r.Memory.Max = 1
	r.log.Held = false
	r.log.Durable()
	r.Turn()
	require.Empty(t, member().Assigned)
	require.EqualValues(t, wire.None, r.heartbeat("m1", member().Epoch).ErrorCode)
	require.Empty(t, member().Assigned)
	r.Memory.Max = 1 << 20
	r.heartbeat("m1", member().Epoch)
	r.heartbeat("m1", member().Epoch)
	require.Len(t, member().Assigned, 2)
}

// The frames of requests are given back before they wait. While the log is full, large ones are refused once so many wait; small ones,
// and one alone, may wait whatever there is. What waits is given back, whether it is written, refused or the shard closes.
func TestLargeRequestsThatWaitAreBounded(t *testing.T) {
	r := newRig(t)
	r.setPartitions(20_000)
	large := func(group string) *Commit {
		q := commitRequest("a", 0, 1)
		q.Group = group
		for p := int32(1); p < 5_000; p++ {
			next := q.Topics[0].Partitions[0]
			next.Partition = p
			q.Topics[0].Partitions = append(q.Topics[0].Partitions, next)
		}
		return NewCommit(r.image, q)
	}
	require.EqualValues(t, wire.None, r.commitOf(large("g"))()) // what follows holds no more
	for name, end := range map[string]func(){
		"written": func() { r.log.Durable() },
		"closed":  func() { r.log.Close() },
	} {
		r.reload()
		r.log.Held, r.Memory.Max = true, 1<<20
		var codes []func() wire.Code
		for range 50 {
			codes = append(codes, r.commitOf(large("g")))
		}
		small := r.commitOf(NewCommit(r.image, commitRequest("a", 0, 1)))
		q := kmsg.NewPtrOffsetDeleteRequest()
		q.Group = "g"
		for range 10_000 {
			q.Topics = append(q.Topics, kmsg.NewOffsetDeleteRequestTopic())
		}
		var deleted *kmsg.OffsetDeleteResponse
		r.machine().DeleteOffsets(q, func(o *kmsg.OffsetDeleteResponse) { deleted = o })
		require.EqualValues(t, wire.CoordinatorNotAvailable, deleted.ErrorCode, name)
		require.LessOrEqual(t, r.Memory.Waiting(), int64(4<<20), name)
		require.EqualValues(t, noAnswer, codes[0](), name)
		require.EqualValues(t, wire.CoordinatorNotAvailable, codes[49](), name)
		require.EqualValues(t, noAnswer, small(), name)
		end()
		r.Turn()
		require.Zero(t, r.Memory.Waiting(), name)
		require.NotEqualValues(t, noAnswer, codes[0](), name)
		require.NotEqualValues(t, noAnswer, small(), name)
	}
}

// commitOf begins a commit; what it returns is the code of its first partition.
func (r *rig) commitOf(c *Commit) func() wire.Code {
	code := wire.Code(noAnswer)
	r.machine().Commit(c, func() { code = c.results[0].codes[0] })
	return func() wire.Code { return code }
}
