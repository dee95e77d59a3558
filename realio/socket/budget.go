package socket

import (
	"sync"
	"sync/atomic"
)

// budget is the bytes that all received frames may hold. Who asks first is served
// first. A frame larger than all of it is let in when there is no other.
type budget struct {
	total   int64
	free    atomic.Int64
	waiting atomic.Int64 // waiters in the queue

	mu    sync.Mutex
	queue []*waiter // the first has waited longest
	waits int64     // reservations that had to wait
}

type waiter struct {
	bytes   int64
	granted chan struct{} // closed when the bytes are reserved
}

func newBudget(total int64) *budget {
	b := &budget{total: total}
	b.free.Store(total)
	return b
}

// try reserves n bytes if they are free and nobody waits. It returns what must be
// released.
func (b *budget) try(n int64) (int64, bool) {
	n = min(n, b.total)
	return n, b.waiting.Load() == 0 && b.take(n)
}

// wait reserves n bytes when it is its turn and they are free; false if quit is
// closed before. It returns what must be released.
func (b *budget) wait(n int64, quit <-chan struct{}) (int64, bool) {
	n = min(n, b.total)
	w := &waiter{bytes: n, granted: make(chan struct{})}
	b.mu.Lock()
	b.waits++
	b.queue = append(b.queue, w)
	b.waiting.Add(1)
	b.grant() // what was released before waiting was raised told nobody
	b.mu.Unlock()
	select {
	case <-w.granted:
		return n, true
	case <-quit:
		b.leave(w)
		return 0, false
	}
}

// take reserves n bytes if they are free.
func (b *budget) take(n int64) bool {
	for {
		free := b.free.Load()
		if free < n {
			return false
		}
		if b.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

// release gives n bytes back.
func (b *budget) release(n int64) {
	b.free.Add(n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.grant()
		b.mu.Unlock()
	}
}

// grant serves the queue as far as what is free goes. b.mu is held.
func (b *budget) grant() {
	served := 0
	for served < len(b.queue) && b.take(b.queue[served].bytes) {
		close(b.queue[served].granted)
		served++
	}
	b.drop(0, served)
}

// drop takes waiters [from, to) out of the queue. b.mu is held.
func (b *budget) drop(from, to int) {
	rest := append(b.queue[:from], b.queue[to:]...)
	clear(b.queue[len(rest):])
	b.queue = rest
	b.waiting.Add(int64(from - to))
}

// leave takes back a reservation that nobody wants any more.
func (b *budget) leave(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.queue {
		if other == w {
			b.drop(i, i+1)
			b.grant() // those behind it may fit
			return
		}
	}
	b.free.Add(w.bytes) // granted meanwhile
	b.grant()
}

// state returns the bytes reserved, the waiters, and how many had to wait ever.
func (b *budget) state() (used, waiting, waits int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free.Load(), b.waiting.Load(), b.waits
}
