package coordinator

import (
	"weir/core/partition"
	"weir/core/wire"
)

// Machine is the replicated state of one partition. Its methods are called on the loop only.
type Machine interface {
	// Apply applies one committed record, live and in replay alike. An error means that the
	// record cannot be understood: the shard stops, and serves nothing.
	Apply(*Record) error
	// ApplyMarker applies the end of a transaction that wrote to the partition, or was fenced there.
	ApplyMarker(*Marker) error
	// Serve is called once, when everything that was committed before the partition opened is applied:
	// deadlines begin to run.
	Serve()
	// Close is called once, when the partition closes, or after an error: it stops timers and answers
	// what the machine has parked. Operations are answered by the shard.
	Close(wire.Code)
	// Keys returns the live keys, in any order that equal logs make equal.
	Keys() []string
	// Rewrite returns records that make the state of a key anew, without staged offsets of open
	// transactions, which stay in the log; none if the key is gone. A key of very much state returns what
	// gives the rest (see [Operation.Next]); nil: these are all.
	Rewrite(key string) (entries []Entry, rest Next)
}

// Floor is a Machine that may leave some of a key's state out of Rewrite, since a marker that is not applied yet could
// change it: a copy behind the marker would undo that.
type Floor interface {
	// Floor returns the first offset that is needed of what was left out since Keys was last called; math.MaxInt64 if
	// nothing was. The log is not cut above it.
	Floor() int64
}

// Record is a committed record. Its slices are lent for the call.
type Record struct {
	Offset    int64
	Timestamp int64 // milliseconds
	// ProducerID and ProducerEpoch are of the transaction that the record belongs to; -1: none.
	ProducerID    int64
	ProducerEpoch int16
	Key           []byte
	Value         []byte // nil: a tombstone
}

// Marker is a committed end of a transaction (KIP-98).
type Marker struct {
	Offset           int64
	ProducerID       int64
	ProducerEpoch    int16
	Commit           bool
	CoordinatorEpoch int32
}

// Entry is a record to write.
type Entry struct {
	Key   []byte
	Value []byte // nil: a tombstone
}

// Next returns more records of an operation, maybe none, until it is over. It may look at the state again: meanwhile markers may
// have been applied, and no other operation of the key but shared ones beside a shared one.
type Next func() (entries []Entry, over bool)

// Operation is one request to the state of a key.
type Operation struct {
	// Key orders operations: those of one key run one after another.
	Key string
	// Shared lets the operation run beside other shared ones of its key. Exclusive ones still come in between
	// in the order in which they were begun.
	Shared bool
	// Bytes is about what the request takes as long as it waits, beside its records. If too much waits, it is refused with
	// COORDINATOR_NOT_AVAILABLE (see [Shard.Wait]). Zero: it is small, or must not be refused.
	Bytes int64
	// Decide reads the state, once, and returns what to write as one batch; none: nothing.
	Decide func() []Entry
	// Next is set by a Decide that looks at very much, or returns very many records: it is called for more once those
	// before are applied, in a later turn of the loop. Nil: these are all.
	Next Next
	// Cut lets many records be several batches, one after another, and what they do be seen in parts; one batch holds max.message.bytes at
	// most. If a batch fails, those before it count.
	Cut bool
	// Transactional writes the records as part of the transaction of ProducerID and ProducerEpoch.
	Transactional bool
	ProducerID    int64
	ProducerEpoch int16
	// Verification is what [Shard.Verify] returned before the transaction's coordinator was asked.
	Verification partition.Verification
	// Done hears the outcome, once: None when nothing was to be written or all of it is applied.
	// Otherwise Decide may not have run, nothing was applied here, and the code is one for clients (see [ClientCode]).
	Done func(wire.Code)
}

// ClientCode turns the code of a refused append into what a coordinator's client hears, as Kafka does.
func ClientCode(code wire.Code) wire.Code {
	switch code {
	case wire.UnknownTopicOrPartition, wire.RequestTimedOut,
		wire.PolicyViolation: // so many transactions are open on its partition; some of them end
		return wire.CoordinatorNotAvailable
	case wire.NotLeaderOrFollower:
		return wire.NotCoordinator
	case wire.MessageTooLarge:
		return wire.UnknownServerError
	}
	return code
}
