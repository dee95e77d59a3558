package socket

import (
	"sync/atomic"
	"testing"
)

// heavyRig is a rig whose frames that begin with 'h' take long to decode.
type heavyRig struct {
	*rig
	decoding atomic.Int64
	release  chan struct{}
}

func (r *heavyRig) Heavy(head []byte) bool { return head[0] == 'h' }

func (r *heavyRig) Decode(frame []byte) (any, error) {
	if r.Heavy(frame) {
		r.decoding.Add(1)
		<-r.release
	}
	return nil, nil
}

// TestFewHeavyFramesAreDecodedAtOnce: each may take megabytes that no budget counts. Others pass, and a connection that is
// aborted waits no longer.
func TestFewHeavyFramesAreDecodedAtOnce(t *testing.T) {
	r := &heavyRig{rig: newRig(t, Options{}), release: make(chan struct{})}
	r.bound = r.listenWith("127.0.0.1:0", r).Bound
	most := cap(r.net.heavy)
	for range 2 * most {
		dialPeer(t, r.bound).Send([]byte("heavy frame"))
	}
	r.until("as many as may be decoded", func() bool { return int(r.decoding.Load()) == most })
	light := dialPeer(t, r.bound)
	for range 3 {
		light.Send([]byte("light frame"))
	}
	r.until("the light frames", func() bool { return len(light.Received()) == 3 })
	if n := int(r.decoding.Load()); n != most {
		t.Fatalf("%d heavy frames are decoded at once", n)
	}
	for _, id := range r.opened {
		r.net.Close(id, true)
	}
	r.until("the ends of those that wait", func() bool { return len(r.closed) == len(r.opened)-most })
	close(r.release)
	r.until("the other ends", func() bool { return len(r.closed) == len(r.opened) })
	r.expectNothingReserved()
}
