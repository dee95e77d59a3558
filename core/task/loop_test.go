package task_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/task"
)

type clock struct {
	now  env.Time
	wake env.Time
}

func (c *clock) Now() env.Time      { return c.now }
func (c *clock) WallMillis() int64  { return int64(c.now) / 1e6 }
func (c *clock) WakeAt(at env.Time) { c.wake = at }

type event func()

func (e event) Deliver() { e() }

func TestTimersFireInOrderOfTimeThenSetting(t *testing.T) {
	c := &clock{}
	l := task.NewLoop(c)
	var got []int
	for i, d := range []time.Duration{30, 10, 20, 10} {
		l.After(d, func() { got = append(got, i) })
	}
	stopped := l.After(15, func() { t.Error("a stopped timer fired") })
	l.Stop(stopped)
	l.Turn(nil)
	if c.wake != 10 {
		t.Fatalf("asked to be woken at %d, want 10", c.wake)
	}
	c.now = 30
	l.Turn(nil)
	if want := []int{1, 3, 2, 0}; !slices.Equal(got, want) {
		t.Fatalf("fired in order %v, want %v", got, want)
	}
}

func TestTimerThatRearmsItselfDoesNotHoldTheLoop(t *testing.T) {
	c := &clock{}
	l := task.NewLoop(c)
	fired := 0
	var again func()
	again = func() { fired++; l.After(0, again) }
	l.After(0, again)
	l.Turn(nil)
	if fired != 1 {
		t.Fatalf("fired %d times in one turn, want 1", fired)
	}
}

func TestTurnEndRunsOnceAfterAllEvents(t *testing.T) {
	l := task.NewLoop(&clock{})
	var got []string
	l.OnTurnEnd(func() { got = append(got, "flush") })
	note := func(s string) env.Event {
		return event(func() { got = append(got, s); l.Post(func() { got = append(got, s+" posted") }) })
	}
	l.Turn([]env.Event{note("a"), note("b")})
	if want := []string{"a", "a posted", "b", "b posted", "flush"}; !slices.Equal(got, want) {
		t.Fatalf("ran %v, want %v", got, want)
	}
}

func TestProcWaitsAndIsReused(t *testing.T) {
	c := &clock{}
	l := task.NewLoop(c)
	var got []string
	for range 3 {
		var wake func()
		l.Go("test", func(p *task.Proc) {
			got = append(got, "start")
			p.Await(func(w func()) { wake = w })
			got = append(got, "woken")
			p.Await(func(w func()) { w() })
			p.Sleep(5)
			got = append(got, "end")
		})
		wake()
		c.now += 5
		l.Turn(nil)
	}
	want := []string{"start", "woken", "end", "start", "woken", "end", "start", "woken", "end"}
	if !slices.Equal(got, want) {
		t.Fatalf("ran %v, want %v", got, want)
	}
}

func TestProcPanicKeepsTheStackOfItsOrigin(t *testing.T) {
	l := task.NewLoop(&clock{})
	var wake func()
	l.Go("breaks", func(p *task.Proc) {
		p.Await(func(w func()) { wake = w })
		breakAnInvariant()
	})
	defer func() {
		err, ok := recover().(error)
		var failure *task.ProcPanic
		if !ok || !errors.As(err, &failure) {
			t.Fatalf("recovered %v, want a ProcPanic", err)
		}
		if failure.Value != "broken" || !strings.Contains(string(failure.Stack), "breakAnInvariant") {
			t.Fatalf("the origin is lost: %v", failure)
		}
	}()
	wake()
}

func breakAnInvariant() { panic("broken") }

func TestAbandonUnwindsWithoutRunningOn(t *testing.T) {
	l := task.NewLoop(&clock{})
	unwound, ranOn := false, false
	l.Go("crashes", func(p *task.Proc) {
		defer func() { unwound = true }()
		p.Await(func(func()) {})
		ranOn = true
	})
	l.Abandon()
	if !unwound || ranOn {
		t.Fatalf("unwound=%v ranOn=%v, want true and false", unwound, ranOn)
	}
}

func BenchmarkProcSwitch(b *testing.B) {
	l := task.NewLoop(&clock{})
	var wake func()
	l.Go("bench", func(p *task.Proc) {
		for {
			p.Await(func(w func()) { wake = w })
		}
	})
	b.ReportAllocs()
	for range b.N {
		wake()
	}
}
