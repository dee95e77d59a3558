package s3store

import (
	"context"
	"sync"
	"time"
)

const (
	// pacedBytes is the size from which a transfer waits for its turn. Smaller ones do not: the
	// metadata's records must not wait behind data.
	pacedBytes = 1 << 20
	// paceGood is how long a transfer may take for the link to be thought idle enough for one more;
	// one that takes longer than paceLate shows that too many share it.
	paceGood = 10 * time.Second
	paceLate = 20 * time.Second
)

// pacer bounds how many large transfers share the link in one direction. The bound follows what gets
// through, by additive increase and multiplicative decrease:
//
//   - A transfer that ends well within paceGood, while the window was full, adds 1/window to it: one
//     more after each window's worth of transfers.
//   - A transfer that stalls, breaks, is throttled, or takes longer than paceLate halves the window, down
//     to one. Of transfers that were under way together only the first counts, since they share one
//     cause: those that began before the last decrease change nothing.
//
// A transfer that was late and ended well is kept like any other. The pacer also knows how many bytes a
// second one transfer gets, from which the size of parts follows.
type pacer struct {
	mu      sync.Mutex
	window  float64 // 1 to max
	max     float64
	active  int
	waiting []chan struct{}
	cut     time.Time // of the last decrease
	rate    float64   // bytes a second of one transfer, smoothed; 0: not known
}

// paced is one transfer under way.
type paced struct {
	*pacer
	began time.Time
}

func newPacer(window, max int) *pacer {
	return &pacer{window: float64(min(window, max)), max: float64(max)}
}

// enter waits for a turn.
func (p *pacer) enter(ctx context.Context) (*paced, error) {
	p.mu.Lock()
	if p.active < int(p.window) {
		p.active++
		p.mu.Unlock()
		return &paced{p, time.Now()}, nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return &paced{p, time.Now()}, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.waiting {
		if other == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return nil, context.Cause(ctx)
		}
	}
	p.active-- // its turn came meanwhile
	p.admit()
	return nil, context.Cause(ctx)
}

// leave ends a transfer of so many bytes; troubled says that the link or the store could not take it.
func (t *paced) leave(bytes int64, troubled bool) {
	t.leaveAt(time.Now(), bytes, troubled)
}

func (t *paced) leaveAt(now time.Time, bytes int64, troubled bool) {
	p, took := t.pacer, now.Sub(t.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learn(float64(bytes)/max(took.Seconds(), 1e-3), troubled)
	switch {
	case troubled || took > paceLate:
		if t.began.After(p.cut) {
			p.window, p.cut = max(1, p.window/2), now
		}
	case took <= paceGood && p.active >= int(p.window):
		p.window = min(p.max, p.window+1/p.window)
	}
	p.active--
	p.admit()
}

// learn takes the rate of one transfer. That of a troubled one is an upper bound, and counts even if no
// transfer has ended well yet: without it, parts would never shrink on a link that is too slow for the
// first ones.
func (p *pacer) learn(rate float64, troubled bool) {
	switch {
	case p.rate == 0:
		p.rate = rate
	case troubled:
		p.rate = min(p.rate, rate)
	default:
		p.rate += (rate - p.rate) / 4
	}
}

func (p *pacer) admit() {
	for len(p.waiting) > 0 && p.active < int(p.window) {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.active++
	}
}

// partBytes is the size of which one transfer takes about paceGood, from least to most.
func (p *pacer) partBytes(least, most int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return most
	}
	return min(most, max(least, int64(p.rate*paceGood.Seconds())>>20<<20))
}
