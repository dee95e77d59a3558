package compute

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"weir/core/env"
	"weir/core/env/envtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	envtest.TestComputer(t, func(t testing.TB) (env.Computer, func()) {
		events := make(chan env.Event, 1000)
		p := New(Options{Deliver: func(e env.Event) { events <- e }, Workers: 2})
		t.Cleanup(p.Stop)
		return p, func() { (<-events).Deliver() }
	})
}

// What waits at Stop is dropped, what runs ends first.
func TestStop(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	delivered := 0
	p := New(Options{Deliver: func(env.Event) { delivered++ }, Workers: 1})
	p.Submit(&env.Compute{Class: env.ComputeUpload, Work: func() { close(started); <-finish }})
	p.Submit(&env.Compute{Class: env.ComputeUpload, Work: func() { t.Error("ran after Stop") }})
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

// While one piece of work holds the only goroutine of the background, the rest goes by its class, and what acknowledgements wait
// for goes at once.
func TestUrgentWorkGoesFirst(t *testing.T) {
	events := make(chan env.Event, 10)
	p := New(Options{Deliver: func(e env.Event) { events <- e }, Workers: 1, Patience: time.Hour})
	defer p.Stop()
	finish := make(chan struct{})
	var order []env.ComputeClass
	submit := func(c env.ComputeClass) {
		p.Submit(&env.Compute{Class: c, Work: func() {}, Done: func(c *env.Compute) { order = append(order, c.Class) }})
	}
	started := make(chan struct{})
	p.Submit(&env.Compute{Class: env.ComputeCompaction, Work: func() { close(started); <-finish }, Done: func(*env.Compute) {}})
	<-started
	for _, c := range []env.ComputeClass{env.ComputeCompaction, env.ComputeCatchUp, env.ComputeTail, env.ComputeUpload, env.ComputeAck} {
		submit(c)
	}
	(<-events).Deliver()
	require.Equal(t, []env.ComputeClass{env.ComputeAck}, order)
	close(finish)
	for range 5 {
		(<-events).Deliver()
	}
	require.Equal(t, []env.ComputeClass{env.ComputeAck, env.ComputeTail, env.ComputeUpload, env.ComputeCatchUp, env.ComputeCompaction}, order)
}

// However much that is more urgent keeps coming, nothing waits for much longer than the pool is patient: uploads make the room that
// acknowledgements need, and compaction the room for the metadata.
func TestNothingWaitsForEver(t *testing.T) {
	p := &Pool{max: 1, patience: time.Second}
	now := time.Now()
	submit := func(class env.ComputeClass, at time.Time) { p.queues[class].push(job{&env.Compute{Class: class}, at}) }
	next := func() env.ComputeClass {
		j, ok := p.next(now)
		require.True(t, ok)
		return j.compute.Class
	}
	submit(env.ComputeCompaction, now)
	submit(env.ComputeUpload, now.Add(time.Millisecond))
	now = now.Add(p.patience)
	submit(env.ComputeAck, now)
	require.Equal(t, env.ComputeAck, next(), "it is the most urgent")
	submit(env.ComputeAck, now)
	now = now.Add(time.Second)
	submit(env.ComputeAck, now)
	require.Equal(t, env.ComputeCompaction, next(), "it has waited for longest")
	require.Equal(t, env.ComputeAck, next(), "the background has no goroutine left")
	p.background--
	require.Equal(t, env.ComputeUpload, next())
	p.background--
	require.Equal(t, env.ComputeAck, next())
	_, ok := p.next(now)
	require.False(t, ok)
}

// Where something always waits, the queue is no longer than that.
func TestAQueueThatIsNeverEmptyDoesNotGrow(t *testing.T) {
	var q queue
	first := &env.Compute{}
	q.push(job{compute: first})
	for range 10_000 {
		second := &env.Compute{}
		q.push(job{compute: second})
		require.Same(t, first, q.pop().compute)
		first = second
	}
	require.Less(t, cap(q.jobs), 100)
}

func BenchmarkSubmit(b *testing.B) {
	events := make(chan env.Event, 1)
	p := New(Options{Deliver: func(e env.Event) { events <- e }, Workers: 0})
	c := &env.Compute{Work: func() {}}
	for b.Loop() {
		p.Submit(c)
		<-events
	}
	p.Stop()
}
