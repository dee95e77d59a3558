// ConsumerGroupHeartbeat (68), versions 0-1 (KIP-848): regular expressions and member ids of the client's making (KIP-1082,
// version 1).
//
// What a group does is in core/group/consumer, with the differences from Kafka.

package broker

import (
	"weir/core/controller"
	"weir/core/group"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerGroupHeartbeat keeps a member alive, and tells it what to consume.
func (b *Broker) consumerGroupHeartbeat(x exchange, r *kmsg.ConsumerGroupHeartbeatRequest) {
	x.releaseFrame()
	fail := func(code wire.Code) {
		out := r.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		out.ErrorCode = int16(code)
		x.replyMessage(out)
	}
	if !b.servesConsumerGroups() {
		fail(wire.UnsupportedVersion)
		return
	}
	if refused := group.RefuseConsumerHeartbeat(r, b.config.ConsumerGroup.Assignors); refused != nil {
		x.replyMessage(refused)
		return
	}
	m, code := b.groupOf(r.Group)
	if code != wire.None {
		fail(code)
		return
	}
	m.ConsumerHeartbeat(r, clientOf(x), func(out *kmsg.ConsumerGroupHeartbeatResponse) { x.replyMessage(out) })
}

// servesConsumerGroups reports whether the cluster's features allow the protocol of KIP-848: a cluster of a release before
// does so once its group.version is raised.
func (b *Broker) servesConsumerGroups() bool {
	for _, f := range b.image.Features() {
		if f.Name == controller.GroupFeature {
			return f.Level > 0
		}
	}
	return false
}
