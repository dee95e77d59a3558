package goroutines

import (
	"sync"        // want "import of sync: "
	"sync/atomic" // want "import of sync/atomic: "
)

var pool sync.Pool

var count atomic.Int64

type waiter struct {
	done chan int // want "channel type"
}

func start(w *waiter) int {
	go func() { // want "go statement"
		w.done <- 1 // want "channel send"
	}()
	select { // want "select: "
	case n := <-w.done: // want "channel receive"
		return n
	default:
	}
	for range w.done { // want "range over a channel"
	}
	return <-w.done // want "channel receive"
}
