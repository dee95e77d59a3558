// Package recordbatch builds record batches of magic 2 byte by byte, for tests that send what no client would. It may call kmsg
// and nothing of weir.
package recordbatch

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// HeaderBytes is the size of a batch without records.
const HeaderBytes = 61

// Attributes of a batch.
const (
	Transactional int16 = 1 << 4
	Control       int16 = 1 << 5
)

// Batch describes a batch of equal records, a millisecond apart.
type Batch struct {
	// Records is how many there are.
	Records int
	// Timestamp of the first, in ms.
	Timestamp  int64
	Attributes int16
	// ProducerID, ProducerEpoch and Sequence are -1 without a producer.
	ProducerID    int64
	ProducerEpoch int16
	Sequence      int32
	// Key of each record; nil is a null key.
	Key []byte
	// Value of each record.
	Value []byte
}

// New is a batch without a producer.
func New(timestamp int64, records int) Batch {
	return Batch{Records: records, Timestamp: timestamp, ProducerID: -1, ProducerEpoch: -1, Sequence: -1, Key: []byte("key"), Value: []byte("a value of some length")}
}

// Bytes encodes the batch.
func (b Batch) Bytes() []byte {
	var records []byte
	for i := range b.Records {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: b.Key, Value: b.Value}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		records = r.AppendTo(records)
	}
	out := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: b.Attributes, LastOffsetDelta: int32(b.Records - 1),
		FirstTimestamp: b.Timestamp, MaxTimestamp: b.Timestamp + int64(b.Records) - 1,
		ProducerID: b.ProducerID, ProducerEpoch: b.ProducerEpoch, FirstSequence: b.Sequence, NumRecords: int32(b.Records), Records: records,
	}
	return Seal(out.AppendTo(nil))
}

// Seal sets a batch's length and checksum, in place.
func Seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// Parse splits the batches of a Fetch answer; a batch that the answer's limit has cut is left out.
func Parse(b []byte) (all []kmsg.RecordBatch) {
	for len(b) >= HeaderBytes {
		size := int(int32(binary.BigEndian.Uint32(b[8:]))) + 12
		if size < HeaderBytes || size > len(b) {
			break
		}
		var one kmsg.RecordBatch
		if one.ReadFrom(b[:size]) != nil {
			break
		}
		all, b = append(all, one), b[size:]
	}
	return all
}
