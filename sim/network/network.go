// Package network is the simulated network between clients and brokers.
//
// # Fault model
//
//   - Frames of one direction of a connection arrive in order, each after a
//     latency from the table; directions and connections overtake each other.
//   - A cut holds back what travels between a client and a broker, in one direction
//     or both; what is held arrives when the cut heals or up to as long after as
//     it was cut (3 s at most), if the connection still lives. Nobody is told of a
//     cut.
//   - A reset ends a connection: what is in flight is lost, and the two ends learn
//     of it at different times.
//   - A stall keeps one client from reading: sends to it stay lent.
//   - A crashed broker answers nothing: its peers learn of it by a reset at once
//     (the process died), or only when they send to its successor (power failed).
//   - Frames are never damaged, duplicated or reordered within a connection: TCP
//     promises that.
//   - A response is encoded some time after it was submitted, and its bytes are
//     read some time after that, so that memory freed too early is found out; a
//     received frame is poisoned when it is released.
//   - The byte budget of frames, and muting, hold frames back unread.
package network

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
	"weir/sim/machine"
)

// Errors that Closed carries.
var (
	errReset  = errors.New("connection reset by peer")
	errClosed = errors.New("connection closed")
)

// Client is one end of a client's connection. Its methods run at the client's
// end of the wire.
type Client interface {
	Connected(c *Conn)
	// Received gives a frame's body, valid during the call.
	Received(c *Conn, frame []byte)
	Closed(c *Conn, reason error)
}

// Link is the state of the path between one client and one broker; the zero
// value is good health.
type Link struct {
	CutToBroker  bool
	CutToClient  bool
	Stalled      bool  // the client reads nothing
	SlowPerMille int64 // scales latencies; 0 and 1000 are once
}

// Network is all paths and connections.
type Network struct {
	// Injected counts faults that took effect.
	Injected int

	queue   *event.Queue
	hosts   []*Host // by machine
	links   []*Link // by machine and client
	zones   map[int]int64
	conns   []*Conn // open ones, in order of opening
	nextID  env.ConnID
	clients int
	free    []*message
}

// New returns an empty network for clients numbered from 0.
func New(queue *event.Queue, clients int) *Network {
	n := &Network{queue: queue, clients: clients, zones: map[int]int64{}}
	return n
}

// Place puts a client into a zone. Links within a zone are faster; a client that was
// placed nowhere is in no broker's zone.
func (n *Network) Place(client int, zone int64) { n.zones[client] = zone }

// Link is the path between a client and a broker machine.
func (n *Network) Link(client int, machineID uint64) *Link {
	i := int(machineID)*n.clients + client
	for len(n.links) <= i {
		n.links = append(n.links, &Link{})
	}
	return n.links[i]
}

// Host returns a broker machine's place in the network, made at first use.
func (n *Network) Host(machineID uint64) *Host {
	for _, h := range n.hosts {
		if h.machine == machineID {
			return h
		}
	}
	h := &Host{network: n, machine: machineID, draws: n.queue.Stream("network host", machineID)}
	n.hosts = append(n.hosts, h)
	return h
}

func (n *Network) resolve(address string) *Host {
	for _, h := range n.hosts {
		for i := range h.listeners {
			if h.listeners[i].address == address {
				return h
			}
		}
	}
	return nil
}

// Dial connects a client. Connected or Closed follows; under a cut neither does
// until it heals.
func (n *Network) Dial(client int, address string, handler Client) *Conn {
	n.nextID++
	c := &Conn{id: n.nextID, network: n, client: client, handler: handler, address: address}
	c.draws = n.queue.Stream("connection", uint64(c.id))
	n.conns = append(n.conns, c)
	if h := n.resolve(address); h != nil {
		c.host = h
	}
	n.queue.After(c.latency(), Fire(c.arriveDial), 0)
	return c
}

// Fire is event.Func, for calls without allocation of an argument.
type Fire = event.Func

// Conn is one connection, both ends.
type Conn struct {
	id      env.ConnID
	network *Network
	client  int
	handler Client
	host    *Host
	address string
	draws   event.Stream

	accepted     *server  // the incarnation that accepted it
	listener     listener // and the listener
	clientClosed bool
	serverClosed bool
	serverGone   bool // Closed is delivered
	connected    bool
	dialing      bool

	toBroker, toClient lane

	// The broker's end.
	muted    bool
	waiting  bool       // in the host's queue for budget
	arrived  []*message // not yet read
	sends    []*sending
	sendBusy bool
	closing  bool
	scratch  []byte
	// Tag is the client's own.
	Tag uint64
}

// ID is the connection's number.
func (c *Conn) ID() env.ConnID { return c.id }

// lane is one direction.
type lane struct {
	last  event.Time // arrival of the latest frame
	held  []*message // by a cut, or behind what was held by one
	since event.Time // when the first of them was held
	going bool       // what is held is about to arrive
}

type message struct {
	conn     *Conn
	data     []byte
	toClient bool
	fin      bool
}

func (n *Network) message(c *Conn, toClient, fin bool, data []byte) *message {
	var m *message
	if k := len(n.free); k > 0 {
		m, n.free = n.free[k-1], n.free[:k-1]
	} else {
		m = &message{}
	}
	m.conn, m.toClient, m.fin = c, toClient, fin
	m.data = append(m.data[:0], data...)
	return m
}

func (n *Network) recycle(m *message) {
	m.conn = nil
	n.free = append(n.free, m)
}

func (c *Conn) link() *Link {
	if c.host == nil {
		return &Link{}
	}
	return c.network.Link(c.client, c.host.machine)
}

func (c *Conn) latency() time.Duration {
	row := &latency.LinkRegion
	if c.host != nil && c.host.Zone != 0 && c.host.Zone == c.network.zones[c.client] {
		row = &latency.LinkZone
	}
	return row.Scaled(&c.draws, c.link().SlowPerMille)
}

// travel sends a message on its way; it keeps its place behind earlier ones.
func (c *Conn) travel(m *message) {
	l := &c.toBroker
	if m.toClient {
		l = &c.toClient
	}
	at := max(c.network.queue.Now().Add(c.latency()+time.Duration(len(m.data))), l.last+1)
	l.last = at
	c.network.queue.At(at, m, 0)
}

// Fire implements event.Handler: a message arrives.
func (m *message) Fire(uint64) {
	c := m.conn
	l := &c.toBroker
	if m.toClient {
		l = &c.toClient
	}
	if c.cut(l) || len(l.held) > 0 {
		c.network.Injected++
		if len(l.held) == 0 {
			l.since = c.network.queue.Now()
		}
		l.held = append(l.held, m)
		return
	}
	c.arrive(m)
}

func (c *Conn) arrive(m *message) {
	if m.toClient {
		c.arriveAtClient(m)
		return
	}
	c.arriveAtBroker(m)
}

// Healed lets go what a cut or a stall held back, after the links were changed.
func (n *Network) Healed() {
	for _, c := range append([]*Conn(nil), n.conns...) {
		link := c.link()
		if !link.CutToBroker {
			c.letGo(&c.toBroker)
			if c.dialing && !c.connected && !c.clientClosed {
				c.arriveDial()
			}
		}
		if !link.CutToClient && !link.Stalled {
			c.letGo(&c.toClient)
			c.pumpSends()
		}
	}
}

// retryMax is the longest wait between two tries of a connection's sender.
const retryMax = 3 * time.Second

// letGo lets what is held go on when its sender tries again: at once, or after as
// long as it has been trying, since each try waits for twice as long as the one
// before; so a younger connection gets through first. What arrives until then queues
// up behind it: it was sent later.
func (c *Conn) letGo(l *lane) {
	if len(l.held) == 0 || l.going {
		return
	}
	l.going = true
	wait := c.latency()
	if c.draws.PerMille(500) {
		wait += c.draws.Duration(0, min(c.network.queue.Now().Sub(l.since), retryMax))
	}
	c.network.queue.After(wait, Fire(func() {
		l.going = false
		for len(l.held) > 0 && !c.cut(l) {
			m := l.held[0]
			l.held = l.held[1:]
			c.arrive(m)
		}
	}), 0)
}

// cut reports whether a cut or a stall holds a lane back.
func (c *Conn) cut(l *lane) bool {
	link := c.link()
	if l == &c.toBroker {
		return link.CutToBroker
	}
	return link.CutToClient || link.Stalled
}

// Reset breaks every connection between a client and a broker machine; client -1
// is all.
func (n *Network) Reset(client int, machineID uint64) {
	for _, c := range append([]*Conn(nil), n.conns...) {
		if (client < 0 || c.client == client) && c.host != nil && c.host.machine == machineID && c.connected {
			n.Injected++
			c.reset()
		}
	}
}

func (c *Conn) reset() {
	c.network.queue.Note(event.KindConn, c.hostID(), 3, uint64(c.id), 0)
	c.dropMessages()
	c.serverClosed = true
	c.network.queue.After(c.latency(), Fire(func() { c.closeServer(errReset) }), 0)
	c.network.queue.After(c.latency(), Fire(func() { c.closeClient(errReset) }), 0)
}

func (c *Conn) hostID() uint64 {
	if c.host == nil {
		return 0
	}
	return c.host.machine
}

// dropMessages loses what is under way: arrivals check for it.
func (c *Conn) dropMessages() { c.toBroker.held, c.toClient.held = nil, nil }

func (c *Conn) closeClient(reason error) {
	if c.clientClosed {
		return
	}
	c.clientClosed = true
	c.forget()
	c.handler.Closed(c, reason)
}

// forget drops the connection once both ends are done with it.
func (c *Conn) forget() {
	if !c.clientClosed || c.accepted != nil && !c.serverGone && !c.accepted.box.Dead() {
		return
	}
	n := c.network
	for i, o := range n.conns {
		if o == c {
			n.conns = append(n.conns[:i], n.conns[i+1:]...)
			return
		}
	}
}

// Send sends a frame's body from the client, which may reuse it at once.
func (c *Conn) Send(frame []byte) {
	if !c.clientClosed {
		c.travel(c.network.message(c, false, false, frame))
	}
}

// Close closes the client's end. Closed does not follow.
func (c *Conn) Close() {
	if c.clientClosed {
		return
	}
	c.clientClosed = true
	if c.accepted != nil {
		c.travel(c.network.message(c, false, true, nil))
	}
	c.forget()
}

func (c *Conn) arriveDial() {
	if c.clientClosed || c.connected {
		return
	}
	if c.host == nil {
		c.host = c.network.resolve(c.address)
	}
	link := c.link()
	if link.CutToBroker || link.CutToClient {
		c.dialing = true
		c.network.Injected++
		return
	}
	h := c.host
	if h == nil || h.server == nil || h.server.box.Dead() || h.server.refusing {
		c.network.queue.After(c.latency(), Fire(func() { c.closeClient(errReset) }), 0)
		return
	}
	i := h.listening(c.address)
	if i < 0 {
		c.network.queue.After(c.latency(), Fire(func() { c.closeClient(errReset) }), 0)
		return
	}
	c.connected, c.accepted, c.listener = true, h.server, h.listeners[i]
	h.server.open = append(h.server.open, c)
	c.network.queue.Note(event.KindConn, h.machine, 1, uint64(c.id), uint64(c.client))
	h.server.box.Deliver(&opened{c})
	c.network.queue.After(c.latency(), Fire(func() {
		if !c.clientClosed {
			c.handler.Connected(c)
		}
	}), 0)
}

func (c *Conn) arriveAtClient(m *message) {
	n := c.network
	if !c.clientClosed && (c.accepted == nil || !c.serverClosed || m.fin || !c.accepted.aborted(c)) {
		if m.fin {
			c.closeClient(errClosed)
		} else {
			n.queue.Note(event.KindFrameOut, c.hostID(), uint64(c.id), event.Sum(m.data), uint64(c.client))
			c.handler.Received(c, m.data)
		}
	}
	n.recycle(m)
}

// --- the broker's end ---

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
	open     []*Conn
	refusing bool
	used     int64
	starving []*Conn
	frames   int
	spare    [][]byte
}

// Attach returns the network as one incarnation sees it.
func (h *Host) Attach(box *machine.Box) env.Network {
	h.server = &server{host: h, box: box}
	h.listeners = h.listeners[:0]
	return h.server
}

// Frames counts frames not yet released by the present incarnation.
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

// Crash drops the incarnation's connections. Its clients see a reset if silent
// is false; otherwise nothing, until they send to the next incarnation.
func (h *Host) Crash(silent bool) {
	s := h.server
	if s == nil {
		return
	}
	h.listeners = h.listeners[:0]
	for _, c := range s.open {
		c.dropMessages()
		c.serverClosed, c.serverGone = true, true
		if !silent {
			c.network.queue.After(c.latency(), Fire(func() { c.closeClient(errReset) }), 0)
		}
		if c.clientClosed {
			c.forget()
		}
	}
	s.open = nil
}

func (c *Conn) arriveAtBroker(m *message) {
	n, s := c.network, c.accepted
	if s == nil || s.box.Dead() {
		n.recycle(m)
		if c.host != nil && c.host.server != nil && !c.host.server.box.Dead() {
			n.queue.After(c.latency(), Fire(func() { c.closeClient(errReset) }), 0)
		}
		return
	}
	if c.serverClosed {
		n.recycle(m)
		return
	}
	c.arrived = append(c.arrived, m)
	s.pump(c)
}

// pump reads what has arrived, as far as muting and the budget allow.
func (s *server) pump(c *Conn) {
	for len(c.arrived) > 0 && !c.muted && !c.serverClosed {
		m := c.arrived[0]
		if m.fin {
			c.arrived = c.arrived[1:]
			s.host.network.recycle(m)
			c.closeServer(errClosed)
			return
		}
		budget := s.host.FrameBudget
		if budget > 0 && s.used > 0 && s.used+int64(len(m.data)) > budget {
			if !c.waiting {
				c.waiting = true
				s.starving = append(s.starving, c)
			}
			return
		}
		c.arrived = c.arrived[1:]
		s.read(c, m)
	}
}

func (s *server) read(c *Conn, m *message) {
	n := s.host.network
	n.queue.Note(event.KindFrameIn, s.host.machine, uint64(c.id), event.Sum(m.data), uint64(c.client))
	if err := c.listener.codec.Admit(len(m.data), m.data[:min(8, len(m.data))]); err != nil {
		n.recycle(m)
		c.breakBoth(err)
		return
	}
	data := append(s.buffer(len(m.data)), m.data...)
	n.recycle(m)
	message, err := c.listener.codec.Decode(data)
	if err != nil {
		c.breakBoth(err)
		return
	}
	s.used += int64(len(data))
	s.frames++
	s.box.Deliver(&received{c, message, &env.Frame{Data: data, World: c}})
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

func (c *Conn) breakBoth(reason error) {
	c.closeServer(reason)
	c.network.queue.After(c.latency(), Fire(func() { c.closeClient(errReset) }), 0)
}

// closeServer ends the broker's end and tells it.
func (c *Conn) closeServer(reason error) {
	s := c.accepted
	if s == nil || c.serverGone || s.box.Dead() {
		return
	}
	c.serverClosed, c.serverGone = true, true
	for i, o := range s.open {
		if o == c {
			s.open = append(s.open[:i], s.open[i+1:]...)
			break
		}
	}
	for _, m := range c.arrived {
		c.network.recycle(m)
	}
	c.arrived = nil
	sends := c.sends
	c.sends = nil
	for _, p := range sends {
		p.gone(s)
	}
	c.network.queue.Note(event.KindConn, s.host.machine, 2, uint64(c.id), 0)
	s.box.Deliver(&closed{c, reason})
	c.forget()
}

func (s *server) aborted(c *Conn) bool { return c.serverClosed && !c.closing }

type opened struct{ c *Conn }

func (e *opened) Deliver() {
	e.c.listener.handler.Opened(e.c.id, env.ConnInfo{Listener: e.c.listener.name, Remote: fmt.Sprintf("10.0.0.%d:%d", e.c.client+1, 30000+int(e.c.id)%30000)})
}

type received struct {
	c       *Conn
	message any
	frame   *env.Frame
}

func (e *received) Deliver() { e.c.listener.handler.Received(e.c.id, e.message, e.frame) }

type closed struct {
	c      *Conn
	reason error
}

func (e *closed) Deliver() { e.c.listener.handler.Closed(e.c.id, e.reason) }

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
	for _, c := range starving {
		c.waiting = false
		s.pump(c)
	}
}

func (s *server) conn(id env.ConnID) *Conn {
	for _, c := range s.open {
		if c.id == id {
			return c
		}
	}
	return nil
}

// Mute implements env.Network.
func (s *server) Mute(id env.ConnID) {
	if c := s.conn(id); c != nil {
		c.muted = true
	}
}

// Unmute implements env.Network.
func (s *server) Unmute(id env.ConnID) {
	if c := s.conn(id); c != nil {
		c.muted = false
		s.pump(c)
	}
}

// SetCodec implements env.Network.
func (s *server) SetCodec(id env.ConnID, codec env.Codec) {
	if c := s.conn(id); c != nil {
		c.listener.codec = codec
	}
}

// StopListening implements env.Network.
func (s *server) StopListening() { s.refusing = true }

// Close implements env.Network.
func (s *server) Close(id env.ConnID, abort bool) {
	c := s.conn(id)
	if c == nil {
		return
	}
	if abort {
		c.breakBoth(errClosed)
		return
	}
	c.closing = true
	c.pumpSends()
}

// sending is a response on its way out.
type sending struct {
	conn   *Conn
	send   *env.Send
	pieces [][]byte
}

// Send implements env.Network.
func (s *server) Send(e *env.Send) {
	c := s.conn(e.Conn)
	p := &sending{conn: c, send: e}
	if c == nil || c.serverClosed || c.closing {
		p.gone(s)
		return
	}
	c.sends = append(c.sends, p)
	c.pumpSends()
}

func (p *sending) gone(s *server) {
	p.send.Err = env.ErrConnGone
	if p.send.Done != nil {
		s.host.network.queue.After(time.Microsecond, Fire(func() { s.box.Deliver(p.send) }), 0)
	}
}

// pumpSends takes the next response: encoded after a moment, written after
// another, both off the loop.
func (c *Conn) pumpSends() {
	if c.sendBusy || c.serverClosed || c.accepted == nil || c.accepted.box.Dead() {
		return
	}
	if len(c.sends) == 0 {
		if c.closing {
			c.travel(c.network.message(c, true, true, nil))
			c.closeServer(errClosed)
		}
		return
	}
	if c.link().Stalled {
		return
	}
	c.sendBusy = true
	c.network.queue.After(time.Duration(c.draws.Below(int64(15*time.Microsecond))), c.sends[0], 0)
}

// Fire implements event.Handler: 0 encodes, 1 writes.
func (p *sending) Fire(phase uint64) {
	c := p.conn
	s := c.accepted
	if s.box.Dead() {
		return
	}
	if len(c.sends) == 0 || c.sends[0] != p {
		return // closed meanwhile
	}
	if phase == 0 {
		p.pieces = p.send.Message.Encode(c.scratch[:0])
		c.network.queue.After(time.Duration(c.draws.Below(int64(20*time.Microsecond))), p, 1)
		return
	}
	m := c.network.message(c, true, false, nil)
	for _, piece := range p.pieces {
		m.data = append(m.data, piece...)
	}
	if len(p.pieces) > 0 {
		c.scratch = p.pieces[0]
	}
	p.pieces = nil
	c.travel(m)
	copy(c.sends, c.sends[1:])
	c.sends = c.sends[:len(c.sends)-1]
	c.sendBusy = false
	if p.send.Done != nil {
		p.send.Err = nil
		s.box.Deliver(p.send)
	}
	c.pumpSends()
}
