package node

import (
	"weir/core/config"
	"weir/core/controller"
	"weir/core/coordinator"
	"weir/core/group"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/txn"
	"weir/core/wire"
)

// newTransactions makes the transaction coordinator, without shards.
func (n *Node) newTransactions() (*txn.Coordinator, *coordinator.Runtime) {
	c := txn.New(txn.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Config: func() config.Transactions { return n.config.Transactions },
		Version:     func() int16 { return n.metadata.image.Feature(controller.TransactionFeature) },
		LeaderEpoch: n.transactionEpoch,
		ProducerID:  func(done func(int64, wire.Code)) { n.broker.NewProducerID(done) },
		Markers:     markerWriter{n},
		FirstEpoch:  n.options.Tuning.FirstEpoch,
	})
	r := n.newRuntime(txn.Topic, c.NewMachine)
	c.Run(r)
	return c, r
}

// transactionEpoch is the leader epoch of a partition of the transactions' topic.
func (n *Node) transactionEpoch(index int32) int32 {
	t, ok := n.metadata.image.Topic(txn.Topic)
	if !ok || int(index) >= len(t.Partitions) {
		return 0 // it is being deleted; its shard closes
	}
	return t.Partitions[index].LeaderEpoch
}

// markerWriter writes markers to partitions, whoever leads them.
type markerWriter struct{ node *Node }

// WriteMarker implements txn.MarkerWriter.
func (w markerWriter) WriteMarker(p txn.Partition, m txn.Marker, done func(wire.Code)) {
	if leader, other := w.node.leaderOf(p.Topic, p.Index); other {
		w.node.writeRemoteMarker(leader, p, m, done)
		return
	}
	w.node.appendMarker(p, m, done)
}

// appendMarker appends a marker to a partition that this broker leads.
func (n *Node) appendMarker(p txn.Partition, m txn.Marker, done func(wire.Code)) {
	n.broker.EndTransaction(p.Topic, p.Index, partition.EndTransaction{
		ProducerID: m.Producer.ID, ProducerEpoch: m.Producer.Epoch, TransactionVersion: int8(m.Version),
		Marker: record.Marker{Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch},
	}, done)
}

// produceVerifier is the transaction coordinator for Produce.
type produceVerifier struct{ node *Node }

// AddPartitions implements broker.TransactionVerifier.
func (v produceVerifier) AddPartitions(id string, producerID int64, epoch int16, names []partition.Name, verifyOnly bool, done func([]wire.Code)) {
	partitions := make([]txn.Partition, len(names))
	for i, p := range names {
		partitions[i] = txn.Partition{Topic: p.Topic, Index: p.Index}
	}
	v.node.addPartitions(id, producerID, epoch, partitions, verifyOnly, done)
}

// offsetsVerifier is the transaction coordinator for TxnOffsetCommit.
type offsetsVerifier struct{ node *Node }

// AddPartitions implements group.Verifier.
func (v offsetsVerifier) AddPartitions(id string, producerID int64, epoch int16, names []group.Partition, verifyOnly bool, done func(wire.Code)) {
	partitions := make([]txn.Partition, len(names))
	for i, p := range names {
		partitions[i] = txn.Partition{Topic: p.Topic, Index: p.Index}
	}
	v.node.addPartitions(id, producerID, epoch, partitions, verifyOnly, func(codes []wire.Code) {
		for _, code := range codes {
			if code != wire.None {
				done(code)
				return
			}
		}
		done(wire.None)
	})
}
