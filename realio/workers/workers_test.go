package workers

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestEveryJobRunsOnceWithinTheBound(t *testing.T) {
	const jobs, bound = 10_000, 4
	var running, most atomic.Int32
	var ran [jobs]atomic.Int32
	p := New(bound, func(i int) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		ran[i].Add(1)
		running.Add(-1)
	}, func(int) {})
	var submitters sync.WaitGroup
	for s := range 4 {
		submitters.Go(func() {
			for i := s; i < jobs; i += 4 {
				p.Submit(i)
			}
		})
	}
	submitters.Wait()
	p.Close()
	for i := range ran {
		if n := ran[i].Load(); n != 1 {
			t.Fatalf("job %d ran %d times", i, n)
		}
	}
	if most.Load() > bound {
		t.Fatalf("%d jobs ran at once", most.Load())
	}
	p.Submit(0)
	if ran[0].Load() != 1 {
		t.Fatal("a closed pool ran a job")
	}
}

// TestBlockedJobsDoNotHoldOthers: as long as fewer than the bound block, further jobs run.
func TestBlockedJobsDoNotHoldOthers(t *testing.T) {
	release, passed := make(chan struct{}), make(chan struct{})
	p := New(3, func(block bool) {
		if block {
			<-release
			return
		}
		passed <- struct{}{}
	}, func(bool) {})
	p.Submit(true)
	p.Submit(true)
	for range 5 {
		p.Submit(false)
		<-passed
	}
	close(release)
	p.Close()
}

// TestJobsSubmittedInDelivery: what deliver submits runs, whether its own goroutine or others take it.
func TestJobsSubmittedInDelivery(t *testing.T) {
	ran := make(chan int, 100)
	var p *Pool[int]
	p = New(3, func(n int) { ran <- n }, func(n int) {
		if n < 60 {
			p.Submit(3*n + 1)
			p.Submit(3*n + 2)
			p.Submit(3*n + 3)
		}
	})
	p.Submit(0)
	seen := map[int]bool{}
	for len(seen) < 3*60+1 {
		n := <-ran
		if seen[n] {
			t.Fatalf("job %d ran twice", n)
		}
		seen[n] = true
	}
	p.Close()
}

func TestSubmitAllocatesNothing(t *testing.T) {
	ran := make(chan struct{})
	p := New(1, func(*int) {}, func(*int) { ran <- struct{}{} })
	defer p.Close()
	job := new(int)
	if n := testing.AllocsPerRun(1000, func() { p.Submit(job); <-ran }); n > 0.1 {
		t.Fatalf("%.2f allocations for each job", n)
	}
}
