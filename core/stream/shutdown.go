package stream

import (
	"slices"
	"time"

	"weir/core/env"
	"weir/core/task"
)

// wait is a read that is tried again later; shutdown ends it at once.
type wait struct {
	engine *Engine
	timer  task.Timer
	step   func()
}

// later calls step after d, or when the engine shuts down.
func (e *Engine) later(d time.Duration, step func()) {
	w := &wait{engine: e, step: step}
	e.waits = append(e.waits, w)
	e.loop.Reset(&w.timer, d, w.end)
}

func (w *wait) end() {
	e := w.engine
	e.loop.Stop(&w.timer)
	e.waits = slices.DeleteFunc(e.waits, func(o *wait) bool { return o == w })
	w.step()
}

// Shutdown starts no new work, closes the WAL, abandons the operations of the store that are in flight,
// answers reads that wait with ErrStopped, gives every slab back, and calls done. It waits for the WAL,
// and for no upload: what is not committed stays in the WAL for recovery. Partitions are closed before,
// and nobody else needs the store any more. It is called once.
func (e *Engine) Shutdown(done func()) {
	e.stopping = done
	for _, w := range e.up.queue {
		e.loop.Stop(&w.timer)
	}
	if w := e.tailUp.upload; w != nil {
		e.loop.Stop(&w.timer)
	}
	if store, ok := e.env.Store.(env.Abandoner); ok {
		store.Abandon()
	}
	e.loop.Stop(&e.up.age)
	e.loop.Stop(&e.up.nudge)
	e.loop.Stop(&e.up.ids.retry)
	e.loop.Stop(&e.tailUp.retry)
	e.inFlight++
	e.gets.cancel()
	for len(e.waits) > 0 {
		e.waits[0].end()
	}
	if e.log == nil {
		e.loop.Post(e.logClosed)
	} else {
		e.log.Close(func(error) { e.logClosed() })
	}
}

func (e *Engine) logClosed() {
	e.inFlight--
	e.stopped()
}

// stopped ends a shutdown once nothing is in flight.
func (e *Engine) stopped() {
	if e.stopping == nil || e.inFlight > 0 || e.released {
		return
	}
	e.released = true
	for _, w := range e.up.queue {
		w.drop()
	}
	if w := e.tailUp.upload; w != nil {
		w.drop()
	}
	e.up.queue, e.tailUp.upload = nil, nil
	for _, t := range e.tails {
		t.sealed.Close()
	}
	e.tails = nil
	for len(e.cache.slabs) > 0 {
		e.cache.free(len(e.cache.slabs) - 1)
	}
	e.blocks.release()
	e.stopping()
}
