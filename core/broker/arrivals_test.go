package broker

import (
	"testing"

	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// writeAll sends a batch to each of the four partitions, the last of which another broker leads.
func (r *dataRig) writeAll() *trade {
	return r.produce(12, -1, "t", 1, batchOf(0, 1), batchOf(0, 1), batchOf(0, 1), batchOf(0, 1))
}

func (r *dataRig) durable() {
	for id := range metadata.StreamID(4) {
		if log := r.logs[id+1]; log != nil {
			log.durable()
		}
	}
}

// A producer that follows the hint of the old leader may come before this broker has opened the partition.
func TestProduceWaitsForAPartitionThatWasAnnounced(t *testing.T) {
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	first, second := r.writeAll(), r.writeAll()
	require.Len(t, r.logs[1].batches, 2, "what goes to other partitions does not wait")
	r.durable()
	first.want(false)
	second.want(false)

	r.topics[0].Partitions[3].Leader, r.topics[0].Partitions[3].LeaderEpoch = 1, 5
	require.NoError(t, r.plane.partitions.ImageChanged())
	third := r.writeAll()
	require.Empty(t, r.logs[4].batches, "what comes before those that wait are submitted stays behind them")
	r.plane.arrivals.opened()
	r.turn()
	r.durable()
	for i, x := range []*trade{first, second, third} {
		for _, p := range x.produced() {
			require.Zero(t, p.ErrorCode)
			require.EqualValues(t, i, p.BaseOffset)
		}
	}
	require.Empty(t, r.plane.arrivals.waiting)
}

// A move may fail: then the answer is the one that it would have been.
func TestProduceWaitsForNoLongerThanTheLimit(t *testing.T) {
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	x := r.writeAll()
	r.pass(arrivalLimit - 1)
	x.want(false)
	r.pass(1)
	r.durable()
	require.EqualValues(t, wire.NotLeaderOrFollower, x.produced()[3].ErrorCode)

	x = r.writeAll()
	r.durable()
	require.EqualValues(t, wire.NotLeaderOrFollower, x.produced()[3].ErrorCode, "an announcement is forgotten")
}

// A partition that came and goes on to the next broker is not waited for again: producers hear at once who leads it.
func TestNothingWaitsForAPartitionThatGoesOn(t *testing.T) {
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	r.topics[0].Partitions[3].Leader, r.topics[0].Partitions[3].LeaderEpoch = 1, 5
	require.NoError(t, r.plane.partitions.ImageChanged())
	r.plane.arrivals.opened()
	r.plane.arrivals.departing(4)
	r.topics[0].Partitions[3].Leader, r.topics[0].Partitions[3].LeaderEpoch = 2, 6
	require.NoError(t, r.plane.partitions.ImageChanged())
	x := r.writeAll()
	r.durable()
	require.EqualValues(t, wire.NotLeaderOrFollower, x.produced()[3].ErrorCode)
}

// What is open needs no announcement.
func TestAnAnnouncementOfAnOpenPartitionIsNone(t *testing.T) {
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{1})
	require.Empty(t, r.plane.arrivals.announced)
}

// A drain leaves nothing behind.
func TestNothingWaitsForAPartitionThroughADrain(t *testing.T) {
	r := newDataRig(t)
	r.plane.arrivals.announce([]metadata.StreamID{4})
	x := r.writeAll()
	r.plane.arrivals.close()
	r.durable()
	require.EqualValues(t, wire.NotLeaderOrFollower, x.produced()[3].ErrorCode)
}

// An announcement that is repeated counts from the last time, and none is kept longer than it counts.
func TestAnnouncementsAreForgotten(t *testing.T) {
	r := newDataRig(t)
	a := &r.plane.arrivals
	a.announce([]metadata.StreamID{4, 4, 9})
	r.pass(arrivalLimit / 2)
	a.announce([]metadata.StreamID{4})
	r.pass(arrivalLimit / 2)
	x := r.writeAll()
	x.want(false)
	a.announce([]metadata.StreamID{8})
	require.Len(t, a.announced, 2, "4 and 8")
	r.pass(arrivalLimit)
	r.durable()
	require.EqualValues(t, wire.NotLeaderOrFollower, x.produced()[3].ErrorCode)
	a.announce(nil)
	require.Empty(t, a.announced)
	require.Empty(t, a.order)
}

// Whoever announces everything takes no more memory than so much.
func TestAnnouncementsAreBounded(t *testing.T) {
	r := newDataRig(t)
	streams := make([]metadata.StreamID, announcedMax)
	for round := range 3 {
		for i := range streams {
			streams[i] = metadata.StreamID(4 + round*announcedMax + i)
		}
		r.plane.arrivals.announce(streams)
	}
	require.Len(t, r.plane.arrivals.announced, announcedMax)
	require.Len(t, r.plane.arrivals.order, announcedMax)
}
