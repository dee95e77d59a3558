package socket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/core/env"
)

func TestAddressInUse(t *testing.T) {
	r := newRig(t, Options{})
	if o := r.listen(r.bound); !errors.Is(o.Err, env.ErrAddrInUse) {
		t.Fatalf("%v", o.Err)
	}
	if o := r.listen("256.0.0.1:0"); o.Err == nil || errors.Is(o.Err, env.ErrAddrInUse) {
		t.Fatalf("%v", o.Err)
	}
	r.net.StopListening()
	if o := r.listen("127.0.0.1:0"); o.Err == nil {
		t.Fatal("listens after StopListening")
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, o := range map[string]Options{"all": {ConnectionsMax: 2}, "one address": {ConnectionsPerIPMax: 2}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			_, first := r.raw()
			r.raw()
			late := dialPeer(t, r.bound)
			r.until("a refusal", late.Closed)
			r.until("a line about it", func() bool { return len(r.lines.all()) > 0 })
			if line := r.lines.all()[0]; !strings.Contains(line, "max.connections") || !strings.Contains(line, "127.0.0.1") {
				t.Fatalf("logged %q", line)
			}
			r.net.Close(first, true)
			r.untilClosed(first)
			r.ping()
			if len(r.opened) != 3 {
				t.Fatalf("%d connections were opened", len(r.opened))
			}
		})
	}
}

func TestConnectionLimitsChangeWhileItRuns(t *testing.T) {
	r := newRig(t, Options{ConnectionsMax: 1})
	r.raw()
	r.net.LimitConnections(2, 0)
	r.raw()
	late := dialPeer(t, r.bound)
	r.until("a refusal", late.Closed)
	r.net.LimitConnections(0, 2)
	late = dialPeer(t, r.bound)
	r.until("a refusal for one address", late.Closed)
}

// Stop ends everything there is, in whatever state, and tells.
func TestStop(t *testing.T) {
	r := newRig(t, Options{BudgetBytes: 1 << 20})
	r.hold = true
	held, _ := r.raw()
	write(t, held, withLength(make([]byte, 1<<19)))
	r.until("a held frame", func() bool { return len(r.held) == 1 })
	starved, _ := r.raw()
	write(t, starved, withLength(make([]byte, 1<<19))[:openingBytes+100])
	r.until("a reservation that waits", func() bool { return r.net.Stats().BudgetQueued == 1 })
	_, deaf := r.raw()
	for range 30 {
		r.send(deaf, make([]byte, 1<<20))
	}
	muted, id := r.raw()
	r.net.Mute(id)
	write(t, muted, withLength([]byte("muted")))
	_, closing := r.raw()
	r.net.Close(closing, false)
	r.net.Stop()
	r.net.Stop()
	r.until("the end of all", func() bool { return len(r.closed) == 5 && r.sends == 0 })
	r.releaseHeld()
	r.expectNothingReserved()
}

// An idle connection holds no read buffer; half a head is kept without one.
func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	r := newRig(t, Options{})
	socket, id := r.raw()
	frame := withLength([]byte("a frame of some bytes"))
	for _, cut := range []int{1, 3, 4, 7, 11} {
		n := r.net.open[id].active.Load()
		write(t, socket, frame[:cut])
		r.until("a half frame", func() bool { return r.net.open[id].frameSince.Load() != 0 || r.net.open[id].active.Load() != n })
		write(t, socket, frame[cut:])
		got := make(chan string, 1)
		go func() {
			b, err := readFrame(socket)
			got <- fmt.Sprint(string(b), err)
		}()
		r.until("the echo", func() bool { return len(got) == 1 })
		if s := <-got; s != "a frame of some bytes<nil>" {
			t.Fatalf("cut at %d: %q", cut, s)
		}
	}
	socket.Close()
	r.untilClosed(id)
}

func TestBudgetIsFair(t *testing.T) {
	b, s := newBudget(100), &account{}
	if n, ok := b.try(s, 60); !ok || n != 60 {
		t.Fatal("no room in an empty budget")
	}
	quit := make(chan struct{})
	large, left := make(chan int64), make(chan bool)
	go func() {
		n, _ := b.wait(s, 1000, quit)
		large <- n
	}()
	for b.waiting.Load() == 0 {
	}
	if _, ok := b.try(s, 1); ok {
		t.Fatal("a small frame overtook a large one that waits")
	}
	go func() {
		_, ok := b.wait(s, 10, quit)
		left <- ok
	}()
	for b.waiting.Load() < 2 {
	}
	b.release(s, 60)
	if n := <-large; n != 100 {
		t.Fatalf("a frame larger than the budget reserved %d", n)
	}
	close(quit)
	if <-left {
		t.Fatal("reserved after it gave up")
	}
	b.release(s, 100)
	if used, waiting, waits := b.state(); used != 0 || waiting != 0 || waits != 2 {
		t.Fatalf("%d used, %d waiting, %d waits", used, waiting, waits)
	}
}

// One address cannot keep the others out, however much of it waits.
func TestBudgetKeepsAPartForOthers(t *testing.T) {
	b, greedy, modest := newBudget(100), &account{}, &account{}
	if _, ok := b.try(greedy, 70); !ok {
		t.Fatal("no room in an empty budget")
	}
	quit, left := make(chan struct{}), make(chan bool)
	go func() {
		_, ok := b.wait(greedy, 20, quit)
		left <- ok
	}()
	for b.waiting.Load() == 0 {
	}
	if b.contended(modest) || !b.contended(greedy) {
		t.Fatal("who waits for itself is in nobody else's way")
	}
	if n, ok := b.wait(modest, 25, nil); !ok || n != 25 {
		t.Fatal("another address waited")
	}
	b.release(modest, 25)
	close(quit)
	if <-left {
		t.Fatal("an address got more than its part")
	}
	b.release(greedy, 70)
	if n, ok := b.try(greedy, 100); !ok || n != 100 {
		t.Fatal("a large frame is not let in alone")
	}
}

// Whoever comes and goes, in the end everything is free and nobody was forgotten.
func TestBudgetUnderLoad(t *testing.T) {
	b := newBudget(1000)
	sources := make([]account, 3)
	done := make(chan struct{})
	const workers = 16
	for w := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			s, quit := &sources[w%len(sources)], make(chan struct{})
			close(quit)
			for i := range 2_000 {
				want := int64((w*31+i*17)%1200 + 1)
				n, ok := b.try(s, want)
				switch {
				case ok:
				case i%5 == 0:
					n, ok = b.wait(s, want, quit)
				default:
					n, ok = b.wait(s, want, nil)
				}
				if ok {
					b.release(s, n)
				}
			}
		}()
	}
	for range workers {
		<-done
	}
	if used, waiting, _ := b.state(); used != 0 || waiting != 0 || len(b.turns) != 0 {
		t.Fatalf("%d used, %d waiting, %d in turn", used, waiting, len(b.turns))
	}
	for i := range sources {
		if s := &sources[i]; s.used.Load() != 0 || s.waiting.Load() != 0 {
			t.Fatalf("%d used, %d waiting of one address", s.used.Load(), s.waiting.Load())
		}
	}
}

// pieceAnswer gives a response cut into pieces, as the fetch encoder does: those it
// owns lie one after the other in scratch, with borrowed ones between.
type pieceAnswer struct{ own, borrowed [][]byte }

func (a *pieceAnswer) Encode(scratch []byte) [][]byte {
	cuts := []int{}
	for _, own := range a.own {
		scratch = append(scratch, own...)
		cuts = append(cuts, len(scratch))
	}
	var out [][]byte
	from := 0
	for i, cut := range cuts {
		out = append(out, scratch[from:cut], a.borrowed[i])
		from = cut
	}
	return out
}

// What a batch writes is each response behind its length, whatever lies where.
func TestBatchLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := new(batch)
		var want []byte
		for i := range rapid.IntRange(1, 20).Draw(t, "answers") {
			if b.full() {
				break
			}
			a := &pieceAnswer{}
			var body []byte
			for range rapid.IntRange(0, 4).Draw(t, "parts") {
				own := make([]byte, rapid.SampledFrom([]int{0, 1, 30, 3000, 40_000}).Draw(t, "own"))
				borrowed := make([]byte, rapid.SampledFrom([]int{0, 1, 5000}).Draw(t, "borrowed"))
				for k := range own {
					own[k] = byte(i + k)
				}
				for k := range borrowed {
					borrowed[k] = byte(i - k)
				}
				a.own, a.borrowed = append(a.own, own), append(a.borrowed, borrowed)
				body = append(append(body, own...), borrowed...)
			}
			b.add(&env.Send{Message: a})
			want = append(want, withLength(body)...)
		}
		if got := slices.Concat(b.pieces...); string(got) != string(want) || b.bytes != len(want) {
			t.Fatalf("%d bytes (%d said), %d expected", len(got), b.bytes, len(want))
		}
	})
}

// FuzzFrames sends bytes in chunks, and expects the frames that a plain reader sees
// in them.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x', 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'}, uint16(1))
	f.Add(withLength(make([]byte, 70_000)), uint16(40_000))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(2))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9}, uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, chunk uint16) {
		r := newRig(t, Options{BudgetBytes: 1 << 20, FrameTimeout: 10 * time.Second})
		defer r.net.Stop()
		r.hold = true
		socket, id := r.raw()
		go func() {
			for rest := data; len(rest) > 0; {
				n := min(len(rest), int(chunk)+1)
				if _, err := socket.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = socket.CloseWrite()
		}()
		if len(data) == 0 {
			return
		}
		want := plainFrames(data)
		var got [][]byte
		r.until("the end", func() bool {
			for _, frame := range r.held {
				got = append(got, slices.Clone(frame.Data))
			}
			r.releaseHeld()
			return r.closed[id] != nil
		})
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("%d frames, not %d", len(got), len(want))
		}
		r.expectNothingReserved()
	})
}

func plainFrames(data []byte) (frames [][]byte) {
	for len(data) >= 4 {
		size := int(int32(binary.BigEndian.Uint32(data)))
		if data = data[4:]; size < 0 || size > len(data) || string(data[:size]) == "panic" {
			return frames
		}
		frames = append(frames, data[:size])
		data = data[size:]
	}
	return frames
}

// Clients that speak TLS or HTTP are told from others: one line says so, with their number.
func TestForeignProtocolsAreLoggedOnce(t *testing.T) {
	r := newRig(t, Options{})
	for _, hello := range []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET /metrics HTTP/1.1\r\n\r\n", "\x16\x03\x03\x00\x10"} {
		peer, id := r.raw()
		write(t, peer, []byte(hello))
		if err := r.untilClosed(id); !errors.Is(err, ErrSize) {
			t.Fatalf("%q: closed with %v", hello, err)
		}
	}
	r.until("a line about it", func() bool { return len(r.lines.all()) > 0 })
	first := r.lines.all()[0]
	if !strings.Contains(first, "127.0.0.1") || !strings.Contains(first, "security.protocol") {
		t.Fatalf("logged %q", first)
	}
	r.net.reportForeigners(time.Now())
	r.net.counts.foreign("HTTP", netip.Addr{})
	r.net.reportForeigners(time.Now())
	if n := len(r.lines.all()); n != 1 {
		t.Fatalf("%d lines within a minute", n)
	}
	r.net.reportForeigners(time.Now().Add(foreignLogEvery))
	if n := len(r.lines.all()); n != 2 {
		t.Fatalf("%d lines after a minute", n)
	}
}
