package wire

// The shapes of the requests served, for the walk that precedes decoding. Tests
// hold them against kmsg's encoder at every version.
var (
	fetchSchema = Schema{flexible: 12, fields: []wireField{
		wireInt32.upTo(14), wireInt32, wireInt32, wireInt32.from(3), wireInt8.from(4),
		wireInt32.from(7), wireInt32.from(7),
		structs(wireString.upTo(12), wireUUID.from(13), structs(
			wireInt32, wireInt32.from(9), wireInt64, wireInt32.from(12), wireInt64.from(5), wireInt32).
			with(tags{0: value(wireUUID, 17), 1: value(wireInt64, 18)})),
		structs(wireString.upTo(12), wireUUID.from(13), list(wireInt32)).from(7),
		wireString.from(11),
	}, tagged: tags{0: value(wireNullable, 12), 1: record(15, wireInt32, wireInt64)}}

	listOffsetsSchema = Schema{flexible: 6, fields: []wireField{
		wireInt32, wireInt8.from(2),
		structs(wireString, structs(wireInt32, wireInt32.from(4), wireInt64)),
		wireInt32.from(10),
	}}

	// The topics of Metadata 0 may not be null, but kmsg takes that for none.
	metadataSchema = Schema{flexible: 9, fields: []wireField{
		structs(wireUUID.from(10), wireString.upTo(9), wireNullable.from(10)),
		wireBool.from(4),
		{kind: int8Kind, since: 8, until: 10},
		wireBool.from(8),
	}}

	offsetCommitSchema = Schema{flexible: 8, fields: []wireField{
		wireString, wireInt32.from(1), wireString.from(1), wireNullable.from(7), wireInt64.from(2).upTo(4),
		structs(wireString.upTo(9), wireUUID.from(10), structs(wireInt32, wireInt64, wireInt32.from(6), wireNullable)),
	}}

	offsetFetchSchema = Schema{flexible: 6, fields: []wireField{
		wireString.upTo(7), structs(wireString, list(wireInt32)).upTo(7),
		structs(wireString, wireNullable.from(9), wireInt32.from(9),
			structs(wireString.upTo(9), wireUUID.from(10), list(wireInt32))).from(8),
		wireBool.from(7),
	}}

	findCoordinatorSchema = Schema{flexible: 3, fields: []wireField{
		wireString.upTo(3), wireInt8.from(1), list(wireString).from(4),
	}}

	joinGroupSchema = Schema{flexible: 6, fields: []wireField{
		wireString, wireInt32, wireInt32.from(1), wireString, wireNullable.from(5), wireString,
		structs(wireString, wireBytes), wireNullable.from(8),
	}}

	heartbeatSchema = Schema{flexible: 4, fields: []wireField{
		wireString, wireInt32, wireString, wireNullable.from(3),
	}}

	leaveGroupSchema = Schema{flexible: 4, fields: []wireField{
		wireString, wireString.upTo(2), structs(wireString, wireNullable, wireNullable.from(5)).from(3),
	}}

	syncGroupSchema = Schema{flexible: 4, fields: []wireField{
		wireString, wireInt32, wireString, wireNullable.from(3), wireNullable.from(5), wireNullable.from(5),
		structs(wireString, wireBytes),
	}}

	describeGroupsSchema = Schema{flexible: 5, fields: []wireField{list(wireString), wireBool.from(3)}}

	listGroupsSchema = Schema{flexible: 3, fields: []wireField{list(wireString).from(4), list(wireString).from(5)}}

	txnOffsetCommitSchema = Schema{flexible: 3, fields: []wireField{
		wireString, wireString, wireInt64, wireInt16, wireInt32.from(3), wireString.from(3), wireNullable.from(3),
		structs(wireString.upTo(5), wireUUID.from(6), structs(wireInt32, wireInt64, wireInt32.from(2), wireNullable)),
	}}

	deleteGroupsSchema = Schema{flexible: 2, fields: []wireField{list(wireString)}}

	offsetDeleteSchema = Schema{flexible: -1, fields: []wireField{
		wireString, structs(wireString, structs(wireInt32)),
	}}

	apiVersionsSchema = Schema{flexible: 3, fields: []wireField{
		wireString.from(3), wireString.from(3), wireNullable.from(5), wireInt32.from(5),
	}}

	createTopicsSchema = Schema{flexible: 5, fields: []wireField{
		structs(wireString, wireInt32, wireInt16,
			structs(wireInt32, list(wireInt32)),
			structs(wireString, wireNullable)),
		wireInt32, wireBool.from(1),
	}}

	deleteTopicsSchema = Schema{flexible: 4, fields: []wireField{
		list(wireString).upTo(5), structs(wireNullable, wireUUID).from(6), wireInt32,
	}}

	deleteRecordsSchema = Schema{flexible: 2, fields: []wireField{
		structs(wireString, structs(wireInt32, wireInt64)), wireInt32,
	}}

	initProducerIDSchema = Schema{flexible: 2, fields: []wireField{
		wireNullable, wireInt32, wireInt64.from(3), wireInt16.from(3),
	}}

	offsetForLeaderEpochSchema = Schema{flexible: 4, fields: []wireField{
		wireInt32.from(3), structs(wireString, structs(wireInt32, wireInt32.from(2), wireInt32)),
	}}

	writeTxnMarkersSchema = Schema{flexible: 1, fields: []wireField{
		structs(wireInt64, wireInt16, wireBool, structs(wireString, list(wireInt32)), wireInt32, wireInt8.from(2)),
	}}

	describeProducersSchema = Schema{flexible: 0, fields: []wireField{structs(wireString, list(wireInt32))}}

	describeConfigsSchema = Schema{flexible: 4, fields: []wireField{
		structs(wireInt8, wireString, list(wireString)), wireBool.from(1), wireBool.from(3),
	}}

	alterConfigsSchema = Schema{flexible: 2, fields: []wireField{
		structs(wireInt8, wireString, structs(wireString, wireNullable)), wireBool,
	}}

	describeLogDirsSchema = Schema{flexible: 2, fields: []wireField{structs(wireString, list(wireInt32))}}

	createPartitionsSchema = Schema{flexible: 2, fields: []wireField{
		structs(wireString, wireInt32, structs(list(wireInt32))), wireInt32, wireBool,
	}}

	electLeadersSchema = Schema{flexible: 2, fields: []wireField{
		wireInt8.from(1), structs(wireString, list(wireInt32)), wireInt32,
	}}

	incrementalAlterConfigsSchema = Schema{flexible: 1, fields: []wireField{
		structs(wireInt8, wireString, structs(wireString, wireInt8, wireNullable)), wireBool,
	}}

	alterPartitionReassignmentsSchema = Schema{flexible: 0, fields: []wireField{
		wireInt32, wireBool.from(1), structs(wireString, structs(wireInt32, list(wireInt32))),
	}}

	listPartitionReassignmentsSchema = Schema{flexible: 0, fields: []wireField{wireInt32, structs(wireString, list(wireInt32))}}

	unregisterBrokerSchema = Schema{flexible: 0, fields: []wireField{wireInt32}}

	abandonWALSchema = Schema{flexible: 0, fields: []wireField{wireInt32, wireInt64, wireBool}}

	addRaftVoterSchema = Schema{flexible: 0, fields: []wireField{
		wireNullable, wireInt32, wireInt32, wireUUID, structs(wireString, wireString, wireInt16), wireBool.from(1),
	}}

	removeRaftVoterSchema = Schema{flexible: 0, fields: []wireField{wireNullable, wireInt32, wireUUID}}

	describeClientQuotasSchema = Schema{flexible: 1, fields: []wireField{
		structs(wireString, wireInt8, wireNullable), wireBool,
	}}

	describeUserSCRAMCredentialsSchema = Schema{flexible: 0, fields: []wireField{structs(wireString)}}

	listConfigResourcesSchema = Schema{flexible: 0, fields: []wireField{list(wireInt8).from(1)}}

	consumerGroupHeartbeatSchema = Schema{flexible: 0, fields: []wireField{
		wireString, wireString, wireInt32, wireNullable, wireNullable, wireInt32, list(wireString), wireNullable.from(1), wireNullable,
		structs(wireUUID, list(wireInt32)),
	}}

	consumerGroupDescribeSchema = Schema{flexible: 0, fields: []wireField{list(wireString), wireBool}}

	describeQuorumSchema = Schema{flexible: 0, fields: []wireField{structs(wireString, structs(wireInt32))}}

	addPartitionsToTxnSchema = Schema{flexible: 3, fields: []wireField{
		wireString.upTo(3), wireInt64.upTo(3), wireInt16.upTo(3), structs(wireString, list(wireInt32)).upTo(3),
		structs(wireString, wireInt64, wireInt16, wireBool, structs(wireString, list(wireInt32))).from(4),
	}}

	addOffsetsToTxnSchema = Schema{flexible: 3, fields: []wireField{wireString, wireInt64, wireInt16, wireString}}

	endTxnSchema = Schema{flexible: 3, fields: []wireField{wireString, wireInt64, wireInt16, wireBool}}

	describeTransactionsSchema = Schema{flexible: 0, fields: []wireField{list(wireString)}}

	listTransactionsSchema = Schema{flexible: 0, fields: []wireField{
		list(wireString), list(wireInt64), wireInt64.from(1), wireNullable.from(2),
	}}

	updateFeaturesSchema = Schema{flexible: 0, fields: []wireField{
		wireInt32, structs(wireString, wireInt16, wireInt8), wireBool.from(1),
	}}

	describeClusterSchema = Schema{flexible: 0, fields: []wireField{
		wireBool, wireInt8.from(1), wireBool.from(2),
	}}

	describeTopicPartitionsSchema = Schema{flexible: 0, fields: []wireField{
		structs(wireString), wireInt32, optional(wireString, wireInt32),
	}}
)
