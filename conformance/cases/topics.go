package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topic is a topic of a case.
type topic struct {
	name string
	id   [16]byte
}

// newTopic makes a topic and waits until its partitions have leaders that answer.
func newTopic(c *suite.C, name string, partitions int32, configs ...string) topic {
	t := c.Name(name)
	r := createTopics(t, partitions)
	for i := 0; i < len(configs); i += 2 {
		entry := kmsg.NewCreateTopicsRequestTopicConfig()
		entry.Name, entry.Value = configs[i], &configs[i+1]
		r.Topics[0].Configs = append(r.Topics[0].Configs, entry)
	}
	made := suite.CallV(c, c.Broker.Highest(19), r).Topics[0]
	c.OK(made.ErrorCode, "CreateTopics")
	out := topic{t, made.TopicID}
	for p := range partitions {
		c.Poll("the leader answers", func() bool { return listOffset(c, out, p, -1).ErrorCode == 0 })
	}
	return out
}

func createTopics(name string, partitions int32) *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis = 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	r.Topics = append(r.Topics, t)
	return r
}

// deleteTopic deletes a topic and waits until the broker no longer knows it.
func deleteTopic(c *suite.C, t topic) {
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TimeoutMillis, r.TopicNames = 10_000, []string{t.name}
	c.OK(suite.CallV(c, 5, r).Topics[0].ErrorCode, "DeleteTopics")
	c.Poll("the topic is gone", func() bool {
		return listOffset(c, t, 0, -1).ErrorCode == kerr.UnknownTopicOrPartition.Code
	})
}

// listOffset asks for one offset, by a time or a special timestamp.
func listOffset(c *suite.C, t topic, partition int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	return suite.CallV(c, c.Broker.Highest(2), listOffsets(t, partition, timestamp)).Topics[0].Partitions[0]
}

func listOffsets(t topic, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = partition, timestamp
	in := kmsg.NewListOffsetsRequestTopic()
	in.Topic, in.Partitions = t.name, append(in.Partitions, part)
	r.Topics = append(r.Topics, in)
	return r
}
