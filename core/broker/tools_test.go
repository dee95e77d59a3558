package broker

import (
	"strings"
	"testing"

	"weir/core/metadata"
	"weir/core/quorum"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What Kafka's own tools ask first.

func TestApiVersionsTellsAClientThatMeantAnotherBroker(t *testing.T) { // KIP-1242
	for _, c := range []struct {
		cluster *string
		node    int32
		code    int16
	}{
		{nil, -1, 0},
		{kmsg.StringPtr("the-cluster"), 1, 0},
		{kmsg.StringPtr("another"), 1, wire.RebootstrapRequired},
		{kmsg.StringPtr("the-cluster"), 2, wire.RebootstrapRequired},
		{kmsg.StringPtr("the-cluster"), -1, wire.InvalidRequest},
		{nil, 1, wire.InvalidRequest},
	} {
		r := newRig(t, "")
		request := kmsg.NewPtrApiVersionsRequest()
		request.ClientSoftwareName, request.ClientSoftwareVersion = "x", "1"
		request.ClusterID, request.NodeID = c.cluster, c.node
		out := ask[*kmsg.ApiVersionsResponse](r, 5, request)
		require.Equal(t, c.code, out.ErrorCode)
		require.Equal(t, c.code == 0, len(out.ApiKeys) > 0)
	}
}

func TestElectLeaders(t *testing.T) {
	r := newRig(t, "")
	r.topics[0].Partitions[2].Leader = 3 // fenced
	request := kmsg.NewPtrElectLeadersRequest()
	request.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 2, 99, -1}}, {Topic: "absent", Partitions: []int32{0}}}
	for version, kind := range map[int16]int8{0: 0, 1: 0, 2: 1} {
		request.ElectionType = kind
		out := ask[*kmsg.ElectLeadersResponse](r, version, request)
		var codes []int16
		for _, topic := range out.Topics {
			for _, p := range topic.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
		away := int16(wire.PreferredLeaderNotAvailable)
		if kind == electUnclean {
			away = wire.EligibleLeadersNotAvailable
		}
		require.Equal(t, []int16{wire.ElectionNotNeeded, away, wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition}, codes)
	}
	request.Topics, request.ElectionType = nil, 0
	out := ask[*kmsg.ElectLeadersResponse](r, 2, request)
	require.Len(t, out.Topics, len(r.topics))
	require.Len(t, out.Topics[0].Partitions, 1)
	require.EqualValues(t, 2, out.Topics[0].Partitions[0].Partition)
	request.TimeoutMillis = 0
	require.EqualValues(t, wire.RequestTimedOut, ask[*kmsg.ElectLeadersResponse](r, 2, request).ErrorCode)
}

// A name as long as the request, in the text of each of 100,000 partitions, made an answer of gigabytes.
func TestElectLeadersAnswersNoMoreThanManyTimesTheRequest(t *testing.T) {
	r := newRig(t, "")
	for _, name := range []string{strings.Repeat("x", 10_000), strings.Repeat("x", metadata.TopicNameBytesMax), "t"} {
		request := kmsg.NewPtrElectLeadersRequest()
		request.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: name, Partitions: make([]int32, 100_000)}}
		out := ask[*kmsg.ElectLeadersResponse](r, 2, request)
		require.Len(t, out.Topics[0].Partitions, 100_000)
		require.NotNil(t, out.Topics[0].Partitions[0].ErrorMessage)
		require.Less(t, len(out.AppendTo(nil)), 16*len(request.AppendTo(nil)), "%.10s", name)
	}
}

func TestDescribeUserScramCredentials(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	require.Empty(t, ask[*kmsg.DescribeUserSCRAMCredentialsResponse](r, 0, request).Results)
	for _, name := range []string{"a", "b", "a"} {
		request.Users = append(request.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: name})
	}
	results := ask[*kmsg.DescribeUserSCRAMCredentialsResponse](r, 0, request).Results
	require.Len(t, results, 2)
	require.EqualValues(t, wire.DuplicateResource, results[0].ErrorCode)
	require.EqualValues(t, wire.ResourceNotFound, results[1].ErrorCode)
}

func TestListConfigResources(t *testing.T) {
	r := newRig(t, "")
	request := kmsg.NewPtrListConfigResourcesRequest()
	require.Empty(t, ask[*kmsg.ListConfigResourcesResponse](r, 0, request).ConfigResources)
	require.Len(t, ask[*kmsg.ListConfigResourcesResponse](r, 1, request).ConfigResources, len(r.topics)+len(r.brokers))
	request.ResourceTypes = []int8{4, 4}
	require.Len(t, ask[*kmsg.ListConfigResourcesResponse](r, 1, request).ConfigResources, len(r.brokers))
	request.ResourceTypes = []int8{3}
	require.EqualValues(t, wire.UnsupportedVersion, ask[*kmsg.ListConfigResourcesResponse](r, 1, request).ErrorCode)
}

func TestDescribeQuorumOfANodeThatIsAlone(t *testing.T) {
	r := newRig(t, "")
	r.cluster.state = quorum.State{Leader: member(1), Term: 7, Applied: 9, Voters: []quorum.MemberState{{ID: member(1), End: 9}}}
	request := kmsg.NewPtrDescribeQuorumRequest()
	request.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: clusterMetadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	for version := int16(0); version <= 2; version++ {
		out := ask[*kmsg.DescribeQuorumResponse](r, version, request)
		p := out.Topics[0].Partitions[0]
		require.Equal(t, version >= 2, len(out.Nodes) == 1 && out.Nodes[0].Listeners[0].Name == "CLIENTS")
		require.Zero(t, p.ErrorCode)
		require.EqualValues(t, 1, p.LeaderID)
		require.EqualValues(t, 7, p.LeaderEpoch)
		require.EqualValues(t, 10, p.HighWatermark)
		require.Len(t, p.CurrentVoters, 1)
		require.Equal(t, p.HighWatermark, p.CurrentVoters[0].LogEndOffset)
	}
	request.Topics[0].Topic = "t"
	p := ask[*kmsg.DescribeQuorumResponse](r, 2, request).Topics[0].Partitions[0]
	require.EqualValues(t, wire.UnknownTopicOrPartition, p.ErrorCode)
}

func TestDescribeClientQuotas(t *testing.T) {
	component := func(entity string, match int8, name *string) kmsg.DescribeClientQuotasRequestComponent {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		c.EntityType, c.MatchType, c.Match = entity, kmsg.QuotasMatchType(match), name
		return c
	}
	some := kmsg.StringPtr("a")
	for _, c := range []struct {
		components []kmsg.DescribeClientQuotasRequestComponent
		code       int16
	}{
		{nil, 0},
		{[]kmsg.DescribeClientQuotasRequestComponent{component("user", 0, some), component("client-id", 2, nil)}, 0},
		{[]kmsg.DescribeClientQuotasRequestComponent{component("user", 0, some), component("user", 2, nil)}, wire.InvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{component("user", 0, some), component("ip", 2, nil)}, wire.InvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{component("", 0, some)}, wire.InvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{component("planet", 0, some)}, wire.UnsupportedVersion},
		{[]kmsg.DescribeClientQuotasRequestComponent{component("user", 9, nil)}, wire.InvalidRequest},
	} {
		for version := int16(0); version <= 1; version++ {
			request := kmsg.NewPtrDescribeClientQuotasRequest()
			request.Components = c.components
			out := ask[*kmsg.DescribeClientQuotasResponse](newRig(t, ""), version, request)
			require.Equal(t, c.code, out.ErrorCode, "%+v", c.components)
			require.Empty(t, out.Entries)
		}
	}
}

func TestDescribeConfigsAnswersDuplicatesWithinABound(t *testing.T) {
	for _, one := range []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1", ConfigNames: []string{"no.such.key"}},
	} {
		r := newRig(t, "")
		request := kmsg.NewPtrDescribeConfigsRequest()
		for range 20_000 {
			request.Resources = append(request.Resources, one)
		}
		var out []kmsg.DescribeConfigsResponseResource
		perRequest := testing.AllocsPerRun(1, func() { out = ask[*kmsg.DescribeConfigsResponse](r, 1, request).Resources })
		require.Less(t, perRequest, 20.0*20_000, "what is past the bound is listed all the same")
		entries := 0
		for i := range out {
			entries += len(out[i].Configs)
		}
		require.LessOrEqual(t, entries, cheapEntriesMax+2*len(out[0].Configs))
		require.Zero(t, out[1].ErrorCode)
		require.Len(t, out[1].Configs, len(out[0].Configs))
		require.EqualValues(t, wire.InvalidRequest, out[19_999].ErrorCode)
	}
}

// A text repeats what the client sent; before KIP-482 a string has at most 32,767 bytes.
func TestTextsOfErrorsFitOldVersions(t *testing.T) {
	r := newRig(t, "")
	long := strings.Repeat("x", 32_767)
	quotas := kmsg.NewPtrDescribeClientQuotasRequest()
	quotas.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: long}}
	out := ask[*kmsg.DescribeClientQuotasResponse](r, 0, quotas)
	require.EqualValues(t, wire.UnsupportedVersion, out.ErrorCode)
	require.Contains(t, *out.ErrorMessage, "Custom entity type")
	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: long}}
	described := ask[*kmsg.DescribeConfigsResponse](r, 1, configs)
	require.EqualValues(t, wire.InvalidRequest, described.Resources[0].ErrorCode)
	require.Contains(t, *described.Resources[0].ErrorMessage, "Broker id must be an integer")
}
