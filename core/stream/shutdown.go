package stream

// Shutdown starts no new work, closes the WAL, waits for the operations in flight, answers reads that
// wait with ErrStopped, gives every slab back, and calls done. What is not committed stays in the WAL
// for recovery. Partitions are closed before. It is called once.
func (e *Engine) Shutdown(done func()) {
	e.stopping = done
	e.Loop.Stop(&e.up.age)
	e.Loop.Stop(&e.up.ids.retry)
	e.Loop.Stop(&e.tailUp.retry)
	e.inFlight++
	e.gets.cancel()
	if e.log == nil {
		e.Loop.Post(e.logClosed)
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
