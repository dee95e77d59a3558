package network

import (
	"bytes"
	"fmt"
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/machine"
)

// dialTimeout is what env.Dial has where it names no timeout.
const dialTimeout = 10 * time.Second

type listener struct {
	address string
	name    string
	handler env.ConnHandler
	codec   env.Codec
}

// Host is a broker machine's place in the network.
type Host struct {
	// FrameBudget bounds the bytes of frames not yet released; 0 is no bound.
	FrameBudget int64
	// Zone is where the machine is; 0 is in no zone.
	Zone int64

	network   *Network
	machine   uint64
	server    *server
	listeners []listener
	draws     event.Stream
	nextPort  int
}

// server is one incarnation's network.
type server struct {
	host     *Host
	box      *machine.Box
	open     []*end
	refusing bool
	used     int64
	starving []*end
	frames   int
	spare    [][]byte
}

// Attach returns the network as one incarnation sees it.
func (h *Host) Attach(box *machine.Box) env.Network {
	h.server = &server{host: h, box: box}
	h.listeners = h.listeners[:0]
	return h.server
}

// Frames counts frames that the present incarnation has received and not yet released.
func (h *Host) Frames() int { return h.server.frames }

// Open counts connections that the present incarnation has open.
func (h *Host) Open() int { return len(h.server.open) }

func (h *Host) listening(address string) int {
	for i := range h.listeners {
		if h.listeners[i].address == address {
			return i
		}
	}
	return -1
}

// Crash drops the incarnation's connections. Their other ends see a reset if silent
// is false; otherwise nothing, until they send to the next incarnation.
func (h *Host) Crash(silent bool) {
	s := h.server
	if s == nil {
		return
	}
	h.listeners = h.listeners[:0]
	for _, e := range s.open {
		e.crash(silent)
	}
	s.open = nil
}

// Listen implements env.Network.
func (s *server) Listen(e *env.Listen) {
	s.host.network.queue.After(20*time.Microsecond, Fire(func() {
		if s.box.Dead() {
			return
		}
		e.Bound, e.Err = s.host.bind(e.Address), nil
		s.host.listeners = append(s.host.listeners, listener{e.Bound, e.Name, e.Handler, e.Codec})
		s.box.Deliver(e)
	}), 0)
}

func (h *Host) bind(address string) string {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' && address[i:] == ":0" {
			h.nextPort++
			return fmt.Sprintf("%s:%d", address[:i], 9092+h.nextPort)
		}
	}
	return address
}

// accept opens the broker's end of a connection.
func (s *server) accept(c *Conn, l *listener) *end {
	e := &end{id: c.id, conn: c, server: s, handler: l.handler, codec: l.codec}
	s.open = append(s.open, e)
	c.network.queue.Note(event.KindConn, s.host.machine, 1, uint64(e.id), uint64(c.client))
	s.box.Deliver(&opened{e, env.ConnInfo{Listener: l.name, Remote: c.clientAddress()}})
	return e
}

// clientAddress is where the end that dialed is.
func (c *Conn) clientAddress() string {
	port := 30000 + int(c.id)%30000
	if c.dialer != nil {
		return fmt.Sprintf("10.1.0.%d:%d", c.dialer.server.host.machine+1, port)
	}
	return fmt.Sprintf("10.0.0.%d:%d", c.client+1, port)
}

// Dial implements env.Network.
func (s *server) Dial(op *env.Dial) {
	n := s.host.network
	c := n.newConn(-1, op.Address)
	n.nextID++
	c.dialer = &end{id: n.nextID, conn: c, server: s, handler: op.Handler, codec: op.Codec, dial: op}
	c.dial()
	timeout := op.Timeout
	if timeout == 0 {
		timeout = dialTimeout
	}
	n.queue.After(timeout, Fire(func() {
		if !c.connected {
			c.closeClient(errTimeout)
		}
	}), 0)
}

var poison = bytes.Repeat([]byte{0xdb}, 4096)

// Release implements env.Network.
func (s *server) Release(f *env.Frame) {
	if f.World == nil {
		panic("sim: a frame was released twice")
	}
	f.World = nil
	s.frames--
	s.used -= int64(len(f.Data))
	for at := 0; at < len(f.Data); {
		at += copy(f.Data[at:], poison)
	}
	if len(s.spare) < 64 {
		s.spare = append(s.spare, f.Data)
	}
	f.Data = nil
	starving := s.starving
	s.starving = nil
	for _, e := range starving {
		e.waiting = false
		e.pump()
	}
}

// reserve takes budget for a frame of an end, or lets the end wait for it.
func (s *server) reserve(e *end, size int) bool {
	budget := s.host.FrameBudget
	if budget <= 0 || s.used == 0 || s.used+int64(size) <= budget {
		return true
	}
	if !e.waiting {
		e.waiting = true
		s.starving = append(s.starving, e)
	}
	return false
}

func (s *server) buffer(size int) []byte {
	for i := len(s.spare) - 1; i >= 0 && i >= len(s.spare)-4; i-- {
		if cap(s.spare[i]) >= size {
			b := s.spare[i]
			s.spare = append(s.spare[:i], s.spare[i+1:]...)
			return b[:0]
		}
	}
	return make([]byte, 0, size)
}

func (s *server) find(id env.ConnID) *end {
	for _, e := range s.open {
		if e.id == id {
			return e
		}
	}
	return nil
}

// Mute implements env.Network.
func (s *server) Mute(id env.ConnID) {
	if e := s.find(id); e != nil {
		e.muted = true
	}
}

// Unmute implements env.Network.
func (s *server) Unmute(id env.ConnID) {
	if e := s.find(id); e != nil {
		e.muted = false
		e.pump()
	}
}

// SetCodec implements env.Network.
func (s *server) SetCodec(id env.ConnID, codec env.Codec) {
	if e := s.find(id); e != nil {
		e.codec = codec
	}
}

// LimitConnections implements env.Network. It does nothing: machines have room for all clients of a run.
func (s *server) LimitConnections(int, int) {}

// StopListening implements env.Network.
func (s *server) StopListening() { s.refusing = true }

// Close implements env.Network.
func (s *server) Close(id env.ConnID, abort bool) {
	e := s.find(id)
	switch {
	case e == nil:
	case abort:
		e.breakBoth(errClosed)
	default:
		e.closing = true
		e.pumpSends()
	}
}

// Send implements env.Network.
func (s *server) Send(op *env.Send) {
	e := s.find(op.Conn)
	p := &sending{end: e, send: op}
	if e == nil || e.closed || e.closing {
		p.gone(s)
		return
	}
	e.sends = append(e.sends, p)
	e.pumpSends()
}
