package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/metadata"
	"weir/core/wire"
)

const (
	wideTopic     = 60 // partitions
	wideTopicFrom = 10 // the stream of the first
)

// newWideRig has a topic of more partitions than lookups may be under way for one request, with a batch in each.
func newWideRig(t *testing.T) (*dataRig, []int32) {
	r := newDataRig(t)
	wide := &metadata.Topic{ID: metadata.TopicID{2}, Name: "wide"}
	var indexes []int32
	var batches [][]byte
	for i := range int32(wideTopic) {
		wide.Partitions = append(wide.Partitions, metadata.Partition{Index: i, Stream: metadata.StreamID(wideTopicFrom + i), Leader: 1, LeaderEpoch: 5})
		indexes, batches = append(indexes, i), append(batches, batchOf(compress.Gzip, 10))
	}
	r.topics = append(r.topics, wide)
	require.NoError(t, r.plane.partitions.ImageChanged())
	r.produce(9, -1, "wide", 2, batches...)
	for i := range indexes {
		r.wideLog(i).durable()
		r.wideLog(i).late = true
	}
	return r, indexes
}

func (r *dataRig) wideLog(i int) *memoryLog { return r.logs[metadata.StreamID(wideTopicFrom+i)] }

// underWay counts the reads that were begun, and those that were not given back.
func (r *dataRig) underWay() (begun, unreleased int) {
	for i := range wideTopic {
		begun += len(r.wideLog(i).deferred)
		unreleased += r.wideLog(i).lent - r.wideLog(i).released
	}
	return begun, unreleased
}

func (r *dataRig) listWide(indexes []int32) *trade {
	q := kmsg.NewPtrListOffsetsRequest()
	q.Version = 7
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = "wide"
	for _, index := range indexes {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = index, 1004
		topic.Partitions = append(topic.Partitions, p)
	}
	q.Topics = append(q.Topics, topic)
	x := &trade{t: r.t, v: 7}
	r.plane.listOffsets(x, q)
	return x
}

// TestLookupsOfOneRequestAreFew: each reads blocks of the object store and opens a batch, and one request may ask for thousands.
func TestLookupsOfOneRequestAreFew(t *testing.T) {
	r, indexes := newWideRig(t)
	x := r.listWide(indexes)
	for rounds := 0; !x.answered; rounds++ {
		require.Less(t, rounds, wideTopic)
		begun, _ := r.underWay()
		require.LessOrEqual(t, begun, lookupsMax)
		for i := range indexes {
			r.wideLog(i).deliver()
		}
		r.compute()
	}
	x.want(true)
	for _, p := range x.message.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		require.Zero(t, p.ErrorCode)
		require.EqualValues(t, 4, p.Offset)
	}
	_, unreleased := r.underWay()
	require.Zero(t, unreleased)
}

// TestLookupsThatWaitEndWithTheirRequest: none begins once the time is over, or the client is gone.
func TestLookupsThatWaitEndWithTheirRequest(t *testing.T) {
	for name, end := range map[string]func(r *dataRig, x *trade){
		"the time is over":   func(r *dataRig, _ *trade) { r.pass(listOffsetsTimeoutBefore) },
		"the client is gone": func(_ *dataRig, x *trade) { x.gone() },
	} {
		r, indexes := newWideRig(t)
		x := r.listWide(indexes)
		end(r, x)
		if x.answered {
			parts := x.message.(*kmsg.ListOffsetsResponse).Topics[0].Partitions
			require.EqualValues(t, wire.RequestTimedOut, parts[wideTopic-1].ErrorCode, name)
		}
		for i := range indexes {
			r.wideLog(i).deliver()
		}
		begun, unreleased := r.underWay()
		require.Zero(t, begun, name)
		require.Zero(t, unreleased, name)
		require.LessOrEqual(t, x.ended, 1, name)
	}
}

// TestALookupOfAPartitionThatClosedMeanwhileIsAnswered: its stream must not be asked any more.
func TestALookupOfAPartitionThatClosedMeanwhileIsAnswered(t *testing.T) {
	r, indexes := newWideRig(t)
	x := r.listWide(indexes)
	r.plane.partitions.Close()
	for i := range indexes {
		r.wideLog(i).deliver()
	}
	r.compute()
	x.want(true)
	parts := x.message.(*kmsg.ListOffsetsResponse).Topics[0].Partitions
	require.Zero(t, parts[0].ErrorCode)
	require.EqualValues(t, wire.NotLeaderOrFollower, parts[wideTopic-1].ErrorCode)
}

// TestAHeavyAnswerCountsWhileItWaits: the client holds it with one slow lookup among thousands of partitions that are not there.
func TestAHeavyAnswerCountsWhileItWaits(t *testing.T) {
	r, _ := newWideRig(t)
	indexes := []int32{0}
	for i := range int32(listHeavyParts) {
		indexes = append(indexes, wideTopic+i)
	}
	x := r.listWide(indexes)
	require.NotZero(t, r.plane.held.bytes)
	r.wideLog(0).deliver()
	r.compute()
	x.want(true)
	require.Zero(t, r.plane.held.bytes)
}
