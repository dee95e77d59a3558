package diff

import "github.com/twmb/franz-go/pkg/kmsg"

// bases are the valid requests that cases start from, by API key.
func bases() []base {
	return append(dataBases(), append(adminBases(), groupBases()...)...)
}

func dataBases() []base {
	return []base{
		{key: 0, fresh: true, parts: 1, build: func(e *endpoint, version int16, topic string) kmsg.Request {
			return produce(version, topic, e.id(topic), 0, batch(baseTimestamp, 2))
		}, verify: func(_ *endpoint, topic string) []kmsg.Request { return []kmsg.Request{listOffsets(7, topic, 0, -1)} }},
		{key: 1, parts: 1, fill: 3, build: func(e *endpoint, version int16, topic string) kmsg.Request {
			return fetch(version, topic, e.id(topic), 0, 0)
		}},
		{key: 2, parts: 1, fill: 3, build: func(_ *endpoint, version int16, topic string) kmsg.Request {
			return listOffsets(version, topic, 0, baseTimestamp+500)
		}},
		{key: 21, fresh: true, parts: 1, fill: 3, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrDeleteRecordsRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 2}}}}
			return r
		}, verify: func(_ *endpoint, topic string) []kmsg.Request { return []kmsg.Request{listOffsets(7, topic, 0, -2)} }},
		{key: 22, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = 60_000, -1, -1
			return r
		}},
		{key: 23, parts: 1, fill: 3, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			r.ReplicaID = -1
			r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
			return r
		}},
	}
}

func fetch(version int16, topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = version, 50, 1, 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	r.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return r
}

func listOffsets(version int16, topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	r := kmsg.NewPtrListOffsetsRequest()
	r.Version, r.ReplicaID, r.TimeoutMillis = version, -1, 5000
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return r
}

func metadataOf(version int16, topics ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = version
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		r.Topics = append(r.Topics, t)
	}
	return r
}

func showTopic(_ *endpoint, topic string) []kmsg.Request {
	return []kmsg.Request{metadataOf(12, topic)}
}

func showConfigs(_ *endpoint, topic string) []kmsg.Request {
	return []kmsg.Request{describeConfigs(2, topic)}
}

func describeConfigs(kind kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.Version = 4
	r.IncludeSynonyms = true
	r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	return r
}

func adminBases() []base {
	return append(topicBases(), append(configBases(), clusterBases()...)...)
}

func topicBases() []base {
	return []base{
		{key: 3, parts: 2, build: func(_ *endpoint, version int16, topic string) kmsg.Request { return metadataOf(version, topic) }},
		{key: 19, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrCreateTopicsRequest()
			r.TimeoutMillis = 5000
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 2, 1
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("1000000000")}}
			r.Topics = append(r.Topics, t)
			return r
		}, verify: showTopic},
		{key: 20, fresh: true, parts: 1, build: func(e *endpoint, version int16, topic string) kmsg.Request {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TimeoutMillis, r.TopicNames = 5000, []string{topic}
			r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr(topic)}}
			return r
		}, verify: showTopic},
		{key: 37, fresh: true, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: 2, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1}}}}}
			return r
		}, verify: showTopic},
		{key: 75, parts: 2, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrDescribeTopicPartitionsRequest()
			r.ResponsePartitionLimit = 1
			r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: topic}}
			r.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic}
			return r
		}},
		{key: 43, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrElectLeadersRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: []int32{0}}}
			return r
		}},
		{key: 45, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{
				Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: []int32{1}}},
			}}
			return r
		}},
		{key: 46, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrListPartitionReassignmentsRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: topic, Partitions: []int32{0}}}
			return r
		}},
	}
}

func configBases() []base {
	return []base{
		{key: 32, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			return describeConfigs(2, topic, "retention.ms")
		}},
		{key: 33, fresh: true, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrAlterConfigsRequest()
			r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: topic, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("5000")}}}}
			return r
		}, verify: showConfigs},
		{key: 44, fresh: true, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: topic, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("5000")}}}}
			return r
		}, verify: showConfigs},
	}
}

func clusterBases() []base {
	return []base{
		{key: 18, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrApiVersionsRequest()
			r.ClientSoftwareName, r.ClientSoftwareVersion = "diff", "1.0"
			return r
		}},
		{key: 35, parts: 1, build: func(_ *endpoint, _ int16, topic string) kmsg.Request {
			r := kmsg.NewPtrDescribeLogDirsRequest()
			r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: topic, Partitions: []int32{0}}}
			return r
		}},
		{key: 48, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrDescribeClientQuotasRequest()
			c := kmsg.NewDescribeClientQuotasRequestComponent()
			c.EntityType, c.MatchType, c.Match = "user", 0, kmsg.StringPtr("nobody")
			r.Components = append(r.Components, c)
			return r
		}},
		{key: 50, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			r.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "nobody"}}
			return r
		}},
		{key: 74, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrListConfigResourcesRequest()
			r.ResourceTypes = []int8{4, 16, 32}
			return r
		}},
		{key: 55, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrDescribeQuorumRequest()
			r.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
			return r
		}},
		// Not 64 and 80: a broker of Kafka unregisters itself and ends, and its controller ends by a voter's endpoint without a name.
		{key: 81, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrRemoveRaftVoterRequest()
			r.VoterID, r.VoterDirectoryID = 2, [16]byte{1}
			return r
		}},
		{key: 60, build: func(*endpoint, int16, string) kmsg.Request {
			r := kmsg.NewPtrDescribeClusterRequest()
			r.EndpointType = 1
			return r
		}},
	}
}
