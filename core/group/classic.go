package group

import (
	"fmt"

	"weir/core/coordinator"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	groupValueMax = 4
	// groupValueVersion is the version that Kafka writes.
	groupValueVersion = 3
)

// applyClassic applies the record of a generation of the classic protocol.
func (m *Machine) applyClassic(r *coordinator.Record) error {
	var key kmsg.GroupMetadataKey
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("key of a group: %w", err)
	}
	return nil
}
