package metadata

type (
	// BrokerID is Kafka's node id.
	BrokerID int32
	// BrokerEpoch is the number of one incarnation of a broker: the log index of
	// its registration.
	BrokerEpoch int64
	// StreamID names one partition's log, never reused. None is 0.
	StreamID uint64
	// ObjectID names one stored object, never reused. None is 0.
	ObjectID uint64
	// TopicID is Kafka's topic id.
	TopicID [16]byte
)

// AllBrokers is the id under which the image keeps what is configured for all
// brokers.
const AllBrokers BrokerID = -1

// Broker is a registered broker.
type Broker struct {
	ID          BrokerID
	Epoch       BrokerEpoch
	Incarnation [16]byte
	Rack        string
	Listeners   []Endpoint
	// Peer is where other nodes reach it, host:port; empty: nowhere.
	Peer string
	// SharedWAL says that other brokers can read its WAL.
	SharedWAL bool
	// Fenced: its epoch has ended, and it has not registered anew.
	Fenced bool
}

// Ready reports whether ranges may be opened for the broker: its epoch lives and has said where clients reach it. It does
// so only once its WAL exists; an epoch with a range and without a WAL would have lost what was acknowledged.
func (b *Broker) Ready() bool { return !b.Fenced && len(b.Listeners) > 0 }

// Endpoint is where clients reach a broker.
type Endpoint struct {
	Listener, Host string
	Port           int32
}

// Feature is a feature and the level at which the cluster uses it.
type Feature struct {
	Name  string
	Level int16
}

// Topic is one topic.
type Topic struct {
	ID         TopicID
	Name       string
	Partitions []Partition // by index
	Configs    []Config    // set on the topic, sorted by key
	// ReplicationFactor is what was asked for: as many brokers are shown as replicas. 0: one.
	ReplicationFactor int16
	// ConfigsIndex is the log index of the record that set Configs. A change names
	// the one it was computed from, so that two at once do not undo each other.
	ConfigsIndex uint64
}

// Partition binds a partition to its stream and leader.
type Partition struct {
	Index       int32
	Stream      StreamID
	Leader      BrokerID
	LeaderEpoch int32
}

// Config is one configuration override.
type Config struct {
	Key   string // Kafka's or weir's name, as in core/config; not validated here
	Value string // as text, as it was set
}

// Stream is one partition's log as the cluster knows it.
type Stream struct {
	ID        StreamID
	Topic     TopicID
	Partition int32
	LogStart  int64
	// Ranges are ascending and contiguous: each starts at the end of the one
	// before it. Only the newest may be open. A sealed range in which nothing was
	// written is dropped, and so are the oldest ranges that are committed and lie
	// below the log start: for a leader epoch of theirs OffsetForLeaderEpoch
	// answers where the first that is left begins, as Kafka does when it cuts its
	// cache of epochs at the log start.
	Ranges []Range
	// Checkpoint is the state of producers exactly as of CheckpointEnd (R4): that
	// of the highest end ever committed. Empty: none yet, or it is Stored.
	Checkpoint    []byte
	CheckpointEnd int64
	// Stored names the checkpoint if it lies in an object, which lives as long as it is named.
	Stored StoredCheckpoint
	// Parts are what is committed and not wholly below the log start, ascending by
	// offset. Ranges commit independently, so there may be gaps for a while.
	Parts []Part
	// Cleaned is the offset up to which the log was compacted by key; 0: never.
	Cleaned int64
}

// CommittedEnd is the first offset that is not yet committed: below it nothing is
// owed by any WAL.
func (s *Stream) CommittedEnd() int64 {
	for i := range s.Ranges {
		if r := &s.Ranges[i]; r.owes() {
			return r.Committed
		}
	}
	return s.Ranges[len(s.Ranges)-1].End
}

// Newest is the range that is open, or was last.
func (s *Stream) Newest() *Range { return &s.Ranges[len(s.Ranges)-1] }

// Range is one ownership of a stream.
type Range struct {
	LeaderEpoch int32
	Broker      BrokerID
	BrokerEpoch BrokerEpoch // whose WAL holds it
	Start       int64
	Committed   int64
	End         int64 // -1 while open
}

// Open says that the range may still grow.
func (r *Range) Open() bool { return r.End < 0 }

// owes says that a WAL must live for the range's sake (R3).
func (r *Range) owes() bool { return r.End < 0 || r.Committed < r.End }

// RangeEnd names a range by its stream and leader epoch, and where it ends.
type RangeEnd struct {
	Stream      StreamID
	LeaderEpoch int32
	End         int64 // -1: open
}

// Part is what one object holds of one stream.
type Part struct {
	Object       ObjectID
	Start, End   int64
	LeaderEpoch  int32
	MaxTimestamp int64 // of the records, in milliseconds; below 0: see UntimedAt
	Bytes        int64 // of batches
	IndexOffset  int64 // where in the object the index lies, so that a reader needs no footer first
	IndexBytes   int32
}

// UntimedAt is the MaxTimestamp of a part whose records have no timestamp and that was uploaded at
// the given wall-clock millisecond. It is below -1, so that no lookup takes it for a record's.
func UntimedAt(millis int64) int64 { return -2 - millis }

// LargestTimestamp is the largest timestamp of the part's records; -1: none has one.
func (p *Part) LargestTimestamp() int64 { return max(p.MaxTimestamp, -1) }

// OlderThan reports whether the part's newest record is from before the given millisecond. Where no
// record has a timestamp the time of the upload counts, as in Kafka the time at which a segment's file
// was last written. If that is not known either, the part is not old.
func (p *Part) OlderThan(millis int64) bool {
	newest := p.Newest()
	return newest >= 0 && newest < millis
}

// Newest is the time by which OlderThan decides; -1: it is not known.
func (p *Part) Newest() int64 {
	if p.MaxTimestamp < -1 {
		return -2 - p.MaxTimestamp
	}
	return p.MaxTimestamp
}

// Object is a stored object that was committed and is not yet deleted.
type Object struct {
	ID          ObjectID
	State       ObjectState
	BrokerEpoch BrokerEpoch // that committed it
	Bytes       int64
	Parts       int32  // still referenced by streams; a checkpoint that lies in it counts as one
	DestroyedAt uint64 // log index of the record that took the last part away
}

// ObjectState is a step in an object's life.
type ObjectState uint8

const (
	ObjectCommitted ObjectState = iota + 1
	ObjectDestroyed
)

// Recovery says who recovers the WAL of an ended broker epoch: who closes its open ranges (R3), and commits those that are nobody else's
// to commit ([Image.Committer]).
type Recovery struct {
	Ended, By BrokerEpoch // By 0: nobody yet
	Broker    BrokerID    // whose epoch has ended
	Shared    bool        // others than it can read the WAL
}

// Lease is a run of prepared ids: leased to a broker epoch, and neither committed
// nor expired.
type Lease struct {
	First, End ObjectID // [First, End)
	Epoch      BrokerEpoch
}
