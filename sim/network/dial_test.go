package network

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/sim/machine"
)

// pair is two broker machines, the second of which dials the first.
type pair struct {
	*rig
	box    *machine.Box
	net    env.Network
	dialed echo
	err    error
	done   bool
}

func newPair() *pair {
	p := &pair{rig: newRig(1)}
	p.box = machine.NewBox(1, 1, func(e env.Event) { e.Deliver() })
	p.net = p.rig.net.Host(1).Attach(p.box)
	p.dialed = echo{net: p.net, hold: true}
	return p
}

func (p *pair) dialPeer(timeout time.Duration) {
	p.net.Dial(&env.Dial{Address: "broker:9092", Handler: &p.dialed, Codec: &p.dialed, Timeout: timeout, Done: func(o *env.Dial) {
		p.done, p.err = true, o.Err
	}})
	p.run()
}

func (p *pair) send(text string) {
	p.net.Send(&env.Send{Conn: p.rig.net.conns[0].dialer.id, Message: bytesMessage(text)})
	p.run()
}

func TestBrokerDialsBroker(t *testing.T) {
	p := newPair()
	p.dialPeer(0)
	require.True(t, p.done)
	require.NoError(t, p.err)
	p.send("ping")
	require.Len(t, p.dialed.held, 1, "the frame is echoed")
	require.Equal(t, "ping", string(p.dialed.held[0].Data))
	p.rig.net.Reset(-1, 0)
	p.run()
	require.Equal(t, []string{"open 1", "closed 1"}, p.echo.log)
	require.Equal(t, []string{"open 2", "closed 2"}, p.dialed.log)
	require.Empty(t, p.rig.net.conns)
}

func TestDialTimesOutUnderACut(t *testing.T) {
	p := newPair()
	p.rig.net.PeerLink(1, 0).CutToBroker = true
	p.dialPeer(time.Second)
	require.ErrorIs(t, p.err, errTimeout)
	p.rig.net.PeerLink(1, 0).CutToBroker = false
	p.rig.net.Healed()
	p.run()
	require.Empty(t, p.echo.log, "nothing is opened after the timeout")
	require.Empty(t, p.rig.net.conns)
}

// A dialer whose power failed is found out by what is sent to its successor.
func TestSilentCrashOfTheDialer(t *testing.T) {
	p := newPair()
	p.dialPeer(0)
	p.rig.net.Host(1).Crash(true)
	p.box.Kill()
	p.rig.net.Host(1).Attach(machine.NewBox(1, 2, func(e env.Event) { e.Deliver() }))
	p.run()
	require.Equal(t, []string{"open 1"}, p.echo.log)
	p.echo.net.Send(&env.Send{Conn: 1, Message: bytesMessage("to nobody")})
	p.run()
	require.Equal(t, []string{"open 1", "closed 1"}, p.echo.log)
	require.Empty(t, p.rig.net.conns)
}

func TestCrashOfTheDialerWhileItDials(t *testing.T) {
	p := newPair()
	p.net.Dial(&env.Dial{Address: "broker:9092", Handler: &p.dialed, Codec: &p.dialed, Done: func(*env.Dial) { p.done = true }})
	p.rig.net.Host(1).Crash(false)
	p.box.Kill()
	p.run()
	require.False(t, p.done, "nothing is delivered to the dead")
	require.Empty(t, p.rig.net.conns)
}

func TestResetAndCutBetweenBrokersSpareClients(t *testing.T) {
	p := newPair()
	p.dialPeer(0)
	client := &contractPeer{}
	client.conn = p.rig.net.Dial(0, "broker:9092", client)
	p.run()
	p.rig.net.PeerLink(1, 0).CutToBroker = true
	p.send("held")
	require.Empty(t, p.dialed.held)
	p.rig.net.HealPeers()
	p.rig.net.Healed()
	p.run()
	require.Len(t, p.dialed.held, 1, "what a cut held back is echoed")
	p.rig.net.ResetPeers(0, 1)
	p.run()
	require.Contains(t, p.dialed.log, "closed 2")
	require.False(t, client.closed)
}
