package wire

// Limits of frames by what they are for. Produce has socket.request.max.bytes.
const (
	// requestBytesMax is for all but Produce. It holds a Metadata request for
	// 20,000 topics with names of 40 characters, or a Fetch of 30,000 partitions;
	// what decoding makes of it is at most 16 times that.
	requestBytesMax = 1 << 20
	// earlyBytesMax is for what a client may send before it is known: ApiVersions,
	// with the longest client id (32,767 bytes), and a name and a version of a software.
	earlyBytesMax = 36 << 10
	// quorumBytesMax is for DescribeQuorum, which asks for one partition. Each that is refused takes five bytes, and eighty
	// in the answer.
	quorumBytesMax = 64 << 10
)

// API is one API key: which versions are served, and the shape of its request.
type API struct {
	Key      int16
	Min, Max int16 // versions served
	// AdvertisedMin is the lowest version that ApiVersions names. Only Produce says less than it serves.
	AdvertisedMin int16
	// BytesMax bounds a frame, in bytes. Zero: the listener's own limit, socket.request.max.bytes.
	BytesMax int
	Schema   *Schema
}

// APIs is every API key served, ascending. The versions are those that Apache Kafka 4.4 advertises on a client listener; a
// key is here only if all of them are served.
//
// Produce says 0 although 0 to 2 are refused: older librdkafka takes "Produce 0 is served" as the sign of a broker that
// knows compression (KAFKA-18659).
var APIs = [...]API{
	{Key: 0, Min: 3, Max: 13, AdvertisedMin: 0, Schema: &Schema{flexible: 9}},
	{Key: 1, Min: 4, Max: 18, AdvertisedMin: 4, BytesMax: requestBytesMax, Schema: &fetchSchema},
	{Key: 2, Min: 1, Max: 11, AdvertisedMin: 1, BytesMax: requestBytesMax, Schema: &listOffsetsSchema},
	{Key: 3, Min: 0, Max: 13, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &metadataSchema},
	{Key: 8, Min: 2, Max: 10, AdvertisedMin: 2, BytesMax: requestBytesMax, Schema: &offsetCommitSchema},
	{Key: 9, Min: 1, Max: 10, AdvertisedMin: 1, BytesMax: requestBytesMax, Schema: &offsetFetchSchema},
	{Key: 10, Min: 0, Max: 6, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &findCoordinatorSchema},
	{Key: 11, Min: 0, Max: 9, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &joinGroupSchema},
	{Key: 12, Min: 0, Max: 4, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &heartbeatSchema},
	{Key: 13, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &leaveGroupSchema},
	{Key: 14, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &syncGroupSchema},
	{Key: 15, Min: 0, Max: 6, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeGroupsSchema},
	{Key: 16, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &listGroupsSchema},
	{Key: 18, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: earlyBytesMax, Schema: &apiVersionsSchema},
	{Key: 19, Min: 2, Max: 7, AdvertisedMin: 2, BytesMax: requestBytesMax, Schema: &createTopicsSchema},
	{Key: 20, Min: 1, Max: 6, AdvertisedMin: 1, BytesMax: requestBytesMax, Schema: &deleteTopicsSchema},
	{Key: 21, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &deleteRecordsSchema},
	{Key: 22, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &initProducerIDSchema},
	{Key: 23, Min: 2, Max: 4, AdvertisedMin: 2, BytesMax: requestBytesMax, Schema: &offsetForLeaderEpochSchema},
	{Key: 24, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &addPartitionsToTxnSchema},
	{Key: 25, Min: 0, Max: 4, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &addOffsetsToTxnSchema},
	{Key: 26, Min: 0, Max: 5, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &endTxnSchema},
	{Key: 27, Min: 1, Max: 2, AdvertisedMin: 1, BytesMax: requestBytesMax, Schema: &writeTxnMarkersSchema},
	{Key: 28, Min: 0, Max: 6, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &txnOffsetCommitSchema},
	{Key: 32, Min: 1, Max: 4, AdvertisedMin: 1, BytesMax: requestBytesMax, Schema: &describeConfigsSchema},
	{Key: 33, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &alterConfigsSchema},
	{Key: 35, Min: 1, Max: 5, AdvertisedMin: 1, BytesMax: requestBytesMax, Schema: &describeLogDirsSchema},
	{Key: 37, Min: 0, Max: 3, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &createPartitionsSchema},
	{Key: 42, Min: 0, Max: 3, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &deleteGroupsSchema},
	{Key: 43, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &electLeadersSchema},
	{Key: 44, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &incrementalAlterConfigsSchema},
	{Key: 45, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &alterPartitionReassignmentsSchema},
	{Key: 46, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &listPartitionReassignmentsSchema},
	{Key: 47, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &offsetDeleteSchema},
	{Key: 48, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeClientQuotasSchema},
	{Key: 50, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeUserSCRAMCredentialsSchema},
	{Key: 55, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: quorumBytesMax, Schema: &describeQuorumSchema},
	{Key: 57, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &updateFeaturesSchema},
	{Key: 60, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeClusterSchema},
	{Key: 61, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeProducersSchema},
	{Key: 64, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &unregisterBrokerSchema},
	{Key: 65, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeTransactionsSchema},
	{Key: 66, Min: 0, Max: 2, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &listTransactionsSchema},
	{Key: 68, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &consumerGroupHeartbeatSchema},
	{Key: 69, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &consumerGroupDescribeSchema},
	{Key: 74, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &listConfigResourcesSchema},
	{Key: 75, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &describeTopicPartitionsSchema},
	{Key: 80, Min: 0, Max: 1, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &addRaftVoterSchema},
	{Key: 81, Min: 0, Max: 0, AdvertisedMin: 0, BytesMax: requestBytesMax, Schema: &removeRaftVoterSchema},
}

// FindAPI finds a key in the table, or returns nil.
func FindAPI(key int16) *API {
	low, high := 0, len(APIs)
	for low < high {
		middle := (low + high) / 2
		if APIs[middle].Key < key {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(APIs) || APIs[low].Key != key {
		return ownAPI(key)
	}
	return &APIs[low]
}

// ownAPIs are weir's own, which clients of Kafka neither know nor are told of: weir's commands use them.
var ownAPIs = [...]API{
	{Key: AbandonWALKey, BytesMax: earlyBytesMax, Schema: &abandonWALSchema},
}

func ownAPI(key int16) *API {
	for i := range ownAPIs {
		if ownAPIs[i].Key == key {
			return &ownAPIs[i]
		}
	}
	return nil
}
