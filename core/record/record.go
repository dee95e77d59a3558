package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"weir/core/compress"
)

// HeaderBytes is the length of a batch's header.
const HeaderBytes = 61

// Places of the header's fields.
const (
	atBaseOffset      = 0
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atFirstTimestamp  = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atRecords         = 57

	lengthPrefixBytes = 12 // what the length field does not count
)

// Attribute bits.
const (
	codecBits         = 0x07
	logAppendTimeBit  = 0x08
	transactionalBit  = 0x10
	controlBit        = 0x20
	deleteHorizonBit  = 0x40
	recordBytesMin    = 7 // length, attributes, two deltas, two lengths, header count
	magicSupported    = 2
	smallMessageBytes = 14 // the least that a length field of any magic may say
)

// NoProducer is the producer id of a batch that is not idempotent.
const NoProducer = -1

// Errors that callers branch on. At the edge of Produce they become Kafka's codes.
var (
	// ErrTruncated: the bytes end inside the batch. (INVALID_RECORD: Kafka sees no batch.)
	ErrTruncated = errors.New("record batch is cut off")
	// ErrOldMagic: a message set of magic 0 or 1, which no current broker stores. (INVALID_RECORD)
	ErrOldMagic = errors.New("message format older than magic 2")
	// ErrCorrupt: the checksum or the frame of the batch is wrong. (CORRUPT_MESSAGE)
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrInvalid: the batch is whole, and breaks the format's rules. (INVALID_RECORD)
	ErrInvalid = errors.New("record batch is invalid")
	// ErrCodec: the attributes name no known codec. (UNSUPPORTED_COMPRESSION_TYPE)
	ErrCodec = errors.New("unknown compression codec")
	// ErrCompressed: the records do not decompress. (INVALID_RECORD)
	ErrCompressed = errors.New("records do not decompress")
	// ErrTooLarge: a batch decompresses to more than the caller's limit.
	ErrTooLarge = errors.New("record batch decompresses to more than the limit")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is a batch's header.
type Header struct {
	BaseOffset      int64
	Bytes           int // of the whole batch, header and length prefix included
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	FirstTimestamp  int64 // milliseconds, to which those of the records are relative; -1: none
	MaxTimestamp    int64
	ProducerID      int64 // NoProducer or below: none
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// NextOffset is the offset after the batch's last.
func (h *Header) NextOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) + 1 }

// LastSequence is the sequence of the batch's last record; sequences wrap from
// 2^31-1 to 0.
func (h *Header) LastSequence() int32 { return AddSequence(h.BaseSequence, h.LastOffsetDelta) }

// Codec is the batch's codec; Check has made sure it is a known one.
func (h *Header) Codec() compress.Codec { return compress.Codec(h.Attributes & codecBits) }

// LogAppendTime reports whether the broker's clock stamped the batch.
func (h *Header) LogAppendTime() bool { return h.Attributes&logAppendTimeBit != 0 }

// Transactional reports whether the batch belongs to a transaction.
func (h *Header) Transactional() bool { return h.Attributes&transactionalBit != 0 }

// Control reports whether the batch holds a control record.
func (h *Header) Control() bool { return h.Attributes&controlBit != 0 }

// DeleteHorizon is when the cleaner of a compacted topic may drop the batch's tombstones, or the marker that it is, in
// milliseconds (KIP-534). It is the batch's first timestamp, to which those of its records are relative; false: none is set.
func (h *Header) DeleteHorizon() (millis int64, ok bool) {
	return h.FirstTimestamp, h.Attributes&deleteHorizonBit != 0
}

// Idempotent reports whether the batch carries a producer id and epoch, and so takes
// part in the detection of duplicates.
func (h *Header) Idempotent() bool { return h.ProducerID > NoProducer && h.ProducerEpoch >= 0 }

// AddSequence adds delta to a sequence number, wrapping from 2^31-1 to 0.
func AddSequence(sequence, delta int32) int32 { return int32(uint32(sequence+delta) & 0x7fffffff) }

// ReadHeader reads the header of the first batch in b. It checks bounds and
// magic only; the batch is b[:Header.Bytes]. If the batch is cut off after its
// header, it returns the header and ErrTruncated.
func ReadHeader(b []byte) (Header, error) {
	if len(b) <= atMagic {
		return Header{}, fmt.Errorf("%w: %d bytes", ErrTruncated, len(b))
	}
	length := int32(binary.BigEndian.Uint32(b[atLength:]))
	if length < smallMessageBytes {
		return Header{}, fmt.Errorf("%w: length field says %d", ErrCorrupt, length)
	}
	switch magic := int8(b[atMagic]); {
	case magic == 0 || magic == 1:
		return Header{Magic: magic}, fmt.Errorf("%w: magic %d", ErrOldMagic, magic)
	case magic != magicSupported:
		return Header{}, fmt.Errorf("%w: magic %d", ErrCorrupt, magic)
	}
	if length < HeaderBytes-lengthPrefixBytes {
		return Header{}, fmt.Errorf("%w: length field says %d", ErrCorrupt, length)
	}
	if len(b) < HeaderBytes {
		return Header{}, fmt.Errorf("%w: %d bytes of header", ErrTruncated, len(b))
	}
	h := decodeHeader(b, length)
	if h.Bytes > len(b) {
		return h, fmt.Errorf("%w: %d of %d bytes", ErrTruncated, len(b), h.Bytes)
	}
	return h, nil
}

func decodeHeader(b []byte, length int32) Header {
	be := binary.BigEndian
	return Header{
		BaseOffset:      int64(be.Uint64(b[atBaseOffset:])),
		Bytes:           int(length) + lengthPrefixBytes,
		LeaderEpoch:     int32(be.Uint32(b[atLeaderEpoch:])),
		Magic:           int8(b[atMagic]),
		CRC:             be.Uint32(b[atCRC:]),
		Attributes:      int16(be.Uint16(b[atAttributes:])),
		LastOffsetDelta: int32(be.Uint32(b[atLastOffsetDelta:])),
		FirstTimestamp:  int64(be.Uint64(b[atFirstTimestamp:])),
		MaxTimestamp:    int64(be.Uint64(b[atMaxTimestamp:])),
		ProducerID:      int64(be.Uint64(b[atProducerID:])),
		ProducerEpoch:   int16(be.Uint16(b[atProducerEpoch:])),
		BaseSequence:    int32(be.Uint32(b[atBaseSequence:])),
		Records:         int32(be.Uint32(b[atRecords:])),
	}
}

// Check checks the first batch in b without its records: bounds, magic, CRC32C, counts,
// codec and producer fields. The batch is b[:Header.Bytes]. A truncated second batch after
// it is ignored, as in Kafka; a whole second batch is ErrInvalid.
func Check(b []byte) (Header, error) {
	h, err := ReadHeader(b)
	if err != nil {
		return h, err
	}
	if err := checkTrailing(b[h.Bytes:]); err != nil {
		return h, err
	}
	if sum := crc32.Checksum(b[atAttributes:h.Bytes], castagnoli); sum != h.CRC {
		return h, fmt.Errorf("%w: CRC32C is %08x, the batch says %08x", ErrCorrupt, sum, h.CRC)
	}
	return h, h.check()
}

// checkTrailing checks the bytes that follow a batch.
func checkTrailing(b []byte) error {
	if len(b) < lengthPrefixBytes {
		return nil
	}
	length := int32(binary.BigEndian.Uint32(b[atLength:]))
	if length < smallMessageBytes {
		return fmt.Errorf("%w: %d bytes follow the batch, with a length field of %d", ErrCorrupt, len(b), length)
	}
	if len(b) <= atMagic {
		return nil
	}
	if magic := b[atMagic]; magic > magicSupported {
		return fmt.Errorf("%w: %d bytes follow the batch, with magic %d", ErrCorrupt, len(b), int8(magic))
	}
	if int64(length) > int64(len(b)-lengthPrefixBytes) {
		return nil
	}
	return fmt.Errorf("%w: a second batch follows; one batch a partition is allowed", ErrInvalid)
}

// check validates the fields of a producer's header whose checksum is right.
func (h *Header) check() error {
	if h.Codec().Valid() && (h.Records <= 0 || h.Records-1 != h.LastOffsetDelta) {
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrInvalid, h.Records, h.LastOffsetDelta)
	}
	return h.checkStored()
}

// checkStored validates a header as it may be stored: a cleaned batch keeps its offsets, and has fewer records or none.
func (h *Header) checkStored() error {
	if !h.Codec().Valid() {
		return fmt.Errorf("%w: %d", ErrCodec, h.Codec())
	}
	if h.Records < 0 || h.LastOffsetDelta < 0 || int64(h.Records)-1 > int64(h.LastOffsetDelta) {
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrInvalid, h.Records, h.LastOffsetDelta)
	}
	if h.Codec() == compress.None && int64(h.Records)*recordBytesMin > int64(h.Bytes-HeaderBytes) {
		return fmt.Errorf("%w: %d records in %d bytes", ErrInvalid, h.Records, h.Bytes-HeaderBytes)
	}
	if h.ProducerID > NoProducer && !h.Control() && h.BaseSequence < 0 {
		return fmt.Errorf("%w: producer %d with sequence %d", ErrInvalid, h.ProducerID, h.BaseSequence)
	}
	return nil
}

// Patch sets base offset and leader epoch in place (neither is under the CRC).
func Patch(b []byte, baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b[atBaseOffset:], uint64(baseOffset))
	binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(leaderEpoch))
}

// StampLogAppendTime sets the timestamp type and max timestamp of the batch b,
// and renews its CRC, which must be right, without reading the records.
func StampLogAppendTime(b []byte, millis int64) {
	reseal(b, func(header []byte) {
		attributes := binary.BigEndian.Uint16(header[atAttributes:]) | logAppendTimeBit
		binary.BigEndian.PutUint16(header[atAttributes:], attributes)
		binary.BigEndian.PutUint64(header[atMaxTimestamp:], uint64(millis))
	})
}

// SetCreateTime sets the timestamp type of the batch b to CreateTime, and its max
// timestamp. It renews the CRC, which must be right, without reading the records.
func SetCreateTime(b []byte, maxMillis int64) {
	reseal(b, func(header []byte) {
		attributes := binary.BigEndian.Uint16(header[atAttributes:]) &^ logAppendTimeBit
		binary.BigEndian.PutUint16(header[atAttributes:], attributes)
		binary.BigEndian.PutUint64(header[atMaxTimestamp:], uint64(maxMillis))
	})
}

// Seal writes the CRC of the batch b.
func Seal(b []byte) {
	binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
}
