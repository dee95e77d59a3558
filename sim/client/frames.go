package client

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/sim/network"
)

// frameBreaker is a connection on which one frame is sent that is no request, or one in pieces.
type frameBreaker struct {
	breaker *Breaker
	frame   []byte
	size    int // announced
	sent    int
	piece   int // bytes at a time
	wait    time.Duration
	whole   bool // all of it is sent, and it is a request
	refused bool // no answer may follow
	conn    *network.Conn
	ended   bool
}

// framesMax bounds the connections of a breaker that are broken at a time.
const framesMax = 8

// breakFrame opens a connection and sends a frame that is damaged, cut short or slow.
func (b *Breaker) breakFrame() {
	if len(b.frames) >= framesMax {
		b.frames[0].end()
		b.frames = b.frames[1:]
	}
	f := &frameBreaker{breaker: b}
	valid := b.someRequest()
	switch kind := b.draws.Below(6); kind {
	case 0: // garbage
		f.frame = make([]byte, b.draws.Between(1, 200))
		for i := range f.frame {
			f.frame[i] = byte(b.draws.Below(256))
		}
		if b.draws.PerMille(700) && len(f.frame) > 4 {
			f.frame[0], f.frame[1], f.frame[2] = 0, wireKeys[b.draws.Below(int64(len(wireKeys)))], 0
			f.frame[3] = byte(b.draws.Below(20))
		}
		f.size = len(f.frame)
	case 1: // a request that ends too early
		f.frame = valid[:b.draws.Below(int64(len(valid)))+1]
		f.size = len(f.frame)
		f.refused = f.size < len(valid)
	case 2: // a version that is not served
		f.frame = valid
		f.frame[3] = byte(b.draws.Between(20, 120))
		f.size = len(f.frame)
		f.refused = true
	case 3: // a size that is far too large
		f.frame, f.size = valid, int(b.draws.Between(200<<20, 1<<31-1))
		f.refused = true
	default: // in pieces: silence, or a close, or on to the end
		f.frame, f.size = valid, len(valid)
		f.piece = int(b.draws.Between(1, int64(len(valid))))
		f.wait = b.draws.Duration(time.Millisecond, 2*time.Second)
		f.whole = true
	}
	if f.piece == 0 {
		f.piece = len(f.frame)
	}
	if f.whole && b.draws.PerMille(400) { // it is never finished
		f.frame = f.frame[:b.draws.Below(int64(len(f.frame)))+1]
		f.whole = len(f.frame) == f.size
		f.refused = !f.whole
	}
	f.conn = b.Net.Dial(b.client, b.bootstrap(b.client, b.dials), f)
	b.dials++
	b.frames = append(b.frames, f)
}

var wireKeys = [...]byte{0, 1, 2, 3, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 44, 60, 75}

// someRequest is the body of a request that changes nothing if it is taken.
func (b *Breaker) someRequest() []byte {
	var r kmsg.Request
	for r == nil {
		c := &refusals[b.draws.Below(int64(len(refusals)))]
		if r = c.make(b); !b.choose(r) || r.GetVersion() < c.since {
			r = nil
		}
	}
	return append([]byte(nil), b.format.AppendRequest(nil, r, 1)[4:]...)
}

// Connected implements network.Client.
func (f *frameBreaker) Connected(*network.Conn) { f.send() }

func (f *frameBreaker) send() {
	if f.ended {
		return
	}
	n := min(f.piece, len(f.frame)-f.sent)
	if n == 0 {
		if !f.whole && f.breaker.draws.PerMille(300) {
			f.end()
		}
		return
	}
	f.conn.SendPiece(f.frame[f.sent:f.sent+n], f.size)
	f.sent += n
	f.breaker.Queue.Call(f.wait, f.send)
}

// Received implements network.Client: only what is whole is answered. ApiVersions answers any version.
func (f *frameBreaker) Received(_ *network.Conn, answer []byte) {
	if f.refused && f.frame[1] != apiVersionsKey && !f.ended {
		f.breaker.fail("refusal", "client %d: a frame that is no request, %d of %d bytes of key %d version %d, was answered with %d bytes",
			f.breaker.client, f.sent, f.size, f.frame[1], f.frame[3], len(answer))
	}
	f.end()
}

const apiVersionsKey = 18

// Closed implements network.Client.
func (f *frameBreaker) Closed(*network.Conn, error) { f.ended = true }

func (f *frameBreaker) end() {
	if !f.ended {
		f.ended = true
		f.conn.Close()
	}
}
