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
	typeReplaceParts
	typeCleanStream
)

// version is the newest version of a type, which this release writes. Each type has its
// own: fields ask the coder which one they read.
func (t recordType) version() uint8 {
	switch t {
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
	case typeReplaceParts:
		return &ReplaceParts{}
	case typeCleanStream:
		return &CleanStream{}
	}
	return nil
}

func encode(dst []byte, t recordType, r Record) []byte {
	c := coder{b: append(dst, byte(t), t.version()), version: t.version()}
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
	Parts  []CommitPart
}

// CommitPart is one stream's part of an upload. The object and leader epoch within
// Part are set from the record.
type CommitPart struct {
	Stream      StreamID
	LeaderEpoch int32
	Part        Part
	Checkpoint  []byte // state exactly as of Part.End
}

// ReplaceParts replaces parts of streams by parts of new objects that hold the same offsets (R3a, compaction);
// Outcome.Accepted says for which streams that was done. A stream's replacement is refused unless all of its
// sources are still parts of it, as they are named and one behind the other; so whatever happened meanwhile
// (trim, deletion, another replacement) wins. Sources lose a reference, and an object is destroyed with its
// last. Epoch is who replaces: it must be current, and hold the leases of the new ids. Records that
// name the same object add to it, so that a large replacement can be cut into several.
//
// The new parts may have fewer records than their sources, and fewer bytes; only the offsets must be covered.
type ReplaceParts struct {
	Epoch   BrokerEpoch
	Objects []NewObject   // ascending by id, at least one
	Streams []Replacement // decided one after another
}

// NewObject is an object that a replacement makes.
type NewObject struct {
	ID    ObjectID
	Bytes int64
}

// Replacement is what becomes of one stream.
type Replacement struct {
	Stream  StreamID
	Sources []Source // ascending, without a gap, at least one
	Parts   []Part   // of the record's objects, ascending, from the start of the first source to the end of the last
}

// Source names a part of a stream exactly.
type Source struct {
	Object     ObjectID
	Start, End int64
}

// CleanStream says how far a stream was compacted by key: the keys of what lies below Cleaned are known to no pass that is to
// come, which reads only what lies above to learn which keys came again. One that is not higher than it is changes nothing.
type CleanStream struct {
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

// AppendTo implements Record.
func (r *FoundCluster) AppendTo(dst []byte) []byte { return encode(dst, typeFoundCluster, r) }

// AppendTo implements Record.
func (r *SetFeatures) AppendTo(dst []byte) []byte { return encode(dst, typeSetFeatures, r) }

// AppendTo implements Record.
func (r *RegisterBroker) AppendTo(dst []byte) []byte { return encode(dst, typeRegisterBroker, r) }

// AppendTo implements Record.
func (r *CreateTopic) AppendTo(dst []byte) []byte { return encode(dst, typeCreateTopic, r) }

// AppendTo implements Record.
func (r *DeleteTopic) AppendTo(dst []byte) []byte { return encode(dst, typeDeleteTopic, r) }

// AppendTo implements Record.
func (r *AddPartitions) AppendTo(dst []byte) []byte { return encode(dst, typeAddPartitions, r) }

// AppendTo implements Record.
func (r *SetTopicConfigs) AppendTo(dst []byte) []byte { return encode(dst, typeSetTopicConfigs, r) }

// AppendTo implements Record.
func (r *SetBrokerConfigs) AppendTo(dst []byte) []byte { return encode(dst, typeSetBrokerConfigs, r) }

// AppendTo implements Record.
func (r *SetGroupConfigs) AppendTo(dst []byte) []byte { return encode(dst, typeSetGroupConfigs, r) }

// AppendTo implements Record.
func (r *AllocateProducerIDs) AppendTo(dst []byte) []byte {
	return encode(dst, typeAllocateProducerIDs, r)
}

// AppendTo implements Record.
func (r *TrimStream) AppendTo(dst []byte) []byte { return encode(dst, typeTrimStream, r) }

// AppendTo implements Record.
func (r *LeaseObjects) AppendTo(dst []byte) []byte { return encode(dst, typeLeaseObjects, r) }

// AppendTo implements Record.
func (r *CommitObject) AppendTo(dst []byte) []byte { return encode(dst, typeCommitObject, r) }

// AppendTo implements Record.
func (r *ReplaceParts) AppendTo(dst []byte) []byte { return encode(dst, typeReplaceParts, r) }

// AppendTo implements Record.
func (r *CleanStream) AppendTo(dst []byte) []byte { return encode(dst, typeCleanStream, r) }

// AppendTo implements Record.
func (r *TakeOver) AppendTo(dst []byte) []byte { return encode(dst, typeTakeOver, r) }

// AppendTo implements Record.
func (r *ExpireObjects) AppendTo(dst []byte) []byte { return encode(dst, typeExpireObjects, r) }

// AppendTo implements Record.
func (r *DeleteObjects) AppendTo(dst []byte) []byte { return encode(dst, typeDeleteObjects, r) }

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
}

func (r *ReplaceParts) fields(c *coder) {
	integer(c, &r.Epoch)
	list(c, &r.Objects, newObjectBytesMin, fieldsOf)
	list(c, &r.Streams, replacementBytesMin, fieldsOf)
}

func (n *NewObject) fields(c *coder) {
	natural(c, &n.ID)
	integer(c, &n.Bytes)
}

func (p *Replacement) fields(c *coder) {
	natural(c, &p.Stream)
	list(c, &p.Sources, sourceBytesMin, fieldsOf)
	list(c, &p.Parts, partBytesMin, partWithObject)
}

// fields say where the source ends relative to its start.
func (s *Source) fields(c *coder) {
	natural(c, &s.Object)
	length := s.End - s.Start
	integer(c, &s.Start)
	integer(c, &length)
	s.End = s.Start + length
}

func (r *CleanStream) fields(c *coder) {
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

func (r *ExpireObjects) fields(c *coder) {
	integer(c, &r.Epoch)
	natural(c, &r.First)
	natural(c, &r.End)
}

func (r *DeleteObjects) fields(c *coder) {
	list(c, &r.Objects, 1, natural)
}
