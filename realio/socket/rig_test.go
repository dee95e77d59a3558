package socket

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"weir/core/env"
)

const frameMax = 128 << 20

var errTooLarge = errors.New("too large")

// rig is a network with a broker on it that echoes frames of up to 1 KiB, answers
// larger ones with "ok", and releases each at once unless it holds.
type rig struct {
	testing.TB
	net    *Network
	box    *box
	bound  string
	hold   bool
	held   []*env.Frame
	opened []env.ConnID
	closed map[env.ConnID]error
	sends  int
	gone   int // sends that completed with ErrConnGone
	lines  lines
}

func newRig(t testing.TB, o Options) *rig {
	r := &rig{TB: t, box: newBox(), closed: map[env.ConnID]error{}}
	o.Deliver, o.Log = r.box.put, &r.lines
	r.net = New(o)
	t.Cleanup(r.net.Stop)
	r.bound = r.listen("127.0.0.1:0").Bound
	return r
}

func (r *rig) listen(address string) *env.Listen { return r.listenWith(address, r) }

func (r *rig) listenWith(address string, codec env.Codec) *env.Listen {
	done := false
	o := &env.Listen{Name: "TEST", Address: address, Handler: r, Codec: codec, Done: func(*env.Listen) { done = true }}
	r.net.Listen(o)
	r.until("the listener", func() bool { return done })
	return o
}

func (r *rig) Opened(id env.ConnID, _ env.ConnInfo) { r.opened = append(r.opened, id) }
func (r *rig) Closed(id env.ConnID, reason error)   { r.closed[id] = reason }
func (r *rig) Decode(frame []byte) (any, error)     { return nil, panicOn(frame) }
func (r *rig) Received(id env.ConnID, _ any, f *env.Frame) {
	if r.hold {
		r.held = append(r.held, f)
		return
	}
	answer := []byte("ok")
	if len(f.Data) <= 1<<10 {
		answer = append([]byte(nil), f.Data...)
	}
	r.net.Release(f)
	r.send(id, answer)
}

func (r *rig) Admit(size int, _ []byte) error {
	if size > frameMax {
		return errTooLarge
	}
	return nil
}

func panicOn(frame []byte) error {
	if string(frame) == "panic" {
		panic("a codec's mistake")
	}
	return nil
}

type answer []byte

func (a answer) Encode(scratch []byte) [][]byte { return [][]byte{append(scratch, a...)} }

func (r *rig) send(id env.ConnID, body []byte) {
	r.sends++
	r.net.Send(&env.Send{Conn: id, Message: answer(body), Done: func(o *env.Send) {
		r.sends--
		if errors.Is(o.Err, env.ErrConnGone) {
			r.gone++
		}
	}})
}

// until pumps until what is awaited is there, for a minute at most.
func (r *rig) until(what string, is func() bool) {
	r.Helper()
	for from := time.Now(); !is(); r.box.pump() {
		if time.Since(from) > time.Minute {
			r.Fatalf("%s never came", what)
		}
	}
}

func (r *rig) releaseHeld() {
	for _, f := range r.held {
		r.net.Release(f)
	}
	r.held = nil
}

// raw is a peer that writes what it is told to.
func (r *rig) raw() (*net.TCPConn, env.ConnID) {
	r.Helper()
	n := len(r.opened)
	socket, err := net.Dial("tcp", r.bound)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { socket.Close() })
	r.until("a connection", func() bool { return len(r.opened) > n })
	return socket.(*net.TCPConn), r.opened[n]
}

// ping sees that another connection is served, promptly.
func (r *rig) ping() {
	r.Helper()
	p := dialPeer(r, r.bound)
	defer p.Close()
	p.Send([]byte("ping"))
	r.until("the answer to a ping", func() bool { return len(p.Received()) == 1 })
}

func (r *rig) untilClosed(id env.ConnID) error {
	r.Helper()
	r.until("the end of a connection", func() bool { return r.closed[id] != nil })
	return r.closed[id]
}

func (r *rig) expectNothingReserved() {
	r.Helper()
	if used := r.net.Stats().BudgetUsed; used != 0 {
		r.Fatalf("%d bytes are still reserved", used)
	}
	if used := r.net.o.Arena.Stats().Used; used != 0 {
		r.Fatalf("%d bytes of frames are still in use", used)
	}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	kept []string
}

func (l *lines) Log(_ slog.Level, message string, attrs ...slog.Attr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range attrs {
		message += " " + a.String()
	}
	l.kept = append(l.kept, message)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.kept...)
}
