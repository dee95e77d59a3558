package broker

import (
	"time"

	"weir/core/task"
)

// wait gathers the answers of several pieces of work into one, within the time
// that a client gave. It holds one piece itself until ready is called.
type wait struct {
	broker *Broker
	open   int
	ended  bool
	timer  task.Timer
	// finish sends the answer, once; what is still open has timed out.
	finish func()
}

// newWait begins a wait that ends with finish, or without it if the client goes.
func (b *Broker) newWait(x exchange, finish func()) *wait {
	w := &wait{broker: b, open: 1, finish: finish}
	x.onGone(func() {
		w.ended = true
		b.loop.Stop(&w.timer)
	})
	return w
}

// add notes a piece of work. The function returned is called when it is done.
func (w *wait) add() { w.open++ }

// done notes that a piece of work is done.
func (w *wait) done() {
	if w.open--; w.open == 0 {
		w.end()
	}
}

// ready says that all work was added. What is not done in time ends the wait; a
// negative time is none.
func (w *wait) ready(timeout time.Duration) {
	if w.open > 1 && !w.ended {
		w.broker.loop.Reset(&w.timer, max(timeout, 0), w.end)
	}
	w.done()
}

func (w *wait) end() {
	if w.ended {
		return
	}
	w.ended = true
	w.broker.loop.Stop(&w.timer)
	w.finish()
}

// millisOf converts a request's timeout.
func millisOf(n int32) time.Duration { return time.Duration(n) * time.Millisecond }
