package broker

import (
	"log/slog"

	"weir/core/env"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// queuedMax is how many requests of one connection may wait or be under way
	// before it is no longer read from, until half of them are answered.
	queuedMax = 64
	// waitingBytesMax is how much of one connection's frames may wait for its turn:
	// what was decoded of them is held too.
	waitingBytesMax = 64 << 10
	// keptDecodedMax is the frame up to which a request stays decoded while it waits: what is made of a frame takes up to 16 times
	// its size, which no budget counts, and its turn may come after a wait of the client's own choice.
	keptDecodedMax = 4 << 10
	// unwrittenMax is how many answers of one connection may be on their way to the
	// socket before its next request starts: a client that does not read its answers
	// must not make the broker hold them.
	unwrittenMax = 2
	// unwrittenProduceMax is that for Produce, whose answers are small, and
	// unwrittenPartsMax how many partitions these may be about, before another starts.
	unwrittenProduceMax = queuedMax
	unwrittenPartsMax   = 1024
)

// Request is one decoded request; on the loop, also its place in the order of its
// connection and the exchange that its handler answers by.
type Request struct {
	Key           int16
	Version       int16
	CorrelationID int32
	// Body is what the API's decoder made of the frame.
	Body any

	api          *wire.API
	parts        int    // of Produce: partitions
	sentClientID []byte // in the frame
	fault        error  // why it cannot be served
	undecoded    bool   // it waited, and is decoded again in its turn

	conn    *conn
	frame   *env.Frame
	arrived env.Time
	next    *Request
	state   requestState
	close   bool // hang up in its turn
	silent  bool // no answer in its turn
	gone    func()
	answer
}

// requestState is how far a request has come.
type requestState uint8

const (
	requestWaits requestState = iota
	requestStarted
	requestEncodes // its handler has answered
	requestAnswered
)

// answer is how a request's response is made, and the operation that sends it.
type answer struct {
	body    []byte                     // with the response header; nil: encode makes it
	encode  func(head []byte) [][]byte // runs when the answer is written
	written func()
	lent    *heldAnswer // counts body
	send    env.Send
}

// conn is one client's connection. Its requests stand in a queue in the order of
// their arrival: answered ones (behind one that is not), started ones, waiting ones.
type conn struct {
	id           env.ConnID
	broker       *Broker
	info         env.ConnInfo
	address      string // of info.Remote, without the port
	index        int    // in broker.conns
	clientID     string
	head, tail   *Request
	waiting      *Request // the first that has not started
	queued       int      // requests from head to tail
	waitingBytes int      // frames from waiting on
	unwritten    int      // answers sent, not written
	parts        int      // of these, as far as they are to Produce
	busy         bool     // the head is under way and lets nothing start behind it
	heldBack     bool     // the turnstile knows that it waits
	decoding     bool     // a request is decoded again, and none starts behind it meanwhile
	hangs        bool     // a request ends the connection once those before it are answered, and none starts behind it
	pumping      bool
	full, muted  bool // muted as long as full
	ending       bool // Close was called
	ended        bool // the connection is gone
}

func (c *conn) receive(r *Request) {
	if string(r.sentClientID) != c.clientID {
		c.clientID = string(r.sentClientID)
	}
	r.sentClientID = nil
	if p, ok := r.Body.(*produceRequest); ok && r.fault == nil {
		r.parts = len(p.parts)
	}
	if c.head == nil {
		c.head = r
	} else {
		c.tail.next = r
	}
	c.tail = r
	if c.waiting == nil {
		c.waiting = r
	}
	c.queued++
	c.waitingBytes += len(r.frame.Data)
	r.arrived = c.broker.loop.Now()
	c.pump()
	if r.state == requestWaits && r.bulky() {
		r.Body, r.undecoded = nil, true
	}
}

// bulky reports whether what is decoded of a request may take many times its frame. Of Produce it is the partitions.
func (r *Request) bulky() bool {
	if r.Key == produceKey {
		return r.parts > smallParts
	}
	return len(r.frame.Data) > keptDecodedMax
}

// pump sends what is answered, in order, and starts what may start.
func (c *conn) pump() {
	if c.pumping {
		return
	}
	c.pumping = true
	for !c.ended && !c.ending && (c.sendHead() || c.startNext()) {
	}
	c.pumping = false
	c.full = c.queued >= queuedMax || c.waitingBytes > waitingBytesMax || (c.full && c.queued > queuedMax/2)
	c.mute()
	if c.broker.draining && c.head == nil {
		c.hangUp(false)
	}
}

// sendHead takes an answered request off the head of the queue.
func (c *conn) sendHead() bool {
	r := c.head
	if r == nil || r.state != requestAnswered {
		return false
	}
	if c.head = r.next; c.head == nil {
		c.tail = nil
	}
	r.next = nil
	c.queued--
	c.busy = false
	switch {
	case r.close:
		c.hangUp(false)
	case !r.silent:
		c.unwritten++
		c.parts += r.parts
		r.send = env.Send{Conn: c.id, Message: r, Done: r.wasWritten}
		c.broker.net.Send(&r.send)
	}
	return true
}

// startNext starts the first waiting request if the order allows it.
func (c *conn) startNext() bool {
	r := c.waiting
	if r == nil || c.busy || c.decoding || c.hangs {
		return false
	}
	shared := r.fault == nil && r.Key == produceKey
	if shared && (c.unwritten >= unwrittenProduceMax || c.parts >= unwrittenPartsMax) {
		return false
	}
	if !shared && (r != c.head || c.unwritten >= unwrittenMax) {
		return false
	}
	if r.fault == nil && !c.broker.turnstile.admits(c, r) {
		return false
	}
	c.busy = !shared
	c.waiting = r.next
	c.waitingBytes -= len(r.frame.Data)
	r.state = requestStarted
	if shared && r != c.head {
		c.broker.counts.pipelined.Hit()
	}
	if r.fault != nil {
		c.broker.counts.malformed.Add(1)
		c.broker.telemetry.Debug("a request was refused", slog.String("client", c.info.Remote), slog.String("why", r.fault.Error()))
		r.releaseFrame()
		r.hangUp()
		return true
	}
	body := r.Body
	r.Body = nil
	if r.undecoded {
		c.decodeAgain(r)
	} else {
		c.broker.handle(r, body)
	}
	return true
}

// decodeAgain decodes a request whose turn has come, off the loop, and hands it to its handler.
func (c *conn) decodeAgain(r *Request) {
	var body any
	c.decoding = true
	c.broker.turnstile.compute.Submit(&env.Compute{
		Work: func() { body = r.decodedAgain() },
		Done: func(*env.Compute) {
			c.decoding = false
			if c.ended || body == nil {
				r.releaseFrame()
				r.hangUp()
				return
			}
			c.broker.handle(r, body)
			c.pump()
		},
	})
}

// mute stops reading while the connection is full.
func (c *conn) mute() {
	if c.ended || c.ending || c.full == c.muted {
		return
	}
	c.muted = c.full
	if c.full {
		c.broker.counts.muted.Hit()
		c.broker.net.Mute(c.id)
	} else {
		c.broker.net.Unmute(c.id)
	}
}

// hangUp closes the connection behind what was sent.
func (c *conn) hangUp(abort bool) {
	if c.ended || (c.ending && !abort) {
		return
	}
	c.ending = true
	c.broker.net.Close(c.id, abort)
}

// closed drops the queue of a connection that is gone.
func (c *conn) closed() {
	c.ended = true
	for r := c.head; r != nil; {
		next := r.next
		r.next = nil
		r.drop()
		r = next
	}
	c.head, c.tail, c.waiting, c.queued = nil, nil, nil, 0
}

// drop ends a request whose connection is gone before it was answered.
func (r *Request) drop() {
	switch r.state {
	case requestWaits:
		r.releaseFrame()
	case requestStarted:
		if r.gone != nil {
			gone := r.gone
			r.gone = nil
			gone()
		}
	case requestAnswered:
		r.wasDropped()
	}
	r.Body = nil
}

// version implements exchange.
func (r *Request) version() int16 { return r.Version }

// listener implements exchange.
func (r *Request) listener() string { return r.conn.info.Listener }

// clientID implements exchange.
func (r *Request) clientID() string { return r.conn.clientID }

// reply implements exchange.
func (r *Request) reply(encode func(head []byte) [][]byte, written func()) {
	r.encode, r.written = encode, written
	r.end()
}

// replyMessage implements exchange.
func (r *Request) replyMessage(m kmsg.Response) {
	if r.state >= requestEncodes {
		panic("broker: a request was answered twice")
	}
	r.state, r.gone = requestEncodes, nil
	r.conn.broker.turnstile.encode(r, m)
}

// silence implements exchange.
func (r *Request) silence() {
	r.silent = true
	r.end()
}

// hangUp implements exchange.
func (r *Request) hangUp() {
	r.close, r.conn.hangs = true, true
	r.end()
}

// address implements exchange.
func (r *Request) address() string { return r.conn.address }

// cut implements exchange.
func (r *Request) cut() { r.conn.hangUp(true) }

func (r *Request) end() {
	if r.state == requestAnswered {
		panic("broker: a request was answered twice")
	}
	r.state, r.gone = requestAnswered, nil
	if r.conn.ended {
		r.conn.broker.counts.dropped.Hit()
		r.wasDropped()
		return
	}
	r.conn.pump()
}

// releaseFrame implements exchange.
func (r *Request) releaseFrame() {
	frame := r.frame
	if frame == nil {
		panic("broker: a frame was released twice")
	}
	r.frame = nil
	r.conn.broker.net.Release(frame)
}

// onGone implements exchange.
func (r *Request) onGone(f func()) {
	if r.state != requestAnswered {
		r.gone = f
	}
}

// Encode implements env.Outgoing.
func (r *Request) Encode(scratch []byte) [][]byte {
	if r.body != nil {
		return [][]byte{r.body}
	}
	return r.encode(r.appendHeader(scratch))
}

// appendHeader appends the response header: v0, or v1 for flexible versions of all
// APIs but ApiVersions, whose clients cannot know yet what is flexible.
func (r *Request) appendHeader(dst []byte) []byte {
	dst = kbin.AppendInt32(dst, r.CorrelationID)
	if r.Key != apiVersionsKey && r.api.Schema.IsFlexible(r.Version) {
		dst = append(dst, 0)
	}
	return dst
}

// wasWritten runs when the answer left, or never will.
func (r *Request) wasWritten(e *env.Send) {
	c := r.conn
	if e.Err == nil {
		c.broker.counts.took(r.Key, c.broker.loop.Now().Sub(r.arrived))
	}
	c.unwritten--
	c.parts -= r.parts
	r.wasDropped()
	if !c.ended {
		c.pump()
	}
}

// wasDropped lets go of what the answer needed.
func (r *Request) wasDropped() {
	written, lent := r.written, r.lent
	r.answer = answer{}
	if lent != nil {
		r.conn.broker.data.held.done(lent)
	}
	if written != nil {
		written()
	}
}
