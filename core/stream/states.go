package stream

import (
	"slices"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
)

// StoredStates is an object with checkpoints and no records. It is put for a record that names them: of ranges that are sealed, or of
// quiet streams.
type StoredStates struct {
	Object metadata.NewObject
	Stored []metadata.StoredCheckpoint // in the order given
	engine *Engine
	upload *upload
}

// StoresCheckpoint reports whether a checkpoint of so many bytes lies in an object rather than in a record of the quorum's log.
func (e *Engine) StoresCheckpoint(bytes int) bool {
	return bytes > e.base.CheckpointInlineBytesMax && e.base.mayStore()
}

// StoreStates puts checkpoints, at least one, into an object of their own and calls done once it is surely there, if the engine runs on. It
// tries without end. The object's id stays leased until [StoredStates.Release], so that a record may name it until then; the checkpoints are
// lent until done runs.
func (e *Engine) StoreStates(checkpoints []object.Checkpoint, done func(*StoredStates)) {
	if e.base.stopping {
		return
	}
	s := &StoredStates{engine: e}
	s.upload = &upload{
		base: &e.base, ids: &e.ids, purpose: env.PurposeCheckpoint,
		layout: func(h object.Header) object.Built { return object.Build(h, nil, e.base.BlockBytes, checkpoints...) },
		stored: func(w *upload) {
			e.base.Telemetry.Hit("stream states: stored in an object of their own")
			s.Object = metadata.NewObject{ID: w.id, Bytes: w.built.Header.Bytes}
			for i := range w.built.Checkpoints {
				s.Stored = append(s.Stored, storedIn(w.id, &w.built.Checkpoints[i]))
			}
			w.release()
			done(s)
		},
	}
	e.states = append(e.states, s)
	s.upload.start()
}

// Release says that no record which names the object will be proposed any more. Nil is released already.
func (s *StoredStates) Release() {
	if s != nil {
		s.engine.states = slices.DeleteFunc(s.engine.states, func(o *StoredStates) bool { return o == s })
	}
}
