// OffsetForLeaderEpoch (23), versions 2-4 (KIP-101): the client's own epoch (KIP-320, version 2), the id of the replica
// (KIP-392, 3).

package broker

import (
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetForLeaderEpoch says where leader epochs end (KIP-320). The newest ends at
// the high watermark: clients may know of nothing above it. A consumer that follows a hint of the old leader asks here before it fetches; it waits for
// a partition that was announced, within arrivalLimit: told that this is not the leader, it would ask again a second later.
func (d *dataPlane) offsetForLeaderEpoch(x exchange, r *kmsg.OffsetForLeaderEpochRequest) {
	if d.expectsAny(r) {
		d.moved.Hit()
		d.loop.After(fetchMovePoll, func() { d.offsetForLeaderEpoch(x, r) })
		return
	}
	response := r.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	response.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(r.Topics))
	for i := range r.Topics {
		t := &response.Topics[i]
		t.Default()
		t.Topic = r.Topics[i].Topic
		t.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(r.Topics[i].Partitions))
		for j := range t.Partitions {
			q, out := &r.Topics[i].Partitions[j], &t.Partitions[j]
			out.Default()
			out.Partition, out.LeaderEpoch, out.EndOffset = q.Partition, partition.UndefinedEpoch, partition.UndefinedOffset
			p, code := d.partitions.ByName(t.Topic, q.Partition)
			if code == wire.None {
				code = p.CheckEpoch(q.CurrentLeaderEpoch)
			}
			if code != wire.None {
				out.ErrorCode = int16(code)
				continue
			}
			if q.LeaderEpoch < partition.UndefinedEpoch {
				// No record has such an epoch: Kafka answers the epoch itself, and the log's start.
				out.LeaderEpoch, out.EndOffset = q.LeaderEpoch, p.LogStart()
				continue
			}
			out.LeaderEpoch, out.EndOffset = p.EpochEnd(q.LeaderEpoch)
		}
	}
	x.releaseFrame()
	x.replyMessage(response)
}

// expectsAny reports whether a partition of the request was announced and is not open yet.
func (d *dataPlane) expectsAny(r *kmsg.OffsetForLeaderEpochRequest) bool {
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			if d.expected(false, metadata.TopicID{}, t.Topic, t.Partitions[j].Partition) {
				return true
			}
		}
	}
	return false
}
