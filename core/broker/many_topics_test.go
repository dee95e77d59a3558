package broker

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// TestDefaultPartitionsCountToo: what one request makes is bounded with the default number of partitions as well.
func TestDefaultPartitionsCountToo(t *testing.T) {
	r := newRig(t, "num.partitions=6000")
	out := ask[*kmsg.CreateTopicsResponse](r, 7, createOf(newTopicOf("a", -1), newTopicOf("b", -1)))
	if out.Topics[0].ErrorCode != 0 || out.Topics[1].ErrorCode != wire.PolicyViolation {
		t.Fatalf("answer is %+v", out.Topics)
	}
	request := metadataOf("c", "d")
	request.AllowAutoTopicCreation = true
	made := ask[*kmsg.MetadataResponse](r, 9, request)
	if made.Topics[0].ErrorCode != 0 || made.Topics[1].ErrorCode != wire.UnknownTopicOrPartition {
		t.Fatalf("answer is %+v", made.Topics)
	}
}

// TestTopicsWithoutOverridesShareTheirDescription: and none with overrides, nor after a default has changed.
func TestTopicsWithoutOverridesShareTheirDescription(t *testing.T) {
	r := newRig(t, "")
	r.topics = append(r.topics, r.newTopic("u", 1, nil), r.newTopic("v", 1, []metadata.Config{{Key: "retention.ms", Value: "5"}}))
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range []string{"t", "u", "v"} {
		request.Resources = append(request.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name})
	}
	retention := func() (values []string) {
		for _, resource := range ask[*kmsg.DescribeConfigsResponse](r, 4, request).Resources {
			for _, c := range resource.Configs {
				if c.Name == "retention.ms" {
					values = append(values, *c.Value)
				}
			}
		}
		return values
	}
	if got := retention(); !slices.Equal(got, []string{"604800000", "604800000", "5"}) {
		t.Errorf("retention.ms is %v", got)
	}
	r.broker.settings.SetDynamic(nil, []config.Override{{Key: "log.retention.ms", Value: "7"}})
	if got := retention(); !slices.Equal(got, []string{"7", "7", "5"}) {
		t.Errorf("retention.ms is %v after its default has changed", got)
	}
}

// TestNewPartitionsOfAllTopicsCountTogether: one request for many topics made 10,000 for each.
func TestNewPartitionsOfAllTopicsCountTogether(t *testing.T) {
	r := newRig(t, "")
	r.topics = append(r.topics, r.newTopic("u", 1, nil), r.newTopic("v", 1, nil))
	request := kmsg.NewPtrCreatePartitionsRequest()
	request.TimeoutMillis = 1000
	for _, name := range []string{"u", "v", "t"} {
		request.Topics = append(request.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: newPartitionsMax - 9})
	}
	request.Topics[2].Count = 9
	out := ask[*kmsg.CreatePartitionsResponse](r, 3, request)
	if out.Topics[0].ErrorCode != 0 || out.Topics[1].ErrorCode != wire.PolicyViolation || out.Topics[2].ErrorCode != 0 {
		t.Fatalf("answer is %+v", out.Topics)
	}
}
