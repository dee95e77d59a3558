package group

import (
	"weir/core/metadata"
	"weir/core/wire"
)

// Verifier is what a Machine needs of the transaction coordinator (KIP-890).
type Verifier interface {
	// AddPartitions adds partitions to an open transaction, or only checks that they are part of it, and calls done
	// once.
	AddPartitions(transactionalID string, producerID int64, epoch int16, partitions []Partition, verifyOnly bool, done func(wire.Code))
}

// Partition names a partition of a topic.
type Partition struct {
	Topic   string
	TopicID metadata.TopicID
	Index   int32
}
