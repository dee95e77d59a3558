package wal

import (
	"hash/crc32"

	"weir/core/env"
	"weir/core/record"
)

// group is one write: records gathered, laid out in a slab, sealed, written, durable. The structs
// are recycled, so that a group allocates nothing in the steady state.
type group struct {
	log     *Log
	slab    *env.Slab
	slabAt  int // where the group starts in the slab
	used    int // bytes laid so far, header included
	header  groupHeader
	appends []*Append
	op      env.DiskWrite

	arrived int64 // Log.arrived when it was submitted
	began   env.Time
	written bool

	scratch [16]byte // lent to prepare
}

func (l *Log) newGroup() *group {
	if n := len(l.idle); n > 0 {
		g := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return g
	}
	g := &group{log: l}
	g.op = env.DiskWrite{File: l.file, Durable: true, Prepare: g.prepare, Done: func(*env.DiskWrite) { l.groupWritten(g) }}
	return g
}

// recycle forgets everything the group refers to.
func (l *Log) recycle(g *group) {
	clear(g.appends)
	g.appends = g.appends[:0]
	g.slab, g.op.Data, g.op.Err, g.written = nil, nil, nil, false
	l.idle = append(l.idle, g)
}

// end is the position after the group.
func (g *group) end() Position { return g.header.at + Position(g.header.bytes) }

// prepare lays the whole group into its slab. It runs off the loop, and touches only the slab and
// what the appends lend.
func (g *group) prepare() {
	data := g.op.Data
	laid, sum := groupHeaderBytes, uint32(0)
	for _, a := range g.appends {
		at := a.Offset - recordHeaderBytes - g.slabAt
		next := at + recordBytes(len(a.Payload))
		g.lay(data[at:next], a)
		sum = crc32.Update(sum, castagnoli, data[at:at+4])
		laid = next
	}
	clear(data[laid:])
	g.header.sum = sum
	g.header.encode(data)
}

// lay writes one record; room is exactly its own.
func (g *group) lay(room []byte, a *Append) {
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
