package coordinator

import (
	"time"

	"weir/core/partition"
	"weir/core/record"
	"weir/core/wire"
)

const (
	// writeTimeout is how long a write waits for room in the log, as Kafka's offsets.commit.timeout.ms.
	writeTimeout = 5 * time.Second
	// cutBytes is the size at which the batches of an operation are cut that may be cut.
	cutBytes = 256 << 10
)

// pendingWrite is a batch that is committed and not applied yet.
type pendingWrite struct {
	end  int64
	done func(wire.Code)
}

// write appends the entries and calls done when they are applied, or were refused. Of those that may be cut the next batch is
// appended once the one before is applied: if one fails, none follows, and the outcome is a failure.
func (s *Shard) write(op *Operation, entries []Entry, done func(wire.Code)) {
	n := len(entries)
	if op.Cut {
		n = s.portion(entries)
	}
	s.append(op, entries[:n], func(code wire.Code) {
		if code != wire.None || n == len(entries) {
			done(code)
			return
		}
		s.write(op, entries[n:], done)
	})
}

// portion is how many of the entries the next batch has.
func (s *Shard) portion(entries []Entry) int {
	bytes, bytesMax := record.HeaderBytes, min(cutBytes, s.log.BatchBytesMax())
	for i := range entries {
		if bytes += entries[i].bytesMax(); bytes > bytesMax && i > 0 {
			return i
		}
	}
	return len(entries)
}

// BatchBytesMax is how large a batch may be.
func (s *Shard) BatchBytesMax() int { return s.log.BatchBytesMax() }

// Fits reports whether the log certainly takes the entries as one batch.
func (s *Shard) Fits(entries []Entry) bool {
	bytes := record.HeaderBytes
	for i := range entries {
		bytes += entries[i].bytesMax()
	}
	return bytes <= s.log.BatchBytesMax()
}

// bytesMax is how many bytes of a batch an entry takes at most: lengths and deltas are varints.
func (e *Entry) bytesMax() int { return len(e.Key) + len(e.Value) + 24 }

func (s *Shard) append(op *Operation, entries []Entry, done func(wire.Code)) {
	data := s.batch(op, entries)
	header, err := record.ReadHeader(data)
	if err != nil {
		panic("coordinator: " + err.Error())
	}
	s.Hold(int64(len(data))) // until it is applied, which is when the machine counts it
	answer := done
	done = func(code wire.Code) {
		s.Hold(-int64(len(data)))
		answer(code)
	}
	s.log.Append(&partition.Append{
		Origin: partition.OriginCoordinator, Header: header, Data: data, Verification: op.Verification,
		Facts:    record.Facts{MinTimestamp: header.MaxTimestamp, MaxTimestamp: header.MaxTimestamp, Keyless: -1, Bytes: len(data) - record.HeaderBytes},
		Deadline: s.loop().Now().Add(writeTimeout),
		Release:  func() {},
		Done:     func(a *partition.Append) { s.appended(a, done) },
	})
}

// Verify begins the verification of a transactional operation, before the transaction's coordinator is asked whether the
// shard's partition is part of it. If the transaction ends before the operation's records are appended, the operation
// fails with INVALID_TXN_STATE: in no transaction, they would be staged for ever (KAFKA-14884). Call Verified with the answer.
func (s *Shard) Verify(producerID int64, epoch int16) partition.Verification {
	return s.log.VerifyWrite(producerID, epoch)
}

// Verified says whether the transaction's coordinator agreed to what Verify began.
func (s *Shard) Verified(producerID int64, v partition.Verification, agreed bool) {
	s.log.Answered(producerID, v, agreed)
}

func (s *Shard) batch(op *Operation, entries []Entry) []byte {
	builder := record.Builder{ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1}
	if op.Transactional {
		builder = record.Builder{ProducerID: op.ProducerID, ProducerEpoch: op.ProducerEpoch, Transactional: true}
	}
	now := s.runtime.options.Env.Clock.WallMillis()
	records := make([]record.Record, len(entries))
	for i, e := range entries {
		records[i] = record.Record{Timestamp: now, Key: e.Key, Value: e.Value}
	}
	return builder.AppendBatch(nil, records)
}

func (s *Shard) appended(a *partition.Append, done func(wire.Code)) {
	switch {
	case s.phase == closed:
		done(s.closedWith)
	case s.log.Closed() != wire.None:
		// The outcome is unknown, so what is applied is no longer what is committed.
		s.close(wire.NotCoordinator)
		done(s.closedWith)
	case a.Code != wire.None:
		s.runtime.refused.Hit()
		done(ClientCode(a.Code))
	default:
		s.writes.Push(pendingWrite{end: a.BaseOffset + int64(a.Header.LastOffsetDelta) + 1, done: done})
		s.completeWrites() // a write before it may have had both applied
		s.follow()
	}
}

// completeWrites answers what is applied by now.
func (s *Shard) completeWrites() {
	for s.writes.Len() > 0 && s.writes.Front().end <= s.applied {
		s.writes.Pop().done(wire.None)
	}
	for s.awaits.Len() > 0 && s.awaits.Front().end <= s.applied {
		s.awaits.Pop().done(wire.None)
	}
}
