package clean

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	slotBytes = digestBytes + 8
	slotsMin  = 1 << 8
	// loadNumerator and loadDenominator are how full the table may be, as Kafka's log.cleaner.io.buffer.load.factor.
	loadNumerator, loadDenominator = 9, 10
	digestBytes                    = 16
)

// digest stands for a key. Keys may come from strangers: it is of a function for which nobody can make two keys with one
// digest, since the older of them would be lost.
type digest [digestBytes]byte

func digestOf(key []byte) (d digest) {
	sum := sha256.Sum256(key)
	copy(d[:], sum[:])
	return d
}

// slot is one key's place in the table.
type slot struct {
	key  digest
	next int64 // the key's last offset plus one; 0: the slot is free
}

// Offsets is the last offset of each key, as far as a log was read: Kafka's offset map. It is an open table of digests whose
// memory is bounded, not by what the keys are long. It grows with what it holds.
type Offsets struct {
	slots    []slot
	used     int
	slotsMax int
	end      int64
}

// NewOffsets returns a table of at most bytesMax bytes, but of room for some keys.
func NewOffsets(bytesMax int64) *Offsets {
	return &Offsets{slotsMax: int(max(bytesMax/slotBytes, slotsMin)), slots: make([]slot, slotsMin)}
}

// End is the offset below which all dirty records were read.
func (o *Offsets) End() int64 { return o.end }

// Keys is how many keys are known.
func (o *Offsets) Keys() int { return o.used }

// Full reports whether there may be no room for n more keys.
func (o *Offsets) Full(n int) bool { return o.used+n > o.slotsMax/loadDenominator*loadNumerator }

// put notes a key's offset, which is above all before.
func (o *Offsets) put(key []byte, offset int64) {
	o.grow()
	d := digestOf(key)
	s := o.find(d)
	if s.next == 0 {
		s.key = d
		o.used++
	}
	s.next = offset + 1
}

// last is the last offset of a key; -1: it is not known.
func (o *Offsets) last(key []byte) int64 { return o.find(digestOf(key)).next - 1 }

// find returns the slot of a key, or the free one where it would be.
func (o *Offsets) find(d digest) *slot {
	at := int(binary.LittleEndian.Uint64(d[:]) % uint64(len(o.slots)))
	for o.slots[at].next != 0 && o.slots[at].key != d {
		if at++; at == len(o.slots) {
			at = 0
		}
	}
	return &o.slots[at]
}

// grow makes room for one more key.
func (o *Offsets) grow() {
	if o.used+1 <= len(o.slots)/loadDenominator*loadNumerator || len(o.slots) >= o.slotsMax {
		return
	}
	old := o.slots
	o.slots = make([]slot, min(2*len(old), o.slotsMax))
	for i := range old {
		if old[i].next != 0 {
			*o.find(old[i].key) = old[i]
		}
	}
}
