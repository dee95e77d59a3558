package network

import (
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
)

// Conn is one connection: one broker accepts it, and a client or another broker, which
// is the client here, dials it.
type Conn struct {
	id      env.ConnID
	network *Network
	address string
	draws   event.Stream

	client       int    // -1 if a broker dials
	handler      Client // a client's
	dialer       *end   // a broker's
	clientClosed bool
	connected    bool // the broker has accepted
	held         bool // by a cut, before that

	host     *Host // who accepts
	accepted *end  // nil until it has

	toBroker, toClient lane
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
	size     int // of the frame that this is a piece of; 0: a whole one
}

func (n *Network) message(c *Conn, toClient, fin bool, data []byte) *message {
	var m *message
	if k := len(n.free); k > 0 {
		m, n.free = n.free[k-1], n.free[:k-1]
	} else {
		m = &message{}
	}
	m.conn, m.toClient, m.fin, m.size = c, toClient, fin, 0
	m.data = append(m.data[:0], data...)
	return m
}

func (n *Network) recycle(m *message) {
	m.conn = nil
	n.free = append(n.free, m)
}

func (c *Conn) link() *Link {
	switch {
	case c.host == nil:
		return &Link{}
	case c.dialer != nil:
		return c.network.PeerLink(c.dialer.server.host.machine, c.host.machine)
	}
	return c.network.Link(c.client, c.host.machine)
}

func (c *Conn) latency() time.Duration {
	row := &latency.LinkRegion
	if c.host != nil && c.host.Zone != 0 && c.host.Zone == c.clientZone() {
		row = &latency.LinkZone
	}
	return row.Scaled(&c.draws, c.link().SlowPerMille)
}

func (c *Conn) clientZone() int64 {
	if c.dialer != nil {
		return c.dialer.server.host.Zone
	}
	return c.network.zones[c.client]
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
	switch {
	case m.toClient && c.dialer != nil:
		c.dialer.arrive(m)
	case m.toClient:
		c.arriveAtClient(m)
	case c.accepted != nil:
		c.accepted.arrive(m)
	default:
		c.network.recycle(m)
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

func (c *Conn) reset() {
	c.network.queue.Note(event.KindConn, c.hostID(), 3, uint64(c.id), 0)
	c.dropMessages()
	c.accepted.closed = true
	if c.dialer != nil {
		c.dialer.closed = true
	}
	c.resetBroker()
	c.resetClient()
}

// resetBroker lets the end that accepted learn of a reset.
func (c *Conn) resetBroker() {
	c.network.queue.After(c.latency(), Fire(func() { c.accepted.close(errReset) }), 0)
}

// resetClient lets the end that dialed learn of a reset.
func (c *Conn) resetClient() {
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
	if c.dialer != nil {
		c.dialer.end(reason)
		return
	}
	c.clientClosed = true
	c.forget()
	c.handler.Closed(c, reason)
}

// forget drops the connection once both ends are done with it.
func (c *Conn) forget() {
	if !c.clientClosed || c.accepted != nil && !c.accepted.gone && !c.accepted.server.box.Dead() {
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

// SendPiece sends the next piece of a frame's body of size bytes. The size is announced with the first.
func (c *Conn) SendPiece(piece []byte, size int) {
	if !c.clientClosed {
		m := c.network.message(c, false, false, piece)
		m.size = size
		c.travel(m)
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

// dial sends the request for a connection on its way.
func (c *Conn) dial() {
	c.host = c.network.resolve(c.address)
	c.network.queue.After(c.latency(), Fire(c.arriveDial), 0)
}

func (c *Conn) arriveDial() {
	if c.dialer != nil && c.dialer.server.box.Dead() {
		c.clientClosed = true
		c.forget()
	}
	if c.clientClosed || c.connected {
		return
	}
	if c.host == nil {
		c.host = c.network.resolve(c.address)
	}
	link := c.link()
	if link.CutToBroker || link.CutToClient {
		c.held = true
		c.network.Injected++
		return
	}
	h := c.host
	if h == nil || h.server == nil || h.server.box.Dead() || h.server.refusing {
		c.refuse()
		return
	}
	i := h.listening(c.address)
	if i < 0 {
		c.refuse()
		return
	}
	c.connected = true
	c.accepted = h.server.accept(c, &h.listeners[i])
	c.network.queue.After(c.latency(), Fire(c.tellConnected), 0)
}

func (c *Conn) refuse() {
	c.network.queue.After(c.latency(), Fire(func() { c.closeClient(errRefused) }), 0)
}

func (c *Conn) tellConnected() {
	switch {
	case c.clientClosed:
	case c.dialer != nil:
		c.dialer.connect()
	default:
		c.handler.Connected(c)
	}
}

func (c *Conn) arriveAtClient(m *message) {
	n := c.network
	if !c.clientClosed && (c.accepted == nil || m.fin || !c.accepted.aborted()) {
		if m.fin {
			c.closeClient(errClosed)
		} else {
			n.queue.Note(event.KindFrameOut, c.hostID(), uint64(c.id), event.Sum(m.data), uint64(c.client))
			c.handler.Received(c, m.data)
		}
	}
	n.recycle(m)
}
