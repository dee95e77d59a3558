package compress_test

import (
	"bytes"
	"errors"
	"testing"

	"weir/core/compress"
)

// TestZstdWindowsOfTheHighestLevelsAreRead: a stream of level 21 announces a window of 64 MiB, one of level 22 of 128 MiB, however
// short it is. Kafka's producers have these levels, and libzstd reads them; no reader takes more without being told to.
func TestZstdWindowsOfTheHighestLevelsAreRead(t *testing.T) {
	for window, fits := range map[int]bool{8 << 20: true, 16 << 20: true, 32 << 20: true, 64 << 20: true, 128 << 20: true, 256 << 20: false} {
		for _, blocks := range []int{1, 7, 8, 9, 50} {
			out, err := compress.Decompress(compress.Zstd, zstdFrame(window, blocks), 64<<20)
			if !fits {
				if !errors.Is(err, compress.ErrCorrupt) {
					t.Errorf("a window of %d bytes: %v", window, err)
				}
				continue
			}
			if err != nil || len(out) != blocks*zstdBlock || bytes.Count(out, []byte("x")) != len(out) {
				t.Errorf("a window of %d bytes, %d blocks: %d bytes, %v", window, blocks, len(out), err)
			}
		}
	}
}

func TestALargeWindowDoesNotRaiseTheLimit(t *testing.T) {
	for _, blocks := range []int{8, 9, 200} {
		packed := zstdFrame(128<<20, blocks)
		for limit, fits := range map[int]bool{0: false, 1: false, blocks*zstdBlock - 1: false, blocks * zstdBlock: true} {
			_, err := compress.Decompress(compress.Zstd, packed, limit)
			if fits != (err == nil) || !fits && !errors.Is(err, compress.ErrTooLarge) {
				t.Errorf("%d blocks, limit %d: %v", blocks, limit, err)
			}
		}
	}
	whole := 32 << 20 / zstdBlock
	for blocks, want := range map[int]error{whole: nil, whole + 1: compress.ErrTooLarge} {
		if _, err := compress.Decompress(compress.Zstd, zstdFrame(128<<20, blocks), 1<<30); !errors.Is(err, want) {
			t.Errorf("%d blocks: %v", blocks, err)
		}
	}
}

const zstdBlock = 128 << 10

// zstdFrame is a frame of a window, a power of two, and so many blocks that repeat a letter.
func zstdFrame(window, blocks int) []byte {
	exponent := byte(0)
	for window > 1<<(10+exponent) {
		exponent++
	}
	f := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3}
	for i := range blocks {
		head := zstdBlock<<3 | 1<<1
		if i == blocks-1 {
			head |= 1
		}
		f = append(f, byte(head), byte(head>>8), byte(head>>16), 'x')
	}
	return f
}
