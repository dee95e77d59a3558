package stream

import (
	"slices"
	"time"

	"weir/core/task"
)

// operations counts what is in flight, so that a shutdown can wait for all of it: nothing that an operation
// borrows may go before.
type operations struct {
	inFlight int
	stopping bool
	drained  func()
}

func (o *operations) begin() { o.inFlight++ }

// end is called when an operation came back, and what it borrowed was given back. The last one after stop
// runs drained.
func (o *operations) end() {
	if o.inFlight--; o.stopping && o.inFlight == 0 {
		o.drained()
	}
}

// stop begins an operation of its own, the winding down: drained runs once that and all others have ended.
// It is called once, and no operation begins once all have ended.
func (o *operations) stop(drained func()) {
	o.stopping, o.drained = true, drained
	o.begin()
}

// waits are the steps to be tried again later.
type waits struct {
	loop *task.Loop
	all  []*wait
}

// wait is one of them; shutdown takes it at once.
type wait struct {
	waits *waits
	timer task.Timer
	step  func()
}

// later calls step after d, or when all waits are ended.
func (w *waits) later(d time.Duration, step func()) {
	one := &wait{waits: w, step: step}
	w.all = append(w.all, one)
	w.loop.Reset(&one.timer, d, one.end)
}

func (w *wait) end() {
	w.waits.loop.Stop(&w.timer)
	w.waits.all = slices.DeleteFunc(w.waits.all, func(o *wait) bool { return o == w })
	w.step()
}

// end takes all steps at once, for shutdown.
func (w *waits) end() {
	for len(w.all) > 0 {
		w.all[0].end()
	}
}
