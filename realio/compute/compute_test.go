package compute

import (
	"testing"

	"go.uber.org/goleak"

	"weir/core/env"
	"weir/core/env/envtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	envtest.TestComputer(t, func(t testing.TB) (env.Computer, func()) {
		events := make(chan env.Event, 1000)
		p := New(func(e env.Event) { events <- e }, 2)
		t.Cleanup(p.Stop)
		return p, func() { (<-events).Deliver() }
	})
}

// What waits at Stop is dropped, what runs ends first.
func TestStop(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	delivered := 0
	p := New(func(env.Event) { delivered++ }, 1)
	p.Submit(&env.Compute{Work: func() { close(started); <-finish }})
	p.Submit(&env.Compute{Work: func() { t.Error("ran after Stop") }})
	<-started
	stopped := make(chan struct{})
	go func() {
		p.Stop()
		close(stopped)
	}()
	for taken := false; !taken; { // until Stop has emptied the queue
		p.mu.Lock()
		taken = p.stopped
		p.mu.Unlock()
	}
	close(finish)
	<-stopped
	p.Submit(&env.Compute{Work: func() { t.Error("ran after Stop") }})
	p.Stop()
	if delivered != 1 {
		t.Fatalf("%d delivered", delivered)
	}
}

func BenchmarkSubmit(b *testing.B) {
	events := make(chan env.Event, 1)
	p := New(func(e env.Event) { events <- e }, 0)
	c := &env.Compute{Work: func() {}}
	for b.Loop() {
		p.Submit(c)
		<-events
	}
	p.Stop()
}
