package node

import (
	"encoding/binary"
	"slices"

	"weir/core/metadata"
	"weir/core/peer"
)

// leavers are the epochs of brokers that have said that they are about to end; lookups only. What is given to one waits for its
// next start, if it cannot give it away again in time. It is a courtesy: nothing that was acknowledged depends on it.
type leavers map[metadata.BrokerID]metadata.BrokerEpoch

// has reports whether a broker is about to end.
func (l leavers) has(b *metadata.Broker) bool { return l[b.ID] == b.Epoch }

// but are those of some brokers that stay. The slice is written over.
func (l leavers) but(brokers []*metadata.Broker) []*metadata.Broker {
	return slices.DeleteFunc(brokers, l.has)
}

// tellLeaving tells the others that this broker is about to end.
func (n *Node) tellLeaving() {
	if n.peers == nil || !n.release.serves(methodLeaving) {
		return
	}
	body := binary.LittleEndian.AppendUint64(nil, uint64(n.epoch))
	for _, b := range n.metadata.image.Brokers() {
		if b.Epoch != n.epoch && !b.Fenced {
			n.peers.calls.Call(int32(b.ID), methodLeaving, body, callTimeout, func([]byte, error) {})
		}
	}
}

// leavingOf takes what another broker tells before it ends.
func (n *Node) leavingOf(from int32, body []byte, reply func([]byte, *peer.Refusal)) {
	b, known := n.metadata.image.Broker(metadata.BrokerID(from))
	if len(body) != 8 || !known || b.Epoch != metadata.BrokerEpoch(binary.LittleEndian.Uint64(body)) {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "malformed, or not known here"})
		return
	}
	n.leavers[b.ID] = b.Epoch
	reply(nil, nil)
}
