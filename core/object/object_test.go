package object

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/core/record"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// batch is a valid batch of the given number of records at base.
func batch(base int64, records, bytes int, timestamp int64) Batch {
	list := make([]record.Record, records)
	for i := range list {
		list[i] = record.Record{Timestamp: timestamp, Value: filled(bytes/records, byte(base)+byte(i))}
	}
	p := record.Builder{BaseOffset: base, LeaderEpoch: 3, ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1}
	return Batch{Data: p.AppendBatch(nil, list), Base: base, End: base + int64(records), MaxTimestamp: timestamp}
}

func filled(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func sample() (Header, []Part) {
	h := Header{ID: 0x1234, BrokerEpoch: 9, Nonce: Nonce{1, 2, 3, 15: 16}, Cluster: "4L6g3nShT-eMCtK--X86sw"}
	return h, []Part{
		{Stream: 3, LeaderEpoch: 1, Batches: []Batch{batch(10, 2, 20, 700), batch(12, 1, 10, 900), batch(13, 3, 90, 800)}},
		{Stream: 7, LeaderEpoch: 2, Batches: []Batch{batch(0, 1, 5, -1)}},
	}
}

func TestGoldenObject(t *testing.T) {
	h, parts := sample()
	got := hex.Dump(slices.Concat(Build(h, parts, 200).Body...))
	const name = "testdata/object-v1.hex"
	if *rewrite {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || got != string(want) {
		t.Fatalf("%v: version 1 is not what it was:\n%s", err, got)
	}
}

// check reads an object back by nothing but its bytes, and compares it with what it was built of.
func check(t testing.TB, data []byte, built *Built, parts []Part) {
	t.Helper()
	h, err := ParseHeader(data)
	if err != nil || h != built.Header || h.Bytes != int64(len(data)) {
		t.Fatalf("header %+v, %v; built %+v", h, err, built.Header)
	}
	infos, err := ParseFooter(data[h.Footer:], &h)
	if err != nil || !slices.Equal(infos, built.Parts) {
		t.Fatalf("footer %+v, %v; built %+v", infos, err, built.Parts)
	}
	for i := range infos {
		checkPart(t, data, &infos[i], &parts[i])
	}
}

func checkPart(t testing.TB, data []byte, info *PartInfo, part *Part) {
	t.Helper()
	index, err := ParseIndex(data[info.IndexPosition : info.IndexPosition+int64(info.IndexBytes)])
	if err != nil || index.Stream != part.Stream || index.LeaderEpoch != part.LeaderEpoch {
		t.Fatalf("index %+v, %v", index, err)
	}
	n := 0
	for i := range index.Blocks {
		k := &index.Blocks[i]
		err := k.Open(data[k.Position:k.Position+int64(k.Bytes)], func(h *record.Header, data []byte) {
			want := &part.Batches[n]
			if h.BaseOffset != want.Base || !bytes.Equal(data, want.Data) || h.MaxTimestamp > k.MaxTimestamp {
				t.Fatalf("batch %d of stream %d differs", n, part.Stream)
			}
			if at, ok := index.Find(want.End - 1); !ok || at != i {
				t.Fatalf("offset %d is found in block %d, not %d", want.End-1, at, i)
			}
			n++
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != len(part.Batches) {
		t.Fatalf("%d of %d batches", n, len(part.Batches))
	}
	if _, ok := index.Find(info.End); ok {
		t.Fatal("an offset beyond the end is found")
	}
	if _, ok := index.Find(info.Start - 1); ok {
		t.Fatal("an offset before the start is found")
	}
}

func TestWhatIsBuiltIsReadBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parts := make([]Part, rapid.IntRange(1, 5).Draw(rt, "parts"))
		for i := range parts {
			parts[i] = Part{Stream: uint64(i * 3), LeaderEpoch: int32(i)}
			base := rapid.Int64Range(0, 1<<40).Draw(rt, "base")
			for range rapid.IntRange(1, 20).Draw(rt, "batches") {
				b := batch(base, rapid.IntRange(1, 5).Draw(rt, "records"), rapid.IntRange(5, 2000).Draw(rt, "bytes"), rapid.Int64Range(-1, 1<<41).Draw(rt, "ts"))
				parts[i].Batches = append(parts[i].Batches, b)
				base = b.End
			}
		}
		h := Header{ID: rapid.Uint64().Draw(rt, "id"), Cluster: "c"}
		built := Build(h, parts, rapid.SampledFrom([]int{1, 1000, 10_000, math.MaxInt}).Draw(rt, "block"))
		check(t, slices.Concat(built.Body...), &built, parts)
	})
}

// TestBuiltSumsArePlainSums of the blocks' bytes, though no records are read for them.
func TestBuiltSumsArePlainSums(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var p Part
		for base := range rapid.Int64Range(1, 20).Draw(rt, "batches") {
			bytes := rapid.OneOf(rapid.IntRange(1, 3000), rapid.IntRange(1, 200_000)).Draw(rt, "bytes")
			p.Batches = append(p.Batches, batch(base, 1, bytes, 0))
		}
		built := Build(Header{}, []Part{p}, rapid.SampledFrom([]int{1, 10_000, 512 << 10}).Draw(rt, "block"))
		data, info := slices.Concat(built.Body...), built.Parts[0]
		index, err := ParseIndex(data[info.IndexPosition : info.IndexPosition+int64(info.IndexBytes)])
		if err != nil {
			rt.Fatal(err)
		}
		for i, k := range index.Blocks {
			if sum := crc32.Checksum(data[k.Position:k.Position+int64(k.Bytes)], castagnoli); sum != k.Sum {
				rt.Fatalf("block %d has the sum %08x, the index says %08x", i, sum, k.Sum)
			}
		}
	})
}

// TestBuildDoesNotHideDamage that a batch took in memory after its CRC was verified.
func TestBuildDoesNotHideDamage(t *testing.T) {
	good := batch(0, 1, 5000, 0)
	good.Data[4000] ^= 1
	built := Build(Header{}, []Part{{Batches: []Batch{good}}}, 1000)
	data, info := slices.Concat(built.Body...), built.Parts[0]
	index, _ := ParseIndex(data[info.IndexPosition : info.IndexPosition+int64(info.IndexBytes)])
	k := index.Blocks[0]
	if err := k.Open(data[k.Position:k.Position+int64(k.Bytes)], func(*record.Header, []byte) {}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}

func TestBuildCopiesNoBatch(t *testing.T) {
	h, parts := sample()
	built := Build(h, parts, 1000)
	if len(built.Body) != 2+4 || &built.Body[1][0] != &parts[0].Batches[0].Data[0] {
		t.Fatal("a batch was copied")
	}
}

func TestBuildRefusesAGap(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("an object with a gap was built")
		}
	}()
	Build(Header{}, []Part{{Batches: []Batch{batch(0, 1, 5, 0), batch(2, 1, 5, 0)}}}, 1000)
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	h, parts := sample()
	built := Build(h, parts, 200)
	good := slices.Concat(built.Body...)
	info := built.Parts[0]
	index, _ := ParseIndex(good[info.IndexPosition : info.IndexPosition+int64(info.IndexBytes)])
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		_, headErr := ParseHeader(bad)
		_, footErr := ParseFooter(bad[built.Header.Footer:], &built.Header)
		_, indexErr := ParseIndex(bad[info.IndexPosition : info.IndexPosition+int64(info.IndexBytes)])
		var blockErr error
		for _, k := range index.Blocks {
			blockErr = errors.Join(blockErr, k.Open(bad[k.Position:k.Position+int64(k.Bytes)], func(*record.Header, []byte) {}))
		}
		other := built.Parts[1]
		_, otherErr := ParseIndex(bad[other.IndexPosition : other.IndexPosition+int64(other.IndexBytes)])
		inOther := int64(i) >= other.FirstBlock && int64(i) < other.FirstBlock+other.Bytes
		if headErr == nil && footErr == nil && indexErr == nil && blockErr == nil && otherErr == nil && !inOther {
			t.Fatalf("byte %d was changed, and nobody noticed", i)
		}
	}
}

func TestAnotherVersionIsNamed(t *testing.T) {
	h, parts := sample()
	data := slices.Concat(Build(h, parts, 200).Body...)
	order.PutUint32(data[8:], 2)
	order.PutUint32(data[atHeaderSum:], sumWithout(data[:HeaderBytes], atHeaderSum))
	if _, err := ParseHeader(data); !errors.Is(err, ErrVersion) {
		t.Fatalf("version 2: %v", err)
	}
}

func TestKeys(t *testing.T) {
	key := Key("4L6g3nShT-eMCtK--X86sw", 0xbeef)
	if key != "4L6g3nShT-eMCtK--X86sw/data/000000000000beef" || !strings.HasPrefix(key, Prefix("4L6g3nShT-eMCtK--X86sw")) {
		t.Fatal(key)
	}
	for _, id := range []uint64{0, 1, 0xbeef, math.MaxUint64} {
		if cluster, got, ok := ParseKey(Key("c", id)); !ok || got != id || cluster != "c" {
			t.Fatalf("%d parses as %q, %d, %v", id, cluster, got, ok)
		}
	}
	for _, bad := range []string{"", "c/data/", "c/data/123", "c/data/000000000000BEEF", "c/other/000000000000beef", "c/data/000000000000beef0"} {
		if _, _, ok := ParseKey(bad); ok {
			t.Fatalf("%q parses", bad)
		}
	}
	if Key("c", 0xff) >= Key("c", 0x100) {
		t.Fatal("keys do not sort like ids")
	}
}

func FuzzParse(f *testing.F) {
	h, parts := sample()
	built := Build(h, parts, 200)
	data := slices.Concat(built.Body...)
	f.Add(data[:HeaderBytes])
	f.Add(data[built.Header.Footer:])
	for _, p := range built.Parts {
		f.Add(data[p.IndexPosition : p.IndexPosition+int64(p.IndexBytes)])
	}
	f.Add(data)
	withTransactions := Build(h, transactional(), 200)
	p := withTransactions.Parts[0]
	f.Add(slices.Concat(withTransactions.Body...)[p.IndexPosition : p.IndexPosition+int64(p.IndexBytes)])
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHeader(b); err == nil && h.Footer > h.Bytes {
			t.Fatal("a footer beyond the end")
		}
		if x, err := ParseIndex(b); err == nil && x.Transactions.Len() == 0 && !bytes.Equal(x.append(nil)[indexHeadBytes:], b[indexHeadBytes:]) {
			t.Fatal("an index that does not encode to itself")
		}
		for _, fix := range []func([]byte){func([]byte) {}, resum} {
			c := slices.Clone(b)
			fix(c)
			_, _ = ParseFooter(c, &built.Header)
			_, _ = ParseIndex(c)
		}
		k := Block{Bytes: int32(len(b)), First: 0, End: 1, Sum: sumWithout(append([]byte{0, 0, 0, 0}, b...), 0)}
		_ = k.Open(b, func(*record.Header, []byte) {})
	})
}

// resum makes the checksum right, so that what lies behind it is tried.
func resum(b []byte) {
	if len(b) >= indexHeadBytes {
		order.PutUint32(b[atSum:], sumWithout(b, atSum))
	}
}

func BenchmarkBuild(b *testing.B) {
	var parts []Part
	for i := range 16 {
		p := Part{Stream: uint64(i)}
		for j := range int64(64) {
			p.Batches = append(p.Batches, batch(j, 1, 16<<10, 0))
		}
		parts = append(parts, p)
	}
	b.SetBytes(16 * 64 * 16 << 10)
	b.ReportAllocs()
	for b.Loop() {
		Build(Header{}, parts, 512<<10)
	}
}

// A header whose sizes only fit each other because their difference wraps around says nothing of where the footer is.
func TestSizesInAHeaderDoNotWrap(t *testing.T) {
	footer := int64(footerHeadBytes + partEntryBytes)
	for _, at := range []int64{math.MaxInt64 - footer + 1, math.MaxInt64} {
		h := Header{Footer: at, Bytes: at + footer, Parts: 1}
		b := make([]byte, HeaderBytes)
		h.encode(b)
		if got, err := ParseHeader(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("a footer at %d of %d bytes is taken: %v", got.Footer, got.Bytes, err)
		}
	}
}
