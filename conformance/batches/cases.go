package batches

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"weir/core/compress"
	"weir/core/record"
)

// Case is what one partition is sent in one request, and to which kind of topic.
type Case struct {
	Name  string
	Topic Topic
	// Batches has one element, but for partitions that a request has twice.
	Batches [][]byte
	// Differs says why weir answers something else than Kafka, on purpose; empty: it must not.
	// Answer is then how weir's answer begins.
	Differs, Answer string
}

// Topic is a topic's configuration.
type Topic uint8

// The topics' configurations.
const (
	Plain Topic = iota
	Compacted
	LogAppendTime
)

const (
	lengthAt     = 8
	magicAt      = 16
	attributesAt = 21
	deltaAt      = 23
	epochAt      = 51
	sequenceAt   = 53
	countAt      = 57
	producerAt   = 43
)

// now is where the timestamps of all cases are: whole minutes, so that answers can be compared.
var now = time.Now().Truncate(time.Minute).UnixMilli()

func rows(n int) []record.Record {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{Timestamp: now + int64(i), Key: []byte("key"), Value: fmt.Appendf(nil, "value-%d of some length", i)}
	}
	return records
}

// batch makes a batch, and changes it before it is sealed.
func batch(codec compress.Codec, records []record.Record, change ...func(b []byte)) []byte {
	b := (&record.Builder{Codec: codec, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}).AppendBatch(nil, records)
	return sealed(b, change...)
}

func sealed(b []byte, change ...func(b []byte)) []byte {
	for _, f := range change {
		f(b)
	}
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-12))
	record.Seal(b)
	return b
}

// of makes a batch of a payload as it travels.
func of(codec compress.Codec, count uint32, payload []byte) []byte {
	b := append(batch(compress.None, rows(1))[:record.HeaderBytes], payload...)
	return sealed(b, counts(count), func(b []byte) { b[attributesAt+1] = byte(codec) })
}

// packed makes a batch of the encoding of records.
func packed(codec compress.Codec, count uint32, plain []byte) []byte {
	payload, err := compress.Compress(codec, nil, plain)
	if err != nil {
		panic(err)
	}
	return of(codec, count, payload)
}

func plainRows(n int) []byte { return batch(compress.None, rows(n))[record.HeaderBytes:] }

func counts(n uint32) func(b []byte) {
	return func(b []byte) {
		binary.BigEndian.PutUint32(b[deltaAt:], n-1)
		binary.BigEndian.PutUint32(b[countAt:], n)
	}
}

func put16(at int, v int16) func(b []byte) {
	return func(b []byte) { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
}

func put32(at int, v int32) func(b []byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}

func put64(at int, v int64) func(b []byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
}

func bits(v int16) func(b []byte) {
	return func(b []byte) {
		binary.BigEndian.PutUint16(b[attributesAt:], binary.BigEndian.Uint16(b[attributesAt:])|uint16(v))
	}
}

// patched is b with one byte changed.
func patched(b []byte, at int, by byte) []byte {
	b = bytes.Clone(b)
	b[at] += by
	return b
}

// Why weir refuses what Kafka takes, or answers with another code.
const (
	deltas     = "Kafka rewrites a compressed batch with wrong offset deltas and stores an uncompressed one as it is; weir never encodes a batch again, and stored it would give an offset two values"
	lengths    = "Kafka does not compare a record's length with its contents in a compressed batch; consumers that trust the length would read something else"
	compressed = "Kafka answers UNKNOWN_SERVER_ERROR and logs an error when a payload does not decompress; INVALID_RECORD says whose fault it is"
	varints    = "Kafka answers UNKNOWN_SERVER_ERROR to a varint that is too long in an uncompressed batch, and INVALID_RECORD in a compressed one"
	claimed    = "Kafka keeps the max timestamp that the batch claims; weir stores the largest of its records, so that lookups find it"
	unknown    = "Kafka answers UNKNOWN_SERVER_ERROR to a codec that there is not; weir says what is not supported"
	contentSum = "Kafka does not verify the checksum of an lz4 frame's content; other clients do, and could not read the batch"
	leftover   = "Kafka ignores bytes after the compressed data, on which some clients' decoders fail"
)

// Cases returns all cases.
func Cases() []Case {
	var all []Case
	for codec := compress.None; codec.Valid(); codec++ {
		all = append(all, recordCases(codec)...)
		all = append(all, configuredCases(codec)...)
		if codec != compress.None {
			all = append(all, payloadCases(codec)...)
		}
	}
	all = append(all, framingCases()...)
	return append(all, headerCases()...)
}

func one(name string, topic Topic, b []byte, differs ...string) Case {
	c := Case{Name: name, Topic: topic, Batches: [][]byte{b}}
	if len(differs) > 0 {
		c.Differs, c.Answer = differs[0], "INVALID_RECORD"
	}
	return c
}

// recordCases lie about records.
func recordCases(codec compress.Codec) []Case {
	plain, single := plainRows(3), plainRows(1)
	name := func(s string) string { return fmt.Sprintf("%v: %s", codec, s) }
	lying := func(s string, b []byte) Case {
		if codec == compress.None {
			return one(name(s), Plain, b)
		}
		return one(name(s), Plain, b, lengths)
	}
	long := one(name("a varint of six bytes"), Plain, packed(codec, 1, append([]byte{single[0] | 0x80, 0x80, 0x80, 0x80, 0x80, 0}, single[1:]...)))
	if codec == compress.None {
		long.Differs, long.Answer = varints, "INVALID_RECORD"
	}
	return []Case{
		one(name("good"), Plain, batch(codec, rows(3))),
		one(name("one record more than said"), Plain, packed(codec, 2, plain)),
		one(name("one record fewer than said"), Plain, packed(codec, 4, plain)),
		one(name("no records"), Plain, packed(codec, 1, nil)),
		one(name("a byte after the records"), Plain, packed(codec, 3, append(bytes.Clone(plain), 0))),
		one(name("two records with delta 0"), Plain, packed(codec, 2, append(bytes.Clone(single), single...)), deltas),
		one(name("a first delta of 1"), Plain, packed(codec, 1, patched(single, 3, 2)), deltas),
		lying("a length one too high", packed(codec, 1, patched(single, 0, 2))),
		lying("a length one too low", packed(codec, 1, patched(single, 0, 0xfe))),
		one(name("a key beyond the record"), Plain, packed(codec, 1, patched(single, 4, 120))),
		one(name("a key of length -2"), Plain, packed(codec, 1, []byte{2 * 7, 0, 0, 0, 3, 2, 'v', 0})),
		one(name("-1 headers"), Plain, packed(codec, 1, patched(single, len(single)-1, 1))),
		one(name("headers that are not there"), Plain, packed(codec, 1, patched(single, len(single)-1, 20))),
		one(name("a header without a key"), Plain, packed(codec, 1, []byte{2 * 8, 0, 0, 0, 1, 1, 2, 1, 1})),
		one(name("a header without a value"), Plain, packed(codec, 1, []byte{2 * 9, 0, 0, 0, 1, 1, 2, 2, 'k', 1})),
		long,
		one(name("attributes of a record"), Plain, packed(codec, 1, patched(single, 1, 9))),
		one(name("a max timestamp too high"), Plain, batch(codec, rows(3), put64(35, now+99))),
		one(name("a max timestamp too low"), Plain, batch(codec, rows(3), put64(35, now-99))),
		one(name("a max timestamp of -1"), Plain, batch(codec, rows(3), put64(35, -1))),
	}
}

// configuredCases depend on the topic.
func configuredCases(codec compress.Codec) []Case {
	name := func(s string) string { return fmt.Sprintf("%v: %s", codec, s) }
	const day = 86_400_000
	at := func(keyless int, timestamps ...int64) []record.Record {
		records := rows(len(timestamps))
		for i := range records {
			records[i].Timestamp = timestamps[i]
			if i < keyless {
				records[i].Key = nil
			}
		}
		return records
	}
	stamp := func(millis int64, records []record.Record) []byte {
		return batch(codec, records, put64(35, millis), bits(8))
	}
	return []Case{
		one(name("compacted, no keys in two"), Compacted, batch(codec, at(2, now, now, now))),
		one(name("compacted, no key and a timestamp far ahead"), Compacted, batch(codec, at(1, now, now+day))),
		one(name("compacted, keyed"), Compacted, batch(codec, rows(2))),
		one(name("timestamps far ahead in two"), Plain, batch(codec, at(0, now+day, now, now+2*day))),
		one(name("timestamps far behind"), Plain, batch(codec, at(0, 5, 0, now))),
		one(name("timestamps -1"), Plain, batch(codec, at(0, -1, -1))),
		one(name("timestamp -1 among others"), Plain, batch(codec, at(0, now, -1))),
		one(name("timestamps below -1"), Plain, batch(codec, at(0, -5, -2))),
		one(name("the least timestamp"), Plain, batch(codec, at(0, -1<<63))),
		{Name: name("LogAppendTime bit"), Batches: [][]byte{stamp(now, rows(2))}, Differs: claimed, Answer: "NONE records[] end=NONE:2 largest=NONE:1@now+1"},
		one(name("LogAppendTime bit, far ahead"), Plain, stamp(now+day, rows(2))),
		one(name("LogAppendTime bit, no timestamp"), Plain, stamp(-1, rows(2))),
		one(name("LogAppendTime topic, good"), LogAppendTime, batch(codec, rows(2))),
		one(name("LogAppendTime topic, far ahead"), LogAppendTime, batch(codec, at(0, now+day))),
		one(name("LogAppendTime topic, LogAppendTime bit"), LogAppendTime, stamp(now, rows(2))),
	}
}

// payloadCases are not what the codec writes.
func payloadCases(codec compress.Codec) []Case {
	good := batch(codec, rows(3))
	payload := good[record.HeaderBytes:]
	name := func(s string) string { return fmt.Sprintf("%v: %s", codec, s) }
	trailing := one(name("bytes after the compressed data"), Plain, of(codec, 3, append(bytes.Clone(payload), "more"...)))
	trailing.Differs, trailing.Answer = compressed, "INVALID_RECORD"
	if codec == compress.Gzip || codec == compress.LZ4 {
		trailing.Differs = leftover
	}
	empty := one(name("no payload"), Plain, of(codec, 3, nil))
	if codec != compress.Zstd {
		empty.Differs, empty.Answer = compressed, "INVALID_RECORD"
	}
	damaged := one(name("a damaged payload"), Plain, of(codec, 3, patched(payload, len(payload)/2, 0x55)))
	switch codec {
	case compress.Gzip, compress.Zstd:
		damaged.Differs, damaged.Answer = compressed, "INVALID_RECORD"
	case compress.LZ4:
		damaged.Differs, damaged.Answer = contentSum, "INVALID_RECORD"
	}
	return []Case{
		one(name("plain records"), Plain, of(codec, 3, plainRows(3)), compressed),
		empty,
		one(name("a cut payload"), Plain, of(codec, 3, payload[:len(payload)-9]), compressed),
		damaged,
		trailing,
	}
}

// framingCases are the forms that a codec's data may have.
func framingCases() []Case {
	plain := plainRows(3)
	var independent, linked bytes.Buffer
	frame := func(out *bytes.Buffer, options ...lz4.Option) []byte {
		w := lz4.NewWriter(out)
		if err := w.Apply(options...); err != nil {
			panic(err)
		}
		if _, err := w.Write(plain); err != nil {
			panic(err)
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
		return out.Bytes()
	}
	sums := frame(&independent, lz4.ChecksumOption(true), lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(plain))))
	dependent := patched(frame(&linked), 4, 0xe0) // the descriptor's checksum is wrong then, too
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err)
	}
	twice := func(codec compress.Codec) []byte {
		first, _ := compress.Compress(codec, nil, plain[:20])
		all, _ := compress.Compress(codec, first, plain[20:])
		return of(codec, 3, all)
	}
	return []Case{
		one("snappy: one raw block", Plain, of(compress.Snappy, 3, snappy.Encode(nil, plain))),
		one("lz4: all checksums", Plain, of(compress.LZ4, 3, sums)),
		one("lz4: dependent blocks", Plain, of(compress.LZ4, 3, dependent), compressed),
		one("zstd: a checksum", Plain, of(compress.Zstd, 3, encoder.EncodeAll(plain, nil))),
		one("zstd: two frames", Plain, twice(compress.Zstd)),
		one("gzip: two members", Plain, twice(compress.Gzip)),
		one("lz4: two frames", Plain, twice(compress.LZ4)),
	}
}

// headerCases are in a batch's header, or beside the batch.
func headerCases() []Case {
	good := batch(compress.None, rows(2))
	unsealed := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	return []Case{
		one("no bytes", Plain, []byte{}),
		one("a flipped bit", Plain, patched(good, len(good)-2, 1)),
		one("magic 1", Plain, unsealed(func(b []byte) { b[magicAt] = 1 })),
		one("magic 3", Plain, unsealed(func(b []byte) { b[magicAt] = 3 })),
		{Name: "codec 5", Batches: [][]byte{batch(compress.None, rows(2), bits(5))}, Differs: unknown, Answer: "UNSUPPORTED_COMPRESSION_TYPE"},
		one("base offset 5", Plain, batch(compress.None, rows(2), put64(0, 5))),
		one("a count of 0", Plain, batch(compress.None, rows(2), put32(countAt, 0))),
		one("a count of -1", Plain, batch(compress.None, rows(2), put32(countAt, -1))),
		one("count and last delta differ", Plain, batch(compress.None, rows(2), put32(countAt, 1))),
		one("a last delta of -1", Plain, batch(compress.None, rows(2), put32(deltaAt, -1))),
		one("control", Plain, batch(compress.None, rows(1), bits(32))),
		one("unused attribute bits", Plain, batch(compress.None, rows(1), bits(0x40|0x1000))),
		one("producer id -2", Plain, batch(compress.None, rows(1), put64(producerAt, -2))),
		one("a producer without an epoch", Plain, batch(compress.None, rows(1), put64(producerAt, 7), put32(sequenceAt, 0))),
		one("a producer with epoch -2", Plain, batch(compress.None, rows(1), put64(producerAt, 7), put16(epochAt, -2), put32(sequenceAt, 0))),
		one("a producer without a sequence", Plain, batch(compress.None, rows(1), put64(producerAt, 7), put16(epochAt, 0))),
		one("an idempotent producer", Plain, batch(compress.None, rows(1), put64(producerAt, 7), put16(epochAt, 0), put32(sequenceAt, 0))),
		one("one byte after the batch", Plain, append(bytes.Clone(good), 0)),
		one("twenty zeros after the batch", Plain, append(bytes.Clone(good), make([]byte, 20)...)),
		one("half a batch after the batch", Plain, append(bytes.Clone(good), good[:len(good)-5]...)),
		one("two batches", Plain, append(bytes.Clone(good), good...)),
		{Name: "a partition twice in the request", Batches: [][]byte{good, batch(compress.None, rows(3))}},
	}
}
