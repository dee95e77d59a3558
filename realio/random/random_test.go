package random

import (
	"math/bits"
	"testing"

	"weir/core/env"
)

var _ env.Rand = (*Rand)(nil)

func TestDrawsAreKeyed(t *testing.T) {
	r := New()
	first := r.Uint64("nonce", 1, 2)
	if again := r.Uint64("nonce", 1, 2); again != first {
		t.Fatal("equal keys, different draws")
	}
	seen := map[uint64]bool{New().Uint64("a", 1, 2): true}
	for _, purpose := range []string{"a", "b", ""} {
		for entity := range uint64(100) {
			for counter := range uint64(100) {
				seen[r.Uint64(purpose, entity, counter)] = true
			}
		}
	}
	if len(seen) != 30_001 {
		t.Fatalf("%d different draws of 30,001", len(seen))
	}
}

func TestDrawsAreUniform(t *testing.T) {
	r, ones := New(), 0
	for i := range uint64(10_000) {
		ones += bits.OnesCount64(r.Uint64("bits", 0, i))
	}
	if ones < 316_000 || ones > 324_000 { // ten standard deviations
		t.Fatalf("%d of 640,000 bits are set", ones)
	}
}

func BenchmarkUint64(b *testing.B) {
	r := New()
	for i := uint64(0); b.Loop(); i++ {
		r.Uint64("benchmark", 1, i)
	}
}
