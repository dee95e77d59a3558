package stream

import "weir/core/env"

// Shutdown starts no new work, closes the WAL, abandons the operations of the store that are in flight,
// answers reads that wait with ErrStopped, gives every slab back, and calls done. It waits for the WAL,
// and for no upload: what is not committed stays in the WAL for recovery. Partitions are closed before,
// and nobody else needs the store any more. It is called once.
func (e *Engine) Shutdown(done func()) {
	e.base.stop(func() {
		e.release()
		done()
	})
	e.uploads.halt()
	e.cleaner.halt()
	e.recovered.uploads.halt()
	e.compactor.halt()
	e.base.Loop.Stop(&e.ids.retry)
	if store, ok := e.base.Env.Store.(env.Abandoner); ok {
		store.Abandon()
	}
	e.base.begin()
	e.reader.Shutdown(e.base.end)
	e.recovered.again.end()
	e.checkpoints.halt()
	for _, s := range e.states {
		e.base.Loop.Stop(&s.upload.timer)
	}
	if e.base.log == nil {
		e.base.Loop.Post(e.base.end)
	} else {
		e.base.log.Close(func(error) { e.base.end() })
	}
}

// release gives back what is left once nothing is in flight.
func (e *Engine) release() {
	for _, w := range e.uploads.queue {
		w.drop()
	}
	if w := e.recovered.uploads.upload; w != nil {
		w.drop()
	}
	e.cleaner.drop()
	for _, s := range e.states {
		s.upload.drop()
	}
	e.uploads.queue, e.recovered.uploads.upload = nil, nil
	e.compactor.release()
	for _, t := range e.recovered.tails {
		if !t.reading { // else it is closed when it was read
			t.sealed.Close()
		}
	}
	e.recovered.tails = nil
	for cache := &e.appends.cache; len(cache.slabs) > 0; {
		cache.free(len(cache.slabs) - 1)
	}
}
