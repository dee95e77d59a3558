package compress_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"

	"weir/core/compress"
)

var codecs = []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}

func TestEveryCodecGivesBackWhatItTook(t *testing.T) {
	for _, c := range codecs {
		for _, src := range [][]byte{{}, []byte("a"), bytes.Repeat([]byte("weir "), 50_000), make([]byte, 1<<20)} {
			packed, err := compress.Compress(c, []byte("head"), src)
			if err != nil {
				t.Fatalf("%v: %v", c, err)
			}
			if !bytes.HasPrefix(packed, []byte("head")) {
				t.Fatalf("%v does not append", c)
			}
			got, err := compress.Decompress(c, packed[4:], len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%v: %d bytes came back as %d (%v)", c, len(src), len(got), err)
			}
		}
	}
}

func TestABombIsRefusedAtTheLimit(t *testing.T) {
	bomb := make([]byte, 1<<20)
	for _, c := range codecs {
		packed, err := compress.Compress(c, nil, bomb)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{0, 1, 4096, len(bomb) - 1} {
			if _, err := compress.Decompress(c, packed, limit); !errors.Is(err, compress.ErrTooLarge) {
				t.Errorf("%v with limit %d: %v, want ErrTooLarge", c, limit, err)
			}
		}
	}
}

func TestRawSnappyBlocksAreRead(t *testing.T) {
	src := []byte(strings.Repeat("raw", 100))
	got, err := compress.Decompress(compress.Snappy, snappy.Encode(nil, src), 300)
	if err != nil || !bytes.Equal(got, src) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
}

func TestUnknownCodecs(t *testing.T) {
	if _, err := compress.Decompress(5, nil, 1); !errors.Is(err, compress.ErrUnknownCodec) {
		t.Fatalf("decompress: %v", err)
	}
	if _, err := compress.Compress(7, nil, nil); !errors.Is(err, compress.ErrUnknownCodec) {
		t.Fatalf("compress: %v", err)
	}
}

// BenchmarkOpen states what decompressing costs: 64 KiB of log lines, as a batch of a small producer.
func BenchmarkOpen(b *testing.B) {
	plain := logLines(64 << 10)
	for _, c := range codecs[1:] {
		packed, err := compress.Compress(c, nil, plain)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%v/ratio=%.1f", c, float64(len(plain))/float64(len(packed))), func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if err := readAll(c, packed, len(plain)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(plain)), "ns/byte")
		})
	}
}

func readAll(c compress.Codec, packed []byte, limit int) error {
	s, err := compress.Open(c, packed, limit)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		switch _, err := s.Next(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// logLines is n bytes of what a service logs.
func logLines(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var words []string
	for range 2000 {
		word := make([]byte, 3+r.IntN(8))
		for i := range word {
			word[i] = byte('a' + r.IntN(26))
		}
		words = append(words, string(word))
	}
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"level":"info","service":"checkout","trace":"%016x","user":%d,"latency_us":%d,"message":"`, r.Uint64(), r.IntN(1e7), r.IntN(1e5))
		for range 12 {
			b = append(append(b, words[r.IntN(len(words))]...), ' ')
		}
		b = append(b, "\"}\n"...)
	}
	return b[:n]
}

func FuzzDecompress(f *testing.F) {
	for _, c := range codecs {
		packed, err := compress.Compress(c, nil, []byte(strings.Repeat("seed ", 100)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(c), packed)
	}
	f.Fuzz(func(t *testing.T, c uint8, b []byte) {
		const limit = 64 << 10
		if out, err := compress.Decompress(compress.Codec(c), b, limit); err == nil && len(out) > limit {
			t.Fatalf("%d bytes passed a limit of %d", len(out), limit)
		}
	})
}
