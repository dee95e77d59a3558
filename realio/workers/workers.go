package workers

import "sync"

// Pool runs jobs of one kind. Its methods may be called from any goroutine.
type Pool[T any] struct {
	run     func(T)
	deliver func(T)
	max     int

	mu      sync.Mutex
	wake    sync.Cond
	queue   []T // from next on
	next    int
	idle    int // wait
	coming  int // will take a job soon, without being woken
	started int
	closed  bool
	done    sync.WaitGroup
}

// New returns a pool that calls run for each job, and then deliver, on at most limit goroutines at
// once. Run may block. Deliver should take no longer than a turn of the loop, because a job that is
// submitted meanwhile may wait for the end of it.
func New[T any](limit int, run, deliver func(T)) *Pool[T] {
	p := &Pool[T]{run: run, deliver: deliver, max: max(limit, 1)}
	p.wake.L = &p.mu
	return p
}

// Submit queues a job. After Close it is dropped.
func (p *Pool[T]) Submit(job T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.push(job)
	waiting := len(p.queue) - p.next - p.coming
	switch {
	case waiting <= 0:
	case p.idle >= waiting:
		p.wake.Signal()
	case p.started < p.max:
		p.started++
		p.coming++
		p.done.Go(p.work)
	default:
		p.wake.Signal()
	}
}

// push appends, into the space of jobs already taken where that spares growth.
func (p *Pool[T]) push(job T) {
	if len(p.queue) == cap(p.queue) && p.next > len(p.queue)/2 {
		left := copy(p.queue, p.queue[p.next:])
		clear(p.queue[left:])
		p.queue, p.next = p.queue[:left], 0
	}
	p.queue = append(p.queue, job)
}

func (p *Pool[T]) work() {
	for {
		job, ok := p.take()
		if !ok {
			return
		}
		p.run(job)
		p.mu.Lock()
		p.coming++
		p.mu.Unlock()
		p.deliver(job)
	}
}

// take waits for the next job; not ok means that the pool is closed and empty.
func (p *Pool[T]) take() (job T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coming--
	for p.next == len(p.queue) {
		if p.closed {
			return job, false
		}
		p.idle++
		p.wake.Wait()
		p.idle--
	}
	var zero T
	job, p.queue[p.next] = p.queue[p.next], zero
	if p.next++; p.next == len(p.queue) {
		p.queue, p.next = p.queue[:0], 0
	}
	return job, true
}

// Close waits until every job handed in has run, and ends the goroutines.
func (p *Pool[T]) Close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.done.Wait()
}
