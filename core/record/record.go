// Package record reads Kafka record batches (magic 2).
package record

// HeaderBytes is the length of a batch's header.
const HeaderBytes = 61

// Header is a batch's header.
type Header struct {
	BaseOffset      int64
	Bytes           int // of the whole batch, header and length prefix included
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	FirstTimestamp  int64
	MaxTimestamp    int64
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// NextOffset is the offset after the batch's last.
func (h *Header) NextOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) + 1 }

// ReadHeader reads the header of the first batch in b; it checks bounds only.
func ReadHeader(b []byte) (Header, error) { panic("stub") }

// Check checks one whole batch, exactly b: bounds, magic, CRC32C, counts.
func Check(b []byte) (Header, error) { panic("stub") }

// Patch sets base offset and leader epoch in place (neither is under the CRC).
func Patch(b []byte, baseOffset int64, leaderEpoch int32) { panic("stub") }

// StampLogAppendTime sets the timestamp type and max timestamp, and the CRC anew.
func StampLogAppendTime(b []byte, millis int64) { panic("stub") }

// Record is one record of a batch; its slices point into the (decompressed) batch.
type Record struct {
	Offset, Timestamp int64
	Key, Value        []byte // nil when null
}

// Each calls f for each record until it returns false, decompressing if needed.
// limit bounds the bytes of a decompressed batch.
func Each(b []byte, limit int, f func(Record) bool) error { panic("stub") }
