package client

import "github.com/twmb/franz-go/pkg/kmsg"

// addProduce adds a batch to a request, behind those of the same topic.
func addProduce(r *kmsg.ProduceRequest, partition *Partition, records []byte) {
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition.Index, records
	if n := len(r.Topics); n > 0 && r.Topics[n-1].Topic == partition.Topic.Name {
		r.Topics[n-1].Partitions = append(r.Topics[n-1].Partitions, part)
		return
	}
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = partition.Topic.Name, partition.Topic.ID
	topic.Partitions = append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
}

// findProduced is what an answer says of a partition.
func findProduced(v *kmsg.ProduceResponse, partition *Partition) (code int16, base int64, ok bool) {
	for i := range v.Topics {
		t := &v.Topics[i]
		if t.Topic != partition.Topic.Name && (t.Topic != "" || t.TopicID != partition.Topic.ID) {
			continue
		}
		for j := range t.Partitions {
			if got := &t.Partitions[j]; got.Partition == partition.Index {
				return got.ErrorCode, got.BaseOffset, true
			}
		}
	}
	return 0, 0, false
}
