// InitProducerId (22), versions 0-5: the producer's own id and epoch (KIP-360, version 3), PRODUCER_FENCED (KIP-588, 4),
// TRANSACTION_ABORTABLE (KIP-890, 5).
//
// Difference from Kafka: a transactional id is refused with UNSUPPORTED_VERSION, since transactions are not served yet.

package broker

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// producerIDs hands out producer ids from a block granted by the controller.
type producerIDs struct {
	next, end int64
	asking    bool
	waiting   []func(id int64, err error)
}

// initProducerID gives an idempotent producer a new id with epoch 0, whatever id
// it had before, as Kafka does without a transactional id.
//
// A transactional id is refused with UNSUPPORTED_VERSION: transactions are not
// there, no retry changes that, and clients treat this code as final.
// (COORDINATOR_NOT_AVAILABLE would make them ask for ever, the authorization
// codes would send their operators looking for an ACL.)
func (d *dataPlane) initProducerID(x exchange, r *kmsg.InitProducerIDRequest) {
	out := r.ResponseKind().(*kmsg.InitProducerIDResponse)
	out.ProducerID, out.ProducerEpoch = -1, -1
	transactional := r.TransactionalID
	half := r.Version >= 3 && (r.ProducerID == -1) != (r.ProducerEpoch == -1)
	x.releaseFrame()
	if half {
		out.ErrorCode = int16(wire.InvalidRequest)
		x.replyMessage(out)
		return
	}
	if transactional != nil {
		out.ErrorCode = int16(wire.UnsupportedVersion)
		if *transactional == "" {
			out.ErrorCode = int16(wire.InvalidRequest)
		}
		x.replyMessage(out)
		return
	}
	d.producerID(func(id int64, err error) {
		if err != nil {
			out.ErrorCode = int16(wire.CoordinatorNotAvailable) // it passes: the client tries again
		} else {
			out.ProducerID, out.ProducerEpoch = id, 0
		}
		x.replyMessage(out)
	})
}

// producerID calls done with an id that was never given before.
func (d *dataPlane) producerID(done func(id int64, err error)) {
	ids := &d.ids
	if ids.next < ids.end {
		ids.next++
		done(ids.next-1, nil)
		return
	}
	ids.waiting = append(ids.waiting, done)
	if !ids.asking {
		ids.asking = true
		d.allocate(d.allocated)
	}
}

func (d *dataPlane) allocated(first, count int64, err error) {
	ids := &d.ids
	ids.asking = false
	waiting := ids.waiting
	ids.waiting = nil
	if err == nil {
		ids.next, ids.end = first, first+count
	}
	for _, done := range waiting {
		if err != nil {
			done(0, err)
		} else {
			d.producerID(done)
		}
	}
}

// codeOf returns the Kafka code that an error carries, or other.
func codeOf(err error, other wire.Code) wire.Code {
	if e, ok := asControllerError(err); ok {
		return wire.Code(e.Code)
	}
	return other
}
