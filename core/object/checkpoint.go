package object

import (
	"fmt"
	"math"
)

const (
	checkpointHeadBytes = 40
	checkpointVersion   = 1
	checkpointMagic     = 0x6b686377 // "wchk", read as little-endian

	// CheckpointStateBytesMax bounds the state in a block. It is far above what the producers that a broker may know take.
	CheckpointStateBytesMax = math.MaxInt32 - checkpointHeadBytes
)

// Checkpoint is the state of a stream's producers that goes into the object as a block of its own.
type Checkpoint struct {
	Stream uint64
	End    int64  // offset as of which the state is
	State  []byte // not read by this package; lent for as long as the body is used
}

// CheckpointInfo says where a checkpoint came to lie. A reader asks the store for Bytes bytes at Position.
type CheckpointInfo struct {
	Stream   uint64
	End      int64
	Position int64
	Bytes    int32
	Sum      uint32 // that the block records
}

// addCheckpoint lays a checkpoint behind what there is.
func (b *builder) addCheckpoint(c *Checkpoint) {
	if len(c.State) > CheckpointStateBytesMax || c.End < 0 {
		panic(fmt.Sprintf("object: stream %d: a checkpoint of %d bytes as of offset %d", c.Stream, len(c.State), c.End))
	}
	head := make([]byte, 0, checkpointHeadBytes)
	head = order.AppendUint32(head, checkpointMagic)
	head = order.AppendUint16(head, checkpointVersion)
	head = append(head, 0, 0, 0, 0, 0, 0)
	head = order.AppendUint32(head, uint32(len(c.State)))
	head = order.AppendUint64(head, c.Stream)
	head = order.AppendUint64(head, b.h.ID)
	head = order.AppendUint64(head, uint64(c.End))
	sum := updateSum(sumWithout(head, atSum), c.State)
	order.PutUint32(head[atSum:], sum)
	info := CheckpointInfo{Stream: c.Stream, End: c.End, Position: b.at, Bytes: int32(len(head) + len(c.State)), Sum: sum}
	b.body = append(b.body, head, c.State)
	b.at += int64(info.Bytes)
	b.checkpoints = append(b.checkpoints, info)
}

// OpenCheckpoint checks a block's bytes, exactly b, and returns the state in it, as part of b. It is of the object, stream and offset
// that are named, or it is an error: what another commit has written is never taken for it.
func (x *CheckpointInfo) OpenCheckpoint(object uint64, b []byte) (state []byte, err error) {
	if len(b) != int(x.Bytes) || len(b) < checkpointHeadBytes || order.Uint32(b) != checkpointMagic {
		return nil, damaged("no checkpoint of %d bytes in %d bytes", x.Bytes, len(b))
	}
	sum := order.Uint32(b[atSum:])
	if sum != x.Sum || sum != sumWithout(b, atSum) {
		return nil, damaged("the checkpoint at %d fails its checksum", x.Position)
	}
	if v := order.Uint16(b[4:]); v != checkpointVersion {
		return nil, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	state = b[checkpointHeadBytes:]
	if int64(order.Uint32(b[12:])) != int64(len(state)) || order.Uint64(b[24:]) != object {
		return nil, damaged("the checkpoint at %d is of object %d, with %d bytes", x.Position, order.Uint64(b[24:]), order.Uint32(b[12:]))
	}
	if order.Uint64(b[16:]) != x.Stream || int64(order.Uint64(b[32:])) != x.End {
		return nil, damaged("the checkpoint at %d is of stream %d as of offset %d, not of stream %d as of %d",
			x.Position, order.Uint64(b[16:]), int64(order.Uint64(b[32:])), x.Stream, x.End)
	}
	return state, nil
}
