package peer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/task"
)

// callClock is a clock that the test moves.
type callClock struct{ now env.Time }

func (c *callClock) Now() env.Time     { return c.now }
func (c *callClock) WallMillis() int64 { return 0 }
func (c *callClock) WakeAt(env.Time)   {}

// callers are two nodes whose messages are delivered by the test.
type callers struct {
	t     *testing.T
	clock *callClock
	loop  *task.Loop
	calls [2]*Calls
	net   []func()
	down  bool
}

func newCallers(t *testing.T) *callers {
	c := &callers{t: t, clock: &callClock{now: 1}}
	c.loop = task.NewLoop(c.clock)
	for i := range c.calls {
		c.calls[i] = NewCalls(c.loop, int32(i), func(to int32, kind Kind, _ int, body Body) bool {
			if c.down {
				return false
			}
			c.net = append(c.net, func() {
				value, err := DecodeCall(kind, body.AppendTo(nil))
				require.NoError(t, err)
				c.calls[to].Received(int32(i), value)
			})
			return true
		})
	}
	return c
}

func (c *callers) turn(f func()) {
	c.loop.Post(f)
	c.loop.Turn(nil)
}

// deliver hands over everything that was sent.
func (c *callers) deliver() {
	for len(c.net) > 0 {
		next := c.net[0]
		c.net = c.net[1:]
		c.turn(next)
	}
}

type outcome struct {
	body []byte
	err  error
	n    int
}

func (o *outcome) done(body []byte, err error) { o.body, o.err, o.n = body, err, o.n+1 }

func TestCallIsAnsweredOnce(t *testing.T) {
	c := newCallers(t)
	c.calls[1].Handle(3, func(from int32, body []byte, reply func([]byte, *Refusal)) {
		require.Equal(t, int32(0), from)
		if string(body) == "no" {
			reply(nil, &Refusal{7, "never"})
			return
		}
		reply(append(body, '!'), nil)
	})
	var yes, no, none outcome
	c.turn(func() {
		c.calls[0].Call(1, 3, []byte("yes"), time.Second, yes.done)
		c.calls[0].Call(1, 3, []byte("no"), time.Second, no.done)
		c.calls[0].Call(1, 4, nil, time.Second, none.done)
	})
	c.deliver()
	require.Equal(t, outcome{body: []byte("yes!"), n: 1}, yes)
	require.Equal(t, outcome{err: &Refusal{7, "never"}, n: 1}, no)
	require.Equal(t, 1, none.n)
	require.ErrorAs(t, none.err, new(*Refusal))
}

func TestCallOfThisNodeItself(t *testing.T) {
	c := newCallers(t)
	c.calls[0].Handle(1, func(_ int32, body []byte, reply func([]byte, *Refusal)) { reply(body, nil) })
	var o outcome
	c.turn(func() {
		c.calls[0].Call(0, 1, []byte("x"), time.Second, o.done)
		require.Zero(t, o.n, "in a later step")
	})
	require.Equal(t, outcome{body: []byte("x"), n: 1}, o)
}

func TestCallWithoutAnAnswerEnds(t *testing.T) {
	c := newCallers(t)
	var late func([]byte, *Refusal)
	c.calls[1].Handle(1, func(_ int32, _ []byte, reply func([]byte, *Refusal)) { late = reply })
	var o, refused outcome
	c.turn(func() { c.calls[0].Call(1, 1, nil, time.Second, o.done) })
	c.deliver()
	c.clock.now = c.clock.now.Add(2 * time.Second)
	c.turn(func() {})
	require.Equal(t, outcome{err: ErrNoAnswer, n: 1}, o)
	c.turn(func() { late(nil, nil) })
	c.deliver()
	require.Equal(t, 1, o.n)

	c.down = true
	c.turn(func() { c.calls[0].Call(1, 1, nil, time.Hour, refused.done) })
	c.turn(func() {})
	require.Equal(t, outcome{err: ErrNoAnswer, n: 1}, refused, "at once: there is no way")
}

func TestGivingUpOnANodeKeepsOtherCalls(t *testing.T) {
	c := newCallers(t)
	c.calls[0].Handle(3, func(_ int32, _ []byte, reply func([]byte, *Refusal)) { reply(nil, nil) })
	var given, other, own outcome
	c.turn(func() {
		c.calls[0].Call(1, 3, nil, time.Second, given.done)
		c.calls[0].Call(1, 4, nil, time.Second, other.done)
		c.calls[0].Call(0, 3, nil, time.Second, own.done)
		require.Equal(t, 1, c.calls[0].GiveUpTo(1, 3))
		require.Zero(t, c.calls[0].GiveUpTo(1, 3))
	})
	require.Equal(t, outcome{err: ErrNoAnswer, n: 1}, given)
	require.Zero(t, other.n)
	require.Equal(t, outcome{n: 1}, own)
}

// Who is given up may ask the same node again at once, and may give up others: each call has one end, and what is asked then stays.
func TestGivingUpLetsCallersAskAgain(t *testing.T) {
	c := newCallers(t)
	var first, second, again outcome
	c.turn(func() {
		c.calls[0].Call(1, 3, nil, time.Second, func(body []byte, err error) {
			first.done(body, err)
			require.Equal(t, 1, c.calls[0].GiveUpTo(1, 3), "the second")
			c.calls[0].Call(1, 3, nil, time.Second, again.done)
		})
		c.calls[0].Call(1, 3, nil, time.Second, second.done)
		require.Equal(t, 1, c.calls[0].GiveUpTo(1, 3))
		require.Equal(t, []int{1, 1, 0}, []int{first.n, second.n, again.n})
	})
	require.Zero(t, again.n)
}

func TestGivingUpEndsTheCallsOfAMethod(t *testing.T) {
	c := newCallers(t)
	var given, kept outcome
	c.turn(func() {
		c.calls[0].Call(1, 3, nil, time.Second, given.done)
		c.calls[0].Call(1, 4, nil, time.Second, kept.done)
		c.calls[0].GiveUp(3)
	})
	require.ErrorIs(t, given.err, ErrNoAnswer)
	require.Equal(t, [2]int{1, 0}, [2]int{given.n, kept.n})
	c.calls[1].Handle(3, func(_ int32, _ []byte, reply func([]byte, *Refusal)) { reply(nil, nil) })
	c.calls[1].Handle(4, func(_ int32, _ []byte, reply func([]byte, *Refusal)) { reply(nil, nil) })
	c.deliver()
	require.Equal(t, [2]int{1, 1}, [2]int{given.n, kept.n}, "an answer that comes later finds nobody")
}

func TestAnswerOfAnotherNodeDoesNotCount(t *testing.T) {
	c := newCallers(t)
	var o outcome
	c.turn(func() {
		c.calls[0].Call(1, 1, nil, time.Second, o.done)
		c.calls[0].Received(5, &Answer{id: 1})
	})
	require.Zero(t, o.n)
}

func TestRequestsOfANodeAreBounded(t *testing.T) {
	c := newCallers(t)
	began := 0
	c.calls[1].Handle(1, func(int32, []byte, func([]byte, *Refusal)) { began++ })
	refusals := 0
	c.turn(func() {
		for range answersMax + 3 {
			c.calls[0].Call(1, 1, nil, time.Second, func(_ []byte, err error) {
				if _, ok := err.(*Refusal); ok {
					refusals++
				}
			})
		}
	})
	c.deliver()
	require.Equal(t, answersMax, began)
	require.Equal(t, 3, refusals)
}

func FuzzDecodeCall(f *testing.F) {
	f.Add(uint8(KindRequest), (&Request{1, 2, []byte("x")}).AppendTo(nil))
	f.Add(uint8(KindAnswer), (&Answer{1, nil, &Refusal{3, "no"}}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		value, err := DecodeCall(Kind(kind), b)
		if err != nil {
			return
		}
		require.Equal(t, b, value.(Body).AppendTo(nil))
	})
}
