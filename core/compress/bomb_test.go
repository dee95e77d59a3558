package compress_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"weir/core/compress"
)

// TestASnappyBlockIsNotDecodedWholeHoweverLarge: a block is decoded into memory in one piece, and decodes to 21 times its size.
// A request may have 100 MiB, and its budget for decompressed bytes grows with it.
func TestASnappyBlockIsNotDecodedWholeHoweverLarge(t *testing.T) {
	for plain, fits := range map[int]bool{32 << 20: true, 32<<20 + 64: false} {
		err := readAll(compress.Snappy, snappyBomb(plain), 1<<30)
		if fits != (err == nil) || !fits && !errors.Is(err, compress.ErrTooLarge) {
			t.Errorf("a block of %d bytes: %v", plain, err)
		}
	}
}

// snappyBomb is a raw block of n zeros, a multiple of 64: one literal of 64 bytes, and copies of it.
func snappyBomb(n int) []byte {
	b := binary.AppendUvarint(nil, uint64(n))
	b = append(append(b, 60<<2, 63), make([]byte, 64)...)
	for range n/64 - 1 {
		b = append(b, 63<<2|2, 64, 0)
	}
	return b
}
