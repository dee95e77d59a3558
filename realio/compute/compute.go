package compute

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"time"

	"weir/core/env"
)

// Options say what a Pool needs.
type Options struct {
	// Deliver takes completions. It is called from the pool's goroutines.
	Deliver func(env.Event)
	// Workers bounds what runs at once of all classes but the first, for which there is one more. Zero: one fewer than
	// processors, at least one.
	Workers int
	// Patience is how long work waits at most for more urgent one. Zero: a second.
	Patience time.Duration
	// Metrics gets what each class took. Nil: nothing is counted.
	Metrics env.Metrics
}

// Pool is an env.Computer.
type Pool struct {
	deliver  func(env.Event)
	max      int // of background at once
	patience time.Duration
	metrics  [env.ComputeClasses]classMetrics
	workers  sync.WaitGroup

	mu         sync.Mutex
	ready      sync.Cond
	queues     [env.ComputeClasses]queue
	background int // that run: of all classes but the first
	stopped    bool
}

// classMetrics are nil handles where nothing is counted.
type classMetrics struct{ waited, worked env.Histogram }

// queue is what waits of one class, in the order of submission.
type queue struct {
	jobs []job // from next on
	next int
}

type job struct {
	compute   *env.Compute
	submitted time.Time
}

// New starts a pool.
func New(o Options) *Pool {
	p := &Pool{deliver: o.Deliver, max: o.Workers, patience: cmp.Or(o.Patience, time.Second)}
	if p.max <= 0 {
		p.max = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if o.Metrics != nil {
		for c := range p.metrics {
			name := env.ComputeClass(c).String()
			p.metrics[c] = classMetrics{
				waited: o.Metrics.Histogram("weir_compute_"+name+"_wait_nanoseconds", "time that work off the loop waited for a goroutine, of the class "+name),
				worked: o.Metrics.Histogram("weir_compute_"+name+"_nanoseconds", "time that work off the loop took, of the class "+name),
			}
		}
	}
	p.ready.L = &p.mu
	for range p.max + 1 {
		p.workers.Go(p.work)
	}
	return p
}

// Submit implements env.Computer. After Stop the work is dropped.
func (p *Pool) Submit(c *env.Compute) {
	submitted := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.queues[c.Class].push(job{c, submitted})
	p.ready.Signal()
}

// Stop drops what waits, and returns when what runs has ended. A second call does
// nothing.
func (p *Pool) Stop() {
	p.mu.Lock()
	p.stopped = true
	p.queues = [env.ComputeClasses]queue{}
	p.ready.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}

func (p *Pool) work() {
	for j, ok := p.take(); ok; j, ok = p.take() {
		class := j.compute.Class
		began := time.Now()
		j.compute.Work()
		p.metrics[class].observe(began.Sub(j.submitted), time.Since(began))
		p.deliver(j.compute)
		if class != env.ComputeAck {
			p.ended()
			// Go would let this goroutine keep its processor for ten milliseconds of work, piece after piece.
			runtime.Gosched()
		}
	}
}

func (m *classMetrics) observe(waited, worked time.Duration) {
	if m.waited != nil {
		m.waited.Observe(int64(waited))
		m.worked.Observe(int64(worked))
	}
}

// ended counts work of the background that is over.
func (p *Pool) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.background--
	p.ready.Signal()
}

// take waits for work; false is the end.
func (p *Pool) take() (job, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.stopped {
			return job{}, false
		}
		if j, ok := p.next(time.Now()); ok {
			return j, true
		}
		p.ready.Wait()
	}
}

// next takes what has waited for longer than the pool is patient, the oldest first, or else the most urgent work that may run. So work of no
// class waits for ever, and since the core bounds what it submits of each, little passes what is more urgent.
func (p *Pool) next(now time.Time) (job, bool) {
	chosen := -1
	for class := range p.queues {
		if env.ComputeClass(class) != env.ComputeAck && p.background == p.max {
			break
		}
		j, ok := p.queues[class].first()
		if !ok {
			continue
		}
		if chosen < 0 {
			chosen = class
		} else if most, _ := p.queues[chosen].first(); now.Sub(j.submitted) > p.patience && j.submitted.Before(most.submitted) {
			chosen = class
		}
	}
	if chosen < 0 {
		return job{}, false
	}
	if env.ComputeClass(chosen) != env.ComputeAck {
		p.background++
	}
	return p.queues[chosen].pop(), true
}

func (q *queue) push(j job) {
	if q.next > len(q.jobs)/2 { // a queue that is never empty takes no more memory than what waits
		q.jobs, q.next = slices.Delete(q.jobs, 0, q.next), 0
	}
	q.jobs = append(q.jobs, j)
}

// first is what waits for longest.
func (q *queue) first() (job, bool) {
	if q.next == len(q.jobs) {
		return job{}, false
	}
	return q.jobs[q.next], true
}

// pop takes the first, which there must be.
func (q *queue) pop() job {
	j := q.jobs[q.next]
	q.jobs[q.next] = job{}
	q.next++
	return j
}
