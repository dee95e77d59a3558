package broker

import (
	"slices"
	"testing"
	"time"

	"weir/core/partition"
	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// coordinators answers what Produce asks when the test says so.
type coordinators struct {
	asked []question
}

type question struct {
	id         string
	producer   int64
	epoch      int16
	partitions []partition.Name
	verifyOnly bool
	done       func([]wire.Code)
}

func (c *coordinators) AddPartitions(id string, producer int64, epoch int16, partitions []partition.Name, verifyOnly bool, done func([]wire.Code)) {
	c.asked = append(c.asked, question{id, producer, epoch, slices.Clone(partitions), verifyOnly, done})
}

func (c *coordinators) answer(codes ...wire.Code) {
	q := c.asked[0]
	c.asked = c.asked[1:]
	q.done(codes)
}

func newTransactionalRig(t *testing.T) (*dataRig, *coordinators) {
	r, c := newDataRig(t), &coordinators{}
	r.plane.verifier = c
	return r, c
}

func transactional(producer int64, epoch int16, sequence int32) []byte {
	b := record.Builder{Transactional: true, ProducerID: producer, ProducerEpoch: epoch, BaseSequence: sequence}
	return b.AppendBatch(nil, []record.Record{{Timestamp: 1_700_000_000_000}})
}

func (r *dataRig) produceInTransaction(version int16, batches ...[]byte) *trade {
	q := kmsg.NewPtrProduceRequest()
	q.Version, q.Acks, q.TimeoutMillis, q.TransactionID = version, -1, 1000, kmsg.StringPtr("tx")
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = "t", [16]byte{1}
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	decoded, err := decodeProduce(version, q.AppendTo(nil))
	require.NoError(r.t, err)
	x := &trade{t: r.t, v: version}
	r.plane.produce(x, decoded)
	return x
}

func (r *dataRig) writeMarkers(version int16, markers ...kmsg.WriteTxnMarkersRequestMarker) *trade {
	q := kmsg.NewPtrWriteTxnMarkersRequest()
	q.Version, q.Markers = version, markers
	x := &trade{t: r.t, v: version}
	r.plane.writeTxnMarkers(x, q)
	return x
}

func markerFor(producer int64, epoch int16, commit bool, version int8, indexes ...int32) kmsg.WriteTxnMarkersRequestMarker {
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch, m.Committed, m.TransactionVersion, m.CoordinatorEpoch = producer, epoch, commit, version, 3
	topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	topic.Topic, topic.Partitions = "t", indexes
	m.Topics = append(m.Topics, topic)
	return m
}

func (x *trade) markerCodes() (codes []wire.Code) {
	x.t.Helper()
	x.want(true)
	for _, m := range x.message.(*kmsg.WriteTxnMarkersResponse).Markers {
		for _, p := range m.Topics[0].Partitions {
			codes = append(codes, wire.Code(p.ErrorCode))
		}
	}
	return codes
}

func TestATransactionsFirstBatchWaitsForItsCoordinator(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		r, c := newTransactionalRig(t)
		x := r.produceInTransaction(version, transactional(7, 2, 0), transactional(7, 2, 0))
		require.Zero(t, r.logs[1].end, "nothing is appended before the answer")
		require.Zero(t, x.frames, "the batches are in the frame")
		require.Equal(t, question{
			id: "tx", producer: 7, epoch: 2, verifyOnly: version < 12,
			partitions: []partition.Name{{Topic: "t", TopicID: [16]byte{1}}, {Topic: "t", TopicID: [16]byte{1}, Index: 1}},
		}, withoutDone(c.asked[0]))
		c.answer(wire.None, wire.InvalidTxnState)
		r.logs[1].durable()
		got := x.produced()
		require.Zero(t, got[0].ErrorCode)
		require.EqualValues(t, wire.InvalidTxnState, got[1].ErrorCode)

		again := r.produceInTransaction(version, transactional(7, 2, 1))
		require.Empty(t, c.asked, "the transaction is open here")
		r.logs[1].durable()
		require.Zero(t, again.produced()[0].ErrorCode)
	}
}

func withoutDone(q question) question {
	q.done = nil
	return q
}

// A coordinator's code is translated to what producers of the version know to handle.
func TestCodesOfAVerification(t *testing.T) {
	for _, c := range []struct {
		code          wire.Code
		v10, v11, v12 int16
	}{
		{wire.TransactionAbortable, wire.InvalidTxnState, wire.TransactionAbortable, wire.TransactionAbortable},
		{wire.InvalidTxnState, wire.InvalidTxnState, wire.InvalidTxnState, wire.InvalidTxnState},
		{wire.ProducerFenced, wire.InvalidProducerEpoch, wire.InvalidProducerEpoch, wire.InvalidProducerEpoch},
		{wire.ConcurrentTransactions, wire.NotEnoughReplicas, wire.NotEnoughReplicas, wire.ConcurrentTransactions},
		{wire.NotCoordinator, wire.NotEnoughReplicas, wire.NotEnoughReplicas, wire.NotEnoughReplicas},
		{wire.CoordinatorLoadInProgress, wire.NotEnoughReplicas, wire.NotEnoughReplicas, wire.NotEnoughReplicas},
		{wire.InvalidProducerIDMapping, wire.InvalidProducerIDMapping, wire.InvalidProducerIDMapping, wire.InvalidProducerIDMapping},
	} {
		for version, want := range map[int16]int16{10: c.v10, 11: c.v11, 12: c.v12} {
			r, verifier := newTransactionalRig(t)
			x := r.produceInTransaction(version, transactional(7, 2, 0))
			verifier.answer(c.code)
			require.Equal(t, want, x.produced()[0].ErrorCode, "code %d at version %d", c.code, version)
		}
	}
}

// The transaction ends between its coordinator's answer and the append (KAFKA-14884).
func TestAMarkerBeforeTheAnswerVoidsIt(t *testing.T) {
	r, c := newTransactionalRig(t)
	x := r.produceInTransaction(12, transactional(7, 2, 0))
	marked := r.writeMarkers(1, markerFor(7, 2, false, 0, 0))
	c.answer(wire.None)
	r.logs[1].durable()
	require.Equal(t, []wire.Code{wire.None}, marked.markerCodes())
	require.EqualValues(t, wire.InvalidTxnState, x.produced()[0].ErrorCode)
	require.EqualValues(t, 1, r.plane.partitions.Partitions()[0].LastStable())
}

func TestBatchesOfSeveralProducersInOneTransactionAreRefused(t *testing.T) {
	r, c := newTransactionalRig(t)
	for _, other := range [][]byte{transactional(8, 2, 0), transactional(7, 3, 0)} {
		for _, p := range r.produceInTransaction(12, transactional(7, 2, 0), other).produced() {
			require.EqualValues(t, wire.InvalidProducerIDMapping, p.ErrorCode)
		}
	}
	for _, p := range r.produce(12, -1, "t", 1, batchOf(0, 1), transactional(7, 2, 0)).produced() {
		require.EqualValues(t, wire.TransactionalIDAuthorizationFailed, p.ErrorCode)
	}
	require.Empty(t, c.asked)
	require.Zero(t, r.logs[1].end)
}

func TestReadCommittedStopsAtAnOpenTransactionAndListsAbortedOnes(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		r, c := newTransactionalRig(t)
		r.fill(1, 1)
		r.produceInTransaction(12, transactional(7, 2, 0))
		c.answer(wire.None)
		r.produceInTransaction(12, transactional(8, 0, 0))
		c.answer(wire.None)
		r.logs[1].durable()
		ask := fetchAsk{version: version, epoch: -1, isolation: 1, wait: time.Second, min: 1, parts: []asked{{offset: 1}}}
		parked := r.fetch(ask)
		parked.want(false)
		all := r.fetch(fetchAsk{version: version, epoch: -1, parts: []asked{{}}}).parts()[0]
		require.Equal(t, 3, batchesIn(all.RecordBatches))
		require.EqualValues(t, 1, all.LastStableOffset)
		require.EqualValues(t, 3, all.HighWatermark)
		require.Nil(t, all.AbortedTransactions)

		r.writeMarkers(2, markerFor(7, 3, false, 2, 0))
		r.logs[1].durable()
		r.turn()
		got := parked.parts()[0]
		require.Equal(t, 1, batchesIn(got.RecordBatches))
		require.EqualValues(t, 2, got.LastStableOffset, "8 is undecided")
		require.Len(t, got.AbortedTransactions, 1)
		require.EqualValues(t, 7, got.AbortedTransactions[0].ProducerID)
		require.EqualValues(t, 1, got.AbortedTransactions[0].FirstOffset)

		r.writeMarkers(2, markerFor(8, 1, true, 2, 0))
		r.logs[1].durable()
		got = r.fetch(ask).parts()[0]
		require.Equal(t, 4, batchesIn(got.RecordBatches))
		require.EqualValues(t, 5, got.LastStableOffset)
		require.Len(t, got.AbortedTransactions, 1)
		ask.parts[0].offset = 4
		require.NotNil(t, r.fetch(ask).parts()[0].AbortedTransactions)
		require.Empty(t, r.fetch(ask).parts()[0].AbortedTransactions)
	}
}

func TestListOffsetsOfCommittedRecords(t *testing.T) {
	r, c := newTransactionalRig(t)
	r.fill(1, 2)
	r.produceInTransaction(12, transactional(7, 2, 0))
	c.answer(wire.None)
	r.logs[1].durable()
	ask := func(isolation int8, timestamp int64) int64 {
		q := kmsg.NewPtrListOffsetsRequest()
		q.Version, q.IsolationLevel = 7, isolation
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = "t"
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.CurrentLeaderEpoch = timestamp, -1
		topic.Partitions = append(topic.Partitions, p)
		q.Topics = append(q.Topics, topic)
		x := &trade{t: t, v: 7}
		r.plane.listOffsets(x, q)
		r.compute()
		return x.listed().Offset
	}
	require.EqualValues(t, 3, ask(0, timestampLatest))
	require.EqualValues(t, 2, ask(1, timestampLatest))
	require.EqualValues(t, 2, ask(0, 1_699_999_999_999), "the record of the transaction")
	require.EqualValues(t, -1, ask(1, 1_699_999_999_999))
	require.EqualValues(t, 2, ask(0, timestampMax))
	require.EqualValues(t, -1, ask(1, timestampMax))
}

func TestWriteTxnMarkersAnswersEachPartition(t *testing.T) {
	r, c := newTransactionalRig(t)
	r.produceInTransaction(12, transactional(7, 2, 0), transactional(7, 2, 0))
	c.answer(wire.None, wire.None)
	x := r.writeMarkers(2, markerFor(7, 3, true, 2, 0, 1, 1, 3, 9), markerFor(7, 2, true, 2, 1))
	r.logs[1].durable()
	x.want(false)
	r.logs[2].durable()
	require.Equal(t, []wire.Code{wire.None, wire.None, wire.NotLeaderOrFollower, wire.UnknownTopicOrPartition, wire.InvalidProducerEpoch}, x.markerCodes())
	require.EqualValues(t, 2, r.logs[2].end, "a partition named twice has one marker")
	fenced := markerFor(7, 4, true, 2, 0)
	fenced.CoordinatorEpoch = 2
	require.Equal(t, []wire.Code{wire.TransactionCoordinatorFenced}, r.writeMarkers(2, fenced).markerCodes())
	require.Empty(t, r.writeMarkers(1).markerCodes())
}

// A stranger's marker does not fence the coordinators of this broker, whose lowest epoch is 4.
func TestAMarkerOfACoordinatorThatIsNotThereIsRefused(t *testing.T) {
	for _, producer := range []int64{7, 8} { // one that the partition knows, and one that it does not
		r, c := newTransactionalRig(t)
		r.produceInTransaction(12, transactional(7, 2, 0))
		c.answer(wire.None)
		for _, epoch := range []int32{5, 1<<31 - 1} {
			strange := markerFor(producer, 2, true, 0, 0)
			strange.CoordinatorEpoch = epoch
			require.Equal(t, []wire.Code{wire.ClusterAuthorizationFailed}, r.writeMarkers(1, strange).markerCodes())
		}
		p, _ := r.plane.partitions.ByName("t", 0)
		require.EqualValues(t, -1, p.CoordinatorEpoch(producer))
		var got wire.Code = -1
		r.plane.endTransaction("t", 0, partition.EndTransaction{ProducerID: producer, ProducerEpoch: 3, TransactionVersion: 2, Marker: record.Marker{CoordinatorEpoch: 6}}, func(code wire.Code) { got = code })
		r.logs[1].durable()
		require.EqualValues(t, wire.None, got, "the coordinator of this broker")
		again := markerFor(producer, 4, true, 2, 0)
		again.CoordinatorEpoch = 6
		x := r.writeMarkers(2, again)
		r.logs[1].durable()
		require.Equal(t, []wire.Code{wire.None}, x.markerCodes(), "an epoch that the partition knows already")
	}
}

// However many markers a request has, few are written at a time.
func TestMarkersAreWrittenAFewAtATime(t *testing.T) {
	r := newDataRig(t)
	var markers []kmsg.WriteTxnMarkersRequestMarker
	for i := range int64(3*markersInFlightMax + 5) {
		markers = append(markers, markerFor(i, 0, true, 0, 0))
	}
	x := r.writeMarkers(1, markers...)
	require.EqualValues(t, markersInFlightMax, r.logs[1].end)
	for range 4 {
		x.want(false)
		r.logs[1].durable()
	}
	require.Len(t, x.markerCodes(), len(markers))
	gone := r.writeMarkers(1, markers...)
	gone.gone()
	r.logs[1].durable()
	gone.want(false)
}

// A coordinator on the partition has applied the marker before its writer hears (KAFKA-17507).
func TestAMarkerOfACoordinatorsPartitionWaitsUntilItIsApplied(t *testing.T) {
	r := newDataRig(t)
	r.topics[0].Name = "__consumer_offsets"
	r.topics[0].ID[0] = 9
	require.NoError(t, r.plane.partitions.ImageChanged())
	var apply func(wire.Code)
	r.plane.awaitApplied = func(topic string, index int32, end int64, done func(wire.Code)) {
		require.Equal(t, []any{"__consumer_offsets", int32(0), int64(1)}, []any{topic, index, end})
		apply = done
	}
	m := markerFor(7, 0, true, 0, 0)
	m.Topics[0].Topic = "__consumer_offsets"
	x := r.writeMarkers(1, m)
	r.logs[1].durable()
	x.want(false)
	apply(wire.NotCoordinator)
	require.Equal(t, []wire.Code{wire.NotCoordinator}, x.markerCodes())
}

func TestDescribeProducers(t *testing.T) {
	r, c := newTransactionalRig(t)
	r.produceInTransaction(12, transactional(7, 2, 0))
	c.answer(wire.None)
	r.writeMarkers(2, markerFor(5, 1, true, 2, 0))
	q := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 0, 3, 9}
	q.Topics = append(q.Topics, topic)
	x := &trade{t: t}
	r.plane.describeProducers(x, q)
	x.want(true)
	got := x.message.(*kmsg.DescribeProducersResponse).Topics[0].Partitions
	require.Len(t, got, 3)
	require.EqualValues(t, wire.NotLeaderOrFollower, got[1].ErrorCode)
	require.EqualValues(t, wire.UnknownTopicOrPartition, got[2].ErrorCode)
	require.Equal(t, []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
		{ProducerID: 5, ProducerEpoch: 1, LastSequence: -1, LastTimestamp: 1_700_000_000_000, CoordinatorEpoch: 3, CurrentTxnStartOffset: -1},
		{ProducerID: 7, ProducerEpoch: 2, LastTimestamp: 1_700_000_000_000, CoordinatorEpoch: -1},
	}, got[0].ActiveProducers)
}

// A batch that comes once the partition is part of the transaction waits behind those that came before it was.
func TestBatchesBehindUnansweredOnesWait(t *testing.T) {
	r, c := newTransactionalRig(t)
	var trades []*trade
	for sequence := range int32(2) {
		trades = append(trades, r.produceInTransaction(12, transactional(7, 0, sequence)))
	}
	c.answer(wire.None)
	trades = append(trades, r.produceInTransaction(12, transactional(7, 0, 2)))
	require.Len(t, c.asked, 2)
	c.answer(wire.None)
	c.answer(wire.None)
	r.turn()
	r.logs[1].durable()
	r.turn()
	for i, x := range trades {
		require.Equal(t, int64(i), x.produced()[0].BaseOffset)
	}
	require.Empty(t, r.plane.unverified)
}
