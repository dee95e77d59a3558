package durability

import (
	"errors"
	"fmt"
)

// violationsMax bounds what is said of a partition: the first few tell the story.
const violationsMax = 8

// stored is one record as read from a partition.
type stored struct {
	offset int64
	value  []byte
}

// audit checks a partition's records, given one by one from the log's start.
type audit struct {
	ledger     *ledger
	partition  int32
	next       int64           // offset that must come
	sequences  map[int32]int64 // last of each producer
	found      map[int32]int64 // acknowledged records found, by producer
	seen       []identity      // by offset, what the following reader saw
	violations []error
}

func newAudit(l *ledger, partition int32, seen []identity) *audit {
	return &audit{ledger: l, partition: partition, sequences: map[int32]int64{}, found: map[int32]int64{}, seen: seen}
}

func (a *audit) fail(format string, args ...any) {
	if len(a.violations) < violationsMax {
		a.violations = append(a.violations, fmt.Errorf("partition %d: "+format, append([]any{a.partition}, args...)...))
	}
}

// record takes the next record.
func (a *audit) record(r stored) {
	if r.offset != a.next {
		a.fail("offset %d comes where %d must", r.offset, a.next)
	}
	a.next = r.offset + 1
	id, err := readPayload(r.value)
	if err != nil {
		a.fail("offset %d: %w", r.offset, err)
		return
	}
	if id.partition != a.partition {
		a.fail("offset %d holds a record of partition %d", r.offset, id.partition)
		return
	}
	if r.offset < int64(len(a.seen)) && a.seen[r.offset] != id {
		a.fail("offset %d holds %v, but a reader saw %v there", r.offset, id, a.seen[r.offset])
	}
	a.order(r.offset, id)
	a.acknowledged(r.offset, id)
}

// order holds each producer's records to come once and in order.
func (a *audit) order(offset int64, id identity) {
	if last, ok := a.sequences[id.producer]; ok && id.sequence <= last {
		a.fail("offset %d holds sequence %d of producer %d, after %d", offset, id.sequence, id.producer, last)
		return
	}
	a.sequences[id.producer] = id.sequence
}

func (a *audit) acknowledged(offset int64, id identity) {
	sent := a.ledger.offsets[account{id.producer, a.partition}]
	switch {
	case id.sequence < 0 || id.sequence >= int64(len(sent)):
		a.fail("offset %d holds sequence %d of producer %d, which nobody sent", offset, id.sequence, id.producer)
	case sent[id.sequence] == offset:
		a.found[id.producer]++
	case sent[id.sequence] >= 0:
		a.fail("offset %d holds sequence %d of producer %d, which was acknowledged at offset %d", offset, id.sequence, id.producer, sent[id.sequence])
	}
}

// end checks what did not come, and returns all that was wrong.
func (a *audit) end() error {
	if a.next < int64(len(a.seen)) {
		a.fail("ends at offset %d, but a reader saw %d", a.next, len(a.seen))
	}
	for owner, sent := range a.ledger.offsets {
		if owner.partition != a.partition {
			continue
		}
		acked := int64(0)
		for _, offset := range sent {
			if offset >= 0 {
				acked++
			}
		}
		if found := a.found[owner.producer]; found != acked {
			a.fail("%d of the %d acknowledged records of producer %d are at their offsets", found, acked, owner.producer)
		}
	}
	return errors.Join(a.violations...)
}
