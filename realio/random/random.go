package random

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// Rand is an env.Rand. Its methods may be called by any goroutine.
type Rand struct{ secret [32]byte }

// New returns draws under a fresh secret.
func New() *Rand {
	r := &Rand{}
	rand.Read(r.secret[:]) // never fails: the process ends if the system has no randomness
	return r
}

// Uint64 implements env.Rand: eight bytes of the SHA-256 of the secret, both
// numbers, and the purpose.
func (r *Rand) Uint64(purpose string, entity, counter uint64) uint64 {
	var room [128]byte
	in := append(room[:0], r.secret[:]...)
	in = binary.LittleEndian.AppendUint64(in, entity)
	in = binary.LittleEndian.AppendUint64(in, counter)
	in = append(in, purpose...)
	sum := sha256.Sum256(in)
	return binary.LittleEndian.Uint64(sum[:])
}
