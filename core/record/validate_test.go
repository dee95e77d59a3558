package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"

	"weir/core/compress"
	"weir/core/record"
)

const testLimit = 1 << 20

// reseal writes length and checksum of a batch whose records were changed.
func reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	record.Seal(b)
	return b
}

// withRecords makes a batch of n records out of their encoding.
func withRecords(codec compress.Codec, n int32, plain []byte) []byte {
	b := record.AppendBatch(nil, []record.Record{{Timestamp: 1000}})[:record.HeaderBytes]
	b, err := compress.Compress(codec, b, plain)
	if err != nil {
		panic(err)
	}
	b[22] = byte(codec)
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	return reseal(b)
}

// encoded is the encoding of records, uncompressed.
func encoded(records []record.Record) []byte {
	return record.AppendBatch(nil, records)[record.HeaderBytes:]
}

func validate(b []byte) (record.Facts, error) {
	h, err := record.Check(b)
	if err != nil {
		return record.Facts{}, err
	}
	return record.Validate(&h, b, testLimit)
}

func TestValidateTellsWhatTheRecordsSay(t *testing.T) {
	records := sample(100)
	records[6].Key = nil
	records[50].Timestamp = record.NoTimestamp
	for codec := compress.None; codec.Valid(); codec++ {
		b := (&record.Builder{Codec: codec, ProducerID: -1}).AppendBatch(nil, records)
		facts, err := validate(b)
		require.NoError(t, err, codec)
		require.Equal(t, record.Facts{
			MinTimestamp: 1000, MaxTimestamp: 1006, Keyless: 6, RecordBytesMax: facts.RecordBytesMax, Bytes: len(encoded(records)),
		}, facts, codec)
		require.Greater(t, facts.RecordBytesMax, 99)
		require.Less(t, facts.RecordBytesMax, 99+20)
	}
}

func TestRecordsWithoutTimestamps(t *testing.T) {
	facts, err := validate(record.AppendBatch(nil, []record.Record{{Timestamp: -1}, {Timestamp: -1}}))
	require.NoError(t, err)
	require.EqualValues(t, record.NoTimestamp, facts.MinTimestamp)
	require.EqualValues(t, record.NoTimestamp, facts.MaxTimestamp)
}

// Every batch that would give readers something else than its header promises is refused, in every
// codec.
func TestPoisonedBatchesAreRefused(t *testing.T) {
	plain := encoded(sample(3))
	one := encoded(sample(1))
	lies := func(at int, by byte) []byte {
		b := bytes.Clone(one)
		b[at] += by
		return b
	}
	for codec := compress.None; codec.Valid(); codec++ {
		for name, b := range map[string][]byte{
			"a record too many":          withRecords(codec, 2, plain),
			"a record too few":           withRecords(codec, 4, plain),
			"no records":                 withRecords(codec, 1, nil),
			"a byte after the last":      withRecords(codec, 3, append(bytes.Clone(plain), 0)),
			"a second first record":      withRecords(codec, 2, append(bytes.Clone(one), one...)),
			"offset deltas from one":     withRecords(codec, 1, lies(3, 2)),
			"a record longer than said":  withRecords(codec, 1, lies(0, 2)),
			"a key beyond the record":    withRecords(codec, 1, lies(4, 2)),
			"a header count of -1":       withRecords(codec, 1, lies(len(one)-1, 1)),
			"headers that are not there": withRecords(codec, 1, lies(len(one)-1, 200)),
			"a varint of six bytes":      withRecords(codec, 1, append([]byte{0x80 | one[0], 0x80, 0x80, 0x80, 0x80, 0}, one[1:]...)),
		} {
			_, err := validate(b)
			require.ErrorIs(t, err, record.ErrInvalid, "%v: %s", codec, name)
		}
	}
}

func TestWhatDoesNotDecompressIsRefused(t *testing.T) {
	plain := encoded(sample(3))
	for codec := compress.Gzip; codec.Valid(); codec++ {
		good := withRecords(codec, 3, plain)
		under := append(bytes.Clone(good[:record.HeaderBytes]), plain...)
		cut := bytes.Clone(good[:len(good)-3])
		flipped := bytes.Clone(good)
		flipped[record.HeaderBytes+1] ^= 0x40
		more := append(bytes.Clone(good), "more"...)
		for name, b := range map[string][]byte{
			"plain bytes": under, "cut off": cut, "a flipped bit": flipped, "bytes after the compressed data": more,
		} {
			_, err := validate(reseal(b))
			require.Error(t, err, "%v: %s", codec, name)
			if name != "plain bytes" && name != "cut off" {
				require.True(t, errors.Is(err, record.ErrCompressed) || errors.Is(err, record.ErrInvalid), "%v: %s: %v", codec, name, err)
			}
		}
	}
}

func TestValidateStopsAtTheLimit(t *testing.T) {
	for codec := compress.None; codec.Valid(); codec++ {
		b := (&record.Builder{Codec: codec, ProducerID: -1}).AppendBatch(nil, []record.Record{{Value: make([]byte, 4<<20)}})
		h, err := record.Check(b)
		require.NoError(t, err)
		_, err = record.Validate(&h, b, 1<<20)
		require.ErrorIs(t, err, record.ErrTooLarge, codec)
		facts, err := record.Validate(&h, b, 5<<20)
		require.NoError(t, err, codec)
		require.Greater(t, facts.Bytes, 4<<20)
	}
}

// A batch's memory does not depend on what it decompresses to.
func TestABombCostsNoMemory(t *testing.T) {
	for _, codec := range []compress.Codec{compress.Gzip, compress.LZ4, compress.Zstd} {
		b := (&record.Builder{Codec: codec, ProducerID: -1}).AppendBatch(nil, []record.Record{{Value: make([]byte, 64<<20)}})
		h, err := record.Check(b)
		require.NoError(t, err)
		open := func() {
			_, err := record.Validate(&h, b, 65<<20)
			require.NoError(t, err)
		}
		open()
		result := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				open()
			}
		})
		require.Less(t, result.AllocedBytesPerOp(), int64(20<<20), codec)
	}
}

// naive is the reference for Validate: it decompresses everything with the codecs' libraries and
// walks the bytes by index.
func naive(h *record.Header, b []byte) (record.Facts, error) {
	plain, err := naiveDecompress(h.Codec(), b[record.HeaderBytes:h.Bytes])
	if err != nil {
		return record.Facts{}, err
	}
	w := walk{b: plain}
	facts := record.Facts{Keyless: -1, MaxTimestamp: -1, MinTimestamp: -1, Bytes: len(plain)}
	for i := range int64(h.Records) {
		length := w.int(5)
		start := w.at
		w.at++
		timestamp := h.FirstTimestamp + w.int(10)
		if w.int(5) != i {
			w.bad = true
		}
		if key := w.skip(); key < 0 && facts.Keyless < 0 {
			facts.Keyless = int32(i)
		}
		w.skip()
		headers := w.int(5)
		if headers < 0 {
			w.bad = true
		}
		for ; headers > 0 && !w.bad; headers-- {
			if w.skip() < 0 {
				w.bad = true
			}
			w.skip()
		}
		if w.bad || int64(w.at-start) != length || w.at > len(plain) {
			return facts, errors.New("record")
		}
		if timestamp != -1 && (facts.MinTimestamp == -1 || timestamp < facts.MinTimestamp) {
			facts.MinTimestamp = timestamp
		}
		facts.MaxTimestamp = max(facts.MaxTimestamp, timestamp)
		facts.RecordBytesMax = max(facts.RecordBytesMax, int(length))
	}
	if w.at != len(plain) {
		return facts, errors.New("trailing bytes")
	}
	return facts, nil
}

type walk struct {
	b   []byte
	at  int
	bad bool
}

func (w *walk) int(bytesMax int) int64 {
	var v uint64
	for i := range bytesMax {
		if w.at < 0 || w.at >= len(w.b) {
			break
		}
		c := w.b[w.at]
		w.at++
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if bytesMax == 5 {
				return int64(int32(uint32(v)>>1) ^ -int32(v&1))
			}
			return int64(v>>1) ^ -int64(v&1)
		}
	}
	w.bad = true
	return 0
}

func (w *walk) skip() int64 {
	n := w.int(5)
	if n > int64(len(w.b)-w.at) {
		w.bad = true
		return 0
	}
	w.at += int(max(n, 0))
	return n
}

func naiveDecompress(codec compress.Codec, src []byte) ([]byte, error) {
	in := bytes.NewReader(src)
	read := func(r io.Reader, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		out, err := io.ReadAll(io.LimitReader(r, testLimit+1))
		if err == nil && (len(out) > testLimit || in.Len() > 0) {
			err = errors.New("too large, or bytes left over")
		}
		return out, err
	}
	switch codec {
	case compress.Gzip:
		return read(gzip.NewReader(in))
	case compress.LZ4:
		if len(src) < 5 || !bytes.HasPrefix(src, []byte{4, 0x22, 0x4d, 0x18}) || src[4]&0xe3 != 0x60 {
			return nil, errors.New("not Kafka's lz4")
		}
		out, err := read(lz4.NewReader(in), nil)
		// The library goes on with a second frame.
		if again := bytes.Count(src, []byte{4, 0x22, 0x4d, 0x18}); err == nil && again > 1 {
			return out, errTwoFrames
		}
		return out, err
	case compress.Zstd:
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return read(d, nil)
	case compress.Snappy:
		return naiveSnappy(src)
	}
	return src, nil
}

// errTwoFrames: the reference cannot say where the first frame ends.
var errTwoFrames = errors.New("maybe two frames")

func naiveSnappy(src []byte) (out []byte, err error) {
	if len(src) < 16 || !strings.HasPrefix(string(src), "\x82SNAPPY\x00") {
		return snappy.Decode(nil, src)
	}
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 || int(binary.BigEndian.Uint32(src)) > len(src)-4 {
			return nil, errors.New("cut off")
		}
		n := 4 + int(binary.BigEndian.Uint32(src))
		block, err := snappy.Decode(nil, src[4:n])
		if err != nil {
			return nil, err
		}
		out, src = append(out, block...), src[n:]
	}
	return out, nil
}

// FuzzValidate compares Validate with the reference. The input is a payload as it would travel, or
// records to be compressed; the header's count and codec are the fuzzer's too.
func FuzzValidate(f *testing.F) {
	plain := encoded(sample(5))
	for codec := compress.None; codec.Valid(); codec++ {
		packed, err := compress.Compress(codec, nil, plain)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(codec), int32(5), false, packed)
		f.Add(uint8(codec), int32(5), true, plain)
		f.Add(uint8(codec), int32(4), true, plain)
	}
	f.Fuzz(func(t *testing.T, c uint8, records int32, pack bool, payload []byte) {
		codec := compress.Codec(c % 5)
		if records <= 0 || len(payload) > testLimit {
			return
		}
		b := withRecords(compress.None, records, payload)
		if pack {
			b = withRecords(codec, records, payload)
		} else {
			b[22] = byte(codec)
			record.Seal(b)
		}
		h, err := record.ReadHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := record.Validate(&h, b, testLimit)
		want, reference := naive(&h, b)
		if codec == compress.Snappy && !pack && err != nil {
			return // the reference's library reads S2 too
		}
		if errors.Is(reference, errTwoFrames) {
			return
		}
		if (err == nil) != (reference == nil) {
			t.Fatalf("%v: Validate says %v, the reference %v", codec, err, reference)
		}
		if err == nil && got != want {
			t.Fatalf("%v: %+v, the reference says %+v", codec, got, want)
		}
	})
}

// BenchmarkValidate states what opening a batch costs: MB/s are of records, decompressed.
func BenchmarkValidate(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var records []record.Record
	for bytes := 0; bytes < 256<<10; bytes += 1024 {
		records = append(records, record.Record{Timestamp: 1000, Value: logLines(r, 1024)})
	}
	for codec := compress.None; codec.Valid(); codec++ {
		batch := (&record.Builder{Codec: codec, ProducerID: -1}).AppendBatch(nil, records)
		h, err := record.Check(batch)
		if err != nil {
			b.Fatal(err)
		}
		facts, err := record.Validate(&h, batch, testLimit)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%v/ratio=%.1f", codec, float64(facts.Bytes)/float64(len(batch)-record.HeaderBytes)), func(b *testing.B) {
			b.SetBytes(int64(facts.Bytes))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := record.Validate(&h, batch, testLimit); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(facts.Bytes)*(1<<30)/1e9, "cpu-s/GiB")
		})
	}
}

// logLines is n bytes of what a service logs.
func logLines(r *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"level":"info","service":"checkout","trace":"%016x%016x","user":%d,"path":"/api/v1/orders/%d","status":200,"latency_us":%d}`+"\n",
			r.Uint64(), r.Uint64(), r.IntN(1e7), r.IntN(1e8), r.IntN(100000))
	}
	return b[:n]
}
