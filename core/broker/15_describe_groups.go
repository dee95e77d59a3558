// DescribeGroups (15), versions 0-6: authorized operations (KIP-430, version 3), static members (KIP-345, 4), GROUP_ID_NOT_FOUND
// (KIP-1043, 6). Groups of the protocol of KIP-848 are described by ConsumerGroupDescribe.
//
// Difference from Kafka: a group that is asked for twice is answered once. Its members may have megabytes.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeGroups describes groups of the classic protocol.
func (b *Broker) describeGroups(x exchange, r *kmsg.DescribeGroupsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
	for _, id := range distinct(r.Groups) {
		d := kmsg.NewDescribeGroupsResponseGroup()
		m, code := b.groupOf(id)
		if code != wire.None {
			d.Group, d.ErrorCode = id, int16(code)
		} else {
			d = m.Describe(r.Version, id)
		}
		if r.IncludeAuthorizedOperations && d.ErrorCode == wire.None {
			d.AuthorizedOperations = groupOperations
		}
		out.Groups = append(out.Groups, d)
	}
	x.replyMessage(out)
}
