package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/wire"
)

// The keys that code branches on.
const (
	produceKey      = 0
	fetchRequestKey = 1
	apiVersionsKey  = 18
)

// decoderOf returns what decodes a body of a served version, off the loop.
func decoderOf(key int16) func(a *wire.API, version int16, body []byte) (any, error) {
	switch key {
	case 0:
		return decodeProduceBody
	case 1:
		return decodeMessage[kmsg.FetchRequest]
	case 2:
		return decodeMessage[kmsg.ListOffsetsRequest]
	case 3:
		return decodeMessage[kmsg.MetadataRequest]
	case 8:
		return decodeMessage[kmsg.OffsetCommitRequest]
	case 9:
		return decodeMessage[kmsg.OffsetFetchRequest]
	case 10:
		return decodeMessage[kmsg.FindCoordinatorRequest]
	case 11:
		return decodeMessage[kmsg.JoinGroupRequest]
	case 12:
		return decodeMessage[kmsg.HeartbeatRequest]
	case 13:
		return decodeMessage[kmsg.LeaveGroupRequest]
	case 14:
		return decodeMessage[kmsg.SyncGroupRequest]
	case 15:
		return decodeMessage[kmsg.DescribeGroupsRequest]
	case 16:
		return decodeMessage[kmsg.ListGroupsRequest]
	case 18:
		return decodeMessage[kmsg.ApiVersionsRequest]
	case 19:
		return decodeMessage[kmsg.CreateTopicsRequest]
	case 20:
		return decodeMessage[kmsg.DeleteTopicsRequest]
	case 21:
		return decodeMessage[kmsg.DeleteRecordsRequest]
	case 22:
		return decodeMessage[kmsg.InitProducerIDRequest]
	case 23:
		return decodeMessage[kmsg.OffsetForLeaderEpochRequest]
	case 24:
		return decodeMessage[kmsg.AddPartitionsToTxnRequest]
	case 25:
		return decodeMessage[kmsg.AddOffsetsToTxnRequest]
	case 26:
		return decodeMessage[kmsg.EndTxnRequest]
	case 27:
		return decodeMessage[kmsg.WriteTxnMarkersRequest]
	case 28:
		return decodeMessage[kmsg.TxnOffsetCommitRequest]
	case 32:
		return decodeMessage[kmsg.DescribeConfigsRequest]
	case 33:
		return decodeMessage[kmsg.AlterConfigsRequest]
	case 35:
		return decodeMessage[kmsg.DescribeLogDirsRequest]
	case 37:
		return decodeMessage[kmsg.CreatePartitionsRequest]
	case 42:
		return decodeMessage[kmsg.DeleteGroupsRequest]
	case 43:
		return decodeMessage[kmsg.ElectLeadersRequest]
	case 44:
		return decodeMessage[kmsg.IncrementalAlterConfigsRequest]
	case 45:
		return decodeMessage[kmsg.AlterPartitionAssignmentsRequest]
	case 46:
		return decodeMessage[kmsg.ListPartitionReassignmentsRequest]
	case 47:
		return decodeMessage[kmsg.OffsetDeleteRequest]
	case 48:
		return decodeMessage[kmsg.DescribeClientQuotasRequest]
	case 50:
		return decodeMessage[kmsg.DescribeUserSCRAMCredentialsRequest]
	case 55:
		return decodeMessage[kmsg.DescribeQuorumRequest]
	case 57:
		return decodeMessage[kmsg.UpdateFeaturesRequest]
	case 60:
		return decodeMessage[kmsg.DescribeClusterRequest]
	case 61:
		return decodeMessage[kmsg.DescribeProducersRequest]
	case 64:
		return decodeMessage[kmsg.UnregisterBrokerRequest]
	case 65:
		return decodeMessage[kmsg.DescribeTransactionsRequest]
	case 66:
		return decodeMessage[kmsg.ListTransactionsRequest]
	case 68:
		return decodeMessage[kmsg.ConsumerGroupHeartbeatRequest]
	case 69:
		return decodeMessage[kmsg.ConsumerGroupDescribeRequest]
	case 74:
		return decodeMessage[kmsg.ListConfigResourcesRequest]
	case 75:
		return decodeMessage[kmsg.DescribeTopicPartitionsRequest]
	case 80:
		return decodeMessage[kmsg.AddRaftVoterRequest]
	case 81:
		return decodeMessage[kmsg.RemoveRaftVoterRequest]
	case wire.AbandonWALKey:
		return decodeMessage[wire.AbandonWALRequest]
	}
	panic("broker: an API is in the table that has no decoder")
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
	case *kmsg.WriteTxnMarkersRequest:
		b.data.writeTxnMarkers(x, r)
	case *kmsg.DescribeProducersRequest:
		b.data.describeProducers(x, r)
	case *kmsg.MetadataRequest:
		b.metadata(x, r)
	case *kmsg.OffsetCommitRequest:
		b.offsetCommit(x, r)
	case *kmsg.OffsetFetchRequest:
		b.offsetFetch(x, r)
	case *kmsg.FindCoordinatorRequest:
		b.findCoordinator(x, r)
	case *kmsg.JoinGroupRequest:
		b.joinGroup(x, r)
	case *kmsg.HeartbeatRequest:
		b.heartbeat(x, r)
	case *kmsg.LeaveGroupRequest:
		b.leaveGroup(x, r)
	case *kmsg.SyncGroupRequest:
		b.syncGroup(x, r)
	case *kmsg.DescribeGroupsRequest:
		b.describeGroups(x, r)
	case *kmsg.ListGroupsRequest:
		b.listGroups(x, r)
	case *kmsg.TxnOffsetCommitRequest:
		b.txnOffsetCommit(x, r)
	case *kmsg.DeleteGroupsRequest:
		b.deleteGroups(x, r)
	case *kmsg.OffsetDeleteRequest:
		b.offsetDelete(x, r)
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
	case *kmsg.ElectLeadersRequest:
		b.electLeaders(x, r)
	case *kmsg.DescribeClientQuotasRequest:
		b.describeClientQuotas(x, r)
	case *kmsg.DescribeUserSCRAMCredentialsRequest:
		b.describeUserSCRAMCredentials(x, r)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		b.consumerGroupHeartbeat(x, r)
	case *kmsg.ConsumerGroupDescribeRequest:
		b.consumerGroupDescribe(x, r)
	case *kmsg.ListConfigResourcesRequest:
		b.listConfigResources(x, r)
	case *kmsg.DescribeQuorumRequest:
		b.describeQuorum(x, r)
	case *kmsg.AlterPartitionAssignmentsRequest:
		b.alterPartitionReassignments(x, r)
	case *kmsg.ListPartitionReassignmentsRequest:
		b.listPartitionReassignments(x, r)
	case *kmsg.UnregisterBrokerRequest:
		b.unregisterBroker(x, r)
	case *wire.AbandonWALRequest:
		b.abandonWAL(x, r)
	case *kmsg.AddRaftVoterRequest:
		b.addRaftVoter(x, r)
	case *kmsg.RemoveRaftVoterRequest:
		b.removeRaftVoter(x, r)
	case *kmsg.UpdateFeaturesRequest:
		b.updateFeatures(x, r)
	case *kmsg.DescribeClusterRequest:
		b.describeCluster(x, r)
	case *kmsg.DescribeTopicPartitionsRequest:
		b.describeTopicPartitions(x, r)
	case *kmsg.AddPartitionsToTxnRequest:
		b.addPartitionsToTxn(x, r)
	case *kmsg.AddOffsetsToTxnRequest:
		b.addOffsetsToTxn(x, r)
	case *kmsg.EndTxnRequest:
		b.endTxn(x, r)
	case *kmsg.DescribeTransactionsRequest:
		b.describeTransactions(x, r)
	case *kmsg.ListTransactionsRequest:
		b.listTransactions(x, r)
	default:
		panic("broker: a request was decoded that has no handler")
	}
}
