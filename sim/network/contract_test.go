package network

import (
	"testing"
	"time"

	"weir/core/env"
	"weir/core/env/envtest"
	"weir/sim/event"
	"weir/sim/machine"
)

func TestContract(t *testing.T) {
	envtest.TestNetwork(t, func(testing.TB) envtest.NetworkHarness {
		const budget = 1 << 20
		queue := event.NewQueue(7)
		net := New(queue, 1)
		host := net.Host(0)
		host.FrameBudget = budget
		var mailbox []env.Event
		box := machine.NewBox(0, 1, func(e env.Event) { mailbox = append(mailbox, e) })
		return envtest.NetworkHarness{
			Network: host.Attach(box), Address: "broker:9092", BudgetBytes: budget,
			Pump: func() {
				queue.RunUntil(queue.Now().Add(time.Second), func() bool { return false })
				events := mailbox
				mailbox = nil
				for _, e := range events {
					e.Deliver()
				}
			},
			Dial: func(address string) envtest.NetworkPeer {
				p := &contractPeer{}
				p.conn = net.Dial(0, address, p)
				return peerView{p}
			},
		}
	})
}

// contractPeer keeps what it gets.
type contractPeer struct {
	conn     *Conn
	received [][]byte
	closed   bool
}

func (p *contractPeer) Connected(*Conn)     {}
func (p *contractPeer) Closed(*Conn, error) { p.closed = true }
func (p *contractPeer) Received(_ *Conn, f []byte) {
	p.received = append(p.received, append([]byte(nil), f...))
}

// peerView is the peer as the battery sees it: two methods of Client have its names.
type peerView struct{ *contractPeer }

func (p peerView) Received() [][]byte { return p.received }
func (p peerView) Closed() bool       { return p.closed }
func (p peerView) Send(body []byte)   { p.conn.Send(body) }
func (p peerView) Close()             { p.conn.Close() }
