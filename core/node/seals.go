package node

import (
	"slices"

	"weir/core/metadata"
	"weir/core/object"
	"weir/core/stream"
)

const (
	// sealsMax bounds the ranges that one record seals.
	sealsMax = 1000
	// sealBytes is about what one seal takes in a record, without its checkpoint.
	sealBytes = 60
)

// sealBytesOf is about what one seal takes in a record.
func sealBytesOf(s *metadata.Seal) int {
	if s.Stored.Named() {
		return sealBytes
	}
	return sealBytes + len(s.Checkpoint)
}

// storeStates has the larger checkpoints of seals put into an object, which the seals name then, if one record has no room for all: one PUT
// takes less time than to write, replicate and ship them with the quorum's log, and no record may be as large as the state of all producers
// that a partition may have. done gets what to release once the seals are decided; nil if nothing was put.
func (n *Node) storeStates(seals []metadata.Seal, done func(*stream.StoredStates)) {
	total := 0
	var large []int
	var states []object.Checkpoint
	for i := range seals {
		s := &seals[i]
		s.Stored = metadata.StoredCheckpoint{}
		if total += len(s.Checkpoint); n.engine.StoresCheckpoint(len(s.Checkpoint)) {
			large = append(large, i)
			states = append(states, object.Checkpoint{Stream: uint64(s.Stream), End: s.End, State: s.Checkpoint})
		}
	}
	if total <= n.recordBytesMax() || len(large) == 0 {
		done(nil)
		return
	}
	n.engine.StoreStates(states, func(stored *stream.StoredStates) {
		for k, i := range large {
			seals[i].Stored = stored.Stored[k]
		}
		done(stored)
	})
}

// sealRecord makes a record of seals, of which some may be in an object.
func (n *Node) sealRecord(seals []metadata.Seal, states *stream.StoredStates) *metadata.SealRanges {
	r := &metadata.SealRanges{By: n.epoch, Seals: slices.Clone(seals)}
	for i := range r.Seals {
		if s := &r.Seals[i]; s.Stored.Named() {
			s.Checkpoint = nil
			r.Objects = []metadata.NewObject{states.Object}
		}
	}
	return r
}
