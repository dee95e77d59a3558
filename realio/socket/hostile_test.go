package socket

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, socket *net.TCPConn, data []byte) {
	t.Helper()
	_, err := socket.Write(data)
	must(t, err)
}

// writeAll writes in a goroutine, until the data or the connection ends.
func writeAll(t testing.TB, socket *net.TCPConn, data []byte) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = socket.Write(data)
	}()
	t.Cleanup(func() { socket.Close(); <-done })
}

// Frames of 100 MiB come through one after the other, whoever sends them, and small
// frames between them.
func TestLargeFramesOfZeros(t *testing.T) {
	r := newRig(t, Options{BudgetBytes: 256 << 20})
	const size, each = 100 << 20, 1
	var peers []*peer
	for range 3 {
		p := dialPeer(t, r.bound)
		peers = append(peers, p)
		for range each {
			p.Send(make([]byte, size))
		}
	}
	for _, p := range peers {
		r.ping()
		r.until("the answers", func() bool { return len(p.Received()) == each })
	}
	r.expectNothingReserved()
}

func TestTruncatedFrame(t *testing.T) {
	r := newRig(t, Options{})
	for _, sent := range []int{1, 3, 4, 11, 12, 13, 5_000, 99_999} {
		socket, id := r.raw()
		write(t, socket, withLength(make([]byte, 100_000))[:sent])
		must(t, socket.CloseWrite())
		if err := r.untilClosed(id); !errors.Is(err, io.EOF) {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
	}
	r.ping()
	r.until("the ping's end", func() bool { return r.net.Stats().Connections == 0 })
	r.expectNothingReserved()
}

func TestFrameOfImpossibleSize(t *testing.T) {
	r := newRig(t, Options{})
	for size, want := range map[uint32]error{frameMax + 1: errTooLarge, 1<<31 - 1: errTooLarge, 1 << 31: ErrSize, 1<<32 - 1: ErrSize} {
		socket, id := r.raw()
		write(t, socket, append(binary.BigEndian.AppendUint32(nil, size), make([]byte, 100)...))
		if err := r.untilClosed(id); !errors.Is(err, want) {
			t.Fatalf("size %d: %v", size, err)
		}
	}
	r.ping()
}

func TestCodecPanicCostsItsConnection(t *testing.T) {
	r := newRig(t, Options{})
	socket, id := r.raw()
	write(t, socket, withLength([]byte("panic")))
	if err := r.untilClosed(id); !strings.Contains(err.Error(), "a codec's mistake") {
		t.Fatal(err)
	}
	if lines := r.lines.all(); len(lines) != 1 || !strings.Contains(lines[0], "panicOn") {
		t.Fatalf("logged without its stack: %q", lines)
	}
	r.ping()
	r.until("the ping's end", func() bool { return r.net.Stats().Connections == 0 })
	r.expectNothingReserved()
}

// A frame that does not go on is given up, wherever it stopped.
func TestSlowFrame(t *testing.T) {
	r := newRig(t, Options{FrameTimeout: 50 * time.Millisecond})
	for _, sent := range []int{1, 4, 8, 20, 5_000} {
		socket, id := r.raw()
		write(t, socket, withLength(make([]byte, 100_000))[:sent])
		r.ping()
		if err := r.untilClosed(id); !errors.Is(err, ErrSlow) {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
	}
}

// Peers that announce the whole budget and send nothing hold an opening each, and
// neither small nor large frames of others wait for them. FrameTimeout is longer than
// the test: nobody is closed for being slow.
func TestAnnouncedFramesHoldLittle(t *testing.T) {
	r := newRig(t, Options{BudgetBytes: 4 << 20, FrameTimeout: time.Hour})
	for i := range 4 {
		slow, _ := r.raw()
		write(t, slow, withLength(make([]byte, 4<<20))[:15])
		r.until("the opening", func() bool { return r.net.Stats().BudgetUsed == int64(i+1)*(openingBytes+frameCharge) })
	}
	r.ping()
	large := dialPeer(t, r.bound)
	large.Send(make([]byte, 2<<20))
	r.until("the answer to a large frame", func() bool { return len(large.Received()) == 1 })
}

// Small frames do not wait for the room of large ones, whatever has arrived of those.
func TestSmallFramesPassLargeOnes(t *testing.T) {
	r := newRig(t, Options{BudgetBytes: 4 << 20, FrameTimeout: time.Hour})
	for range 3 {
		slow, _ := r.raw()
		write(t, slow, withLength(make([]byte, 4<<20))[:openingBytes+100])
	}
	r.until("the queue for large frames", func() bool { return r.net.Stats().BudgetQueued == 2 })
	r.ping()
}

// Large frames that stall are closed while others wait for their room.
func TestSlowFramesGiveWay(t *testing.T) {
	r := newRig(t, Options{BudgetBytes: 4 << 20, FrameTimeout: 5 * time.Second})
	slow, id := r.raw()
	write(t, slow, withLength(make([]byte, 4<<20))[:openingBytes+100])
	r.until("the reservation", func() bool { return r.net.Stats().BudgetUsed >= 2<<20 })
	large := dialPeer(t, r.bound)
	large.Send(make([]byte, 2<<20))
	r.until("the answer to a large frame", func() bool { return len(large.Received()) == 1 })
	if err := r.untilClosed(id); !errors.Is(err, ErrSlow) {
		t.Fatal(err)
	}
}

// Nobody is closed for being slow while nobody waits for it.
func TestSlowFrameAloneHasTime(t *testing.T) {
	r := newRig(t, Options{BudgetBytes: 4 << 20, FrameTimeout: 3 * time.Second})
	slow, _ := r.raw()
	frame := withLength(make([]byte, 3<<20))
	write(t, slow, frame[:100])
	from := time.Now()
	r.until("some looks at the deadlines", func() bool { return time.Since(from) > 700*time.Millisecond })
	writeAll(t, slow, frame[100:])
	answer, err := make(chan []byte, 1), make(chan error, 1)
	go func() {
		b, e := readFrame(slow)
		answer <- b
		err <- e
	}()
	r.until("the answer", func() bool { return len(answer) == 1 })
	if got := <-answer; string(got) != "ok" {
		t.Fatalf("%q, %v", got, <-err)
	}
}

// A peer that does not read holds up nobody, and is closed in time; its sends
// complete.
func TestPeerThatDoesNotRead(t *testing.T) {
	r := newRig(t, Options{WriteTimeout: 300 * time.Millisecond})
	_, id := r.raw()
	const sends = 40
	for range sends {
		r.send(id, make([]byte, 1<<20))
	}
	r.ping()
	if err := r.untilClosed(id); !errors.Is(err, ErrStalled) {
		t.Fatal(err)
	}
	r.until("the sends", func() bool { return r.sends == 0 })
	if r.gone == 0 || r.gone == sends {
		t.Fatalf("%d of %d sends found the connection gone", r.gone, sends)
	}
}

// A graceful close does not wait for ever for a peer that does not read.
func TestGracefulCloseOfAPeerThatDoesNotRead(t *testing.T) {
	r := newRig(t, Options{WriteTimeout: 300 * time.Millisecond})
	_, id := r.raw()
	for range 40 {
		r.send(id, make([]byte, 1<<20))
	}
	r.net.Close(id, false)
	r.untilClosed(id)
	r.until("the sends", func() bool { return r.sends == 0 })
}

// What a peer has not read yet survives a graceful close, although it goes on
// sending what nobody reads.
func TestGracefulCloseKeepsAnswers(t *testing.T) {
	r := newRig(t, Options{})
	r.hold = true
	socket, id := r.raw()
	writeAll(t, socket, make([]byte, 8<<20)) // frames of no bytes
	r.until("the first frame", func() bool { return len(r.held) > 0 })
	r.send(id, []byte("your last answer"))
	r.net.Close(id, false)
	r.until("the answer's way", func() bool { return r.sends == 0 })
	got, err := readFrame(socket)
	if err != nil || string(got) != "your last answer" {
		t.Fatalf("%q, %v", got, err)
	}
	socket.Close()
	r.untilClosed(id)
	r.releaseHeld()
	r.expectNothingReserved()
}

// A peer that does not close its end after a graceful close is not waited for long.
func TestLingerEnds(t *testing.T) {
	r := newRig(t, Options{})
	_, id := r.raw()
	r.net.Close(id, false)
	if err := r.untilClosed(id); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestIdleTimeout(t *testing.T) {
	r := newRig(t, Options{IdleTimeout: 600 * time.Millisecond})
	_, idle := r.raw()
	busy := dialPeer(t, r.bound)
	for sent := 0; r.closed[idle] == nil; r.box.pump() {
		if len(busy.Received()) == sent {
			busy.Send([]byte("busy"))
			sent++
		}
	}
	if !errors.Is(r.closed[idle], ErrIdle) {
		t.Fatal(r.closed[idle])
	}
	if len(r.closed) != 1 {
		t.Fatalf("a busy connection was closed: %v", r.closed)
	}
}

// A connection that the core muted is not idle by its own fault.
func TestMutedIsNotIdle(t *testing.T) {
	r := newRig(t, Options{IdleTimeout: 200 * time.Millisecond})
	_, muted := r.raw()
	r.net.Mute(muted)
	_, idle := r.raw()
	r.untilClosed(idle)
	from := time.Now()
	r.until("more looks at the deadlines", func() bool { return time.Since(from) > 250*time.Millisecond })
	if r.closed[muted] != nil {
		t.Fatal(r.closed[muted])
	}
	r.net.Unmute(muted)
	if err := r.untilClosed(muted); !errors.Is(err, ErrIdle) {
		t.Fatal(err)
	}
}

// A flood of small frames does not pile up in the mailbox.
func TestFloodStaysOutside(t *testing.T) {
	r := newRig(t, Options{})
	r.hold = true
	socket, id := r.raw()
	const frames = 100_000
	writeAll(t, socket, make([]byte, 4*frames))
	c := r.net.open[id]
	r.until("a full mailbox", func() bool { return len(r.held) > 0 && c.parked.Load() })
	seen := 0
	for seen < frames {
		if n := len(r.box.events); n > aheadMax+8 {
			t.Fatalf("%d events in the mailbox", n)
		}
		r.box.pump()
		seen += len(r.held)
		r.releaseHeld()
	}
	r.expectNothingReserved()
}

// Where there are very many connections, one that waits keeps what it has read
// without the buffer.
func TestManyWaitingConnections(t *testing.T) {
	r := newRig(t, Options{})
	r.net.connections.Add(100_000)
	defer r.net.connections.Add(-100_000)
	socket, id := r.raw()
	r.net.Mute(id)
	var frames []byte
	for range 100 {
		frames = append(frames, withLength(make([]byte, 300))...)
	}
	writeAll(t, socket, frames)
	c := r.net.open[id]
	r.until("a reader that waits", c.parked.Load)
	r.hold = true
	r.net.Unmute(id)
	r.until("all frames", func() bool { return len(r.held) == 100 })
	r.releaseHeld()
	r.expectNothingReserved()
}
