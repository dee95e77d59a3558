package record

import (
	"encoding/binary"

	"weir/core/compress"
)

// Builder makes batches, for tests, the simulator's clients and internal topics.
// Set ProducerID (and epoch and sequence) for an idempotent batch, or NoProducer.
type Builder struct {
	BaseOffset    int64
	LeaderEpoch   int32
	Codec         compress.Codec
	LogAppendTime bool
	Transactional bool
	Control       bool
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
}

// AppendBatch appends a batch of the records to dst. Offsets of the records are
// ignored: they count up from BaseOffset. There must be at least one record.
func (p *Builder) AppendBatch(dst []byte, records []Record) []byte {
	if len(records) == 0 {
		panic("record: a batch needs a record")
	}
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	first, last := records[0].Timestamp, records[0].Timestamp
	var plain []byte
	for i, r := range records {
		plain = appendRecord(plain, int64(i), r.Timestamp-first, r)
		last = max(last, r.Timestamp)
	}
	dst, err := compress.Compress(p.Codec, dst, plain)
	if err != nil {
		panic("record: " + err.Error())
	}
	p.fillHeader(dst[start:], len(records), first, last)
	return dst
}

// AppendBatch appends a plain batch (no producer, no compression) to dst.
func AppendBatch(dst []byte, records []Record) []byte {
	return (&Builder{ProducerID: NoProducer, ProducerEpoch: -1, BaseSequence: -1}).AppendBatch(dst, records)
}

// AppendEmpty appends a batch without records that takes the offsets from baseOffset on, as Kafka keeps one where all records of a batch
// were compacted away: readers go on behind it. There are at least one and at most 1<<31 offsets.
func AppendEmpty(dst []byte, baseOffset, offsets int64, leaderEpoch int32) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	p := Builder{BaseOffset: baseOffset, LeaderEpoch: leaderEpoch, ProducerID: NoProducer, ProducerEpoch: -1, BaseSequence: -1}
	p.fillHeader(dst[start:], 0, -1, -1)
	binary.BigEndian.PutUint32(dst[start+atLastOffsetDelta:], uint32(offsets-1))
	Seal(dst[start:])
	return dst
}

func (p *Builder) fillHeader(b []byte, records int, first, last int64) {
	be := binary.BigEndian
	be.PutUint64(b[atBaseOffset:], uint64(p.BaseOffset))
	be.PutUint32(b[atLength:], uint32(len(b)-lengthPrefixBytes))
	be.PutUint32(b[atLeaderEpoch:], uint32(p.LeaderEpoch))
	b[atMagic] = magicSupported
	be.PutUint16(b[atAttributes:], p.attributes())
	be.PutUint32(b[atLastOffsetDelta:], uint32(records-1))
	be.PutUint64(b[atFirstTimestamp:], uint64(first))
	be.PutUint64(b[atMaxTimestamp:], uint64(last))
	be.PutUint64(b[atProducerID:], uint64(p.ProducerID))
	be.PutUint16(b[atProducerEpoch:], uint16(p.ProducerEpoch))
	be.PutUint32(b[atBaseSequence:], uint32(p.BaseSequence))
	be.PutUint32(b[atRecords:], uint32(records))
	Seal(b)
}

func (p *Builder) attributes() uint16 {
	a := uint16(p.Codec)
	if p.LogAppendTime {
		a |= logAppendTimeBit
	}
	if p.Transactional {
		a |= transactionalBit
	}
	if p.Control {
		a |= controlBit
	}
	return a
}

func appendRecord(dst []byte, offsetDelta, timestampDelta int64, r Record) []byte {
	length := 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta) + bytesBytes(r.Key) + bytesBytes(r.Value) + 1
	dst = binary.AppendVarint(dst, int64(length))
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	return binary.AppendVarint(dst, 0)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func varintBytes(v int64) int {
	var scratch [binary.MaxVarintLen64]byte
	return binary.PutVarint(scratch[:], v)
}

func bytesBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varintBytes(int64(len(b))) + len(b)
}
