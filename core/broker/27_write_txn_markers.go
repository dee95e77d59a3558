// WriteTxnMarkers (27), versions 1 and 2: a transaction coordinator ends transactions (KIP-98); the generation of the transaction
// (KIP-1228, version 2), by which a repeated marker is told from one of an earlier transaction.
//
// Differences from Kafka: a partition that a marker names twice is answered once; so many markers at most are written
// at a time for one request; a marker of a coordinator epoch that no coordinator has is refused with
// CLUSTER_AUTHORIZATION_FAILED, where Kafka relies on authorization.

package broker

import (
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// markersInFlightMax bounds the markers of one request that are being written: each takes some hundred bytes, and as
	// little as four on the wire.
	markersInFlightMax = 256
	// markerWait is how long a marker may wait for room in the log, as Kafka's request.timeout.ms.
	markerWait = 30 * time.Second
)

// writingMarkers is a WriteTxnMarkers request under way.
type writingMarkers struct {
	plane    *dataPlane
	exchange exchange
	response *kmsg.WriteTxnMarkersResponse
	markers  []partition.EndTransaction
	// The next partition to write to, of response.
	marker, topic, part int
	flying              int
	starting            bool
	ended               bool
}

// writeTxnMarkers appends the markers of a request, and answers once all are durable or refused.
func (d *dataPlane) writeTxnMarkers(x exchange, r *kmsg.WriteTxnMarkersRequest) {
	w := &writingMarkers{plane: d, exchange: x, response: r.ResponseKind().(*kmsg.WriteTxnMarkersResponse)}
	deadline := d.loop.Now().Add(markerWait)
	for i := range r.Markers {
		m := &r.Markers[i]
		w.markers = append(w.markers, partition.EndTransaction{
			ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, TransactionVersion: m.TransactionVersion, Deadline: deadline,
			Marker: record.Marker{Commit: m.Committed, CoordinatorEpoch: m.CoordinatorEpoch},
		})
		w.response.Markers = append(w.response.Markers, markerAnswer(m))
	}
	x.releaseFrame()
	x.onGone(func() { w.ended = true })
	w.start()
}

// markerAnswer is the answer to one marker, without codes yet.
func markerAnswer(m *kmsg.WriteTxnMarkersRequestMarker) kmsg.WriteTxnMarkersResponseMarker {
	answer := kmsg.NewWriteTxnMarkersResponseMarker()
	answer.ProducerID = m.ProducerID
	asked := newOnceEach()
	for i := range m.Topics {
		for _, index := range m.Topics[i].Partitions {
			asked.add(m.Topics[i].Topic, index, 0)
		}
	}
	for _, t := range asked.topics {
		topic := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
		topic.Topic = t.name
		for _, p := range t.partitions {
			part := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
			part.Partition = p.index
			topic.Partitions = append(topic.Partitions, part)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer
}

// start writes as many markers as may be under way.
func (w *writingMarkers) start() {
	if w.starting {
		return
	}
	w.starting = true
	for !w.ended && w.flying < markersInFlightMax && w.next() {
		topic := &w.response.Markers[w.marker].Topics[w.topic]
		out := &topic.Partitions[w.part]
		w.part++
		w.flying++
		w.plane.endForClient(topic.Topic, out.Partition, w.markers[w.marker], func(code wire.Code) {
			out.ErrorCode = int16(code)
			w.flying--
			w.start()
		})
	}
	w.starting = false
	if w.flying == 0 && !w.ended && !w.next() {
		w.ended = true
		w.exchange.replyMessage(w.response)
	}
}

// next moves to the next partition, if this one is written to; false: there is none.
func (w *writingMarkers) next() bool {
	for ; w.marker < len(w.markers); w.marker, w.topic = w.marker+1, 0 {
		topics := w.response.Markers[w.marker].Topics
		for ; w.topic < len(topics); w.topic, w.part = w.topic+1, 0 {
			if w.part < len(topics[w.topic].Partitions) {
				return true
			}
		}
	}
	return false
}

// endForClient is endTransaction for a client. As long as there is one broker, no coordinator writes markers over the wire, but
// administrators do, and strangers may. A marker of a coordinator epoch above those of the coordinators here would
// fence them: they could never end the producer's transactions on that partition.
func (d *dataPlane) endForClient(topic string, index int32, e partition.EndTransaction, done func(wire.Code)) {
	p, code := d.partitions.ByName(topic, index)
	if code == wire.None && e.CoordinatorEpoch > max(d.coordinatorEpoch(), p.CoordinatorEpoch(e.ProducerID)) {
		d.strangeMarkers.Add(1)
		d.operators.Warn(d.telemetry, "markers", d.loop.Now(), "a marker was refused: no coordinator has its epoch. A client that is no coordinator writes markers; find out who it is",
			slog.String("topic", topic), slog.Int64("partition", int64(index)), slog.Int64("producer", e.ProducerID), slog.Int64("epoch", int64(e.CoordinatorEpoch)))
		done(wire.ClusterAuthorizationFailed)
		return
	}
	d.endTransaction(topic, index, e, done)
}

// lowestLeaderEpoch is the lowest leader epoch of the partitions of a topic; zero if there is none.
func lowestLeaderEpoch(im dataImage, topic string) int32 {
	t, ok := im.Topic(topic)
	if !ok || len(t.Partitions) == 0 {
		return 0
	}
	lowest := t.Partitions[0].LeaderEpoch
	for i := range t.Partitions {
		lowest = min(lowest, t.Partitions[i].LeaderEpoch)
	}
	return lowest
}

// endTransaction appends a marker to a partition that this broker leads. done hears once it is durable, and where a
// coordinator lives on the partition, once it has applied it: who asks for offsets after the answer gets those of the
// transaction (KAFKA-17507).
func (d *dataPlane) endTransaction(topic string, index int32, e partition.EndTransaction, done func(wire.Code)) {
	p, code := d.partitions.ByName(topic, index)
	if code != wire.None {
		done(code)
		return
	}
	p.End(e, func(a *partition.Append) {
		if a.Code == wire.None && d.awaitApplied != nil && isInternal(topic) {
			d.awaitApplied(topic, index, a.BaseOffset+1, done)
			return
		}
		done(a.Code)
	})
}

// EndTransaction appends the marker of a transaction to a partition, for a transaction coordinator on this broker. done
// hears once, with a code of WriteTxnMarkers.
func (b *Broker) EndTransaction(topic string, index int32, e partition.EndTransaction, done func(wire.Code)) {
	if e.Deadline == env.Time(0) {
		e.Deadline = b.loop.Now().Add(markerWait)
	}
	b.data.endTransaction(topic, index, e, done)
}
