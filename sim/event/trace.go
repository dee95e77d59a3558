package event

import "math/bits"

// Kind names what a trace entry is about. The numbers are part of the hash.
type Kind uint64

// What is traced.
const (
	KindTurn Kind = iota + 1
	KindDisk
	KindStore
	KindFrameIn
	KindFrameOut
	KindConn
	KindCompute
	KindNode
	KindFault
	KindClient
	KindLog
)

// String names the kind.
func (k Kind) String() string {
	names := [...]string{"", "turn", "disk", "store", "frame-in", "frame-out", "conn", "compute", "node", "fault", "client", "log"}
	if int(k) < len(names) {
		return names[k]
	}
	return "?"
}

// Trace is the running hash of a run: of each event's kind, time, node,
// operation and result. Equal hashes mean equal runs.
type Trace struct {
	hash uint64
	// Sink, if set, is also given every entry, to find where two runs part.
	Sink func(at Time, kind Kind, node, a, b, c uint64)
}

// Hash is the hash so far.
func (t *Trace) Hash() uint64 { return t.hash }

// Add takes an entry in.
func (t *Trace) Add(at Time, kind Kind, node, a, b, c uint64) {
	h := mix(t.hash^uint64(at), uint64(kind)<<32^node)
	h = mix(h^a, bits.RotateLeft64(b, 23)^c^0x2545f4914f6cdd1d)
	t.hash = h
	if t.Sink != nil {
		t.Sink(at, kind, node, a, b, c)
	}
}

// Note adds an entry at the present time.
func (q *Queue) Note(kind Kind, node, a, b, c uint64) { q.Trace.Add(q.now, kind, node, a, b, c) }

// Sum hashes bytes, eight at a time.
func Sum(b []byte) uint64 {
	h := uint64(len(b)) * 0x9e3779b97f4a7c15
	for len(b) >= 8 {
		v := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		h = mix(h^v, 0x9fb21c651e98df25)
		b = b[8:]
	}
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return mix(h^v, 0x6c8e9cf570932bd5)
}

// SumString hashes a string.
func SumString(s string) uint64 { return mix(Purpose(s), uint64(len(s))) }
