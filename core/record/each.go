package record

import (
	"encoding/binary"
	"fmt"

	"weir/core/compress"
)

// Record is one record of a batch; its slices point into the (decompressed) batch.
type Record struct {
	Offset, Timestamp int64
	Key, Value        []byte // nil when null
}

// Each calls f for each record until it returns false, decompressing if needed.
// limit bounds the bytes of a decompressed batch; more is ErrTooLarge. b begins
// with a batch; what follows it is ignored. The records' number and their offsets,
// which must rise by one, are checked up to where it stops.
func Each(b []byte, limit int, f func(Record) bool) error {
	h, err := ReadHeader(b)
	if err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	body := b[HeaderBytes:h.Bytes]
	if h.Codec() != compress.None {
		if body, err = compress.Decompress(h.Codec(), body, limit); err != nil {
			return decompressError(err)
		}
	}
	return h.each(body, f)
}

func (h *Header) each(body []byte, f func(Record) bool) error {
	for i := range h.Records {
		var r Record
		var delta int64
		var ok bool
		if body, r, delta, ok = readRecord(body); !ok || delta != int64(i) {
			return fmt.Errorf("%w: record %d of %d does not parse or is out of order", ErrInvalid, i, h.Records)
		}
		r.Offset = h.BaseOffset + delta
		if h.LogAppendTime() {
			r.Timestamp = h.MaxTimestamp
		} else {
			r.Timestamp += h.FirstTimestamp
		}
		if !f(r) {
			return nil
		}
	}
	if len(body) > 0 {
		return fmt.Errorf("%w: %d bytes after the last record", ErrInvalid, len(body))
	}
	return nil
}

// readRecord takes one record off b; its timestamp is still a delta.
func readRecord(b []byte) (rest []byte, r Record, offsetDelta int64, ok bool) {
	length, n := binary.Varint(b)
	if n <= 0 || length < 0 || length > int64(len(b)-n) {
		return nil, r, 0, false
	}
	rest, b = b[n+int(length):], b[n:n+int(length)]
	if len(b) < 1 {
		return nil, r, 0, false
	}
	b = b[1:] // attributes, unused
	if r.Timestamp, n = binary.Varint(b); n <= 0 {
		return nil, r, 0, false
	}
	b = b[n:]
	if offsetDelta, n = binary.Varint(b); n <= 0 {
		return nil, r, 0, false
	}
	b = b[n:]
	if r.Key, b, ok = readBytes(b); !ok {
		return nil, r, 0, false
	}
	if r.Value, b, ok = readBytes(b); !ok {
		return nil, r, 0, false
	}
	if b, ok = skipHeaders(b); !ok || len(b) > 0 {
		return nil, r, 0, false
	}
	return rest, r, offsetDelta, true
}

// readBytes takes a length and that many bytes; length -1 is null.
func readBytes(b []byte) (value, rest []byte, ok bool) {
	length, n := binary.Varint(b)
	if n <= 0 || length < -1 || length > int64(len(b)-n) {
		return nil, nil, false
	}
	b = b[n:]
	if length < 0 {
		return nil, b, true
	}
	return b[:length:length], b[length:], true
}

func skipHeaders(b []byte) (rest []byte, ok bool) {
	count, n := binary.Varint(b)
	if n <= 0 || count < 0 || count > int64(len(b)) {
		return nil, false
	}
	b = b[n:]
	for range count {
		var key []byte
		if key, b, ok = readBytes(b); !ok || key == nil {
			return nil, false
		}
		if _, b, ok = readBytes(b); !ok {
			return nil, false
		}
	}
	return b, true
}
