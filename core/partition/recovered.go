package partition

import (
	"fmt"
	"slices"

	"weir/core/metadata"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
)

// RecoveredState returns what stream.Options.NewState asks for: the state of a
// partition's producers while the storage engine replays a recovered tail. dense is Options.DenseCheckpoints.
func RecoveredState(loop *task.Loop, dense func() bool) func(checkpoint []byte, end int64) (stream.State, error) {
	return func(checkpoint []byte, end int64) (stream.State, error) {
		s, err := loadState(checkpoint, end, loop.Now(), dense)
		if err != nil {
			return nil, err
		}
		return &recoveredState{s, loop}, nil
	}
}

type recoveredState struct {
	*State
	loop *task.Loop
}

// Replay implements stream.State.
func (s *recoveredState) Replay(h *record.Header, batch []byte) error {
	return s.State.Replay(h, batch, s.loop.Now())
}

// Replayed is the state of producers as logs that are recovered say. It implements stream.Replayer.
type Replayed struct {
	manager *Manager
	states  map[metadata.StreamID]*State // as of what was replayed
}

// NewReplayed returns one for a log whose streams others will own: what the manager's own has, it does not know.
func (m *Manager) NewReplayed() *Replayed {
	return &Replayed{manager: m, states: make(map[metadata.StreamID]*State)}
}

// Replay implements stream.Replayer, for the partitions that will be opened here.
func (m *Manager) Replay(id metadata.StreamID, h *record.Header, batch []byte) error {
	return m.recovered.Replay(id, h, batch)
}

// Agrees implements stream.Replayer.
func (m *Manager) Agrees(id metadata.StreamID, end int64, summary []byte) error {
	return m.recovered.Agrees(id, end, summary)
}

// Restore implements stream.Replayer.
func (m *Manager) Restore(id metadata.StreamID, end int64, summary []byte) error {
	return m.recovered.Restore(id, end, summary)
}

// Replay implements stream.Replayer.
func (r *Replayed) Replay(id metadata.StreamID, h *record.Header, batch []byte) error {
	m := r.manager
	image, ok := m.options.Image.Stream(id)
	if !ok {
		return nil
	}
	s := r.states[id]
	if s == nil || s.end < image.CheckpointEnd { // of a log whose recovery failed, or that is uploaded by now
		loaded, err := m.load(image)
		if err != nil {
			return err
		}
		s, r.states[id] = loaded, loaded
	}
	if h.BaseOffset < s.end {
		return nil // the checkpoint has it
	}
	return s.Replay(h, batch, m.loop.Now())
}

// Restore implements stream.Replayer.
func (r *Replayed) Restore(id metadata.StreamID, end int64, summary []byte) error {
	s, err := loadState(summary, end, r.manager.loop.Now(), r.manager.options.DenseCheckpoints)
	if err != nil {
		return err
	}
	r.states[id] = s
	return nil
}

// Agrees implements stream.Replayer.
func (r *Replayed) Agrees(id metadata.StreamID, end int64, summary []byte) error {
	s := r.states[id]
	if s == nil || s.end != end {
		return nil
	}
	r.manager.agrees.Hit()
	return s.agrees(summary)
}

// take returns what was replayed of a stream, or nil, and forgets it.
func (r *Replayed) take(id metadata.StreamID) *State {
	s := r.states[id]
	delete(r.states, id)
	return s
}

// Checkpoint returns the state that the log gives a stream, as a checkpoint exactly as of end, and forgets it: for the
// record that hands the stream to a new leader. Nil: the log does not say, or not yet.
func (r *Replayed) Checkpoint(id metadata.StreamID, end int64) []byte {
	if s := r.states[id]; s == nil || s.end != end {
		return nil
	}
	return r.take(id).AppendCheckpoint(nil)
}

// agrees compares a recovered state with a summary as of the same offset. The former owner may have forgotten
// producers that were idle, and what came before; what it knew must be what the batches say.
func (s *State) agrees(summary []byte) error {
	other, err := LoadState(summary, s.end, 0)
	if err != nil {
		return err
	}
	if other.maxTimestamp != s.maxTimestamp {
		return fmt.Errorf("max timestamp is %d, the summary says %d", s.maxTimestamp, other.maxTimestamp)
	}
	for _, p := range other.producers {
		mine := s.find(p.id)
		if mine == nil || !mine.durable.endsWith(&p.durable) {
			return fmt.Errorf("producer %d is not as the summary says", p.id)
		}
	}
	return nil
}

// endsWith reports whether the last batches of w are those of v, of the same epoch and with the same open
// transaction. Who forgot a producer forgot the coordinator of its last marker; timestamps that were not kept (dense.go) are unknown.
func (w *window) endsWith(v *window) bool {
	coordinator := v.coordinator == w.coordinator || v.coordinator == noCoordinator
	return w.epoch == v.epoch && coordinator && w.openFrom == v.openFrom && w.n >= v.n && slices.EqualFunc(w.batches[w.n-v.n:w.n], v.batches[:v.n], sequenceRange.is)
}

// is reports whether two notes may be of the same batch.
func (r sequenceRange) is(o sequenceRange) bool {
	if r.timestamp == noTimestamp || o.timestamp == noTimestamp {
		r.timestamp, o.timestamp = noTimestamp, noTimestamp
	}
	return r == o
}
