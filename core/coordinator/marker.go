package coordinator

import (
	"encoding/binary"
	"fmt"

	"weir/core/record"
)

// Types of a control record's key (KIP-98).
const (
	controlAbort  = 0
	controlCommit = 1
)

// applyMarker hands the end of a transaction to the machine. Control records of other types say
// nothing to a coordinator.
func (s *Shard) applyMarker(h *record.Header, r *record.Record) error {
	if len(r.Key) < 4 {
		return fmt.Errorf("a control record has a key of %d bytes", len(r.Key))
	}
	kind := binary.BigEndian.Uint16(r.Key[2:])
	if kind != controlAbort && kind != controlCommit {
		return nil
	}
	if len(r.Value) < 6 {
		return fmt.Errorf("a marker has a value of %d bytes", len(r.Value))
	}
	return s.machine.ApplyMarker(&Marker{
		Offset: r.Offset, ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch, Commit: kind == controlCommit,
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:])),
	})
}
