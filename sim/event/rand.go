package event

import (
	"math/bits"
	"time"
)

// mix folds a 128-bit product: the step of wyhash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

// Rand is the run's keyed randomness.
type Rand struct{ seed uint64 }

// Draw is a pure function of (seed, purpose, entity, counter).
func (r Rand) Draw(purpose, entity, counter uint64) uint64 {
	h := mix(r.seed^purpose, 0x8ebc6af09c88c6e3)
	h = mix(h^entity, 0x589965cc75374cc3)
	h = mix(h^counter, 0x1d8e4e27c47d124f)
	return mix(h, r.seed|1)
}

// Purpose hashes a purpose's name. Do it once and keep the result.
func Purpose(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return h
}

// Stream is the draws of one entity for one purpose, in order.
type Stream struct {
	rand    Rand
	purpose uint64
	entity  uint64
	counter uint64
}

// Stream returns the stream of an entity's draws for a purpose.
func (q *Queue) Stream(purpose string, entity uint64) Stream {
	return q.Rand.Stream(purpose, entity)
}

// Stream returns the stream of an entity's draws for a purpose.
func (r Rand) Stream(purpose string, entity uint64) Stream {
	return Stream{rand: r, purpose: Purpose(purpose), entity: entity}
}

// SeedRand returns the randomness of a seed without a queue.
func SeedRand(seed uint64) Rand { return NewQueue(seed).Rand }

// Uint64 draws 64 bits.
func (s *Stream) Uint64() uint64 {
	s.counter++
	return s.rand.Draw(s.purpose, s.entity, s.counter)
}

// Below draws from [0, n); 0 if n is not positive.
func (s *Stream) Below(n int64) int64 {
	if n <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(s.Uint64(), uint64(n))
	return int64(hi)
}

// Between draws from [low, high].
func (s *Stream) Between(low, high int64) int64 { return low + s.Below(high-low+1) }

// Duration draws from [low, high].
func (s *Stream) Duration(low, high time.Duration) time.Duration {
	return time.Duration(s.Between(int64(low), int64(high)))
}

// PerMille is true n times in a thousand.
func (s *Stream) PerMille(n int64) bool { return n > 0 && s.Below(1000) < n }

// PPM is true n times in a million.
func (s *Stream) PPM(n int64) bool { return n > 0 && s.Below(1_000_000) < n }
