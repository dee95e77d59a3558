// DescribeTopicPartitions (75), version 0 (KIP-966). The lists of eligible leader replicas are always empty: an acknowledged
// record does not depend on replicas.
//
// Difference from Kafka: the listing ends after a cursor at the largest partition number, where Kafka's next cursor
// overflows to a negative one.

package broker

import (
	"slices"
	"strings"

	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describedPartitionsMax bounds the partitions of one answer
// (max.request.partition.size.limit in Kafka).
const describedPartitionsMax = 2000

// describeTopicPartitions describes topics by name, page by page (KIP-966).
func (b *Broker) describeTopicPartitions(x exchange, r *kmsg.DescribeTopicPartitionsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names := b.pagedNames(r)
	if r.Cursor != nil && (r.Cursor.Partition < 0 || len(r.Topics) > 0 && !slices.Contains(names, r.Cursor.Topic)) {
		for i := range r.Topics {
			out.Topics = append(out.Topics, failedTopic(r.Topics[i].Topic, wire.InvalidRequest))
		}
		x.replyMessage(out)
		return
	}
	left := max(min(int(r.ResponsePartitionLimit), describedPartitionsMax), 1)
	for i, name := range names {
		if left == 0 {
			out.NextCursor = cursorAt(names[i], 0)
			break
		}
		t, ok := b.image.Topic(name)
		if !ok {
			out.Topics = append(out.Topics, failedTopic(name, missingCode(name)))
			continue
		}
		first := 0
		if r.Cursor != nil && r.Cursor.Topic == name {
			first = min(int(r.Cursor.Partition), len(t.Partitions))
		}
		end := min(first+left, len(t.Partitions))
		out.Topics = append(out.Topics, b.describedTopic(t, first, end, x.listener()))
		left -= end - first
		if end < len(t.Partitions) {
			out.NextCursor = cursorAt(name, int32(end))
			break
		}
	}
	x.replyMessage(out)
}

func cursorAt(topic string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, partition
	return &cursor
}

// pagedNames lists the topics from the cursor on, sorted, each once.
func (b *Broker) pagedNames(r *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for i := range r.Topics {
		names = append(names, r.Topics[i].Topic)
	}
	if len(names) == 0 {
		for _, t := range b.image.Topics() {
			names = append(names, t.Name)
		}
	}
	slices.SortStableFunc(names, strings.Compare)
	names = slices.Compact(names)
	if r.Cursor != nil {
		from, _ := slices.BinarySearch(names, r.Cursor.Topic)
		names = names[from:]
	}
	return names
}

func missingCode(name string) int16 {
	if !validTopicName(name) {
		return wire.InvalidTopic
	}
	return wire.UnknownTopicOrPartition
}

func failedTopic(name string, code int16) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.ErrorCode = kmsg.StringPtr(name), code
	return t
}

func (b *Broker) describedTopic(t *metadata.Topic, first, end int, listener string) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, isInternal(t.Name)
	out.AuthorizedOperations = topicOperations
	for i := first; i < end; i++ {
		p := &t.Partitions[i]
		s := b.stateOf(p, listener)
		q := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		q.Partition, q.LeaderID, q.LeaderEpoch, q.ErrorCode = p.Index, s.leader, p.LeaderEpoch, s.code
		replicas, isr := b.image.Replicas(nil, t, p)
		q.Replicas, q.ISR, q.OfflineReplicas = shownReplicas(replicas, isr, s)
		q.EligibleLeaderReplicas, q.LastKnownELR = []int32{}, []int32{}
		out.Partitions = append(out.Partitions, q)
	}
	return out
}
