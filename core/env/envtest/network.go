package envtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"weir/core/env"
)

// NetworkHarness is a network under test. Everything but what the world itself runs
// happens on the caller's goroutine.
type NetworkHarness struct {
	Network env.Network

	// Address is what to listen on: a free port of the broker's host.
	Address string
	// BudgetBytes is the network's byte budget for frames; TestNetwork needs 1 MiB.
	BudgetBytes int

	// Pump lets the world go on, and delivers events that have come: it waits for a
	// moment if there is none.
	Pump func()
	// Dial connects a peer to the address that Listen bound.
	Dial func(address string) NetworkPeer
}

// NetworkPeer is the other end of a connection. Its methods do not wait.
type NetworkPeer interface {
	// Send sends a frame with that body, sooner or later.
	Send(body []byte)
	// Received returns the bodies of the frames that came, all of them, in order.
	Received() [][]byte
	// Closed says that the connection is over: refused, closed, or reset.
	Closed() bool
	// Close closes this end.
	Close()
}

// Bounds of the battery's codec.
const (
	networkBudgetBytes = 1 << 20
	networkFrameMax    = networkBudgetBytes
)

var (
	errNetworkAdmit  = errors.New("envtest: the frame is not admitted")
	errNetworkDecode = errors.New("envtest: the frame cannot be decoded")
)

// TestNetwork runs the contract tests of env.Network. fresh gives a network that
// nobody listens on yet.
func TestNetwork(t *testing.T, fresh func(testing.TB) NetworkHarness) {
	tests := []struct {
		name string
		run  func(*network)
	}{
		{"FramesInOrder", (*network).testFramesInOrder},
		{"FramesOfAllSizes", (*network).testFramesOfAllSizes},
		{"SendsInOrder", (*network).testSendsInOrder},
		{"SendsInPieces", (*network).testSendsInPieces},
		{"SendWithoutCompletion", (*network).testSendWithoutCompletion},
		{"SendAfterTheEnd", (*network).testSendAfterTheEnd},
		{"ConnectionsAreApart", (*network).testConnectionsAreApart},
		{"Mute", (*network).testMute},
		{"SetCodec", (*network).testSetCodec},
		{"Budget", (*network).testBudget},
		{"AdmitSeesSizeAndHead", (*network).testAdmit},
		{"RefusedFrameClosesItsConnectionOnly", (*network).testRefused},
		{"FailedDecodeClosesItsConnectionOnly", (*network).testFailedDecode},
		{"GracefulCloseWritesFirst", (*network).testGracefulClose},
		{"Abort", (*network).testAbort},
		{"CloseTwice", (*network).testCloseTwice},
		{"PeerCloses", (*network).testPeerCloses},
		{"SendsOfALostConnectionComplete", (*network).testSendsOfALostConnection},
		{"FramesOutliveTheirConnection", (*network).testFramesOutlive},
		{"ReleaseTwicePanics", (*network).testReleaseTwice},
		{"StopListening", (*network).testStopListening},
		{"DialExchangesFrames", (*network).testDial},
		{"DialedEndCloses", (*network).testDialedEndCloses},
		{"DialedEndAborts", (*network).testDialedEndAborts},
		{"AcceptedEndCloses", (*network).testAcceptedEndCloses},
		{"AcceptedEndAborts", (*network).testAcceptedEndAborts},
		{"DialedEndMutes", (*network).testDialedEndMutes},
		{"DialedFramesAreAdmitted", (*network).testDialedAdmit},
		{"DialRefused", (*network).testDialRefused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := fresh(t)
			if h.BudgetBytes != networkBudgetBytes {
				t.Fatalf("the budget is %d bytes, not %d", h.BudgetBytes, networkBudgetBytes)
			}
			n := &network{TB: t, NetworkHarness: h, conns: map[env.ConnID]*serverConn{}}
			n.listen()
			test.run(n)
			n.finish()
		})
	}
}

// network is a harness with a broker on it, which keeps what it gets.
type network struct {
	testing.TB
	NetworkHarness
	bound string
	conns map[env.ConnID]*serverConn
	order []*serverConn // as they were opened
	sends int           // not yet completed
	echo  bool          // answer each frame with itself, and release it
}

// serverConn is the broker's end of a connection.
type serverConn struct {
	id     env.ConnID
	frames []*env.Frame
	sums   []int // what the codec made of them
	closed bool
	reason error
}

func (n *network) listen() {
	done := false
	n.Network.Listen(&env.Listen{Name: "TEST", Address: n.Address, Handler: n, Codec: networkCodec{}, Done: func(o *env.Listen) {
		if o.Err != nil {
			n.Fatalf("listen: %v", o.Err)
		}
		n.bound, done = o.Bound, true
	}})
	if done {
		n.Error("completed inside the call that submitted it")
	}
	n.until("the listener", func() bool { return done })
}

// Opened implements env.ConnHandler.
func (n *network) Opened(id env.ConnID, info env.ConnInfo) {
	if n.conns[id] != nil {
		n.Errorf("connection %d opened twice", id)
	}
	if info.Listener != "TEST" || info.Remote == "" {
		n.Errorf("opened as %+v", info)
	}
	c := &serverConn{id: id}
	n.conns[id] = c
	n.order = append(n.order, c)
}

// Received implements env.ConnHandler.
func (n *network) Received(id env.ConnID, message any, f *env.Frame) {
	c := n.conns[id]
	if c == nil || c.closed {
		n.Fatalf("a frame of connection %d before Opened or after Closed", id)
	}
	if n.echo {
		n.send(id, append([]byte(nil), f.Data...))
		n.Network.Release(f)
		return
	}
	c.frames = append(c.frames, f)
	c.sums = append(c.sums, message.(int))
}

// Closed implements env.ConnHandler.
func (n *network) Closed(id env.ConnID, reason error) {
	c := n.conns[id]
	if c == nil || c.closed {
		n.Fatalf("connection %d closed before Opened or twice", id)
	}
	if reason == nil {
		n.Error("closed without a reason")
	}
	c.closed, c.reason = true, reason
}

// networkCodec refuses and fails where the frame says so, and adds bytes up.
type networkCodec struct{}

// Admit implements env.Codec.
func (networkCodec) Admit(size int, head []byte) error {
	if size > networkFrameMax || bytes.HasPrefix(head, []byte("refuse")) {
		return errNetworkAdmit
	}
	if len(head) != min(size, 8) {
		return fmt.Errorf("envtest: a head of %d bytes for a frame of %d", len(head), size)
	}
	return nil
}

// Decode implements env.Codec.
func (networkCodec) Decode(frame []byte) (any, error) {
	if bytes.HasPrefix(frame, []byte("fail")) {
		return nil, errNetworkDecode
	}
	return networkSum(frame), nil
}

func networkSum(frame []byte) int {
	sum := 0
	for _, b := range frame {
		sum += int(b)
	}
	return sum
}

// outgoing encodes its head into scratch, and its pieces behind it.
type outgoing struct {
	head   []byte
	pieces [][]byte
}

// Encode implements env.Outgoing.
func (o *outgoing) Encode(scratch []byte) [][]byte {
	return append([][]byte{append(scratch, o.head...)}, o.pieces...)
}

func (n *network) send(id env.ConnID, head []byte, pieces ...[]byte) *env.Send {
	n.sends++
	done, inside := false, true
	o := &env.Send{Conn: id, Message: &outgoing{head, pieces}, Done: func(*env.Send) {
		if done {
			n.Error("a send completed twice")
		}
		if inside {
			n.Error("completed inside the call that submitted it")
		}
		done = true
		n.sends--
	}}
	n.Network.Send(o)
	inside = false
	return o
}

// until pumps until what is awaited is there.
func (n *network) until(what string, is func() bool) {
	n.Helper()
	for range 100_000 {
		if is() {
			return
		}
		n.Pump()
	}
	n.Fatalf("%s never came", what)
}

// settle gives what must not happen a chance to happen.
func (n *network) settle() {
	for range 20 {
		n.Pump()
	}
}

func (n *network) dial() (NetworkPeer, *serverConn) {
	n.Helper()
	opened := len(n.order)
	p := n.Dial(n.bound)
	n.until("a connection", func() bool { return len(n.order) > opened })
	return p, n.order[opened]
}

// ping sees that a connection of its own is served.
func (n *network) ping() {
	n.Helper()
	p, c := n.dial()
	p.Send([]byte("ping"))
	n.until("a ping", func() bool { return len(c.frames) == 1 })
	n.release(c)
	p.Close()
	n.until("the end of the ping", func() bool { return c.closed })
}

func (n *network) release(c *serverConn) {
	for _, f := range c.frames {
		n.Network.Release(f)
	}
	c.frames, c.sums = nil, nil
}

// finish releases what is held, closes what is open, and waits for the end.
func (n *network) finish() {
	for _, c := range n.order {
		n.release(c)
		n.Network.Close(c.id, true)
	}
	n.until("the end of all connections and sends", func() bool {
		for _, c := range n.order {
			n.release(c)
			if !c.closed {
				return false
			}
		}
		return n.sends == 0
	})
	n.settle()
}

// body is a frame of its own size and look.
func networkBody(size, seed int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(seed + i*7 + i>>8)
	}
	if size >= 8 {
		binary.BigEndian.PutUint64(b, uint64(seed))
	}
	return b
}

func (n *network) expectFrame(c *serverConn, i int, want []byte) {
	n.Helper()
	if !bytes.Equal(c.frames[i].Data, want) || c.sums[i] != networkSum(want) {
		n.Fatalf("frame %d: %d bytes and sum %d, not %d and %d", i, len(c.frames[i].Data), c.sums[i], len(want), networkSum(want))
	}
}

func (n *network) expectAnswer(p NetworkPeer, i int, want []byte) {
	n.Helper()
	if got := p.Received()[i]; !bytes.Equal(got, want) {
		n.Fatalf("answer %d: %d bytes differ from the %d sent", i, len(got), len(want))
	}
}

func (n *network) testFramesInOrder() {
	p, c := n.dial()
	const frames = 300
	for i := range frames {
		p.Send(networkBody(8+i%50, i))
	}
	n.until("all frames", func() bool { return len(c.frames) == frames })
	for i := range frames {
		n.expectFrame(c, i, networkBody(8+i%50, i))
	}
}

func (n *network) testFramesOfAllSizes() {
	p, c := n.dial()
	for i, size := range []int{0, 1, 3, 7, 8, 9, 4095, 4096, 65_523, 65_524, 65_536, 65_537, 200_000, 500_000, 900_000, 1} {
		want := networkBody(size, i)
		p.Send(want)
		n.until("a frame", func() bool { return len(c.frames) == 1 })
		n.expectFrame(c, 0, want)
		n.release(c)
	}
}

func (n *network) testSendsInOrder() {
	p, c := n.dial()
	const sends = 200
	for i := range sends {
		n.send(c.id, networkBody(8+i*13%3000, i))
	}
	n.until("all answers", func() bool { return len(p.Received()) == sends && n.sends == 0 })
	for i := range sends {
		n.expectAnswer(p, i, networkBody(8+i*13%3000, i))
	}
}

func (n *network) testSendsInPieces() {
	p, c := n.dial()
	var want [][]byte
	for i := range 20 {
		head := networkBody(i*40, i)
		pieces := [][]byte{networkBody(100_000, i+1), nil, networkBody(1, i+2), networkBody(i*3000, i+3)}
		n.send(c.id, head, pieces...)
		want = append(want, bytes.Join(append([][]byte{head}, pieces...), nil))
	}
	n.until("all answers", func() bool { return len(p.Received()) == len(want) && n.sends == 0 })
	for i := range want {
		n.expectAnswer(p, i, want[i])
	}
}

func (n *network) testSendWithoutCompletion() {
	p, c := n.dial()
	n.Network.Send(&env.Send{Conn: c.id, Message: &outgoing{head: []byte("quiet")}})
	n.until("the answer", func() bool { return len(p.Received()) == 1 })
	n.expectAnswer(p, 0, []byte("quiet"))
}

func (n *network) testSendAfterTheEnd() {
	_, c := n.dial()
	n.Network.Close(c.id, false)
	after := n.send(c.id, []byte("after Close"))
	n.until("the end", func() bool { return c.closed && n.sends == 0 })
	later := n.send(c.id, []byte("after Closed"))
	stranger := n.send(1<<40, []byte("to nobody"))
	n.until("the completions", func() bool { return n.sends == 0 })
	for _, o := range []*env.Send{after, later, stranger} {
		if !errors.Is(o.Err, env.ErrConnGone) {
			n.Errorf("%s: %v", o.Message.(*outgoing).head, o.Err)
		}
	}
}

func (n *network) testConnectionsAreApart() {
	n.echo = true
	var peers []NetworkPeer
	for i := range 4 {
		p, _ := n.dial()
		peers = append(peers, p)
		for k := range 30 {
			p.Send(networkBody(100+k, i*100+k))
		}
	}
	for i, p := range peers {
		n.until("all echoes", func() bool { return len(p.Received()) == 30 })
		for k := range 30 {
			n.expectAnswer(p, k, networkBody(100+k, i*100+k))
		}
	}
}

func (n *network) testMute() {
	p, c := n.dial()
	n.Network.Mute(c.id)
	for i := range 5 {
		p.Send(networkBody(100, i))
	}
	n.ping()
	n.settle()
	if len(c.frames) != 0 {
		n.Fatalf("%d frames while muted", len(c.frames))
	}
	n.send(c.id, []byte("still written"))
	n.until("an answer to a muted connection", func() bool { return len(p.Received()) == 1 && n.sends == 0 })
	n.Network.Unmute(c.id)
	n.until("the frames", func() bool { return len(c.frames) == 5 })
	for i := range 5 {
		n.expectFrame(c, i, networkBody(100, i))
	}
	n.Network.Mute(1 << 40)
	n.Network.Unmute(1 << 40)
}

// testBudget holds frames of half the budget, less than two of which fit with what
// a frame may cost beside.
func (n *network) testBudget() {
	a, atA := n.dial()
	b, atB := n.dial()
	const size = networkBudgetBytes/2 + 1
	a.Send(networkBody(size, 1))
	n.until("the first frame", func() bool { return len(atA.frames) == 1 })
	b.Send(networkBody(size, 2))
	a.Send(networkBody(size, 3))
	n.settle()
	if len(atA.frames)+len(atB.frames) != 1 {
		n.Fatal("the budget was overrun")
	}
	n.expectFrame(atA, 0, networkBody(size, 1))
	n.release(atA)
	for range 2 {
		n.until("a second frame", func() bool { return len(atA.frames)+len(atB.frames) == 1 })
		n.settle()
		if len(atA.frames)+len(atB.frames) != 1 {
			n.Fatal("the budget was overrun")
		}
		for _, c := range []*serverConn{atA, atB} {
			n.release(c)
		}
	}
	a.Send(networkBody(networkFrameMax, 4))
	n.until("a frame as large as the budget", func() bool { return len(atA.frames) == 1 })
	n.expectFrame(atA, 0, networkBody(networkFrameMax, 4))
}

func (n *network) testAdmit() {
	p, c := n.dial()
	p.Send(networkBody(networkFrameMax+1, 0))
	n.until("the end", func() bool { return c.closed && p.Closed() })
	if !errors.Is(c.reason, errNetworkAdmit) {
		n.Fatalf("closed because of %v", c.reason)
	}
}

func (n *network) testRefused() { n.closesItself("refuse this", errNetworkAdmit) }

func (n *network) testFailedDecode() { n.closesItself("fail on this", errNetworkDecode) }

func (n *network) closesItself(frame string, want error) {
	other, atOther := n.dial()
	p, c := n.dial()
	p.Send([]byte("good"))
	p.Send([]byte(frame))
	p.Send([]byte("never seen"))
	n.until("the end", func() bool { return c.closed && p.Closed() })
	if !errors.Is(c.reason, want) || len(c.frames) != 1 {
		n.Fatalf("closed because of %v after %d frames", c.reason, len(c.frames))
	}
	other.Send([]byte("unharmed"))
	n.until("another's frame", func() bool { return len(atOther.frames) == 1 })
}

func (n *network) testGracefulClose() {
	p, c := n.dial()
	for i := range 20 {
		n.send(c.id, networkBody(50_000, i))
	}
	n.Network.Close(c.id, false)
	n.until("the end", func() bool { return c.closed && p.Closed() && n.sends == 0 })
	if len(p.Received()) != 20 {
		n.Fatalf("%d answers of 20 before the end", len(p.Received()))
	}
	for i := range 20 {
		n.expectAnswer(p, i, networkBody(50_000, i))
	}
}

func (n *network) testAbort() {
	p, c := n.dial()
	for i := range 20 {
		n.send(c.id, networkBody(50_000, i))
	}
	n.Network.Close(c.id, true)
	n.until("the end", func() bool { return c.closed && p.Closed() && n.sends == 0 })
	n.ping()
}

func (n *network) testCloseTwice() {
	_, c := n.dial()
	n.Network.Close(c.id, false)
	n.Network.Close(c.id, false)
	n.Network.Close(c.id, true)
	n.until("the end", func() bool { return c.closed })
	n.Network.Close(c.id, true)
	n.Network.Mute(c.id)
	n.Network.Unmute(c.id)
	n.settle()
}

func (n *network) testPeerCloses() {
	p, c := n.dial()
	p.Send([]byte("last words"))
	n.until("a frame", func() bool { return len(c.frames) == 1 })
	p.Close()
	n.until("the end", func() bool { return c.closed })
}

func (n *network) testSendsOfALostConnection() {
	p, c := n.dial()
	p.Close()
	for i := range 50 {
		n.send(c.id, networkBody(20_000, i))
	}
	n.until("the end", func() bool { return c.closed && n.sends == 0 })
}

func (n *network) testFramesOutlive() {
	p, c := n.dial()
	want := networkBody(10_000, 1)
	p.Send(want)
	n.until("a frame", func() bool { return len(c.frames) == 1 })
	p.Close()
	n.until("the end", func() bool { return c.closed })
	n.ping()
	n.expectFrame(c, 0, want)
}

func (n *network) testReleaseTwice() {
	p, c := n.dial()
	p.Send([]byte("once"))
	n.until("a frame", func() bool { return len(c.frames) == 1 })
	f := c.frames[0]
	n.release(c)
	defer func() {
		if recover() == nil {
			n.Error("a second release passed")
		}
	}()
	n.Network.Release(f)
}

func (n *network) testStopListening() {
	p, c := n.dial()
	n.Network.StopListening()
	late := n.Dial(n.bound)
	n.until("a refusal", late.Closed)
	p.Send([]byte("still here"))
	n.until("a frame of an open connection", func() bool { return len(c.frames) == 1 })
	if len(n.order) != 1 {
		n.Fatal("a connection was opened after all")
	}
}
