package socket

import "weir/core/env"

const (
	// frameCharge is what the budget counts for a frame beside its bytes: the frame
	// itself, its event, and what its decoder makes of the header.
	frameCharge = 512
	// heapMax is the largest frame that lies on the heap, where the smallest piece of
	// the arena would be many times its size.
	heapMax = 2 << 10
)

// frame is a received frame; also the event that delivers it.
type frame struct {
	env.Frame
	conn    *conn
	message any
	piece   []byte // of the arena; nil on the heap
	charge  int64
	pool    pool
}

// newFrame gives a frame its memory, after its charge was reserved.
func (c *conn) newFrame(size int, p pool, charge int64) *frame {
	f := &frame{conn: c, charge: charge, pool: p}
	f.World = f
	if size <= heapMax {
		f.Data = make([]byte, size)
		return f
	}
	f.piece = c.network.o.Arena.Get(size)
	f.Data = f.piece[:size:size]
	return f
}

// free gives memory and budget back.
func (f *frame) free() {
	n := f.conn.network
	f.World, f.Data, f.message = nil, nil, nil
	if f.piece != nil {
		n.o.Arena.Put(f.piece)
		f.piece = nil
	}
	n.pools[f.pool].release(&f.conn.source.accounts[f.pool], f.charge)
}

// Deliver implements env.Event.
func (f *frame) Deliver() {
	c, message := f.conn, f.message
	f.message = nil
	if c.ahead.Add(-1) == aheadResume {
		c.resumeReading()
	}
	c.listener.handler.Received(c.id, message, &f.Frame)
}
