package client

import (
	"encoding/binary"
	"hash/crc32"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/record"
	"weir/core/wire"
)

// refusal is a request that the broker must refuse, and with which codes.
type refusal struct {
	name  string
	since int16 // version
	make  func(b *Breaker) kmsg.Request
	want  []int16
}

// batch sends a batch to a partition that others use, after change.
func badBatch(change func(b []byte) []byte) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		p := b.part()
		spec := batchSpec{
			tag: p.tag, id: -1, records: int32(b.draws.Between(2, 5)), valueSize: 40,
			producer: -1, epoch: -1, sequence: -1, timestamp: b.wallMillis(),
		}
		return b.produce(p, change(appendBatch(nil, &spec)))
	}
}

func (b *Breaker) produce(p *Partition, records []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 3000
	addProduce(r, p, records)
	return r
}

// sealed changes a batch and renews its checksum.
func sealed(change func(b []byte)) func([]byte) []byte {
	return func(b []byte) []byte {
		change(b)
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
		return b
	}
}

// changed changes a batch without a new checksum.
func changed(change func(b []byte)) func([]byte) []byte {
	return func(b []byte) []byte {
		change(b)
		return b
	}
}

// ownBatch sends a batch of records with keys to the breaker's own topic, after change.
func ownBatch(change func(*record.Builder, []record.Record)) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		return b.produce(b.options.Own.Partitions[0], b.keyed(change))
	}
}

func newTopic(change func(t *kmsg.CreateTopicsRequestTopic)) func(*Breaker) kmsg.Request {
	return func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrCreateTopicsRequest()
		r.TimeoutMillis = 3000
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = "refused", 1, 1
		change(&t)
		r.Topics = append(r.Topics, t)
		return r
	}
}

// replicated asks for two replicas more than there are brokers.
func replicated(b *Breaker) kmsg.Request {
	brokers := 1
	if b.Several {
		brokers = len(b.addresses)
	}
	return newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = int16(brokers) + 2 })(b)
}

func configOf(key string, value *string) kmsg.CreateTopicsRequestTopicConfig {
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = key, value
	return c
}

// assigned is a manual assignment: the replicas of partition 0, 1, and so on.
func assigned(replicas ...[]int32) (all []kmsg.CreateTopicsRequestTopicReplicaAssignment) {
	for i, r := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), r
		all = append(all, a)
	}
	return all
}

func manual(replicas ...[]int32) func(t *kmsg.CreateTopicsRequestTopic) {
	return func(t *kmsg.CreateTopicsRequestTopic) {
		t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = -1, -1, assigned(replicas...)
	}
}

func grown(change func(b *Breaker, t *kmsg.CreatePartitionsRequestTopic)) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrCreatePartitionsRequest()
		r.TimeoutMillis = 3000
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = b.options.Own.Name, 1
		change(b, &t)
		r.Topics = append(r.Topics, t)
		return r
	}
}

func altered(kind kmsg.ConfigResourceType, name string, configs ...kmsg.IncrementalAlterConfigsRequestResourceConfig) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.Configs = kind, strings.ReplaceAll(name, "OWN", b.options.Own.Name), configs
		r.Resources = append(r.Resources, resource)
		return r
	}
}

func setting(key string, op kmsg.IncrementalAlterConfigOp, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op, c.Value = key, op, &value
	return c
}

func replaced(kind kmsg.ConfigResourceType, name, key string, value *string) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrAlterConfigsRequest()
		resource := kmsg.NewAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kind, strings.ReplaceAll(name, "OWN", b.options.Own.Name)
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name, c.Value = key, value
		resource.Configs = append(resource.Configs, c)
		r.Resources = append(r.Resources, resource)
		return r
	}
}

func described(kind kmsg.ConfigResourceType, name string) func(*Breaker) kmsg.Request {
	return func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrDescribeConfigsRequest()
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kind, name
		r.Resources = append(r.Resources, resource)
		return r
	}
}

func asked(topic string, id byte) func(*Breaker) kmsg.Request {
	return func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrMetadataRequest()
		r.AllowAutoTopicCreation = id == 0 && !wellFormed(topic)
		t := kmsg.NewMetadataRequestTopic()
		if id != 0 {
			t.TopicID[3] = id
		} else {
			t.Topic = &topic
		}
		r.Topics = append(r.Topics, t)
		return r
	}
}

func wellFormed(topic string) bool { return topic != "" && !strings.Contains(topic, " ") }

func fetched(change func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition)) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrFetchRequest()
		r.MaxBytes, r.SessionEpoch = 1<<20, -1
		change(r, addFetch(r, b.part(), 0, 1000))
		return r
	}
}

func listed(change func(p *kmsg.ListOffsetsRequestTopicPartition)) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrListOffsetsRequest()
		r.ReplicaID = -1
		p := b.part()
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p.Index, -1, -1
		change(&part)
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = p.Topic.Name, append(t.Partitions, part)
		r.Topics = append(r.Topics, t)
		return r
	}
}

func deleted(own bool, partition int32, offset int64) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrDeleteRecordsRequest()
		r.TimeoutMillis = 3000
		p := b.part()
		if own {
			p = b.options.Own.Partitions[0]
		}
		part := kmsg.NewDeleteRecordsRequestTopicPartition()
		part.Partition, part.Offset = p.Index+partition, offset
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic, t.Partitions = p.Topic.Name, append(t.Partitions, part)
		r.Topics = append(r.Topics, t)
		return r
	}
}

func removed(names ...string) func(*Breaker) kmsg.Request {
	return func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.TimeoutMillis, r.TopicNames = 3000, names
		for _, name := range names {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			r.Topics = append(r.Topics, t)
		}
		return r
	}
}

func initialized(change func(r *kmsg.InitProducerIDRequest)) func(*Breaker) kmsg.Request {
	return func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.ProducerID, r.ProducerEpoch = -1, -1
		change(r)
		return r
	}
}

func epochOf(partition, current, epoch int32) func(*Breaker) kmsg.Request {
	return func(b *Breaker) kmsg.Request {
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		r.ReplicaID = -1
		p := b.part()
		part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		part.Partition, part.CurrentLeaderEpoch, part.LeaderEpoch = p.Index+partition, current, epoch
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic, t.Partitions = p.Topic.Name, append(t.Partitions, part)
		r.Topics = append(r.Topics, t)
		return r
	}
}

func paged(name string, cursor int32) func(*Breaker) kmsg.Request {
	return func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		r.Topics, r.ResponsePartitionLimit = append(r.Topics, t), 10
		if cursor < 0 {
			c := kmsg.NewDescribeTopicPartitionsRequestCursor()
			c.Topic, c.Partition = name, cursor
			r.Cursor = &c
		}
		return r
	}
}

const (
	topicConfig  = kmsg.ConfigResourceTypeTopic
	brokerConfig = kmsg.ConfigResourceTypeBroker
)

// refusals are what a breaker asks for.
var refusals = []refusal{
	{"a batch with a wrong checksum", 0, badBatch(changed(func(b []byte) { b[30] ^= 1 })), []int16{wire.CorruptMessage}},
	{"a batch of magic 1", 0, badBatch(changed(func(b []byte) { b[16] = 1 })), []int16{wire.InvalidRecord}},
	{"a batch of magic 3", 0, badBatch(changed(func(b []byte) { b[16] = 3 })), []int16{wire.CorruptMessage}},
	{"a batch that is longer than it says", 0, badBatch(changed(func(b []byte) { b[11]-- })), []int16{wire.CorruptMessage}},
	{"a batch that is shorter than it says", 0, badBatch(func(b []byte) []byte { return b[:len(b)-1] }), []int16{wire.InvalidRecord}},
	{"half a header", 0, badBatch(func(b []byte) []byte { return b[:40] }), []int16{wire.InvalidRecord}},
	{"a length of zero", 0, badBatch(changed(func(b []byte) { clear(b[8:12]) })), []int16{wire.CorruptMessage}},
	{"no records", 0, badBatch(func([]byte) []byte { return []byte{} }), []int16{wire.InvalidRecord}},
	{"null records", 0, badBatch(func([]byte) []byte { return nil }), []int16{wire.InvalidRecord}},
	{"two batches for a partition", 0, badBatch(func(b []byte) []byte { return append(b, b...) }), []int16{wire.InvalidRecord}},
	{"bytes behind the batch", 0, badBatch(func(b []byte) []byte { return append(b, make([]byte, 20)...) }), []int16{wire.CorruptMessage}},
	{"a base offset", 0, badBatch(changed(func(b []byte) { b[7] = 5 })), []int16{wire.InvalidRecord}},
	{"a control batch", 0, badBatch(sealed(func(b []byte) { b[22] |= 0x20 })), []int16{wire.InvalidRecord}},
	{"a batch of a transaction", 0, badBatch(sealed(func(b []byte) { b[22] |= 0x10 })), []int16{wire.TransactionalIDAuthorizationFailed}},
	{"an unknown codec", 0, badBatch(sealed(func(b []byte) { b[22] |= 6 })), []int16{wire.UnsupportedCompressionType}},
	{"a last offset delta too high", 0, badBatch(sealed(func(b []byte) { b[26]++ })), []int16{wire.InvalidRecord}},
	{"no records in the header", 0, badBatch(sealed(func(b []byte) { clear(b[57:61]) })), []int16{wire.InvalidRecord}},
	{"a million records in the header", 0, badBatch(sealed(func(b []byte) { b[24], b[58] = 0x10, 0x10 })), []int16{wire.InvalidRecord}},
	{"a producer without a sequence", 0, badBatch(sealed(func(b []byte) { clear(b[43:53]) })), []int16{wire.InvalidRecord}},
	{"a record with headers that are not there", 0, badBatch(sealed(func(b []byte) { b[len(b)-1] = 8 })), []int16{wire.InvalidRecord}},
	{"a record longer than the batch", 0, badBatch(sealed(func(b []byte) { b[61] = 0x7e })), []int16{wire.InvalidRecord}},
	{"an unknown partition", 0, func(b *Breaker) kmsg.Request {
		r := badBatch(changed(func([]byte) {}))(b).(*kmsg.ProduceRequest)
		r.Topics[0].Partitions[0].Partition = 99
		return r
	}, []int16{wire.UnknownTopicOrPartition}},
	{"an unknown topic", 0, func(b *Breaker) kmsg.Request {
		r := badBatch(changed(func([]byte) {}))(b).(*kmsg.ProduceRequest)
		r.Topics[0].Topic, r.Topics[0].TopicID = "nowhere", [16]byte{1, 2, 3}
		return r
	}, []int16{wire.UnknownTopicOrPartition, wire.UnknownTopicID}},
	{"acks of 5", 0, func(b *Breaker) kmsg.Request {
		r := badBatch(changed(func([]byte) {}))(b).(*kmsg.ProduceRequest)
		r.Acks = 5
		return r
	}, []int16{wire.InvalidRequiredAcks}},
	{"a batch of a transaction that nobody began", 0, func(b *Breaker) kmsg.Request {
		r := badBatch(sealed(func(b []byte) {
			b[22] |= transactionalBit
			binary.BigEndian.PutUint64(b[43:], 1<<50) // producer id
			clear(b[51:57])                           // its epoch, and the sequence
		}))(b).(*kmsg.ProduceRequest)
		r.TransactionID = kmsg.StringPtr("t")
		return r
	}, []int16{wire.UnsupportedVersion, wire.InvalidProducerIDMapping, wire.InvalidTxnState, wire.TransactionAbortable, notEnoughReplicas}},
	{"records without a key in a compacted topic", 0, ownBatch(func(_ *record.Builder, r []record.Record) { r[0].Key = nil }), []int16{wire.InvalidRecord}},
	{"a timestamp far ahead", 0, ownBatch(func(_ *record.Builder, r []record.Record) { r[len(r)-1].Timestamp += 1 << 40 }), []int16{wire.InvalidTimestamp}},
	{"a record above max.decompressed.message.bytes", 0, ownBatch(func(b *record.Builder, r []record.Record) { b.Codec, r[0].Value = 1, make([]byte, 2000) }), []int16{wire.InvalidRecord}},
	{"a producer's LogAppendTime", 0, ownBatch(func(b *record.Builder, r []record.Record) { b.LogAppendTime, r[0].Key = true, nil }), []int16{wire.InvalidRecord}},

	{"fetch: an unknown partition", 0, fetched(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 99 }), []int16{wire.UnknownTopicOrPartition}},
	{"fetch: an offset below zero", 0, fetched(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = -5 }), []int16{wire.OffsetOutOfRange}},
	{"fetch: an offset far ahead", 0, fetched(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 1 << 50 }), []int16{wire.OffsetOutOfRange}},
	{"fetch: an epoch to come", 9, fetched(func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 1 << 30 }), []int16{wire.UnknownLeaderEpoch}},
	{"fetch: an unknown topic", 0, fetched(func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
		r.Topics[0].Topic, r.Topics[0].TopicID = "nowhere", [16]byte{1, 2, 3}
	}), []int16{wire.UnknownTopicOrPartition, wire.UnknownTopicID}},
	{"fetch: an unknown session", 7, fetched(func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.SessionID, r.SessionEpoch = 77, 3 }), []int16{wire.FetchSessionIDNotFound}},
	{"fetch: a session epoch without a session", 7, fetched(func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.SessionEpoch = 3 }), []int16{wire.FetchSessionIDNotFound}},
	{"list offsets: an unknown partition", 0, listed(func(p *kmsg.ListOffsetsRequestTopicPartition) { p.Partition = 99 }), []int16{wire.UnknownTopicOrPartition}},
	{"list offsets: an unknown special timestamp", 0, listed(func(p *kmsg.ListOffsetsRequestTopicPartition) { p.Timestamp = -100 }), []int16{wire.UnsupportedVersion}},
	{"list offsets: an epoch to come", 4, listed(func(p *kmsg.ListOffsetsRequestTopicPartition) { p.CurrentLeaderEpoch = 1 << 30 }), []int16{wire.UnknownLeaderEpoch}},
	{"leader epochs: an unknown partition", 0, epochOf(99, -1, 0), []int16{wire.UnknownTopicOrPartition}},
	{"leader epochs: an epoch to come", 0, epochOf(0, 1<<30, 0), []int16{wire.UnknownLeaderEpoch}},

	{"metadata: a bad name", 0, asked("a b", 0), []int16{wire.InvalidTopic}},
	{"metadata: an unknown name", 0, asked("nowhere", 0), []int16{wire.UnknownTopicOrPartition}},
	{"metadata: an unknown id", 12, asked("", 7), []int16{wire.UnknownTopicID}},

	{"create: no name", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = "" }), []int16{wire.InvalidTopic}},
	{"create: a dot", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = ".." }), []int16{wire.InvalidTopic}},
	{"create: a name of 250 letters", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = strings.Repeat("n", 250) }), []int16{wire.InvalidTopic}},
	{"create: a name with a blank", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = "a b" }), []int16{wire.InvalidTopic}},
	{"create: the cluster's topic", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = "__cluster_metadata" }), []int16{wire.InvalidRequest}},
	{"create: no partitions", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 0 }), []int16{wire.InvalidPartitions}},
	{"create: too many partitions", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 20_000 }), []int16{wire.PolicyViolation}},
	{"create: no replicas", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 0 }), []int16{wire.InvalidReplicationFactor}},
	{"create: more replicas than brokers", 0, replicated, []int16{wire.InvalidReplicationFactor}},
	{"create: an assignment and a number", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicaAssignment = assigned([]int32{1}) }), []int16{wire.InvalidRequest}},
	{"create: an unknown broker", 0, newTopic(manual([]int32{99})), []int16{wire.InvalidReplicaAssignment}},
	{"create: a broker twice", 0, newTopic(manual([]int32{1, 1})), []int16{wire.InvalidReplicaAssignment}},
	{"create: a partition without replicas", 0, newTopic(manual([]int32{1}, nil)), []int16{wire.InvalidReplicaAssignment}},
	{"create: partitions with different replicas", 0, newTopic(manual([]int32{1}, []int32{1, 2})), []int16{wire.InvalidReplicaAssignment}},
	{"create: a gap in the assignment", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) {
		manual([]int32{1}, []int32{1})(t)
		t.ReplicaAssignment[1].Partition = 5
	}), []int16{wire.InvalidReplicaAssignment}},
	{"create: an unknown configuration", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) {
		t.Configs = append(t.Configs, configOf("no.such.key", kmsg.StringPtr("1")))
	}), []int16{wire.InvalidConfig}},
	{"create: a configuration that is no number", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) {
		t.Configs = append(t.Configs, configOf("retention.ms", kmsg.StringPtr("soon")))
	}), []int16{wire.InvalidConfig}},
	{"create: a null configuration", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Configs = append(t.Configs, configOf("retention.ms", nil)) }), []int16{wire.InvalidConfig}},
	{"create: tiers", 0, newTopic(func(t *kmsg.CreateTopicsRequestTopic) {
		t.Configs = append(t.Configs, configOf("remote.storage.enable", kmsg.StringPtr("true")))
	}), []int16{wire.InvalidConfig}},
	{"create: a name twice", 0, func(b *Breaker) kmsg.Request {
		r := newTopic(func(*kmsg.CreateTopicsRequestTopic) {})(b).(*kmsg.CreateTopicsRequest)
		r.Topics = append(r.Topics, r.Topics[0])
		return r
	}, []int16{wire.InvalidRequest}},
	{"create: a topic that exists", 0, func(b *Breaker) kmsg.Request {
		return newTopic(func(t *kmsg.CreateTopicsRequestTopic) { t.Topic = b.options.Own.Name })(b)
	}, []int16{wire.TopicAlreadyExists}},
	{"create: validate only", 0, func(b *Breaker) kmsg.Request {
		r := newTopic(manual([]int32{1}, []int32{1}))(b).(*kmsg.CreateTopicsRequest)
		r.ValidateOnly = true
		return r
	}, []int16{wire.None, wire.InvalidReplicaAssignment}}, // broker 1 may be lost for good
	{"delete: an unknown topic", 0, removed("refused"), []int16{wire.UnknownTopicOrPartition}},
	{"delete: a topic twice", 0, removed("refused", "refused"), []int16{wire.UnknownTopicOrPartition, wire.InvalidRequest}},
	{"delete: a topic by neither name nor id", 6, func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Topics = append(r.Topics, kmsg.NewDeleteTopicsRequestTopic())
		return r
	}, []int16{wire.InvalidRequest}},
	{"grow: an unknown topic", 0, grown(func(_ *Breaker, t *kmsg.CreatePartitionsRequestTopic) { t.Topic = "nowhere" }), []int16{wire.UnknownTopicOrPartition}},
	{"grow: as many as there are", 0, grown(func(*Breaker, *kmsg.CreatePartitionsRequestTopic) {}), []int16{wire.InvalidPartitions}},
	{"grow: fewer", 0, grown(func(_ *Breaker, t *kmsg.CreatePartitionsRequestTopic) { t.Count = 0 }), []int16{wire.InvalidPartitions}},
	{"grow: an assignment of other partitions", 0, grown(func(_ *Breaker, t *kmsg.CreatePartitionsRequestTopic) {
		t.Count, t.Assignment = 2, make([]kmsg.CreatePartitionsRequestTopicAssignment, 3)
		for i := range t.Assignment {
			t.Assignment[i].Replicas = []int32{1}
		}
	}), []int16{wire.InvalidReplicaAssignment}},
	{"grow: an unknown broker", 0, grown(func(_ *Breaker, t *kmsg.CreatePartitionsRequestTopic) {
		t.Count, t.Assignment = 2, []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{99}}}
	}), []int16{wire.InvalidReplicaAssignment}},
	{"delete records: below zero", 0, deleted(false, 0, -2), []int16{wire.OffsetOutOfRange}},
	{"delete records: far ahead", 0, deleted(false, 0, 1<<50), []int16{wire.OffsetOutOfRange}},
	{"delete records: an unknown partition", 0, deleted(false, 99, 0), []int16{wire.UnknownTopicOrPartition}},
	{"delete records: of a compacted topic", 0, deleted(true, 0, 0), []int16{wire.PolicyViolation}},
	{"producer id: half a pair", 3, initialized(func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 5 }), []int16{wire.InvalidRequest}},
	{"producer id: no time for transactions", 0, initialized(func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = kmsg.StringPtr("t") }), []int16{wire.InvalidTransactionTimeout}},
	{"producer id: an empty transactional id", 0, initialized(func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = kmsg.StringPtr("") }), []int16{wire.InvalidRequest}},

	{"describe: an unknown topic", 0, described(topicConfig, "nowhere"), []int16{wire.UnknownTopicOrPartition}},
	{"describe: a bad name", 0, described(topicConfig, "a b"), []int16{wire.InvalidTopic}},
	{"describe: a broker that is none", 0, described(brokerConfig, "x"), []int16{wire.InvalidRequest}},
	{"describe: another broker", 0, described(brokerConfig, "99"), []int16{wire.InvalidRequest}},
	{"describe: an unknown kind", 0, described(77, "x"), []int16{wire.InvalidRequest}},
	{"describe: a group", 0, described(kmsg.ConfigResourceTypeGroupConfig, "g"), []int16{wire.None}},
	{"describe: client metrics", 0, described(kmsg.ConfigResourceTypeClientMetrics, "m"), []int16{wire.None}},
	{"alter: an unknown topic", 0, altered(topicConfig, "nowhere", setting("retention.ms", 0, "1")), []int16{wire.UnknownTopicOrPartition}},
	{"alter: a bad name", 0, altered(topicConfig, "a b", setting("retention.ms", 0, "1")), []int16{wire.InvalidTopic}},
	{"alter: no name", 0, altered(topicConfig, "", setting("retention.ms", 0, "1")), []int16{wire.InvalidRequest}},
	{"alter: an unknown key", 0, altered(topicConfig, "OWN", setting("no.such.key", 0, "1")), []int16{wire.InvalidConfig}},
	{"alter: a value out of range", 0, altered(topicConfig, "OWN", setting("segment.bytes", 0, "1")), []int16{wire.InvalidConfig}},
	{"alter: a value that is no fraction", 0, altered(topicConfig, "OWN", setting("min.cleanable.dirty.ratio", 0, "2")), []int16{wire.InvalidConfig}},
	{"alter: a value that is no boolean", 0, altered(topicConfig, "OWN", setting("preallocate", 0, "perhaps")), []int16{wire.InvalidConfig}},
	{"alter: a value of none of the words", 0, altered(topicConfig, "OWN", setting("compression.type", 0, "best")), []int16{wire.InvalidConfig}},
	{"alter: a gzip level of 0", 0, altered(topicConfig, "OWN", setting("compression.gzip.level", 0, "0")), []int16{wire.InvalidConfig}},
	{"alter: throttled replicas that are none", 0, altered(topicConfig, "OWN", setting("leader.replication.throttled.replicas", 0, "1:2:3,x")), []int16{wire.InvalidConfig}},
	{"alter: an append to a number", 0, altered(topicConfig, "OWN", setting("retention.ms", 2, "1")), []int16{wire.InvalidConfig}},
	{"alter: a subtraction from a number", 0, altered(topicConfig, "OWN", setting("retention.ms", 3, "1")), []int16{wire.InvalidConfig}},
	{"alter: an append of nothing", 0, altered(topicConfig, "OWN", setting("cleanup.policy", 2, "")), []int16{wire.InvalidConfig}},
	{"alter: an append of no policy", 0, altered(topicConfig, "OWN", setting("cleanup.policy", 2, "burn")), []int16{wire.InvalidConfig}},
	{"alter: an unknown operation", 0, altered(topicConfig, "OWN", setting("retention.ms", 9, "1")), []int16{wire.InvalidRequest}},
	{"alter: a key twice", 0, altered(topicConfig, "OWN", setting("retention.ms", 0, "1"), setting("retention.ms", 0, "2")), []int16{wire.InvalidRequest}},
	{"alter: a read-only key of brokers", 0, altered(brokerConfig, "", setting("node.id", 0, "2")), []int16{wire.InvalidRequest}},
	{"alter: an unknown key of brokers", 0, altered(brokerConfig, "", setting("no.such.key", 0, "2")), []int16{wire.InvalidRequest}},
	{"alter: another broker", 0, altered(brokerConfig, "99", setting("message.max.bytes", 0, "2")), []int16{wire.InvalidRequest}},
	{"alter: min.insync.replicas of one broker", 0, altered(brokerConfig, "1", setting("min.insync.replicas", 0, "1")), []int16{wire.InvalidConfig}},
	{"alter: a group, out of bounds", 0, altered(kmsg.ConfigResourceTypeGroupConfig, "g", setting("consumer.session.timeout.ms", 0, "1")), []int16{wire.InvalidConfig}},
	{"alter: no group", 0, altered(kmsg.ConfigResourceTypeGroupConfig, "", setting("consumer.session.timeout.ms", 0, "50000")), []int16{wire.InvalidRequest}},
	{"alter: client metrics", 0, altered(kmsg.ConfigResourceTypeClientMetrics, "m", setting("interval.ms", 0, "1")), []int16{wire.InvalidRequest}},
	{"alter: an unknown kind", 0, altered(77, "x", setting("a", 0, "1")), []int16{wire.InvalidRequest}},
	{"replace: a null value", 0, replaced(topicConfig, "OWN", "retention.ms", nil), []int16{wire.InvalidRequest}},
	{"replace: an unknown key", 0, replaced(topicConfig, "OWN", "no.such.key", kmsg.StringPtr("1")), []int16{wire.InvalidConfig}},
	{"replace: listeners of brokers", 0, replaced(brokerConfig, "", "listeners", kmsg.StringPtr("x")), []int16{wire.InvalidRequest}},
	{"page: an unknown topic", 0, paged("nowhere", 0), []int16{wire.UnknownTopicOrPartition}},
	{"page: a bad name", 0, paged("a b", 0), []int16{wire.InvalidTopic}},
	{"page: a cursor below zero", 0, paged("nowhere", -1), []int16{wire.InvalidRequest}},
	{"cluster: an unknown kind of endpoint", 1, func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.EndpointType = 9
		return r
	}, []int16{wire.UnsupportedEndpointType}},
	{"cluster: controllers", 1, func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.EndpointType = 2
		return r
	}, []int16{wire.MismatchedEndpointType}},
	{"versions: a name that is none", 3, func(*Breaker) kmsg.Request {
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = "no name!", "1"
		return r
	}, []int16{wire.InvalidRequest}},
}

// codesOf are the codes of an answer that say what became of what was asked.
func codesOf(response kmsg.Response) (codes []int16) {
	add := func(code int16) { codes = append(codes, code) }
	switch v := response.(type) {
	case *kmsg.MetadataResponse:
		for i := range v.Topics {
			add(v.Topics[i].ErrorCode)
		}
	case *kmsg.CreateTopicsResponse:
		for i := range v.Topics {
			add(v.Topics[i].ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		for i := range v.Topics {
			add(v.Topics[i].ErrorCode)
		}
	case *kmsg.CreatePartitionsResponse:
		for i := range v.Topics {
			add(v.Topics[i].ErrorCode)
		}
	case *kmsg.DescribeTopicPartitionsResponse:
		for i := range v.Topics {
			add(v.Topics[i].ErrorCode)
		}
	case *kmsg.DescribeConfigsResponse:
		for i := range v.Resources {
			add(v.Resources[i].ErrorCode)
		}
	case *kmsg.AlterConfigsResponse:
		for i := range v.Resources {
			add(v.Resources[i].ErrorCode)
		}
	case *kmsg.IncrementalAlterConfigsResponse:
		for i := range v.Resources {
			add(v.Resources[i].ErrorCode)
		}
	case *kmsg.InitProducerIDResponse:
		add(v.ErrorCode)
	case *kmsg.DescribeClusterResponse:
		add(v.ErrorCode)
	case *kmsg.FindCoordinatorResponse:
		add(v.ErrorCode)
		for i := range v.Coordinators {
			add(v.Coordinators[i].ErrorCode)
		}
	case *kmsg.ApiVersionsResponse:
		add(v.ErrorCode)
	default:
		return codesOfPartitions(response)
	}
	return codes
}

// codesOfPartitions are those of an answer that has one for each partition.
func codesOfPartitions(response kmsg.Response) (codes []int16) {
	add := func(code int16) { codes = append(codes, code) }
	switch v := response.(type) {
	case *kmsg.ProduceResponse:
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				add(v.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *kmsg.FetchResponse:
		if v.ErrorCode != 0 || len(v.Topics) == 0 {
			return []int16{v.ErrorCode}
		}
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				add(v.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *kmsg.ListOffsetsResponse:
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				add(v.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *kmsg.OffsetForLeaderEpochResponse:
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				add(v.Topics[i].Partitions[j].ErrorCode)
			}
		}
	case *kmsg.DeleteRecordsResponse:
		for i := range v.Topics {
			for j := range v.Topics[i].Partitions {
				add(v.Topics[i].Partitions[j].ErrorCode)
			}
		}
	}
	return codes
}
