// DeleteGroups (42), versions 0-3 (KIP-229): messages (version 3), which Kafka 4.4 leaves null, and so does weir.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteGroups deletes empty groups with their offsets, each once.
func (b *Broker) deleteGroups(x exchange, r *kmsg.DeleteGroupsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DeleteGroupsResponse)
	ids := distinct(r.Groups)
	out.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	open := 1
	done := func() {
		if open--; open == 0 {
			x.replyMessage(out)
		}
	}
	for i, id := range ids {
		g := &out.Groups[i]
		g.Default()
		g.Group = id
		open++
		answer := func(code wire.Code) {
			g.ErrorCode = int16(code)
			done()
		}
		if m, code := b.groupOf(id); code != wire.None {
			answer(code)
		} else {
			m.DeleteGroup(id, answer)
		}
	}
	done()
}
