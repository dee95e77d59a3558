package network

import (
	"fmt"
	"time"

	"weir/core/env"
	"weir/sim/event"
)

// end is a broker's end of a connection, one that it accepted or one that it dialed.
type end struct {
	id      env.ConnID
	conn    *Conn
	server  *server // the incarnation
	handler env.ConnHandler
	codec   env.Codec
	dial    *env.Dial // nil at the end that accepted

	connected bool // a dialed end's: Opened is delivered
	closed    bool // nothing is read or sent any more
	gone      bool // and Closed is delivered
	closing   bool // Close was called: what was sent before is still written

	incoming *incoming // a frame of which a piece is missing
	muted    bool
	waiting  bool       // in the server's queue for budget
	arrived  []*message // not yet read
	sends    []*sending
	sendBusy bool
	scratch  []byte
}

type (
	opened struct {
		*end
		info env.ConnInfo
	}
	received struct {
		*end
		message any
		frame   *env.Frame
	}
	closed struct {
		*end
		reason error
	}
)

func (e *opened) Deliver() {
	e.handler.Opened(e.id, e.info)
	if e.dial != nil {
		e.dial.Deliver()
	}
}

func (e *received) Deliver() {
	e.server.frames++ // what still lies in the mailbox of a node that ended is not its own
	e.handler.Received(e.id, e.message, e.frame)
}

func (e *closed) Deliver() { e.handler.Closed(e.id, e.reason) }

// dialed reports whether this end dialed.
func (e *end) dialed() bool { return e.dial != nil }

// connect completes a dial.
func (e *end) connect() {
	s := e.server
	if s.box.Dead() {
		return
	}
	e.connected = true
	s.open = append(s.open, e)
	e.dial.Conn, e.dial.Err = e.id, nil
	e.conn.network.queue.Note(event.KindConn, s.host.machine, 1, uint64(e.id), uint64(e.conn.id))
	s.box.Deliver(&opened{e, env.ConnInfo{Remote: e.conn.address}})
	e.pump()
}

// end is the end of a connection that this end dialed, or the failure of its dial.
func (e *end) end(reason error) {
	if e.connected {
		e.close(reason)
		return
	}
	e.conn.clientClosed, e.closed, e.gone = true, true, true
	e.conn.forget()
	e.dial.Err = fmt.Errorf("dial %s: %w", e.conn.address, reason)
	e.server.box.Deliver(e.dial)
}

// crash is the end of the incarnation.
func (e *end) crash(silent bool) {
	c := e.conn
	c.dropMessages()
	e.closed, e.gone = true, true
	if e.dialed() {
		c.clientClosed = true
	}
	if !silent {
		e.resetOther()
	}
	if c.clientClosed {
		c.forget()
	}
}

// resetOther lets the other end learn of a reset.
func (e *end) resetOther() {
	if e.dialed() {
		e.conn.resetBroker()
		return
	}
	e.conn.resetClient()
}

// arrive takes a message in.
func (e *end) arrive(m *message) {
	switch {
	case e.server.box.Dead():
		e.conn.network.recycle(m)
		if next := e.server.host.server; !next.box.Dead() {
			e.resetOther()
		}
	case e.closed || !m.fin && e.otherAborted():
		e.conn.network.recycle(m)
	default:
		e.arrived = append(e.arrived, m)
		e.pump()
	}
}

// otherAborted reports whether the other end is a broker's that broke the connection.
func (e *end) otherAborted() bool {
	if e.dialed() {
		return e.conn.accepted.aborted()
	}
	return e.conn.dialer != nil && e.conn.dialer.aborted()
}

func (e *end) aborted() bool { return e.closed && !e.closing }

// pump reads what has arrived, as far as muting and the budget allow.
func (e *end) pump() {
	for len(e.arrived) > 0 && !e.muted && !e.closed && (e.connected || !e.dialed()) {
		m := e.arrived[0]
		if m.fin {
			e.arrived = e.arrived[1:]
			e.conn.network.recycle(m)
			e.close(errClosed)
			return
		}
		if m.size > 0 && !e.gather(m) {
			continue
		}
		if !e.server.reserve(e, len(m.data)) {
			return
		}
		e.arrived = e.arrived[1:]
		e.read(m)
	}
}

// FrameTimeout is how long a frame may take from its first piece to its last.
const FrameTimeout = 30 * time.Second

// incoming is a frame that arrives in pieces.
type incoming struct {
	data     []byte
	admitted bool
}

// gather adds a piece to the frame that it is of. It reports whether the frame is whole: then m is the frame.
func (e *end) gather(m *message) bool {
	n := e.conn.network
	if e.incoming == nil {
		in := &incoming{}
		e.incoming = in
		n.queue.After(FrameTimeout, Fire(func() {
			if e.incoming == in {
				e.breakBoth(errSlow)
			}
		}), 0)
	}
	in := e.incoming
	in.data = append(in.data, m.data...)
	if head := min(8, m.size); !in.admitted && len(in.data) >= head {
		in.admitted = true
		if err := e.codec.Admit(m.size, in.data[:head]); err != nil {
			e.breakBoth(err)
			return false
		}
	}
	if len(in.data) < m.size {
		e.arrived = e.arrived[1:]
		n.recycle(m)
		return false
	}
	m.data, m.size, e.incoming = append(m.data[:0], in.data[:m.size]...), 0, nil
	return true
}

func (e *end) read(m *message) {
	n, s := e.conn.network, e.server
	n.queue.Note(event.KindFrameIn, s.host.machine, uint64(e.id), event.Sum(m.data), uint64(e.conn.client))
	if err := e.codec.Admit(len(m.data), m.data[:min(8, len(m.data))]); err != nil {
		n.recycle(m)
		e.breakBoth(err)
		return
	}
	data := append(s.buffer(len(m.data)), m.data...)
	n.recycle(m)
	message, err := e.codec.Decode(data)
	if err != nil {
		e.breakBoth(err)
		return
	}
	s.used += int64(len(data))
	s.box.Deliver(&received{e, message, &env.Frame{Data: data, World: e}})
}

func (e *end) breakBoth(reason error) {
	e.close(reason)
	e.resetOther()
}

// close ends this end and tells its incarnation.
func (e *end) close(reason error) {
	s, n := e.server, e.conn.network
	if e.gone || s.box.Dead() {
		return
	}
	e.closed, e.gone, e.incoming = true, true, nil
	if e.dialed() {
		e.conn.clientClosed = true
	}
	for i, o := range s.open {
		if o == e {
			s.open = append(s.open[:i], s.open[i+1:]...)
			break
		}
	}
	for _, m := range e.arrived {
		n.recycle(m)
	}
	e.arrived = nil
	sends := e.sends
	e.sends = nil
	for _, p := range sends {
		p.gone(s)
	}
	n.queue.Note(event.KindConn, s.host.machine, 2, uint64(e.id), 0)
	s.box.Deliver(&closed{e, reason})
	e.conn.forget()
}

// sending is a frame on its way out.
type sending struct {
	end    *end // nil if there is none
	send   *env.Send
	pieces [][]byte
}

func (p *sending) gone(s *server) {
	p.send.Err = env.ErrConnGone
	if p.send.Done != nil {
		s.host.network.queue.After(time.Microsecond, Fire(func() { s.box.Deliver(p.send) }), 0)
	}
}

// pumpSends takes the next frame to send: encoded after a moment, written after
// another, both off the loop.
func (e *end) pumpSends() {
	c := e.conn
	if e.sendBusy || e.closed || e.server.box.Dead() {
		return
	}
	if len(e.sends) == 0 {
		if e.closing {
			c.travel(c.network.message(c, !e.dialed(), true, nil))
			e.close(errClosed)
		}
		return
	}
	if !e.dialed() && c.link().Stalled {
		return
	}
	e.sendBusy = true
	c.network.queue.After(time.Duration(c.draws.Below(int64(15*time.Microsecond))), e.sends[0], 0)
}

// Fire implements event.Handler: 0 encodes, 1 writes.
func (p *sending) Fire(phase uint64) {
	e := p.end
	c := e.conn
	if e.server.box.Dead() {
		return
	}
	if len(e.sends) == 0 || e.sends[0] != p {
		return // closed meanwhile
	}
	if phase == 0 {
		p.pieces = p.send.Message.Encode(e.scratch[:0])
		c.network.queue.After(time.Duration(c.draws.Below(int64(20*time.Microsecond))), p, 1)
		return
	}
	m := c.network.message(c, !e.dialed(), false, nil)
	for _, piece := range p.pieces {
		m.data = append(m.data, piece...)
	}
	if len(p.pieces) > 0 {
		e.scratch = p.pieces[0]
	}
	p.pieces = nil
	c.travel(m)
	copy(e.sends, e.sends[1:])
	e.sends = e.sends[:len(e.sends)-1]
	e.sendBusy = false
	if p.send.Done != nil {
		p.send.Err = nil
		e.server.box.Deliver(p.send)
	}
	e.pumpSends()
}
