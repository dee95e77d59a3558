package metadata

import (
	"errors"
	"fmt"
)

// ErrRecord: the bytes are no record of a type and version known here, or damaged.
var ErrRecord = errors.New("metadata record is invalid")

// Record is one metadata record: one of the structs of this file.
type Record interface {
	// AppendTo appends the record's encoding: type, version, fields.
	AppendTo(dst []byte) []byte

	fields(*coder)
	apply(*Image) error
}

// recordType is the first field of an encoded record. Numbers are never reused.
type recordType uint8

const (
	typeFoundCluster recordType = iota + 1
	typeRegisterBroker
	typeCreateTopic
	typeDeleteTopic
	typeAddPartitions
	typeSetTopicConfigs
	typeSetBrokerConfigs
	typeAllocateProducerIDs
	typeTrimStream
	typeLeaseObjects
	typeCommitObject
	typeTakeOver
	typeExpireObjects
	typeDeleteObjects
	typeSetFeatures
	typeSetGroupConfigs
	typeFenceBroker
	typeAssignRecovery
	typeSealRanges
	typeUnregisterBroker
	typeReplaceParts
	typeCleanStream
	typeAbandonWAL
	typeMoveCheckpoints
)

// version is the newest version of a type. Each type has its own: fields ask the coder which one they read or write.
// This release writes that version, but for records that implement versioned.
func (t recordType) version() uint8 {
	switch t {
	case typeRegisterBroker: // 3: object WAL
		return 3
	case typeCommitObject: // 2: slot of an object WAL; 3: checkpoints that lie in the object
		return 3
	case typeCreateTopic, typeSealRanges:
		return 2
	default:
		return 1
	}
}

func (t recordType) empty() Record {
	switch t {
	case typeFoundCluster:
		return &FoundCluster{}
	case typeRegisterBroker:
		return &RegisterBroker{}
	case typeCreateTopic:
		return &CreateTopic{}
	case typeDeleteTopic:
		return &DeleteTopic{}
	case typeAddPartitions:
		return &AddPartitions{}
	case typeSetTopicConfigs:
		return &SetTopicConfigs{}
	case typeSetBrokerConfigs:
		return &SetBrokerConfigs{}
	case typeAllocateProducerIDs:
		return &AllocateProducerIDs{}
	case typeTrimStream:
		return &TrimStream{}
	case typeLeaseObjects:
		return &LeaseObjects{}
	case typeCommitObject:
		return &CommitObject{}
	case typeTakeOver:
		return &TakeOver{}
	case typeExpireObjects:
		return &ExpireObjects{}
	case typeDeleteObjects:
		return &DeleteObjects{}
	case typeSetFeatures:
		return &SetFeatures{}
	case typeSetGroupConfigs:
		return &SetGroupConfigs{}
	case typeFenceBroker:
		return &FenceBroker{}
	case typeAssignRecovery:
		return &AssignRecovery{}
	case typeSealRanges:
		return &SealRanges{}
	case typeUnregisterBroker:
		return &UnregisterBroker{}
	case typeReplaceParts:
		return &ReplaceParts{}
	case typeCleanStream:
		return &CleanStream{}
	case typeAbandonWAL:
		return &AbandonWAL{}
	case typeMoveCheckpoints:
		return &MoveCheckpoints{}
	}
	return nil
}

func encode(dst []byte, t recordType, r Record) []byte { return encodeAs(dst, t, t.version(), r) }

// encodeAs encodes a record in a version that has room for it: the lowest, so that a cluster which does not need what a
// newer one added writes nothing that older releases cannot read.
func encodeAs(dst []byte, t recordType, version uint8, r Record) []byte {
	c := coder{b: append(dst, byte(t), version), version: version}
	r.fields(&c)
	return c.b
}

// DecodeRecord decodes one whole record. Its byte fields point into b. The error
// is an ErrRecord.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrRecord, len(b))
	}
	r := recordType(b[0]).empty()
	if r == nil {
		return nil, fmt.Errorf("%w: type %d is not known: a newer release wrote it", ErrRecord, b[0])
	}
	if b[1] == 0 || b[1] > recordType(b[0]).version() {
		return nil, fmt.Errorf("%w: version %d of type %d is not known: a newer release wrote it", ErrRecord, b[1], b[0])
	}
	c := coder{b: b[2:], decoding: true, version: b[1]}
	r.fields(&c)
	if c.failed || len(c.b) > 0 {
		return nil, fmt.Errorf("%w: type %d ends short, or has %d bytes too many", ErrRecord, b[0], len(c.b))
	}
	return r, nil
}

// FoundCluster is the first record of a cluster: its id and feature levels.
// Refused if the cluster was founded before.
type FoundCluster struct {
	ClusterID string
	Features  []Feature // sorted by name
}

// SetFeatures sets the levels of features; level 0 ends the use of one. The others keep theirs. A release that does not
// know a level must not start on this log again, nor one that does not know this record: who proposes it has been
// told by an administrator that no such release is left.
type SetFeatures struct {
	Features []Feature // sorted by name, at least one
}

// RegisterBroker starts a broker epoch, whose number is this record's index, and
// ends the older ones of the id. A record that repeats the current incarnation keeps
// its epoch and updates its endpoints.
type RegisterBroker struct {
	ID          BrokerID
	Incarnation [16]byte
	Rack        string
	Listeners   []Endpoint
	Term        uint64 // of the controller that proposes it (R10, R11); 0: any
	Peer        string // where other nodes reach it; empty: nowhere
	SharedWAL   bool   // other brokers can read its WAL
	// ObjectWAL says that the epoch's WAL is of the object kind.
	ObjectWAL bool
}

// Leader is the leader of a new partition. The record is refused unless Epoch is the
// broker's current epoch.
type Leader struct {
	Broker BrokerID
	Epoch  BrokerEpoch
}

// CreateTopic makes a topic and the streams of its partitions, each with an open
// range of leader epoch 0. Refused if the name is taken or collides.
type CreateTopic struct {
	ID      TopicID
	Name    string
	Configs []Config // sorted by key
	Leaders []Leader // by partition
	// ReplicationFactor is kept to be shown; 0: one.
	ReplicationFactor int16
}

// DeleteTopic deletes a topic with its streams. Their objects are destroyed with
// the last part that refers to them.
type DeleteTopic struct{ ID TopicID }

// AddPartitions adds partitions to a topic. Refused with ErrStale unless it has
// From partitions.
type AddPartitions struct {
	ID      TopicID
	From    int32
	Leaders []Leader
}

// SetTopicConfigs replaces a topic's configuration. Refused with ErrStale unless
// it is that of index Base.
type SetTopicConfigs struct {
	ID      TopicID  // of an existing topic
	Base    uint64   // log index of the record that last set the configuration it replaces
	Configs []Config // sorted by key; empty: no overrides
}

// SetBrokerConfigs does the same for a broker, or for AllBrokers.
type SetBrokerConfigs struct {
	ID      BrokerID // or AllBrokers
	Base    uint64   // log index of the record that last set the configuration it replaces; 0: none did
	Configs []Config // sorted by key; empty: no overrides
}

// SetGroupConfigs does the same for a group, which need not exist. Without overrides, nothing is kept of the group.
type SetGroupConfigs struct {
	Group   string   // not empty
	Base    uint64   // log index of the record that set the configuration it replaces; 0: there is none
	Configs []Config // sorted by key; empty: no overrides
}

// AllocateProducerIDs grants Count producer ids; Outcome.First is the first.
type AllocateProducerIDs struct {
	Broker BrokerID
	Epoch  BrokerEpoch
	Count  int64
}

// TrimStream raises a stream's log start; one that is not higher changes nothing.
type TrimStream struct {
	Stream   StreamID
	LogStart int64
}

// LeaseObjects grants Count object ids to a broker epoch; Outcome.First is the first.
type LeaseObjects struct {
	Epoch BrokerEpoch
	Count int32
}

// CommitObject makes an object part of its streams' ranges; Outcome.Accepted says
// which parts were accepted. Epoch is who commits: it must be current, and hold
// the id's lease. Records that name the same object add to it, so that a large
// commit can be cut into several.
type CommitObject struct {
	Object ObjectID
	Epoch  BrokerEpoch
	Bytes  int64
	// WALSlot is the lowest slot of the epoch's own object WAL that held anything uncommitted of a living stream,
	// by commits that were applied before this one was proposed, never by its own parts (R6). One that is
	// not above the one before it changes nothing: a device's WAL, and a recoverer's commit, have zero.
	WALSlot uint64
	Parts   []CommitPart
}

// CommitPart is one stream's part of an upload. The object and leader epoch within
// Part are set from the record.
type CommitPart struct {
	Stream      StreamID
	LeaderEpoch int32
	Part        Part
	Checkpoint  []byte // state exactly as of Part.End
	// Stored names the state instead, in the object of the commit. Object and End are set from the record.
	Stored StoredCheckpoint
}

// CleanStream says how far a stream was compacted by key: the keys of what lies below Cleaned are known to no pass that is to
// come, which reads only what lies above to learn which keys came again. One that is not higher than it is changes nothing.
// Epoch must be current and own the stream's newest range: what a leader has begun ends with the handover.
type CleanStream struct {
	Epoch   BrokerEpoch
	Stream  StreamID
	Cleaned int64
}

// TakeOver closes open ranges of a broker's ended epochs, each at its end, and
// opens the next (leader epoch + 1) there for Epoch, the broker's current one (R3).
// Streams that were deleted are passed over; any other entry that does not fit
// refuses the record.
type TakeOver struct {
	Broker BrokerID
	Epoch  BrokerEpoch
	Ends   []RangeEnd
}

// FenceBroker ends a broker epoch whose lease has certainly ended (R10). Refused in any other term than that of the
// controller which proposed it, and unless the epoch is current. The WAL is to be recovered by whoever AssignRecovery names,
// or by the broker's next epoch.
type FenceBroker struct {
	ID    BrokerID
	Epoch BrokerEpoch
	Term  uint64
}

// UnregisterBroker removes a broker for good: it is shown nowhere any more. Refused unless the broker is fenced and owes nothing, so
// that neither a partition nor anything that was acknowledged still waits for it. One that comes back registers as a new one.
type UnregisterBroker struct{ ID BrokerID }

// AssignRecovery names who recovers the WAL of an ended epoch that others can read, if nobody does who is alive. Refused in any
// other term than its proposer's.
type AssignRecovery struct {
	Ended, By BrokerEpoch
	Term      uint64
}

// SealRanges closes open ranges, and opens the next of each (leader epoch + 1) there for another leader, or the same (R3, R14,
// R15). By is the ranges' own epoch as long as that is current, else its recoverer. An entry that does not fit is passed over;
// Outcome.Accepted says which did.
type SealRanges struct {
	By    BrokerEpoch
	Seals []Seal
	// Objects are those that seals name and that are not in the image yet, ascending: each is prepared for By.
	Objects []NewObject
}

// Seal closes one range.
type Seal struct {
	RangeEnd
	Next Leader // of the range that it opens; its epoch must be current
	// Checkpoint is the state exactly as of End (R4). Empty: the image has it already, or it is Stored.
	Checkpoint []byte
	// Stored names the state instead, in one of the record's objects. End is set from the seal.
	Stored StoredCheckpoint
}

// ExpireObjects bars prepared ids of an epoch from being committed ever (R20).
// Refused unless every id of [First, End) is prepared for Epoch; a committed id is
// not. The proposer has made sure that the epoch has ended, or uses none of them.
type ExpireObjects struct {
	Epoch      BrokerEpoch
	First, End ObjectID
}

// DeleteObjects says that objects were deleted from the store. Refused if one of
// them is still referred to; ids that are not in the image are passed over.
type DeleteObjects struct{ Objects []ObjectID }

func (r *FoundCluster) fields(c *coder) {
	c.text(&r.ClusterID)
	list(c, &r.Features, featureBytesMin, fieldsOf)
}

func (r *SetFeatures) fields(c *coder) { list(c, &r.Features, featureBytesMin, fieldsOf) }

func (r *RegisterBroker) fields(c *coder) {
	integer(c, &r.ID)
	c.id(&r.Incarnation)
	c.text(&r.Rack)
	list(c, &r.Listeners, endpointBytesMin, fieldsOf)
	if c.version >= 2 {
		natural(c, &r.Term)
		c.text(&r.Peer)
		c.flag(&r.SharedWAL)
	}
	if c.version >= 3 {
		c.flag(&r.ObjectWAL)
	}
}

func (l *Leader) fields(c *coder) {
	integer(c, &l.Broker)
	integer(c, &l.Epoch)
}

func (r *CreateTopic) fields(c *coder) {
	c.id((*[16]byte)(&r.ID))
	c.text(&r.Name)
	list(c, &r.Configs, configBytesMin, fieldsOf)
	list(c, &r.Leaders, leaderBytesMin, fieldsOf)
	if c.version >= 2 {
		integer(c, &r.ReplicationFactor)
	}
}

func (r *DeleteTopic) fields(c *coder) { c.id((*[16]byte)(&r.ID)) }

func (r *AddPartitions) fields(c *coder) {
	c.id((*[16]byte)(&r.ID))
	integer(c, &r.From)
	list(c, &r.Leaders, leaderBytesMin, fieldsOf)
}

func (r *SetTopicConfigs) fields(c *coder) {
	c.id((*[16]byte)(&r.ID))
	natural(c, &r.Base)
	list(c, &r.Configs, configBytesMin, fieldsOf)
}

func (r *SetBrokerConfigs) fields(c *coder) {
	integer(c, &r.ID)
	natural(c, &r.Base)
	list(c, &r.Configs, configBytesMin, fieldsOf)
}

func (r *SetGroupConfigs) fields(c *coder) {
	c.text(&r.Group)
	natural(c, &r.Base)
	list(c, &r.Configs, configBytesMin, fieldsOf)
}

func (r *AllocateProducerIDs) fields(c *coder) {
	integer(c, &r.Broker)
	integer(c, &r.Epoch)
	integer(c, &r.Count)
}

func (r *TrimStream) fields(c *coder) {
	natural(c, &r.Stream)
	integer(c, &r.LogStart)
}

func (r *LeaseObjects) fields(c *coder) {
	integer(c, &r.Epoch)
	integer(c, &r.Count)
}

func (r *CommitObject) fields(c *coder) {
	natural(c, &r.Object)
	integer(c, &r.Epoch)
	integer(c, &r.Bytes)
	if c.version >= 2 {
		natural(c, &r.WALSlot)
	}
	list(c, &r.Parts, commitPartBytesMin, fieldsOf)
}

func (p *CommitPart) fields(c *coder) {
	natural(c, &p.Stream)
	integer(c, &p.LeaderEpoch)
	integer(c, &p.Part.Start)
	length := p.Part.End - p.Part.Start
	integer(c, &length)
	p.Part.End = p.Part.Start + length
	integer(c, &p.Part.MaxTimestamp)
	integer(c, &p.Part.Bytes)
	integer(c, &p.Part.IndexOffset)
	integer(c, &p.Part.IndexBytes)
	c.bytes(&p.Checkpoint)
	if c.version >= 3 {
		p.Stored.block(c)
	}
}

func (r *CleanStream) fields(c *coder) {
	integer(c, &r.Epoch)
	natural(c, &r.Stream)
	integer(c, &r.Cleaned)
}

func (r *TakeOver) fields(c *coder) {
	integer(c, &r.Broker)
	integer(c, &r.Epoch)
	list(c, &r.Ends, rangeEndBytesMin, fieldsOf)
}

func (e *RangeEnd) fields(c *coder) {
	natural(c, &e.Stream)
	integer(c, &e.LeaderEpoch)
	integer(c, &e.End)
}

func (r *FenceBroker) fields(c *coder) {
	integer(c, &r.ID)
	integer(c, &r.Epoch)
	natural(c, &r.Term)
}

func (r *UnregisterBroker) fields(c *coder) { integer(c, &r.ID) }

func (r *AssignRecovery) fields(c *coder) {
	integer(c, &r.Ended)
	integer(c, &r.By)
	natural(c, &r.Term)
}

func (r *SealRanges) fields(c *coder) {
	integer(c, &r.By)
	list(c, &r.Seals, sealBytesMin, fieldsOf)
	if c.version >= 2 {
		list(c, &r.Objects, newObjectBytesMin, fieldsOf)
	}
}

func (s *Seal) fields(c *coder) {
	s.RangeEnd.fields(c)
	s.Next.fields(c)
	c.bytes(&s.Checkpoint)
	if c.version >= 2 {
		s.Stored.block(c)
		natural(c, &s.Stored.Object)
	}
}

func (r *ExpireObjects) fields(c *coder) {
	integer(c, &r.Epoch)
	natural(c, &r.First)
	natural(c, &r.End)
}

func (r *DeleteObjects) fields(c *coder) {
	list(c, &r.Objects, 1, natural)
}

// OfController reports whether only the active controller proposes such a record, in its own term (R10).
func OfController(r Record) bool {
	switch r := r.(type) {
	case *FenceBroker, *AssignRecovery, *RegisterBroker, *FoundCluster:
		return true
	case *AbandonWAL:
		return r.Term > 0
	}
	return false
}
