package socket

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"weir/core/env"
)

// conn is one connection. The goroutine that reads lives as long as it; one that
// writes is found when there is something to send and left when there is not. The
// connection is finished by whichever of the two ends last.
type conn struct {
	id       env.ConnID
	network  *Network
	listener *listener
	socket   *net.TCPConn
	raw      syscall.RawConn
	tls      *tls.Conn // on socket; nil: plaintext
	ip       netip.Addr
	source   *source // of ip, from enter on
	dialed   bool    // by this end

	// Set on the loop, read by the reader.
	codec  atomic.Pointer[env.Codec]
	muted  atomic.Bool
	ahead  atomic.Int32 // frames delivered that the loop has not come to
	parked atomic.Bool  // the reader waits for resume
	queued atomic.Bool  // the reader waits for the budget
	resume chan struct{}
	quit   chan struct{} // closed when no more frames are wanted

	// For the deadlines: ticks, or 0.
	active     atomic.Int64 // when bytes last moved
	frameSince atomic.Int64 // since when a begun frame waits for its bytes
	frameGot   atomic.Int64 // bytes of it that arrived
	frameBytes atomic.Int64 // bytes reserved for it
	framePool  atomic.Int32 // the pool they are reserved in
	writeSince atomic.Int64 // since when a write waits for the peer
	lingers    atomic.Int64 // since when everything is written and the peer's end awaited

	mu      sync.Mutex
	queue   []*env.Send
	writing bool  // there is a goroutine that writes
	closing bool  // Close was called: nothing more is sent
	flushed bool  // and everything before it is written
	unread  bool  // the reader has ended
	reason  error // why the connection is over
	failed  bool  // the socket is closed
	ended   bool  // finished

	in    input       // the reader's
	spare []*env.Send // the writer's: the other queue
}

// newConn prepares a connection; nil if its socket is gone already.
func newConn(l *listener, socket *net.TCPConn, ip netip.Addr) *conn {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	c := &conn{
		id: env.ConnID(l.network.nextID.Add(1)), network: l.network, listener: l, socket: socket, raw: raw, ip: ip,
		resume: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	c.in.try = c.tryRead
	c.codec.Store(&l.codec)
	c.active.Store(l.network.tick.Load())
	return c
}

// The loop's events.
type (
	opened struct {
		*conn
		info env.ConnInfo
		dial *env.Dial // nil if the connection was accepted
	}
	closed struct {
		*conn
		reason error
	}
)

func (e *opened) Deliver() {
	e.network.open[e.id] = e.conn
	e.listener.handler.Opened(e.id, e.info)
	if e.dial != nil {
		e.dial.Deliver()
	}
}

func (e *closed) Deliver() {
	delete(e.network.open, e.id)
	e.listener.handler.Closed(e.id, e.reason)
}

// fail ends the connection for a reason, the first of which counts. Both goroutines
// find the socket closed.
func (c *conn) fail(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopReading(reason)
	if !c.failed {
		c.failed = true
		c.socket.Close()
	}
}

// reset is fail without the patience to have written what was sent.
func (c *conn) reset() {
	_ = c.socket.SetLinger(0)
	c.fail(ErrClosed)
}

// stopReading turns the reader away from frames. c.mu is held.
func (c *conn) stopReading(reason error) {
	if c.reason == nil {
		c.reason = reason
		close(c.quit)
	}
}

func (c *conn) closeGracefully() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.failed {
		return
	}
	c.closing = true
	c.stopReading(ErrClosed)
	c.startWriting()
}

// send queues an operation; false if the connection takes none any more.
func (c *conn) send(e *env.Send) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.failed {
		return false
	}
	c.queue = append(c.queue, e)
	c.startWriting()
	return true
}

// startWriting makes sure that there is a goroutine that writes. c.mu is held, and the
// network's count of goroutines has the reader or the last writer still.
func (c *conn) startWriting() {
	if !c.writing {
		c.writing = true
		c.network.writers.start(c)
	}
}

// finish ends the connection if both goroutines have ended and there is a reason.
func (c *conn) finish() {
	c.mu.Lock()
	if c.ended || !c.unread || c.writing || !c.failed && !c.flushed {
		c.mu.Unlock()
		return
	}
	c.ended, c.failed = true, true // no send enters the queue any more
	queue, reason := c.queue, c.reason
	c.queue = nil
	c.mu.Unlock()
	c.socket.Close()
	for _, e := range queue {
		c.network.gone(e)
	}
	c.network.exit(c)
	c.network.o.Deliver(&closed{c, reason})
}
