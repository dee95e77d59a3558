package socket

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"weir/core/env"
)

// swarmBroker does to its connections, at random, all that a core may do, and checks
// what it is promised.
type swarmBroker struct {
	*rig
	draw  *rand.Rand
	state map[env.ConnID]int // 1 opened, 2 closed
	next  map[env.ConnID]byte
	kept  []*env.Frame
}

func (s *swarmBroker) Opened(id env.ConnID, _ env.ConnInfo) {
	if s.state[id] != 0 {
		s.Errorf("connection %d opened in state %d", id, s.state[id])
	}
	s.state[id] = 1
}

func (s *swarmBroker) Closed(id env.ConnID, reason error) {
	if s.state[id] != 1 || reason == nil {
		s.Errorf("connection %d closed in state %d: %v", id, s.state[id], reason)
	}
	s.state[id] = 2
}

func (s *swarmBroker) Received(id env.ConnID, _ any, f *env.Frame) {
	if s.state[id] != 1 {
		s.Errorf("a frame of connection %d in state %d", id, s.state[id])
	}
	for _, b := range []byte{f.Data[0], f.Data[len(f.Data)/2], f.Data[len(f.Data)-1]} {
		if b != s.next[id] {
			s.Errorf("connection %d: a frame of %d, want %d", id, b, s.next[id])
		}
	}
	s.next[id]++
	s.kept = append(s.kept, f)
	switch s.draw.IntN(40) {
	case 0:
		s.net.Close(id, s.draw.IntN(2) == 0)
	case 1, 2, 3:
		s.net.Mute(id)
	case 4, 5, 6, 7, 8:
	default:
		s.send(id, make([]byte, s.draw.IntN(2)*s.draw.IntN(300_000)))
	}
}

// chance does something after each event; it never lets anything wait for ever.
func (s *swarmBroker) chance() {
	if len(s.kept) > 0 && (s.draw.IntN(3) > 0 || s.net.Stats().BudgetQueued > 0) {
		s.net.Release(s.kept[0])
		s.kept = s.kept[1:]
	}
	if s.draw.IntN(10) == 0 {
		for id, state := range s.state {
			if state == 1 {
				s.net.Unmute(id)
			}
		}
	}
}

// allClosed looks at every connection: Closed comes after a connection is no longer counted.
func (s *swarmBroker) allClosed() bool {
	for _, state := range s.state {
		if state != 2 {
			return false
		}
	}
	return true
}

// swarmPeer sends numbered frames, and stops in one of several ways.
func swarmPeer(address string, draw *rand.Rand) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	socket := c.(*net.TCPConn)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, socket)
	}()
	for i := range draw.IntN(60) {
		size := 1 + draw.IntN(1<<draw.IntN(19))
		body := make([]byte, size)
		for k := range body {
			body[k] = byte(i)
		}
		frame := withLength(body)
		cut := draw.IntN(len(frame) + 1)
		for _, part := range [][]byte{frame[:cut], frame[cut:]} {
			if _, err := socket.Write(part); err != nil {
				return nil // closed by the broker
			}
		}
	}
	switch draw.IntN(3) {
	case 0:
		_ = socket.SetLinger(0)
	case 1:
		_, _ = socket.Write([]byte{0, 0, 1})
	}
	socket.Close()
	<-read
	return nil
}

// Whatever peers and core do, connections open and close once, frames come in order,
// every send completes, and nothing stays reserved.
func TestSwarm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &swarmBroker{draw: rand.New(rand.NewPCG(seed, 0)), state: map[env.ConnID]int{}, next: map[env.ConnID]byte{}}
	s.rig = newRig(t, Options{BudgetBytes: 1 << 20, ConnectionsMax: 20})
	bound := ""
	s.net.Listen(&env.Listen{Address: "127.0.0.1:0", Handler: s, Codec: s.rig, Done: func(o *env.Listen) { bound = o.Bound }})
	s.until("the listener", func() bool { return bound != "" })
	var group sync.WaitGroup
	failed := make(chan error, 1000)
	for p := range uint64(16) {
		group.Go(func() {
			draw := rand.New(rand.NewPCG(seed, p+1))
			for range 12 {
				if err := swarmPeer(bound, draw); err != nil {
					failed <- fmt.Errorf("peer %d: %w", p, err)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	s.until("the end of all peers", func() bool {
		s.chance()
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	s.until("the end of all connections", func() bool {
		s.chance()
		return s.allClosed() && s.net.Stats().Connections == 0 && s.sends == 0 && len(s.box.events) == 0 && len(s.kept) == 0
	})
	s.expectNothingReserved()
	select {
	case err := <-failed:
		t.Error(errors.Unwrap(err))
	default:
	}
}
