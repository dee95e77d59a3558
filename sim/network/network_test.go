package network

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/machine"
)

// echo is a broker that answers each frame with itself.
type echo struct {
	net      env.Network
	log      []string
	hold     bool
	held     []*env.Frame
	sendDone int
}

func (e *echo) Opened(id env.ConnID, _ env.ConnInfo) {
	e.log = append(e.log, fmt.Sprintf("open %d", id))
}

func (e *echo) Closed(id env.ConnID, _ error) { e.log = append(e.log, fmt.Sprintf("closed %d", id)) }

func (e *echo) Received(id env.ConnID, m any, f *env.Frame) {
	if e.hold {
		e.held = append(e.held, f)
		return
	}
	e.net.Send(&env.Send{Conn: id, Message: bytesMessage(append([]byte(nil), f.Data...)), Done: func(*env.Send) { e.sendDone++ }})
	e.net.Release(f)
}

func (e *echo) Admit(size int, _ []byte) error {
	if size > 100 {
		return errors.New("too large")
	}
	return nil
}
func (e *echo) Decode(f []byte) (any, error) { return nil, nil }

type bytesMessage []byte

func (b bytesMessage) Encode(scratch []byte) [][]byte { return [][]byte{append(scratch, b...)} }

type peer struct {
	got    []string
	up     bool
	closed bool
}

func (p *peer) Connected(*Conn)            { p.up = true }
func (p *peer) Received(_ *Conn, f []byte) { p.got = append(p.got, string(f)) }
func (p *peer) Closed(*Conn, error)        { p.closed = true }

type rig struct {
	queue *event.Queue
	net   *Network
	host  *Host
	box   *machine.Box
	echo  *echo
	bound string
}

func newRig(seed uint64) *rig {
	r := &rig{queue: event.NewQueue(seed)}
	r.net = New(r.queue, 4)
	r.host = r.net.Host(0)
	r.boot()
	return r
}

func (r *rig) boot() {
	r.box = machine.NewBox(0, 1, func(e env.Event) { e.Deliver() })
	n := r.host.Attach(r.box)
	r.echo = &echo{net: n}
	n.Listen(&env.Listen{Address: "broker:9092", Handler: r.echo, Codec: r.echo, Done: func(l *env.Listen) { r.bound = l.Bound }})
	r.run()
}

func (r *rig) run() { r.queue.RunUntil(r.queue.Now().Add(time.Minute), func() bool { return false }) }

func (r *rig) dial(client int) (*Conn, *peer) {
	p := &peer{}
	c := r.net.Dial(client, "broker:9092", p)
	r.run()
	return c, p
}

func TestFramesAreAnsweredInOrder(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	for i := range 20 {
		c.Send(fmt.Appendf(nil, "frame %d", i))
	}
	r.run()
	for i := range 20 {
		if p.got[i] != fmt.Sprintf("frame %d", i) {
			t.Fatalf("answer %d is %q", i, p.got[i])
		}
	}
	if r.echo.sendDone != 20 || r.host.Frames() != 0 {
		t.Fatalf("%d sends done, %d frames kept", r.echo.sendDone, r.host.Frames())
	}
	c.Close()
	r.run()
	if got := r.echo.log; len(got) != 2 || got[1] != "closed 1" || len(r.net.conns) != 0 {
		t.Fatalf("log %v, conns %d", got, len(r.net.conns))
	}
}

func TestRefusedFrameClosesTheConnection(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	c.Send(make([]byte, 101))
	r.run()
	if !p.closed || len(r.net.conns) != 0 {
		t.Fatal("the connection lives")
	}
}

func TestCutHoldsUntilHealed(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	r.net.Link(0, 0).CutToClient = true
	c.Send([]byte("x"))
	r.run()
	if len(p.got) != 0 || r.echo.sendDone != 1 {
		t.Fatalf("got %v", p.got)
	}
	r.net.Link(0, 0).CutToClient = false
	r.net.Healed()
	r.run()
	if len(p.got) != 1 {
		t.Fatal("not delivered after the cut healed")
	}
}

// TestCutsKeepTheOrder: what a cut held back arrives before what was sent after it,
// though that may be under way when the cut heals.
func TestCutsKeepTheOrder(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		r := newRig(seed)
		c, p := r.dial(0)
		link := r.net.Link(0, 0)
		link.SlowPerMille = 20_000
		for i := range 40 {
			r.queue.Call(time.Duration(i)*time.Millisecond, func() {
				cut := i/4%2 == 0
				link.CutToBroker, link.CutToClient = cut && i%8 < 4, cut && i%8 < 2
				r.net.Healed()
				c.Send(fmt.Appendf(nil, "frame %d", i))
			})
		}
		r.run()
		for i := range 40 {
			if i >= len(p.got) || p.got[i] != fmt.Sprintf("frame %d", i) {
				t.Fatalf("seed %d: answer %d of %q", seed, i, p.got)
			}
		}
	}
}

func TestDialUnderACut(t *testing.T) {
	r := newRig(1)
	r.net.Link(0, 0).CutToBroker = true
	_, p := r.dial(0)
	if p.up || p.closed {
		t.Fatal("a cut was noticed")
	}
	r.net.Link(0, 0).CutToBroker = false
	r.net.Healed()
	r.run()
	if !p.up {
		t.Fatal("not connected after the cut healed")
	}
}

func TestResetTellsBothEnds(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	c.Send([]byte("x"))
	r.net.Reset(-1, 0)
	r.run()
	if !p.closed || len(p.got) != 0 || len(r.echo.log) != 2 || len(r.net.conns) != 0 {
		t.Fatalf("closed %v got %v log %v", p.closed, p.got, r.echo.log)
	}
}

func TestBudgetHoldsFramesBack(t *testing.T) {
	r := newRig(1)
	r.host.FrameBudget = 100
	r.echo.hold = true
	a, _ := r.dial(0)
	b, _ := r.dial(1)
	a.Send(make([]byte, 80))
	b.Send(make([]byte, 80))
	b.Send(make([]byte, 10))
	r.run()
	if len(r.echo.held) != 1 {
		t.Fatalf("%d frames in a budget for one", len(r.echo.held))
	}
	r.echo.net.Release(r.echo.held[0])
	r.run()
	if len(r.echo.held) != 3 {
		t.Fatalf("%d frames after the release", len(r.echo.held))
	}
}

func TestMute(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	r.echo.net.Mute(c.ID())
	c.Send([]byte("x"))
	r.run()
	if len(p.got) != 0 {
		t.Fatal("read while muted")
	}
	r.echo.net.Unmute(c.ID())
	r.run()
	if len(p.got) != 1 {
		t.Fatal("not read after unmute")
	}
}

func TestSilentCrash(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	r.box.Kill()
	r.host.Crash(true)
	c.Send([]byte("x"))
	r.run()
	if p.closed {
		t.Fatal("a dead machine answered")
	}
	r.boot()
	c.Send([]byte("y"))
	r.run()
	if !p.closed || len(r.net.conns) != 0 {
		t.Fatalf("the successor took a stranger's frame; %d conns", len(r.net.conns))
	}
}

func TestGracefulCloseWritesWhatWasSent(t *testing.T) {
	r := newRig(1)
	c, p := r.dial(0)
	r.echo.net.Send(&env.Send{Conn: c.ID(), Message: bytesMessage("last")})
	r.echo.net.Close(c.ID(), false)
	r.run()
	if len(p.got) != 1 || !p.closed {
		t.Fatalf("got %v closed %v", p.got, p.closed)
	}
}
