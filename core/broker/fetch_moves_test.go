package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A fetch that finds its partition given away is answered once it is known to whom.
func TestFetchWaitsForTheNextLeaderToBeKnown(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	p := r.plane.partitions.Find(1)
	require.NotNil(t, p.HandOver(func(*partition.Handover) {}))
	x := r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{index: 1}, {index: 0}}})
	r.pass(fetchMovePoll)
	x.want(false)
	r.topics[0].Partitions[0].Leader, r.topics[0].Partitions[0].LeaderEpoch = 2, 6
	require.NoError(t, r.plane.partitions.ImageChanged())
	r.pass(fetchMovePoll)
	moved := x.parts()[1]
	require.EqualValues(t, wire.NotLeaderOrFollower, moved.ErrorCode)
	require.EqualValues(t, 2, moved.CurrentLeader.LeaderID)
	require.EqualValues(t, 6, moved.CurrentLeader.LeaderEpoch)
}

// A move may not come about: then the answer is the one that it would have been.
func TestFetchWaitsForAMoveNoLongerThanTheLimit(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	h := r.plane.partitions.Find(1).HandOver(func(*partition.Handover) {})
	x := r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{index: 0}}})
	for range arrivalLimit / fetchMovePoll {
		x.want(false)
		r.pass(fetchMovePoll)
	}
	require.EqualValues(t, wire.NotLeaderOrFollower, x.parts()[0].ErrorCode)

	x = r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{index: 0}}})
	x.want(false)
	h.Resume()
	r.pass(fetchMovePoll)
	require.Equal(t, 3, batchesIn(x.parts()[0].RecordBatches), "it is not given away after all")
}

// A consumer that follows the hint of the old leader may come before this broker has opened the partition.
func TestFetchWaitsForAPartitionThatWasAnnounced(t *testing.T) {
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	x := r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{index: 3}}})
	x.want(false)
	r.topics[0].Partitions[3].Leader, r.topics[0].Partitions[3].LeaderEpoch = 1, 5
	require.NoError(t, r.plane.partitions.ImageChanged())
	r.pass(fetchMovePoll)
	require.Zero(t, x.parts()[0].ErrorCode)

	r = newDataRig(t)
	require.EqualValues(t, wire.NotLeaderOrFollower, r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{index: 3}}}).parts()[0].ErrorCode, "it was not announced")
}

// A client that is gone is waited for no longer.
func TestAFetchThatWaitsForAMoveEndsWithItsConnection(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	r.plane.partitions.Find(1).HandOver(func(*partition.Handover) {})
	x := r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{index: 0}}})
	x.gone()
	r.pass(2 * arrivalLimit)
	x.want(false)
}

// A consumer asks where its epoch ends before it follows its partition.
func TestOffsetForLeaderEpochWaitsForAPartitionThatWasAnnounced(t *testing.T) {
	ask := func(r *dataRig) *trade {
		q := kmsg.NewPtrOffsetForLeaderEpochRequest()
		q.Version = 4
		q.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{Partition: 3, CurrentLeaderEpoch: 5, LeaderEpoch: 4}}}}
		x := &trade{t: t, v: 4}
		r.plane.offsetForLeaderEpoch(x, q)
		return x
	}
	answered := func(x *trade) int16 {
		x.want(true)
		return x.message.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0].ErrorCode
	}
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	x := ask(r)
	x.want(false)
	r.topics[0].Partitions[3].Leader, r.topics[0].Partitions[3].LeaderEpoch = 1, 5
	require.NoError(t, r.plane.partitions.ImageChanged())
	r.pass(fetchMovePoll)
	require.Zero(t, answered(x))

	r = newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	x = ask(r)
	for range arrivalLimit / fetchMovePoll {
		x.want(false)
		r.pass(fetchMovePoll)
	}
	require.EqualValues(t, wire.NotLeaderOrFollower, answered(x))
}
