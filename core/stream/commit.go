package stream

import (
	"weir/core/metadata"
)

// commit proposes the upload's commit (R1).
func (w *upload) commit() {
	w.phase = phaseCommitting
	w.began = w.engine.loop.Now()
	parts := make([]metadata.CommitPart, len(w.parts))
	for i := range w.parts {
		parts[i] = w.commitPart(i)
	}
	w.engine.controller.Commit(w.id, w.engine.options.Epoch, w.built.Header.Bytes, parts, w.commitDone)
}

func (w *upload) commitPart(i int) metadata.CommitPart {
	p, info := &w.parts[i], &w.built.Parts[i]
	maxTimestamp := info.MaxTimestamp
	if maxTimestamp < 0 {
		maxTimestamp = metadata.UntimedAt(w.engine.env.Clock.WallMillis())
	}
	return metadata.CommitPart{
		Stream: metadata.StreamID(p.Stream), LeaderEpoch: p.LeaderEpoch, Checkpoint: p.checkpoint,
		Part: metadata.Part{
			Object: w.id, Start: info.Start, End: info.End, LeaderEpoch: info.LeaderEpoch, MaxTimestamp: maxTimestamp,
			Bytes: info.Bytes, IndexOffset: info.IndexPosition, IndexBytes: info.IndexBytes,
		},
	}
}

// commitDone takes the answer. An error leaves open whether the record will apply; asking again is
// safe, since a commit that comes second is refused part by part.
func (w *upload) commitDone(_ []bool, err error) {
	e := w.engine
	if w.phase == phaseDropped || e.stopping != nil {
		return
	}
	e.metrics.commitLatency.Observe(int64(e.loop.Now().Sub(w.began)))
	if err == nil || w.isCommitted() {
		e.metrics.commits.Add(1)
		w.settled(w)
		return
	}
	e.telemetry.Hit("stream upload: commit failed")
	if w.attempts >= commitTriesMax {
		w.renumber("its commit fails: " + err.Error())
		return
	}
	w.again(w.commit)
}

// isCommitted reports whether the image has every part that it can have.
func (w *upload) isCommitted() bool {
	for i := range w.parts {
		p := &w.parts[i]
		s, ok := w.engine.image.Stream(metadata.StreamID(p.Stream))
		if !ok {
			continue
		}
		if r, ok := rangeOf(s, p.LeaderEpoch); ok && committedOf(r) < p.end() {
			return false
		}
	}
	return true
}
