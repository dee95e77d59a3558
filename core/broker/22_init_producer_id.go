// InitProducerId (22), versions 0-5: the producer's own id and epoch (KIP-360, version 3), PRODUCER_FENCED (KIP-588, 4),
// TRANSACTION_ABORTABLE (KIP-890, 5).
//
// Difference from Kafka: a transactional id is refused with UNSUPPORTED_VERSION, since transactions are not served yet.

package broker

import (
	"errors"
	"time"

	"weir/core/task"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// producerIDsReserve is the part of a block that is left when the next one is asked for, as in Kafka:
	// who asks for an id rarely waits for a block.
	producerIDsReserve = 10
	// producerIDsWait is how long a producer waits for a block. Then it is told to ask again, so that the
	// broker does not gather those who gave up while the object store is down.
	producerIDsWait = 5 * time.Second
)

// errNoProducerIDs says that the next block did not come in time.
var errNoProducerIDs = errors.New("the controller has not granted producer ids in time")

// producerIDs hands out producer ids from a block granted by the controller.
type producerIDs struct {
	next, end       int64 // of the block in use
	spare, spareEnd int64 // the next block; both 0: none
	reserve         int64 // of the block in use
	asking          bool
	waiting         []func(id int64, err error)
	timer           task.Timer // runs while someone waits
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
		switch {
		case err == errNoProducerIDs:
			out.ErrorCode = int16(wire.CoordinatorLoadInProgress) // Kafka's code for a block that is not there yet
		case err != nil:
			out.ErrorCode = int16(wire.CoordinatorNotAvailable) // it passes: the client tries again
		default:
			out.ProducerID, out.ProducerEpoch = id, 0
		}
		x.replyMessage(out)
	})
}

// producerID calls done with an id that was never given before.
func (d *dataPlane) producerID(done func(id int64, err error)) {
	ids := &d.ids
	if ids.next == ids.end {
		ids.next, ids.end = ids.spare, ids.spareEnd
		ids.spare, ids.spareEnd = 0, 0
	}
	if ids.next < ids.end {
		ids.next++
		done(ids.next-1, nil)
	} else {
		ids.waiting = append(ids.waiting, done)
		if !ids.timer.Pending() {
			d.loop.Reset(&ids.timer, producerIDsWait, func() { d.answerWaiting(errNoProducerIDs) })
		}
	}
	if !ids.asking && ids.spare == ids.spareEnd && ids.end-ids.next <= ids.reserve {
		ids.asking = true
		d.allocate(d.allocated)
	}
}

func (d *dataPlane) allocated(first, count int64, err error) {
	ids := &d.ids
	ids.asking = false
	if err == nil {
		ids.spare, ids.spareEnd, ids.reserve = first, first+count, count/producerIDsReserve
	}
	d.answerWaiting(err)
}

// answerWaiting ends the wait of all who wait for a block.
func (d *dataPlane) answerWaiting(err error) {
	ids := &d.ids
	d.loop.Stop(&ids.timer)
	waiting := ids.waiting
	ids.waiting = nil
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
