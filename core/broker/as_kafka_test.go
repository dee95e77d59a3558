package broker

import (
	"testing"

	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Corners of requests in which Apache Kafka 4.4 was seen to answer so, by the differential run of conformance/diff.

func TestFetchOfAnUnknownIsolationLevelFails(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	named := r.fetch(fetchAsk{version: 12, epoch: -1, isolation: 2, parts: []asked{{index: 0}}}).fetched()
	require.EqualValues(t, wire.UnknownServerError, named.ErrorCode)
	require.EqualValues(t, wire.UnknownServerError, named.Topics[0].Partitions[0].ErrorCode)
	byID := r.fetch(fetchAsk{version: 13, epoch: -1, isolation: 2, parts: []asked{{index: 0}}}).fetched()
	require.EqualValues(t, wire.UnknownServerError, byID.ErrorCode)
	require.Empty(t, byID.Topics)
}

func TestFetchOfAPartitionTwiceTakesTheLast(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	parts := r.fetch(fetchAsk{version: 12, epoch: -1, parts: []asked{{index: 0}, {index: 0, offset: 2}}}).parts()
	require.Len(t, parts, 1)
	require.Equal(t, 1, batchesIn(parts[0].RecordBatches))
}

func TestFetchKeepsThePartitionsLimitAfterTheFirstData(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	r.fill(2, 3)
	parts := r.fetch(fetchAsk{version: 12, epoch: -1, parts: []asked{{index: 0, max: 1}, {index: 1, max: 1}}}).parts()
	require.Equal(t, 1, batchesIn(parts[0].RecordBatches))
	require.Empty(t, parts[1].RecordBatches)
}

func TestFetchWithANegativeLimitFails(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	parts := r.fetch(fetchAsk{version: 12, epoch: -1, max: -1, parts: []asked{{index: 0}, {index: 1}}}).parts()
	require.EqualValues(t, wire.UnknownServerError, parts[0].ErrorCode)
	require.Zero(t, parts[1].ErrorCode, "there is nothing to read")
}

func TestFetchOfAReplicaFindsNoLeader(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	q := kmsg.NewPtrFetchRequest()
	q.Version, q.ReplicaID, q.SessionEpoch, q.MaxBytes = 12, 1, -1, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	q.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	x := &trade{t: t, v: 12}
	r.plane.fetch(x, q)
	require.EqualValues(t, wire.NotLeaderOrFollower, x.parts()[0].ErrorCode)
}

func TestSessionIsMadeWithoutPartitions(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	opened := r.fetch(fetchAsk{version: 12}).fetched()
	require.NotZero(t, opened.SessionID)
	parts := r.fetch(fetchAsk{version: 12, session: opened.SessionID, epoch: 1, parts: []asked{{index: 0}}}).parts()
	require.Len(t, parts, 1)
}

func TestNoSlotsKeepNoSessions(t *testing.T) { // max.incremental.fetch.session.cache.slots=0
	r := newDataRig(t)
	r.fill(1, 3)
	r.plane.sessions.slots = 0
	x := r.fetch(fetchAsk{version: 12, parts: []asked{{index: 1}}})
	require.Zero(t, x.fetched().SessionID)
	require.Len(t, x.parts(), 1)
}

func TestSessionForgetsWhatTheSameRequestAdds(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	r.fill(2, 3)
	opened := r.fetch(fetchAsk{version: 12, parts: []asked{{index: 0}}}).fetched()
	next := r.fetch(fetchAsk{version: 12, session: opened.SessionID, epoch: 1, parts: []asked{{index: 1}}, forget: []int32{1}})
	for _, p := range next.parts() {
		require.NotEqualValues(t, 1, p.Partition)
	}
}

func TestListOffsetsAnswersARepeatedPartitionOnce(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	one := kmsg.NewListOffsetsRequestTopicPartition()
	one.Timestamp, one.CurrentLeaderEpoch = -1, -1
	topic := kmsg.ListOffsetsRequestTopic{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{one}}
	request.Topics = []kmsg.ListOffsetsRequestTopic{topic, topic, {Topic: "empty"}}
	out := ask[*kmsg.ListOffsetsResponse](r, 7, request)
	require.Len(t, out.Topics, 1)
	require.Len(t, out.Topics[0].Partitions, 1)
	require.EqualValues(t, wire.InvalidRequest, out.Topics[0].Partitions[0].ErrorCode)
	request.Topics, request.IsolationLevel = request.Topics[:1], 2
	out = ask[*kmsg.ListOffsetsResponse](r, 7, request)
	require.EqualValues(t, wire.UnknownServerError, out.Topics[0].Partitions[0].ErrorCode)
}

func TestOffsetForALeaderEpochBelowAll(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrOffsetForLeaderEpochRequest()
	request.ReplicaID = -1
	request.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1, LeaderEpoch: -2}}}}
	p := ask[*kmsg.OffsetForLeaderEpochResponse](r, 4, request).Topics[0].Partitions[0]
	require.EqualValues(t, -2, p.LeaderEpoch)
	require.Zero(t, p.EndOffset)
}

func TestMetadataNeverMakesTheClustersOwnTopic(t *testing.T) {
	r := newRig(t, "")
	request := metadataOf(clusterMetadataTopic)
	request.AllowAutoTopicCreation = true
	out := describeMetadata(r, 12, request)
	require.EqualValues(t, wire.UnknownTopicOrPartition, out.Topics[0].ErrorCode)
	require.Empty(t, r.controller.asked)
}

func TestMetadataByIDOfAVersionWithoutIt(t *testing.T) {
	r := newRig(t, "")
	request := metadataOf("t")
	request.Topics[0].TopicID = r.topics[0].ID
	out := describeMetadata(r, 11, request)
	require.EqualValues(t, wire.InvalidRequest, out.Topics[0].ErrorCode)
	require.EqualValues(t, -1, out.ControllerID)
	require.Empty(t, out.Brokers)
}

func TestMetadataByIDLeavesNamesOut(t *testing.T) {
	r := newRig(t, "")
	request := metadataOf("absent")
	one := kmsg.NewMetadataRequestTopic()
	one.TopicID = r.topics[0].ID
	request.Topics = append(request.Topics, one)
	require.Len(t, describeMetadata(r, 12, request).Topics, 1)
}

func TestDeleteTopicsAnswersWhatIsRepeatedOnce(t *testing.T) {
	name, absent := "t", "absent"
	strange := metadata.TopicID{9}
	for what, c := range map[string]struct {
		topics func(id metadata.TopicID) []kmsg.DeleteTopicsRequestTopic
		code   int16
	}{
		"by name": {func(metadata.TopicID) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{Topic: &name}, {Topic: &name}}
		}, wire.InvalidRequest},
		"absent": {func(metadata.TopicID) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{Topic: &absent}, {Topic: &absent}}
		}, wire.InvalidRequest},
		"by id": {func(id metadata.TopicID) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: id}, {TopicID: id}}
		}, wire.InvalidRequest},
		"unknown ids": {func(metadata.TopicID) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: strange}, {TopicID: strange}}
		}, wire.InvalidRequest},
		"by id and name": {func(id metadata.TopicID) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: id}, {Topic: &name}}
		}, wire.InvalidRequest},
	} {
		r := newRig(t, "")
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.TimeoutMillis, request.Topics = 1000, c.topics(r.topics[0].ID)
		out := ask[*kmsg.DeleteTopicsResponse](r, 6, request)
		require.Len(t, out.Topics, 1, what)
		require.Equal(t, c.code, out.Topics[0].ErrorCode, what)
		require.NotEmpty(t, r.topics, what)
	}
}

func TestDescribeTopicPartitionsWantsTheCursorsTopic(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrDescribeTopicPartitionsRequest()
	request.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
	request.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "a"}
	out := ask[*kmsg.DescribeTopicPartitionsResponse](r, 0, request)
	require.EqualValues(t, wire.InvalidRequest, out.Topics[0].ErrorCode)
}

func TestProduceLeavesATopicWithoutPartitionsOut(t *testing.T) {
	r := newDataRig(t)
	x := r.produce(9, -1, "t", 1)
	m := kmsg.NewPtrProduceResponse()
	m.Version = 9
	require.NoError(t, m.ReadFrom(x.body))
	require.Empty(t, m.Topics)
}
