// ListGroups (16), versions 0-5: a filter by state (KIP-518, version 4), and by type (KIP-848, 5).

package broker

import (
	"weir/core/group"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listGroups lists the groups that this broker coordinates.
func (b *Broker) listGroups(x exchange, r *kmsg.ListGroupsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.ListGroupsResponse)
	states, types := group.NewFilter(r.StatesFilter), group.NewFilter(r.TypesFilter)
	out.ErrorCode = int16(b.eachGroups(func(m *group.Machine) {
		out.Groups = m.List(out.Groups, states, types)
	}))
	x.replyMessage(out)
}
