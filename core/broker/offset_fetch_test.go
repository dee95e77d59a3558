package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Four bytes of a request ask for the metadata of an offset, which may have some thousand.
func TestOffsetFetchAnswersWhatIsAskedTwiceOnce(t *testing.T) {
	topic := func(name string, partitions ...int32) kmsg.OffsetFetchRequestGroupTopic {
		return kmsg.OffsetFetchRequestGroupTopic{Topic: name, Partitions: partitions}
	}
	groups := []kmsg.OffsetFetchRequestGroup{
		{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{topic("t", 0, 1, 0, 0), topic("u", 0), topic("t", 1, 2)}},
		{Group: "h"},
		{Group: "h"},
		{Group: "h", Topics: []kmsg.OffsetFetchRequestGroupTopic{topic("t", 0)}},
		{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{topic("t", 2, 3)}},
	}
	fetchOnce(groups)
	require.Equal(t, []int32{0, 1}, groups[0].Topics[0].Partitions)
	require.Equal(t, []int32{0}, groups[0].Topics[1].Partitions)
	require.Equal(t, []int32{2}, groups[0].Topics[2].Partitions)
	require.Nil(t, groups[1].Topics)
	require.NotNil(t, groups[2].Topics)
	require.Equal(t, []int32{0}, groups[3].Topics[0].Partitions)
	require.Equal(t, []int32{3}, groups[4].Topics[0].Partitions)
}
