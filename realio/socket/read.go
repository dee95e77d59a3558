package socket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"syscall"

	"weir/core/env"
)

const (
	lengthBytes = 4
	admitBytes  = 8 // of the body, for Codec.Admit
	headBytes   = lengthBytes + admitBytes

	// readBytes is the size of a read buffer. Frames up to about this size cost less
	// than one system call each and a copy; larger ones are read in place.
	readBytes = 64 << 10

	// readAheadMax bounds what all connections together have read that nobody asked for
	// yet: where there are more than 1,024 of them, each reads less at once, down to
	// readMin, and one that waits keeps no more than it needs.
	readAheadMax = 64 << 20
	readMin      = 4 << 10

	// aheadMax is how many frames of one connection may wait in the mailbox before it
	// is not read any further, until aheadResume are left.
	aheadMax    = 128
	aheadResume = aheadMax / 2

	// openingBytes is how much of a large frame must arrive before the whole is reserved.
	openingBytes = 32 << 10
)

// errQuit ends the reading of frames; why is in conn.reason.
var errQuit = errors.New("no more frames are wanted")

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// input is the state of a connection's reader.
type input struct {
	buffer *[readBytes]byte // nil while there is nothing in it
	r, w   int              // what is in it
	stash  [headBytes]byte  // the first bytes of a frame, kept without a buffer
	kept   int              // how many
	shelf  []byte           // what was in the buffer of a reader that waits

	// One call of RawConn.Read: into is where it reads to, nil is the buffer.
	try  func(fd uintptr) bool
	into []byte
	got  int
	err  error
}

func (in *input) buffered() int { return in.w - in.r + in.kept }

// read is the reader's goroutine.
func (c *conn) read() {
	err := c.readFrames()
	if !errors.Is(err, errQuit) {
		c.fail(err)
	}
	c.discard()
	c.in.dropBuffer()
	c.mu.Lock()
	c.unread = true
	c.mu.Unlock()
	c.finish()
}

// readFrames delivers frames until something is wrong.
func (c *conn) readFrames() error {
	for {
		size, err := c.readHead()
		if err != nil {
			return err
		}
		if err := c.awaitTurn(); err != nil {
			return err
		}
		f, err := c.readFrame(size)
		if err != nil {
			return err
		}
		c.network.counts.frames.Add(1)
		c.ahead.Add(1)
		c.network.o.Deliver(f)
	}
}

// readHead waits for a frame's length and first bytes, leaves them in the buffer,
// and returns its size.
func (c *conn) readHead() (int, error) {
	need := lengthBytes
	for {
		for c.in.buffered() < need {
			if err := c.fill(nil); err != nil {
				return 0, err
			}
		}
		c.in.ensureBuffer()
		if protocol := foreignProtocol([lengthBytes]byte(c.in.buffer[c.in.r:])); protocol != "" {
			c.network.counts.foreign(protocol, c.ip)
			return 0, fmt.Errorf("%w: it speaks %s", ErrSize, protocol)
		}
		size := int(int32(binary.BigEndian.Uint32(c.in.buffer[c.in.r:])))
		if size < 0 {
			return 0, fmt.Errorf("%w: %d", ErrSize, size)
		}
		if need = lengthBytes + min(size, admitBytes); c.in.buffered() >= need {
			return size, nil
		}
	}
}

// readFrame admits a frame, reserves its bytes, reads and decodes it.
func (c *conn) readFrame(size int) (*frame, error) {
	in, codec := &c.in, *c.codec.Load()
	body := in.buffer[in.r+lengthBytes : in.w]
	if err := c.guard(func() error { return codec.Admit(size, body[:min(size, admitBytes)]) }); err != nil {
		return nil, err
	}
	heavy, _ := codec.(env.HeavyCodec)
	isHeavy := heavy != nil && heavy.Heavy(body[:min(size, admitBytes)])
	c.frameSince.Store(0)
	f, err := c.readWhole(size)
	if err != nil {
		return nil, err
	}
	if isHeavy {
		err = c.decodeHeavy(codec, f)
	} else {
		err = c.decode(codec, f)
	}
	if err != nil {
		f.free()
		return nil, err
	}
	return f, nil
}

func (c *conn) decode(codec env.Codec, f *frame) error {
	return c.guard(func() (err error) {
		f.message, err = codec.Decode(f.Data)
		return err
	})
}

// decodeHeavy decodes a frame once few others are being decoded that may take much memory. What it waits for is the
// processor alone, for which it would wait anyway.
func (c *conn) decodeHeavy(codec env.Codec, f *frame) error {
	select {
	case c.network.heavy <- struct{}{}:
	case <-c.quit:
		return errQuit
	}
	defer func() { <-c.network.heavy }()
	return c.decode(codec, f)
}

// readWhole reserves and reads a frame's bytes. Room for a large frame is asked for
// once its opening has arrived: a peer that announces much and sends nothing holds
// little.
func (c *conn) readWhole(size int) (*frame, error) {
	p := poolOf(size)
	var opening *frame
	if p == largePool && c.in.buffered() < lengthBytes+openingBytes {
		var err error
		if opening, err = c.readPart(openingPool, openingBytes, nil); err != nil {
			return nil, err
		}
		c.frameSince.Store(0)
	}
	return c.readPart(p, size, opening)
}

// readPart reserves bytes of a pool and fills them: from the opening, if there is one,
// then from the buffer and the socket.
func (c *conn) readPart(p pool, size int, opening *frame) (*frame, error) {
	charge, err := c.reserve(p, size)
	if err != nil {
		if opening != nil {
			opening.free()
		}
		return nil, err
	}
	f := c.newFrame(size, p, charge)
	got := 0
	if opening != nil {
		got = copy(f.Data, opening.Data)
		opening.free()
	} else {
		c.in.r += lengthBytes
	}
	c.framePool.Store(int32(p))
	if err := c.readBody(f.Data, got); err != nil {
		f.free()
		return nil, err
	}
	return f, nil
}

// reserve takes a frame's charge from a pool.
func (c *conn) reserve(p pool, size int) (charge int64, err error) {
	b, account := c.network.pools[p], &c.source.accounts[p]
	if charge, ok := b.try(account, int64(size)+frameCharge); ok {
		return charge, nil
	}
	c.queued.Store(true)
	c.shelve()
	charge, ok := b.wait(account, int64(size)+frameCharge, c.quit)
	c.in.unshelve()
	c.active.Store(c.network.tick.Load())
	c.queued.Store(false)
	if !ok {
		return 0, errQuit
	}
	return charge, nil
}

// readBody fills a frame from its byte n on: from the buffer what is there, the rest
// from the socket.
func (c *conn) readBody(data []byte, n int) error {
	in := &c.in
	if in.buffer != nil {
		copied := copy(data[n:], in.buffer[in.r:in.w])
		in.r, n = in.r+copied, n+copied
	}
	if n == len(data) {
		return nil
	}
	c.frameBytes.Store(int64(len(data)))
	for n < len(data) {
		if err := c.fill(data[n:]); err != nil {
			return err
		}
		n += in.got
		c.frameGot.Store(int64(n))
	}
	c.frameBytes.Store(0)
	c.frameGot.Store(0)
	c.frameSince.Store(0)
	return nil
}

// guard runs one of the codec's functions. A panic is the peer's doing, and costs
// it its connection only: a codec keeps nothing that could be left broken.
func (c *conn) guard(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("the codec failed on a frame: %v", value)
			c.network.log(slog.LevelError, "a frame made its codec panic; its connection is closed. Please report this",
				slog.Any("panic", value), slog.String("remote", c.socket.RemoteAddr().String()), slog.String("stack", string(debug.Stack())))
		}
	}()
	return f()
}

// awaitTurn waits while the connection is muted, or its frames crowd the mailbox.
func (c *conn) awaitTurn() error {
	for c.held() {
		c.frameSince.Store(0)
		c.parked.Store(true)
		c.shelve()
		if c.held() {
			select {
			case <-c.resume:
			case <-c.quit:
				return errQuit
			}
		}
		c.parked.Store(false)
		c.in.unshelve()
		c.active.Store(c.network.tick.Load())
	}
	select {
	case <-c.quit:
		return errQuit
	default:
		return nil
	}
}

func (c *conn) held() bool { return c.muted.Load() || c.ahead.Load() >= aheadMax }

// resumeReading wakes a reader that waits for its turn.
func (c *conn) resumeReading() {
	if c.parked.Load() {
		select {
		case c.resume <- struct{}{}:
		default:
		}
	}
}

// fill waits for bytes and reads them: into dst, or with nil into the buffer.
func (c *conn) fill(dst []byte) error {
	in := &c.in
	in.into, in.got, in.err = dst, 0, nil
	if c.tls != nil {
		c.readSecure()
	} else if err := c.raw.Read(in.try); err != nil {
		return err
	}
	if in.err != nil {
		return in.err
	}
	if in.got == 0 {
		return io.EOF
	}
	if dst == nil {
		in.w += in.got
	}
	c.active.Store(c.network.tick.Load())
	c.network.counts.received.Add(int64(in.got))
	return nil
}

// tryRead reads what there is; false waits until there is more. The buffer is held
// only while there is something in it.
func (c *conn) tryRead(fd uintptr) bool {
	in := &c.in
	dst := c.destination()
	for {
		n, err := syscall.Read(int(fd), dst)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			c.waits()
			return false
		}
		in.got, in.err = n, err
		return true
	}
}

// destination is where the next bytes go: what was asked for, or the buffer.
func (c *conn) destination() []byte {
	in := &c.in
	if in.into != nil {
		return in.into
	}
	in.makeRoom()
	return in.buffer[in.w:min(in.w+c.network.readShare(), readBytes)]
}

// waits notes that the socket is empty, in the middle of a frame or between two.
func (c *conn) waits() {
	c.noteWait()
	c.in.stashBuffer()
}

// noteWait notes since when a frame that has begun waits for its bytes.
func (c *conn) noteWait() {
	if (c.in.into != nil || c.in.buffered() > 0) && c.frameSince.Load() == 0 {
		c.frameSince.Store(c.network.tick.Load())
	}
}

// stashBuffer gives the buffer back if what is in it is no more than a head.
func (in *input) stashBuffer() {
	if in.buffer != nil && in.w-in.r < headBytes {
		in.kept = copy(in.stash[:], in.buffer[in.r:in.w])
		in.dropBuffer()
	}
}

func (in *input) dropBuffer() {
	if in.buffer != nil {
		readBuffers.Put(in.buffer)
		in.buffer, in.r, in.w = nil, 0, 0
	}
}

// ensureBuffer makes sure that what was kept is in a buffer.
func (in *input) ensureBuffer() {
	if in.buffer == nil {
		in.buffer = readBuffers.Get().(*[readBytes]byte)
		in.r, in.w = 0, copy(in.buffer[:], in.stash[:in.kept])
		in.kept = 0
	}
}

// makeRoom moves what is in the buffer to its start.
func (in *input) makeRoom() {
	in.ensureBuffer()
	if in.r > 0 {
		in.w = copy(in.buffer[:], in.buffer[in.r:in.w])
		in.r = 0
	}
}

// readShare is how much one connection may read at once.
func (n *Network) readShare() int {
	return min(readBytes, max(readMin, readAheadMax/int(max(1, n.connections.Load()))))
}

// shelve keeps what was read without the buffer, where there are many connections.
func (c *conn) shelve() {
	if in := &c.in; in.buffer != nil && c.network.readShare() < readBytes {
		in.shelf = append(in.shelf, in.buffer[in.r:in.w]...)
		in.dropBuffer()
	}
}

func (in *input) unshelve() {
	if in.shelf != nil {
		in.ensureBuffer()
		in.r, in.w = 0, copy(in.buffer[:], in.shelf)
		in.shelf = nil
	}
}

// discard reads on without looking, after a graceful close, until the peer closes
// too or the deadline closes the socket.
func (c *conn) discard() {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	for c.in.r, c.in.w, c.in.kept = 0, 0, 0; !failed; c.in.w = 0 {
		c.frameSince.Store(0)
		failed = c.fill(nil) != nil
	}
}
