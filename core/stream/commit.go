package stream

import (
	"errors"
	"log/slog"
	"slices"

	"weir/core/metadata"
	"weir/core/object"
)

const commitTriesMax = 8 // in a row without a part accepted; then an object whose id is not known any more is put again under a new one

// commit proposes the upload's commit (R1): of the parts that the image lacks, since a commit that
// failed may have got there in part.
func (w *upload) commit() {
	w.phase = phaseCommitting
	w.began = w.Loop.Now()
	parts := make([]metadata.CommitPart, 0, len(w.parts))
	for i := range w.parts {
		if !w.has(&w.parts[i]) {
			parts = append(parts, w.commitPart(i))
		}
	}
	w.Controller.Commit(w.id, w.Epoch, w.built.Header.Bytes, w.walSlot(), parts, w.commitDone)
}

// walSlot is where the recovery of this epoch's WAL would begin by what is committed and shipped (R6). What is
// uploaded of another epoch's says nothing of that, and commits before there is a log of this one.
func (w *upload) walSlot() uint64 {
	if w.tail {
		return 0
	}
	return w.log.LowestSlot()
}

func (w *upload) commitPart(i int) metadata.CommitPart {
	p, info := &w.parts[i], &w.built.Parts[i]
	maxTimestamp := info.MaxTimestamp
	if maxTimestamp < 0 {
		maxTimestamp = metadata.UntimedAt(w.Env.Clock.WallMillis())
	}
	c := metadata.CommitPart{
		Stream: metadata.StreamID(p.Stream), LeaderEpoch: p.LeaderEpoch, Checkpoint: p.checkpoint,
		Part: metadata.Part{
			Object: w.id, Start: info.Start, End: info.End, LeaderEpoch: info.LeaderEpoch, MaxTimestamp: maxTimestamp,
			Bytes: info.Bytes, IndexOffset: info.IndexPosition, IndexBytes: info.IndexBytes,
		},
	}
	if p.block >= 0 {
		c.Checkpoint, c.Stored = nil, storedIn(w.id, &w.built.Checkpoints[p.block])
	}
	return c
}

// storedIn is the name of a checkpoint that was laid into an object.
func storedIn(id metadata.ObjectID, x *object.CheckpointInfo) metadata.StoredCheckpoint {
	return metadata.StoredCheckpoint{Object: id, Position: x.Position, Bytes: x.Bytes, Sum: x.Sum, End: x.End}
}

// commitDone takes the answer. An error leaves open whether the record will apply; asking again is
// safe, since a commit that comes second is refused part by part.
func (w *upload) commitDone(accepted []bool, err error) {
	if w.phase == phaseDropped || w.stopping {
		return
	}
	w.metrics.commitLatency.Observe(int64(w.Loop.Now().Sub(w.began)))
	if err == nil || w.isCommitted() {
		w.metrics.commits.Add(1)
		w.settled(w)
		return
	}
	w.Telemetry.Hit("stream upload: commit failed")
	w.metrics.commitsFailed.Add(1)
	if slices.Contains(accepted, true) {
		w.attempts = 0
	}
	if w.attempts < commitTriesMax {
		w.again(w.commit)
		return
	}
	if errors.Is(err, metadata.ErrNotPrepared) {
		w.renumber("its commit is refused: " + err.Error())
		return
	}
	w.lines.Warn(w.Telemetry, "commit", w.Loop.Now(), "objects are stored, but cannot be committed: the write-ahead log keeps their records until they are",
		slog.String("object", w.key()), slog.String("error", err.Error()), slog.String("advice", adviseCommits))
	w.again(w.commit)
}

// adviseCommits is what to do about commits that fail.
const adviseCommits = "look for what keeps the metadata's log from writing: its disk (weir.meta.path), or the lines of the quorum before this one"

// isCommitted reports whether the image has every part that it can have.
func (w *upload) isCommitted() bool {
	for i := range w.parts {
		if !w.has(&w.parts[i]) {
			return false
		}
	}
	return true
}

// has reports whether the image has a part, or cannot have it any more.
func (w *upload) has(p *uploadPart) bool {
	s, ok := w.Image.Stream(metadata.StreamID(p.Stream))
	if !ok {
		return true
	}
	r, ok := rangeOf(s, p.LeaderEpoch)
	return !ok || committedOf(r) >= p.end()
}
