// AbandonWAL (20001), version 0: weir's own. It says what waits for the write-ahead logs of brokers that are gone, or gives those of one
// up by an administrator's word (R16).

package broker

import "weir/core/wire"

// abandonWAL has the active controller decide.
func (b *Broker) abandonWAL(x exchange, r *wire.AbandonWALRequest) {
	x.releaseFrame()
	b.cluster.AbandonWAL(r, func(out *wire.AbandonWALResponse) { x.replyMessage(out) })
}
