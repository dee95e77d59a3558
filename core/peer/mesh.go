package peer

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/task"
	"weir/core/telemetry"
)

// Options configure a mesh. All are required unless a zero is named.
type Options struct {
	Loop *task.Loop
	Env  env.Env
	// Telemetry takes lines, marks and metrics. Nil: one that logs through Env.Log.
	Telemetry *telemetry.Registry
	// Node is this node's node.id.
	Node int32
	// Incarnation tells this process from every other of the same node.
	Incarnation [16]byte
	// Secret is the cluster's: who has it is a peer. Empty: everybody is, which is for listeners that only this machine
	// reaches.
	Secret []byte
	// Secure says that nodes are reached by TLS.
	Secure bool
	// FrameBytesMax is the largest frame that a peer may send.
	FrameBytesMax int
	// QueueBytesMax bounds what waits to be sent to one peer, by the sizes that [Mesh.Send] is told. Beyond, messages are
	// dropped.
	QueueBytesMax int
	// HandshakeTimeout is how long both ends have to know each other. Zero: 10 s.
	HandshakeTimeout time.Duration
	// Decode reads a message of a kind from KindMin on. It is called off the loop, and is pure. What it returns must not
	// point into body. An error closes the connection.
	Decode func(kind Kind, body []byte) (any, error)
	// Received takes each message of a peer.
	Received func(from int32, kind Kind, value any)
}

// pendingMax bounds the connections that strangers hold without having proved who they are.
const pendingMax = 64

var redials = task.BackOff{First: 50 * time.Millisecond, Max: 2 * time.Second}

const lineInterval = 30 * time.Second

// Mesh has this node's connections to the others. Its methods are called on the loop.
type Mesh struct {
	o       Options
	cluster [16]byte
	conns   map[env.ConnID]*conn
	pending []*conn // those that were accepted and are not proved, the oldest first
	nodes   map[int32]*node
	seeds   map[string]*node // by address; which nodes they are is found out
	used    int64            // nodes with a connection
	lines   *telemetry.Limiter
	nonces  uint64
	closed  bool
	metrics metrics
}

type metrics struct {
	sent, received, dropped, refused env.Counter
	connected                        env.Gauge
}

// seedID is the id of a node of which only the address is known.
const seedID = -1

// node is another node of the cluster.
type node struct {
	id       int32
	seeks    bool  // a seed: nobody was found there yet
	found    int32 // a seed: who was found there last
	address  string
	conn     *conn // that is used; nil: none
	dialing  bool
	failures int
	redial   task.Timer
	queue    []queued // waits for a connection
	bytes    int      // queued, or being written
}

type queued struct {
	frame *frame
	bytes int
}

// New makes a mesh without connections.
func New(o Options) *Mesh {
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(o.Env.Log, o.Env.Metrics)
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	t := o.Telemetry
	return &Mesh{
		o: o, conns: map[env.ConnID]*conn{}, nodes: map[int32]*node{}, seeds: map[string]*node{}, lines: telemetry.NewLimiter(lineInterval),
		metrics: metrics{
			sent:      t.Counter("weir_peer_sent_total", "messages handed to connections to other nodes"),
			received:  t.Counter("weir_peer_received_total", "messages received from other nodes"),
			dropped:   t.Counter("weir_peer_dropped_total", "messages to other nodes that were dropped: no connection, or too much waited"),
			refused:   t.Counter("weir_peer_refused_total", "connections that ended before the other end had proved that it belongs to the cluster"),
			connected: t.Gauge("weir_peer_connected", "nodes with a connection"),
		},
	}
}

// Handler is for the listener of peers, whose codec is [Mesh.Codec].
func (m *Mesh) Handler() env.ConnHandler { return acceptor{m} }

// Codec is what connections of peers begin with.
func (m *Mesh) Codec() env.Codec { return shaking{} }

// SetCluster tells the mesh to which cluster this node belongs, once it is known. Peers of another one are refused.
func (m *Mesh) SetCluster(id [16]byte) { m.cluster = id }

// SetAddress says where a node listens for its peers. An empty address: nobody knows. A node that moved is dialed there
// once its connection has ended.
func (m *Mesh) SetAddress(id int32, address string) {
	n := m.node(id)
	if n.address != address {
		n.address, n.failures = address, 0
		m.dial(n)
	}
}

// Find finds the node that listens at an address, if there is a connection to it; else it is dialed, and known once that has succeeded. An
// address of this node's own is nobody's.
func (m *Mesh) Find(address string) (id int32, ok bool) {
	s := m.seeds[address]
	if s == nil {
		s = &node{id: seedID, found: seedID, address: address}
		m.seeds[address] = s
	}
	if s.found != seedID && m.Connected(s.found) {
		return s.found, true
	}
	s.seeks = true
	m.dial(s)
	return 0, false
}

func (m *Mesh) node(id int32) *node {
	n := m.nodes[id]
	if n == nil {
		n = &node{id: id}
		m.nodes[id] = n
	}
	return n
}

// Connected reports whether there is a connection to a node.
func (m *Mesh) Connected(id int32) bool { n := m.nodes[id]; return n != nil && n.conn != nil }

// Send sends a message of at most about that many bytes to a node, or drops it: if too much waits already, or if there is
// neither a connection nor an address. It reports whether the message was taken.
func (m *Mesh) Send(to int32, kind Kind, bytes int, body Body) bool {
	n := m.nodes[to]
	if m.closed || n == nil || n.conn == nil && n.address == "" || n.bytes > 0 && n.bytes+bytes > m.o.QueueBytesMax {
		m.metrics.dropped.Add(1)
		return false
	}
	n.bytes += bytes
	f := queued{&frame{kind, body}, bytes}
	if n.conn == nil {
		n.queue = append(n.queue, f)
		m.dial(n)
		return true
	}
	m.write(n, n.conn, f)
	return true
}

func (m *Mesh) write(n *node, c *conn, f queued) {
	c.bytes += f.bytes
	m.metrics.sent.Add(1)
	m.o.Env.Network.Send(&env.Send{Conn: c.id, Message: f.frame, Done: func(*env.Send) {
		if c.bytes >= f.bytes && n.conn == c { // else they were given back with the connection
			c.bytes -= f.bytes
			n.bytes -= f.bytes
		}
	}})
}

// dial opens a connection to a node for which something waits, unless there is one, or will be.
func (m *Mesh) dial(n *node) {
	if m.closed || n.conn != nil || n.dialing || n.redial.Pending() || n.address == "" || len(n.queue) == 0 && !n.seeks {
		return
	}
	n.dialing = true
	c := m.newConn(n)
	m.o.Env.Network.Dial(&env.Dial{Address: n.address, Handler: c, Codec: shaking{}, Secure: m.o.Secure, Timeout: m.o.HandshakeTimeout, Done: func(d *env.Dial) {
		if d.Err != nil {
			m.dialFailed(n, d.Err)
		}
	}})
}

// dialFailed drops what waited, and dials again for what comes then, not at once.
func (m *Mesh) dialFailed(n *node, err error) {
	n.dialing = false
	m.drop(n)
	wait := redials.Wait(n.failures, m.o.Env.Rand.Uint64("peer redial", uint64(n.id), uint64(n.failures)))
	n.failures++
	m.o.Loop.Reset(&n.redial, wait, func() { m.dial(n) })
	if !m.closed {
		m.lines.Warn(m.o.Telemetry, "dial", m.o.Loop.Now(), "cannot reach another node of the cluster; it is down, or its listener for peers cannot be reached from here",
			slog.Int64("node", int64(n.id)), slog.String("address", n.address), slog.String("error", err.Error()))
	}
}

// drop forgets what waits for a connection.
func (m *Mesh) drop(n *node) {
	m.metrics.dropped.Add(int64(len(n.queue)))
	for _, f := range n.queue {
		n.bytes -= f.bytes
	}
	n.queue = nil
}

// use makes a connection the one of its node, if it is to be. It reports whether it is.
func (m *Mesh) use(c *conn) bool {
	n := m.node(c.peer.node)
	if old := n.conn; old != nil {
		if old.dialed != c.dialed && old.peer.incarnation == c.peer.incarnation && m.preferred(old) {
			return false
		}
		m.abandon(n)
		old.close("another connection took its place")
	}
	n.conn, n.failures = c, 0
	m.o.Loop.Stop(&n.redial)
	m.used++
	m.metrics.connected.Set(m.used)
	queue := n.queue
	n.queue = nil
	for _, f := range queue {
		m.write(n, c, f)
	}
	return true
}

// preferred reports whether a connection was dialed by the node of the lower id.
func (m *Mesh) preferred(c *conn) bool { return c.dialed == (m.o.Node < c.peer.node) }

// abandon takes its connection from a node.
func (m *Mesh) abandon(n *node) {
	n.bytes -= n.conn.bytes
	n.conn.bytes = 0
	n.conn = nil
	m.used--
	m.metrics.connected.Set(m.used)
}

// Close closes every connection; nothing is sent or received after it.
func (m *Mesh) Close() {
	m.closed = true
	for _, id := range slices.Sorted(maps.Keys(m.conns)) {
		m.conns[id].close("")
	}
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		m.o.Loop.Stop(&m.nodes[id].redial)
		m.drop(m.nodes[id])
	}
	for _, address := range slices.Sorted(maps.Keys(m.seeds)) {
		m.o.Loop.Stop(&m.seeds[address].redial)
	}
}
