package peer

import (
	"crypto/hmac"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"weir/core/env"
	"weir/core/task"
)

// step is where a connection is in its handshake.
type step uint8

const (
	saysHello step = iota // the dialing end has said hello; the accepting one waits for it
	proves                // the dialing end has proved and waits for ready; the accepting one waits for the proof
	ready
)

// conn is one connection. It implements env.ConnHandler.
type conn struct {
	mesh    *Mesh
	id      env.ConnID
	open    bool
	dialed  bool
	target  *node // that was dialed
	remote  string
	step    step
	own     hello
	peer    hello
	timeout task.Timer
	bytes   int // being written
	closing bool
}

// newConn is a connection that this node dials, or (nil) that it accepts.
func (m *Mesh) newConn(target *node) *conn {
	c := &conn{mesh: m, dialed: target != nil, target: target}
	c.own = hello{versionMin: versionMin, versionMax: versionMax, cluster: m.cluster, node: m.o.Node, incarnation: m.o.Incarnation}
	m.nonces++
	for i := range c.own.nonce {
		c.own.nonce[i] = byte(m.o.Env.Rand.Uint64("peer nonce", m.nonces, uint64(i)))
	}
	return c
}

// acceptor takes the connections of a listener.
type acceptor struct{ m *Mesh }

// Opened implements env.ConnHandler.
func (a acceptor) Opened(id env.ConnID, info env.ConnInfo) {
	c := a.m.newConn(nil)
	c.Opened(id, info)
	a.m.pending = append(a.m.pending, c)
	if len(a.m.pending) > pendingMax {
		a.m.pending[0].close("too many connections that do not say who they are")
	}
}

// Received implements env.ConnHandler.
func (a acceptor) Received(id env.ConnID, message any, frame *env.Frame) {
	a.m.conns[id].Received(id, message, frame)
}

// Closed implements env.ConnHandler.
func (a acceptor) Closed(id env.ConnID, reason error) { a.m.conns[id].Closed(id, reason) }

// Opened implements env.ConnHandler.
func (c *conn) Opened(id env.ConnID, info env.ConnInfo) {
	c.id, c.open, c.remote = id, true, info.Remote
	c.mesh.conns[id] = c
	c.mesh.o.Loop.Reset(&c.timeout, c.mesh.o.HandshakeTimeout, func() { c.close("it did not say who it is in time") })
	if c.mesh.closed {
		c.close("")
	} else if c.dialed {
		c.send(c.own.append(kindHello, nil))
	}
}

func (c *conn) send(frame []byte) {
	c.mesh.o.Env.Network.Send(&env.Send{Conn: c.id, Message: raw(frame)})
}

// Received implements env.ConnHandler.
func (c *conn) Received(_ env.ConnID, received any, frame *env.Frame) {
	c.mesh.o.Env.Network.Release(frame) // nothing points into it
	if c.closing {
		return
	}
	if m, ok := received.(message); ok {
		if !c.used() {
			c.close("a message came before the handshake had ended")
			return
		}
		c.mesh.metrics.received.Add(1)
		c.mesh.o.Received(c.peer.node, m.kind, m.value)
		return
	}
	if why := c.shake(received.([]byte)); why != "" {
		c.close(why)
	}
}

// shake takes one frame of the handshake. It returns why the connection cannot go on.
func (c *conn) shake(b []byte) (why string) {
	switch kind := Kind(b[0]); {
	case kind == kindHello && !c.dialed && c.step == saysHello && len(b) == helloBytes:
		if why := c.meet(b); why != "" {
			return why
		}
		c.step = proves
		c.send(append(c.own.append(kindAnswer, nil), prove(c.mesh.o.Secret, false, &c.peer, &c.own)...))
	case kind == kindAnswer && c.dialed && c.step == saysHello && len(b) == helloBytes+proofBytes:
		if why := c.meet(b); why != "" {
			return why
		}
		if !hmac.Equal(b[helloBytes:], prove(c.mesh.o.Secret, false, &c.own, &c.peer)) {
			return wrongSecret
		}
		c.step = proves
		if c.target != nil {
			c.target.found = c.peer.node // also if the peer prefers its own connection, and ends this one before it is ready
		}
		c.admit()
		c.send(append([]byte{byte(kindProof)}, prove(c.mesh.o.Secret, true, &c.own, &c.peer)...))
	case kind == kindProof && !c.dialed && c.step == proves && len(b) == 1+proofBytes:
		if !hmac.Equal(b[1:], prove(c.mesh.o.Secret, true, &c.peer, &c.own)) {
			return wrongSecret
		}
		c.admit()
		c.send([]byte{byte(kindReady)})
		return c.begin()
	case kind == kindReady && c.dialed && c.step == proves && len(b) == 1:
		return c.begin()
	default:
		return "a frame that has no place in the handshake"
	}
	return ""
}

const wrongSecret = "it has another secret than this node: give all nodes of a cluster the same"

// meet takes the peer's hello.
func (c *conn) meet(b []byte) (why string) {
	peer, err := decodeHello(b)
	m := c.mesh
	switch {
	case err != nil:
		return err.Error()
	case peer.versionMax < versionMin || peer.versionMin > versionMax:
		return fmt.Sprintf("it speaks versions %d to %d, this node %d to %d: upgrade one version at a time", peer.versionMin, peer.versionMax, versionMin, versionMax)
	case peer.cluster != [16]byte{} && m.cluster != [16]byte{} && peer.cluster != m.cluster:
		return "it belongs to another cluster: correct the addresses of nodes"
	case peer.node == m.o.Node && peer.incarnation == m.o.Incarnation && m.foundItself(&peer):
		return "this node dialed itself, and does not again"
	case peer.node == m.o.Node && peer.incarnation == m.o.Incarnation:
		return "this node dialed itself: correct the addresses of nodes"
	case peer.node == m.o.Node:
		return "it has the node.id of this node: give each node one of its own"
	case c.target != nil && c.target.id != seedID && peer.node != c.target.id:
		return fmt.Sprintf("it is node %d, where node %d was expected: correct the addresses of nodes", peer.node, c.target.id)
	}
	c.peer = peer
	return ""
}

// foundItself forgets a seed that turned out to be this node's own address, of those that all nodes are given. It reports whether it was one.
func (m *Mesh) foundItself(dialing *hello) bool {
	for _, id := range slices.Sorted(maps.Keys(m.conns)) {
		if c := m.conns[id]; c.target != nil && c.target.id == seedID && c.own.nonce == dialing.nonce {
			c.target.address = ""
			return true
		}
	}
	return false
}

// admit lets the peer's messages through: it has proved that it belongs to the cluster.
func (c *conn) admit() {
	c.mesh.o.Env.Network.SetCodec(c.id, &proved{c.mesh.o.FrameBytesMax, c.mesh.o.Decode})
}

// begin ends the handshake.
func (c *conn) begin() (why string) {
	c.step = ready
	c.mesh.o.Loop.Stop(&c.timeout)
	c.leavePending()
	if c.target != nil {
		c.target.dialing, c.target.seeks, c.target.found = false, false, c.peer.node
	}
	if !c.mesh.use(c) {
		return "the peer's own connection is used"
	}
	return ""
}

// used reports whether this is the connection of its node.
func (c *conn) used() bool {
	n := c.mesh.nodes[c.peer.node]
	return c.step == ready && n != nil && n.conn == c
}

func (c *conn) leavePending() {
	if i := slices.Index(c.mesh.pending, c); i >= 0 {
		c.mesh.pending = slices.Delete(c.mesh.pending, i, i+1)
	}
}

// close closes the connection; why is for people, and is said if the handshake had not ended.
func (c *conn) close(why string) {
	if c.closing {
		return
	}
	c.closing = true
	c.leavePending()
	c.mesh.o.Loop.Stop(&c.timeout)
	if c.step != ready && why != "" {
		c.mesh.metrics.refused.Add(1)
		c.mesh.lines.Warn(c.mesh.o.Telemetry, "handshake: "+why, c.mesh.o.Loop.Now(), "a connection to another node ended in its handshake: "+why,
			slog.String("remote", c.remote), slog.Bool("dialed", c.dialed))
	}
	c.mesh.o.Env.Network.Close(c.id, true)
}

// Closed implements env.ConnHandler.
func (c *conn) Closed(_ env.ConnID, reason error) {
	m := c.mesh
	used := c.used()
	delete(m.conns, c.id)
	m.o.Loop.Stop(&c.timeout)
	c.leavePending()
	if used {
		m.abandon(m.nodes[c.peer.node])
	}
	t := c.target
	if t == nil || !t.dialing {
		return
	}
	if t.id == seedID && t.found != seedID && m.Connected(t.found) {
		t.dialing, t.seeks = false, false // who is there is known and connected
		return
	}
	if reason == nil {
		reason = env.ErrConnGone
	}
	m.dialFailed(t, fmt.Errorf("the connection ended in its handshake: %w", reason))
}
