package machine

import (
	"testing"
	"time"

	"weir/core/env"
	"weir/sim/event"
)

type fakeNode struct {
	turns []int
	on    func()
}

func (n *fakeNode) Turn(events []env.Event) {
	n.turns = append(n.turns, len(events))
	for _, e := range events {
		e.Deliver()
	}
	if n.on != nil {
		n.on()
	}
}
func (n *fakeNode) Shutdown(done func()) { done() }
func (n *fakeNode) Abandon()             {}

type tick struct{ n *int }

func (t tick) Deliver() { *t.n++ }

func TestEventsGatherWhileTheLoopIsBusy(t *testing.T) {
	q := event.NewQueue(1)
	m := New(q, 0)
	box, node, got := m.Boot(), &fakeNode{}, 0
	m.Start(node)
	for i := range 5 {
		q.Call(time.Microsecond+time.Duration(i)*100, func() { box.Deliver(tick{&got}) })
	}
	for q.Step() {
	}
	if got != 5 || len(node.turns) != 2 || node.turns[1] != 5 {
		t.Fatalf("got %d in turns %v", got, node.turns)
	}
}

func TestPauseAndCrash(t *testing.T) {
	q := event.NewQueue(1)
	m := New(q, 0)
	box, node, got := m.Boot(), &fakeNode{}, 0
	m.Start(node)
	for q.Step() {
	}
	m.Pause()
	box.Deliver(tick{&got})
	for q.Step() {
	}
	if got != 0 {
		t.Fatal("ran while paused")
	}
	m.Resume()
	for q.Step() {
	}
	if got != 1 {
		t.Fatal("did not go on")
	}
	m.Crash()
	box.Deliver(tick{&got})
	m.Boot()
	m.Start(&fakeNode{})
	for q.Step() {
	}
	if got != 1 {
		t.Fatal("the dead got an event")
	}
}

func TestClockDriftsAndWakes(t *testing.T) {
	q := event.NewQueue(1)
	m := New(q, 0)
	m.Clock().DriftPPM = -500
	m.Boot()
	node, woken := &fakeNode{}, env.Time(0)
	start := m.Clock().Now()
	at := start.Add(10 * time.Second)
	node.on = func() {
		if len(node.turns) == 1 {
			m.Clock().WakeAt(start.Add(time.Hour))
			m.Clock().WakeAt(at)
			return
		}
		if woken == 0 {
			woken = m.Clock().Now()
		}
	}
	m.Start(node)
	q.RunUntil(event.Time(20*time.Second), func() bool { return woken != 0 })
	if woken < at || woken > at+1000 {
		t.Fatalf("woken at %v, wanted %v", woken, at)
	}
	if real := q.Now(); real < event.Time(10*time.Second+4*time.Millisecond) {
		t.Fatalf("a slow clock woke at %v of real time", real)
	}
}

func TestUseAfterFreeIsFoundOut(t *testing.T) {
	m := &Memory{}
	slab := m.Alloc(5000)
	data := slab.Data
	data[0] = 1
	slab.Release()
	if data[0] != 0xdb || m.Live() != 0 {
		t.Fatal("a freed slab was not poisoned")
	}
	data[100] = 7
	defer func() {
		if recover() == nil {
			t.Fatal("a write after free went unseen")
		}
	}()
	m.Check()
}

func TestKeyedRandomness(t *testing.T) {
	q := event.NewQueue(1)
	m := New(q, 0)
	m.Boot()
	a := m.Rand()
	first := a.Uint64("nonce", 1, 2)
	if first != a.Uint64("nonce", 1, 2) || first == a.Uint64("nonce", 1, 3) || first == a.Uint64("other", 1, 2) {
		t.Fatal("draws are not keyed")
	}
	m.Start(&fakeNode{})
	m.Crash()
	m.Boot()
	if m.Rand().Uint64("nonce", 1, 2) == first {
		t.Fatal("two incarnations draw alike")
	}
}

// A clock that begins to drift goes on from where it is, and a wake that was asked for comes when it shows that time.
func TestDriftBeginsFromNowOn(t *testing.T) {
	q := event.NewQueue(1)
	m := New(q, 0)
	m.Boot()
	node, c := &fakeNode{}, m.Clock()
	m.Start(node)
	for q.Step() {
	}
	start := c.Now()
	var woke env.Time
	var took time.Duration
	node.on = func() { woke, took = c.Now(), time.Duration(q.Now()) }
	c.WakeAt(start.Add(3 * time.Second))
	q.Call(time.Second, func() {
		before := c.Now()
		c.SetDrift(100_000)
		if c.Now() != before {
			t.Errorf("the clock jumped by %v", c.Now().Sub(before))
		}
	})
	for q.Step() {
	}
	if late := woke.Sub(start.Add(3 * time.Second)); late < 0 || late > time.Millisecond {
		t.Fatalf("woken %v after the time", late)
	}
	if took > 2850*time.Millisecond {
		t.Fatalf("two seconds of a clock that runs a tenth fast took until %v", took)
	}
}
