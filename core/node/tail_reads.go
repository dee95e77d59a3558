package node

import (
	"errors"
	"time"

	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/stream"
)

// tailReadTimeout bounds the wait for an answer to a tail read. Meanwhile the reader looks whether the records were uploaded.
const tailReadTimeout = 2 * time.Second

// The largest answer fits into a frame.
const _ = uint(peerFrameBytesMax - 1024 - stream.OwedAnswerBytesMax)

// askHolder is stream.Options.AskHolder. A node of an earlier release does not serve the method: that is an answer like any refusal.
func (n *Node) askHolder(epoch metadata.BrokerEpoch, request []byte, done func([]byte, error)) bool {
	holder, ok := brokerOf(n.metadata.image, epoch)
	if !ok || n.peers == nil {
		return false
	}
	n.peers.calls.Call(int32(holder), methodTailRead, request, tailReadTimeout, func(answer []byte, err error) {
		var refused *peer.Refusal
		if errors.As(err, &refused) && refused.Code == refusedNotHeld {
			err = stream.ErrNotHeld
		}
		done(answer, err)
	})
	return true
}

// brokerOf finds the broker of a living epoch.
func brokerOf(im *metadata.Image, epoch metadata.BrokerEpoch) (metadata.BrokerID, bool) {
	for _, b := range im.Brokers() {
		if b.Epoch == epoch && !b.Fenced {
			return b.ID, true
		}
	}
	return 0, false
}

// tailReadOf answers a tail read of another node.
func (n *Node) tailReadOf(_ int32, body []byte, reply func([]byte, *peer.Refusal)) {
	if n.engine == nil || n.failed {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "this node is not ready"})
		return
	}
	n.engine.AnswerOwed(body, func(answer []byte, err error) {
		switch {
		case errors.Is(err, stream.ErrNotHeld):
			reply(nil, &peer.Refusal{Code: refusedNotHeld, Text: err.Error()})
		case err != nil:
			reply(nil, &peer.Refusal{Code: refusedBusy, Text: err.Error()})
		default:
			reply(answer, nil)
		}
	})
}
