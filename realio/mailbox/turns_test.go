package mailbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
)

type measured struct {
	turns   []int64
	longest int64
}

func (m *measured) Counter(string, string) env.Counter     { return nil }
func (m *measured) Gauge(string, string) env.Gauge         { return m }
func (m *measured) Histogram(string, string) env.Histogram { return m }
func (m *measured) Set(v int64)                            { m.longest = v }
func (m *measured) Observe(v int64)                        { m.turns = append(m.turns, v) }

func TestTheLongestTurnIsToldForAWhile(t *testing.T) {
	m := &measured{}
	turns := newTurnTimes(m)
	at := env.Time(time.Hour)
	after := func(wait, took time.Duration) {
		at = at.Add(wait)
		turns.took(at, at.Add(took))
	}
	after(0, 3)
	after(0, 7)
	after(0, 5)
	require.Equal(t, int64(7), m.longest)
	after(longestWindow+time.Second, 4)
	require.Equal(t, int64(7), m.longest, "of the window before")
	after(longestWindow/2, 9)
	require.Equal(t, int64(9), m.longest)
	after(longestWindow, 1)
	require.Equal(t, int64(9), m.longest)
	after(longestWindow+time.Second, 2)
	require.Equal(t, int64(2), m.longest, "forgotten")
	after(5*longestWindow, 1)
	require.Equal(t, int64(1), m.longest)
	require.Equal(t, []int64{3, 7, 5, 4, 9, 1, 2, 1}, m.turns)
}

// Turns by the loop's own goroutine and by drivers are counted alike.
func TestEveryTurnIsTimed(t *testing.T) {
	m := &measured{}
	box := New(Options{Metrics: m})
	ran := make(chan struct{})
	ended := make(chan struct{})
	node := nodeFunc(func(events []env.Event) {
		for _, e := range events {
			e.Deliver()
		}
	})
	go func() {
		box.Run(node)
		close(ended)
	}()
	for range 10 {
		box.Deliver(call(func() { ran <- struct{}{} }))
		<-ran
		go box.DeliverInTurn(call(func() { ran <- struct{}{} }))
		<-ran
	}
	box.Stop()
	<-ended
	require.GreaterOrEqual(t, len(m.turns), 2)
}
