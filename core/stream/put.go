package stream

import (
	"log/slog"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
)

// start takes an id, builds the object off the loop and puts it.
func (w *upload) start() {
	w.phase = phaseStoring
	w.ids.take(w)
}

func (w *upload) gotID(id metadata.ObjectID) {
	w.id, w.attempts, w.damaged = id, 0, 0
	h := object.Header{ID: uint64(id), BrokerEpoch: int64(w.Epoch), Cluster: w.Cluster}
	for i := range h.Nonce {
		h.Nonce[i] = byte(w.Env.Rand.Uint64("object nonce", uint64(id), uint64(i/8)) >> (8 * (i % 8)))
	}
	layout := w.layout
	if layout == nil {
		parts := make([]object.Part, len(w.parts))
		for i := range w.parts {
			parts[i] = w.parts[i].Part
		}
		checkpoints := w.blocks()
		layout = func(h object.Header) object.Built { return object.Build(h, parts, w.BlockBytes, checkpoints...) }
	}
	var built object.Built
	w.begin()
	class := env.ComputeUpload
	if w.compacting {
		class = env.ComputeCompaction
	}
	w.Env.Compute.Submit(&env.Compute{
		Class: class,
		Work:  func() { built = layout(h) },
		Done: func(*env.Compute) {
			w.built = built
			if w.landed() {
				w.put()
			}
		},
	})
}

// blocks are the checkpoints that go into the object: those that would make the commit large.
func (w *upload) blocks() (blocks []object.Checkpoint) {
	for i := range w.parts {
		p := &w.parts[i]
		p.block = -1
		if len(p.checkpoint) > w.CheckpointInlineBytesMax && w.mayStore() {
			p.block = len(blocks)
			blocks = append(blocks, object.Checkpoint{Stream: p.Stream, End: p.end(), State: p.checkpoint})
		}
	}
	return blocks
}

// landed notes that an operation of the upload came back, and reports whether to go on.
func (w *upload) landed() bool {
	if w.stopping {
		w.drop()
	}
	w.end()
	return !w.stopping
}

func (w *upload) key() string { return object.Key(w.Cluster, uint64(w.id)) }

// put creates the object. The body of one id is always the same bytes (R20).
func (w *upload) put() {
	w.began = w.Loop.Now()
	w.begin()
	if w.compose != nil {
		w.Env.Store.Compose(&env.ComposeObject{For: w.purpose, Key: w.key(), Pieces: w.compose(&w.built), Done: func(op *env.ComposeObject) { w.created(op.Outcome) }})
		return
	}
	w.Env.Store.Put(&env.PutObject{For: w.purpose, Key: w.key(), Body: w.built.Body, Done: func(op *env.PutObject) {
		w.metrics.putLatency.Observe(int64(w.Loop.Now().Sub(w.began)))
		w.created(op.Outcome)
	}})
}

// created takes the outcome of the attempt to create the object.
func (w *upload) created(outcome env.Outcome) {
	w.health.answered(outcome)
	if !w.landed() {
		return
	}
	switch outcome {
	case env.OutcomeDone:
		w.isStored()
	case env.OutcomeFailed:
		w.again(w.put)
	case env.OutcomeRefused:
		w.settle()
	default:
		w.Telemetry.Hit("stream upload: put unknown")
		w.again(w.settle)
	}
}

// again calls step after a back-off; only a compaction ever gives up, for the WAL keeps the data of any other upload.
func (w *upload) again(step func()) {
	w.attempts++
	if w.giveUp != nil && w.giveUp(w) {
		return
	}
	w.Loop.Reset(&w.timer, w.health.backoff("upload retry", uint64(w.id), w.attempts), step)
}

func (w *upload) isStored() {
	w.phase, w.attempts = phaseStored, 0
	if !w.compacting {
		w.metrics.uploads.Add(1)
		w.metrics.uploadBytes.Add(w.built.Header.Bytes)
	}
	w.stored(w)
}

// settle reads the header of what lies under the upload's key.
func (w *upload) settle() {
	w.begin()
	w.Env.Store.Get(&env.GetObject{For: env.PurposeSettle, Key: w.key(), Into: w.head[:], Done: w.settleDone})
}

// settleDone decides what became of a PUT. An absent object may still arrive: putting the same bytes
// under the same id again is safe whether it does or not.
func (w *upload) settleDone(op *env.GetObject) {
	w.health.answered(op.Outcome)
	if !w.landed() {
		return
	}
	switch op.Outcome {
	case env.OutcomeRefused:
		w.Telemetry.Hit("stream upload: settled as absent")
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
		w.Telemetry.Hit("stream upload: settled as ours")
		w.isStored()
	case err != nil && w.damaged < damagedReadsMax:
		w.damaged++
		w.health.damaged.Add(1)
		w.again(w.settle)
	default:
		w.renumber("the object's name is taken by another body")
	}
}

// renumber gives the upload a new id and builds it anew.
func (w *upload) renumber(why string) {
	w.Telemetry.Hit("stream upload: renumbered")
	w.Telemetry.Error("an upload goes on under a new object id", slog.String("why", why), slog.String("key", w.key()))
	w.phase = phaseStoring
	w.ids.take(w)
}
