package wal

import (
	"hash/crc32"

	"weir/core/env"
	"weir/core/record"
)

// group is one write: records gathered, laid out in a slab, sealed, written, durable. The structs
// are recycled, so that a group allocates nothing in the steady state.
type group struct {
	slab     *env.Slab
	slabAt   int // where the group starts in the slab
	used     int // bytes placed so far, header included
	header   groupHeader
	bytesMax int // that may be placed
	appends  []*Append
	data     []byte // what the medium writes, once the group is sealed
	prepare  func() // lays data; the medium calls it once, off the loop
	opened   env.Time

	arrived int64 // gatherer.arrived when it was submitted
	began   env.Time
	written bool
	ticket  uint64 // that the medium must confirm before the group is durable; 0: none

	scratch [16]byte // lent to lay
}

// end is the position after the group.
func (g *group) end() Position { return g.header.at + Position(g.header.bytes) }

// lay lays the whole group into its slab. It runs off the loop, and touches only the slab and
// what the appends lend.
func (g *group) lay() {
	clear(g.data[g.layAs(g.appends):])
}

// layAs lays each append where it was placed, and sums it for the place that it has in the medium, where
// they follow one another in the given order. It returns the bytes that header and records take.
func (g *group) layAs(stored []*Append) (laid int) {
	laid, sum := groupHeaderBytes, uint32(0)
	for _, a := range stored {
		room := g.roomOf(a)
		g.layRecord(room, a, g.header.at+Position(laid))
		sum = crc32.Update(sum, castagnoli, room[:4])
		laid += len(room)
	}
	g.header.sum = sum
	g.header.encode(g.data)
	return laid
}

// roomOf is where the record of an append lies in the group's data.
func (g *group) roomOf(a *Append) []byte {
	at := a.Offset - recordHeaderBytes - g.slabAt
	return g.data[at : at+recordBytes(len(a.Payload))]
}

// layRecord writes one record, which the medium has at a position; room is exactly its own.
func (g *group) layRecord(room []byte, a *Append, at Position) {
	h := recordHeader{
		kind:        a.kind,
		bytes:       uint32(len(a.Payload)),
		leaderEpoch: a.LeaderEpoch,
		stream:      a.Stream,
		baseOffset:  a.BaseOffset,
		offsets:     a.Offsets,
	}
	h.encode(room)
	payload := h.payload(room)
	copy(payload, a.Payload)
	if a.kind == kindBatch {
		record.Patch(payload, a.BaseOffset, a.LeaderEpoch)
		if a.LogAppendTime >= 0 {
			record.StampLogAppendTime(payload, a.LogAppendTime)
		}
	}
	order.PutUint32(room, h.sumRecord(room, &g.scratch, g.header.nonce, at))
	clear(room[recordHeaderBytes+len(payload):])
}
