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

// Each calls f for each record of a stored batch until it returns false, decompressing if needed.
// limit bounds the bytes of a decompressed batch; more is ErrTooLarge. b begins
// with a batch; what follows it is ignored. The records' number and their offsets,
// which must rise, are checked up to where it stops. A batch that was cleaned by key lacks some offsets, or all.
func Each(b []byte, limit int, f func(Record) bool) error {
	h, body, err := open(b, limit)
	if err != nil {
		return err
	}
	return h.each(body, func(r *Record, _ []byte) bool { return f(*r) })
}

// open returns a stored batch's header and its records, decompressed.
func open(b []byte, limit int) (h Header, body []byte, err error) {
	if h, err = ReadHeader(b); err != nil {
		return h, nil, err
	}
	if err = h.checkStored(); err != nil {
		return h, nil, err
	}
	body = b[HeaderBytes:h.Bytes]
	if h.Codec() != compress.None && h.Records > 0 {
		if body, err = compress.Decompress(h.Codec(), body, limit); err != nil {
			return h, nil, decompressError(err)
		}
	}
	return h, body, nil
}

// each calls f with each record and its encoding.
func (h *Header) each(body []byte, f func(r *Record, encoded []byte) bool) error {
	previous := int64(-1)
	for i := range h.Records {
		rest, r, delta, ok := readRecord(body)
		if !ok || delta <= previous || delta > int64(h.LastOffsetDelta) {
			return fmt.Errorf("%w: record %d of %d does not parse or is out of order", ErrInvalid, i, h.Records)
		}
		encoded := body[:len(body)-len(rest)]
		previous, body = delta, rest
		r.Offset = h.BaseOffset + delta
		if h.LogAppendTime() {
			r.Timestamp = h.MaxTimestamp
		} else {
			r.Timestamp += h.FirstTimestamp
		}
		if !f(&r, encoded) {
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
