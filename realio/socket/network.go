package socket

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/core/env"
	"weir/realio/memory"
)

// Reasons that Closed carries, besides io.EOF and what the system says.
var (
	ErrClosed  = errors.New("closed by this broker")
	ErrIdle    = errors.New("idle for too long")
	ErrSlow    = errors.New("a frame did not arrive in time")
	ErrStalled = errors.New("the peer does not take what is sent to it")
	ErrStopped = errors.New("the network was stopped")
	ErrSize    = errors.New("frame size is negative")
)

// heavyMin is how many frames of an env.HeavyCodec are decoded at once, or as many as there are processors.
const heavyMin = 4

// Options configure a Network. Only Deliver is required.
type Options struct {
	// Deliver puts an event into the node's mailbox. It is called from any goroutine,
	// the loop's too, and must not block.
	Deliver func(env.Event)
	// Log takes lines from any goroutine. Nil: none.
	Log env.Logger
	// Metrics makes counters that any goroutine uses. Nil: none.
	Metrics env.Metrics
	// Arena gives the memory of frames. Nil: one that keeps 64 MiB for reuse.
	Arena *memory.Arena
	// Certificates are those of connections with TLS (env.Listen.Secure). Nil: there are none, and such listeners fail.
	Certificates Certificates
	// BudgetBytes bounds the bytes of all frames that are not released yet
	// (queued.max.request.bytes). Zero: 256 MiB. Sockets are not read while it is used up.
	// A frame counts with its size and 512 bytes; its memory is up to a quarter larger. A
	// quarter of the budget is reserved for frames of up to 64 KiB, a sixteenth for the
	// first bytes of larger ones. Frames of one address hold at most three quarters of
	// each share. A frame larger than the share of large frames is charged that share, so
	// a budget below the largest frame is exceeded by it.
	BudgetBytes int64
	// ConnectionsMax bounds open connections (max.connections). Zero: no bound. A
	// connection above it is closed at once. LimitConnections changes this and the next.
	ConnectionsMax int
	// ConnectionsPerIPMax bounds those of one address (max.connections.per.ip). Zero: no
	// bound. Clients behind one NAT share an address.
	ConnectionsPerIPMax int
	// IdleTimeout closes connections without traffic (connections.max.idle.ms). Zero:
	// they stay open.
	IdleTimeout time.Duration
	// FrameTimeout is how long a frame may take to arrive, plus a second for each 256 KiB
	// of it that has arrived. Zero: 30 s. The connection is then closed. If it is too
	// long, slow peers hold the budget; if it is too short, slow links cannot produce.
	FrameTimeout time.Duration
	// WriteTimeout is how long a peer may take to read 512 KiB of what it is sent. Zero:
	// 60 s. The connection is then closed.
	WriteTimeout time.Duration
}

func (o *Options) setDefaults() {
	if o.Arena == nil {
		o.Arena = memory.NewArena(64 << 20)
	}
	if o.BudgetBytes == 0 {
		o.BudgetBytes = 256 << 20
	}
	if o.FrameTimeout == 0 {
		o.FrameTimeout = 30 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 60 * time.Second
	}
}

// Network is an env.Network. The methods of that interface are called on the loop,
// Stop and Stats from anywhere.
type Network struct {
	o      Options
	pools  budgets
	counts counts
	nextID atomic.Uint64
	tick   atomic.Int64 // nanoseconds since start, as of the last look at deadlines
	start  time.Time
	quit   chan struct{} // closed by Stop
	group  sync.WaitGroup

	writers writers
	heavy   chan struct{} // an element for each frame of an env.HeavyCodec that is being decoded

	connections atomic.Int64         // as many as conns has
	open        map[env.ConnID]*conn // the loop's: opened and not closed

	mu        sync.Mutex
	conns     map[*conn]struct{}
	dialed    int                    // of conns
	sources   map[netip.Addr]*source // with connections
	listeners []*listener
	refusing  bool // no more listeners
	stopped   bool
}

// New returns a network that listens nowhere yet. Stop ends it.
func New(o Options) *Network {
	o.setDefaults()
	n := &Network{
		o: o, pools: newBudgets(o.BudgetBytes), start: time.Now(), quit: make(chan struct{}),
		open: map[env.ConnID]*conn{}, conns: map[*conn]struct{}{}, sources: map[netip.Addr]*source{},
	}
	n.heavy = make(chan struct{}, max(heavyMin, runtime.GOMAXPROCS(0)))
	n.counts.init(o.Metrics)
	n.writers = writers{group: &n.group, quit: n.quit, work: make(chan *conn)}
	n.tick.Store(1)
	n.group.Go(n.watch)
	return n
}

// Listen implements env.Network. After StopListening it fails.
func (n *Network) Listen(e *env.Listen) {
	n.group.Go(func() {
		l, err := n.listen(e)
		if err != nil {
			e.Err = err
			n.o.Deliver(e)
			return
		}
		e.Bound, e.Err = l.socket.Addr().String(), nil
		n.o.Deliver(e)
		l.accept()
	})
}

// Release implements env.Network.
func (n *Network) Release(x *env.Frame) {
	f, ok := x.World.(*frame)
	if !ok {
		panic("socket: a frame was released twice")
	}
	f.free()
}

// Send implements env.Network.
func (n *Network) Send(e *env.Send) {
	if c := n.open[e.Conn]; c == nil || !c.send(e) {
		n.gone(e)
	}
}

// gone completes a send whose connection is no more.
func (n *Network) gone(e *env.Send) {
	e.Err = env.ErrConnGone
	if e.Done != nil {
		n.o.Deliver(e)
	}
}

// Mute implements env.Network: the frame whose body is being read is still
// delivered.
func (n *Network) Mute(id env.ConnID) {
	if c := n.open[id]; c != nil {
		c.muted.Store(true)
	}
}

// Unmute implements env.Network.
func (n *Network) Unmute(id env.ConnID) {
	if c := n.open[id]; c != nil {
		c.muted.Store(false)
		c.resumeReading()
	}
}

// SetCodec implements env.Network.
func (n *Network) SetCodec(id env.ConnID, codec env.Codec) {
	if c := n.open[id]; c != nil {
		c.codec.Store(&codec)
	}
}

// Close implements env.Network. Closing what is closed does nothing.
func (n *Network) Close(id env.ConnID, abort bool) {
	c := n.open[id]
	switch {
	case c == nil:
	case abort:
		c.reset()
	default:
		c.closeGracefully()
	}
}

// LimitConnections implements env.Network.
func (n *Network) LimitConnections(total, perIP int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.o.ConnectionsMax, n.o.ConnectionsPerIPMax = total, perIP
}

// StopListening implements env.Network.
func (n *Network) StopListening() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refusing = true
	for _, l := range n.listeners {
		l.socket.Close()
	}
	n.listeners = nil
}

// Stop resets every connection, stops listening, and returns when no goroutine of
// the network runs any more. Closed is delivered for each connection.
func (n *Network) Stop() {
	n.StopListening()
	n.mu.Lock()
	if !n.stopped {
		n.stopped = true
		close(n.quit)
	}
	conns := n.snapshot(nil)
	n.mu.Unlock()
	for _, c := range conns {
		c.fail(ErrStopped)
	}
	n.group.Wait()
}

// snapshot appends the connections there are. n.mu is held.
func (n *Network) snapshot(to []*conn) []*conn {
	for c := range n.conns {
		to = append(to, c)
	}
	return to
}

// Stats is what a network holds at one moment.
type Stats struct {
	Connections  int
	BudgetUsed   int64 // bytes reserved
	BudgetQueued int64 // connections that wait for the budget
}

// Stats returns what the network holds now.
func (n *Network) Stats() Stats {
	used, waiting, _ := n.pools.state()
	n.mu.Lock()
	defer n.mu.Unlock()
	return Stats{Connections: len(n.conns), BudgetUsed: used, BudgetQueued: waiting}
}

func (n *Network) log(level slog.Level, message string, attrs ...slog.Attr) {
	if n.o.Log != nil {
		n.o.Log.Log(level, message, attrs...)
	}
}

func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: %w", address, env.ErrAddrInUse)
	case errors.Is(err, net.ErrClosed):
		return fmt.Errorf("listen on %s: the network has stopped listening", address)
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}
