package broker

import (
	"time"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/quorum"
	"weir/core/wire"
)

// Cluster is what the broker asks of the other nodes: a *node.Node. Each done is called once, on the loop, unless the node ends;
// errors are a *controller.Error.
type Cluster interface {
	// Move asks a partition's leader to give it to a broker; done hears, in a later step, once that has begun, or why it does not.
	Move(stream metadata.StreamID, to metadata.BrokerID, done func(error))
	// Moving visits the moves that were asked of this node and are not over, by topic and partition.
	Moving(visit func(t *metadata.Topic, p *metadata.Partition, to metadata.BrokerID))
	// DescribeQuorum asks the leader of the metadata's quorum for its state. If that does not answer, it is this node's own.
	DescribeQuorum(done func(quorum.State))
	// QuorumEndpoint is where the other nodes reach a node; false if that is not known, or this node is alone.
	QuorumEndpoint(node int32) (config.Listener, bool)
	// ChangeMember changes the members of the metadata's quorum; it is done when done runs.
	ChangeMember(change quorum.MemberChange, id quorum.MemberID, done func(error))
	// Unregister removes a broker that is gone for good, and its place among the observers of the quorum.
	Unregister(id metadata.BrokerID, done func(error))
	// CatchUp calls done, at once or later, once the image holds everything that was committed when it was called, or with why that
	// cannot be known within timeout.
	CatchUp(timeout time.Duration, done func(error))
	// AbandonWAL asks the active controller what waits for the logs of brokers that are gone, or to give one's up (R16).
	AbandonWAL(r *wire.AbandonWALRequest, done func(*wire.AbandonWALResponse))
}
