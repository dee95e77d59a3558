package node

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/txn"
	"weir/core/wire"
)

// Versions of Kafka's requests between brokers, as the bodies of calls.
const (
	markersVersion       = 2 // WriteTxnMarkers, with one partition
	addPartitionsVersion = 5 // AddPartitionsToTxn, with one transaction
)

// leaderOf is the broker that leads a partition, if it is another than this one.
func (n *Node) leaderOf(topic string, index int32) (leader int32, other bool) {
	t, ok := n.metadata.image.Topic(topic)
	if n.peers == nil || !ok || index < 0 || int(index) >= len(t.Partitions) {
		return 0, false
	}
	leader = int32(t.Partitions[index].Leader)
	return leader, leader != n.config.NodeID
}

// askForTransaction asks the leader of a partition for what a transaction needs of it; done is called once, maybe at once. One whose epoch
// has ended is not asked: between its fence and the seal that names the next leader it still leads, and nobody answers for it. Who asks
// tries again, and finds the next leader sooner than callTimeout.
func (n *Node) askForTransaction(leader int32, m peer.Method, body []byte, done func([]byte, error)) {
	if b, ok := n.metadata.image.Broker(metadata.BrokerID(leader)); ok && b.Fenced {
		n.telemetry.Hit("node: a broker whose epoch has ended was not asked for a transaction")
		done(nil, peer.ErrNoAnswer)
		return
	}
	n.peers.calls.Call(leader, m, body, callTimeout, done)
}

// writeRemoteMarker asks the leader of a partition to append a marker.
func (n *Node) writeRemoteMarker(leader int32, p txn.Partition, m txn.Marker, done func(wire.Code)) {
	r := kmsg.NewPtrWriteTxnMarkersRequest()
	r.Version = markersVersion
	topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	topic.Topic, topic.Partitions = p.Topic, []int32{p.Index}
	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch, marker.Committed = m.Producer.ID, m.Producer.Epoch, m.Commit
	marker.CoordinatorEpoch, marker.TransactionVersion = m.CoordinatorEpoch, int8(m.Version)
	marker.Topics = append(marker.Topics, topic)
	r.Markers = append(r.Markers, marker)
	n.askForTransaction(leader, methodMarker, r.AppendTo(nil), func(body []byte, err error) {
		codes, err := decodeCodes(body, 1, err)
		if err != nil || codes[0] == wire.UnknownTopicOrPartition {
			// It is written again. Whether the partition is gone, only this broker's own image tells: the other may be starting, or
			// lag behind, and the transaction would stay open there for ever.
			done(wire.NotLeaderOrFollower)
			return
		}
		done(codes[0])
	})
}

// markerOf appends a marker of another broker's coordinator.
func (n *Node) markerOf(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	r := kmsg.NewPtrWriteTxnMarkersRequest()
	r.Version = markersVersion
	if err := r.ReadFrom(body); err != nil || len(r.Markers) != 1 || len(r.Markers[0].Topics) != 1 || len(r.Markers[0].Topics[0].Partitions) != 1 || n.broker == nil {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: fmt.Sprintf("not one marker: %v", err)})
		return
	}
	m := &r.Markers[0]
	n.appendMarker(txn.Partition{Topic: m.Topics[0].Topic, Index: m.Topics[0].Partitions[0]}, txn.Marker{
		Producer: txn.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, Commit: m.Committed, CoordinatorEpoch: m.CoordinatorEpoch, Version: int16(m.TransactionVersion),
	}, func(code wire.Code) { reply(encodeCodes([]wire.Code{code}), nil) })
}

// addPartitions adds partitions to a transaction at its coordinator, wherever that is, or verifies that they are part of it.
func (n *Node) addPartitions(id string, producerID int64, epoch int16, partitions []txn.Partition, verifyOnly bool, done func([]wire.Code)) {
	t, ok := n.metadata.image.Topic(txn.Topic)
	if ok && len(t.Partitions) > 0 {
		if leader, other := n.leaderOf(txn.Topic, coordinator.PartitionOf(id, len(t.Partitions))); other {
			n.addRemotePartitions(leader, id, producerID, epoch, partitions, verifyOnly, done)
			return
		}
	}
	n.transactions.AddPartitions(id, producerID, epoch, partitions, verifyOnly, done)
}

func (n *Node) addRemotePartitions(leader int32, id string, producerID int64, epoch int16, partitions []txn.Partition, verifyOnly bool, done func([]wire.Code)) {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.Version = addPartitionsVersion
	one := kmsg.NewAddPartitionsToTxnRequestTransaction()
	one.TransactionalID, one.ProducerID, one.ProducerEpoch, one.VerifyOnly = id, producerID, epoch, verifyOnly
	for _, p := range partitions {
		topic := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
		topic.Topic, topic.Partitions = p.Topic, []int32{p.Index}
		one.Topics = append(one.Topics, topic)
	}
	r.Transactions = append(r.Transactions, one)
	n.askForTransaction(leader, methodAddPartitions, r.AppendTo(nil), func(body []byte, err error) {
		codes, err := decodeCodes(body, len(partitions), err)
		if err != nil {
			codes = make([]wire.Code, len(partitions))
			for i := range codes {
				codes[i] = wire.NotCoordinator
			}
		}
		done(codes)
	})
}

// addPartitionsOf answers another broker's leader for a coordinator here.
func (n *Node) addPartitionsOf(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.Version = addPartitionsVersion
	if err := r.ReadFrom(body); err != nil || len(r.Transactions) != 1 || n.transactions == nil {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: fmt.Sprintf("not one transaction: %v", err)})
		return
	}
	one := &r.Transactions[0]
	var partitions []txn.Partition
	for i := range one.Topics {
		if _, known := n.metadata.image.Topic(one.Topics[i].Topic); !known { // else its marker would find it gone
			reply(nil, &peer.Refusal{Code: refusedBusy, Text: "this node's image does not have the topic " + one.Topics[i].Topic})
			return
		}
		for _, index := range one.Topics[i].Partitions {
			partitions = append(partitions, txn.Partition{Topic: one.Topics[i].Topic, Index: index})
		}
	}
	n.transactions.AddPartitions(one.TransactionalID, one.ProducerID, one.ProducerEpoch, partitions, one.VerifyOnly, func(codes []wire.Code) { reply(encodeCodes(codes), nil) })
}

func encodeCodes(codes []wire.Code) (b []byte) {
	for _, c := range codes {
		b = binary.LittleEndian.AppendUint16(b, uint16(c))
	}
	return b
}

func decodeCodes(b []byte, want int, err error) ([]wire.Code, error) {
	if err == nil && len(b) != 2*want {
		err = fmt.Errorf("%d bytes for %d codes", len(b), want)
	}
	if err != nil {
		return nil, err
	}
	codes := make([]wire.Code, want)
	for i := range codes {
		codes[i] = wire.Code(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return codes, nil
}
