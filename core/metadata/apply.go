package metadata

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// TopicNameBytesMax is the length of the longest name of a topic. No topic is looked up by a longer one: a client's string
// may have 32 KiB, and a map reads all of it.
const TopicNameBytesMax = 249

// What bounds a record's demands, whoever proposed it.
const (
	partitionsMax       = 1_000_000 // of one topic
	producerIDsCountMax = 1 << 20   // of one record
	leaseCountMax       = 1 << 20   // of one record
)

func (r *FoundCluster) apply(im *Image) error {
	if im.clusterID != "" {
		return fmt.Errorf("%w: its id is %s", ErrFounded, im.clusterID)
	}
	if r.ClusterID == "" || !sortedFeatures(r.Features) {
		return fmt.Errorf("%w: cluster id %q, %d features", ErrMalformed, r.ClusterID, len(r.Features))
	}
	im.clusterID, im.features = r.ClusterID, slices.Clone(r.Features)
	return nil
}

func sortedFeatures(f []Feature) bool {
	return ascending(f, func(a, b *Feature) bool { return a.Name < b.Name })
}

func (r *SetFeatures) apply(im *Image) error {
	if len(r.Features) == 0 || !sortedFeatures(r.Features) {
		return fmt.Errorf("%w: %d features", ErrMalformed, len(r.Features))
	}
	for _, f := range r.Features {
		if f.Name == "" || f.Level < 0 {
			return fmt.Errorf("%w: feature %q at level %d", ErrMalformed, f.Name, f.Level)
		}
	}
	for _, f := range r.Features {
		im.setFeature(f)
	}
	return nil
}

func (im *Image) setFeature(f Feature) {
	i, known := slices.BinarySearchFunc(im.features, f.Name, func(f Feature, name string) int { return strings.Compare(f.Name, name) })
	switch {
	case known && f.Level == 0:
		im.features = slices.Delete(im.features, i, i+1)
	case known:
		im.features[i].Level = f.Level
	case f.Level > 0:
		im.features = slices.Insert(im.features, i, f)
	}
}

func (r *RegisterBroker) apply(im *Image) error {
	if r.ID < 0 {
		return fmt.Errorf("%w: broker id %d", ErrMalformed, r.ID)
	}
	if err := im.ofTerm(r.Term); err != nil {
		return err
	}
	i, known := im.searchBroker(r.ID)
	b := &Broker{
		ID: r.ID, Epoch: BrokerEpoch(im.index), Incarnation: r.Incarnation, Rack: r.Rack, Listeners: slices.Clone(r.Listeners),
		Peer: r.Peer, SharedWAL: r.SharedWAL,
	}
	switch {
	case !known:
		im.brokers = slices.Insert(im.brokers, i, b)
	case im.brokers[i].Incarnation != r.Incarnation:
		old := im.brokers[i]
		im.brokers[i] = b
		if !old.Fenced {
			im.endEpoch(old, b.Epoch)
		}
		im.adopt(b)
	case im.brokers[i].Fenced:
		return fmt.Errorf("%w: epoch %d of broker %d is fenced, and this incarnation had it", ErrEpochEnded, im.brokers[i].Epoch, r.ID)
	default:
		b.Epoch = im.brokers[i].Epoch
		im.brokers[i] = b
	}
	im.outcome.First = int64(b.Epoch)
	if r.ObjectWAL && b.Epoch == BrokerEpoch(im.index) {
		im.objectWALs = append(im.objectWALs, ObjectWAL{Epoch: b.Epoch})
	}
	return nil
}

// Stands reports whether a broker is registered as the record says, so that it would change nothing.
func (r *RegisterBroker) Stands(b *Broker) bool {
	return b.ID == r.ID && b.Incarnation == r.Incarnation && !b.Fenced &&
		b.Rack == r.Rack && b.Peer == r.Peer && b.SharedWAL == r.SharedWAL && slices.Equal(b.Listeners, r.Listeners)
}

// endEpoch notes that the WAL of an ended epoch is to be recovered, by another epoch, which takes over what that was to
// recover, too; 0: by whom is decided later.
func (im *Image) endEpoch(b *Broker, by BrokerEpoch) {
	for i := range im.recoveries {
		if im.recoveries[i].By == b.Epoch {
			im.recoveries[i].By = by
		}
	}
	at, _ := slices.BinarySearchFunc(im.recoveries, b.Epoch, func(r Recovery, ended BrokerEpoch) int { return cmp.Compare(r.Ended, ended) })
	_, object := im.ObjectWAL(b.Epoch)
	im.recoveries = slices.Insert(im.recoveries, at, Recovery{Ended: b.Epoch, By: by, Broker: b.ID, Shared: b.SharedWAL || object})
	im.recoveries = slices.DeleteFunc(im.recoveries, func(r Recovery) bool { return im.owed[r.Ended] == 0 })
	im.objectWALs = slices.DeleteFunc(im.objectWALs, func(w ObjectWAL) bool { return im.owed[w.Epoch] == 0 && (w.Epoch == b.Epoch || !im.Current(w.Epoch)) })
}

// adopt gives a new epoch what nobody recovers of its broker's own WALs.
func (im *Image) adopt(b *Broker) {
	for i := range im.recoveries {
		if r := &im.recoveries[i]; r.Broker == b.ID && !im.Current(r.By) {
			r.By = b.Epoch
		}
	}
}

func (r *FenceBroker) apply(im *Image) error {
	if err := im.ofTerm(r.Term); err != nil {
		return err
	}
	if err := im.currentEpoch(r.ID, r.Epoch); err != nil {
		return err
	}
	i, _ := im.searchBroker(r.ID)
	im.brokers[i].Fenced = true
	im.endEpoch(im.brokers[i], 0)
	return nil
}

func (r *UnregisterBroker) apply(im *Image) error {
	i, known := im.searchBroker(r.ID)
	switch {
	case !known:
		return fmt.Errorf("%w: %d", ErrUnknownBroker, r.ID)
	case !im.brokers[i].Fenced || im.BrokerOwes(r.ID):
		return fmt.Errorf("%w: broker %d", ErrBrokerInUse, r.ID)
	}
	im.brokers = slices.Delete(im.brokers, i, i+1)
	return nil
}

func (r *AssignRecovery) apply(im *Image) error {
	if err := im.ofTerm(r.Term); err != nil {
		return err
	}
	if !im.Current(r.By) {
		return fmt.Errorf("%w: epoch %d is to recover the WAL of %d", ErrEpochEnded, r.By, r.Ended)
	}
	for i := range im.recoveries {
		if a := &im.recoveries[i]; a.Ended == r.Ended {
			if im.Current(a.By) || !a.Shared {
				return fmt.Errorf("%w: the WAL of epoch %d, which epoch %d recovers", ErrStale, r.Ended, a.By)
			}
			a.By = r.By
			return nil
		}
	}
	return fmt.Errorf("%w: nothing is owed by epoch %d", ErrStale, r.Ended)
}

// currentEpoch refuses an epoch that is not its broker's.
func (im *Image) currentEpoch(id BrokerID, epoch BrokerEpoch) error {
	if now := im.epochOf(id); now != epoch || epoch == 0 {
		return fmt.Errorf("%w: epoch %d of broker %d, which is at %d", ErrEpochEnded, epoch, id, now)
	}
	return nil
}

func (im *Image) validateLeaders(leaders []Leader, already int) error {
	if len(leaders) == 0 || already+len(leaders) > partitionsMax {
		return fmt.Errorf("%w: %d partitions besides %d", ErrMalformed, len(leaders), already)
	}
	for i, l := range leaders {
		if i > 0 && l == leaders[i-1] {
			continue
		}
		if err := im.currentEpoch(l.Broker, l.Epoch); err != nil {
			return err
		}
	}
	return nil
}

func (r *CreateTopic) apply(im *Image) error {
	switch _, taken := im.byID[r.ID]; {
	case r.Name == "" || len(r.Name) > TopicNameBytesMax || r.ID == TopicID{} || !sortedConfigs(r.Configs):
		return fmt.Errorf("%w: new topic %q of id %x", ErrMalformed, r.Name, r.ID)
	case taken:
		return fmt.Errorf("%w: by the id %x", ErrTopicExists, r.ID)
	}
	if _, taken := im.byName[r.Name]; taken {
		return fmt.Errorf("%w: %s", ErrTopicExists, r.Name)
	}
	if other, ok := im.Colliding(r.Name); ok {
		return fmt.Errorf("%w: %s with %s", ErrTopicCollides, r.Name, other.Name)
	}
	if err := im.validateLeaders(r.Leaders, 0); err != nil {
		return err
	}
	t := &Topic{ID: r.ID, Name: r.Name, Configs: slices.Clone(r.Configs), ConfigsIndex: im.index, ReplicationFactor: r.ReplicationFactor}
	im.addPartitions(t, r.Leaders)
	i, _ := im.searchTopic(t.Name)
	im.topics = slices.Insert(im.topics, i, t)
	im.indexTopic(t)
	return nil
}

func (im *Image) indexTopic(t *Topic) {
	im.byName[t.Name], im.byID[t.ID] = t, t
	if strings.ContainsAny(t.Name, "._") {
		im.collision[unified(t.Name)] = t
	}
}

// addPartitions gives a topic partitions and their streams.
func (im *Image) addPartitions(t *Topic, leaders []Leader) {
	im.topicChanged(t.ID)
	for _, l := range leaders {
		p := Partition{Index: int32(len(t.Partitions)), Stream: im.nextStream, Leader: l.Broker}
		im.nextStream++
		s := &Stream{ID: p.Stream, Topic: t.ID, Partition: p.Index}
		s.Ranges = []Range{{Broker: l.Broker, BrokerEpoch: l.Epoch, End: -1}}
		t.Partitions = append(t.Partitions, p)
		im.streams[s.ID] = s
		im.changed(s.ID)
		im.owe(&s.Ranges[0], 1)
	}
}

func (im *Image) topic(id TopicID) (*Topic, error) {
	t, ok := im.byID[id]
	if !ok {
		return nil, fmt.Errorf("%w: id %x", ErrUnknownTopic, id)
	}
	return t, nil
}

func (r *DeleteTopic) apply(im *Image) error {
	t, err := im.topic(r.ID)
	if err != nil {
		return err
	}
	for i := range t.Partitions {
		im.dropStream(t.Partitions[i].Stream)
	}
	i, _ := im.searchTopic(t.Name)
	im.topics = slices.Delete(im.topics, i, i+1)
	im.topicChanged(t.ID)
	delete(im.byName, t.Name)
	delete(im.byID, t.ID)
	if strings.ContainsAny(t.Name, "._") {
		delete(im.collision, unified(t.Name))
	}
	return nil
}

func (im *Image) dropStream(id StreamID) {
	s := im.streams[id]
	for i := range s.Ranges {
		im.owe(&s.Ranges[i], -1)
	}
	for i := range s.Parts {
		im.unrefer(s.Parts[i].Object)
	}
	im.unrefer(s.Stored.Object)
	delete(im.streams, id)
	im.changed(id)
}

func (r *AddPartitions) apply(im *Image) error {
	t, err := im.topic(r.ID)
	if err != nil {
		return err
	}
	if int(r.From) != len(t.Partitions) {
		return fmt.Errorf("%w: topic %s has %d partitions, not %d", ErrStale, t.Name, len(t.Partitions), r.From)
	}
	if err := im.validateLeaders(r.Leaders, len(t.Partitions)); err != nil {
		return err
	}
	im.addPartitions(t, r.Leaders)
	return nil
}

// sortedConfigs says that configs ascend by key, each once.
func sortedConfigs(configs []Config) bool {
	return ascending(configs, func(a, b *Config) bool { return a.Key < b.Key })
}

// ascending says that before holds for each element and the next.
func ascending[T any](list []T, before func(a, b *T) bool) bool {
	for i := range list {
		if i > 0 && !before(&list[i-1], &list[i]) {
			return false
		}
	}
	return true
}

func (r *SetTopicConfigs) apply(im *Image) error {
	t, err := im.topic(r.ID)
	if err != nil {
		return err
	}
	if err := validateConfigs(r.Configs, r.Base, t.ConfigsIndex); err != nil {
		return fmt.Errorf("configuration of topic %s: %w", t.Name, err)
	}
	t.Configs, t.ConfigsIndex = slices.Clone(r.Configs), im.index
	im.topicChanged(t.ID)
	return nil
}

func validateConfigs(configs []Config, base, now uint64) error {
	if base != now {
		return fmt.Errorf("%w: it is of index %d, not %d", ErrStale, now, base)
	}
	if !sortedConfigs(configs) {
		return fmt.Errorf("%w: keys are not in order", ErrMalformed)
	}
	return nil
}

func (r *SetBrokerConfigs) apply(im *Image) error {
	i, known := im.searchBrokerConfigs(r.ID)
	now := uint64(0)
	if known {
		now = im.brokerConfigs[i].index
	}
	if err := validateConfigs(r.Configs, r.Base, now); err != nil {
		return fmt.Errorf("configuration of broker %d: %w", r.ID, err)
	}
	if r.ID < AllBrokers {
		return fmt.Errorf("%w: configuration of broker %d", ErrMalformed, r.ID)
	}
	set := brokerConfigs{r.ID, im.index, slices.Clone(r.Configs)}
	if known {
		im.brokerConfigs[i] = set
	} else {
		im.brokerConfigs = slices.Insert(im.brokerConfigs, i, set)
	}
	return nil
}

// groupConfigsMax bounds for how many groups something is set: nothing else does.
const groupConfigsMax = 100_000

func (r *SetGroupConfigs) apply(im *Image) error {
	i, known := im.searchGroupConfigs(r.Group)
	now := uint64(0)
	if known {
		now = im.groupConfigs[i].index
	}
	if err := validateConfigs(r.Configs, r.Base, now); err != nil {
		return fmt.Errorf("configuration of group %s: %w", r.Group, err)
	}
	set := groupConfigs{r.Group, im.index, slices.Clone(r.Configs)}
	switch {
	case r.Group == "":
		return fmt.Errorf("%w: configuration of a group without a name", ErrMalformed)
	case known && len(r.Configs) == 0:
		im.groupConfigs = slices.Delete(im.groupConfigs, i, i+1)
	case known:
		im.groupConfigs[i] = set
	case len(r.Configs) == 0:
	case len(im.groupConfigs) >= groupConfigsMax:
		return fmt.Errorf("%w: %d groups are configured already", ErrMalformed, groupConfigsMax)
	default:
		im.groupConfigs = slices.Insert(im.groupConfigs, i, set)
	}
	return nil
}

func (r *AllocateProducerIDs) apply(im *Image) error {
	if err := im.currentEpoch(r.Broker, r.Epoch); err != nil {
		return err
	}
	if r.Count <= 0 || r.Count > producerIDsCountMax || im.nextProducer > math.MaxInt64-r.Count {
		return fmt.Errorf("%w: %d producer ids from %d", ErrMalformed, r.Count, im.nextProducer)
	}
	im.outcome.First = im.nextProducer
	im.nextProducer += r.Count
	return nil
}
