// ListPartitionReassignments (46), version 0 (KIP-455).
//
// A move takes milliseconds, so the list is nearly always empty. It has the moves that this broker knows of: those that were
// asked of it.

package broker

import (
	"slices"

	"weir/core/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listPartitionReassignments lists the partitions that are being moved. Topics and partitions that are not are left out, those that
// do not exist too.
func (b *Broker) listPartitionReassignments(x exchange, r *kmsg.ListPartitionReassignmentsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	wanted := make(map[string]map[int32]bool, len(r.Topics))
	for i := range r.Topics {
		q := &r.Topics[i]
		if wanted[q.Topic] == nil {
			wanted[q.Topic] = make(map[int32]bool, len(q.Partitions))
		}
		for _, index := range q.Partitions {
			wanted[q.Topic][index] = true
		}
	}
	b.cluster.Moving(func(t *metadata.Topic, p *metadata.Partition, to metadata.BrokerID) {
		if r.Topics == nil || wanted[t.Name][p.Index] {
			addMoving(out, t, b.movingPartition(t, p, to))
		}
	})
	x.replyMessage(out)
}

// addMoving adds a partition to its topic, which is the last if it is there.
func addMoving(out *kmsg.ListPartitionReassignmentsResponse, t *metadata.Topic, p kmsg.ListPartitionReassignmentsResponseTopicPartition) {
	if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != t.Name {
		in := kmsg.NewListPartitionReassignmentsResponseTopic()
		in.Topic = t.Name
		out.Topics = append(out.Topics, in)
	}
	last := &out.Topics[len(out.Topics)-1]
	last.Partitions = append(last.Partitions, p)
}

// movingPartition shows a move: the new leader is being added, in place of the last replica if it is none yet.
func (b *Broker) movingPartition(t *metadata.Topic, p *metadata.Partition, to metadata.BrokerID) kmsg.ListPartitionReassignmentsResponseTopicPartition {
	out := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
	out.Partition = p.Index
	replicas, _ := b.image.Replicas(nil, t, p)
	if !slices.Contains(replicas, int32(to)) {
		out.AddingReplicas, out.RemovingReplicas = []int32{int32(to)}, []int32{int32(p.Leader)}
		replicas = append([]int32{int32(to)}, replicas...)
	}
	out.Replicas = replicas
	return out
}
