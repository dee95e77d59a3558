package node

import (
	"fmt"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/quorum"
)

// metadataLog applies the quorum's log to the image, and lets the controller add
// to it. It implements quorum.StateMachine and controller.Proposer.
type metadataLog struct {
	node    *Node
	image   *metadata.Image
	outcome metadata.Outcome // of the last record applied
	verdict error            // on it
	waits   bool             // it counts only once it is shipped
	stale   bool             // records were applied that the parts have not been told of
	forward forwarder
}

// Apply implements quorum.StateMachine. A record that cannot be decoded ends the
// node: whatever wrote it knows more than this program, which must not guess.
func (m *metadataLog) Apply(index, term uint64, data []byte) error {
	origin, forwarded, data, err := metadata.SplitOrigin(data)
	var r metadata.Record
	if err == nil {
		r, err = m.node.release.decode(data)
	}
	if err != nil {
		return fmt.Errorf("metadata record: %w; start the version that wrote it", err)
	}
	m.image.BeginTerm(term)
	m.verdict = m.image.Apply(index, r)
	m.outcome = m.image.Outcome()
	m.waits = m.verdict == nil && m.awaited(index, r) || m.verdict != nil && !m.node.config.ShipAsync
	if !m.stale {
		m.stale = true
		m.node.loop.Post(m.tell)
	}
	if forwarded {
		if q := m.node.quorum; m.waits && q != nil && q.Leads() {
			m.node.loop.Post(func() { q.AwaitShipped(index, func() {}) }) // its proposer waits for that
		}
		m.forward.applied(origin, index)
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

// Restore implements quorum.StateMachine. It may come at any time: the image is
// replaced in place, and the parts of the node are told that all of it is new.
func (m *metadataLog) Restore(index uint64, snapshot []byte) error {
	if err := m.node.release.reads(snapshot); err != nil {
		return err
	}
	if err := m.image.Restore(index, snapshot); err != nil {
		return err
	}
	if metadata.SnapshotVersion(snapshot) > metadata.SnapshotVersionBeforePacking {
		m.node.telemetry.Hit("node: the metadata came from a packed snapshot")
	}
	m.forward.skipped()
	if !m.stale {
		m.stale = true
		m.node.loop.Post(m.tell)
	}
	return nil
}

// awaited reports whether an accepted record counts only once it is in the object store (R19).
// An expiry is followed by deletions, whatever the setting; of what remains, a
// commit, a replacement and a note of deletions grant nothing that could be used.
func (m *metadataLog) awaited(index uint64, r metadata.Record) bool {
	switch r.(type) {
	case *metadata.ExpireObjects:
		return true
	case *metadata.CommitObject, *metadata.ReplaceParts, *metadata.CleanStream, *metadata.DeleteObjects, *metadata.FoundCluster:
		return false
	case *metadata.RegisterBroker:
		if uint64(m.outcome.First) != index {
			return false // it only says anew where the broker listens
		}
	}
	return !m.node.config.ShipAsync
}

// errBacklogged refuses what clients may ask for again: the memory that it takes until the store is back
// would have no bound.
var errBacklogged = fmt.Errorf("the object store has not taken the metadata's log for long, and no more changes may wait for it: %w", quorum.ErrBusy)

// putOff reports whether a record can be proposed again later: clients cause it, or retention.
func putOff(r metadata.Record) bool {
	switch r.(type) {
	case *metadata.CreateTopic, *metadata.DeleteTopic, *metadata.AddPartitions, *metadata.SetTopicConfigs, *metadata.SetBrokerConfigs, *metadata.SetGroupConfigs, *metadata.SetFeatures,
		*metadata.AllocateProducerIDs, *metadata.TrimStream, *metadata.UnregisterBroker:
		return true
	}
	return false
}

// backlogged refuses a client's change.
func (m *metadataLog) backlogged() bool {
	if !m.node.quorum.Backlogged() {
		return false
	}
	m.node.telemetry.Hit("metadata: a change was refused since too many wait for the store")
	return true
}

// Propose implements controller.Proposer.
func (m *metadataLog) Propose(r metadata.Record, done func(metadata.Outcome, error)) {
	if putOff(r) && m.backlogged() {
		m.node.loop.Post(func() { done(metadata.Outcome{}, errBacklogged) })
		return
	}
	if m.follows() {
		m.forward.propose(r, done)
		return
	}
	m.node.quorum.Propose(r.AppendTo(nil), func(index uint64, err error) {
		if err != nil {
			m.tell()
			done(metadata.Outcome{}, err)
			return
		}
		m.complete(r, index, done)
	})
}

// follows reports whether another node leads the quorum, or is to.
func (m *metadataLog) follows() bool { return m.node.peers != nil && !m.node.quorum.Leads() }

// complete answers the proposer of the record that was applied last.
func (m *metadataLog) complete(r metadata.Record, index uint64, done func(metadata.Outcome, error)) {
	outcome, verdict := m.outcome, m.verdict
	if m.waits { // so that of many that are applied together the parts are told once
		m.awaitShipped(index, func() {
			m.tell()
			done(outcome, verdict)
		})
		return
	}
	m.tell()
	if _, commit := r.(*metadata.CommitObject); commit {
		m.awaitShipped(index, func() {}) // at once: log space waits for it
	}
	done(outcome, verdict)
}

// awaitShipped calls done once the log up to an index is in the object store, and sees that it soon is.
func (m *metadataLog) awaitShipped(index uint64, done func()) {
	if m.follows() && index > m.node.quorum.Shipped() {
		m.forward.ship(index)
	}
	m.node.quorum.AwaitShipped(index, done)
}

// Settle implements controller.Proposer.
func (m *metadataLog) Settle(done func(error)) {
	switch {
	case m.node.config.ShipAsync:
		done(nil)
	case m.backlogged():
		m.node.loop.Post(func() { done(errBacklogged) })
	default:
		m.awaitShipped(m.image.AppliedIndex(), func() { done(nil) })
	}
}

// BeginIncarnation implements quorum.Incarnations.
func (m *metadataLog) BeginIncarnation(incarnation uint32, index uint64) {
	m.image.BeginIncarnation(incarnation, index)
}

// AppliedIndex and Shipped implement stream.Shipping.
func (m *metadataLog) AppliedIndex() uint64 { return m.image.AppliedIndex() }

func (m *metadataLog) Shipped() uint64 {
	if m.node.quorum == nil {
		return 0
	}
	return m.node.quorum.Shipped()
}

// imageChanged tells the parts that live by the image, of what changed only: a record
// costs the same however many partitions there are. Before the start is over there
// are none that could do anything about it.
func (n *Node) imageChanged() {
	if n.peers != nil {
		n.peers.imageChanged()
		if err := controller.ValidateFeatures(n.metadata.image.Features(), n.release.features()); err != nil {
			n.fail(err) // another node raised a level, and was wrong about this one
			return
		}
	}
	ended := n.epochEnded()
	if ended && !n.shutting {
		n.fail(ErrFenced)
		return
	}
	if n.sessions != nil {
		n.sessions.ImageChanged()
		n.balancer.ImageChanged()
	}
	if n.failed || n.broker == nil || ended {
		return
	}
	n.telemetry.Hit("node: its parts were told of records")
	n.refreshSettings()
	changes := n.metadata.image.TakeChanges()
	n.unshipped.note(n.metadata.image.AppliedIndex(), &changes, n.metadata.Shipped())
	if changes.All {
		if n.refreshPartitions(n.partitions.ImageChanged()) {
			n.engine.ImageChanged()
		}
	} else if n.refreshPartitions(n.partitions.TopicsChanged(changes.Topics)) {
		n.engine.StreamsChanged(changes.Streams)
	}
	if n.failed {
		return
	}
	if changes.All || len(changes.Topics) > 0 {
		n.groupOptions.TopicsChanged()
		n.refreshCoordinators(&changes)
	}
	n.noteOwed(&changes)
	n.adopt()
	if n.sweeper != nil {
		n.sweeper.InUseFloor(n.epoch, n.engine.ObjectFloor())
	}
}

// refreshSettings takes over what was set for brokers at run time.
func (n *Node) refreshSettings() {
	own := n.metadata.image.BrokerConfigs(metadata.BrokerID(n.config.NodeID))
	shared := n.metadata.image.BrokerConfigs(-1)
	if n.options.Settings.SetDynamic(config.Overrides(own), config.Overrides(shared)) {
		n.partitions.ConfigurationChanged(n.config.ProducerIDExpiration, n.cleanInterval())
		n.engine.SetCleanIndexBytes(n.config.CleanIndexBytes)
		n.env.Network.LimitConnections(n.config.MaxConnections, n.config.MaxConnectionsPerIP)
	}
}

// shippedTo is told how much of the metadata is in the object store.
func (n *Node) shippedTo(index uint64) {
	if n.failed || n.broker == nil {
		return
	}
	streams, all := n.unshipped.shippedTo(index)
	var err error
	if all {
		err = n.partitions.ImageChanged()
	} else {
		err = n.partitions.TopicsChanged(n.topicsOf(streams))
	}
	if n.refreshPartitions(err) {
		n.engine.ImageShipped()
		n.refreshCoordinators(&metadata.Changes{})
	}
}

// checkpointArrived opens a partition that waited for its checkpoint.
func (n *Node) checkpointArrived(id metadata.StreamID) {
	if n.failed || n.broker == nil {
		return
	}
	if n.refreshPartitions(n.partitions.TopicsChanged(n.topicsOf([]metadata.StreamID{id}))) {
		n.refreshCoordinators(&metadata.Changes{})
	}
}

// refreshPartitions reports whether the partitions could follow the image.
func (n *Node) refreshPartitions(err error) bool {
	if err != nil {
		n.fail(err)
		return false
	}
	if n.peers != nil {
		n.broker.Arrived()
	}
	return true
}

// topicsOf names the topics of streams that are still there.
func (n *Node) topicsOf(streams []metadata.StreamID) (topics []metadata.TopicID) {
	for _, id := range streams {
		if s, ok := n.metadata.image.Stream(id); ok {
			topics = append(topics, s.Topic)
		}
	}
	return topics
}
