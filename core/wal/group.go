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
	data := g.data
	laid, sum := groupHeaderBytes, uint32(0)
	for _, a := range g.appends {
		at := a.Offset - recordHeaderBytes - g.slabAt
		next := at + recordBytes(len(a.Payload))
		g.layRecord(data[at:next], a)
		sum = crc32.Update(sum, castagnoli, data[at:at+4])
		laid = next
	}
	clear(data[laid:])
	g.header.sum = sum
	g.header.encode(data)
}

// layRecord writes one record; room is exactly its own.
func (g *group) layRecord(room []byte, a *Append) {
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
	order.PutUint32(room, h.sumRecord(room, &g.scratch, g.header.nonce, a.At))
	clear(room[recordHeaderBytes+len(payload):])
}
