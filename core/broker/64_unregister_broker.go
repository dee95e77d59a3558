// UnregisterBroker (64), version 0 (KIP-631).
//
// Difference from Kafka: a broker that is alive, or for which partitions or acknowledged records wait, is refused with
// INVALID_REQUEST; Kafka removes it all the same.

package broker

import (
	"weir/core/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// unregisterBroker removes a broker that is gone for good.
func (b *Broker) unregisterBroker(x exchange, r *kmsg.UnregisterBrokerRequest) {
	answer := func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.UnregisterBrokerResponse)
		out.ErrorCode, out.ErrorMessage = code, message
		x.replyMessage(out)
	}
	b.whenCurrent(x, 0, func() {
		b.cluster.Unregister(metadata.BrokerID(r.BrokerID), func(err error) { answer(refusal(err)) })
	}, answer)
}
