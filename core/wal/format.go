package wal

import (
	"encoding/binary"
	"hash/crc32"

	"weir/core/record"
)

// FormatVersion is the version of the file format that this package writes.
const FormatVersion = 1

const (
	blockBytes        = 4096 // alignment on a device; a multiple of every device's block
	groupHeaderBytes  = 64
	recordHeaderBytes = 40

	groupMagic = 0x70726777 // "wgrp"

	flagFiller = 1
	flagSeal   = 2

	kindBatch   = 1
	kindSummary = 2
)

var (
	order      = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	fourZeros  [4]byte
)

// roundUp rounds up to a multiple of align, a power of two.
func roundUp(n, align int) int { return (n + align - 1) &^ (align - 1) }

// recordBytes is the room that a payload takes in a group.
func recordBytes(payload int) int { return recordHeaderBytes + (payload+7)&^7 }

// sumWithout is the CRC of b with the four bytes at hole taken as zero.
func sumWithout(b []byte, hole int) uint32 {
	sum := crc32.Update(0, castagnoli, b[:hole])
	sum = crc32.Update(sum, castagnoli, fourZeros[:])
	return crc32.Update(sum, castagnoli, b[hole+4:])
}

// groupHeader starts every group.
type groupHeader struct {
	version uint16
	flags   uint16
	records uint32
	identity
	sequence uint64
	at       Position
	bytes    uint32
	sum      uint32 // over the CRCs of the records
	durable  Position
}

func (h *groupHeader) encode(b []byte) {
	b = b[:groupHeaderBytes]
	order.PutUint32(b[0:], groupMagic)
	order.PutUint16(b[4:], FormatVersion)
	order.PutUint16(b[6:], h.flags)
	order.PutUint32(b[12:], h.records)
	order.PutUint64(b[16:], uint64(h.epoch))
	order.PutUint64(b[24:], h.nonce)
	order.PutUint64(b[32:], h.sequence)
	order.PutUint64(b[40:], uint64(h.at))
	order.PutUint32(b[48:], h.bytes)
	order.PutUint32(b[52:], h.sum)
	order.PutUint64(b[56:], uint64(h.durable))
	order.PutUint32(b[8:], sumWithout(b, 8))
}

// decodeGroupHeader reports false for anything that is not a whole header of this log. Whether a group
// of this size can lie there is the medium's to say.
func decodeGroupHeader(b []byte, id identity) (h groupHeader, ok bool) {
	h, ok = decodeHeader(b)
	return h, ok && h.version == FormatVersion && h.identity == id && h.sane()
}

// decodeHeader reports false for anything that is not a whole header, of whatever log and version.
func decodeHeader(b []byte) (h groupHeader, ok bool) {
	if len(b) < groupHeaderBytes {
		return h, false
	}
	b = b[:groupHeaderBytes]
	if order.Uint32(b) != groupMagic || order.Uint32(b[8:]) != sumWithout(b, 8) {
		return h, false
	}
	h = groupHeader{
		version:  order.Uint16(b[4:]),
		flags:    order.Uint16(b[6:]),
		records:  order.Uint32(b[12:]),
		identity: identity{epoch: int64(order.Uint64(b[16:])), nonce: order.Uint64(b[24:])},
		sequence: order.Uint64(b[32:]),
		at:       Position(order.Uint64(b[40:])),
		bytes:    order.Uint32(b[48:]),
		sum:      order.Uint32(b[52:]),
		durable:  Position(order.Uint64(b[56:])),
	}
	return h, true
}

func (h *groupHeader) sane() bool {
	return h.durable <= h.at && h.bytes >= groupHeaderBytes && (h.flags&flagFiller == 0 || h.records == 0)
}

// needed is how many bytes of the group recovery needs: those of a filler behind its header are not written.
func (h *groupHeader) needed() int {
	if h.flags&flagFiller != 0 {
		return groupHeaderBytes
	}
	return int(h.bytes)
}

// recordHeader starts every record.
type recordHeader struct {
	sum         uint32
	kind        uint8
	bytes       uint32
	leaderEpoch int32
	stream      uint64
	baseOffset  int64
	offsets     int32
}

// encode writes everything but the sum.
func (h *recordHeader) encode(b []byte) {
	b = b[:recordHeaderBytes]
	clear(b[:8])
	b[4] = h.kind
	order.PutUint32(b[8:], h.bytes)
	order.PutUint32(b[12:], uint32(h.leaderEpoch))
	order.PutUint64(b[16:], h.stream)
	order.PutUint64(b[24:], uint64(h.baseOffset))
	order.PutUint32(b[32:], uint32(h.offsets))
	clear(b[36:40])
}

// decodeRecordHeader reports false if the record cannot lie wholly within b.
func decodeRecordHeader(b []byte) (h recordHeader, ok bool) {
	if len(b) < recordHeaderBytes {
		return h, false
	}
	h = recordHeader{
		sum:         order.Uint32(b[0:]),
		kind:        b[4],
		bytes:       order.Uint32(b[8:]),
		leaderEpoch: int32(order.Uint32(b[12:])),
		stream:      order.Uint64(b[16:]),
		baseOffset:  int64(order.Uint64(b[24:])),
		offsets:     int32(order.Uint32(b[32:])),
	}
	if int64(h.bytes) > int64(len(b)-recordHeaderBytes) {
		return h, false
	}
	if h.kind == kindBatch {
		return h, h.bytes >= record.HeaderBytes && h.offsets > 0
	}
	return h, h.kind == kindSummary
}

// payload is the record's payload, b starting at its header.
func (h *recordHeader) payload(b []byte) []byte {
	return b[recordHeaderBytes : recordHeaderBytes+int(h.bytes) : recordHeaderBytes+int(h.bytes)]
}

// sumSeed starts a record's sum with what is not stored: where it belongs.
func sumSeed(scratch *[16]byte, nonce uint64, at Position) uint32 {
	order.PutUint64(scratch[0:], nonce)
	order.PutUint64(scratch[8:], uint64(at))
	return crc32.Update(0, castagnoli, scratch[:])
}

// summed is how many bytes at the start of the record its sum covers. The rest of a batch is covered
// by the batch's own CRC, which lies among them.
func (h *recordHeader) summed() int {
	if h.kind == kindBatch {
		return recordHeaderBytes + record.HeaderBytes
	}
	return recordHeaderBytes + int(h.bytes)
}

// sumRecord is the sum of the record at the start of b, of which all that it covers is laid.
func (h *recordHeader) sumRecord(b []byte, scratch *[16]byte, nonce uint64, at Position) uint32 {
	return crc32.Update(sumSeed(scratch, nonce, at), castagnoli, b[4:h.summed()])
}

// checkRecord checks every byte of the record at the start of b: what its sum covers by that, the
// rest of a batch by the batch's CRC.
func checkRecord(b []byte, scratch *[16]byte, nonce uint64, at Position) (recordHeader, bool) {
	h, ok := decodeRecordHeader(b)
	if !ok || h.sumRecord(b, scratch, nonce, at) != h.sum {
		return h, false
	}
	return h, h.kind != kindBatch || record.SumHolds(h.payload(b))
}
