package txn

import (
	"weir/core/coordinator"
	"weir/core/wire"
)

// AppendForTest writes a state, whatever was before.
func AppendForTest(r *coordinator.Runtime, id string, t *Transaction) {
	s, code := r.Find(id)
	if code != wire.None {
		panic(code)
	}
	s.Do(&coordinator.Operation{Key: id, Decide: func() []coordinator.Entry { return entryOf(id, t) }, Done: func(wire.Code) {}})
}

// Codec is for tests of the format.
var (
	EncodeValue = encodeValue
	DecodeValue = decodeValue
	EncodeKey   = encodeKey
)
