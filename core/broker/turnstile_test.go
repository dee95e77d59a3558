package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
)

// TestResponsesNotTakenAreBounded: many clients of one address ask for metadata and do not read it. Once their
// answers fill what one address may hold, their requests wait; Produce and another address do not. The client that
// has kept its answer longest is cut off, and what it held admits the next request.
func TestResponsesNotTakenAreBounded(t *testing.T) {
	r := newRig(t, "")
	r.net.hold = true
	held := &r.broker.data.held
	ask := func(id env.ConnID) env.ConnID {
		r.send(id, metadataOf("t"))
		return id
	}
	ask(r.connect())
	size := held.bytes
	require.Positive(t, size, "a response is not counted")
	held.limit = 8 * size // of which one address may hold 6
	for range 5 {
		ask(r.connect())
	}
	waits := ask(r.connect())
	require.Empty(t, r.answered(waits), "there is no room for this answer")
	require.Equal(t, 6*size, held.bytes)

	r.send(r.connect(), produceOf("t", -1, 0))
	require.Equal(t, int64(1), r.logs[1].end, "Produce waits for readers")
	require.Len(t, r.answered(ask(r.connectFrom("10.0.0.2:1"))), 1, "another address waits")

	r.pass(heldPatience)
	require.Zero(t, r.net.aborted, "cut off before its time")
	r.pass(heldRetry)
	require.Equal(t, 1, r.net.aborted)
	r.net.deliver()
	r.turn()
	r.pass(heldRetry)
	require.Len(t, r.answered(waits), 1, "still waits when there is room")
}

// TestFewResponsesWaitToBeEncoded: until a response is encoded nobody counts its memory, so few may be.
func TestFewResponsesWaitToBeEncoded(t *testing.T) {
	r := newRig(t, "")
	r.computing = true
	for range encodingMax + 3 {
		r.send(r.connect(), metadataOf("t"))
	}
	require.Len(t, r.work, encodingMax)
	gone := env.ConnID(encodingMax + 1) // the first that waits
	r.broker.Closed(gone, nil)
	first := r.work[0]
	r.work = r.work[1:]
	first.Deliver()
	r.turn()
	require.Len(t, r.work, encodingMax, "none started for the one that is done")
	for len(r.work) > 0 {
		r.compute()
		r.turn()
	}
	for id := range env.ConnID(encodingMax + 3) {
		if id++; id != gone {
			require.Len(t, r.answered(id), 1, "connection %d", id)
		}
	}
	require.Zero(t, r.broker.data.held.bytes)
}

// TestWideProduceRequestsCount: the answers of requests for very many partitions count, and a connection that takes
// none of them is not served further.
func TestWideProduceRequestsCount(t *testing.T) {
	r := newRig(t, "")
	r.net.hold = true
	id := r.connect()
	wide := produceOf("t", -1, 0)
	part := wide.Topics[0].Partitions[0]
	for i := range int32(unwrittenPartsMax) {
		part.Partition = 10 + i // not there
		wide.Topics[0].Partitions = append(wide.Topics[0].Partitions, part)
	}
	r.send(id, wide)
	r.logs[1].durable()
	r.turn()
	require.Len(t, r.answered(id), 1)
	require.GreaterOrEqual(t, r.broker.data.held.bytes, int64(unwrittenPartsMax*producePartBytes))
	r.send(id, produceOf("t", -1, 0))
	require.Equal(t, int64(1), r.logs[1].end)
	r.net.deliver()
	r.turn()
	require.Equal(t, int64(2), r.logs[1].end)
	require.Zero(t, r.broker.data.held.bytes)
}

// TestARequestListsABoundedNumberOfRecords: whatever the number of its batches.
func TestARequestListsABoundedNumberOfRecords(t *testing.T) {
	r := newDataRig(t)
	r.config.CleanupPolicy = "compact"
	r.plane.partitions.ConfigurationChanged(0, 0)
	batch := record.AppendBatch(nil, make([]record.Record, recordErrorsMax))
	listed := func(batches ...[]byte) (n int) {
		x := r.produce(9, -1, "t", 1, batches...)
		r.compute()
		for _, p := range x.produced() {
			n += len(p.ErrorRecords)
		}
		return n
	}
	require.Equal(t, recordErrorsMax, listed(batch))
	require.Equal(t, recordErrorsMax/3*3, listed(batch, batch, batch))
}

// TestAHeavyFetchCountsWhileItWaits: a request for very many partitions takes memory before there is an answer.
func TestAHeavyFetchCountsWhileItWaits(t *testing.T) {
	r := newDataRig(t)
	topic := r.topics[0]
	for i := range int32(fetchHeavyParts) {
		topic.Partitions = append(topic.Partitions, metadata.Partition{Index: 4 + i, Stream: metadata.StreamID(5 + i), Leader: 1, LeaderEpoch: 5})
	}
	require.NoError(t, r.plane.partitions.ImageChanged())
	ask := fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: make([]asked, fetchHeavyParts+1)}
	for i := range ask.parts {
		ask.parts[i].index = int32(4 + i%fetchHeavyParts)
	}
	ask.parts[0].index = 0
	r.fetch(ask).want(false)
	gone := r.fetch(ask)
	gone.want(false)
	require.Equal(t, int64(2*(fetchHeavyParts+1)*fetchTargetBytes), r.plane.held.bytes)
	gone.gone()
	require.Equal(t, int64((fetchHeavyParts+1)*fetchTargetBytes), r.plane.held.bytes)
	r.pass(time.Second)
	require.Equal(t, int64((fetchHeavyParts+1)*fetchPartBytes), r.plane.held.bytes, "what counts now is the answer")
}
