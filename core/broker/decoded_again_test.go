package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/env"
)

// TestALargeRequestThatWaitsIsNotKeptDecoded: a client chooses how long the request before it takes, and what is decoded of a
// frame takes many times what the budget for frames counts.
func TestALargeRequestThatWaitsIsNotKeptDecoded(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	fetch := r.deliver(id, frameOf(fetchOf(time.Minute), 1))
	large := r.deliver(id, frameOf(manyNames(), 2))
	small := r.deliver(id, frameOf(metadataOf("t"), 3))
	waiting := r.broker.byID[id].waiting
	require.Nil(t, waiting.Body)
	require.NotNil(t, waiting.next.Body)
	r.pass(time.Minute)
	r.turn()
	require.Equal(t, []int32{1, 2, 3}, r.answered(id))
	require.Len(t, answerOf[*kmsg.DescribeConfigsResponse](r, id, 2, manyNames()).Resources, 1)
	r.wantFramesReleased(fetch, large, small)
}

func TestAClientMayGoWhileItsRequestIsDecodedAgain(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	frames := []*env.Frame{r.deliver(id, frameOf(fetchOf(time.Minute), 1)), r.deliver(id, frameOf(manyNames(), 2)), r.deliver(id, frameOf(metadataOf("t"), 3))}
	r.computing = true
	r.pass(time.Minute)
	require.Equal(t, []int32{1}, r.answered(id))
	r.broker.Closed(id, nil)
	r.turn()
	r.computing = false
	r.compute()
	r.turn()
	require.Equal(t, []int32{1}, r.answered(id))
	r.wantFramesReleased(frames...)
}

// TestProduceOfManyPartitionsIsNotKeptDecoded: nor overtaken by the next while it is decoded again.
func TestProduceOfManyPartitionsIsNotKeptDecoded(t *testing.T) {
	r := newRig(t, "")
	id := r.connect()
	many := produceOf("t", -1, 0)
	for index := range int32(smallParts) {
		many.Topics[0].Partitions = append(many.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 100 + index})
	}
	many.Topics[0].Partitions[0].Records = batchOf(0, 2)
	frames := []*env.Frame{r.deliver(id, frameOf(fetchOf(time.Minute), 1)), r.deliver(id, frameOf(many, 2)), r.deliver(id, frameOf(produceOf("t", -1, 0), 3))}
	waiting := r.broker.byID[id].waiting
	require.Nil(t, waiting.Body)
	require.NotNil(t, waiting.next.Body)
	r.computing = true
	r.pass(time.Minute)
	require.Empty(t, r.logs[1].batches)
	r.computing = false
	r.compute()
	r.turn()
	r.logs[1].durable()
	r.turn()
	require.Equal(t, []int32{1, 2, 3}, r.answered(id))
	first := answerOf[*kmsg.ProduceResponse](r, id, 2, many).Topics[0].Partitions[0]
	second := answerOf[*kmsg.ProduceResponse](r, id, 3, many).Topics[0].Partitions[0]
	require.Equal(t, []int64{0, 2}, []int64{first.BaseOffset, second.BaseOffset})
	r.wantFramesReleased(frames...)
}

func manyNames() *kmsg.DescribeConfigsRequest {
	q := kmsg.NewPtrDescribeConfigsRequest()
	q.Version = 4
	q.Resources = []kmsg.DescribeConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t", ConfigNames: strings.Split(strings.Repeat(",", keptDecodedMax), ","),
	}}
	return q
}
