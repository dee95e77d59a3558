package compute

import (
	"runtime"
	"sync"

	"weir/core/env"
)

// Pool is an env.Computer.
type Pool struct {
	deliver func(env.Event)
	workers sync.WaitGroup

	mu      sync.Mutex
	ready   sync.Cond
	queue   []*env.Compute // from next on
	next    int
	stopped bool
}

// New starts a pool of workers that deliver completions by deliver, which is called
// from their goroutines. workers 0 is one fewer than processors, at least one.
func New(deliver func(env.Event), workers int) *Pool {
	if workers <= 0 {
		workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	p := &Pool{deliver: deliver}
	p.ready.L = &p.mu
	for range workers {
		p.workers.Go(p.work)
	}
	return p
}

// Submit implements env.Computer. After Stop the work is dropped.
func (p *Pool) Submit(c *env.Compute) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.queue = append(p.queue, c)
	p.ready.Signal()
}

// Stop drops what waits, and returns when what runs has ended. A second call does
// nothing.
func (p *Pool) Stop() {
	p.mu.Lock()
	p.stopped = true
	p.queue, p.next = nil, 0
	p.ready.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}

func (p *Pool) work() {
	for c := p.take(); c != nil; c = p.take() {
		c.Work()
		p.deliver(c)
	}
}

// take waits for work; nil is the end.
func (p *Pool) take() *env.Compute {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.next == len(p.queue) {
		if p.stopped {
			return nil
		}
		p.queue, p.next = p.queue[:0], 0
		p.ready.Wait()
	}
	c := p.queue[p.next]
	p.queue[p.next] = nil
	p.next++
	return c
}
