package client

import (
	"time"

	"weir/core/wire"
	"weir/sim/checker"
)

// refused goes on after an error: with another epoch, or with an abort, or with another attempt.
func (t *Transactor) refused(what string, code int16) {
	switch code {
	case wire.ProducerFenced, wire.InvalidProducerEpoch, wire.InvalidProducerIDMapping, wire.InvalidTxnState, wire.TransactionalIDNotFound, wire.UnknownProducerID:
		t.left()
		t.initialize, t.bump = true, false
		t.fenced()
	case wire.TransactionAbortable, wire.OutOfOrderSequence, wire.PolicyViolation, wire.IllegalGeneration, wire.UnknownMemberID, wire.GroupIDNotFound, wire.FencedInstanceID, wire.StaleMemberEpoch, wire.FencedMemberEpoch,
		wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.RebalanceInProgress:
		t.aborting = true
		t.step()
	default:
		t.passing(what, code)
	}
}

// fenced goes on a little later, and later each time once it is to end: of several with one id, each fences the others, and where
// a transaction takes longer than that, none would ever be over.
func (t *Transactor) fenced() {
	if !t.ending {
		t.again()
		return
	}
	t.fences++
	t.busy = true
	t.after(t.draws.Duration(10*time.Millisecond, 60*time.Millisecond)<<min(t.fences/2, 7), func() {
		t.busy = false
		t.step()
	})
}

// passing tries again after an error that passes.
func (t *Transactor) passing(what string, code int16) {
	switch code {
	case wire.NotCoordinator, wire.CoordinatorNotAvailable: // the topic may be gone with the metadata disk: to ask creates it
		t.busy = true
		t.after(t.draws.Duration(10*time.Millisecond, 60*time.Millisecond), func() {
			t.findCoordinator(t.options.ID, 1, func() {
				t.busy = false
				t.step()
			})
		})
		return
	case wire.ConcurrentTransactions, wire.CoordinatorLoadInProgress, wire.NotLeaderOrFollower, wire.LeaderNotAvailable,
		wire.RequestTimedOut, wire.KafkaStorageError, wire.OperationNotAttempted, wire.UnstableOffsetCommit, notEnoughReplicas, wire.NetworkException, -1:
	default:
		t.fail("protocol", "client %d, producer %d epoch %d: %s was answered %s", t.client, t.id, t.epoch, what, checker.CodeName(code))
		return
	}
	t.again()
}

// checkEmpty: the abort of an empty transaction is not fenced while the producer has its id for itself, and none of its own
// requests is under way (KAFKA-18464).
func (t *Transactor) checkEmpty(code int16) {
	fenced := code == wire.ProducerFenced || code == wire.InvalidProducerEpoch || code == wire.InvalidProducerIDMapping
	if fenced && t.empty && t.options.Alone && t.losses == 0 {
		t.fail("I7", "client %d, producer %d epoch %d: the abort of an empty transaction was answered %s", t.client, t.id, t.epoch, checker.CodeName(code))
	}
}

// refusedEnd: an EndTxn that is sent again may be told that it was taken before.
func (t *Transactor) refusedEnd(code int16) {
	if t.aborting = false; code == wire.TransactionAbortable {
		t.left()
		t.initialize = true
		t.step()
		return
	}
	t.refused("EndTxn", code)
}
