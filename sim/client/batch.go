package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/record"
	"weir/sim/checker"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchSpec is one batch to encode.
type batchSpec struct {
	tag       uint32 // of the partition
	id        int32  // index of its append
	records   int32
	valueSize int
	producer  int64
	epoch     int16
	sequence  int32
	timestamp int64 // and mixed, as in checker.Append
	mixed     int64
	codec     compress.Codec
	// transactional batches belong to a transaction of the producer.
	transactional bool
}

// append is the batch as its partition's history records it.
func (s *batchSpec) append(client int, call int64) checker.Append {
	return checker.Append{
		Client: int32(client), Records: s.records, Call: call, Return: math.MaxInt64, Base: -1,
		Timestamp: s.timestamp, Mixed: s.mixed,
	}
}

const headerBytes = 61

// Attributes of a batch.
const (
	transactionalBit = 1 << 4
	controlBit       = 1 << 5
)

// bytesMax is the most that the batch takes uncompressed.
func (s *batchSpec) bytesMax() int {
	return headerBytes + int(s.records)*(max(s.valueSize, valueHeader)+recordOverhead)
}

// appendBatch encodes a batch of magic 2.
func appendBatch(dst []byte, s *batchSpec) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, headerBytes)...)
	if s.codec == compress.None {
		dst = s.appendRecords(dst)
	} else {
		packed, err := compress.Compress(s.codec, dst, s.appendRecords(nil))
		if err != nil {
			panic(err)
		}
		dst = packed
	}
	b := dst[start:]
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12))
	be.PutUint32(b[12:], ^uint32(0))
	b[16] = 2
	be.PutUint16(b[21:], uint16(s.codec))
	if s.transactional {
		b[22] |= transactionalBit
	}
	be.PutUint32(b[23:], uint32(s.records-1))
	be.PutUint64(b[27:], uint64(s.timestamp))
	times := s.append(0, 0)
	be.PutUint64(b[35:], uint64(times.Max()))
	be.PutUint64(b[43:], uint64(s.producer))
	be.PutUint16(b[51:], uint16(s.epoch))
	be.PutUint32(b[53:], uint32(s.sequence))
	be.PutUint32(b[57:], uint32(s.records))
	be.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return dst
}

func (s *batchSpec) appendRecords(dst []byte) []byte {
	times := s.append(0, 0)
	for i := range s.records {
		size, later := max(s.valueSize, valueHeader), times.At(i)-s.timestamp
		body := 1 + varintSize(later) + varintSize(int64(i)) + varintSize(-1) + varintSize(int64(size)) + size + 1
		dst = binary.AppendVarint(dst, int64(body))
		dst = append(dst, 0) // attributes
		dst = binary.AppendVarint(dst, later)
		dst = binary.AppendVarint(dst, int64(i))
		dst = binary.AppendVarint(dst, -1) // no key
		dst = binary.AppendVarint(dst, int64(size))
		dst = appendValue(dst, s.tag, s.id, i, size)
		dst = append(dst, 0) // no headers
	}
	return dst
}

func varintSize(v int64) int {
	var b [10]byte
	return binary.PutVarint(b[:], v)
}

const valueHeader = 12

func appendValue(dst []byte, tag uint32, id, index int32, size int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, tag)
	dst = binary.BigEndian.AppendUint32(dst, uint32(id))
	dst = binary.BigEndian.AppendUint32(dst, uint32(index))
	for i := valueHeader; i < size; i++ {
		dst = append(dst, filler(id, i))
	}
	return dst
}

func filler(id int32, i int) byte { return byte(int(id)*7 + i) }

var errBatch = errors.New("batch")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBatch, fmt.Sprintf(format, args...))
}

// written is what a reader knows of a partition's batches: its tag, and those that
// producers sent. A batch whose broker set the time (LogAppendTime) is expected only
// with byBroker.
type written struct {
	tag      uint32
	appends  []checker.Append
	byBroker bool

	transactions []checker.Transaction
}

// readBatches checks every byte of a fetch response's records. A batch cut short
// at the end is left out, as clients do.
func readBatches(b []byte, of *written, into []checker.Batch) ([]checker.Batch, error) {
	for len(b) >= 12 {
		size := int(int32(binary.BigEndian.Uint32(b[8:]))) + 12
		if size < headerBytes {
			return into, bad("length %d", size)
		}
		if size > len(b) {
			return into, nil
		}
		batch, err := readBatch(b[:size], of)
		if err != nil {
			return into, err
		}
		into = append(into, batch)
		b = b[size:]
	}
	return into, nil
}

func readBatch(b []byte, of *written) (checker.Batch, error) {
	be := binary.BigEndian
	base := int64(be.Uint64(b))
	batch := checker.Batch{Base: base, Records: int32(be.Uint32(b[57:])), Epoch: int32(be.Uint32(b[12:]))}
	switch {
	case b[16] != 2:
		return batch, bad("magic %d at offset %d", b[16], base)
	case crc32.Checksum(b[21:], castagnoli) != be.Uint32(b[17:]):
		return batch, bad("checksum at offset %d", base)
	case batch.Records == 0 && len(b) == headerBytes && batch.Epoch >= 0:
		batch.Kind, batch.ID, batch.Records = checker.GivenUp, -1, int32(be.Uint32(b[23:]))+1
		return batch, nil
	case int32(be.Uint32(b[23:])) != batch.Records-1 || batch.Records < 1:
		return batch, bad("last offset delta at offset %d", base)
	case batch.Epoch < 0:
		return batch, bad("leader epoch %d at offset %d", batch.Epoch, base)
	}
	if b[22]&controlBit != 0 {
		return readMarker(b, batch)
	}
	records := b[headerBytes:]
	if codec := compress.Codec(be.Uint16(b[21:]) & 7); codec != compress.None {
		plain, err := compress.Decompress(codec, records, 16<<20)
		if err != nil {
			return batch, bad("at offset %d: %v", base, err)
		}
		records = plain
	}
	times := batchTimes{first: int64(be.Uint64(b[27:])), largest: int64(be.Uint64(b[35:])), byBroker: be.Uint16(b[21:])&8 != 0}
	for i := range batch.Records {
		value, later, rest, err := readRecord(records, i)
		if err != nil {
			return batch, bad("record %d at offset %d: %v", i, base, err)
		}
		records = rest
		id, err := checkValue(value, of.tag, i)
		if err != nil {
			return batch, bad("record %d at offset %d: %v", i, base, err)
		}
		if i > 0 && id != batch.ID {
			return batch, bad("record %d at offset %d is of value %d, the first of %d", i, base, id, batch.ID)
		}
		batch.ID = id
		if err := times.check(of, id, i, later); err != nil {
			return batch, bad("record %d at offset %d: %v", i, base, err)
		}
	}
	if len(records) != 0 {
		return batch, bad("%d bytes behind the last record at offset %d", len(records), base)
	}
	return batch, of.checkProducer(b, batch)
}

// readMarker reads a control batch: the end of a transaction.
func readMarker(b []byte, batch checker.Batch) (checker.Batch, error) {
	h, err := record.ReadHeader(b)
	if err != nil {
		return batch, bad("marker at offset %d: %v", batch.Base, err)
	}
	batch.Marker = checker.Marker{Producer: h.ProducerID, Epoch: h.ProducerEpoch, Timestamp: h.MaxTimestamp}
	what := error(nil)
	err = record.Each(b, 1000, func(r record.Record) bool {
		switch {
		case batch.Records != 1 || !h.Transactional() || len(r.Key) != 4 || len(r.Value) < 6:
			what = bad("marker at offset %d: %d records, attributes %x, a key of %d bytes, a value of %d", batch.Base, batch.Records, h.Attributes, len(r.Key), len(r.Value))
		case r.Key[3] == 0:
			batch.Kind = checker.AbortMarker
		case r.Key[3] == 1:
			batch.Kind = checker.CommitMarker
		default:
			what = bad("marker at offset %d: type %d", batch.Base, r.Key[3])
		}
		return true
	})
	return batch, errors.Join(err, what)
}

// checkProducer: a batch is in the transaction in which it was sent.
func (w *written) checkProducer(b []byte, batch checker.Batch) error {
	if batch.ID < 0 || int(batch.ID) >= len(w.appends) {
		return nil // the checker finds that out
	}
	transactional, number := b[22]&transactionalBit != 0, w.appends[batch.ID].Transaction
	if number == 0 {
		if transactional {
			return bad("value %d at offset %d was sent without a transaction, and is in one", batch.ID, batch.Base)
		}
		return nil
	}
	t := &w.transactions[number-1]
	if id, epoch := int64(binary.BigEndian.Uint64(b[43:])), int16(binary.BigEndian.Uint16(b[51:])); !transactional || id != t.Producer || epoch != t.Epoch {
		return bad("value %d at offset %d was sent by producer %d epoch %d, and is of producer %d epoch %d (transactional: %v)", batch.ID, batch.Base, t.Producer, t.Epoch, id, epoch, transactional)
	}
	return nil
}

// leaveOut marks what a reader of committed records leaves out, as clients do: by the list of aborted transactions,
// which is in order of first offsets.
func leaveOut(batches []checker.Batch, producers func(*checker.Batch) (int64, bool), aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction) error {
	firsts, last := map[int64][]int64{}, int64(-1)
	for _, a := range aborted {
		if a.FirstOffset <= last {
			return bad("the list of aborted transactions names one at %d before that of producer %d at %d", last, a.ProducerID, a.FirstOffset)
		}
		last = a.FirstOffset
		firsts[a.ProducerID] = append(firsts[a.ProducerID], last)
	}
	for i := range batches {
		b := &batches[i]
		switch producer, transactional := producers(b); {
		case b.Kind == checker.AbortMarker:
			if list := firsts[b.Marker.Producer]; len(list) > 0 && list[0] <= b.Base {
				firsts[b.Marker.Producer] = list[1:]
			}
		case b.Kind == checker.Data && transactional:
			if list := firsts[producer]; len(list) > 0 && list[0] <= b.Base {
				b.Kind = checker.Aborted
			}
		}
	}
	return nil
}

// batchTimes are the timestamps of a batch's header.
type batchTimes struct {
	first, largest int64
	byBroker       bool
}

// check checks a record's timestamp: as it was sent, and the largest in the header.
func (t *batchTimes) check(of *written, id, index int32, later int64) error {
	if t.byBroker {
		if !of.byBroker {
			return errors.New("the broker set the timestamp")
		}
		return nil
	}
	if id < 0 || int(id) >= len(of.appends) {
		return nil // the checker finds that out
	}
	a := &of.appends[id]
	switch want := a.At(index); {
	case t.first+later != want:
		return fmt.Errorf("timestamp %d, sent with %d", t.first+later, want)
	case t.largest != a.Max():
		return fmt.Errorf("the batch's largest timestamp is %d, in its header %d", a.Max(), t.largest)
	}
	return nil
}

// readRecord reads one record as appendRecords writes it; later is its timestamp's
// distance from the batch's first.
func readRecord(b []byte, index int32) (value []byte, later int64, rest []byte, err error) {
	body, n := binary.Varint(b)
	if n <= 0 || body < 6 || body > int64(len(b)-n) {
		return nil, 0, nil, errors.New("length")
	}
	b, rest = b[n:n+int(body)], b[n+int(body):]
	later, n = binary.Varint(b[1:])
	if n <= 0 {
		return nil, 0, nil, errors.New("timestamp delta")
	}
	b = b[1+n:]
	delta, n := binary.Varint(b)
	if n <= 0 || delta != int64(index) {
		return nil, 0, nil, fmt.Errorf("offset delta %d", delta)
	}
	b = b[n:]
	if key, n := binary.Varint(b); n <= 0 || key != -1 {
		return nil, 0, nil, errors.New("key")
	}
	b = b[1:]
	size, n := binary.Varint(b)
	if n <= 0 || size < valueHeader || int(size)+n+1 != len(b) {
		return nil, 0, nil, errors.New("value length")
	}
	return b[n : n+int(size)], later, rest, nil
}

func checkValue(v []byte, tag uint32, index int32) (int32, error) {
	id := int32(binary.BigEndian.Uint32(v[4:]))
	if got := binary.BigEndian.Uint32(v); got != tag {
		return 0, fmt.Errorf("belongs to partition %d", got)
	}
	if got := int32(binary.BigEndian.Uint32(v[8:])); got != index {
		return 0, fmt.Errorf("index %d", got)
	}
	for i := valueHeader; i < len(v); i++ {
		if v[i] != filler(id, i) {
			return 0, fmt.Errorf("byte %d of value %d is damaged", i, id)
		}
	}
	return id, nil
}
