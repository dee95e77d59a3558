// AlterPartitionReassignments (45), versions 0-1 (KIP-455): whether the replication factor may change (KIP-860, version 1).
//
// The object store keeps the copies, so a reassignment moves the lead alone, and takes milliseconds: the first of the replicas
// asked for that is alive and not drained leads. A partition is shown on as many brokers as its topic has replicas (metadata.Image.Replicas), the
// leader first; the replicas behind the first, and how many there are, change nothing.
//
// Differences from Kafka: the answer comes once the old leader has begun to hand over; if none of the brokers is alive, or the
// partition has no leader, nothing is begun, where Kafka waits for them for as long as that takes; texts do not repeat the name
// of a topic for each of many partitions. Nothing is left to cancel: NO_REASSIGNMENT_IN_PROGRESS.

package broker

import (
	"slices"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// movesInFlightMax bounds the moves that one request has under way: each costs the old leader a checkpoint.
const movesInFlightMax = 64

// reassigning is a request under way.
type reassigning struct {
	*wait
	moves []reassignment // that are to begin yet
}

// reassignment is one partition that is to have another leader.
type reassignment struct {
	stream metadata.StreamID
	to     metadata.BrokerID
	topic  int // where the answer goes
	part   int
}

func (b *Broker) alterPartitionReassignments(x exchange, r *kmsg.AlterPartitionAssignmentsRequest) {
	b.whenCurrent(x, r.TimeoutMillis, func() { b.reassignNow(x, r) }, func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
		out.AllowReplicationFactorChange, out.ErrorCode, out.ErrorMessage = r.AllowReplicationFactorChange, code, message
		for i := range r.Topics {
			q, t := &r.Topics[i], kmsg.NewAlterPartitionAssignmentsResponseTopic()
			t.Topic = q.Topic
			for j := range q.Partitions {
				p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
				p.Partition, p.ErrorCode, p.ErrorMessage = q.Partitions[j].Partition, code, message
				t.Partitions = append(t.Partitions, p)
			}
			out.Topics = append(out.Topics, t)
		}
		x.replyMessage(out)
	})
}

func (b *Broker) reassignNow(x exchange, r *kmsg.AlterPartitionAssignmentsRequest) {
	out := r.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	out.AllowReplicationFactorChange = r.AllowReplicationFactorChange
	switch {
	case len(r.Topics) == 0:
		out.ErrorMessage = kmsg.StringPtr("") // not null, as in Kafka
	case r.TimeoutMillis <= 0:
		out.ErrorCode = wire.RequestTimedOut // as in Kafka: the time is over before the work begins
	}
	a := &reassigning{wait: b.newWait(x, func() { x.replyMessage(out) })}
	out.Topics = make([]kmsg.AlterPartitionAssignmentsResponseTopic, len(r.Topics))
	for i := range r.Topics {
		q, t := &r.Topics[i], &out.Topics[i]
		t.Default()
		t.Topic, t.Partitions = q.Topic, make([]kmsg.AlterPartitionAssignmentsResponseTopicPartition, len(q.Partitions))
		topic, _ := b.image.Topic(q.Topic)
		for j := range q.Partitions {
			t.Partitions[j].Default()
			t.Partitions[j].Partition = q.Partitions[j].Partition
			t.Partitions[j].ErrorCode = wire.RequestTimedOut // until it is done
			if out.ErrorCode == 0 {
				a.plan(r, topic, &q.Partitions[j], reassignment{topic: i, part: j}, &t.Partitions[j])
			}
		}
	}
	for range min(len(a.moves), movesInFlightMax) {
		a.next(out)
	}
	a.ready(millisOf(r.TimeoutMillis))
}

// plan decides what becomes of one partition, and queues its move if it needs one. topic is nil if there is none.
func (a *reassigning) plan(r *kmsg.AlterPartitionAssignmentsRequest, topic *metadata.Topic, q *kmsg.AlterPartitionAssignmentsRequestTopicPartition,
	m reassignment, out *kmsg.AlterPartitionAssignmentsResponseTopicPartition,
) {
	to, err := a.broker.nextLeader(topic, q, r.Version < 1 || r.AllowReplicationFactorChange)
	out.ErrorCode, out.ErrorMessage = refusal(err)
	if out.ErrorCode == wire.NoReassignmentInProgress {
		out.ErrorMessage = nil // as in Kafka
	}
	if err != nil || topic.Partitions[q.Partition].Leader == to {
		return
	}
	out.ErrorCode = wire.RequestTimedOut
	m.stream, m.to = topic.Partitions[q.Partition].Stream, to
	a.moves = append(a.moves, m)
	a.add()
}

// next begins the next move. A client that has gone, or whose time is over, gets no more.
func (a *reassigning) next(out *kmsg.AlterPartitionAssignmentsResponse) {
	if len(a.moves) == 0 || a.ended {
		return
	}
	m := a.moves[0]
	a.moves = a.moves[1:]
	a.broker.cluster.Move(m.stream, m.to, func(err error) {
		if a.ended {
			return
		}
		p := &out.Topics[m.topic].Partitions[m.part]
		p.ErrorCode, p.ErrorMessage = refusal(err)
		a.next(out)
		a.done()
	})
}

// nextLeader is who is to lead a partition by a reassignment: the first of the replicas that is alive and not drained.
func (b *Broker) nextLeader(topic *metadata.Topic, q *kmsg.AlterPartitionAssignmentsRequestTopicPartition, mayChangeFactor bool) (metadata.BrokerID, error) {
	switch {
	case topic == nil:
		return 0, &controller.Error{Code: wire.UnknownTopicOrPartition, Message: "Unable to find a topic of that name."}
	case q.Partition < 0 || int(q.Partition) >= len(topic.Partitions):
		return 0, &controller.Error{Code: wire.UnknownTopicOrPartition, Message: "Unable to find that partition."}
	case q.Replicas == nil:
		return 0, &controller.Error{Code: wire.NoReassignmentInProgress}
	}
	if err := controller.ValidateReplicas(b.image, q.Replicas); err != nil {
		return 0, err
	}
	if shown := max(int(topic.ReplicationFactor), 1); !mayChangeFactor && len(q.Replicas) != shown {
		return 0, controller.FactorChanged(shown, len(q.Replicas))
	}
	i := slices.IndexFunc(q.Replicas, func(id int32) bool {
		n, _ := b.image.Broker(metadata.BrokerID(id))
		return n.Ready() && !controller.Drained(b.image, n.ID)
	})
	if i < 0 {
		return 0, &controller.Error{Code: wire.InvalidReplicaAssignment, Message: "All brokers of the assignment are fenced or drained: none could lead."}
	}
	return metadata.BrokerID(q.Replicas[i]), nil
}
