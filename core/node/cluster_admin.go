package node

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/quorum"
	"weir/core/wire"
)

// clusterOf is what a node's broker asks of the other nodes: a broker.Cluster.
type clusterOf struct{ node *Node }

// refusedForGood: the change cannot be made, whenever it is tried.
const refusedForGood uint8 = 4

// moves are the moves that were asked of this node, in that order; some may be over.
type moves []moving

type moving struct {
	stream metadata.StreamID
	to     metadata.BrokerID
	until  env.Time // by then it has happened, or the old leader has given it up
}

// movesPruneAt is how many moves are kept before those that are over are looked for.
const movesPruneAt = 256

// Move implements broker.Cluster.
func (c clusterOf) Move(stream metadata.StreamID, to metadata.BrokerID, done func(error)) {
	n := c.node
	if len(n.moves) >= movesPruneAt {
		n.pruneMoves()
	}
	n.moves = append(n.moves, moving{stream, to, n.loop.Now().Add(callTimeout + handoverTimeout)})
	n.Move(stream, to, func(err error) {
		if err == nil {
			n.telemetry.Hit("node: an administrator moves a partition")
		} else {
			n.moves = slices.DeleteFunc(n.moves, func(m moving) bool { return m.stream == stream && m.to == to })
		}
		done(moveRefused(err))
	})
}

// pruneMoves forgets the moves that are over.
func (n *Node) pruneMoves() {
	now := n.loop.Now()
	n.moves = slices.DeleteFunc(n.moves, func(m moving) bool {
		_, p := n.partitionOf(m.stream)
		return p == nil || p.Leader == m.to || now >= m.until
	})
}

// moveRefused gives an error of Move its Kafka code.
func moveRefused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoSuchBroker):
		return &controller.Error{Code: wire.InvalidReplicaAssignment, Message: err.Error()}
	case errors.Is(err, errNoLeader):
		return &controller.Error{Code: wire.LeaderNotAvailable, Message: err.Error()}
	}
	return &controller.Error{Code: wire.RequestTimedOut, Message: err.Error()}
}

// Moving implements broker.Cluster.
func (c clusterOf) Moving(visit func(t *metadata.Topic, p *metadata.Partition, to metadata.BrokerID)) {
	n := c.node
	n.pruneMoves()
	newest := map[metadata.StreamID]metadata.BrokerID{}
	for _, m := range n.moves {
		newest[m.stream] = m.to
	}
	if len(newest) == 0 {
		return
	}
	for _, t := range n.metadata.image.Topics() {
		for i := range t.Partitions {
			if to, ok := newest[t.Partitions[i].Stream]; ok {
				visit(t, &t.Partitions[i], to)
			}
		}
	}
}

// partitionOf finds the partition of a stream; nil: it was deleted.
func (n *Node) partitionOf(id metadata.StreamID) (*metadata.Topic, *metadata.Partition) {
	s, ok := n.metadata.image.Stream(id)
	if !ok {
		return nil, nil
	}
	t, ok := n.metadata.image.TopicByID(s.Topic)
	if !ok || int(s.Partition) >= len(t.Partitions) {
		return nil, nil
	}
	return t, &t.Partitions[s.Partition]
}

// DescribeQuorum implements broker.Cluster.
func (c clusterOf) DescribeQuorum(done func(quorum.State)) {
	n := c.node
	if n.peers == nil || n.quorum.Leads() {
		done(n.quorum.State())
		return
	}
	n.peers.askLeader(methodDescribeQuorum, nil, describeTimeout, func(b []byte, err error) {
		s, malformed := quorum.DecodeState(b)
		if err != nil || malformed != nil {
			s = n.quorum.State()
		}
		done(s)
	})
}

// describeTimeout is how long the leader of the quorum has to describe it: less than clients wait.
const describeTimeout = 2 * time.Second

// describeQuorumFor describes the quorum to another node.
func (n *Node) describeQuorumFor(_ int32, _ []byte, reply func([]byte, *peer.Refusal)) {
	s := n.quorum.State()
	reply(s.AppendTo(nil), nil)
}

// QuorumEndpoint implements broker.Cluster: what a node has told of itself, or what is configured.
func (c clusterOf) QuorumEndpoint(node int32) (config.Listener, bool) {
	n := c.node
	if n.peers == nil {
		return config.Listener{}, false
	}
	all, err := config.ParseListeners(n.config.Cluster.ListenerName + "://" + n.peerAddress(node))
	if err != nil {
		return config.Listener{}, false
	}
	return all[0], true
}

// peerAddress is where the other nodes reach a node; empty: that is not known.
func (n *Node) peerAddress(node int32) string {
	if b, ok := n.metadata.image.Broker(metadata.BrokerID(node)); ok && b.Peer != "" {
		return b.Peer
	}
	v, _ := n.config.Cluster.Voter(node)
	return v.Address
}

// ChangeMember implements broker.Cluster.
func (c clusterOf) ChangeMember(change quorum.MemberChange, id quorum.MemberID, done func(error)) {
	body := binary.LittleEndian.AppendUint64([]byte{byte(change)}, uint64(id))
	c.node.peers.askLeader(methodChangeMember, body, callTimeout, func(_ []byte, err error) {
		var refused *peer.Refusal
		switch {
		case err == nil:
			done(nil)
		case errors.As(err, &refused) && refused.Code == refusedForGood:
			done(&controller.Error{Code: wire.InvalidRequest, Message: refused.Text})
		default:
			done(&controller.Error{Code: wire.RequestTimedOut, Message: err.Error()})
		}
	})
}

// changeMemberFor makes an observer of the quorum a voter, or removes a member: u8 quorum.MemberChange, u64 quorum.MemberID.
func (n *Node) changeMemberFor(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	if len(body) != 9 || quorum.MemberChange(body[0]) == quorum.AddLearner {
		reply(nil, &peer.Refusal{Code: refusedForGood, Text: "malformed"})
		return
	}
	n.quorum.ChangeMembers(quorum.MemberChange(body[0]), quorum.MemberID(binary.LittleEndian.Uint64(body[1:])), func(err error) {
		switch {
		case err == nil:
			n.telemetry.Info("the members of the metadata's quorum were changed")
			reply(nil, nil)
		case errors.Is(err, quorum.ErrMembers):
			reply(nil, &peer.Refusal{Code: refusedForGood, Text: err.Error()})
		default:
			reply(nil, &peer.Refusal{Code: refusedBusy, Text: err.Error()})
		}
	})
}

// Unregister implements broker.Cluster.
func (c clusterOf) Unregister(id metadata.BrokerID, done func(error)) {
	c.node.controller.UnregisterBroker(id, func(err error) {
		if err == nil {
			c.node.telemetry.Hit("node: a broker was unregistered")
			c.forget(int32(id))
		}
		done(err)
	})
}

// forget removes an unregistered node from the observers of the quorum: nothing more is sent to it. One that comes back asks
// to be added.
func (c clusterOf) forget(node int32) {
	if c.node.peers == nil {
		return
	}
	_, learners := c.node.quorum.Members()
	for _, id := range learners {
		if id.Node() == node {
			c.ChangeMember(quorum.RemoveMember, id, func(error) {})
		}
	}
}
