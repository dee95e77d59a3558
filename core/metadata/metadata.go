// Package metadata holds the cluster's metadata: records, the image, snapshots.
package metadata

type (
	// BrokerID is Kafka's node id; BrokerEpoch the number of one incarnation.
	BrokerID    int32
	BrokerEpoch int64
	// StreamID names one partition's log, never reused.
	StreamID uint64
	// ObjectID names one stored object, never reused.
	ObjectID uint64
	// TopicID is Kafka's topic id.
	TopicID [16]byte
)

// Image is the state that the quorum's log yields when applied in order. It is
// changed only by Apply; readers hold nothing of it across events.
type Image struct{}

// Broker is a registered broker.
type Broker struct {
	ID          BrokerID
	Epoch       BrokerEpoch
	Incarnation [16]byte
	Rack        string
	Listeners   []Endpoint
	Fenced      bool
}

// Endpoint is where clients reach a broker.
type Endpoint struct {
	Listener, Host string
	Port           int32
}

// Topic is one topic.
type Topic struct {
	ID         TopicID
	Name       string
	Partitions []Partition // by index
	Configs    []Config    // set on the topic, sorted by key
}

// Partition binds a partition to its stream and leader.
type Partition struct {
	Index       int32
	Stream      StreamID
	Leader      BrokerID
	LeaderEpoch int32
}

// Config is one configuration override.
type Config struct{ Key, Value string }

// Stream is one partition's log as the cluster knows it.
type Stream struct {
	ID            StreamID
	Topic         TopicID
	Partition     int32
	LogStart      int64
	Ranges        []Range // ascending, contiguous
	Checkpoint    []byte  // state of producers exactly as of CheckpointEnd (R4)
	CheckpointEnd int64
	Parts         []Part // committed parts, ascending by start offset
}

// CommittedEnd is the first offset not yet committed of the stream's ranges.
func (s *Stream) CommittedEnd() int64 { panic("stub") }

// Range is one ownership of a stream.
type Range struct {
	LeaderEpoch int32
	Broker      BrokerID
	BrokerEpoch BrokerEpoch // whose WAL holds it
	Start       int64
	Committed   int64
	End         int64 // -1 while open
}

// RangeEnd is an open range and the offset after what its WAL holds of it.
type RangeEnd struct {
	Stream      StreamID
	LeaderEpoch int32
	End         int64 // -1: not known
}

// Part is what one object holds of one stream.
type Part struct {
	Object       ObjectID
	Start, End   int64
	LeaderEpoch  int32
	MaxTimestamp int64
	Bytes        int64 // of batches
	IndexOffset  int64 // where in the object the index lies, so that a reader needs no footer first
	IndexBytes   int32
}

// CommitPart is one stream's part of an upload. The object and leader epoch within
// Part are set from the record.
type CommitPart struct {
	Stream      StreamID
	LeaderEpoch int32
	Part        Part
	Checkpoint  []byte // state exactly as of Part.End
}

// Object is a stored object's life: prepared, committed, destroyed, deleted (then gone from the image).
type Object struct {
	ID          ObjectID
	State       ObjectState
	BrokerEpoch BrokerEpoch
	Bytes       int64
	Parts       int32 // still referenced by streams
	DestroyedAt int64 // wall milliseconds, for the grace time of readers
}

// ObjectState is a step in an object's life.
type ObjectState uint8

const (
	ObjectCommitted ObjectState = iota + 1
	ObjectDestroyed
)

// Record is one metadata record.
type Record interface {
	// AppendTo appends the record's encoding: type, version, fields.
	AppendTo(dst []byte) []byte
}

// NewImage returns the empty image.
func NewImage() *Image { panic("stub") }

// Apply applies a record at a log index. It is total: a record that rules refuse
// changes nothing and yields an error for its proposer (R1-R3).
func (im *Image) Apply(index uint64, r Record) error { panic("stub") }

func (im *Image) Brokers() []*Broker                  { panic("stub") } // by id
func (im *Image) Broker(id BrokerID) (*Broker, bool)  { panic("stub") }
func (im *Image) Topics() []*Topic                    { panic("stub") } // by name
func (im *Image) Topic(name string) (*Topic, bool)    { panic("stub") }
func (im *Image) TopicByID(id TopicID) (*Topic, bool) { panic("stub") }
func (im *Image) Stream(id StreamID) (*Stream, bool)  { panic("stub") }
func (im *Image) Object(id ObjectID) (*Object, bool)  { panic("stub") }
func (im *Image) BrokerConfigs(id BrokerID) []Config  { panic("stub") } // -1: cluster-wide default
func (im *Image) ClusterID() string                   { panic("stub") }
func (im *Image) Feature(name string) int16           { panic("stub") }
func (im *Image) AppliedIndex() uint64                { panic("stub") }
