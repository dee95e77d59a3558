package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"weir/core/telemetry"
)

// Refusals of records, to branch on with errors.Is. The errors that Apply returns
// name the entity besides.
var (
	ErrFounded       = errors.New("the cluster is founded already")
	ErrEpochEnded    = errors.New("the broker epoch is not, or no longer, current")
	ErrTopicExists   = errors.New("the topic exists already")
	ErrTopicCollides = errors.New("the topic's name collides with an existing one")
	ErrUnknownTopic  = errors.New("there is no such topic")
	ErrUnknownStream = errors.New("there is no such stream")
	ErrStale         = errors.New("what the record changes has changed meanwhile") // compute it anew
	ErrRange         = errors.New("the range is not the stream's newest, not open, or not the broker's")
	ErrNotPrepared   = errors.New("the object id is not prepared for that epoch")
	ErrReferred      = errors.New("the object is still referred to")
	ErrMalformed     = errors.New("the record makes no sense")
	ErrUnknownBroker = errors.New("the broker is not registered")
	ErrBrokerInUse   = errors.New("the broker is alive, or its write-ahead log is still needed")
	ErrTerm          = errors.New("the record is of a controller that was deposed")
)

// Image is the state that the quorum's log yields when applied in order. It is
// changed only by Apply and Restore, on the loop. What its methods return is lent
// until the next of those: readers hold nothing of it across events. Lookups cost
// a map access and allocate nothing.
type Image struct {
	index   uint64
	term    uint64 // of the record applied last
	outcome Outcome
	changes Changes

	clusterID     string
	features      []Feature // by name
	brokers       []*Broker // by id
	brokerConfigs []brokerConfigs
	groupConfigs  []groupConfigs // by name
	topics        []*Topic       // by name
	streams       map[StreamID]*Stream
	objects       map[ObjectID]*Object
	leases        []Lease // ascending
	nextStream    StreamID
	nextObject    ObjectID
	nextProducer  int64
	recoveries    []Recovery  // ascending by the ended epoch
	objectWALs    []ObjectWAL // ascending by epoch

	incarnation      uint32
	leaderEpochFloor int32 // a takeover gives no lower leader epoch

	// What follows is derived from what is above.
	byName    map[string]*Topic
	byID      map[TopicID]*Topic
	collision map[string]*Topic      // names with '.' or '_', by what they collide in
	owed      map[BrokerEpoch]int    // ranges that are not wholly committed
	leads     map[BrokerEpoch]int    // ranges that are open
	destroyed *btree.BTreeG[*Object] // by when, then id
}

// brokerConfigs is what is set for a broker, or all, and by which record.
type brokerConfigs struct {
	id      BrokerID
	index   uint64
	configs []Config
}

// groupConfigs is what is set for a group, and by which record.
type groupConfigs struct {
	group   string
	index   uint64
	configs []Config
}

// Outcome is what a record was granted. It is a value of its own: it holds nothing of
// the image, and may be handed on when other records have been applied since.
type Outcome struct {
	// First is the first producer id of AllocateProducerIDs, the first object id of
	// LeaseObjects, or the epoch of RegisterBroker.
	First int64
	// Accepted says for each part of a CommitObject whether it is done with: it
	// became part of its range, or nothing asks for it any more (its stream is
	// deleted, or it lies below the log start). For each stream of a ReplaceParts it says
	// whether its parts were replaced.
	Accepted []bool
}

// NewImage returns the empty image.
func NewImage() *Image {
	im := &Image{
		streams: map[StreamID]*Stream{}, objects: map[ObjectID]*Object{},
		nextStream: 1, nextObject: 1, changes: Changes{All: true},
	}
	im.derive()
	return im
}

// derive makes the empty derived state.
func (im *Image) derive() {
	im.byName, im.byID, im.collision = map[string]*Topic{}, map[TopicID]*Topic{}, map[string]*Topic{}
	im.owed, im.leads = map[BrokerEpoch]int{}, map[BrokerEpoch]int{}
	im.destroyed = btree.NewBTreeGOptions(destroyedBefore, btree.Options{NoLocks: true})
}

func destroyedBefore(a, b *Object) bool {
	return a.DestroyedAt < b.DestroyedAt || a.DestroyedAt == b.DestroyedAt && a.ID < b.ID
}

// Apply applies a record at a log index, which is above all before it. It is
// total: a record that rules refuse changes nothing but the applied index, and
// yields an error for its proposer (R1-R3). Bytes that the record holds are
// copied where they are kept.
func (im *Image) Apply(index uint64, r Record) error {
	telemetry.Assert(10, index > im.index, "record applied at index %d after %d", index, im.index)
	im.index, im.outcome = index, Outcome{}
	return r.apply(im)
}

// BeginTerm says in which term of the quorum the next records were proposed: those of a controller count in their own only
// (R10).
func (im *Image) BeginTerm(term uint64) { im.term = term }

// ofTerm refuses a record of another term. Term 0 is of no controller.
func (im *Image) ofTerm(term uint64) error {
	if term != 0 && term != im.term {
		return fmt.Errorf("%w: of term %d, in term %d", ErrTerm, term, im.term)
	}
	return nil
}

// Outcome is what the record applied last was granted.
func (im *Image) Outcome() Outcome { return im.outcome }

// AppliedIndex is the index of the record applied last, refused ones included.
func (im *Image) AppliedIndex() uint64 { return im.index }

// ClusterID is empty until the cluster is founded.
func (im *Image) ClusterID() string { return im.clusterID }

// Features lists the features in use, sorted by name. It is lent until the next record.
func (im *Image) Features() []Feature { return im.features }

// Feature returns the level of a feature; 0: not in use.
func (im *Image) Feature(name string) int16 {
	for i := range im.features {
		if im.features[i].Name == name {
			return im.features[i].Level
		}
	}
	return 0
}

// Brokers returns all registered brokers by id.
func (im *Image) Brokers() []*Broker { return im.brokers }

// Broker finds a broker.
func (im *Image) Broker(id BrokerID) (*Broker, bool) {
	if i, ok := im.searchBroker(id); ok {
		return im.brokers[i], true
	}
	return nil, false
}

func (im *Image) searchBroker(id BrokerID) (int, bool) {
	return slices.BinarySearchFunc(im.brokers, id, func(b *Broker, id BrokerID) int { return cmp.Compare(b.ID, id) })
}

// Current says that an epoch is some broker's, and has not ended.
func (im *Image) Current(epoch BrokerEpoch) bool {
	for _, b := range im.brokers {
		if b.Epoch == epoch {
			return !b.Fenced
		}
	}
	return false
}

// epochOf is a broker's current epoch; 0 if it is not registered, or fenced.
func (im *Image) epochOf(id BrokerID) BrokerEpoch {
	if b, ok := im.Broker(id); ok && !b.Fenced {
		return b.Epoch
	}
	return 0
}

// Recoveries are the WALs that are to be recovered, ascending by their epoch.
func (im *Image) Recoveries() []Recovery { return im.recoveries }

// BrokerConfigs returns what is set for a broker, or for AllBrokers, by key.
func (im *Image) BrokerConfigs(id BrokerID) []Config {
	configs, _ := im.BrokerConfigsAt(id)
	return configs
}

// BrokerConfigsAt is BrokerConfigs with the index of the record that set them.
func (im *Image) BrokerConfigsAt(id BrokerID) ([]Config, uint64) {
	if i, ok := im.searchBrokerConfigs(id); ok {
		return im.brokerConfigs[i].configs, im.brokerConfigs[i].index
	}
	return nil, 0
}

func (im *Image) searchBrokerConfigs(id BrokerID) (int, bool) {
	return slices.BinarySearchFunc(im.brokerConfigs, id, func(b brokerConfigs, id BrokerID) int { return cmp.Compare(b.id, id) })
}

// GroupConfigs returns what is set for a group, by key, with the index of the record that set it; 0: nothing is.
func (im *Image) GroupConfigs(group string) ([]Config, uint64) {
	if i, ok := im.searchGroupConfigs(group); ok {
		return im.groupConfigs[i].configs, im.groupConfigs[i].index
	}
	return nil, 0
}

// ConfiguredGroups calls visit for each group for which something is set, by name.
func (im *Image) ConfiguredGroups(visit func(group string)) {
	for i := range im.groupConfigs {
		visit(im.groupConfigs[i].group)
	}
}

func (im *Image) searchGroupConfigs(group string) (int, bool) {
	return slices.BinarySearchFunc(im.groupConfigs, group, func(g groupConfigs, group string) int { return strings.Compare(g.group, group) })
}

// Topics returns all topics by name.
func (im *Image) Topics() []*Topic { return im.topics }

// Topic finds a topic by name.
func (im *Image) Topic(name string) (*Topic, bool) {
	if len(name) > TopicNameBytesMax {
		return nil, false
	}
	t, ok := im.byName[name]
	return t, ok
}

// TopicByID finds a topic by id.
func (im *Image) TopicByID(id TopicID) (*Topic, bool) {
	t, ok := im.byID[id]
	return t, ok
}

// Colliding finds the topic with which a new name would collide: one that is equal
// to it but for '.' and '_'.
func (im *Image) Colliding(name string) (*Topic, bool) {
	if !strings.ContainsAny(name, "._") {
		return nil, false
	}
	t, ok := im.collision[unified(name)]
	return t, ok && t.Name != name
}

func unified(name string) string { return strings.ReplaceAll(name, ".", "_") }

func (im *Image) searchTopic(name string) (int, bool) {
	return slices.BinarySearchFunc(im.topics, name, func(t *Topic, name string) int { return strings.Compare(t.Name, name) })
}

// Stream finds a stream.
func (im *Image) Stream(id StreamID) (*Stream, bool) {
	s, ok := im.streams[id]
	return s, ok
}

// Object finds an object that was committed and is not deleted.
func (im *Image) Object(id ObjectID) (*Object, bool) {
	o, ok := im.objects[id]
	return o, ok
}

// Objects visits every object that was committed and is not deleted yet, by id.
// It is for audits: it sorts them.
func (im *Image) Objects(visit func(*Object)) {
	for _, id := range slices.Sorted(maps.Keys(im.objects)) {
		visit(im.objects[id])
	}
}

// NextStream is the id that the next stream gets.
func (im *Image) NextStream() StreamID { return im.nextStream }

// Replicas appends the brokers that a partition is shown on: its leader, then others, of other racks as far as there are any,
// up to the topic's replication factor. The object store keeps the copies: whoever is alive can lead. isr counts those in front that are
// alive; a leader that is not comes last.
func (im *Image) Replicas(dst []int32, t *Topic, p *Partition) (replicas []int32, isr int) {
	first := len(dst)
	dst = append(dst, int32(p.Leader))
	leader, known := im.searchBroker(p.Leader)
	factor := max(int(t.ReplicationFactor), 1)
	for _, sameRack := range []bool{false, true} {
		for i := 1; i <= len(im.brokers) && len(dst)-first < factor; i++ {
			b := im.brokers[(leader+i)%len(im.brokers)]
			if b.Fenced || b.ID == p.Leader || known && (b.Rack == im.brokers[leader].Rack) != sameRack {
				continue
			}
			if !slices.Contains(dst[first:], int32(b.ID)) {
				dst = append(dst, int32(b.ID))
			}
		}
	}
	isr = len(dst) - first
	if !known || im.brokers[leader].Fenced {
		dst = append(append(dst[:first:first], dst[first+1:]...), dst[first])
		isr--
	}
	return dst, isr
}

// NextObject is the floor below which every object id has been leased.
func (im *Image) NextObject() ObjectID { return im.nextObject }

// Leases returns the prepared ids, ascending.
func (im *Image) Leases() []Lease { return im.leases }

// Dead says that an id will never name an object again: it was leased, and is
// neither prepared nor in the image. What lies in the store under it is garbage.
func (im *Image) Dead(id ObjectID) bool {
	if id == 0 || id >= im.nextObject {
		return false
	}
	_, kept := im.objects[id]
	_, prepared := im.searchLease(id)
	return !kept && !prepared
}

// searchLease finds the lease that holds an id, or where it would be.
func (im *Image) searchLease(id ObjectID) (int, bool) {
	i, _ := slices.BinarySearchFunc(im.leases, id, func(l Lease, id ObjectID) int {
		if l.End <= id {
			return -1
		}
		return 1
	})
	return i, i < len(im.leases) && im.leases[i].First <= id
}

// Destroyed calls visit for each destroyed object in the order of destruction,
// until it returns false. visit must not change the image.
func (im *Image) Destroyed(visit func(*Object) bool) { im.destroyed.Scan(visit) }

// EpochOwes says that some range of a broker epoch is open, or not wholly
// committed: its WAL must be kept (R3).
func (im *Image) EpochOwes(epoch BrokerEpoch) bool { return im.owed[epoch] > 0 }

// BrokerOwes says that some epoch of a broker owes something: it leads partitions, or its WALs hold what is not committed.
func (im *Image) BrokerOwes(id BrokerID) bool {
	if b, ok := im.Broker(id); ok && im.owed[b.Epoch] > 0 {
		return true
	}
	return slices.ContainsFunc(im.recoveries, func(r Recovery) bool { return r.Broker == id && im.owed[r.Ended] > 0 })
}

// EpochsOwing returns the epochs that EpochOwes names, ascending.
func (im *Image) EpochsOwing() (epochs []BrokerEpoch) {
	for _, epoch := range slices.Sorted(maps.Keys(im.owed)) {
		if im.owed[epoch] > 0 {
			epochs = append(epochs, epoch)
		}
	}
	return epochs
}

// EpochsOwingOf returns the epochs of a broker that EpochOwes names and whose WALs no other broker recovers, ascending.
func (im *Image) EpochsOwingOf(id BrokerID) []BrokerEpoch {
	return slices.DeleteFunc(im.EpochsOwing(), func(epoch BrokerEpoch) bool {
		for _, r := range im.recoveries {
			if r.Ended == epoch {
				return r.Broker != id || im.Current(r.By) && im.brokerOf(r.By) != id
			}
		}
		return im.brokerOf(epoch) != id
	})
}

// OpenRanges returns the ranges of a broker epoch that are still open, ascending by
// stream, End being -1. It looks at every stream.
func (im *Image) OpenRanges(epoch BrokerEpoch) []RangeEnd {
	if im.owed[epoch] == 0 {
		return nil
	}
	return im.open(func(r *Range) bool { return r.BrokerEpoch == epoch })
}

// OpenRangesToRecover returns the ranges that ended epochs of the same broker left open whose WALs the given epoch recovers, in
// the same way.
func (im *Image) OpenRangesToRecover(by BrokerEpoch) []RangeEnd {
	return im.open(func(r *Range) bool { return im.Recoverer(r.BrokerEpoch) == by && im.brokerOf(by) == r.Broker })
}

func (im *Image) open(wanted func(*Range) bool) (open []RangeEnd) {
	for _, id := range im.streamIDs() {
		if r := im.streams[id].Newest(); r.Open() && wanted(r) {
			open = append(open, RangeEnd{id, r.LeaderEpoch, r.End})
		}
	}
	return open
}

func (im *Image) streamIDs() []StreamID { return slices.Sorted(maps.Keys(im.streams)) }
