package broker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/quorum"
	"weir/core/wire"
)

// fakeCluster is a quorum of nodes 1 to 3, of which 2 leads, with node 4 as an observer.
type fakeCluster struct {
	rig       *rig
	state     quorum.State
	moving    map[metadata.StreamID]metadata.BrokerID
	begun     []metadata.StreamID
	open      int
	openMax   int
	held      bool // moves get no answer
	refuse    map[metadata.StreamID]error
	asked     []string
	endpoints bool
	catchUp   func() // what the image lacks appears; nil: nothing
	behind    error  // why it cannot be told
}

// member is a node's disk number 7.
func member(node int32) quorum.MemberID { return quorum.MemberID(7<<32 | uint64(node) + 1) }

func newFakeCluster(r *rig) *fakeCluster {
	of := func(node int32, end uint64, heard time.Duration) quorum.MemberState {
		return quorum.MemberState{ID: member(node), End: end, Heard: heard, Caught: 2 * heard}
	}
	return &fakeCluster{
		rig: r, moving: map[metadata.StreamID]metadata.BrokerID{}, refuse: map[metadata.StreamID]error{},
		state: quorum.State{
			Leader: member(2), Term: 7, Applied: 40,
			Voters: []quorum.MemberState{of(1, 39, time.Second), of(2, 41, 0), of(3, 0, -1)}, Learners: []quorum.MemberState{of(4, 20, 3*time.Second)},
		},
	}
}

func (c *fakeCluster) Move(stream metadata.StreamID, to metadata.BrokerID, done func(error)) {
	c.begun, c.moving[stream] = append(c.begun, stream), to
	if c.held {
		return
	}
	c.open++
	c.openMax = max(c.openMax, c.open)
	c.rig.loop.Post(func() {
		c.open--
		done(c.refuse[stream])
	})
}

func (c *fakeCluster) Moving(visit func(t *metadata.Topic, p *metadata.Partition, to metadata.BrokerID)) {
	for _, t := range c.rig.topics {
		for i := range t.Partitions {
			if to, ok := c.moving[t.Partitions[i].Stream]; ok {
				visit(t, &t.Partitions[i], to)
			}
		}
	}
}

func (c *fakeCluster) DescribeQuorum(done func(quorum.State)) {
	c.rig.loop.Post(func() { done(c.state) })
}

func (c *fakeCluster) QuorumEndpoint(node int32) (config.Listener, bool) {
	return config.Listener{Name: "CONTROLLER", Host: "peer", Port: 9090 + node}, c.endpoints
}

func (c *fakeCluster) ChangeMember(change quorum.MemberChange, id quorum.MemberID, done func(error)) {
	verb := map[quorum.MemberChange]string{quorum.PromoteVoter: "promote ", quorum.RemoveMember: "remove "}[change]
	c.asked = append(c.asked, verb+id.String())
	c.rig.loop.Post(func() { done(nil) })
}

func (c *fakeCluster) Unregister(id metadata.BrokerID, done func(error)) {
	c.rig.loop.Post(func() {
		if id != 3 {
			done(&controller.Error{Code: wire.BrokerIDNotRegistered, Message: "no such broker"})
			return
		}
		done(nil)
	})
}

func (c *fakeCluster) CatchUp(_ time.Duration, done func(error)) {
	c.rig.loop.Post(func() {
		if c.catchUp != nil {
			c.catchUp()
		}
		done(c.behind)
	})
}

func (c *fakeCluster) AbandonWAL(r *wire.AbandonWALRequest, done func(*wire.AbandonWALResponse)) {
	c.rig.loop.Post(func() {
		message := "not yet"
		out := &wire.AbandonWALResponse{Waiting: []wire.WaitingWAL{{
			Broker: r.Broker, Epoch: r.Epoch, Partitions: 7, Leaderless: 5, Records: 1 << 40, Offsets: 1 << 31, BytesUsed: -1, BytesMax: 9,
		}}}
		if r.GiveUp {
			out.ErrorCode, out.ErrorMessage = wire.InvalidRequest, &message
		}
		done(out)
	})
}

func TestAbandonWALIsAskedOfTheCluster(t *testing.T) {
	r := newRig(t, "")
	out := ask[*wire.AbandonWALResponse](r, 0, &wire.AbandonWALRequest{Broker: 3, Epoch: 12})
	require.Zero(t, out.ErrorCode)
	require.Equal(t, []wire.WaitingWAL{{Broker: 3, Epoch: 12, Partitions: 7, Leaderless: 5, Records: 1 << 40, Offsets: 1 << 31, BytesUsed: -1, BytesMax: 9}}, out.Waiting)
	out = ask[*wire.AbandonWALResponse](r, 0, &wire.AbandonWALRequest{Broker: 3, Epoch: 12, GiveUp: true})
	require.Equal(t, wire.InvalidRequest, int(out.ErrorCode))
	require.Equal(t, "not yet", *out.ErrorMessage)
}

// reassign asks for replicas of partitions of topic t, or of the topic named.
func reassign(topic string, parts ...kmsg.AlterPartitionAssignmentsRequestTopicPartition) *kmsg.AlterPartitionAssignmentsRequest {
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	r.TimeoutMillis = 1000
	r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: parts}}
	return r
}

func onto(partition int32, replicas ...int32) kmsg.AlterPartitionAssignmentsRequestTopicPartition {
	return kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: partition, Replicas: replicas}
}

func TestReassignmentMovesTheLeader(t *testing.T) {
	for version := int16(0); version <= 1; version++ {
		r := newRig(t, "")
		parts := r.topics[0].Partitions
		r.cluster.refuse[parts[1].Stream] = &controller.Error{Code: wire.LeaderNotAvailable, Message: "no leader"}
		// 3 is fenced, 99 not registered; partitions 0 to 2 are led by 1, 3 by 2
		out := ask[*kmsg.AlterPartitionAssignmentsResponse](r, version, reassign("t",
			onto(0, 2, 1), onto(1, 2), onto(2, 3, 2), onto(3, 2, 1),
			onto(0), onto(0, []int32{}...), onto(0, 1, 99), onto(0, 1, 1), onto(0, -1), onto(0, 3), onto(4, 1), onto(-1, 1)))
		require.Zero(t, out.ErrorCode)
		var codes []int16
		for _, p := range out.Topics[0].Partitions {
			codes = append(codes, p.ErrorCode)
		}
		const bad, none = wire.InvalidReplicaAssignment, wire.NoReassignmentInProgress
		require.Equal(t, []int16{0, wire.LeaderNotAvailable, 0, 0, none, bad, bad, bad, bad, bad, wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition}, codes)
		require.Equal(t, map[metadata.StreamID]metadata.BrokerID{parts[0].Stream: 2, parts[1].Stream: 2, parts[2].Stream: 2}, r.cluster.moving)
	}
}

func TestReassignmentRefusesAsKafkaDoes(t *testing.T) {
	r := newRig(t, "")
	refused := func(parts ...kmsg.AlterPartitionAssignmentsRequestTopicPartition) (int16, string) {
		out := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, reassign("t", parts...)).Topics[0].Partitions[0]
		if out.ErrorMessage == nil {
			return out.ErrorCode, ""
		}
		return out.ErrorCode, *out.ErrorMessage
	}
	for _, c := range []struct {
		part kmsg.AlterPartitionAssignmentsRequestTopicPartition
		code int16
		text string
	}{
		{kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: 0, Replicas: []int32{}}, 39, "The manual partition assignment includes an empty replica list."},
		{onto(0, 99, 1, 1), 39, "The manual partition assignment includes the broker 1 more than once."},
		{onto(0, 99, 1), 39, "The manual partition assignment includes broker 99, but no such broker is registered."},
		{onto(0), 85, ""},
	} {
		code, text := refused(c.part)
		require.Equal(t, c.code, code)
		require.Equal(t, c.text, text)
	}
	request := reassign("t", onto(0, 1, 2))
	request.AllowReplicationFactorChange = false
	p := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, request).Topics[0].Partitions[0]
	require.EqualValues(t, wire.InvalidReplicationFactor, p.ErrorCode)
	require.Equal(t, "The replication factor is changed from 1 to 2", *p.ErrorMessage)
	require.Empty(t, r.cluster.begun)
}

func TestReassignmentWithoutTimeIsNotBegun(t *testing.T) {
	r := newRig(t, "")
	for _, timeout := range []int32{0, -1} {
		request := reassign("t", onto(0, 2))
		request.TimeoutMillis = timeout
		out := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, request)
		require.Equal(t, []int16{wire.RequestTimedOut, wire.RequestTimedOut}, []int16{out.ErrorCode, out.Topics[0].Partitions[0].ErrorCode})
	}
	require.Empty(t, r.cluster.begun)
}

// A move that gets no answer ends with the client's time, and begins no more of the request.
func TestReassignmentTimesOut(t *testing.T) {
	r := newRig(t, "")
	r.cluster.held = true
	request := reassign("t", onto(0, 2))
	request.Version = 1
	id := r.connect()
	correlation := r.send(id, request)
	require.Empty(t, r.answered(id))
	r.pass(2 * time.Second)
	out := answerOf[*kmsg.AlterPartitionAssignmentsResponse](r, id, correlation, request)
	require.EqualValues(t, wire.RequestTimedOut, out.Topics[0].Partitions[0].ErrorCode)
}

func TestManyReassignmentsGoFewAtATime(t *testing.T) {
	r := newRig(t, "")
	many := r.newTopic("many", 500, nil)
	r.topics = append(r.topics, many)
	request := reassign("many")
	for i := range many.Partitions {
		request.Topics[0].Partitions = append(request.Topics[0].Partitions, onto(int32(i), 2))
	}
	out := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, request)
	require.False(t, slices.ContainsFunc(out.Topics[0].Partitions, func(p kmsg.AlterPartitionAssignmentsResponseTopicPartition) bool { return p.ErrorCode != 0 }))
	require.Len(t, r.cluster.begun, 500)
	require.Equal(t, movesInFlightMax, r.cluster.openMax)
}

func TestReassignmentAnswersNoMoreThanManyTimesTheRequest(t *testing.T) {
	r := newRig(t, "")
	for _, name := range []string{strings.Repeat("x", 10_000), strings.Repeat("x", metadata.TopicNameBytesMax), "t"} {
		for _, part := range []kmsg.AlterPartitionAssignmentsRequestTopicPartition{onto(9), {Replicas: []int32{}}, onto(0, 99)} {
			request := reassign(name, slices.Repeat([]kmsg.AlterPartitionAssignmentsRequestTopicPartition{part}, 50_000)...)
			out := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, request)
			require.Len(t, out.Topics[0].Partitions, 50_000)
			require.Less(t, len(out.AppendTo(nil)), 16*len(request.AppendTo(nil)), "%.10s", name)
		}
	}
}

func TestReassignmentsAreListedWhileTheyLast(t *testing.T) {
	r := newRig(t, "")
	list := func(topics []kmsg.ListPartitionReassignmentsRequestTopic) []kmsg.ListPartitionReassignmentsResponseTopic {
		request := kmsg.NewPtrListPartitionReassignmentsRequest()
		request.Topics = topics
		return ask[*kmsg.ListPartitionReassignmentsResponse](r, 0, request).Topics
	}
	require.Empty(t, list(nil))
	r.cluster.moving[r.topics[0].Partitions[0].Stream] = 2
	r.cluster.moving[r.topics[0].Partitions[2].Stream] = 2
	all := list(nil)
	require.Len(t, all, 1)
	require.Len(t, all[0].Partitions, 2)
	require.Equal(t, [][]int32{{2, 1}, {2}, {1}}, [][]int32{all[0].Partitions[0].Replicas, all[0].Partitions[0].AddingReplicas, all[0].Partitions[0].RemovingReplicas})
	require.Empty(t, list([]kmsg.ListPartitionReassignmentsRequestTopic{}))
	some := list([]kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "t", Partitions: []int32{2, 3, 99}}, {Topic: "absent", Partitions: []int32{0}}})
	require.Len(t, some, 1)
	require.Len(t, some[0].Partitions, 1)
	require.EqualValues(t, 2, some[0].Partitions[0].Partition)
}

func TestUnregisterBroker(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrUnregisterBrokerRequest()
	request.BrokerID = 3
	require.Zero(t, ask[*kmsg.UnregisterBrokerResponse](r, 0, request).ErrorCode)
	request.BrokerID = 9
	require.EqualValues(t, wire.BrokerIDNotRegistered, ask[*kmsg.UnregisterBrokerResponse](r, 0, request).ErrorCode)
}

const clusterFile = "controller.listener.names=CONTROLLER\nlisteners=CLIENTS://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\nlistener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT\n"

func TestDescribeQuorumOfACluster(t *testing.T) {
	r := newRig(t, clusterFile)
	r.cluster.endpoints = true
	request := kmsg.NewPtrDescribeQuorumRequest()
	request.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: clusterMetadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	out := ask[*kmsg.DescribeQuorumResponse](r, 2, request)
	p, now := out.Topics[0].Partitions[0], r.WallMillis()
	require.Equal(t, []int64{2, 7, 41}, []int64{int64(p.LeaderID), int64(p.LeaderEpoch), p.HighWatermark})
	show := func(list []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) (rows [][]int64) {
		for _, m := range list {
			require.Equal(t, member(m.ReplicaID).Directory(), m.ReplicaDirectoryID)
			rows = append(rows, []int64{int64(m.ReplicaID), m.LogEndOffset, m.LastFetchTimestamp, m.LastCaughtUpTimestamp})
		}
		return rows
	}
	require.Equal(t, [][]int64{{1, 40, now - 1000, now - 2000}, {2, 42, now, now}, {3, -1, -1, -1}}, show(p.CurrentVoters))
	require.Equal(t, [][]int64{{4, 21, now - 3000, now - 6000}}, show(p.Observers))
	require.Len(t, out.Nodes, 3)
	require.Equal(t, kmsg.DescribeQuorumResponseNodeListener{Name: "CONTROLLER", Host: "peer", Port: 9093}, out.Nodes[2].Listeners[0])

	r.cluster.state.Leader = 0
	require.EqualValues(t, -1, ask[*kmsg.DescribeQuorumResponse](r, 2, request).Topics[0].Partitions[0].LeaderID)
}

func TestVotersAreAddedAndRemoved(t *testing.T) {
	r := newRig(t, clusterFile)
	add := func(node int32, directory [16]byte, listener string, cluster *string) int16 {
		request := kmsg.NewPtrAddRaftVoterRequest()
		request.ClusterID, request.VoterID, request.VoterDirectoryID = cluster, node, directory
		request.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: listener, Host: "h", Port: 1}}
		return ask[*kmsg.AddRaftVoterResponse](r, 1, request).ErrorCode
	}
	other := "another"
	require.EqualValues(t, wire.InconsistentClusterID, add(4, member(4).Directory(), "CONTROLLER", &other))
	require.EqualValues(t, wire.InvalidRequest, add(4, [16]byte{}, "CONTROLLER", nil))
	require.EqualValues(t, wire.InvalidRequest, add(-4, member(4).Directory(), "CONTROLLER", nil))
	require.EqualValues(t, wire.InvalidRequest, add(4, member(4).Directory(), "CLIENTS", nil))
	require.EqualValues(t, wire.InvalidRequest, add(4, member(5).Directory(), "CONTROLLER", nil), "another disk")
	require.EqualValues(t, wire.DuplicateVoter, add(3, member(4).Directory(), "CONTROLLER", nil))
	require.Empty(t, r.cluster.asked)
	require.Zero(t, add(4, member(4).Directory(), "CONTROLLER", kmsg.StringPtr("the-cluster")))

	remove := func(node int32, directory [16]byte) int16 {
		request := kmsg.NewPtrRemoveRaftVoterRequest()
		request.VoterID, request.VoterDirectoryID = node, directory
		return ask[*kmsg.RemoveRaftVoterResponse](r, 0, request).ErrorCode
	}
	require.EqualValues(t, wire.InvalidRequest, remove(3, [16]byte{}))
	require.EqualValues(t, wire.VoterNotFound, remove(4, member(4).Directory()))
	require.EqualValues(t, wire.VoterNotFound, remove(3, member(4).Directory()))
	require.Zero(t, remove(3, member(3).Directory()))
	require.Equal(t, []string{"promote " + member(4).String(), "remove " + member(3).String()}, r.cluster.asked)
}

// A node that is alone answers as Kafka does with static voters.
func TestANodeThatIsAloneHasNoOtherVoters(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrAddRaftVoterRequest()
	request.VoterID, request.VoterDirectoryID = 4, member(4).Directory()
	request.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "h", Port: 1}}
	require.EqualValues(t, wire.UnsupportedVersion, ask[*kmsg.AddRaftVoterResponse](r, 1, request).ErrorCode)
	removal := kmsg.NewPtrRemoveRaftVoterRequest()
	removal.VoterID, removal.VoterDirectoryID = 1, member(1).Directory()
	require.EqualValues(t, wire.UnsupportedVersion, ask[*kmsg.RemoveRaftVoterResponse](r, 0, removal).ErrorCode)
}
