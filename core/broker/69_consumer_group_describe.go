// ConsumerGroupDescribe (69), versions 0-1 (KIP-848): the protocol of each member (KIP-1099, version 1). Groups of the classic
// protocol are described by DescribeGroups.
//
// Difference from Kafka: a group that is asked for twice is answered once. Its members may have megabytes.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerGroupDescribe describes groups of the protocol of KIP-848.
func (b *Broker) consumerGroupDescribe(x exchange, r *kmsg.ConsumerGroupDescribeRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
	for _, id := range distinct(r.Groups) {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		m, code := b.namedGroupOf(id)
		switch {
		case !b.servesConsumerGroups():
			d.Group, d.ErrorCode = id, wire.UnsupportedVersion
		case code != wire.None:
			d.Group, d.ErrorCode = id, int16(code)
		default:
			d = m.DescribeConsumer(id)
		}
		if r.IncludeAuthorizedOperations && d.ErrorCode == wire.None {
			d.AuthorizedOperations = groupOperations
		}
		out.Groups = append(out.Groups, d)
	}
	x.replyMessage(out)
}
