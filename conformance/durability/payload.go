package durability

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
)

// identity says which record a value is: who sent it, and as which of that producer's
// records in the partition, counted from zero.
type identity struct {
	producer, partition int32
	sequence            int64
}

const (
	payloadMagic      = 0x57440001 // "WD", version 1
	payloadHeadBytes  = 4 + 4 + 4 + 8
	payloadBytesMin   = payloadHeadBytes + 4
	payloadFillingMax = 1400
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendPayload appends the record's value: its identity, filling that follows from
// it, and a CRC32C of both.
func (id identity) appendPayload(dst []byte) []byte {
	from := len(dst)
	be := binary.BigEndian
	dst = be.AppendUint32(dst, payloadMagic)
	dst = be.AppendUint32(dst, uint32(id.producer))
	dst = be.AppendUint32(dst, uint32(id.partition))
	dst = be.AppendUint64(dst, uint64(id.sequence))
	random := rand.NewPCG(uint64(id.producer)<<32|uint64(id.partition), uint64(id.sequence))
	for range random.Uint64() % (payloadFillingMax / 8) {
		dst = be.AppendUint64(dst, random.Uint64())
	}
	return be.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// readPayload is the reverse. A value that differs in any byte is an error.
func readPayload(b []byte) (identity, error) {
	if len(b) < payloadBytesMin {
		return identity{}, fmt.Errorf("a value of %d bytes is none of ours", len(b))
	}
	be := binary.BigEndian
	body, sum := b[:len(b)-4], be.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return identity{}, fmt.Errorf("a value of %d bytes has CRC %08x, not %08x", len(b), got, sum)
	}
	if magic := be.Uint32(b); magic != payloadMagic {
		return identity{}, fmt.Errorf("a value begins with %08x", magic)
	}
	id := identity{producer: int32(be.Uint32(b[4:])), partition: int32(be.Uint32(b[8:])), sequence: int64(be.Uint64(b[12:]))}
	if !bytes.Equal(id.appendPayload(nil), b) {
		return identity{}, fmt.Errorf("a value says that it is %+v and holds something else", id)
	}
	return id, nil
}
