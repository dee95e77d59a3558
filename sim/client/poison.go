package client

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
)

// poison sends a batch that no reader could make sense of. The broker must refuse it: an offset
// that it gave to one of its records would have two values, or none. None is in the history, so
// that the checker finds any that is read.
func (p *Producer) poison(part *producerPart) {
	spec := batchSpec{
		tag: part.tag, id: -1, records: int32(p.draws.Between(2, 5)), valueSize: 40,
		producer: -1, epoch: -1, sequence: -1, timestamp: p.wallMillis(),
	}
	spec.codec = compress.Codec(p.draws.Below(int64(compress.LZ4) + 1)) // versions that do not know zstd are spoken too
	b := appendBatch(nil, &spec)
	kind := p.draws.Below(poisonKinds)
	b = poisoned(b, &spec, kind)
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 3000
	addProduce(r, part.Partition, b)
	p.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		code, base, ok := findProduced(response.(*kmsg.ProduceResponse), part.Partition)
		if ok && code == 0 {
			p.fail("I2", "%s: a poisoned batch (kind %d, %v) is acknowledged at offset %d", part.History.Name, kind, spec.codec, base)
		}
	})
}

const poisonKinds = 5

// poisoned spoils a batch in one of several ways, and seals it again.
func poisoned(b []byte, spec *batchSpec, kind int64) []byte {
	be := binary.BigEndian
	count := func(n int32) {
		be.PutUint32(b[23:], uint32(n-1))
		be.PutUint32(b[57:], uint32(n))
	}
	payload := func(plain []byte) {
		packed, err := compress.Compress(spec.codec, b[:headerBytes:headerBytes], plain)
		if err != nil {
			panic(err)
		}
		b = packed
	}
	switch kind {
	case 0: // a record more than said
		count(spec.records - 1)
	case 1: // a record fewer
		count(spec.records + 1)
	case 2: // bytes after the last record
		payload(append(spec.appendRecords(nil), 0))
	case 3: // the first record twice
		plain := spec.appendRecords(nil)
		length, n := binary.Varint(plain)
		first := plain[:n+int(length)]
		payload(append(append([]byte(nil), first...), plain...))
		count(spec.records + 1)
	case 4: // records that do not decompress, or without a codec, do not parse
		b = append(b[:headerBytes], spec.appendRecords(nil)...)
		b[headerBytes] ^= 0x40
	}
	be.PutUint32(b[8:], uint32(len(b)-12))
	be.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}
