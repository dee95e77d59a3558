package stream

import (
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/task"
)

const (
	leaseIDs        = 64 // object ids asked for at once
	damagedReadsMax = 5
	commitTriesMax  = 8 // in a row without a part accepted; then an object whose id is not known any more is put again under a new one
)

var retries = task.BackOff{First: 50 * time.Millisecond, Max: 5 * time.Second}

// backoff is how long to wait before trying again. What all operations together have seen of the store counts too,
// so that a store in trouble is spared by everyone.
func (e *Engine) backoff(purpose string, entity uint64, attempts int) time.Duration {
	e.metrics.retries.Add(1)
	return retries.Wait(max(attempts-1, e.storeFailures/8), e.env.Rand.Uint64(purpose, entity, uint64(attempts)))
}

// storeAnswered notes the weather: failures in a row, of all operations.
func (e *Engine) storeAnswered(outcome env.Outcome) {
	if outcome == env.OutcomeFailed || outcome == env.OutcomeUnknown {
		e.storeFailures++
	} else {
		e.storeFailures = 0
	}
}

// idLease is the block of object ids that uploads take theirs from.
type idLease struct {
	next, end metadata.ObjectID
	asking    bool
	attempts  int
	waiting   []*upload
	retry     task.Timer
}

func (e *Engine) takeID(w *upload) {
	l := &e.up.ids
	if l.next < l.end {
		l.next++
		w.gotID(l.next - 1)
		return
	}
	l.waiting = append(l.waiting, w)
	if !l.asking {
		l.asking = true
		e.controller.LeaseObjects(e.options.Epoch, leaseIDs, e.leased)
	}
}

func (e *Engine) leased(first metadata.ObjectID, err error) {
	l := &e.up.ids
	l.asking = false
	if e.stopping != nil {
		return
	}
	if err != nil {
		l.attempts++
		e.loop.Reset(&l.retry, e.backoff("lease retry", 0, l.attempts), e.leaseAgain)
		return
	}
	l.next, l.end, l.attempts = first, first+leaseIDs, 0
	e.leaseAgain()
}

// leaseAgain serves those who wait for an id, or asks for more.
func (e *Engine) leaseAgain() {
	waiting := e.up.ids.waiting
	e.up.ids.waiting = nil
	for _, w := range waiting {
		e.takeID(w)
	}
}

// ObjectFloor is the lowest leased id that may still be committed: what lies below and is not in the
// image never will be. Zero: none was leased yet.
func (e *Engine) ObjectFloor() metadata.ObjectID {
	floor := e.up.ids.next
	for _, w := range e.up.queue {
		if w.id != 0 {
			floor = min(floor, w.id)
		}
	}
	if w := e.tailUp.upload; w != nil && w.id != 0 {
		floor = min(floor, w.id)
	}
	return floor
}

// start takes an id, builds the object off the loop and puts it.
func (w *upload) start() {
	w.phase = phaseStoring
	w.engine.takeID(w)
}

func (w *upload) gotID(id metadata.ObjectID) {
	e := w.engine
	w.id, w.attempts, w.damaged = id, 0, 0
	h := object.Header{ID: uint64(id), BrokerEpoch: int64(e.options.Epoch), Cluster: e.options.Cluster}
	for i := range h.Nonce {
		h.Nonce[i] = byte(e.env.Rand.Uint64("object nonce", uint64(id), uint64(i/8)) >> (8 * (i % 8)))
	}
	parts := make([]object.Part, len(w.parts))
	for i := range w.parts {
		parts[i] = w.parts[i].Part
	}
	var built object.Built
	e.inFlight++
	e.env.Compute.Submit(&env.Compute{
		Work: func() { built = object.Build(h, parts, e.options.BlockBytes) },
		Done: func(*env.Compute) {
			w.built = built
			if w.landed() {
				w.put()
			}
		},
	})
}

// landed notes that an operation of the upload came back, and reports whether to go on.
func (w *upload) landed() bool {
	w.engine.inFlight--
	if w.engine.stopping == nil {
		return true
	}
	w.drop()
	w.engine.stopped()
	return false
}

func (w *upload) key() string { return object.Key(w.engine.options.Cluster, uint64(w.id)) }

// put creates the object. The body of one id is always the same bytes (R20).
func (w *upload) put() {
	e := w.engine
	w.began = e.loop.Now()
	e.inFlight++
	e.env.Store.Put(&env.PutObject{Key: w.key(), Body: w.built.Body, Done: w.putDone})
}

func (w *upload) putDone(op *env.PutObject) {
	e := w.engine
	e.storeAnswered(op.Outcome)
	e.metrics.putLatency.Observe(int64(e.loop.Now().Sub(w.began)))
	if !w.landed() {
		return
	}
	switch op.Outcome {
	case env.OutcomeDone:
		w.isStored()
	case env.OutcomeFailed:
		w.again(w.put)
	case env.OutcomeRefused:
		w.settle()
	default:
		e.telemetry.Hit("stream upload: put unknown")
		w.again(w.settle)
	}
}

// again calls step after a back-off; it never gives up, since the WAL keeps the data meanwhile.
func (w *upload) again(step func()) {
	w.attempts++
	w.engine.loop.Reset(&w.timer, w.engine.backoff("upload retry", uint64(w.id), w.attempts), step)
}

func (w *upload) isStored() {
	w.phase, w.attempts = phaseStored, 0
	w.engine.metrics.uploads.Add(1)
	w.engine.metrics.uploadBytes.Add(w.built.Header.Bytes)
	w.stored(w)
}

// settle reads the header of what lies under the upload's key.
func (w *upload) settle() {
	w.engine.inFlight++
	w.engine.env.Store.Get(&env.GetObject{Key: w.key(), Into: w.head[:], Done: w.settleDone})
}

// settleDone decides what became of a PUT. An absent object may still arrive: putting the same bytes
// under the same id again is safe whether it does or not.
func (w *upload) settleDone(op *env.GetObject) {
	e := w.engine
	e.storeAnswered(op.Outcome)
	if !w.landed() {
		return
	}
	switch op.Outcome {
	case env.OutcomeRefused:
		e.telemetry.Hit("stream upload: settled as absent")
		w.again(w.put)
		return
	case env.OutcomeDone:
	default:
		w.again(w.settle)
		return
	}
	h, err := object.ParseHeader(w.head[:op.N])
	switch {
	case err == nil && h == w.built.Header:
		e.telemetry.Hit("stream upload: settled as ours")
		w.isStored()
	case err != nil && w.damaged < damagedReadsMax:
		w.damaged++
		e.metrics.damaged.Add(1)
		w.again(w.settle)
	default:
		w.renumber("the object's name is taken by another body")
	}
}

// renumber gives the upload a new id and builds it anew.
func (w *upload) renumber(why string) {
	w.engine.telemetry.Hit("stream upload: renumbered")
	w.engine.telemetry.Error("an upload goes on under a new object id", slog.String("why", why), slog.String("key", w.key()))
	w.phase = phaseStoring
	w.engine.takeID(w)
}
