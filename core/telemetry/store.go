package telemetry

import (
	"log/slog"
	"time"

	"weir/core/env"
)

const (
	// storeLineInterval is how often a line about one operation and cause is repeated.
	storeLineInterval = 30 * time.Second
	// storePatience is how long an operation fails for a reason that passes before a line tells of it.
	storePatience = 5 * time.Second
)

// storeOperation is one of the operations of an object store.
type storeOperation int

const (
	operationPut storeOperation = iota
	operationCompose
	operationGet
	operationDelete
	operationList
	storeOperations
)

var storeOperationNames = [storeOperations]string{"put", "compose", "get", "delete", "list"}

// StoreWatch wraps an env.ObjectStore and reports on it, so that its users need not: it counts failures
// by operation and cause, warns when an operation keeps failing, and says when it works again. It
// changes no operation and no outcome, and is called on the loop.
type StoreWatch struct {
	store    env.ObjectStore
	clock    env.Clock
	registry *Registry
	lines    *Limiter
	kinds    [storeOperations]watchedOperation
	failed   struct {
		count         int      // operations, since one was last answered
		since, newest env.Time // when the first of them began, and the newest ended
	}
}

// watchedOperation is what is known of one kind of operation.
type watchedOperation struct {
	failures [env.StoreCauses]env.Counter
	success  LastSuccess
	failing  bool // none succeeded since
	since    env.Time
	warned   bool
}

// WatchStore watches a store for a node.
func WatchStore(store env.ObjectStore, clock env.Clock, r *Registry) *StoreWatch {
	w := &StoreWatch{store: store, clock: clock, registry: r, lines: NewLimiter(storeLineInterval)}
	for i := range w.kinds {
		name := storeOperationNames[i]
		w.kinds[i].success = r.LastSuccess(clock, "store_"+name, "when a "+name+" last succeeded")
		for cause := range env.StoreCauses {
			w.kinds[i].failures[cause] = r.Counter("weir_store_"+name+"_failures_"+cause.String()+"_total",
				"tries of a "+name+" that failed or whose answer was lost, of this cause")
		}
	}
	return w
}

// Put implements env.ObjectStore.
func (w *StoreWatch) Put(o *env.PutObject) {
	done, began := o.Done, w.clock.Now()
	o.Done = func(o *env.PutObject) {
		o.Done = done
		w.ended(operationPut, began, o.Outcome, o.Err)
		done(o)
	}
	w.store.Put(o)
}

// Compose implements env.ObjectStore.
func (w *StoreWatch) Compose(o *env.ComposeObject) {
	done, began := o.Done, w.clock.Now()
	o.Done = func(o *env.ComposeObject) {
		o.Done = done
		w.ended(operationCompose, began, o.Outcome, o.Err)
		done(o)
	}
	w.store.Compose(o)
}

// Get implements env.ObjectStore.
func (w *StoreWatch) Get(o *env.GetObject) {
	done, began := o.Done, w.clock.Now()
	o.Done = func(o *env.GetObject) {
		o.Done = done
		w.ended(operationGet, began, o.Outcome, o.Err)
		done(o)
	}
	w.store.Get(o)
}

// Delete implements env.ObjectStore.
func (w *StoreWatch) Delete(o *env.DeleteObject) {
	done, began := o.Done, w.clock.Now()
	o.Done = func(o *env.DeleteObject) {
		o.Done = done
		w.ended(operationDelete, began, o.Outcome, o.Err)
		done(o)
	}
	w.store.Delete(o)
}

// List implements env.ObjectStore.
func (w *StoreWatch) List(o *env.ListObjects) {
	done, began := o.Done, w.clock.Now()
	o.Done = func(o *env.ListObjects) {
		o.Done = done
		w.ended(operationList, began, o.Outcome, o.Err)
		done(o)
	}
	w.store.List(o)
}

// Abandon implements env.Abandoner, if the store does.
func (w *StoreWatch) Abandon() {
	if a, ok := w.store.(env.Abandoner); ok {
		a.Abandon()
	}
}

// storeEvidence is for how long a failure says that the store is not reached now: longer than any pause between two tries.
const storeEvidence = 30 * time.Second

// Unreachable reports whether the store has answered nothing for at least that long, although it was asked again and again.
func (w *StoreWatch) Unreachable(after time.Duration) bool {
	f := &w.failed
	return f.count > 1 && f.newest.Sub(f.since) >= after && w.clock.Now().Sub(f.newest) < storeEvidence
}

// ended takes the outcome of an operation that was submitted at began. A refusal is an answer.
func (w *StoreWatch) ended(kind storeOperation, began env.Time, outcome env.Outcome, err error) {
	k := &w.kinds[kind]
	if outcome == env.OutcomeDone || outcome == env.OutcomeRefused {
		w.worked(kind)
		return
	}
	cause := env.CauseOf(err)
	k.failures[cause].Add(1)
	if cause == env.CauseEnded {
		return
	}
	if !k.failing {
		k.failing, k.since = true, began
	}
	if f := &w.failed; f.count == 0 {
		f.since = began
	}
	w.failed.count++
	w.failed.newest = w.clock.Now()
	if now := w.clock.Now(); !cause.Passing() || now.Sub(k.since) >= storePatience {
		w.warn(kind, cause, now, err)
	}
}

func (w *StoreWatch) warn(kind storeOperation, cause env.StoreCause, now env.Time, err error) {
	k := &w.kinds[kind]
	k.warned = true
	name := storeOperationNames[kind]
	w.lines.Warn(w.registry, name+" "+cause.String(), now, "the object store fails; what needs it waits and is tried again",
		slog.String("operation", name), slog.String("cause", cause.String()), slog.Duration("for", now.Sub(k.since)), slog.Any("error", err))
}

func (w *StoreWatch) worked(kind storeOperation) {
	k := &w.kinds[kind]
	w.failed.count = 0
	k.success.Now()
	if k.warned {
		w.registry.Info("the object store answers again", slog.String("operation", storeOperationNames[kind]),
			slog.Duration("after", w.clock.Now().Sub(k.since)))
	}
	k.failing, k.warned = false, false
}
