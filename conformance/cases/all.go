package cases

import (
	"slices"

	"weir/conformance/suite"
)

// All are the cases, by API key and then by subject.
func All() []suite.Case {
	return slices.Concat(
		produce(), produceIdempotent(), produceTransactional(), fetch(), fetchTransactions(), fetchSessions(), listOffsetsCases(), metadata(),
		offsetCommit(), offsetFetch(), findCoordinator(),
		joinGroup(), joinGroupRounds(), heartbeat(), leaveGroup(), syncGroup(), staticMembers(),
		describeGroups(), listGroups(), apiVersions(), deleteGroups(), offsetDelete(),
		initProducerID(), addPartitionsToTxn(), addOffsetsToTxn(), endTxn(),
		writeTxnMarkers(), txnOffsetCommit(), describeProducers(), describeTransactions(), listTransactions(), consumerHeartbeat(), consumerRebalance(), consumerStatic(), consumerRegex(), consumerDescribe(), consumerOffsets(), migration(),
		createTopicsCases(), deleteTopicsCases(), deleteRecords(), createPartitions(), describeConfigs(), alterConfigs(), incrementalAlterConfigs(), listConfigResources(), cluster(), reassignments(), voters(), updateFeatures(), protocol(), unknownTags(), clientGroups(), clientTransactions(), compaction(),
	)
}

// Versions of an API, both ends inclusive.
func from(version int16) *suite.Span      { return &suite.Span{Min: version, Max: 1000} }
func upTo(version int16) *suite.Span      { return &suite.Span{Min: 0, Max: version} }
func only(version int16) *suite.Span      { return &suite.Span{Min: version, Max: version} }
func between(low, high int16) *suite.Span { return &suite.Span{Min: low, Max: high} }

// API keys that cases need beside their own.
var (
	classic           = []int16{11, 12, 13, 14, 15}
	classicAndOffsets = []int16{8, 9, 11, 12, 13, 14, 15}
)

// choose is yes if the condition holds.
func choose[T any](condition bool, yes, no T) T {
	if condition {
		return yes
	}
	return no
}

func pointer[T any](v T) *T { return &v }
