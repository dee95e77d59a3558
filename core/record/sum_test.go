package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sealed is a batch, as far as checksums are concerned.
func sealed(bytes int, seed uint64) []byte {
	b := make([]byte, bytes)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	Seal(b)
	return b
}

func TestCombinedSumsEqualPlainOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.Uint32().Draw(t, "sum")
		n := rapid.OneOf(rapid.IntRange(HeaderBytes, 3000), rapid.IntRange(HeaderBytes, 1<<20)).Draw(t, "bytes")
		b := sealed(n, rapid.Uint64().Draw(t, "seed"))
		if got, want := UpdateSum(before, b), crc32.Update(before, castagnoli, b); got != want {
			t.Fatalf("%d bytes: %08x, want %08x", n, got, want)
		}
		split := rapid.IntRange(0, n).Draw(t, "split")
		if got, want := shift(crc32.Checksum(b[:split], castagnoli), n-split)^crc32.Checksum(b[split:], castagnoli),
			crc32.Checksum(b, castagnoli); got != want {
			t.Fatalf("%d of %d bytes: %08x, want %08x", split, n, got, want)
		}
	})
}

// TestShiftOfGreatLengths splits them, since nobody sums a gigabyte in a test.
func TestShiftOfGreatLengths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sum, n := rapid.Uint32().Draw(t, "sum"), rapid.IntRange(0, 1<<31-1).Draw(t, "bytes")
		first := rapid.IntRange(0, n).Draw(t, "first")
		if shift(sum, n) != shift(shift(sum, first), n-first) {
			t.Fatalf("%d bytes are not %d and the rest", n, first)
		}
	})
}

func TestStampsRenewTheSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := sealed(rapid.IntRange(HeaderBytes, 1<<17).Draw(t, "bytes"), rapid.Uint64().Draw(t, "seed"))
		records, millis := slices.Clone(b[HeaderBytes:]), rapid.Int64().Draw(t, "millis")
		if rapid.Bool().Draw(t, "stamp") {
			StampLogAppendTime(b, millis)
		} else {
			SetCreateTime(b, millis)
		}
		if !SumHolds(b) || !slices.Equal(records, b[HeaderBytes:]) || int64(binary.BigEndian.Uint64(b[atMaxTimestamp:])) != millis {
			t.Fatal("the batch is not whole, or not stamped")
		}
		// A batch that was damaged before the stamp must not be sound after it.
		b[len(b)-1] ^= 1
		if StampLogAppendTime(b, millis+1); SumHolds(b) {
			t.Fatal("the stamp hid damage")
		}
	})
}

func BenchmarkUpdateSum(b *testing.B) {
	for _, n := range []int{256, 512, 1 << 10, 2 << 10, 16 << 10, 1 << 20} {
		batch := sealed(n, 1)
		b.Run(fmt.Sprintf("combined/%d", n), func(b *testing.B) {
			for b.Loop() {
				sum := crc32.Update(1, castagnoli, batch[:atAttributes])
				_ = shift(sum, n-atAttributes) ^ binary.BigEndian.Uint32(batch[atCRC:])
			}
		})
		b.Run(fmt.Sprintf("plain/%d", n), func(b *testing.B) {
			for b.Loop() {
				_ = crc32.Update(1, castagnoli, batch)
			}
		})
	}
}
