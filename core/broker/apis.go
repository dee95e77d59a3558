package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// The keys that code branches on.
const (
	produceKey     = 0
	apiVersionsKey = 18
)

// api is one API key: what is served, and by what.
type api struct {
	key      int16
	min, max int16 // versions served
	// advertisedMin is said to be the lowest version; -1: min. Only Produce says
	// less than it does.
	advertisedMin int16
	bytesMax      int // of a frame
	schema        *schema
	// decode decodes a body of a served version, off the loop.
	decode func(a *api, version int16, body []byte) (any, error)
	// handle answers on the loop, at once or later, by exactly one of the
	// exchange's ends.
	handle func(b *Broker, x exchange, body any)
}

// apiTable is every API key served, ascending. The versions are those that Apache
// Kafka 4.3 advertises on a client listener; a key is here only if all of them
// are served.
//
// Produce says 0 although 0 to 2 are refused: older librdkafka takes "Produce 0
// is served" as the sign of a broker that knows compression (KAFKA-18659).
var apiTable = [...]api{
	{key: 0, min: produceLeastRead, max: 13, advertisedMin: 0, schema: &schema{flexible: produceFlexible}, decode: decodeProduceBody,
		handle: func(b *Broker, x exchange, body any) { b.data.produce(x, body.(*produceRequest)) }},
	{key: 1, min: 4, max: 18, advertisedMin: -1, bytesMax: requestBytesMax, schema: &fetchSchema, decode: decodeMessage[kmsg.FetchRequest],
		handle: func(b *Broker, x exchange, body any) { b.data.fetch(x, body.(*kmsg.FetchRequest)) }},
	{key: 2, min: 1, max: 11, advertisedMin: -1, bytesMax: requestBytesMax, schema: &listOffsetsSchema, decode: decodeMessage[kmsg.ListOffsetsRequest],
		handle: func(b *Broker, x exchange, body any) { b.data.listOffsets(x, body.(*kmsg.ListOffsetsRequest)) }},
	{key: 3, min: 0, max: 13, advertisedMin: -1, bytesMax: requestBytesMax, schema: &metadataSchema, decode: decodeMessage[kmsg.MetadataRequest],
		handle: func(b *Broker, x exchange, body any) { b.metadata(x, body.(*kmsg.MetadataRequest)) }},
	{key: 18, min: 0, max: 4, advertisedMin: -1, bytesMax: earlyBytesMax, schema: &apiVersionsSchema, decode: decodeMessage[kmsg.ApiVersionsRequest],
		handle: func(b *Broker, x exchange, body any) { b.apiVersions(x, body.(*kmsg.ApiVersionsRequest)) }},
	{key: 19, min: 2, max: 7, advertisedMin: -1, bytesMax: requestBytesMax, schema: &createTopicsSchema, decode: decodeMessage[kmsg.CreateTopicsRequest],
		handle: func(b *Broker, x exchange, body any) { b.createTopics(x, body.(*kmsg.CreateTopicsRequest)) }},
	{key: 20, min: 1, max: 6, advertisedMin: -1, bytesMax: requestBytesMax, schema: &deleteTopicsSchema, decode: decodeMessage[kmsg.DeleteTopicsRequest],
		handle: func(b *Broker, x exchange, body any) { b.deleteTopics(x, body.(*kmsg.DeleteTopicsRequest)) }},
	{key: 21, min: 0, max: 2, advertisedMin: -1, bytesMax: requestBytesMax, schema: &deleteRecordsSchema, decode: decodeMessage[kmsg.DeleteRecordsRequest],
		handle: func(b *Broker, x exchange, body any) { b.data.deleteRecords(x, body.(*kmsg.DeleteRecordsRequest)) }},
	{key: 22, min: 0, max: 5, advertisedMin: -1, bytesMax: requestBytesMax, schema: &initProducerIDSchema, decode: decodeMessage[kmsg.InitProducerIDRequest],
		handle: func(b *Broker, x exchange, body any) { b.data.initProducerID(x, body.(*kmsg.InitProducerIDRequest)) }},
	{key: 23, min: 2, max: 4, advertisedMin: -1, bytesMax: requestBytesMax, schema: &offsetForLeaderEpochSchema, decode: decodeMessage[kmsg.OffsetForLeaderEpochRequest],
		handle: func(b *Broker, x exchange, body any) {
			b.data.offsetForLeaderEpoch(x, body.(*kmsg.OffsetForLeaderEpochRequest))
		}},
	{key: 32, min: 1, max: 4, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeConfigsSchema, decode: decodeMessage[kmsg.DescribeConfigsRequest],
		handle: func(b *Broker, x exchange, body any) { b.describeConfigs(x, body.(*kmsg.DescribeConfigsRequest)) }},
	{key: 33, min: 0, max: 2, advertisedMin: -1, bytesMax: requestBytesMax, schema: &alterConfigsSchema, decode: decodeMessage[kmsg.AlterConfigsRequest],
		handle: func(b *Broker, x exchange, body any) { b.alterConfigs(x, body.(*kmsg.AlterConfigsRequest)) }},
	{key: 35, min: 1, max: 5, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeLogDirsSchema, decode: decodeMessage[kmsg.DescribeLogDirsRequest],
		handle: func(b *Broker, x exchange, body any) { b.describeLogDirs(x, body.(*kmsg.DescribeLogDirsRequest)) }},
	{key: 37, min: 0, max: 3, advertisedMin: -1, bytesMax: requestBytesMax, schema: &createPartitionsSchema, decode: decodeMessage[kmsg.CreatePartitionsRequest],
		handle: func(b *Broker, x exchange, body any) { b.createPartitions(x, body.(*kmsg.CreatePartitionsRequest)) }},
	{key: 44, min: 0, max: 1, advertisedMin: -1, bytesMax: requestBytesMax, schema: &incrementalAlterConfigsSchema, decode: decodeMessage[kmsg.IncrementalAlterConfigsRequest],
		handle: func(b *Broker, x exchange, body any) {
			b.incrementalAlterConfigs(x, body.(*kmsg.IncrementalAlterConfigsRequest))
		}},
	{key: 60, min: 0, max: 2, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeClusterSchema, decode: decodeMessage[kmsg.DescribeClusterRequest],
		handle: func(b *Broker, x exchange, body any) { b.describeCluster(x, body.(*kmsg.DescribeClusterRequest)) }},
	{key: 75, min: 0, max: 0, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeTopicPartitionsSchema, decode: decodeMessage[kmsg.DescribeTopicPartitionsRequest],
		handle: func(b *Broker, x exchange, body any) {
			b.describeTopicPartitions(x, body.(*kmsg.DescribeTopicPartitionsRequest))
		}},
}

// findAPI finds a key in the table, or returns nil.
func findAPI(key int16) *api {
	low, high := 0, len(apiTable)
	for low < high {
		middle := (low + high) / 2
		if apiTable[middle].key < key {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(apiTable) || apiTable[low].key != key {
		return nil
	}
	return &apiTable[low]
}
