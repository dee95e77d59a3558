package broker

import (
	"testing"

	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestConsumerGroupsWithoutCoordinator(t *testing.T) {
	r := newRig(t, "")
	heartbeat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{"g", ""}
	codes := func() (c [3]int16) {
		groups := ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, describe).Groups
		return [3]int16{ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, heartbeat).ErrorCode, groups[0].ErrorCode, groups[1].ErrorCode}
	}
	require.Equal(t, [3]int16{wire.InvalidRequest, wire.NotCoordinator, wire.InvalidGroupID}, codes(), "what is wrong in itself comes first")
	heartbeat.Group, heartbeat.MemberID, heartbeat.MemberEpoch = "g", "m", 1
	require.Equal(t, [3]int16{wire.NotCoordinator, wire.NotCoordinator, wire.InvalidGroupID}, codes())
	r.features = nil
	require.Equal(t, [3]int16{wire.UnsupportedVersion, wire.UnsupportedVersion, wire.UnsupportedVersion}, codes(), "the feature is not in use")
}

// A group's members may hold megabytes, and to ask for it takes three bytes.
func TestGroupsAreDescribedOnce(t *testing.T) {
	r := newRig(t, "")
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{"g", "h", "g", "g"}
	require.Len(t, ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, describe).Groups, 2)
	classic := kmsg.NewPtrDescribeGroupsRequest()
	classic.Groups = describe.Groups
	require.Len(t, ask[*kmsg.DescribeGroupsResponse](r, 5, classic).Groups, 2)
}
