package partition

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// Engine opens and closes streams: [OverStreams], or a test's fake.
type Engine interface {
	Open(id metadata.StreamID, leaderEpoch int32, owner stream.Owner) Log
	Close(id metadata.StreamID)
	OnSpace(f func())
	// AppendBytesMax is the largest batch that a stream takes.
	AppendBytesMax() int
}

// OverStreams returns the Engine of the real storage engine.
func OverStreams(e *stream.Engine) Engine { return streams{e} }

type streams struct{ *stream.Engine }

func (s streams) Open(id metadata.StreamID, leaderEpoch int32, owner stream.Owner) Log {
	return s.Engine.Open(id, leaderEpoch, owner)
}

// Image is what a Manager needs of the cluster's metadata: a *metadata.Image.
// Nothing of what it returns is kept.
type Image interface {
	Topics() []*metadata.Topic
	TopicByID(id metadata.TopicID) (*metadata.Topic, bool)
	Stream(id metadata.StreamID) (*metadata.Stream, bool)
}

// Options are what a Manager needs. All are required unless a zero is named.
type Options struct {
	// Loop runs the manager.
	Loop *task.Loop
	// Env gives the clock.
	Env env.Env
	// Image says which topics there are and who leads their partitions. It is read only.
	Image Image
	// Broker is this broker. It leads the partitions that the image gives to it.
	Broker metadata.BrokerID
	// Epoch is this incarnation's. Only ranges of this epoch are opened.
	Epoch metadata.BrokerEpoch
	// Engine opens streams.
	Engine Engine
	// Telemetry takes marks and metrics. Nil: none.
	Telemetry *telemetry.Registry
	// Trim raises a stream's log start in the cluster's metadata, and calls done once.
	Trim func(id metadata.StreamID, logStart int64, done func(error))
	// MayOpen reports whether the newest range of a stream may be used: not while the
	// record that opened it may still be lost with the metadata disk. Call ImageChanged
	// when that changes. Nil: always.
	MayOpen func(id metadata.StreamID) bool
	// Checkpoint returns the state of a stream's producers as of the image's CheckpointEnd. False: it is not at hand; call TopicsChanged
	// once it is. Nil: the image has all.
	Checkpoint func(s *metadata.Stream) (state []byte, ok bool)
	// Leased reports whether this broker may acknowledge and serve now (R9). Nil: always.
	Leased func() bool
	// TopicConfig resolves a topic's overrides to its effective configuration.
	TopicConfig func(overrides []metadata.Config) config.Topic
	// ProducerIDExpiration is how long an idle producer is remembered. Zero: for ever.
	// A retry that comes later is appended a second time.
	ProducerIDExpiration time.Duration
	// HousekeepingInterval is the time between two checks of retention and of idle
	// producers. Zero: never; nothing is then deleted by retention.
	HousekeepingInterval time.Duration
	// CleanInterval is the time between two searches for a partition to compact by key, if none was found; at least a
	// second. Zero: never; nothing is compacted.
	CleanInterval time.Duration
	// TransactionLate is how long a transaction may be open without a batch before operators are told that it hangs: more
	// than the longest that its coordinator lets it be. Zero: 20 minutes, five more than the default of
	// transaction.max.timeout.ms. Shorter tells of transactions that are only slow.
	TransactionLate time.Duration
	// ProducersMax bounds the idempotent producers that all partitions know together; a new one above it is refused. Zero:
	// DefaultProducersMax. What a partition that is opened knows already counts, and is not refused.
	ProducersMax int
	// StoresCheckpoints reports whether checkpoints may lie in objects: else a partition has few producers, for they must fit a
	// record of the metadata. Nil: they may.
	StoresCheckpoints func() bool
	// DenseCheckpoints reports whether all members of the cluster read checkpoints of version 4. Nil: they do not.
	DenseCheckpoints func() bool
}

// queueCheckInterval is how often appends that wait for room are checked for
// their deadline.
const queueCheckInterval = 500 * time.Millisecond

// Manager holds the partitions that this broker leads. It is called on the loop only.
type Manager struct {
	options    Options
	loop       *task.Loop
	env        env.Env
	partitions []*Partition // ascending by stream
	byName     map[string]*topic
	byID       map[metadata.TopicID]*topic
	topics     []*topic
	recovered  *Replayed // of the partitions that are not open yet
	producers  producerRoom
	early      earlyGaps
	blocked    task.Queue[*Partition] // in the order in which they ran out of room
	queueTimer task.Timer

	houseTimer task.Timer
	cleaning   cleaning
	recoder    recoder
	generation uint64
	stopped    bool
	computing  int    // computations under way
	drained    func() // runs when there are none

	duplicate, waiting, retention, heldBack, producersFull, agrees, unverified, forgotten, unleased, recodes, recodedLate, awaited *telemetry.Mark

	producersRefused env.Counter
	transactionsLate env.Gauge
	producersKnown   env.Gauge
	retained         telemetry.LastSuccess
	trimFailed       bool // since the last round of housekeeping
	operators        *telemetry.Limiter
}

// topic is a topic of the image as the data plane sees it.
type topic struct {
	manager    *Manager
	id         metadata.TopicID
	name       string
	overrides  []metadata.Config
	config     config.Topic
	partitions []*Partition // by index; nil: not led here, or not open yet
	generation uint64
}

// NewManager returns a manager that has opened nothing yet: hand over what was
// recovered ([Manager.Replay]), then call [Manager.ImageChanged].
func NewManager(o Options) *Manager {
	m := newManager(o)
	o.Engine.OnSpace(m.space)
	m.armHousekeeping()
	m.armCleaning()
	return m
}

func newManager(o Options) *Manager {
	if o.TransactionLate == 0 {
		o.TransactionLate = transactionLateDefault
	}
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(nil, nil)
	}
	m := &Manager{
		duplicate:     o.Telemetry.Mark("partition: a duplicate was recognised"),
		heldBack:      o.Telemetry.Mark("partition: a batch was held back for one before it"),
		recodes:       o.Telemetry.Mark("partition: a batch was compressed as its topic says"),
		recodedLate:   o.Telemetry.Mark("partition: a batch was compressed while its partition was handed over"),
		unleased:      o.Telemetry.Mark("partition: the lease ended while a batch waited"),
		awaited:       o.Telemetry.Mark("partition: it waits for its checkpoint"),
		waiting:       o.Telemetry.Mark("partition: a duplicate waited for its original"),
		retention:     o.Telemetry.Mark("partition: retention raised a log start"),
		agrees:        o.Telemetry.Mark("stream recover: state agrees"),
		unverified:    o.Telemetry.Mark("partition: a batch of a transaction that is not open was refused"),
		forgotten:     o.Telemetry.Mark("partition: a transaction was aborted whose marker was lost"),
		producersFull: o.Telemetry.Mark("partition: a producer was refused since there are too many"),
		producersRefused: o.Telemetry.Counter("weir_partition_producers_refused_total",
			"Batches of new idempotent producers that were refused because this broker knows as many producers as it may"),
		transactionsLate: o.Telemetry.Gauge("weir_partition_transactions_late",
			"Transactions that are open for longer than their coordinator lets them be: readers of committed records wait for them"),
		producersKnown: o.Telemetry.Gauge("weir_partition_producers", "Idempotent producers that the partitions of this broker know, as of the last round of housekeeping"),
		retained:       o.Telemetry.LastSuccess(o.Env.Clock, "retention", "when a round of retention last ended after which nothing was refused"),
		operators:      telemetry.NewLimiter(operatorsInterval),
		options:        o,
		loop:           o.Loop,
		env:            o.Env,
		byName:         make(map[string]*topic),
		byID:           make(map[metadata.TopicID]*topic),
		early:          earlyGaps{byPartition: make(map[partitionID]gaps)},
	}
	m.recovered = m.NewReplayed()
	m.producers = producerRoom{max: cmp.Or(o.ProducersMax, DefaultProducersMax), stores: o.StoresCheckpoints}
	o.Telemetry.Gauge("weir_partition_producers_max", "Idempotent producers that the partitions of this broker may know together").Set(int64(m.producers.max))
	return m
}

// ImageChanged opens what this broker newly leads, closes what it no longer
// does, and refreshes the topics' configuration. It is called after records were
// applied. An error means that a partition's state could not be rebuilt: the
// broker must start again from a newer image.
func (m *Manager) ImageChanged() error {
	if m.stopped {
		return nil
	}
	m.generation++
	for _, t := range m.options.Image.Topics() {
		if err := m.refresh(t); err != nil {
			return err
		}
	}
	m.dropDeleted()
	return nil
}

// TopicsChanged is ImageChanged where only these topics came, went or changed, or may be opened now;
// some may come twice.
func (m *Manager) TopicsChanged(ids []metadata.TopicID) error {
	if m.stopped {
		return nil
	}
	m.generation++
	gone := false
	for _, id := range ids {
		t := m.byID[id]
		if t != nil && t.generation == m.generation {
			continue // one that has many partitions may come once for each of them
		}
		if image, ok := m.options.Image.TopicByID(id); ok {
			if err := m.refresh(image); err != nil {
				return err
			}
		} else if t != nil {
			m.drop(t)
			gone = true
		}
	}
	if gone {
		m.topics = slices.DeleteFunc(m.topics, func(t *topic) bool { return m.byID[t.id] != t })
	}
	return nil
}

// ConfigurationChanged takes over broker settings that were changed at run time: it
// resolves the topics' configuration again, and takes over what stands for the options of these names.
func (m *Manager) ConfigurationChanged(producerIDExpiration, cleanInterval time.Duration) {
	m.options.ProducerIDExpiration, m.options.CleanInterval = producerIDExpiration, cleanInterval
	for _, t := range m.topics {
		t.config = m.options.TopicConfig(t.overrides)
	}
}

func (m *Manager) refresh(image *metadata.Topic) error {
	t := m.byID[image.ID]
	if t == nil {
		t = m.addTopic(image)
	}
	t.generation = m.generation
	if !slices.Equal(t.overrides, image.Configs) {
		t.overrides = slices.Clone(image.Configs)
		t.config = m.options.TopicConfig(t.overrides)
	}
	for len(t.partitions) < len(image.Partitions) {
		t.partitions = append(t.partitions, nil)
	}
	for i := range image.Partitions {
		if err := m.refreshPartition(t, &image.Partitions[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) addTopic(image *metadata.Topic) *topic {
	t := &topic{manager: m, id: image.ID, name: image.Name, overrides: slices.Clone(image.Configs)}
	t.config = m.options.TopicConfig(t.overrides)
	m.byID[t.id], m.byName[t.name] = t, t
	m.topics = append(m.topics, t)
	return t
}

func (m *Manager) refreshPartition(t *topic, image *metadata.Partition) error {
	open := t.partitions[image.Index]
	if open != nil && (image.Leader != m.options.Broker || image.LeaderEpoch != open.epoch) {
		m.closePartition(open, wire.NotLeaderOrFollower)
		t.partitions[image.Index] = nil
		open = nil
	}
	if open != nil || image.Leader != m.options.Broker {
		return nil
	}
	s, ok := m.options.Image.Stream(image.Stream)
	if !ok || len(s.Ranges) == 0 {
		return nil
	}
	owned := &s.Ranges[len(s.Ranges)-1]
	if owned.BrokerEpoch != m.options.Epoch || owned.LeaderEpoch != image.LeaderEpoch || owned.End >= 0 {
		return nil // an ended incarnation's; a record that reopens it is to come
	}
	if m.options.MayOpen != nil && !m.options.MayOpen(s.ID) {
		return nil
	}
	state, err := m.rebuild(s)
	if errors.Is(err, stream.ErrCheckpointAway) {
		m.awaited.Hit()
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s-%d: %w", t.name, image.Index, err)
	}
	t.partitions[image.Index] = m.open(t, image.Index, s, state)
	return nil
}

func (m *Manager) open(t *topic, index int32, s *metadata.Stream, state *State) *Partition {
	owned := &s.Ranges[len(s.Ranges)-1]
	p := &Partition{
		Topic: t.id, Name: t.name, Index: index, Stream: s.ID,
		manager: m, epoch: owned.LeaderEpoch, topic: t, state: state, epochs: epochsOf(s.Ranges),
	}
	state.newestTimes = t.newestTimes
	state.settle(&m.producers)
	p.takeEarly()
	p.log = m.options.Engine.Open(s.ID, owned.LeaderEpoch, p)
	at, _ := m.searchPartition(s.ID)
	m.partitions = slices.Insert(m.partitions, at, p)
	return p
}

// rebuild returns the state as of the start of the newest range (R4): what was replayed, or the checkpoint
// where nothing was, or where it is newer. The error is stream.ErrCheckpointAway if that is not at hand.
func (m *Manager) rebuild(s *metadata.Stream) (*State, error) {
	start := s.Ranges[len(s.Ranges)-1].Start
	state := m.recovered.take(s.ID)
	if state == nil || state.end < s.CheckpointEnd {
		var err error
		if state, err = m.load(s); err != nil {
			return nil, err
		}
	}
	if state.end != start {
		return nil, fmt.Errorf("producer state ends at %d, the range begins at %d", state.end, start)
	}
	return state, nil
}

// load returns the state that the image's checkpoint has.
func (m *Manager) load(s *metadata.Stream) (*State, error) {
	checkpoint, ok := s.Checkpoint, true
	if m.options.Checkpoint != nil {
		checkpoint, ok = m.options.Checkpoint(s)
	}
	if !ok {
		return nil, stream.ErrCheckpointAway
	}
	return loadState(checkpoint, s.CheckpointEnd, m.loop.Now(), m.options.DenseCheckpoints)
}

func (m *Manager) searchPartition(id metadata.StreamID) (int, bool) {
	return slices.BinarySearchFunc(m.partitions, id, func(p *Partition, id metadata.StreamID) int {
		switch {
		case p.Stream < id:
			return -1
		case p.Stream > id:
			return 1
		}
		return 0
	})
}

func (m *Manager) closePartition(p *Partition, code wire.Code) {
	if at, ok := m.searchPartition(p.Stream); ok {
		m.partitions = slices.Delete(m.partitions, at, at+1)
	}
	m.options.Engine.Close(p.Stream)
	p.close(code)
}

// dropDeleted closes the topics that the image no longer has.
func (m *Manager) dropDeleted() {
	m.topics = slices.DeleteFunc(m.topics, func(t *topic) bool {
		if t.generation == m.generation {
			return false
		}
		m.drop(t)
		return true
	})
}

// drop closes a topic that the image no longer has.
func (m *Manager) drop(t *topic) {
	delete(m.byID, t.id)
	if m.byName[t.name] == t {
		delete(m.byName, t.name)
	}
	open := slices.DeleteFunc(t.partitions, func(p *Partition) bool { return p == nil })
	t.partitions = nil
	for first, end := range m.runsOf(open) {
		m.partitions = slices.Delete(m.partitions, first, end)
	}
	for _, p := range open {
		m.closePartition(p, wire.UnknownTopicOrPartition)
	}
}

// runsOf iterates over the runs in which some partitions, ascending by stream, lie among all, the last one first. They
// may be taken out meanwhile.
func (m *Manager) runsOf(some []*Partition) iter.Seq2[int, int] {
	return func(yield func(first, end int) bool) {
		for n := len(some); n > 0; {
			first, _ := m.searchPartition(some[n-1].Stream)
			end := first + 1
			for n--; n > 0 && first > 0 && m.partitions[first-1] == some[n-1]; n-- {
				first--
			}
			if !yield(first, end) {
				return
			}
		}
	}
}

// ByName finds a partition. The code is UnknownTopicOrPartition if there is none,
// NotLeaderOrFollower if this broker does not lead it.
func (m *Manager) ByName(topic string, index int32) (*Partition, wire.Code) {
	if len(topic) > metadata.TopicNameBytesMax {
		return nil, wire.UnknownTopicOrPartition
	}
	t := m.byName[topic]
	if t == nil {
		return nil, wire.UnknownTopicOrPartition
	}
	return t.partition(index)
}

// Opened returns a partition that is open here, also while the lease has lapsed: what keeps state of a partition
// keeps it until the partition closes. Nil: it is not open.
func (m *Manager) Opened(topic string, index int32) *Partition {
	if t := m.byName[topic]; t != nil && index >= 0 && int(index) < len(t.partitions) {
		return t.partitions[index]
	}
	return nil
}

// ByID is ByName for a topic id; an unknown id is UnknownTopicID.
func (m *Manager) ByID(id metadata.TopicID, index int32) (*Partition, wire.Code) {
	t := m.byID[id]
	if t == nil {
		return nil, wire.UnknownTopicID
	}
	return t.partition(index)
}

func (t *topic) partition(index int32) (*Partition, wire.Code) {
	if index < 0 || int(index) >= len(t.partitions) {
		return nil, wire.UnknownTopicOrPartition
	}
	if p := t.partitions[index]; p != nil && t.manager.leased() {
		return p, wire.None
	}
	return nil, wire.NotLeaderOrFollower
}

// Find finds an open partition by its stream, or returns nil.
func (m *Manager) Find(id metadata.StreamID) *Partition {
	if at, ok := m.searchPartition(id); ok {
		return m.partitions[at]
	}
	return nil
}

// Partitions returns all open partitions, ascending by stream. The slice is
// lent until the next event.
func (m *Manager) Partitions() []*Partition { return m.partitions }

// Close closes every partition; what waits is answered NOT_LEADER_OR_FOLLOWER.
func (m *Manager) Close() {
	m.stopped = true
	m.loop.Stop(&m.queueTimer)
	m.loop.Stop(&m.houseTimer)
	m.loop.Stop(&m.cleaning.timer)
	for len(m.partitions) > 0 {
		m.closePartition(m.partitions[len(m.partitions)-1], wire.NotLeaderOrFollower)
	}
	m.recoder.close()
}

// compute runs work off the loop, and then done. Batches are lent to it.
func (m *Manager) compute(work, done func()) {
	m.computing++
	m.env.Compute.Submit(&env.Compute{Work: work, Done: func(*env.Compute) {
		m.computing--
		done()
		if m.computing == 0 && m.drained != nil {
			m.loop.Post(m.drained)
			m.drained = nil
		}
	}})
}

// Drained calls done once no frame is lent any more. It is called once, after [Manager.Close].
func (m *Manager) Drained(done func()) {
	if m.computing == 0 {
		done()
		return
	}
	m.drained = done
}
