package group

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// Image is what a Machine needs of a *metadata.Image. Nothing of what it returns is kept.
type Image interface {
	Topics() []*metadata.Topic
	Topic(name string) (*metadata.Topic, bool)
	TopicByID(id metadata.TopicID) (*metadata.Topic, bool)
	AppliedIndex() uint64
}

// Options are what the machines of a broker share. All are required unless a zero is named.
type Options struct {
	// Loop runs the machines.
	Loop *task.Loop
	// Env gives clock, random numbers, and computations off the loop.
	Env env.Env
	// Telemetry takes marks, metrics and log lines. Nil: none.
	Telemetry *telemetry.Registry
	// Config is the broker's configuration; it may change in place.
	Config *config.Broker
	// Image knows the topics. Call TopicsChanged, and ImageChanged of each machine, when some of them changed.
	Image Image
	// GroupConfig returns what is configured for a consumer group; it is lent. Nil: Config.ConsumerGroup for all.
	GroupConfig func(group string) *config.ConsumerGroup
	// Verifier adds the offsets partition to transactions. Nil: version 5 of TxnOffsetCommit adds nothing.
	Verifier Verifier
	// FirstGeneration is the generation before the first of a new classic group; zero, as in Kafka. A group that becomes a
	// consumer group goes on from there. A large one brings tests near the end of what a generation can be.
	FirstGeneration int32

	operators *telemetry.Limiter
	count     *counts

	topicsVersion, namesVersion uint64   // indexes of the image: when topics may have changed last; of names
	names                       []string // of all topics
}

// counts are the metrics of all machines.
type counts struct {
	rebalances, epochs, expired env.Counter
}

func newCounts(t *telemetry.Registry) *counts {
	return &counts{
		rebalances: t.Counter("weir_group_rebalances_total", "Rebalances of groups of the classic protocol that began."),
		epochs:     t.Counter("weir_consumer_group_epochs_total", "Epochs of groups of the protocol of KIP-848 that began: each asks for a new assignment."),
		expired:    t.Counter("weir_group_members_expired_total", "Members removed since they were silent for their session timeout."),
	}
}

// Machine is the state of the groups of one partition. Its methods are called on the loop only.
type Machine struct {
	*Options
	shard   *coordinator.Shard
	groups  map[string]*Group
	open    map[int64]*transaction // by producer id: those with staged offsets
	uses    topicUses
	floor   int64 // see Floor
	draws   uint64
	next    map[string]*classic // groups that become classic once their records are applied, by id
	expiry  task.Timer
	serving bool
	closed  bool
}

var (
	_ coordinator.Machine = (*Machine)(nil)
	_ coordinator.Floor   = (*Machine)(nil)
)

// New returns the empty machine of a shard. Machines of one broker share the options.
func New(o *Options, s *coordinator.Shard) *Machine {
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(nil, nil)
	}
	if o.count == nil {
		o.count, o.operators = newCounts(o.Telemetry), telemetry.NewLimiter(operatorsInterval)
		o.TopicsChanged()
	}
	return &Machine{
		Options: o, shard: s, groups: map[string]*Group{}, open: map[int64]*transaction{}, uses: newTopicUses(), next: map[string]*classic{}, floor: math.MaxInt64,
	}
}

// operatorsInterval is the shortest time between two log lines of one kind.
const operatorsInterval = time.Minute

// Versions of the keys in __consumer_offsets, which are their types.
const (
	keyOffsetCommitOld           = 0
	keyOffsetCommit              = 1
	keyGroupMetadata             = 2
	keyConsumerMetadata          = 3
	keyConsumerPartitionMetadata = 4
	keyConsumerMember            = 5
	keyConsumerTargetMetadata    = 6
	keyConsumerTargetMember      = 7
	keyConsumerCurrentAssignment = 8
	keyConsumerRegularExpression = 16
	keyVersionBytes              = 2
)

// Apply implements coordinator.Machine. Records of types that are not known here are those of a newer release, and
// are passed over, as in Kafka.
func (m *Machine) Apply(r *coordinator.Record) error {
	if len(r.Key) < keyVersionBytes {
		return fmt.Errorf("a key of %d bytes has no type", len(r.Key))
	}
	switch kind := int16(binary.BigEndian.Uint16(r.Key)); kind {
	case keyOffsetCommitOld, keyOffsetCommit:
		return m.applyOffset(r)
	case keyGroupMetadata:
		return m.applyClassic(r)
	case keyConsumerMetadata, keyConsumerPartitionMetadata, keyConsumerMember, keyConsumerTargetMetadata,
		keyConsumerTargetMember, keyConsumerCurrentAssignment, keyConsumerRegularExpression:
		return m.applyConsumer(r)
	}
	return nil
}

// Serve implements coordinator.Machine.
func (m *Machine) Serve() {
	m.serving = true
	for _, g := range m.sorted() {
		if g.members != nil {
			g.members.serve()
		}
	}
	m.scheduleExpiry()
}

// Close implements coordinator.Machine.
func (m *Machine) Close(code wire.Code) {
	m.closed = true
	m.stop(&m.expiry)
	for _, g := range m.sorted() {
		if g.members != nil {
			g.members.close(code)
		}
	}
}

// AnswerParked answers the requests that wait for other members, for a shutdown. Groups stay as they are.
func (m *Machine) AnswerParked(code wire.Code) {
	for _, g := range m.sorted() {
		if g.members != nil {
			g.members.answerParked(code)
		}
	}
}

// Keys implements coordinator.Machine: the ids of the groups that have a durable state.
func (m *Machine) Keys() []string {
	m.floor = math.MaxInt64
	keys := make([]string, 0, len(m.groups))
	for _, g := range m.sorted() {
		keys = append(keys, g.id)
	}
	return keys
}

// Rewrite implements coordinator.Machine.
func (m *Machine) Rewrite(key string) ([]coordinator.Entry, coordinator.Next) {
	g := m.groups[key]
	if g == nil {
		return nil, nil
	}
	offsets, rest := m.entries(g.walk(), m.rewriteOffset, nothing)
	return append(g.entries(), offsets...), rest
}

// Floor implements coordinator.Floor: the first record that Rewrite left where it is since Keys was called.
func (m *Machine) Floor() int64 { return m.floor }

// sorted returns the groups by id.
func (m *Machine) sorted() []*Group {
	out := make([]*Group, 0, len(m.groups))
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		out = append(out, m.groups[id])
	}
	return out
}

// group returns a group, made if there is none.
func (m *Machine) group(id string) *Group {
	g := m.groups[id]
	if g == nil {
		g = &Group{id: id, offsets: map[string]map[int32]*offset{}, staged: map[string]map[int32][]int64{}}
		m.groups[id] = g
		m.shard.Hold(g.bytes())
	}
	return g
}

// forget drops a group that has nothing left.
func (m *Machine) forget(g *Group) {
	if m.groups[g.id] == g && g.members == nil && len(g.offsets) == 0 && len(g.staged) == 0 {
		delete(m.groups, g.id)
		m.shard.Hold(-g.bytes())
	}
}
