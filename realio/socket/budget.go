package socket

import (
	"slices"
	"sync"
	"sync/atomic"
)

// sourcePart of the budget, in quarters, is the most that the frames of one address
// hold, so that it cannot keep all others waiting.
const sourcePart = 3

// pool names a share of the byte budget. A reader asks the pools in the order below
// and waits for a later one only while it holds of an earlier one, so that no two
// readers wait for each other.
type pool uint8

const (
	// smallPool is for frames of up to largeFrame bytes: they never wait for room that
	// larger frames hold.
	smallPool pool = iota
	// openingPool is for the first openingBytes of larger frames.
	openingPool
	// largePool is for larger frames whose opening has arrived.
	largePool
	poolCount
)

// budgets are the pools of one network: a quarter of the bytes for small frames, a
// sixteenth for openings, the rest for large frames.
type budgets [poolCount]*budget

func newBudgets(total int64) budgets {
	small, opening := total/4, total/16
	return budgets{newBudget(small), newBudget(opening), newBudget(total - small - opening)}
}

// poolOf returns the pool that a frame is charged to.
func poolOf(size int) pool {
	if size <= largeFrame {
		return smallPool
	}
	return largePool
}

// state sums the pools: the bytes reserved, the waiters, and all waits so far.
func (b *budgets) state() (used, waiting, waits int64) {
	for _, p := range b {
		u, w, n := p.state()
		used, waiting, waits = used+u, waiting+w, waits+n
	}
	return used, waiting, waits
}

// budget is the bytes that the frames of one pool may hold. Addresses take turns, and
// the reservations of one address are granted in the order of asking. A frame that
// exceeds its address's part or the pool is charged with the pool's size at most, and
// admitted when its address holds nothing else.
type budget struct {
	total   int64
	free    atomic.Int64
	waiting atomic.Int64 // waiters in all queues
	short   atomic.Bool  // somebody waits for what others hold, not its own address

	mu    sync.Mutex
	turns []*account // those with waiters, the next first
	waits int64      // reservations that had to wait
}

// source is one address that connections come from.
type source struct {
	connections int // guarded by Network.mu
	dialed      int // of them by this end; likewise
	accounts    [poolCount]account
}

// account is what one address has of one pool.
type account struct {
	used    atomic.Int64 // of the budget
	waiting atomic.Int64
	queue   []*waiter // the first has waited longest; guarded by budget.mu
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
func (b *budget) try(s *account, n int64) (int64, bool) {
	n = min(n, b.total)
	return n, b.waiting.Load() == 0 && b.take(s, n) == taken
}

// wait reserves n bytes when it is its turn and they are free; false if quit is
// closed before. It returns what must be released.
func (b *budget) wait(s *account, n int64, quit <-chan struct{}) (int64, bool) {
	n = min(n, b.total)
	w := &waiter{bytes: n, granted: make(chan struct{})}
	b.mu.Lock()
	b.waits++
	if s.queue = append(s.queue, w); len(s.queue) == 1 {
		b.turns = append(b.turns, s)
	}
	s.waiting.Add(1)
	b.waiting.Add(1)
	b.grant() // what was released before waiting was raised told nobody
	b.mu.Unlock()
	select {
	case <-w.granted:
		return n, true
	case <-quit:
		b.leave(s, w)
		return 0, false
	}
}

// outcome is what became of an attempt to reserve.
type outcome uint8

const (
	taken   outcome = iota
	ownPart         // the address holds its part
	noRoom          // the budget is used up
)

// take reserves n bytes if the address may have them and they are free.
func (b *budget) take(s *account, n int64) outcome {
	if used := s.used.Add(n); used > b.total/4*sourcePart && used != n {
		s.used.Add(-n)
		return ownPart
	}
	for {
		free := b.free.Load()
		if free < n {
			s.used.Add(-n)
			return noRoom
		}
		if b.free.CompareAndSwap(free, free-n) {
			return taken
		}
	}
}

// release gives n bytes back.
func (b *budget) release(s *account, n int64) {
	s.used.Add(-n)
	b.free.Add(n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.grant()
		b.mu.Unlock()
	}
}

// grant serves the queues in turn as far as what is free goes. An address that waits
// for itself is passed over; for any other what is free is kept. b.mu is held.
func (b *budget) grant() {
	b.short.Store(false)
	for i := 0; i < len(b.turns); {
		s := b.turns[i]
		w := s.queue[0]
		switch b.take(s, w.bytes) {
		case ownPart:
			i++
			continue
		case noRoom:
			b.short.Store(true)
			return
		}
		close(w.granted)
		b.drop(s, 0)
		b.turns = slices.Delete(b.turns, i, i+1)
		if len(s.queue) > 0 {
			b.turns = append(b.turns, s)
		}
	}
}

// drop takes a waiter out of its queue. b.mu is held.
func (b *budget) drop(s *account, at int) {
	s.queue = slices.Delete(s.queue, at, at+1)
	s.waiting.Add(-1)
	b.waiting.Add(-1)
}

// leave takes back a reservation that nobody wants any more.
func (b *budget) leave(s *account, w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := slices.Index(s.queue, w); at >= 0 {
		if b.drop(s, at); len(s.queue) == 0 {
			at := slices.Index(b.turns, s)
			b.turns = slices.Delete(b.turns, at, at+1)
		}
	} else { // granted meanwhile
		s.used.Add(-w.bytes)
		b.free.Add(w.bytes)
	}
	b.grant() // others may fit
}

// contended says that frames of an address are in somebody's way.
func (b *budget) contended(s *account) bool { return b.short.Load() || s.waiting.Load() > 0 }

// state returns the bytes reserved, the waiters, and how many had to wait ever.
func (b *budget) state() (used, waiting, waits int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total - b.free.Load(), b.waiting.Load(), b.waits
}
