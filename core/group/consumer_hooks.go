package group

import "weir/core/coordinator"

// applyConsumer applies a record of a consumer group (KIP-848).
func (m *Machine) applyConsumer(kind int16, r *coordinator.Record) error {
	return nil
}
