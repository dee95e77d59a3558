package record

import (
	"encoding/binary"

	"weir/core/compress"
)

// Filtered is a stored batch as the cleaner of a compacted topic sees it: opened, each record kept or dropped.
// Offsets never change: the batch keeps its first and last, whatever is dropped between, and with them the last sequence
// of its producer.
type Filtered struct {
	Header Header
	// Tombstones says that a kept record has no value.
	Tombstones bool
	kept       [][]byte // encoded
	largest    int64    // timestamp of those kept
}

// Filter opens the batch b and asks keep for each record. limit and errors are those of [Each].
func Filter(b []byte, limit int, keep func(*Record) bool) (Filtered, error) {
	h, body, err := open(b, limit)
	if err != nil {
		return Filtered{}, err
	}
	f := Filtered{Header: h, largest: NoTimestamp}
	err = h.each(body, func(r *Record, encoded []byte) bool {
		if keep(r) {
			f.kept = append(f.kept, encoded)
			f.Tombstones = f.Tombstones || r.Value == nil
			f.largest = max(f.largest, r.Timestamp)
		}
		return true
	})
	return f, err
}

// Kept is how many records were kept.
func (f *Filtered) Kept() int { return len(f.kept) }

// Whole reports whether no record was dropped.
func (f *Filtered) Whole() bool { return len(f.kept) == int(f.Header.Records) }

// Append appends the batch with the records that were kept, of which there must be one, to dst, in its own codec. A
// horizon from 0 on becomes its delete horizon. It returns the batch's largest timestamp too.
func (f *Filtered) Append(dst []byte, horizon int64) (out []byte, maxTimestamp int64, err error) {
	h := f.Header
	if horizon >= 0 {
		h.Attributes |= deleteHorizonBit
		h.FirstTimestamp = horizon
	}
	if !h.LogAppendTime() {
		h.MaxTimestamp = f.largest
	}
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	if dst, err = compress.Compress(h.Codec(), dst, f.records(f.Header.FirstTimestamp-h.FirstTimestamp)); err != nil {
		return dst[:start], 0, err
	}
	h.Records = int32(len(f.kept))
	h.write(dst[start:])
	return dst, h.MaxTimestamp, nil
}

// records joins the kept records, whose timestamps are now relative to a first timestamp that is earlier by shift.
func (f *Filtered) records(shift int64) []byte {
	var plain []byte
	for _, encoded := range f.kept {
		if shift == 0 {
			plain = append(plain, encoded...)
		} else {
			plain = appendShifted(plain, encoded, shift)
		}
	}
	return plain
}

// appendShifted appends an encoded record, which is sound, with another timestamp delta.
func appendShifted(dst, encoded []byte, shift int64) []byte {
	_, n := binary.Varint(encoded)
	body := encoded[n:]
	delta, n := binary.Varint(body[1:])
	rest := body[1+n:]
	delta += shift
	dst = binary.AppendVarint(dst, int64(1+varintBytes(delta)+len(rest)))
	dst = append(dst, body[0])
	dst = binary.AppendVarint(dst, delta)
	return append(dst, rest...)
}

// AppendEmpty appends to dst what is left of a batch whose records are all dropped: its header, with offsets, producer, epoch
// and sequence, as Kafka's cleaner leaves it.
func AppendEmpty(dst []byte, h *Header) []byte {
	empty := *h
	empty.Attributes &^= codecBits | deleteHorizonBit
	empty.FirstTimestamp, empty.Records = NoTimestamp, 0
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes)...)
	empty.write(dst[start:])
	return dst
}

// AppendFiller appends to dst a batch without records, producer and time that takes the offsets [base, base+offsets), as Kafka keeps one
// where all records of a batch were compacted away: readers go on behind it. There are at least one and at most 1<<31 offsets.
func AppendFiller(dst []byte, base, offsets int64, leaderEpoch int32) []byte {
	return AppendEmpty(dst, &Header{
		BaseOffset: base, LeaderEpoch: leaderEpoch, LastOffsetDelta: int32(offsets - 1), MaxTimestamp: NoTimestamp,
		ProducerID: NoProducer, ProducerEpoch: -1, BaseSequence: -1,
	})
}

// write writes the header into b, which is the batch, and seals it.
func (h *Header) write(b []byte) {
	be := binary.BigEndian
	be.PutUint64(b[atBaseOffset:], uint64(h.BaseOffset))
	be.PutUint32(b[atLength:], uint32(len(b)-lengthPrefixBytes))
	be.PutUint32(b[atLeaderEpoch:], uint32(h.LeaderEpoch))
	b[atMagic] = magicSupported
	be.PutUint16(b[atAttributes:], uint16(h.Attributes))
	be.PutUint32(b[atLastOffsetDelta:], uint32(h.LastOffsetDelta))
	be.PutUint64(b[atFirstTimestamp:], uint64(h.FirstTimestamp))
	be.PutUint64(b[atMaxTimestamp:], uint64(h.MaxTimestamp))
	be.PutUint64(b[atProducerID:], uint64(h.ProducerID))
	be.PutUint16(b[atProducerEpoch:], uint16(h.ProducerEpoch))
	be.PutUint32(b[atBaseSequence:], uint32(h.BaseSequence))
	be.PutUint32(b[atRecords:], uint32(h.Records))
	Seal(b)
}
