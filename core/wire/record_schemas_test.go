package wire

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What Kafka writes has the shape of its schema in every version, whole and only whole.
func TestRecordsHaveTheirShape(t *testing.T) {
	member := kmsg.NewGroupMetadataValueMember()
	member.MemberID, member.InstanceID, member.ClientID, member.Subscription, member.Assignment = "m", kmsg.StringPtr("i"), "c", []byte("s"), []byte("a")
	for version := int16(0); version <= 4; version++ {
		offset := kmsg.OffsetCommitValue{Version: version, Offset: 7, Metadata: "note", TopicID: [16]byte{1}}
		checkShape(t, &OffsetValue, offset.AppendTo(nil))
		group := kmsg.GroupMetadataValue{Version: version, ProtocolType: "consumer", Protocol: kmsg.StringPtr("range"), Members: []kmsg.GroupMetadataValueMember{member, member}}
		checkShape(t, &GroupValue, group.AppendTo(nil))
		checkShape(t, &GroupValue, (&kmsg.GroupMetadataValue{Version: version}).AppendTo(nil))
	}
	for version := int16(0); version <= 1; version++ {
		v := kmsg.TxnMetadataValue{Version: version, PreviousProducerID: 4, NextProducerID: 5}
		checkShape(t, &TransactionValue, v.AppendTo(nil))
		v.Topics = []kmsg.TxnMetadataValueTopic{{Topic: "t", Partitions: []int32{1, 2}}}
		checkShape(t, &TransactionValue, v.AppendTo(nil))
	}
	require.Error(t, OffsetValue.Check([]byte{0, 5}))
	require.Error(t, OffsetValue.Check(nil))

	// As many tags as a number may announce would be read one by one, and members made for all bytes that are left.
	tags := kmsg.OffsetCommitValue{Version: 4}
	b := tags.AppendTo(nil)
	require.Error(t, OffsetValue.Check(kbin.AppendUvarint(b[:len(b)-1], math.MaxUint32)))
	b = (&kmsg.GroupMetadataValue{Version: 3}).AppendTo(nil)
	b = append(kbin.AppendInt32(b[:len(b)-4], 1000), make([]byte, 1000)...)
	require.Error(t, GroupValue.Check(b))
}

func checkShape(t *testing.T, s *RecordSchema, value []byte) {
	require.NoError(t, s.Check(value))
	for n := range value {
		require.Error(t, s.Check(value[:n]), "%d of %d bytes", n, len(value))
	}
}
