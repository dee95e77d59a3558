package record

import (
	"encoding/binary"
	"fmt"

	"weir/core/compress"
)

// Marker is the record of a control batch that ends a transaction (KIP-98). Its key is a
// version and a type, its value a version and the coordinator's epoch, all big-endian.
type Marker struct {
	// Commit is false for an abort.
	Commit bool
	// CoordinatorEpoch is the leader epoch of the coordinator's partition of __transaction_state.
	CoordinatorEpoch int32
}

const (
	markerKeyBytes   = 4 // i16 version, i16 type
	markerValueBytes = 6 // i16 version, i32 coordinator epoch
	markerAbort      = 0
	markerCommit     = 1
)

// AppendMarker appends the control batch of m to dst, as Kafka's coordinators write it.
func AppendMarker(dst []byte, producerID int64, producerEpoch int16, m Marker, millis int64) []byte {
	var key [markerKeyBytes]byte
	var value [markerValueBytes]byte
	if m.Commit {
		binary.BigEndian.PutUint16(key[2:], markerCommit)
	}
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	b := Builder{ProducerID: producerID, ProducerEpoch: producerEpoch, BaseSequence: -1, Transactional: true, Control: true}
	return b.AppendBatch(dst, []Record{{Timestamp: millis, Key: key[:], Value: value[:]}})
}

// ReadMarker reads the marker of the control batch b, which is whole. A control record of
// another kind, or one that is damaged, is ErrInvalid.
func ReadMarker(b []byte) (Marker, error) {
	h, err := ReadHeader(b)
	if err != nil {
		return Marker{}, err
	}
	if !h.Control() || h.Records != 1 || h.Codec() != compress.None {
		return Marker{}, fmt.Errorf("%w: not one plain control record", ErrInvalid)
	}
	_, r, _, ok := readRecord(b[HeaderBytes:h.Bytes])
	if !ok || len(r.Key) < markerKeyBytes || len(r.Value) < markerValueBytes {
		return Marker{}, fmt.Errorf("%w: the control record does not parse", ErrInvalid)
	}
	kind := binary.BigEndian.Uint16(r.Key[2:])
	if kind != markerAbort && kind != markerCommit {
		return Marker{}, fmt.Errorf("%w: control record of type %d", ErrInvalid, kind)
	}
	return Marker{Commit: kind == markerCommit, CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:]))}, nil
}

// Transactional reports whether the batch b, of at least HeaderBytes, belongs to a transaction; a marker does.
func Transactional(b []byte) bool { return b[atAttributes+1]&transactionalBit != 0 }
