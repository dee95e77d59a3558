package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"weir/core/env"
)

// A checkpoint is: magic, version, what the version has, CRC32C of all before it.
// Version 1 has: end offset, max timestamp, producers (ascending by id, each with its
// epoch and batches). Integers are varints; ids and offsets are relative to the ones
// before them.
//
// A change of the content is a new version, which [LoadState] reads beside all earlier
// ones: testdata has a checkpoint of each.
const (
	checkpointMagic   = "wpck"
	checkpointVersion = 1
	// producerBytesMin is the smallest encoding of a producer: id, epoch, count
	// and one batch of four fields.
	producerBytesMin = 7
	// producerBytesMax is the largest: five batches of 5, 5, 10 and 10 bytes behind an
	// id of 10, an epoch of 3 and a count.
	producerBytesMax = 14 + windowBatches*30
)

// ErrCheckpoint: the bytes are no checkpoint of this version, or damaged.
var ErrCheckpoint = errors.New("producer checkpoint is invalid")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendCheckpoint appends the state exactly as of End. Equal states give equal
// bytes.
func (s *State) AppendCheckpoint(dst []byte) []byte {
	return s.appendLayer(dst, s.end, s.maxTimestamp, (*producer).durableWindow)
}

// AppendSummary appends the state as of everything appended, which ends at end,
// in the encoding of a checkpoint.
func (s *State) AppendSummary(dst []byte, end int64) []byte {
	return s.appendLayer(dst, end, s.appendedMax, (*producer).appendedWindow)
}

func (p *producer) durableWindow() *window  { return &p.durable }
func (p *producer) appendedWindow() *window { return &p.appended }

func (s *State) appendLayer(dst []byte, end, maxTimestamp int64, layer func(*producer) *window) []byte {
	start := len(dst)
	dst = append(dst, checkpointMagic...)
	dst = append(dst, checkpointVersion)
	dst = binary.AppendVarint(dst, end)
	dst = binary.AppendVarint(dst, maxTimestamp)
	dst = binary.AppendUvarint(dst, uint64(s.producersIn(layer)))
	previous := int64(0)
	for _, p := range s.producers {
		w := layer(p)
		if w.epoch == noEpoch {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(p.id-previous))
		dst = w.append(dst, end, maxTimestamp)
		previous = p.id
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func (s *State) producersIn(layer func(*producer) *window) int {
	n := 0
	for _, p := range s.producers {
		if layer(p).epoch != noEpoch {
			n++
		}
	}
	return n
}

func (w *window) append(dst []byte, end, maxTimestamp int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(w.epoch))
	dst = append(dst, byte(w.n))
	for _, r := range w.batches[:w.n] {
		dst = binary.AppendUvarint(dst, uint64(r.base))
		dst = binary.AppendUvarint(dst, uint64(r.delta))
		dst = binary.AppendUvarint(dst, uint64(end-r.offset))
		dst = binary.AppendVarint(dst, maxTimestamp-r.timestamp)
	}
	return dst
}

// LoadState rebuilds a state from a checkpoint as of end. An empty checkpoint is
// a state that knows no producer. now is when its producers count as last seen.
// producersMax bounds the producers kept (0: DefaultProducersMax).
func LoadState(checkpoint []byte, end int64, now env.Time, producersMax int) (*State, error) {
	if producersMax <= 0 {
		producersMax = DefaultProducersMax
	}
	s := &State{end: end, maxTimestamp: -1, appendedMax: -1, max: producersMax}
	if len(checkpoint) == 0 {
		return s, nil
	}
	version, r, err := openCheckpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	switch version {
	case 1:
		err = s.loadVersion1(r, end, now)
	default:
		err = fmt.Errorf("%w: version %d was written by a newer weir", ErrCheckpoint, version)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *State) loadVersion1(r *reader, end int64, now env.Time) error {
	if s.end = r.varint(); s.end != end {
		return fmt.Errorf("%w: it is as of offset %d, not %d", ErrCheckpoint, s.end, end)
	}
	s.maxTimestamp = r.varint()
	s.appendedMax = s.maxTimestamp
	if err := s.loadProducers(r, now); err != nil {
		return err
	}
	if r.failed || len(r.b) > 0 {
		return fmt.Errorf("%w: %d bytes left over", ErrCheckpoint, len(r.b))
	}
	return nil
}

func openCheckpoint(b []byte) (version byte, r *reader, err error) {
	body := len(b) - 4
	if body < len(checkpointMagic)+1 || string(b[:len(checkpointMagic)]) != checkpointMagic {
		return 0, nil, fmt.Errorf("%w: no magic", ErrCheckpoint)
	}
	if crc32.Checksum(b[:body], castagnoli) != binary.BigEndian.Uint32(b[body:]) {
		return 0, nil, fmt.Errorf("%w: CRC32C differs", ErrCheckpoint)
	}
	return b[len(checkpointMagic)], &reader{b: b[len(checkpointMagic)+1 : body]}, nil
}

func (s *State) loadProducers(r *reader, now env.Time) error {
	n := r.uvarint()
	if n > uint64(len(r.b)/producerBytesMin) {
		return fmt.Errorf("%w: %d producers in %d bytes", ErrCheckpoint, n, len(r.b))
	}
	s.producers = make([]*producer, 0, n)
	previous := int64(-1)
	for i := range n {
		id := int64(r.uvarint())
		if i > 0 {
			id += previous
		}
		p := &producer{id: id, seen: now}
		p.durable = r.window(s.end, s.maxTimestamp)
		p.appended = p.durable
		if r.failed || id <= previous {
			return fmt.Errorf("%w: producer %d of %d", ErrCheckpoint, i, n)
		}
		previous = id
		s.producers = append(s.producers, p)
	}
	return nil
}

// reader takes integers off bytes; after a failure all are zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n int) {
	if n <= 0 {
		r.failed, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.take(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.take(n)
	return v
}

// bounded reads an unsigned integer of at most limit.
func (r *reader) bounded(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.failed = true
		return 0
	}
	return v
}

func (r *reader) window(end, maxTimestamp int64) window {
	w := window{epoch: int16(r.bounded(1<<15 - 1)), n: int8(r.bounded(windowBatches))}
	if w.n == 0 {
		r.failed = true
	}
	for i := range w.batches[:w.n] {
		w.batches[i] = sequenceRange{
			base:  int32(r.bounded(1<<31 - 1)),
			delta: int32(r.bounded(1<<31 - 1)),
		}
		w.batches[i].offset = end - int64(r.bounded(1<<63-1))
		w.batches[i].timestamp = maxTimestamp - r.varint()
	}
	return w
}
