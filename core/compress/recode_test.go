package compress_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/compress"
)

// Every codec and level recodes every other; what comes out is what went in, and never more than may come.
func TestRecode(t *testing.T) {
	for _, plain := range [][]byte{nil, []byte("short"), bytes.Repeat([]byte("some text that repeats, and goes on; "), 5000)} {
		for from := compress.None; from <= compress.Zstd; from++ {
			src, err := compress.Compress(from, nil, plain)
			require.NoError(t, err)
			for to := compress.None; to <= compress.Zstd; to++ {
				for _, level := range []int{1, 6, 9} {
					t.Run(fmt.Sprintf("%d bytes from %v to %v at %d", len(plain), from, to, level), func(t *testing.T) {
						target := compress.Target{Codec: to, Level: level}
						out, err := compress.Recode(target, []byte("head"), from, src, len(plain), 1<<20)
						require.NoError(t, err)
						require.Equal(t, "head", string(out[:4]))
						back, err := compress.Decompress(to, out[4:], len(plain))
						require.NoError(t, err)
						require.True(t, bytes.Equal(plain, back))
						again, err := compress.Recode(target, []byte("head"), from, src, len(plain), 1<<20)
						require.NoError(t, err)
						require.Equal(t, out, again)
						if size := len(out) - 4; size > 0 {
							_, err = compress.Recode(target, nil, from, src, len(plain), size-1)
							require.ErrorIs(t, err, compress.ErrTooLarge)
						}
					})
				}
			}
		}
	}
}

// An encoder that was used before gives the bytes that a new one gives.
func TestReusedEncodersLeaveNothingBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.SampledFrom([]int{1, 3, 7, 12}).Draw(t, "level")
		var plain [][]byte
		for range rapid.IntRange(1, 6).Draw(t, "payloads") {
			word := rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "word")
			plain = append(plain, bytes.Repeat(word, rapid.IntRange(0, 4000).Draw(t, "times")))
		}
		for i := range plain {
			got, err := compress.Recode(compress.Target{Codec: compress.Zstd, Level: level}, nil, compress.None, plain[i], len(plain[i]), 1<<20)
			require.NoError(t, err)
			var want bytes.Buffer
			fresh, err := zstd.NewWriter(&want, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
			require.NoError(t, err)
			_, err = fresh.Write(plain[i])
			require.NoError(t, err)
			require.NoError(t, fresh.Close())
			require.True(t, bytes.Equal(want.Bytes(), got))
		}
	})
}
