package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/controller"
	"weir/core/wire"
)

// administrations send one request of each kind that needs the newest image, and return the codes of its response.
var administrations = map[string]func(r *rig) []int16{
	"CreateTopics": func(r *rig) []int16 {
		q := kmsg.NewPtrCreateTopicsRequest()
		q.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "new", NumPartitions: 1, ReplicationFactor: 1}}
		return []int16{ask[*kmsg.CreateTopicsResponse](r, 5, q).Topics[0].ErrorCode}
	},
	"DeleteTopics": func(r *rig) []int16 {
		q := kmsg.NewPtrDeleteTopicsRequest()
		q.TopicNames = []string{"t"}
		return []int16{ask[*kmsg.DeleteTopicsResponse](r, 5, q).Topics[0].ErrorCode}
	},
	"DeleteTopics by id": func(r *rig) []int16 {
		q := kmsg.NewPtrDeleteTopicsRequest()
		q.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: r.topics[0].ID}}
		return []int16{ask[*kmsg.DeleteTopicsResponse](r, 6, q).Topics[0].ErrorCode}
	},
	"CreatePartitions": func(r *rig) []int16 {
		q := kmsg.NewPtrCreatePartitionsRequest()
		q.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 9}}
		return []int16{ask[*kmsg.CreatePartitionsResponse](r, 3, q).Topics[0].ErrorCode}
	},
	"AlterConfigs": func(r *rig) []int16 {
		q := kmsg.NewPtrAlterConfigsRequest()
		q.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		return []int16{ask[*kmsg.AlterConfigsResponse](r, 2, q).Resources[0].ErrorCode}
	},
	"IncrementalAlterConfigs": func(r *rig) []int16 {
		q := kmsg.NewPtrIncrementalAlterConfigsRequest()
		q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		return []int16{ask[*kmsg.IncrementalAlterConfigsResponse](r, 1, q).Resources[0].ErrorCode}
	},
	"ElectLeaders": func(r *rig) []int16 {
		q := kmsg.NewPtrElectLeadersRequest()
		q.TimeoutMillis, q.Topics = 1000, []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		out := ask[*kmsg.ElectLeadersResponse](r, 2, q)
		return []int16{out.ErrorCode, out.Topics[0].Partitions[0].ErrorCode}
	},
	"AlterPartitionReassignments": func(r *rig) []int16 {
		out := ask[*kmsg.AlterPartitionAssignmentsResponse](r, 1, reassign("t", onto(0, 2)))
		return []int16{out.ErrorCode, out.Topics[0].Partitions[0].ErrorCode}
	},
	"UnregisterBroker": func(r *rig) []int16 {
		q := kmsg.NewPtrUnregisterBrokerRequest()
		q.BrokerID = 3
		return []int16{ask[*kmsg.UnregisterBrokerResponse](r, 0, q).ErrorCode}
	},
	"UpdateFeatures": func(r *rig) []int16 {
		return []int16{ask[*kmsg.UpdateFeaturesResponse](r, 1, kmsg.NewPtrUpdateFeaturesRequest()).ErrorCode}
	},
}

func TestAdministrationNeedsTheNewestImage(t *testing.T) {
	for name, send := range administrations {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "")
			r.cluster.behind = &controller.Error{Code: wire.NotController, Message: "no leader"}
			for _, code := range send(r) {
				require.EqualValues(t, wire.NotController, code)
			}
			require.Empty(t, r.controller.asked, "the controller")
		})
	}
}

func TestATopicThatIsNotKnownYetIsDeleted(t *testing.T) {
	r := newRig(t, "")
	made := r.topics[0]
	r.topics = nil
	r.cluster.catchUp = func() { r.topics = append(r.topics, made) }
	require.Equal(t, []int16{0}, administrations["DeleteTopics"](r))
}
