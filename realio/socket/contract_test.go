package socket

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/env/envtest"
)

func TestContract(t *testing.T) {
	envtest.TestNetwork(t, func(t testing.TB) envtest.NetworkHarness {
		b := newBox()
		n := New(Options{Deliver: b.put, BudgetBytes: 1 << 20})
		t.Cleanup(n.Stop)
		return envtest.NetworkHarness{
			Network: n, Address: "127.0.0.1:0", BudgetBytes: 1 << 20, Pump: b.pump,
			Dial: func(address string) envtest.NetworkPeer { return dialPeer(t, address) },
		}
	})
}

// box is a mailbox that the test empties on its own goroutine.
type box struct{ events chan env.Event }

func newBox() *box { return &box{make(chan env.Event, 1<<16)} }

func (b *box) put(e env.Event) { b.events <- e }

// pump delivers the next event, if there is one soon.
func (b *box) pump() {
	select {
	case e := <-b.events:
		e.Deliver()
	case <-time.After(time.Millisecond):
	}
}

// peer is a client with a goroutine that reads and one that writes.
type peer struct {
	socket *net.TCPConn
	frames chan []byte
	gone   chan struct{}

	mu       sync.Mutex
	received [][]byte
	closed   bool
	once     sync.Once
}

func dialPeer(t testing.TB, address string) *peer {
	p := &peer{frames: make(chan []byte, 1024), gone: make(chan struct{})}
	socket, err := net.Dial("tcp", address)
	if err != nil {
		p.closed = true
		return p
	}
	p.socket = socket.(*net.TCPConn)
	var group sync.WaitGroup
	group.Go(p.read)
	group.Go(p.write)
	t.Cleanup(func() {
		p.Close()
		group.Wait()
	})
	return p
}

func (p *peer) read() {
	for {
		frame, err := readFrame(p.socket)
		p.mu.Lock()
		if err != nil {
			p.closed = true
			p.mu.Unlock()
			p.Close()
			return
		}
		p.received = append(p.received, frame)
		p.mu.Unlock()
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func withLength(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func (p *peer) write() {
	for {
		select {
		case frame := <-p.frames:
			if _, err := p.socket.Write(withLength(frame)); err != nil {
				return
			}
		case <-p.gone:
			return
		}
	}
}

func (p *peer) Send(body []byte) { p.frames <- body }

func (p *peer) Received() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.received
}

func (p *peer) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *peer) Close() {
	p.once.Do(func() {
		if p.socket != nil {
			p.socket.Close()
		}
		close(p.gone)
	})
}
