// OffsetForLeaderEpoch (23), versions 2-4 (KIP-101): the client's own epoch (KIP-320, version 2), the id of the replica
// (KIP-392, 3).

package broker

import (
	"weir/core/partition"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetForLeaderEpoch says where leader epochs end (KIP-320). The newest ends at
// the high watermark: clients may know of nothing above it.
func (d *dataPlane) offsetForLeaderEpoch(x exchange, r *kmsg.OffsetForLeaderEpochRequest) {
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
