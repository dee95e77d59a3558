package task

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug" //weir:pure a panic's stack is shown to people only
	"time"
)

// Proc is a long procedure in direct style: between two waits it runs inside
// one step of the loop like any other event. It holds nothing of value; what
// must survive belongs to explicit state.
type Proc struct {
	loop   *Loop
	name   string
	worker *worker
	yield  func(struct{}) bool
}

// ProcPanic carries the panic of a proc and the stack of its origin, which the
// coroutine switch would otherwise lose.
type ProcPanic struct {
	Proc  string
	Value any
	Stack []byte
}

func (p *ProcPanic) Error() string {
	return fmt.Sprintf("panic in proc %s: %v\n%s", p.Proc, p.Value, p.Stack)
}

// errUnwind unwinds a proc whose loop was abandoned. It never leaves this package.
var errUnwind = errors.New("task: proc unwound")

// Go starts a proc; it runs to its first wait before Go returns. A proc must
// not rely on deferred calls for effects: they do not run on a crash (Abandon
// unwinds the stack with every wait inert).
func (l *Loop) Go(name string, body func(*Proc)) {
	w := l.procs.get()
	w.resume(&Proc{loop: l, name: name, worker: w}, body)
}

// Await calls start with a wake function, and waits until wake is called (once,
// from the loop, at once or later).
func (p *Proc) Await(start func(wake func())) {
	done, waiting := false, false
	start(func() {
		if done {
			panic("task: proc woken twice")
		}
		done = true
		if waiting {
			p.worker.next()
		}
	})
	if done {
		return
	}
	waiting = true
	if !p.yield(struct{}{}) {
		panic(errUnwind)
	}
}

// Sleep waits for d.
func (p *Proc) Sleep(d time.Duration) {
	p.Await(func(wake func()) { p.loop.After(d, wake) })
}

// Abandon unwinds every proc of the loop without running it on, for a world
// that crashes a node but lives on itself. The loop is unusable afterwards.
func (l *Loop) Abandon() { l.procs.stopAll() }

// pool keeps coroutines for reuse: creating one costs far more than a switch.
type pool struct {
	idle []*worker
	all  []*worker
}

// worker is one coroutine that runs one proc after another.
type worker struct {
	pool    *pool
	proc    *Proc
	body    func(*Proc)
	advance func() (struct{}, bool)
	stop    func()
	failure *ProcPanic
}

func (pl *pool) get() *worker {
	if n := len(pl.idle); n > 0 {
		w := pl.idle[n-1]
		pl.idle = pl.idle[:n-1]
		return w
	}
	w := &worker{pool: pl}
	w.advance, w.stop = iter.Pull(w.run)
	pl.all = append(pl.all, w)
	return w
}

func (pl *pool) stopAll() {
	for _, w := range pl.all {
		w.stop()
	}
	pl.all, pl.idle = nil, nil
}

func (w *worker) resume(p *Proc, body func(*Proc)) {
	w.proc, w.body = p, body
	w.next()
}

// next switches to the coroutine until its proc waits or ends.
func (w *worker) next() {
	w.advance()
	if w.failure != nil {
		panic(w.failure)
	}
	if w.body == nil {
		w.pool.idle = append(w.pool.idle, w)
	}
}

func (w *worker) run(yield func(struct{}) bool) {
	for {
		if !w.runOne(yield) {
			return
		}
		w.proc, w.body = nil, nil
		if !yield(struct{}{}) {
			return
		}
	}
}

// runOne runs the current proc to its end and reports whether the coroutine may
// take another.
func (w *worker) runOne(yield func(struct{}) bool) (ok bool) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if value != errUnwind {
			w.failure = &ProcPanic{Proc: w.proc.name, Value: value, Stack: debug.Stack()}
		}
		ok = false
	}()
	w.proc.yield = yield
	w.body(w.proc)
	return true
}
