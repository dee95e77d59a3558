package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/record"
)

func sample(n int) []record.Record {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{Timestamp: 1000 + int64(i%7), Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat([]byte{byte(i)}, i)}
	}
	return records
}

func TestBuiltBatchesCheckAndReadBackInEveryCodec(t *testing.T) {
	for codec := compress.None; codec.Valid(); codec++ {
		builder := record.Builder{BaseOffset: 40, LeaderEpoch: 3, Codec: codec, ProducerID: 9, ProducerEpoch: 2, BaseSequence: 5}
		want := sample(100)
		b := builder.AppendBatch(nil, want)
		h, err := record.Check(b)
		if err != nil {
			t.Fatalf("%v: %v", codec, err)
		}
		if h.BaseOffset != 40 || h.NextOffset() != 140 || h.MaxTimestamp != 1006 || h.LastSequence() != 104 || h.Codec() != codec || h.Bytes != len(b) {
			t.Fatalf("%v: header %+v", codec, h)
		}
		i := 0
		err = record.Each(b, 1<<20, func(r record.Record) bool {
			if r.Offset != 40+int64(i) || r.Timestamp != want[i].Timestamp || !bytes.Equal(r.Key, want[i].Key) || !bytes.Equal(r.Value, want[i].Value) {
				t.Fatalf("%v: record %d is %+v", codec, i, r)
			}
			i++
			return true
		})
		if err != nil || i != len(want) {
			t.Fatalf("%v: %d records, %v", codec, i, err)
		}
	}
}

func TestHeaderAgreesWithAnotherDecoder(t *testing.T) {
	b := (&record.Builder{BaseOffset: 7, LeaderEpoch: 1, ProducerID: 11, ProducerEpoch: 4, BaseSequence: 8}).AppendBatch(nil, sample(3))
	var other kmsg.RecordBatch
	if err := other.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	h, err := record.Check(b)
	if err != nil {
		t.Fatal(err)
	}
	if other.FirstOffset != h.BaseOffset || other.ProducerID != h.ProducerID || other.ProducerEpoch != h.ProducerEpoch ||
		other.FirstSequence != h.BaseSequence || other.NumRecords != h.Records || other.MaxTimestamp != h.MaxTimestamp ||
		uint32(other.CRC) != h.CRC || other.PartitionLeaderEpoch != h.LeaderEpoch || int(other.Length)+12 != h.Bytes {
		t.Fatalf("kmsg reads %+v, record reads %+v", other, h)
	}
}

func TestCheckTellsOldFormatsFromCorruption(t *testing.T) {
	good := record.AppendBatch(nil, sample(4))
	mutate := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	resealed := func(f func(b []byte)) []byte {
		return mutate(func(b []byte) { f(b); record.Seal(b) })
	}
	put32 := binary.BigEndian.PutUint32
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"good", good, nil},
		{"empty", nil, record.ErrTruncated},
		{"cut in the length", good[:10], record.ErrTruncated},
		{"cut in the header", good[:60], record.ErrTruncated},
		{"cut in the records", good[:len(good)-1], record.ErrTruncated},
		{"one byte more", append(bytes.Clone(good), 0), nil},
		{"the beginning of a second batch", append(bytes.Clone(good), good[:len(good)-1]...), nil},
		{"a length that is none after it", append(bytes.Clone(good), make([]byte, 12)...), record.ErrCorrupt},
		{"magic 3 after it", append(bytes.Clone(good), "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\x00\x00\x00\x00\x03"...), record.ErrCorrupt},
		{"two batches", append(bytes.Clone(good), good...), record.ErrInvalid},
		{"magic 0", mutate(func(b []byte) { b[16] = 0 }), record.ErrOldMagic},
		{"magic 1", mutate(func(b []byte) { b[16] = 1 }), record.ErrOldMagic},
		{"magic 3", mutate(func(b []byte) { b[16] = 3 }), record.ErrCorrupt},
		{"negative length", mutate(func(b []byte) { put32(b[8:], 1<<31) }), record.ErrCorrupt},
		{"length inside the header", mutate(func(b []byte) { put32(b[8:], 40) }), record.ErrCorrupt},
		{"huge length", mutate(func(b []byte) { put32(b[8:], 1<<31-1) }), record.ErrTruncated},
		{"flipped payload bit", mutate(func(b []byte) { b[len(b)-1] ^= 1 }), record.ErrCorrupt},
		{"flipped attribute bit", mutate(func(b []byte) { b[22] ^= 8 }), record.ErrCorrupt},
		{"codec 5", resealed(func(b []byte) { b[22] = 5 }), record.ErrCodec},
		{"count too high", resealed(func(b []byte) { put32(b[57:], 5) }), record.ErrInvalid},
		{"count zero", resealed(func(b []byte) { put32(b[57:], 0); put32(b[23:], 0xffffffff) }), record.ErrInvalid},
		{"more records than bytes", resealed(func(b []byte) { put32(b[57:], 1<<30); put32(b[23:], 1<<30-1) }), record.ErrInvalid},
		{"producer without sequence", resealed(func(b []byte) { binary.BigEndian.PutUint64(b[43:], 5) }), record.ErrInvalid},
		{"producer id -2", resealed(func(b []byte) { binary.BigEndian.PutUint64(b[43:], 1<<64-2) }), nil},
	} {
		if _, err := record.Check(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestPatchNeedsNoNewChecksum(t *testing.T) {
	b := record.AppendBatch(nil, sample(2))
	record.Patch(b, 1<<40, 77)
	h, err := record.Check(b)
	if err != nil || h.BaseOffset != 1<<40 || h.LeaderEpoch != 77 {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestStampLogAppendTime(t *testing.T) {
	b := record.AppendBatch(nil, sample(3))
	record.StampLogAppendTime(b, 5_000)
	h, err := record.Check(b)
	if err != nil || !h.LogAppendTime() || h.MaxTimestamp != 5_000 {
		t.Fatalf("%+v, %v", h, err)
	}
	if err := record.Each(b, 0, func(r record.Record) bool {
		if r.Timestamp != 5_000 {
			t.Errorf("record %d has timestamp %d", r.Offset, r.Timestamp)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

func TestSequencesWrap(t *testing.T) {
	for _, c := range []struct{ sequence, delta, want int32 }{{0, 4, 4}, {1<<31 - 1, 1, 0}, {1<<31 - 3, 5, 2}, {5, -1, 4}, {0, -1, 1<<31 - 1}} {
		if got := record.AddSequence(c.sequence, c.delta); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.sequence, c.delta, got, c.want)
		}
	}
}

func TestEachStopsAtTheLimit(t *testing.T) {
	b := (&record.Builder{Codec: compress.Zstd, ProducerID: -1}).AppendBatch(nil, []record.Record{{Value: make([]byte, 1<<20)}})
	if err := record.Each(b, 1<<10, func(record.Record) bool { return true }); !errors.Is(err, record.ErrTooLarge) {
		t.Fatalf("%v, want ErrTooLarge", err)
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	b := record.AppendBatch(nil, sample(50))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := record.Check(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Check allocates %v times", n)
	}
}

func FuzzCheck(f *testing.F) {
	for codec := compress.None; codec.Valid(); codec++ {
		f.Add((&record.Builder{Codec: codec, ProducerID: 1}).AppendBatch(nil, sample(5)))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := record.Check(b)
		if err == nil && (h.Bytes != len(b) || h.NextOffset()-h.BaseOffset != int64(h.Records)) {
			t.Fatalf("accepted %+v of %d bytes", h, len(b))
		}
	})
}

// FuzzEach seals what it is given first, so that the fuzzer gets past the checksum.
func FuzzEach(f *testing.F) {
	for codec := compress.None; codec.Valid(); codec++ {
		f.Add((&record.Builder{Codec: codec, ProducerID: 1}).AppendBatch(nil, sample(5)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= record.HeaderBytes {
			record.Seal(b)
		}
		n := int32(0)
		err := record.Each(b, 1<<20, func(record.Record) bool { n++; return true })
		if err != nil {
			return
		}
		if h, err := record.ReadHeader(b); err != nil || h.Records != n {
			t.Fatalf("%d records of %+v, %v", n, h, err)
		}
	})
}
