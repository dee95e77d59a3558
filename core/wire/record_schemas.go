package wire

import (
	"encoding/binary"
	"fmt"
)

// The shapes of values of records that kmsg decodes, for the walk that precedes it: kmsg makes room for as many elements of an
// array as there are bytes left, and reads as many tags as are announced.
var (
	// OffsetValue is OffsetCommitValue, versions 0 to 4.
	OffsetValue = RecordSchema{versionMax: 4, schema: Schema{flexible: 4, fields: []wireField{
		wireInt64, wireInt32.from(3), wireString, wireInt64, wireInt64.from(1).upTo(1),
	}}}
	// GroupValue is GroupMetadataValue, versions 0 to 4.
	GroupValue = RecordSchema{versionMax: 4, schema: Schema{flexible: 4, fields: []wireField{
		wireString, wireInt32, wireNullable, wireNullable, wireInt64.from(2),
		structs(wireString, wireNullable.from(3), wireString, wireString, wireInt32.from(1), wireInt32, wireBytes, wireBytes),
	}}}
	// TransactionValue is TransactionLogValue, versions 0 and 1.
	TransactionValue = RecordSchema{versionMax: 1, schema: Schema{flexible: 1, fields: []wireField{
		wireInt64, wireInt16, wireInt32, wireInt8, structs(wireString, list(wireInt32)), wireInt64, wireInt64,
	}}}
)

// RecordSchema is the shape of the value of a record, which begins with its version.
type RecordSchema struct {
	schema     Schema
	versionMax int16
}

// Check verifies that a value is of a known version, and of its shape. It allocates nothing unless it fails.
func (s *RecordSchema) Check(value []byte) error {
	if len(value) < 2 {
		return fmt.Errorf("%w: %d bytes have no version", ErrMalformed, len(value))
	}
	version := int16(binary.BigEndian.Uint16(value))
	if version < 0 || version > s.versionMax {
		return fmt.Errorf("%w: version %d is not known", ErrMalformed, version)
	}
	return s.schema.Check(version, value[2:])
}
