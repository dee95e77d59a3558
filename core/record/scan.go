package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"weir/core/compress"
)

// NoTimestamp is the timestamp of a record that has none.
const NoTimestamp = -1

// Facts are properties of a batch's records, which [Validate] reads.
type Facts struct {
	// MinTimestamp is the smallest timestamp of those that have one; NoTimestamp if none has.
	MinTimestamp int64
	// MaxTimestamp is the largest timestamp, and never below NoTimestamp.
	MaxTimestamp int64
	// Keyless is the index of the first record without a key; -1: all have one.
	Keyless int32
	// RecordBytesMax is the size of the largest record, without its length field.
	RecordBytesMax int
	// Bytes is the size of all records, decompressed; after an error, of those that were read.
	Bytes int
}

// Entry is one record as [Scan] sees it: keys and values are skipped.
type Entry struct {
	Index             int32
	Offset, Timestamp int64
	Keyless           bool
	// Bytes is the size of the record without its length field.
	Bytes int
}

// Validate reads every record of the batch b, whose header is h, and returns what it saw. It proves
// that the payload decompresses and ends with the last record, that there are as many records as the
// header says, that their offsets rise by one, and that their lengths are true. Timestamps are the
// producer's, whatever the batch's timestamp type says.
//
// It decompresses in chunks and skips keys, values and headers, so that its memory does not depend
// on what the batch decompresses to. limit bounds those bytes: more is ErrTooLarge. Data that do not
// decompress are ErrCompressed, everything else that is wrong ErrInvalid.
func Validate(h *Header, b []byte, limit int) (Facts, error) {
	facts := Facts{MinTimestamp: math.MaxInt64, MaxTimestamp: NoTimestamp, Keyless: -1}
	s, err := newScanner(h, b, limit)
	if err != nil {
		return facts, err
	}
	defer s.stream.Close()
	err = s.readAll(&facts)
	if facts.MinTimestamp == math.MaxInt64 {
		facts.MinTimestamp = facts.MaxTimestamp
	}
	facts.Bytes = s.total
	return facts, err
}

func (s *scanner) readAll(facts *Facts) error {
	var e Entry
	for e.Index = range s.h.Records {
		if err := s.read(&e); err != nil {
			return err
		}
		if e.Timestamp != NoTimestamp {
			facts.MinTimestamp = min(facts.MinTimestamp, e.Timestamp)
		}
		facts.MaxTimestamp = max(facts.MaxTimestamp, e.Timestamp)
		facts.RecordBytesMax = max(facts.RecordBytesMax, e.Bytes)
		if e.Keyless && facts.Keyless < 0 {
			facts.Keyless = e.Index
		}
	}
	return s.end()
}

// Scan calls f for each record of the stored batch b until it returns false. It reads as [Validate] does,
// with the same errors, up to where it stops; a batch that was cleaned by key lacks some offsets, or all. Records of a
// LogAppendTime batch have its time.
func Scan(b []byte, limit int, f func(Entry) bool) error {
	h, err := ReadHeader(b)
	if err != nil {
		return err
	}
	if err := h.checkStored(); err != nil || h.Records == 0 {
		return err
	}
	s, err := newScanner(&h, b, limit)
	if err != nil {
		return err
	}
	defer s.stream.Close()
	s.sparse = true
	e := Entry{Offset: h.BaseOffset - 1}
	for e.Index = range h.Records {
		if err := s.read(&e); err != nil {
			return err
		}
		if h.LogAppendTime() {
			e.Timestamp = h.MaxTimestamp
		}
		if !f(e) {
			return nil
		}
	}
	return s.end()
}

// scanner reads a batch's records out of chunks.
type scanner struct {
	h      *Header
	stream *compress.Stream
	chunk  []byte // what is not consumed of the last chunk
	total  int    // bytes of all chunks so far
	sparse bool   // offsets may be missing
}

// follows reports whether a record may have that offset delta after the one that e still is.
func (s *scanner) follows(e *Entry, delta int64) bool {
	if !s.sparse {
		return delta == int64(e.Index)
	}
	return delta > e.Offset-s.h.BaseOffset && delta <= int64(s.h.LastOffsetDelta)
}

func newScanner(h *Header, b []byte, limit int) (scanner, error) {
	stream, err := compress.Open(h.Codec(), b[HeaderBytes:h.Bytes], limit)
	if err != nil {
		return scanner{}, decompressError(err)
	}
	return scanner{h: h, stream: stream}, nil
}

func decompressError(err error) error {
	if errors.Is(err, compress.ErrTooLarge) {
		return ErrTooLarge
	}
	return fmt.Errorf("%w: %v", ErrCompressed, err)
}

// errEnded: the records end inside one.
var errEnded = fmt.Errorf("%w: the records end before the last", ErrInvalid)

func (s *scanner) consumed() int { return s.total - len(s.chunk) }

// refill gets the next chunk. The last must be used up.
func (s *scanner) refill() error {
	chunk, err := s.stream.Next()
	switch {
	case err == io.EOF:
		return errEnded
	case err != nil:
		return decompressError(err)
	}
	s.chunk = chunk
	s.total += len(chunk)
	return nil
}

// end makes sure that nothing follows the last record.
func (s *scanner) end() error {
	err := error(nil)
	if len(s.chunk) == 0 {
		err = s.refill()
	}
	switch {
	case err == errEnded:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: data follow the last of %d records", ErrInvalid, s.h.Records)
}

// read reads the record e.Index.
func (s *scanner) read(e *Entry) error {
	length, err := s.length()
	if err != nil {
		return err
	}
	if length < 0 {
		return s.malformed(e)
	}
	e.Bytes = int(length)
	if e.Bytes <= len(s.chunk) && s.readShort(e, s.chunk[:e.Bytes]) {
		s.chunk = s.chunk[e.Bytes:]
		return nil
	}
	end := s.consumed() + int(length)
	if err := s.readHead(e); err != nil {
		return err
	}
	if err := s.skipHeaders(); err != nil {
		return err
	}
	if s.consumed() != end {
		return s.malformed(e)
	}
	return nil
}

// readShort reads a record that lies in one chunk, as most do, if it has no headers and its numbers are
// as short as they are as a rule. False: it may be another's, or wrong; nothing is consumed.
func (s *scanner) readShort(e *Entry, b []byte) bool {
	at := 1 // behind the attributes
	timestamp, n := binary.Varint(b[min(at, len(b)):])
	if n <= 0 {
		return false
	}
	at += n
	delta, n := shortVarint(b, at)
	if n == 0 || !s.follows(e, int64(delta)) {
		return false
	}
	at += n
	key, n := shortVarint(b, at)
	if n == 0 {
		return false
	}
	at += n + max(key, 0)
	value, n := shortVarint(b, at)
	if n == 0 {
		return false
	}
	at += n + max(value, 0)
	if at != len(b)-1 || b[at] != 0 {
		return false
	}
	e.Timestamp, e.Offset, e.Keyless = s.h.FirstTimestamp+timestamp, s.h.BaseOffset+int64(delta), key < 0
	return true
}

// shortVarint reads a zigzag varint of at most three bytes; n is 0 if there is none.
func shortVarint(b []byte, at int) (v, n int) {
	if at >= len(b) {
		return 0, 0
	}
	u := int(b[at])
	if u < 0x80 {
		return u>>1 ^ -(u & 1), 1
	}
	if at+1 >= len(b) {
		return 0, 0
	}
	u = u&0x7f | int(b[at+1])<<7
	if u < 1<<14 {
		return u>>1 ^ -(u & 1), 2
	}
	if at+2 >= len(b) || b[at+2] >= 0x80 {
		return 0, 0
	}
	u = u&(1<<14-1) | int(b[at+2])<<14
	return u>>1 ^ -(u & 1), 3
}

func (s *scanner) malformed(e *Entry) error {
	return fmt.Errorf("%w: record %d of %d has a wrong length or structure", ErrInvalid, e.Index, s.h.Records)
}

// readHead reads what comes before a record's headers.
func (s *scanner) readHead(e *Entry) error {
	if err := s.skip(1); err != nil { // attributes, unused
		return err
	}
	timestamp, err := s.varint(binary.MaxVarintLen64)
	if err != nil {
		return err
	}
	delta, err := s.length()
	if err != nil {
		return err
	}
	if !s.follows(e, int64(delta)) {
		return fmt.Errorf("%w: record %d has offset delta %d", ErrInvalid, e.Index, delta)
	}
	e.Timestamp, e.Offset = s.h.FirstTimestamp+timestamp, s.h.BaseOffset+int64(delta)
	key, err := s.skipBytes()
	if err != nil {
		return err
	}
	e.Keyless = key < 0
	_, err = s.skipBytes()
	return err
}

func (s *scanner) skipHeaders() error {
	count, err := s.length()
	if err != nil {
		return err
	}
	if count < 0 {
		return fmt.Errorf("%w: %d record headers", ErrInvalid, count)
	}
	for range count {
		key, err := s.skipBytes()
		if err != nil {
			return err
		}
		if key < 0 {
			return fmt.Errorf("%w: a record header without a key", ErrInvalid)
		}
		if _, err := s.skipBytes(); err != nil {
			return err
		}
	}
	return nil
}

// skipBytes skips a length and that many bytes. A negative length stands for null, as in Kafka.
func (s *scanner) skipBytes() (length int32, err error) {
	length, err = s.length()
	if err == nil && length > 0 {
		err = s.skip(int(length))
	}
	return length, err
}

func (s *scanner) skip(n int) error {
	for n > len(s.chunk) {
		n -= len(s.chunk)
		if err := s.refill(); err != nil {
			return err
		}
	}
	s.chunk = s.chunk[n:]
	return nil
}

// length reads a zigzag varint of 32 bits, which takes at most five bytes.
func (s *scanner) length() (int32, error) {
	if len(s.chunk) > 0 && s.chunk[0] < 0x80 {
		v := int32(s.chunk[0])
		s.chunk = s.chunk[1:]
		return v>>1 ^ -(v & 1), nil
	}
	v, err := s.uvarint(binary.MaxVarintLen32)
	return int32(uint32(v)>>1) ^ -int32(v&1), err
}

// varint reads a zigzag varint of at most bytesMax bytes.
func (s *scanner) varint(bytesMax int) (int64, error) {
	v, err := s.uvarint(bytesMax)
	return int64(v>>1) ^ -int64(v&1), err
}

func (s *scanner) uvarint(bytesMax int) (v uint64, err error) {
	for shift := 0; shift < 7*bytesMax; shift += 7 {
		if len(s.chunk) == 0 {
			if err := s.refill(); err != nil {
				return 0, err
			}
		}
		b := s.chunk[0]
		s.chunk = s.chunk[1:]
		if v |= uint64(b&0x7f) << shift; b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a varint of more than %d bytes", ErrInvalid, bytesMax)
}
