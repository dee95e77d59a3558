package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// The keys that code branches on.
const (
	produceKey      = 0
	fetchRequestKey = 1
	apiVersionsKey  = 18
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
}

// apiTable is every API key served, ascending. The versions are those that Apache
// Kafka 4.3 advertises on a client listener; a key is here only if all of them
// are served.
//
// Produce says 0 although 0 to 2 are refused: older librdkafka takes "Produce 0
// is served" as the sign of a broker that knows compression (KAFKA-18659). It also
// takes FindCoordinator 0 as the sign of lz4: until that key is here, its producers
// send uncompressed what was to be lz4.
var apiTable = [...]api{
	{key: 0, min: produceVersionMin, max: 13, advertisedMin: 0, schema: &schema{flexible: produceFlexible}, decode: decodeProduceBody},
	{key: 1, min: 4, max: 18, advertisedMin: -1, bytesMax: requestBytesMax, schema: &fetchSchema, decode: decodeMessage[kmsg.FetchRequest]},
	{key: 2, min: 1, max: 11, advertisedMin: -1, bytesMax: requestBytesMax, schema: &listOffsetsSchema, decode: decodeMessage[kmsg.ListOffsetsRequest]},
	{key: 3, min: 0, max: 13, advertisedMin: -1, bytesMax: requestBytesMax, schema: &metadataSchema, decode: decodeMessage[kmsg.MetadataRequest]},
	{key: 18, min: 0, max: 4, advertisedMin: -1, bytesMax: earlyBytesMax, schema: &apiVersionsSchema, decode: decodeMessage[kmsg.ApiVersionsRequest]},
	{key: 19, min: 2, max: 7, advertisedMin: -1, bytesMax: requestBytesMax, schema: &createTopicsSchema, decode: decodeMessage[kmsg.CreateTopicsRequest]},
	{key: 20, min: 1, max: 6, advertisedMin: -1, bytesMax: requestBytesMax, schema: &deleteTopicsSchema, decode: decodeMessage[kmsg.DeleteTopicsRequest]},
	{key: 21, min: 0, max: 2, advertisedMin: -1, bytesMax: requestBytesMax, schema: &deleteRecordsSchema, decode: decodeMessage[kmsg.DeleteRecordsRequest]},
	{key: 22, min: 0, max: 5, advertisedMin: -1, bytesMax: requestBytesMax, schema: &initProducerIDSchema, decode: decodeMessage[kmsg.InitProducerIDRequest]},
	{key: 23, min: 2, max: 4, advertisedMin: -1, bytesMax: requestBytesMax, schema: &offsetForLeaderEpochSchema, decode: decodeMessage[kmsg.OffsetForLeaderEpochRequest]},
	{key: 32, min: 1, max: 4, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeConfigsSchema, decode: decodeMessage[kmsg.DescribeConfigsRequest]},
	{key: 33, min: 0, max: 2, advertisedMin: -1, bytesMax: requestBytesMax, schema: &alterConfigsSchema, decode: decodeMessage[kmsg.AlterConfigsRequest]},
	{key: 35, min: 1, max: 5, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeLogDirsSchema, decode: decodeMessage[kmsg.DescribeLogDirsRequest]},
	{key: 37, min: 0, max: 3, advertisedMin: -1, bytesMax: requestBytesMax, schema: &createPartitionsSchema, decode: decodeMessage[kmsg.CreatePartitionsRequest]},
	{key: 44, min: 0, max: 1, advertisedMin: -1, bytesMax: requestBytesMax, schema: &incrementalAlterConfigsSchema, decode: decodeMessage[kmsg.IncrementalAlterConfigsRequest]},
	{key: 60, min: 0, max: 2, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeClusterSchema, decode: decodeMessage[kmsg.DescribeClusterRequest]},
	{key: 75, min: 0, max: 0, advertisedMin: -1, bytesMax: requestBytesMax, schema: &describeTopicPartitionsSchema, decode: decodeMessage[kmsg.DescribeTopicPartitionsRequest]},
}

// handle hands a decoded request to its handler.
func (b *Broker) handle(x exchange, body any) {
	switch r := body.(type) {
	case *produceRequest:
		b.data.produce(x, r)
	case *kmsg.FetchRequest:
		b.data.fetch(x, r)
	case *kmsg.ListOffsetsRequest:
		b.data.listOffsets(x, r)
	case *kmsg.DeleteRecordsRequest:
		b.data.deleteRecords(x, r)
	case *kmsg.InitProducerIDRequest:
		b.data.initProducerID(x, r)
	case *kmsg.OffsetForLeaderEpochRequest:
		b.data.offsetForLeaderEpoch(x, r)
	case *kmsg.MetadataRequest:
		b.metadata(x, r)
	case *kmsg.ApiVersionsRequest:
		b.apiVersions(x, r)
	case *kmsg.CreateTopicsRequest:
		b.createTopics(x, r)
	case *kmsg.DeleteTopicsRequest:
		b.deleteTopics(x, r)
	case *kmsg.CreatePartitionsRequest:
		b.createPartitions(x, r)
	case *kmsg.DescribeConfigsRequest:
		b.describeConfigs(x, r)
	case *kmsg.AlterConfigsRequest:
		b.alterConfigs(x, r)
	case *kmsg.IncrementalAlterConfigsRequest:
		b.incrementalAlterConfigs(x, r)
	case *kmsg.DescribeLogDirsRequest:
		b.describeLogDirs(x, r)
	case *kmsg.DescribeClusterRequest:
		b.describeCluster(x, r)
	case *kmsg.DescribeTopicPartitionsRequest:
		b.describeTopicPartitions(x, r)
	default:
		panic("broker: a request was decoded that has no handler")
	}
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
