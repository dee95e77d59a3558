package socket

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
)

func (r *rig) dialAddress(address string, timeout time.Duration) *env.Dial {
	done := false
	o := &env.Dial{Address: address, Handler: r, Codec: r, Timeout: timeout, Done: func(*env.Dial) { done = true }}
	r.net.Dial(o)
	r.until("the end of a dial", func() bool { return done })
	return o
}

// Limits are for connections that others open; what this end dials neither counts nor is refused.
func TestDialedConnectionsAreNotLimited(t *testing.T) {
	peer := newRig(t, Options{})
	r := newRig(t, Options{ConnectionsMax: 1, ConnectionsPerIPMax: 1})
	for range 3 {
		require.NoError(t, r.dialAddress(peer.bound, 0).Err)
	}
	r.ping()
	require.Equal(t, 3, r.net.dialed)
	for _, id := range r.opened[:3] {
		r.net.Close(id, true)
		r.untilClosed(id)
	}
	require.Zero(t, r.net.dialed)
}

func TestDialFails(t *testing.T) {
	r := newRig(t, Options{})
	require.Error(t, r.dialAddress("127.0.0.1:1", time.Second).Err)
	require.Error(t, r.dialAddress("no such address", time.Second).Err)
	r.net.Stop()
	require.Error(t, r.dialAddress(r.bound, time.Second).Err)
}

// Stop does not wait for a dial that nobody answers.
func TestStopEndsADial(t *testing.T) {
	r := newRig(t, Options{})
	failed := false
	for range 2 {
		r.net.Dial(&env.Dial{Address: "192.0.2.1:9092", Handler: r, Codec: r, Timeout: time.Hour, Done: func(o *env.Dial) { failed = o.Err != nil }})
	}
	r.net.Stop()
	r.until("a failure", func() bool { return failed })
}
