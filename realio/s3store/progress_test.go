package s3store

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/bill"
	"weir/core/env"
)

// TestATryEndsWhenNothingMoves, not when it is long.
func TestATryEndsWhenNothingMoves(t *testing.T) {
	s := &Store{options: Options{IdleTimeout: time.Hour}, meter: bill.NewMeter(nil)}
	r := s.try(context.Background(), bill.Part, env.PurposeUpload)
	defer r.end()
	now := r.at
	for range 1000 { // hours
		now = now.Add(59 * time.Minute)
		r.moved.Add(trickleBytes)
		r.lookAt(now)
		require.NoError(t, r.Err())
	}
	r.moved.Add(trickleBytes - 1)
	r.lookAt(now.Add(59 * time.Minute))
	require.NoError(t, r.Err())
	r.lookAt(now.Add(61 * time.Minute))
	require.ErrorIs(t, context.Cause(r), errStalled, "a trickle is no progress")
}

func TestAJoinMayTrickleButNotForEver(t *testing.T) {
	s := &Store{options: Options{IdleTimeout: time.Hour}, meter: bill.NewMeter(nil)}
	r := s.try(context.Background(), bill.Multipart, env.PurposeUpload)
	defer r.end()
	now := r.at
	for hours := 0; r.Err() == nil; hours++ {
		require.LessOrEqual(t, hours, joinLimit)
		now = now.Add(time.Hour)
		r.moved.Add(1)
		r.lookAt(now)
	}
	require.ErrorIs(t, context.Cause(r), errStalled)
}

// TestWhatTheKernelBuffersIsNoProgress: a peer that reads nothing stops the count, although writes to
// the socket succeed for a while.
func TestWhatTheKernelBuffersIsNoProgress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	peer, err := l.Accept()
	require.NoError(t, err)
	before := carried(conn)
	_, err = conn.Write(make([]byte, 1000))
	require.NoError(t, err)
	_, err = peer.Read(make([]byte, 1000))
	require.NoError(t, err)
	_, err = peer.Write(make([]byte, 500)) // acknowledges what came
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 500))
	require.NoError(t, err)
	require.EqualValues(t, 1500, carried(conn)-before)
	require.Zero(t, carried(nil))
}

func TestAStalledRequestSaysSo(t *testing.T) {
	r := newRig(t)
	r.hurry(lightning{hang: true})
	r.set(always(lightning{hang: true}))
	p := r.put("key", []byte("value"))
	require.Equal(t, env.OutcomeUnknown, p.Outcome)
	require.Equal(t, env.CauseStalled, env.CauseOf(p.Err), "%v", p.Err)
	require.ErrorContains(t, p.Err, "nothing moved")
}

func TestAbandonEndsWhatIsInFlight(t *testing.T) {
	r := newRig(t)
	begun := make(chan struct{}, 1)
	r.set(func(q *http.Request) *lightning { begun <- struct{}{}; return &lightning{hang: true} })
	p := &env.PutObject{Key: "key", Body: [][]byte{[]byte("x")}}
	r.Put(p)
	<-begun
	r.Abandon()
	<-r.box
	require.Equal(t, env.CauseEnded, env.CauseOf(p.Err), "%v", p.Err)
	later := r.put("later", []byte("x"))
	require.Equal(t, env.OutcomeFailed, later.Outcome)
	require.Equal(t, env.CauseEnded, env.CauseOf(later.Err), "%v", later.Err)
}

// link is a link of some bytes a second, shared by transfers of 16 MiB, on a clock of its own.
func TestThePacerFindsWhatTheLinkTakes(t *testing.T) {
	const part = 16 << 20
	for rate, want := range map[float64][2]int{ // bytes a second; the window in the end
		1.25e6: {1, 1},   // 10 Mbit/s: one part takes 13 s
		6e6:    {3, 8},   // 48 Mbit/s
		1e9:    {12, 64}, // never the bound
	} {
		p := newPacer(uploadWindow, 64)
		now := time.Unix(1000, 0)
		for range 200 {
			var flying []*paced
			for range 12 {
				if p.active < int(p.window) {
					turn, err := p.enter(context.Background())
					require.NoError(t, err)
					turn.began = now
					flying = append(flying, turn)
				}
			}
			now = now.Add(time.Duration(float64(len(flying)) * part / rate * 1e9))
			for _, turn := range flying {
				turn.leaveAt(now, part, false)
			}
		}
		require.GreaterOrEqual(t, int(p.window), want[0], "%v bytes a second", rate)
		require.LessOrEqual(t, int(p.window), want[1], "%v bytes a second", rate)
	}
}

func TestThePacerHalvesOnceForTransfersThatFailTogether(t *testing.T) {
	p := newPacer(8, 64)
	var turns []*paced
	for range 8 {
		turn, err := p.enter(context.Background())
		require.NoError(t, err)
		turns = append(turns, turn)
	}
	for _, turn := range turns {
		turn.leave(1<<20, true)
	}
	require.InDelta(t, 4, p.window, 0)
	require.Zero(t, p.active)
}

func TestThePacerLetsWaitersInAndOut(t *testing.T) {
	p := newPacer(1, 1)
	first, err := p.enter(context.Background())
	require.NoError(t, err)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = p.enter(gone)
	require.ErrorIs(t, err, context.Canceled)
	entered := make(chan *paced)
	go func() {
		second, _ := p.enter(context.Background())
		entered <- second
	}()
	first.leave(1, false)
	second := <-entered
	second.leave(1, false)
	require.Zero(t, p.active)
	require.Empty(t, p.waiting)
}

func TestPartsFollowTheLink(t *testing.T) {
	p := newPacer(8, 64)
	require.EqualValues(t, 16<<20, p.partBytes(5<<20, 16<<20))
	p.rate = 1e6
	require.EqualValues(t, 9<<20, p.partBytes(5<<20, 16<<20))
	p.rate = 1e3
	require.EqualValues(t, 5<<20, p.partBytes(5<<20, 16<<20))
}

// On a link where every first transfer stalls, parts get smaller although none ever ended well.
func TestPartsShrinkOnALinkThatNeverTookOne(t *testing.T) {
	p := newPacer(uploadWindow, 64)
	now := time.Now()
	for range 3 {
		turn, err := p.enter(context.Background())
		require.NoError(t, err)
		turn.began = now
		now = now.Add(25 * time.Second)
		turn.leaveAt(now, p.partBytes(5<<20, 16<<20), true)
	}
	require.EqualValues(t, 5<<20, p.partBytes(5<<20, 16<<20))
}
