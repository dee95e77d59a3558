package node

import (
	"encoding/binary"
	"errors"

	"weir/core/metadata"
	"weir/core/peer"
)

// Errors of Move.
var (
	errNoSuchBroker = errors.New("the broker that is to lead is not registered, or is fenced")
	errNoLeader     = errors.New("the partition has no leader that could give it away; it gets another once its log is recovered")
	errNotBegun     = errors.New("the broker that is to lead is not registered, or is fenced; or the partition is being given away already")
	errNotAnswered  = errors.New("the partition's leader did not answer")
)

// Move asks the leader of a partition to give it to another broker (R15): a partition leaves a living broker only by that broker's
// own seal (R12). done hears once the leader has begun, or why it does not; the image tells when the partition has moved. A partition that is there
// already is not moved.
func (n *Node) Move(stream metadata.StreamID, to metadata.BrokerID, done func(error)) {
	s, ok := n.metadata.image.Stream(stream)
	b, known := n.metadata.image.Broker(to)
	switch {
	case !ok || s.Newest().Broker == to:
		n.loop.Post(func() { done(nil) })
		return
	case !known || !b.Ready():
		n.loop.Post(func() { done(errNoSuchBroker) })
		return
	case !n.metadata.image.Current(s.Newest().BrokerEpoch) || n.peers == nil:
		n.loop.Post(func() { done(errNoLeader) })
		return
	}
	body := binary.LittleEndian.AppendUint64(nil, uint64(stream))
	body = binary.LittleEndian.AppendUint32(body, uint32(s.Newest().LeaderEpoch))
	body = binary.LittleEndian.AppendUint32(body, uint32(to))
	n.peers.calls.Call(int32(s.Newest().Broker), methodMove, body, callTimeout, func(_ []byte, err error) {
		if err != nil {
			err = errors.Join(errNotAnswered, err)
		}
		done(err)
	})
}

// moveFor begins a move that another node asked for, or this one: u64 stream, i32 leader epoch, i32 broker.
func (n *Node) moveFor(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	if len(body) != 16 || n.partitions == nil || n.shutting {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "malformed, or this node is not ready"})
		return
	}
	order := binary.LittleEndian
	p := n.partitions.Find(metadata.StreamID(order.Uint64(body)))
	if p == nil || p.LeaderEpoch() != int32(order.Uint32(body[8:])) {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "this node does not lead the partition under that epoch"})
		return
	}
	if !n.handOver(p, metadata.BrokerID(int32(order.Uint32(body[12:])))) {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: errNotBegun.Error()})
		return
	}
	reply(nil, nil)
}
