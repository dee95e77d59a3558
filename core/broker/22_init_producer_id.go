// InitProducerId (22), versions 0-5: the producer's own id and epoch (KIP-360, version 3), PRODUCER_FENCED (KIP-588, 4),
// TRANSACTION_ABORTABLE (KIP-890, 5).

package broker

import (
	"errors"
	"time"

	"weir/core/task"
	"weir/core/txn"
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

// initFenced is the version from which InitProducerId knows PRODUCER_FENCED.
const initFenced = 4

// initProducerID gives an idempotent producer a new id with epoch 0, whatever id
// it had before, as Kafka does without a transactional id. One with a transactional id is for its coordinator.
func (d *dataPlane) initProducerID(x exchange, r *kmsg.InitProducerIDRequest) {
	out := r.ResponseKind().(*kmsg.InitProducerIDResponse)
	out.ProducerID, out.ProducerEpoch = -1, -1
	half := r.Version >= 3 && (r.ProducerID == -1) != (r.ProducerEpoch == -1)
	x.releaseFrame()
	if half {
		out.ErrorCode = int16(wire.InvalidRequest)
		x.replyMessage(out)
		return
	}
	if r.TransactionalID != nil {
		d.initTransactional(x, r, out)
		return
	}
	d.newProducerID(func(id int64, code wire.Code) {
		if out.ErrorCode = int16(code); code == wire.None {
			out.ProducerID, out.ProducerEpoch = id, 0
		}
		x.replyMessage(out)
	})
}

// initTransactional begins a producer with a transactional id.
//
// Without coordinators it is refused with UNSUPPORTED_VERSION: no retry changes that, and clients treat this code as final.
// (COORDINATOR_NOT_AVAILABLE would make them ask for ever, the authorization codes would send their operators looking for an ACL.)
func (d *dataPlane) initTransactional(x exchange, r *kmsg.InitProducerIDRequest, out *kmsg.InitProducerIDResponse) {
	answer := func(p txn.Producer, code wire.Code) {
		out.ErrorCode = fencedCode(code, r.Version >= initFenced)
		out.ProducerID, out.ProducerEpoch = p.ID, p.Epoch
		x.replyMessage(out)
	}
	switch {
	case d.transactions == nil && *r.TransactionalID == "":
		answer(txn.NoProducer, wire.InvalidRequest)
		return
	case d.transactions == nil:
		answer(txn.NoProducer, wire.UnsupportedVersion)
		return
	}
	q := txn.InitRequest{TransactionalID: *r.TransactionalID, TimeoutMillis: r.TransactionTimeoutMillis, Expected: txn.NoProducer}
	if r.Version >= 3 {
		q.Expected = txn.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}
	}
	d.transactions.InitProducerID(q, answer)
}

// newProducerID calls done with an id that was never given before, or with the code for a client.
func (d *dataPlane) newProducerID(done func(id int64, code wire.Code)) {
	d.producerID(func(id int64, err error) {
		switch {
		case err == errNoProducerIDs:
			done(-1, wire.CoordinatorLoadInProgress) // Kafka's code for a block that is not there yet
		case err != nil:
			done(-1, wire.CoordinatorNotAvailable) // it passes: the client tries again
		default:
			done(id, wire.None)
		}
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
