// DescribeProducers (61), version 0: the producers that a partition knows, and their open transactions (KIP-664).
//
// Differences from Kafka: producers come in the order of their ids, and a partition that is asked for twice is answered once.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeProducers lists the producers of partitions that this broker leads.
func (d *dataPlane) describeProducers(x exchange, r *kmsg.DescribeProducersRequest) {
	response := r.ResponseKind().(*kmsg.DescribeProducersResponse)
	asked := newOnceEach()
	for i := range r.Topics {
		for _, index := range r.Topics[i].Partitions {
			asked.add(r.Topics[i].Topic, index, 0)
		}
	}
	for _, t := range asked.topics {
		topic := kmsg.NewDescribeProducersResponseTopic()
		topic.Topic = t.name
		for _, p := range t.partitions {
			topic.Partitions = append(topic.Partitions, d.describePartition(t.name, p.index))
		}
		response.Topics = append(response.Topics, topic)
	}
	x.releaseFrame()
	x.replyMessage(response)
}

func (d *dataPlane) describePartition(topic string, index int32) kmsg.DescribeProducersResponseTopicPartition {
	out := kmsg.NewDescribeProducersResponseTopicPartition()
	out.Partition = index
	p, code := d.partitions.ByName(topic, index)
	if code != wire.None {
		out.ErrorCode = int16(code)
		return out
	}
	for _, known := range p.Producers() {
		producer := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		producer.ProducerID, producer.ProducerEpoch = known.ID, int32(known.Epoch)
		producer.LastSequence, producer.LastTimestamp = known.LastSequence, known.LastTimestamp
		producer.CoordinatorEpoch, producer.CurrentTxnStartOffset = known.CoordinatorEpoch, known.OpenFrom
		out.ActiveProducers = append(out.ActiveProducers, producer)
	}
	return out
}
