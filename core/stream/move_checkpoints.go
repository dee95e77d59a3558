package stream

import (
	"weir/core/metadata"
	"weir/core/object"
)

// moveCheckpoints moves the checkpoints of quiet streams off objects that are little in use: a stream that is written again names a newer
// one with its next commit, but one that is not would keep the object of its last commit for ever. So many are moved in a round as a turn of
// the loop encodes. What changes meanwhile is refused by the image, and stays.
func (c *compactor) moveCheckpoints() {
	if c.moving || c.stopping || c.Compaction.Allowed != nil && !c.Compaction.Allowed() || !c.mayStore() || c.mustWait() > 0 {
		return
	}
	var moved []metadata.MovedCheckpoint
	for _, s := range c.streams.ordered {
		if bytes := checkpointBytes(moved); bytes >= c.CheckpointBytes {
			break
		}
		if c.quiet(s) {
			moved = append(moved, metadata.MovedCheckpoint{Stream: s.id, End: s.end, Checkpoint: s.owner.Checkpoint(nil)})
		}
	}
	if len(moved) == 0 {
		return
	}
	c.moving = true
	c.charge(int64(checkpointBytes(moved)))
	c.storeMoved(moved)
}

func checkpointBytes(moved []metadata.MovedCheckpoint) (bytes int) {
	for i := range moved {
		bytes += len(moved[i].Checkpoint)
	}
	return bytes
}

// quiet reports whether a stream's checkpoint lies in an object that is little in use, and is exactly the state that its owner has.
func (c *compactor) quiet(s *Stream) bool {
	if s.owner == nil || s.gone || s.dead || s.highWatermark != s.end || s.committed != s.end {
		return false
	}
	image, ok := c.Image.Stream(s.id)
	return ok && s.leads(image) && image.CheckpointEnd == s.end && image.Stored.Named() && c.sparse(image.Stored.Object)
}

// storeMoved puts those that records do not carry into an object, and has the image name it.
func (c *compactor) storeMoved(moved []metadata.MovedCheckpoint) {
	var large []int
	var states []object.Checkpoint
	for i := range moved {
		if m := &moved[i]; len(m.Checkpoint) > c.CheckpointInlineBytesMax {
			large = append(large, i)
			states = append(states, object.Checkpoint{Stream: uint64(m.Stream), End: m.End, State: m.Checkpoint})
		}
	}
	if len(large) == 0 {
		c.proposeMoved(moved, nil)
		return
	}
	c.storeStates(states, func(stored *StoredStates) {
		for k, i := range large {
			moved[i].Checkpoint, moved[i].Stored = nil, stored.Stored[k]
		}
		c.proposeMoved(moved, stored)
	})
}

func (c *compactor) proposeMoved(moved []metadata.MovedCheckpoint, stored *StoredStates) {
	r := &metadata.MoveCheckpoints{Epoch: c.Epoch, Checkpoints: moved}
	if stored != nil {
		r.Objects = []metadata.NewObject{stored.Object}
	}
	c.Controller.MoveCheckpoints(r, func(err error) {
		stored.Release()
		c.moving = false
		if err != nil {
			c.Telemetry.Hit("stream compaction: checkpoints could not be moved")
			return
		}
		c.Telemetry.Hit("stream compaction: checkpoints moved off an object that is little in use")
	})
}
