package faults

import (
	"slices"
	"time"

	"weir/core/env"
)

// network decorates an env.Network. What a cut or a stall holds back goes on, in order, once it is over; a connection that
// ends meanwhile loses it.
type network struct {
	*injector
	network env.Network
	conns   map[env.ConnID]*conn
	order   []env.ConnID // of conns, by their opening
	checks  bool         // a look whether links work again is due
}

// conn is a connection of a client.
type conn struct {
	*network
	handler env.ConnHandler
	id      env.ConnID
	in      []arrived
	out     []*env.Send
	closed  bool
}

// arrived is a frame that is held back.
type arrived struct {
	message any
	frame   *env.Frame
}

func newNetwork(i *Injector, n env.Network) network {
	return network{injector: i, network: n, conns: map[env.ConnID]*conn{}}
}

// blocked returns the fault by which a direction between clients and this broker is cut or stalls; nil if none does.
func (n *network) blocked(inwards bool) *planned {
	for _, f := range n.faults {
		if t := &f.Target; t.Kind == Link && (f.Effect == Cut || f.Effect == Stall) && n.active(f) && n.carries(t, inwards) {
			return f
		}
	}
	return nil
}

// holds reports whether something in a direction is to be held back, and counts it.
func (n *network) holds(inwards, behindOthers bool) bool {
	f := n.blocked(inwards)
	if f != nil {
		f.struck.Add(1)
	}
	return f != nil || behindOthers
}

// carries reports whether a link is the way from clients to this broker, or back.
func (n *network) carries(t *Target, inwards bool) bool {
	from := func(a, b Party) bool {
		client, broker := a, b
		if !inwards {
			client, broker = b, a
		}
		return client.Role >= Clients && broker.Has(n.options.Place)
	}
	return from(t.At, t.To) || t.Both && from(t.To, t.At)
}

// Listen implements env.Network: whoever connects is a client, but for other brokers, which have a listener of their own.
func (n *network) Listen(o *env.Listen) {
	if n.options.Peers == "" || o.Name != n.options.Peers {
		o.Handler = &listener{network: n, handler: o.Handler}
	}
	n.network.Listen(o)
}

// listener hears of the connections of a listener.
type listener struct {
	*network
	handler env.ConnHandler
}

// Opened implements env.ConnHandler.
func (l *listener) Opened(id env.ConnID, info env.ConnInfo) {
	l.conns[id] = &conn{network: l.network, handler: l.handler, id: id}
	l.order = append(l.order, id)
	l.handler.Opened(id, info)
}

// Received implements env.ConnHandler.
func (l *listener) Received(id env.ConnID, message any, frame *env.Frame) {
	c := l.conns[id]
	if l.holds(true, len(c.in) > 0) {
		c.in = append(c.in, arrived{message, frame})
		l.check()
		return
	}
	l.handler.Received(id, message, frame)
}

// Closed implements env.ConnHandler.
func (l *listener) Closed(id env.ConnID, reason error) {
	l.conns[id].drop()
	delete(l.conns, id)
	l.order = slices.DeleteFunc(l.order, func(o env.ConnID) bool { return o == id })
	l.handler.Closed(id, reason)
}

// drop gives back what is held of a connection that ends.
func (c *conn) drop() {
	c.closed = true
	for _, a := range c.in {
		c.network.network.Release(a.frame)
	}
	for _, s := range c.out {
		c.gone(s)
	}
	c.in, c.out = nil, nil
}

// gone completes a send whose connection has ended.
func (c *conn) gone(s *env.Send) {
	s.Err = env.ErrConnGone
	if s.Done != nil {
		c.later(s)
	}
}

// Send implements env.Network.
func (n *network) Send(o *env.Send) {
	c := n.conns[o.Conn]
	if c == nil || !n.holds(false, len(c.out) > 0) {
		n.network.Send(o)
		return
	}
	if c.closed {
		c.gone(o)
		return
	}
	c.out = append(c.out, o)
	n.check()
}

// Close implements env.Network. What is held back does not arrive any more.
func (n *network) Close(id env.ConnID, abort bool) {
	if c := n.conns[id]; c != nil {
		c.drop()
	}
	n.network.Close(id, abort)
}

// lookEach is how often a link is looked at that holds something back.
const lookEach = 10 * time.Millisecond

// check looks soon whether what is held back may go on.
func (n *network) check() {
	if n.checks {
		return
	}
	n.checks = true
	n.after(lookEach, call(func() {
		n.checks = false
		n.release()
	}))
}

// release lets go on what may, and looks again later while anything is held back.
func (n *network) release() {
	in, out := n.blocked(true) == nil, n.blocked(false) == nil
	for _, id := range slices.Clone(n.order) {
		c := n.conns[id]
		if c == nil {
			continue // ended by what another received
		}
		c.release(in, out)
		if len(c.in)+len(c.out) > 0 {
			n.check()
		}
	}
}

func (c *conn) release(in, out bool) {
	for in && len(c.in) > 0 {
		a := c.in[0]
		c.in = c.in[1:]
		c.handler.Received(c.id, a.message, a.frame)
	}
	for out && len(c.out) > 0 {
		s := c.out[0]
		c.out = c.out[1:]
		c.network.network.Send(s)
	}
}

// reset ends all connections of clients.
func (n *network) reset() {
	for _, id := range slices.Clone(n.order) {
		n.Close(id, true)
	}
}

// Dial implements env.Network.
func (n *network) Dial(o *env.Dial) { n.network.Dial(o) }

// Release implements env.Network.
func (n *network) Release(f *env.Frame) { n.network.Release(f) }

// Mute implements env.Network.
func (n *network) Mute(id env.ConnID) { n.network.Mute(id) }

// Unmute implements env.Network.
func (n *network) Unmute(id env.ConnID) { n.network.Unmute(id) }

// SetCodec implements env.Network.
func (n *network) SetCodec(id env.ConnID, c env.Codec) { n.network.SetCodec(id, c) }

// StopListening implements env.Network.
func (n *network) StopListening() { n.network.StopListening() }

// LimitConnections implements env.Network.
func (n *network) LimitConnections(total, perIP int) { n.network.LimitConnections(total, perIP) }
