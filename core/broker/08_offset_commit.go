// OffsetCommit (8), versions 2-10: no retention time (KIP-211, version 5), leader epochs (KIP-320, 6), static members (KIP-345,
// 7), GROUP_ID_NOT_FOUND and member epochs (KIP-848, 9), topic ids (KIP-848, 10).

package broker

import (
	"weir/core/group"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetCommit stores offsets of a group.
func (b *Broker) offsetCommit(x exchange, r *kmsg.OffsetCommitRequest) {
	x.releaseFrame()
	b.commit(x, group.NewCommit(b.image, r))
}

// commit answers once the offsets count. A request without any partition that exists is answered without a coordinator.
func (b *Broker) commit(x exchange, c *group.Commit) {
	if c.Empty() {
		x.replyMessage(c.Response())
		return
	}
	m, code := b.groupOf(c.Group())
	if code != wire.None {
		c.Fail(code)
		x.replyMessage(c.Response())
		return
	}
	m.Commit(c, func() { x.replyMessage(c.Response()) })
}
