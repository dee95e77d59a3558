package metadata_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
)

// The lowest slot of an object WAL is known for as long as its epoch lives or owes something; it never goes back; and
// only its own epoch's commits raise it.
func TestWhereRecoveryOfAnObjectWALBegins(t *testing.T) {
	im := metadata.NewImage()
	apply := func(r metadata.Record) {
		t.Helper()
		require.NoError(t, im.Apply(im.AppliedIndex()+1, r))
	}
	commit := func(object metadata.ObjectID, epoch metadata.BrokerEpoch, leaderEpoch int32, start, end int64, slot uint64) {
		t.Helper()
		apply(&metadata.CommitObject{Object: object, Epoch: epoch, WALSlot: slot, Parts: []metadata.CommitPart{
			{Stream: 1, LeaderEpoch: leaderEpoch, Part: metadata.Part{Start: start, End: end}, Checkpoint: []byte{1}},
		}})
	}
	slot := func(epoch metadata.BrokerEpoch) any {
		if lowest, ok := im.ObjectWAL(epoch); ok {
			return int(lowest)
		}
		return nil
	}
	apply(&metadata.RegisterBroker{ID: 1, Incarnation: [16]byte{1}, ObjectWAL: true})
	apply(&metadata.CreateTopic{ID: metadata.TopicID{1}, Name: "t", Leaders: []metadata.Leader{{Broker: 1, Epoch: 1}}})
	apply(&metadata.LeaseObjects{Epoch: 1, Count: 10})
	require.Equal(t, 0, slot(1))
	commit(1, 1, 0, 0, 5, 7)
	commit(2, 1, 0, 5, 6, 3)
	require.Equal(t, 7, slot(1))
	require.True(t, im.SlotDead(1, 6))
	require.False(t, im.SlotDead(1, 7))

	apply(&metadata.RegisterBroker{ID: 1, Incarnation: [16]byte{2}})
	next := metadata.BrokerEpoch(im.AppliedIndex())
	require.Equal(t, 7, slot(1), "the ended epoch owes an open range")
	require.Nil(t, slot(next), "a device")
	apply(&metadata.TakeOver{Broker: 1, Epoch: next, Ends: []metadata.RangeEnd{{Stream: 1, End: 9}}})
	apply(&metadata.LeaseObjects{Epoch: next, Count: 10})
	commit(11, next, 0, 6, 8, 100)
	require.Equal(t, 7, slot(1), "a recoverer's commit says nothing of its own log, nor of that one")
	require.False(t, im.SlotDead(1, 50))
	commit(12, next, 0, 8, 9, 0)
	require.True(t, im.SlotDead(1, 50), "nothing is owed any more")
	require.False(t, im.SlotDead(next+50, 0), "a later epoch than the image knows")
	apply(&metadata.RegisterBroker{ID: 1, Incarnation: [16]byte{3}, ObjectWAL: true})
	require.Nil(t, slot(1))
}
