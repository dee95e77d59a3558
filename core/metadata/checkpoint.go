package metadata

import (
	"bytes"
	"fmt"
)

// StoredCheckpoint names a checkpoint that lies in an object, as a block of its own (object.Checkpoint). The zero value names
// none.
type StoredCheckpoint struct {
	Object   ObjectID
	Position int64  // of the block
	Bytes    int32  // of the block
	Sum      uint32 // CRC32C that the block records
	// End is the offset as of which the state is. CheckpointEnd lies above it if what is between was lost (R16).
	End int64
}

// Named reports whether there is one.
func (c *StoredCheckpoint) Named() bool { return c.Bytes > 0 }

// sound says that a name may be one of a block.
func (c *StoredCheckpoint) sound() bool {
	return *c == StoredCheckpoint{} || c.Bytes > 0 && c.Position > 0 && c.End >= 0
}

// block walks where in an object a checkpoint lies; one byte if there is none.
func (s *StoredCheckpoint) block(c *coder) {
	integer(c, &s.Bytes)
	if s.Bytes != 0 {
		integer(c, &s.Position)
		natural(c, &s.Sum)
	}
}

// setCheckpoint replaces a stream's checkpoint: by state, or by where it is stored. It returns the object that had the one before,
// which loses a reference; 0: none had it.
func (s *Stream) setCheckpoint(state []byte, stored StoredCheckpoint, end int64) (before ObjectID) {
	before = s.Stored.Object
	s.Checkpoint, s.Stored, s.CheckpointEnd = nil, StoredCheckpoint{}, end
	if stored.Named() {
		s.Stored, s.Stored.End = stored, end
	} else {
		s.Checkpoint = bytes.Clone(state)
	}
	return before
}

// MoveCheckpoints says where checkpoints lie from now on. The owner of a quiet stream moves its checkpoint, which would else keep a
// large object alive whose records have long gone elsewhere. Each is the state exactly as of the stream's CheckpointEnd, by the
// owner of its newest range; one that does not fit is passed over, and Outcome.Accepted says which did. Epoch must be current and hold
// the leases of the new ids.
type MoveCheckpoints struct {
	Epoch       BrokerEpoch
	Objects     []NewObject // ascending; may be none
	Checkpoints []MovedCheckpoint
}

// MovedCheckpoint is one stream's checkpoint.
type MovedCheckpoint struct {
	Stream StreamID
	End    int64
	// Checkpoint is the state, or empty if it is Stored in one of the record's objects. Stored.End is set from End.
	Checkpoint []byte
	Stored     StoredCheckpoint
}

// AppendTo implements Record.
func (r *MoveCheckpoints) AppendTo(dst []byte) []byte { return encode(dst, typeMoveCheckpoints, r) }

func (r *MoveCheckpoints) fields(c *coder) {
	integer(c, &r.Epoch)
	list(c, &r.Objects, newObjectBytesMin, fieldsOf)
	list(c, &r.Checkpoints, movedCheckpointBytesMin, fieldsOf)
}

func (m *MovedCheckpoint) fields(c *coder) {
	natural(c, &m.Stream)
	integer(c, &m.End)
	c.bytes(&m.Checkpoint)
	m.Stored.block(c)
	natural(c, &m.Stored.Object)
}

func (r *MoveCheckpoints) apply(im *Image) error {
	if !im.Current(r.Epoch) {
		return fmt.Errorf("%w: epoch %d moves checkpoints", ErrEpochEnded, r.Epoch)
	}
	if err := im.validateNew(r.Objects, r.Epoch); err != nil {
		return err
	}
	accepted := make([]bool, len(r.Checkpoints))
	for i := range r.Checkpoints {
		m := &r.Checkpoints[i]
		s, ok := im.streams[m.Stream]
		if !ok || !im.validMove(s, r, m) {
			continue
		}
		if m.Stored.Named() {
			im.referNew(r.Objects, r.Epoch, m.Stored.Object)
		}
		im.unrefer(s.setCheckpoint(m.Checkpoint, m.Stored, m.End))
		im.changed(s.ID)
		accepted[i] = true
	}
	im.outcome.Accepted = accepted
	return nil
}

func (im *Image) validMove(s *Stream, r *MoveCheckpoints, m *MovedCheckpoint) bool {
	stated := len(m.Checkpoint) > 0 || m.Stored.Named() && im.keeps(r.Objects, m.Stored.Object)
	return stated && m.Stored.sound() && s.Newest().BrokerEpoch == r.Epoch && m.End == s.CheckpointEnd
}
