package env

// Purpose is why the core asks something of the object store: the line of the bill that the requests
// are on. Every operation of the core states one; the zero value is none, and is a defect.
type Purpose uint8

const (
	// PurposeUnstated is the zero value: nobody said why.
	PurposeUnstated Purpose = iota
	// PurposeUpload: an object with recent records of many streams.
	PurposeUpload
	// PurposeOwnObject: an object with recent records of one stream, which has enough for one.
	PurposeOwnObject
	// PurposeTailUpload: an object with records of an ended broker's log.
	PurposeTailUpload
	// PurposeSettle: what became of a write whose answer was lost.
	PurposeSettle
	// PurposeCatchUp: a read of committed records that are in no cache.
	PurposeCatchUp
	// PurposeTailRead: a read of recent records by a broker that has not written them.
	PurposeTailRead
	// PurposeCompaction: reads and writes that make few objects of many, or old records go.
	PurposeCompaction
	// PurposeSweep: a listing that looks for objects that nothing refers to.
	PurposeSweep
	// PurposeDeletion: objects that are not needed any more, with the listings that find them.
	PurposeDeletion
	// PurposeShipment: a piece of the metadata's log, and the listing that makes it count.
	PurposeShipment
	// PurposeSnapshot: a snapshot of the metadata.
	PurposeSnapshot
	// PurposeFounding: the cluster's marker.
	PurposeFounding
	// PurposeRecovery: what a start, a rebuild or a node that is behind reads of the metadata, and of logs that are in the store.
	PurposeRecovery
	// PurposeWALSlot: a slot of a write-ahead log that is kept in the store.
	PurposeWALSlot
	// PurposeCheckpoint: the state of partitions' producers, where it is too large for the metadata.
	PurposeCheckpoint
	// PurposeUpkeep: what the world does of its own, such as ending uploads that were left behind.
	PurposeUpkeep
	// Purposes is how many there are.
	Purposes
)

var purposeNames = [Purposes]string{
	"unstated", "upload", "own_object", "tail_upload", "settle", "catch_up", "tail_read", "compaction", "sweep", "deletion",
	"shipment", "snapshot", "founding", "recovery", "wal_slot", "checkpoint", "upkeep",
}

// String returns the purpose's name, as metrics have it.
func (p Purpose) String() string { return purposeNames[p] }
