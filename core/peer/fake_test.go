package peer

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/task"
)

// net joins nodes. Nothing arrives before the test says so.
type net struct {
	t     testing.TB
	rng   *rand.Rand
	now   env.Time
	hosts map[string]*host
	all   []*host
	conns env.ConnID
	dead  bool // frames and dials go nowhere
	hasty bool // what was sent before a close does not arrive
}

// host is one node's end of the net. It implements env.Network, env.Clock, env.Rand, env.Logger and env.Metrics.
type host struct {
	n       *net
	id      int32
	loop    *task.Loop
	mesh    *Mesh
	wake    env.Time
	ends    map[env.ConnID]*end
	queue   []func()
	got     []string
	lines   []string
	frames  int // lent
	drawing uint64
}

// end is one end of a connection.
type end struct {
	host    *host
	id      env.ConnID
	other   *end
	handler env.ConnHandler
	codec   env.Codec
	closed  bool
	queue   []func() // what is to arrive here, in order
}

type text string

func (s text) AppendTo(dst []byte) []byte { return append(dst, s...) }

func newNet(t testing.TB, seed uint64) *net {
	return &net{t: t, rng: rand.New(rand.NewPCG(seed, 1)), hosts: map[string]*host{}, now: 1}
}

func address(id int32) string { return fmt.Sprintf("node%d:9093", id) }

func (n *net) add(id int32, change func(*Options)) *host {
	h := &host{n: n, id: id, ends: map[env.ConnID]*end{}, drawing: uint64(len(n.all))}
	h.loop = task.NewLoop(h)
	o := Options{
		Loop: h.loop, Env: env.Env{Clock: h, Network: h, Rand: h, Log: h, Metrics: h}, Node: id, Incarnation: [16]byte{byte(len(n.all) + 1)},
		Secret: []byte("s3cret"), FrameBytesMax: 1000, QueueBytesMax: 100,
		Decode: func(_ Kind, body []byte) (any, error) {
			if string(body) == "bad" {
				return nil, fmt.Errorf("bad")
			}
			return string(body), nil
		},
		Received: func(from int32, kind Kind, value any) { h.got = append(h.got, fmt.Sprintf("%d: %s", from, value)) },
	}
	if change != nil {
		change(&o)
	}
	h.mesh = New(o)
	n.hosts[address(id)] = h
	n.all = append(n.all, h)
	return h
}

func (h *host) Now() env.Time                                  { return h.n.now }
func (h *host) WallMillis() int64                              { return 0 }
func (h *host) WakeAt(at env.Time)                             { h.wake = at }
func (h *host) Log(_ slog.Level, text string, _ ...slog.Attr)  { h.lines = append(h.lines, text) }
func (h *host) Counter(string, string) env.Counter             { return nothing{} }
func (h *host) Gauge(string, string) env.Gauge                 { return nothing{} }
func (h *host) Histogram(string, string) env.Histogram         { return nothing{} }
func (h *host) Uint64(purpose string, entity, c uint64) uint64 { return h.drawing<<32 + entity<<8 + c }

type nothing struct{}

func (nothing) Add(int64)     {}
func (nothing) Set(int64)     {}
func (nothing) Observe(int64) {}

type event func()

func (e event) Deliver() { e() }

func (h *host) turn(f func()) { h.loop.Turn([]env.Event{event(f)}) }

func (h *host) Dial(o *env.Dial) {
	h.queue = append(h.queue, func() {
		to := h.n.hosts[o.Address]
		if to == nil || h.n.dead {
			o.Err = env.ErrConnGone
			h.turn(func() { o.Deliver() })
			return
		}
		h.n.conns += 2
		a, b := &end{host: h, id: h.n.conns, handler: o.Handler, codec: o.Codec}, &end{host: to, id: h.n.conns + 1, handler: to.mesh.Handler(), codec: to.mesh.Codec()}
		a.other, b.other = b, a
		h.ends[a.id], to.ends[b.id] = a, b
		o.Conn = a.id
		to.turn(func() { b.handler.Opened(b.id, env.ConnInfo{Listener: "PEER", Remote: "x"}) })
		h.turn(func() {
			a.handler.Opened(a.id, env.ConnInfo{Remote: "y"})
			o.Deliver()
		})
	})
}

func (h *host) Send(o *env.Send) {
	e := h.ends[o.Conn]
	var data []byte
	for _, part := range o.Message.Encode(nil) {
		data = append(data, part...)
	}
	h.queue = append(h.queue, func() {
		if o.Done != nil {
			h.turn(func() { o.Deliver() })
		}
	})
	if e == nil || e.closed {
		return
	}
	to := e.other
	to.queue = append(to.queue, func() { to.receive(data) })
}

func (e *end) receive(data []byte) {
	if e.closed || e.host.n.dead {
		return
	}
	err := e.codec.Admit(len(data), data[:min(8, len(data))])
	var value any
	if err == nil {
		value, err = e.codec.Decode(data)
	}
	if err != nil {
		e.host.lines = append(e.host.lines, err.Error())
		e.end()
		return
	}
	e.host.frames++
	e.host.turn(func() { e.handler.Received(e.id, value, &env.Frame{Data: data}) })
}

// end closes both ends.
func (e *end) end() {
	for _, one := range []*end{e, e.other} {
		if !one.closed {
			one.closed = true
			one.host.turn(func() { one.handler.Closed(one.id, nil) })
		}
	}
}

func (h *host) Release(*env.Frame) { h.frames-- }

func (h *host) SetCodec(id env.ConnID, c env.Codec) { h.ends[id].codec = c }

func (h *host) Close(id env.ConnID, _ bool) {
	e := h.ends[id]
	if h.n.hasty {
		e.other.queue = nil
	}
	h.queue = append(h.queue, func() { e.end() })
}

func (h *host) Listen(*env.Listen)        {}
func (h *host) Mute(env.ConnID)           {}
func (h *host) Unmute(env.ConnID)         {}
func (h *host) StopListening()            {}
func (h *host) LimitConnections(int, int) {}

// rest lets everything arrive, in a random order between connections, until nothing is under way.
func (n *net) rest() {
	for range 100_000 {
		var queues []*[]func()
		for _, h := range n.all {
			if len(h.queue) > 0 {
				queues = append(queues, &h.queue)
			}
			for id := env.ConnID(0); id <= n.conns+1; id++ {
				if e := h.ends[id]; e != nil && len(e.queue) > 0 {
					queues = append(queues, &e.queue)
				}
			}
		}
		if len(queues) == 0 {
			return
		}
		q := queues[n.rng.IntN(len(queues))]
		next := (*q)[0]
		*q = (*q)[1:]
		next()
	}
	n.t.Fatal("the net never comes to rest")
}

// pass lets time pass.
func (n *net) pass(d time.Duration) {
	for until := n.now.Add(d); n.now < until; {
		n.now = min(until, n.now.Add(10*time.Millisecond))
		for _, h := range n.all {
			h.turn(func() {})
		}
		n.rest()
	}
}

func (h *host) send(to int32, s string) (taken bool) {
	h.turn(func() { taken = h.mesh.Send(to, KindMin, len(s), text(s)) })
	return taken
}

// know tells all nodes of all addresses.
func (n *net) know() {
	for _, h := range n.all {
		for _, other := range n.all {
			if other != h {
				h.turn(func() { h.mesh.SetAddress(other.id, address(other.id)) })
			}
		}
	}
}

// clean: no frame is lent, and each pair has at most one connection in use.
func (n *net) clean() {
	n.t.Helper()
	for _, h := range n.all {
		require.Zero(n.t, h.frames)
		require.Empty(n.t, h.mesh.pending)
	}
}
