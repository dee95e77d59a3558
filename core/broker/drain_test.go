package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// Any broker takes the drain of any other, and nothing else that is set for another.
func TestDrainIsTakenByAnyBroker(t *testing.T) {
	r := newRig(t, "")
	broker, set := kmsg.ConfigResourceTypeBroker, change(config.DrainKey, 0, "true")
	require.Zero(t, incremental(r, broker, "2", set))
	require.Equal(t, []metadata.Config{{Key: config.DrainKey, Value: "true"}}, r.brokerConfigs[2])
	require.Zero(t, incremental(r, broker, "1", set), "its own, too")
	require.EqualValues(t, wire.InvalidRequest, incremental(r, broker, "2", set, change("log.retention.ms", 0, "7")), "another key comes with it")
	require.EqualValues(t, wire.BrokerIDNotRegistered, incremental(r, broker, "99", set))
	require.EqualValues(t, wire.InvalidRequest, incremental(r, broker, "x", set))
	require.EqualValues(t, wire.InvalidRequest, incremental(r, broker, "2", change(config.DrainKey, 0, "perhaps")))

	replace := kmsg.NewPtrAlterConfigsRequest()
	replace.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: broker, ResourceName: "2"}}
	require.EqualValues(t, wire.InvalidRequest, ask[*kmsg.AlterConfigsResponse](r, 2, replace).Resources[0].ErrorCode, "that would take everything away")

	require.Zero(t, incremental(r, broker, "2", kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: config.DrainKey, Op: 1}))
	require.Empty(t, r.brokerConfigs[2])
}

// A reassignment passes over brokers that are drained.
func TestReassignmentPassesOverDrainedBrokers(t *testing.T) {
	r := newRig(t, "")
	require.Zero(t, incremental(r, kmsg.ConfigResourceTypeBroker, "2", change(config.DrainKey, 0, "true")))
	parts := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, reassign("t", onto(0, 2), onto(3, 2, 1))).Topics[0].Partitions
	require.EqualValues(t, wire.InvalidReplicaAssignment, parts[0].ErrorCode)
	require.Contains(t, *parts[0].ErrorMessage, "fenced or drained")
	require.Zero(t, parts[1].ErrorCode)
	require.Equal(t, map[metadata.StreamID]metadata.BrokerID{r.topics[0].Partitions[3].Stream: 1}, r.cluster.moving)
}
