package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func createTopicsCases() []suite.Case {
	return suite.OfAPI(19,
		suite.Case{Name: "a topic", Run: func(c *suite.C) {
			got := created(c, createTopics(c.Name("t"), 3))
			c.OK(got.ErrorCode)
			c.Equal("Topic", got.Topic, c.Name("t"))
			c.Equal("ErrorMessage", got.ErrorMessage, (*string)(nil))
			if c.V >= 5 {
				c.Equal("NumPartitions", got.NumPartitions, 3)
				c.Equal("ReplicationFactor", got.ReplicationFactor, 1)
				c.True("its configuration is told", len(got.Configs) > 10)
			}
			if c.V >= 7 {
				c.True("there is a topic id", got.TopicID != [16]byte{})
			}
			c.Poll("the topic is there", func() bool { return len(describeTopic(c, c.Name("t")).Partitions) == 3 })
		}},
		suite.Case{Name: "a topic that exists", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			got := created(c, createTopics(t.name, 1))
			c.Code(got.ErrorCode, kerr.TopicAlreadyExists)
			c.Equal("ErrorMessage", *got.ErrorMessage, "Topic '"+t.name+"' already exists.")
		}},
		suite.Case{Name: "validation makes nothing", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 3)
			r.ValidateOnly = true
			c.OK(created(c, r).ErrorCode)
			c.Code(describeTopic(c, c.Name("t")).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "invalid names", Run: func(c *suite.C) {
			for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", long(250)} {
				c.Code(created(c, createTopics(name, 1)).ErrorCode, kerr.InvalidTopicException, name)
			}
		}},
		suite.Case{Name: "the longest name", Run: func(c *suite.C) {
			name := c.Name("")
			c.OK(created(c, createTopics(name+long(249-len(name)), 1)).ErrorCode)
		}},
		suite.Case{Name: "names that collide", Run: func(c *suite.C) {
			c.OK(created(c, createTopics(c.Name("a.b"), 1)).ErrorCode)
			c.Code(created(c, createTopics(c.Name("a_b"), 1)).ErrorCode, kerr.InvalidTopicException)
		}},
		suite.Case{Name: "no partitions", Run: func(c *suite.C) {
			for _, n := range []int32{0, -2} {
				c.Code(created(c, createTopics(c.Name("t"), n)).ErrorCode, kerr.InvalidPartitions)
			}
		}},
		suite.Case{Name: "default partitions and replicas", Versions: from(4), Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), -1)
			r.Topics[0].ReplicationFactor = -1
			c.OK(created(c, r).ErrorCode)
		}},
		suite.Case{Name: "too many replicas", Run: func(c *suite.C) {
			for _, n := range []int16{int16(c.Broker.Brokers) + 1, 0, -2} {
				r := createTopics(c.Name("t"), 1)
				r.Topics[0].ReplicationFactor = n
				c.Code(created(c, r).ErrorCode, kerr.InvalidReplicationFactor)
			}
		}},
		suite.Case{Name: "a configuration", Versions: from(5), Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			r.Topics[0].Configs = append(r.Topics[0].Configs, topicConfig("retention.ms", "12345"))
			got := created(c, r)
			c.OK(got.ErrorCode)
			for _, entry := range got.Configs {
				if entry.Name == "retention.ms" {
					c.Equal("Value", *entry.Value, "12345")
					c.Equal("Source", entry.Source, 1)
					return
				}
			}
			c.Fail("retention.ms is not told")
		}},
		suite.Case{Name: "an unknown configuration", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			r.Topics[0].Configs = append(r.Topics[0].Configs, topicConfig("nonsense", "1"))
			c.Code(created(c, r).ErrorCode, kerr.InvalidConfig)
		}},
		suite.Case{Name: "an invalid value", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			r.Topics[0].Configs = append(r.Topics[0].Configs, topicConfig("retention.ms", "long"))
			c.Code(created(c, r).ErrorCode, kerr.InvalidConfig)
		}},
		suite.Case{Name: "an assignment of replicas", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), -1)
			r.Topics[0].ReplicationFactor = -1
			r.Topics[0].ReplicaAssignment = append(r.Topics[0].ReplicaAssignment, replicas(0, c.Broker.NodeID), replicas(1, c.Broker.NodeID))
			c.OK(created(c, r).ErrorCode)
			c.Poll("the topic is there", func() bool { return len(describeTopic(c, c.Name("t")).Partitions) == 2 })
		}},
		suite.Case{Name: "an assignment beside a count", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			r.Topics[0].ReplicaAssignment = append(r.Topics[0].ReplicaAssignment, replicas(0, c.Broker.NodeID))
			c.Code(created(c, r).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "an assignment with a gap or a stranger", Run: func(c *suite.C) {
			for _, assignment := range []kmsg.CreateTopicsRequestTopicReplicaAssignment{replicas(1, c.Broker.NodeID), replicas(0, 999), replicas(0)} {
				r := createTopics(c.Name("t"), -1)
				r.Topics[0].ReplicationFactor = -1
				r.Topics[0].ReplicaAssignment = append(r.Topics[0].ReplicaAssignment, assignment)
				c.Code(created(c, r).ErrorCode, kerr.InvalidReplicaAssignment)
			}
		}},
		suite.Case{Name: "a topic twice", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			r.Topics = append(r.Topics, r.Topics[0])
			got := suite.Call(c, r)
			c.Equal("Topics", len(got.Topics), 1)
			c.Code(got.Topics[0].ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "one of two fails", Run: func(c *suite.C) {
			r := createTopics(c.Name("t"), 1)
			r.Topics = append(r.Topics, createTopics("a b", 1).Topics...)
			codes := map[string]int16{}
			for _, t := range suite.Call(c, r).Topics {
				codes[t.Topic] = t.ErrorCode
			}
			c.Equal("ErrorCode", codes, map[string]int16{c.Name("t"): 0, "a b": kerr.InvalidTopicException.Code})
		}},
	)
}

func created(c *suite.C, r *kmsg.CreateTopicsRequest) kmsg.CreateTopicsResponseTopic {
	return suite.Call(c, r).Topics[0]
}

func topicConfig(key, value string) kmsg.CreateTopicsRequestTopicConfig {
	entry := kmsg.NewCreateTopicsRequestTopicConfig()
	entry.Name, entry.Value = key, &value
	return entry
}

func replicas(partition int32, nodes ...int32) kmsg.CreateTopicsRequestTopicReplicaAssignment {
	a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	a.Partition, a.Replicas = partition, nodes
	return a
}

func deleteTopicsCases() []suite.Case {
	return suite.OfAPI(20,
		suite.Case{Name: "by name", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			got := suite.Call(c, deleteRequest(t)).Topics[0]
			c.OK(got.ErrorCode)
			c.Equal("Topic", *got.Topic, t.name)
			c.Poll("the topic is gone", func() bool { return describeTopic(c, t.name).ErrorCode == kerr.UnknownTopicOrPartition.Code })
		}},
		suite.Case{Name: "unknown name", Run: func(c *suite.C) {
			c.Code(suite.Call(c, deleteRequest(topic{name: c.Name("none")})).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "by id", Versions: from(6), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			got := suite.Call(c, deleteByID(t.id)).Topics[0]
			c.OK(got.ErrorCode)
			c.Equal("Topic", *got.Topic, t.name)
		}},
		suite.Case{Name: "unknown id", Versions: from(6), Run: func(c *suite.C) {
			got := suite.Call(c, deleteByID([16]byte{1, 2})).Topics[0]
			c.Code(got.ErrorCode, kerr.UnknownTopicID)
			c.Equal("Topic", got.Topic, (*string)(nil))
		}},
		suite.Case{Name: "one of two is unknown", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := deleteRequest(t)
			r.TopicNames = append(r.TopicNames, c.Name("none"))
			r.Topics = append(r.Topics, deleteRequest(topic{name: c.Name("none")}).Topics...)
			codes := map[string]int16{}
			for _, in := range suite.Call(c, r).Topics {
				codes[*in.Topic] = in.ErrorCode
			}
			c.Equal("ErrorCode", codes, map[string]int16{t.name: 0, c.Name("none"): kerr.UnknownTopicOrPartition.Code})
		}},
	)
}

func deleteRequest(t topic) *kmsg.DeleteTopicsRequest {
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TimeoutMillis, r.TopicNames = 10_000, []string{t.name}
	in := kmsg.NewDeleteTopicsRequestTopic()
	in.Topic = &t.name
	r.Topics = append(r.Topics, in)
	return r
}

func deleteByID(id [16]byte) *kmsg.DeleteTopicsRequest {
	r := deleteRequest(topic{})
	r.TopicNames, r.Topics[0].Topic, r.Topics[0].TopicID = nil, nil, id
	return r
}

func createPartitions() []suite.Case {
	return suite.OfAPI(37,
		suite.Case{Name: "more partitions", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			c.OK(morePartitions(c, t.name, 3))
			c.Poll("the partitions are there", func() bool { return len(describeTopic(c, t.name).Partitions) == 3 })
		}},
		suite.Case{Name: "not more partitions", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			for _, n := range []int32{2, 1, 0, -1} {
				c.Code(morePartitions(c, t.name, n), kerr.InvalidPartitions)
			}
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(morePartitions(c, c.Name("none"), 3), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "validation makes nothing", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := kmsg.NewPtrCreatePartitionsRequest()
			in := kmsg.NewCreatePartitionsRequestTopic()
			in.Topic, in.Count = t.name, 3
			r.TimeoutMillis, r.ValidateOnly, r.Topics = 10_000, true, append(r.Topics, in)
			c.OK(suite.Call(c, r).Topics[0].ErrorCode)
			c.Equal("Partitions", len(describeTopic(c, t.name).Partitions), 1)
		}},
		suite.Case{Name: "an assignment of the wrong size", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := kmsg.NewPtrCreatePartitionsRequest()
			in, a := kmsg.NewCreatePartitionsRequestTopic(), kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = []int32{c.Broker.NodeID}
			in.Topic, in.Count, in.Assignment = t.name, 3, append(in.Assignment, a)
			r.TimeoutMillis, r.Topics = 10_000, append(r.Topics, in)
			c.Code(suite.Call(c, r).Topics[0].ErrorCode, kerr.InvalidReplicaAssignment)
		}},
	)
}

func deleteRecords() []suite.Case {
	return suite.OfAPI(21,
		suite.Case{Name: "before an offset", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 6)
			got := deleteRecordsBefore(c, t, 0, 4)
			c.OK(got.ErrorCode)
			c.Equal("LowWatermark", got.LowWatermark, 4)
			c.Equal("start", listOffset(c, t, 0, earliest).Offset, 4)
			c.Equal("LowWatermark again", deleteRecordsBefore(c, t, 0, 2).LowWatermark, 4)
		}},
		suite.Case{Name: "all records", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 6)
			c.Equal("LowWatermark", deleteRecordsBefore(c, t, 0, -1).LowWatermark, 6)
			c.Equal("BaseOffset of the next", write(c, t, 0, 1), 6)
		}},
		suite.Case{Name: "behind the end", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 6)
			got := deleteRecordsBefore(c, t, 0, 7)
			c.Code(got.ErrorCode, kerr.OffsetOutOfRange)
			c.Equal("LowWatermark", got.LowWatermark, -1)
			c.Code(deleteRecordsBefore(c, t, 0, -2).ErrorCode, kerr.OffsetOutOfRange)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(deleteRecordsBefore(c, topic{name: c.Name("none")}, 0, 1).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "a topic that is only compacted", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "cleanup.policy", "compact")
			write(c, t, 0, 3)
			c.Code(deleteRecordsBefore(c, t, 0, 1).ErrorCode, kerr.PolicyViolation)
		}},
	)
}
