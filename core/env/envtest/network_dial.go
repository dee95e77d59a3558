package envtest

import (
	"errors"

	"weir/core/env"
)

// dialed is the handler of a connection that the network under test dialed.
type dialed struct {
	*network
	serverConn
	opened bool
}

func (d *dialed) Opened(id env.ConnID, info env.ConnInfo) {
	if d.opened || info.Listener != "" || info.Remote != d.bound {
		d.Errorf("opened as %+v", info)
	}
	d.opened, d.id = true, id
}

func (d *dialed) Received(_ env.ConnID, message any, f *env.Frame) {
	if !d.opened || d.closed {
		d.Fatal("a frame before Opened or after Closed")
	}
	d.frames = append(d.frames, f)
	d.sums = append(d.sums, message.(int))
}

func (d *dialed) Closed(_ env.ConnID, reason error) {
	if !d.opened || d.closed || reason == nil {
		d.Errorf("closed before Opened, twice or without a reason (%v)", reason)
	}
	d.closed, d.reason = true, reason
}

// dialItself lets the network dial its own listener, and returns both ends.
func (n *network) dialItself() (*dialed, *serverConn) {
	n.Helper()
	d, accepted, done := &dialed{network: n}, len(n.order), false
	n.Network.Dial(&env.Dial{Address: n.bound, Handler: d, Codec: networkCodec{}, Done: func(o *env.Dial) {
		if o.Err != nil || !d.opened || o.Conn != d.id {
			n.Fatalf("dialed: %v, opened %t, connection %d of %d", o.Err, d.opened, o.Conn, d.id)
		}
		done = true
	}})
	if done {
		n.Error("completed inside the call that submitted it")
	}
	n.until("both ends", func() bool { return done && len(n.order) > accepted })
	if n.order[accepted].id == d.id {
		n.Fatalf("both ends are connection %d", d.id)
	}
	return d, n.order[accepted]
}

// hangUp closes a dialed connection and waits for the end of both ends.
func (n *network) hangUp(d *dialed, c *serverConn) {
	n.release(&d.serverConn)
	n.release(c)
	n.Network.Close(d.id, true)
	n.until("the end of both ends", func() bool { return d.closed && c.closed })
}

func (n *network) testDial() {
	d, c := n.dialItself()
	const frames = 20
	for i := range frames {
		n.send(d.id, networkBody(100+i*97, i))
		n.send(c.id, networkBody(200+i*91, i+1))
	}
	n.until("all frames", func() bool {
		return len(c.frames) == frames && len(d.frames) == frames && n.sends == 0
	})
	for i := range frames {
		n.expectFrame(c, i, networkBody(100+i*97, i))
		n.expectFrame(&d.serverConn, i, networkBody(200+i*91, i+1))
	}
	n.hangUp(d, c)
}

func (n *network) testDialedEndCloses() {
	d, c := n.dialItself()
	n.send(d.id, []byte("last words"))
	n.Network.Close(d.id, false)
	n.until("the end of both ends", func() bool { return d.closed && c.closed && n.sends == 0 })
	n.expectFrame(c, 0, []byte("last words"))
}

func (n *network) testDialedEndAborts() {
	d, c := n.dialItself()
	for i := range 20 {
		n.send(d.id, networkBody(20_000, i))
	}
	n.Network.Close(d.id, true)
	n.until("the end of both ends", func() bool { n.release(c); return d.closed && c.closed && n.sends == 0 })
}

func (n *network) testAcceptedEndCloses() {
	d, c := n.dialItself()
	n.send(c.id, []byte("last words"))
	n.Network.Close(c.id, false)
	n.until("the end of both ends", func() bool { return d.closed && c.closed && n.sends == 0 })
	n.expectFrame(&d.serverConn, 0, []byte("last words"))
	n.release(&d.serverConn)
}

func (n *network) testAcceptedEndAborts() {
	d, c := n.dialItself()
	n.Network.Close(c.id, true)
	n.until("the end of both ends", func() bool { return d.closed && c.closed })
	late := n.send(d.id, []byte("after Closed"))
	n.until("the completion", func() bool { return n.sends == 0 })
	if !errors.Is(late.Err, env.ErrConnGone) {
		n.Errorf("sent after Closed: %v", late.Err)
	}
}

func (n *network) testDialedEndMutes() {
	d, c := n.dialItself()
	n.Network.Mute(d.id)
	for i := range 5 {
		n.send(c.id, networkBody(100, i))
	}
	n.settle()
	if len(d.frames) != 0 {
		n.Fatalf("%d frames while muted", len(d.frames))
	}
	n.Network.Unmute(d.id)
	n.until("the frames", func() bool { return len(d.frames) == 5 })
	n.hangUp(d, c)
}

func (n *network) testDialedAdmit() {
	d, c := n.dialItself()
	n.send(c.id, []byte("refuse this"))
	n.until("the end of both ends", func() bool { return d.closed && c.closed && n.sends == 0 })
	if !errors.Is(d.reason, errNetworkAdmit) {
		n.Fatalf("closed because of %v", d.reason)
	}
}

func (n *network) testDialRefused() {
	n.Network.StopListening()
	d, failed := &dialed{network: n}, false
	n.Network.Dial(&env.Dial{Address: n.bound, Handler: d, Codec: networkCodec{}, Done: func(o *env.Dial) {
		failed = true
		if o.Err == nil || d.opened {
			n.Errorf("dialed: %v, opened %t", o.Err, d.opened)
		}
	}})
	n.until("a refusal", func() bool { return failed })
}
