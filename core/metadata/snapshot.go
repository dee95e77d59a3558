package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

const (
	snapshotMagic = "weirMETA"
	// 2: recoveries, incarnation, floor of leader epochs; 3: configurations of groups; 4: several brokers; 5: object WALs; 6: how far
	// streams are compacted by key; 7: checkpoints that lie in objects; 8: parts and checkpoints in columns, compressed
	snapshotVersion = 8

	snapshotCleaned = 6
	snapshotStored  = 7
	snapshotPacked  = 8

	// The least bytes of what a snapshot lists.
	brokerBytesMin        = 21
	brokerConfigsBytesMin = 3
	groupConfigsBytesMin  = 3
	leaseBytesMin         = 3
	objectBytesMin        = 4
	partitionBytesMin     = 3
	streamBytesMin        = 6
	topicBytesMin         = 20
	recoveryBytesMin      = 2
	objectWALBytesMin     = 2
)

// SnapshotVersionBeforeCleaning is the newest version that releases knew before streams were compacted by key. It is written as long as no
// stream is.
const SnapshotVersionBeforeCleaning = snapshotCleaned - 1

// SnapshotVersionBeforePacking is the newest version that releases knew before PackedLevel, which begins what comes after it.
const SnapshotVersionBeforePacking = snapshotPacked - 1

// PackedLevel is the level of LevelFeature from which on snapshots are packed (packed.go): releases before it do not read them.
const PackedLevel = 4

// SnapshotVersion is the version of a snapshot's format; 0: it is too short to be one.
func SnapshotVersion(data []byte) uint8 {
	if len(data) <= len(snapshotMagic) {
		return 0
	}
	return data[len(snapshotMagic)]
}

// ErrSnapshot: the bytes are no snapshot of a version known here, or damaged.
var ErrSnapshot = errors.New("metadata snapshot is invalid")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendSnapshot appends the image's state, whose bytes depend on nothing but the
// records that were applied (I10). Like records, it is of the lowest version that has room for it.
func (im *Image) AppendSnapshot(dst []byte) []byte {
	contents := im.contents()
	c := coder{version: contents.version()}
	start := len(dst)
	c.b = append(append(dst, snapshotMagic...), c.version)
	contents.fields(&c)
	return binary.BigEndian.AppendUint32(c.b, crc32.Checksum(c.b[start:], castagnoli))
}

// LoadSnapshot returns the image that a snapshot taken at a log index holds, which
// keeps nothing of data. The error is an ErrSnapshot.
func LoadSnapshot(index uint64, data []byte) (*Image, error) {
	body := len(data) - crc32.Size
	switch head := len(snapshotMagic); {
	case body <= head || string(data[:head]) != snapshotMagic:
		return nil, fmt.Errorf("%w: no magic", ErrSnapshot)
	case crc32.Checksum(data[:body], castagnoli) != binary.BigEndian.Uint32(data[body:]):
		return nil, fmt.Errorf("%w: CRC32C differs", ErrSnapshot)
	case data[head] == 0 || data[head] > snapshotVersion:
		return nil, fmt.Errorf("%w: version %d is not known: a newer release wrote it", ErrSnapshot, data[head])
	}
	c := coder{b: data[len(snapshotMagic)+1 : body], decoding: true, version: data[len(snapshotMagic)]}
	var contents contents
	contents.fields(&c)
	if c.failed || len(c.b) > 0 {
		return nil, fmt.Errorf("%w: it ends short, or has %d bytes too many", ErrSnapshot, len(c.b))
	}
	im, err := contents.image(index, c.version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return im, nil
}

// Restore replaces the image's state by a snapshot's, in place: whoever holds the
// image sees the new state. An error changes nothing.
func (im *Image) Restore(index uint64, snapshot []byte) error {
	loaded, err := LoadSnapshot(index, snapshot)
	if err != nil {
		return err
	}
	*im = *loaded
	return nil
}

// contents is what a snapshot holds: the image as lists in a fixed order.
type contents struct {
	clusterID     string
	features      []Feature
	brokers       []*Broker
	brokerConfigs []brokerConfigs
	topics        []*Topic
	streams       []*Stream
	objects       []*Object
	leases        []Lease
	nextStream    StreamID
	nextObject    ObjectID
	nextProducer  int64
	recoveries    []Recovery

	incarnation      uint32
	leaderEpochFloor int32

	groupConfigs []groupConfigs
	objectWALs   []ObjectWAL
}

// version is the lowest that has room for the contents, unless all members of the cluster read packed ones.
func (k *contents) version() uint8 {
	if levelOf(k.features) >= PackedLevel {
		return snapshotPacked
	}
	version := uint8(SnapshotVersionBeforeCleaning)
	for _, s := range k.streams {
		if s.Stored.Named() {
			return snapshotStored
		}
		if s.Cleaned > 0 {
			version = snapshotCleaned
		}
	}
	return version
}

func levelOf(features []Feature) int16 {
	for i := range features {
		if features[i].Name == LevelFeature {
			return features[i].Level
		}
	}
	return 0
}

func (im *Image) contents() contents {
	c := contents{
		clusterID: im.clusterID, features: im.features, brokers: im.brokers, brokerConfigs: im.brokerConfigs, topics: im.topics,
		leases: im.leases, nextStream: im.nextStream, nextObject: im.nextObject, nextProducer: im.nextProducer,
		recoveries: im.recoveries, incarnation: im.incarnation, leaderEpochFloor: im.leaderEpochFloor, groupConfigs: im.groupConfigs,
		objectWALs: im.objectWALs,
	}
	for _, id := range im.streamIDs() {
		c.streams = append(c.streams, im.streams[id])
	}
	for _, id := range slices.Sorted(maps.Keys(im.objects)) {
		c.objects = append(c.objects, im.objects[id])
	}
	return c
}

func (s *contents) fields(c *coder) {
	c.text(&s.clusterID)
	list(c, &s.features, featureBytesMin, fieldsOf)
	list(c, &s.brokers, brokerBytesMin, pointed)
	list(c, &s.brokerConfigs, brokerConfigsBytesMin, fieldsOf)
	natural(c, &s.nextStream)
	natural(c, &s.nextObject)
	integer(c, &s.nextProducer)
	list(c, &s.topics, topicBytesMin, pointed)
	s.streamFields(c)
	list(c, &s.objects, objectBytesMin, pointed)
	list(c, &s.leases, leaseBytesMin, fieldsOf)
	if c.version < 2 {
		return
	}
	list(c, &s.recoveries, recoveryBytesMin, fieldsOf)
	natural(c, &s.incarnation)
	integer(c, &s.leaderEpochFloor)
	if c.version >= 3 {
		list(c, &s.groupConfigs, groupConfigsBytesMin, fieldsOf)
	}
	if c.version >= 5 {
		list(c, &s.objectWALs, objectWALBytesMin, fieldsOf)
	}
}

func (s *contents) streamFields(c *coder) {
	if c.version < snapshotPacked {
		list(c, &s.streams, streamBytesMin, pointed)
		return
	}
	s.packed(c)
	for _, stream := range s.streams {
		stream.row(c)
	}
}

func (w *ObjectWAL) fields(c *coder) {
	integer(c, &w.Epoch)
	natural(c, &w.Slot)
}

func (r *Recovery) fields(c *coder) {
	integer(c, &r.Ended)
	integer(c, &r.By)
	if c.version >= 4 {
		integer(c, &r.Broker)
		c.flag(&r.Shared)
	}
}

// pointed walks what a pointer points to, made new when decoding.
func pointed[T any, P interface {
	*T
	fields(*coder)
}](c *coder, v *P) {
	if c.decoding {
		*v = new(T)
	}
	(*v).fields(c)
}

func (b *Broker) fields(c *coder) {
	integer(c, &b.ID)
	integer(c, &b.Epoch)
	c.id(&b.Incarnation)
	c.text(&b.Rack)
	list(c, &b.Listeners, endpointBytesMin, fieldsOf)
	c.flag(&b.Fenced)
	if c.version >= 4 {
		c.text(&b.Peer)
		c.flag(&b.SharedWAL)
	}
}

func (g *groupConfigs) fields(c *coder) {
	c.text(&g.group)
	natural(c, &g.index)
	list(c, &g.configs, configBytesMin, fieldsOf)
}

func (b *brokerConfigs) fields(c *coder) {
	integer(c, &b.id)
	natural(c, &b.index)
	list(c, &b.configs, configBytesMin, fieldsOf)
}

func (t *Topic) fields(c *coder) {
	c.id((*[16]byte)(&t.ID))
	c.text(&t.Name)
	natural(c, &t.ConfigsIndex)
	if c.version >= 4 {
		integer(c, &t.ReplicationFactor)
	}
	list(c, &t.Configs, configBytesMin, fieldsOf)
	list(c, &t.Partitions, partitionBytesMin, fieldsOf)
	if c.decoding {
		for i := range t.Partitions {
			t.Partitions[i].Index = int32(i)
		}
	}
}

func (p *Partition) fields(c *coder) {
	natural(c, &p.Stream)
	integer(c, &p.Leader)
	integer(c, &p.LeaderEpoch)
}

// fields leave topic and partition to the topics, which name the stream.
func (s *Stream) fields(c *coder) {
	natural(c, &s.ID)
	integer(c, &s.LogStart)
	integer(c, &s.CheckpointEnd)
	c.bytes(&s.Checkpoint)
	list(c, &s.Ranges, rangeBytesMin, fieldsOf)
	list(c, &s.Parts, partBytesMin, partWithObject)
	if c.version >= snapshotCleaned {
		integer(c, &s.Cleaned)
	}
	if c.version >= snapshotStored {
		s.Stored.fields(c)
	}
}

func (s *StoredCheckpoint) fields(c *coder) {
	s.block(c)
	if s.Named() {
		natural(c, &s.Object)
		integer(c, &s.End)
	}
}

// fields leave state and references to the parts that refer to the object.
func (o *Object) fields(c *coder) {
	natural(c, &o.ID)
	integer(c, &o.BrokerEpoch)
	integer(c, &o.Bytes)
	natural(c, &o.DestroyedAt)
}

func (l *Lease) fields(c *coder) {
	natural(c, &l.First)
	natural(c, &l.End)
	integer(c, &l.Epoch)
}
