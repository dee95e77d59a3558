package node

import (
	"fmt"

	"weir/core/config"
	"weir/core/metadata"
)

// metadataLog applies the quorum's log to the image, and lets the controller add
// to it. It implements quorum.StateMachine and controller.Proposer.
type metadataLog struct {
	node    *Node
	image   *metadata.Image
	verdict error // of the last record applied
	stale   bool  // records were applied that the parts have not been told of
}

// Apply implements quorum.StateMachine. A record that cannot be decoded ends the
// node: whatever wrote it knows more than this program, which must not guess.
func (m *metadataLog) Apply(index, _ uint64, data []byte) error {
	r, err := metadata.DecodeRecord(data)
	if err != nil {
		return fmt.Errorf("metadata record: %w; start the version that wrote it", err)
	}
	m.verdict = m.image.Apply(index, r)
	if !m.stale {
		m.stale = true
		m.node.loop.Post(m.tell)
	}
	return nil
}

// tell lets the parts of the node see what was applied, once.
func (m *metadataLog) tell() {
	if !m.stale {
		return
	}
	m.stale = false
	m.node.imageChanged()
}

// AppendSnapshot implements quorum.StateMachine.
func (m *metadataLog) AppendSnapshot(dst []byte) []byte { return m.image.AppendSnapshot(dst) }

// Restore implements quorum.StateMachine. It comes before anything else knows the
// image.
func (m *metadataLog) Restore(index uint64, snapshot []byte) error {
	image, err := metadata.LoadSnapshot(index, snapshot)
	if err == nil {
		m.image = image
	}
	return err
}

// Propose implements controller.Proposer.
func (m *metadataLog) Propose(r metadata.Record, done func(error)) {
	m.node.quorum.Propose(r.AppendTo(nil), func(_ uint64, err error) {
		if err == nil {
			err = m.verdict
		}
		m.tell()
		done(err)
	})
}

// imageChanged tells the parts that live by the image, of what changed only: a record
// costs the same however many partitions there are. Before the start is over there
// are none that could do anything about it.
func (n *Node) imageChanged() {
	if n.failed || n.broker == nil {
		return
	}
	n.refreshSettings()
	changes := n.metadata.image.TakeChanges()
	if changes.All || changes.Topics {
		if err := n.partitions.ImageChanged(); err != nil {
			n.fail(err)
			return
		}
	}
	if changes.All {
		n.engine.ImageChanged()
	} else {
		n.engine.StreamsChanged(changes.Streams)
	}
	if n.sweeper != nil {
		n.sweeper.InUseFloor(n.engine.ObjectFloor())
	}
}

// refreshSettings takes over what was set for brokers at run time.
func (n *Node) refreshSettings() {
	own := n.metadata.image.BrokerConfigs(metadata.BrokerID(n.config.NodeID))
	shared := n.metadata.image.BrokerConfigs(-1)
	if n.options.Settings.SetDynamic(config.Overrides(own), config.Overrides(shared)) {
		n.partitions.ConfigurationChanged(n.config.ProducerIDExpiration)
	}
}
