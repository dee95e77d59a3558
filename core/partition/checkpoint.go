package partition

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"weir/core/env"
)

// A checkpoint is: magic, version, what the version has, CRC32C of all before it.
// Version 1 has: end offset, max timestamp, producers (ascending by id, each with its
// epoch and batches). Integers are varints; ids and offsets are relative to the ones
// before them. Version 2 has for each producer, after its batches, of which there may be none: the first offset of
// its open transaction, as the end offset minus that, or 0; and the epoch of the coordinator that wrote its last
// marker plus one, or 0. Version 3 adds to these the timestamp of the producer's last marker, if no batch came after it, as
// one plus the max timestamp minus that, or 0. The later versions are written where version 1 does not say all, so that a cluster without transactions
// stays readable for the releases before them. Version 4 (dense.go) says all, and is written once all members of the cluster read it.
//
// A change of the content is a new version, which [LoadState] reads beside all earlier
// ones: testdata has a checkpoint of each.
const (
	checkpointMagic = "wpck"
	checkpointPlain = 1
	// checkpointTransactions is the version with transactions.
	checkpointTransactions = 2
	// checkpointMarkers is the version with timestamps of markers.
	checkpointMarkers = 3
	// producerBytesMin is the smallest encoding of a producer: id, epoch, count,
	// transaction and coordinator.
	producerBytesMin = 5
	// producerBytesMax is the largest: five batches of 5, 5, 10 and 10 bytes between an
	// id of 10, an epoch of 3 and a count, a transaction of 10, a coordinator of 5 and a marker of 10.
	producerBytesMax = 39 + windowBatches*30
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
	version := s.versionOf(layer)
	dst = append(dst, version)
	dst = binary.AppendVarint(dst, end)
	dst = binary.AppendVarint(dst, maxTimestamp)
	dst = binary.AppendUvarint(dst, uint64(s.producersIn(layer)))
	if version == checkpointDense {
		dst = appendDense(dst, s.denseProducers(layer), &denseFrame{end, maxTimestamp, s.newestTimes != nil && s.newestTimes()})
	} else {
		dst = s.appendPlain(dst, version, end, maxTimestamp, layer)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// appendPlain appends the producers as versions before the dense one have them.
func (s *State) appendPlain(dst []byte, version byte, end, maxTimestamp int64, layer func(*producer) *window) []byte {
	previous := int64(0)
	for _, p := range s.producers {
		w := layer(p)
		if w.epoch == noEpoch {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(p.id-previous))
		dst = w.append(dst, end, maxTimestamp)
		if version >= checkpointTransactions {
			dst = w.appendTransaction(dst, end)
		}
		if version >= checkpointMarkers {
			dst = w.appendMarked(dst, maxTimestamp)
		}
		previous = p.id
	}
	return dst
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

// versionOf is the lowest version that says all of a layer, unless all members of the cluster read the dense one.
func (s *State) versionOf(layer func(*producer) *window) byte {
	if s.dense != nil && s.dense() {
		return checkpointDense
	}
	version := byte(checkpointPlain)
	for _, p := range s.producers {
		switch w := layer(p); {
		case w.epoch == noEpoch:
		case w.marked != noTimestamp:
			return checkpointMarkers
		case w.n == 0 || w.openFrom != noTransaction || w.coordinator != noCoordinator:
			version = checkpointTransactions
		}
	}
	return version
}

func (w *window) appendMarked(dst []byte, maxTimestamp int64) []byte {
	if w.marked == noTimestamp {
		return append(dst, 0)
	}
	return binary.AppendUvarint(dst, uint64(maxTimestamp-w.marked)+1)
}

func (w *window) appendTransaction(dst []byte, end int64) []byte {
	open := uint64(0)
	if w.openFrom != noTransaction {
		open = uint64(end - w.openFrom)
	}
	dst = binary.AppendUvarint(dst, open)
	return binary.AppendUvarint(dst, uint64(int64(w.coordinator)+1))
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
// a state that knows no producer. One that is as of a lower offset counts as of end: what lay between is lost (R16), and
// producers go on from where the checkpoint has them, as in Kafka after an unclean election. now is when its producers count as last seen.
func LoadState(checkpoint []byte, end int64, now env.Time) (*State, error) {
	s := &State{end: end, maxTimestamp: -1, appendedMax: -1}
	if len(checkpoint) == 0 {
		return s, nil
	}
	version, r, err := openCheckpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	if version < checkpointPlain || version > checkpointDense {
		return nil, fmt.Errorf("%w: version %d was written by a newer weir", ErrCheckpoint, version)
	}
	if err := s.load(version, r, end, now); err != nil {
		return nil, err
	}
	return s, nil
}

// loadState is LoadState of a state whose own checkpoints are of the dense version if dense says so.
func loadState(checkpoint []byte, end int64, now env.Time, dense func() bool) (*State, error) {
	s, err := LoadState(checkpoint, end, now)
	if err != nil {
		return nil, err
	}
	s.dense = dense
	return s, nil
}

func (s *State) load(version byte, r *reader, end int64, now env.Time) error {
	if s.end = r.varint(); s.end > end {
		return fmt.Errorf("%w: it is as of offset %d, not %d", ErrCheckpoint, s.end, end)
	}
	s.maxTimestamp = r.varint()
	s.appendedMax = s.maxTimestamp
	if err := s.loadProducers(version, r, now); err != nil {
		return err
	}
	slices.SortStableFunc(s.open, func(a, b openTransaction) int { return cmp.Compare(a.first, b.first) })
	if r.failed || len(r.b) > 0 {
		return fmt.Errorf("%w: %d bytes left over", ErrCheckpoint, len(r.b))
	}
	s.end = end
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

func (s *State) loadProducers(version byte, r *reader, now env.Time) error {
	n, least := r.uvarint(), producerBytesMin
	if version == checkpointDense {
		least = denseProducerBytesMin
	}
	if n > uint64(len(r.b)/least) {
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
		if version == checkpointDense {
			p.durable = r.denseHead(s.end, s.maxTimestamp)
		} else {
			p.durable = r.window(version, s.end, s.maxTimestamp)
		}
		if first := p.durable.openFrom; first != noTransaction {
			s.open = append(s.open, openTransaction{first: first, bytesBefore: openBefore})
		}
		if r.failed || id <= previous {
			return fmt.Errorf("%w: producer %d of %d", ErrCheckpoint, i, n)
		}
		previous = id
		s.producers = append(s.producers, p)
	}
	if version == checkpointDense {
		r.denseWindows(s.producers, s.end, s.maxTimestamp)
	}
	for _, p := range s.producers {
		p.appended = p.durable
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

func (r *reader) window(version byte, end, maxTimestamp int64) window {
	w := newWindow()
	w.epoch, w.n = int16(r.bounded(1<<15-1)), int8(r.bounded(windowBatches))
	if w.n == 0 && version < checkpointTransactions {
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
	if version >= checkpointTransactions {
		r.transaction(&w, end)
	}
	if version >= checkpointMarkers {
		r.marked(&w, maxTimestamp)
	}
	return w
}

func (r *reader) marked(w *window, maxTimestamp int64) {
	if since := r.uvarint(); since > 0 {
		w.marked = maxTimestamp - int64(since-1) // the difference may need all 64 bits
	}
}

func (r *reader) transaction(w *window, end int64) {
	if open := int64(r.bounded(uint64(end))); open > 0 {
		w.openFrom = end - open
	}
	w.coordinator = int32(int64(r.bounded(1<<31)) - 1)
}
