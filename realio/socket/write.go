package socket

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"unsafe"

	"weir/core/env"
)

const (
	// scratchBytes is the memory that responses are encoded in before they are written
	// together; scratchMin is what the next one needs to start in it.
	scratchBytes = 32 << 10
	scratchMin   = 1 << 10
	// writeBytes is about how much is encoded before it is written, and the most that
	// one write takes, so that its progress can be seen.
	writeBytes = 512 << 10
	// keptSends is the room that a queue keeps when it is empty.
	keptSends = 256
)

// batch is responses that are written together.
type batch struct {
	scratch [scratchBytes]byte
	used    int // of scratch
	pieces  [][]byte
	bytes   int
	sends   []*env.Send
	chunk   [][]byte    // of one write
	rest    net.Buffers // what is left of it
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// writersIdleMax bounds the goroutines that wait for a connection to write.
const writersIdleMax = 64

// writers are goroutines that write, each for one connection at a time. They are kept,
// because encoding grows a goroutine's stack, and a new one would grow it for every
// response.
type writers struct {
	group *sync.WaitGroup
	quit  chan struct{} // closed: nobody waits any more
	work  chan *conn    // without room: a send succeeds if a writer waits
	idle  atomic.Int64
}

// start finds a goroutine for the connection; the group's count is not 0.
func (w *writers) start(c *conn) {
	select {
	case w.work <- c:
	default:
		w.group.Add(1)
		go w.run(c)
	}
}

func (w *writers) run(c *conn) {
	defer w.group.Done()
	for c != nil {
		c.write()
		c = w.next()
	}
}

// next waits for another connection; nil: there are enough that wait, or the end.
func (w *writers) next() *conn {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > writersIdleMax {
		return nil
	}
	select {
	case c := <-w.work:
		return c
	case <-w.quit:
		return nil
	}
}

// write empties the queue.
func (c *conn) write() {
	b := batches.Get().(*batch)
	for queue := c.takeQueue(); len(queue) > 0; queue = c.takeQueue() {
		for _, e := range queue {
			if b.full() {
				c.flush(b)
			}
			b.add(e)
		}
		c.flush(b)
		clear(queue)
	}
	batches.Put(b)
	c.finish()
}

// takeQueue returns what is to be sent; nothing ends the writing, after the peer was
// told of a graceful close.
func (c *conn) takeQueue() []*env.Send {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 && !c.failed {
		if cap(c.spare) > keptSends {
			c.spare = nil
		}
		c.queue, c.spare = c.spare[:0], c.queue
		return c.spare
	}
	c.writing = false
	if c.closing && !c.failed {
		c.flushed = true
		c.lingers.Store(c.network.tick.Load())
		c.closeWrite()
	}
	return nil
}

func (b *batch) full() bool { return b.bytes >= writeBytes || scratchBytes-b.used < scratchMin }

// add encodes one response, its length before it.
func (b *batch) add(e *env.Send) {
	b.sends = append(b.sends, e)
	at := b.used
	body := at + lengthBytes
	parts := e.Message.Encode(b.scratch[body:body])
	size := 0
	b.used = body
	for _, part := range parts {
		size += len(part)
		b.used = max(b.used, b.endOf(part))
	}
	binary.BigEndian.PutUint32(b.scratch[at:], uint32(size))
	b.append(b.scratch[at:body])
	for _, part := range parts {
		b.append(part)
	}
	b.bytes += lengthBytes + size
}

// endOf returns where a slice of scratch ends in it; 0 if it lies elsewhere.
func (b *batch) endOf(part []byte) int {
	start := uintptr(unsafe.Pointer(&b.scratch))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	if len(part) == 0 || at < start || at >= start+scratchBytes {
		return 0
	}
	return int(at-start) + len(part)
}

// append adds a piece, joined to the one before if it follows that in scratch.
func (b *batch) append(piece []byte) {
	if len(piece) == 0 {
		return
	}
	if n := len(b.pieces); n > 0 {
		last := b.pieces[n-1]
		if end := b.endOf(last); end != 0 && end < scratchBytes && unsafe.SliceData(piece) == &b.scratch[end] {
			b.pieces[n-1] = b.scratch[end-len(last) : end+len(piece)]
			return
		}
	}
	b.pieces = append(b.pieces, piece)
}

// flush writes a batch and completes its sends.
func (c *conn) flush(b *batch) {
	err := c.writePieces(b)
	c.writeSince.Store(0)
	if err != nil {
		c.fail(err)
		err = env.ErrConnGone
	}
	for i, e := range b.sends {
		b.sends[i] = nil
		e.Err = err
		if e.Done != nil {
			c.network.o.Deliver(e)
		}
	}
	clear(b.pieces)
	b.sends, b.pieces, b.used, b.bytes = b.sends[:0], b.pieces[:0], 0, 0
}

// writePieces writes by system calls of bounded size.
func (c *conn) writePieces(b *batch) error {
	rest := b.pieces
	from := 0 // in rest[0]
	for len(rest) > 0 {
		chunk, bytes := b.chunk[:0], 0
		for len(rest) > 0 && bytes < writeBytes {
			piece := rest[0][from:]
			if len(piece) > writeBytes-bytes {
				piece = piece[:writeBytes-bytes]
				from += len(piece)
			} else {
				rest, from = rest[1:], 0
			}
			chunk = append(chunk, piece)
			bytes += len(piece)
		}
		b.chunk = chunk
		if err := c.writeChunk(b); err != nil {
			return err
		}
		clear(b.chunk)
		c.network.counts.sent.Add(int64(bytes))
	}
	return nil
}

func (c *conn) writeChunk(b *batch) (err error) {
	now := c.network.tick.Load()
	c.active.Store(now)
	c.writeSince.Store(now)
	switch {
	case c.tls != nil:
		return c.writeSecure(b.chunk)
	case len(b.chunk) == 1:
		_, err = c.socket.Write(b.chunk[0])
		return err
	}
	b.rest = b.chunk
	_, err = b.rest.WriteTo(c.socket)
	return err
}
