package group

import (
	"fmt"
	"maps"
	"slices"

	"weir/core/coordinator"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// offsetValueVersion is the version that Kafka writes.
	offsetValueVersion = 4
	// offsetValueExpires is the only version that can say when an offset expires.
	offsetValueExpires = 1
)

// offset is a committed offset of one partition.
type offset struct {
	value     int64
	epoch     int32 // leader epoch of the record before; -1: not known
	metadata  string
	committed int64 // wall time in milliseconds
	expires   int64 // wall time in milliseconds; -1: after offsets.retention.minutes
	topicID   [16]byte
	at        int64 // offset of its record
}

// topicPartition names a partition.
type topicPartition struct {
	topic     string
	partition int32
}

// transaction is an open transaction with staged offsets.
type transaction struct {
	values map[stagedPartition]*offset
	order  []stagedPartition // in which they were staged; with some that were dropped since, and are there again if they were staged again
}

type stagedPartition struct {
	group string
	topicPartition
}

// applyOffset applies the record of a committed offset.
func (m *Machine) applyOffset(r *coordinator.Record) error {
	var key kmsg.OffsetCommitKey
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("key of an offset: %w", err)
	}
	tp := topicPartition{key.Topic, key.Partition}
	if r.Value == nil {
		m.applyOffsetTombstone(key.Group, tp)
		return nil
	}
	value, err := readOffset(r)
	if err != nil {
		return fmt.Errorf("offset of group %s for %s-%d: %w", key.Group, key.Topic, key.Partition, err)
	}
	if r.ProducerID >= 0 {
		m.stage(r.ProducerID, stagedPartition{key.Group, tp}, value)
		return nil
	}
	m.put(m.group(key.Group), tp, value)
	return nil
}

func readOffset(r *coordinator.Record) (*offset, error) {
	if err := wire.OffsetValue.Check(r.Value); err != nil {
		return nil, err
	}
	var v kmsg.OffsetCommitValue
	if err := v.ReadFrom(r.Value); err != nil {
		return nil, err
	}
	o := &offset{value: v.Offset, epoch: v.LeaderEpoch, metadata: v.Metadata, committed: v.CommitTimestamp, expires: -1, topicID: v.TopicID, at: r.Offset}
	if v.Version < 3 {
		o.epoch = -1
	}
	if v.Version == offsetValueExpires {
		o.expires = v.ExpireTimestamp
	}
	return o, nil
}

// applyOffsetTombstone removes the offset of a partition, with what transactions have staged for it.
func (m *Machine) applyOffsetTombstone(id string, tp topicPartition) {
	g := m.groups[id]
	if g == nil {
		return
	}
	m.remove(g, tp)
	for _, producer := range g.stagedBy(tp) {
		m.drop(m.open[producer], stagedPartition{id, tp})
	}
	g.setStagedBy(tp, nil)
	m.forget(g)
}

// stage keeps an offset until the marker of its transaction.
func (m *Machine) stage(producer int64, at stagedPartition, value *offset) {
	t := m.open[producer]
	if t == nil {
		t = &transaction{values: map[stagedPartition]*offset{}}
		m.open[producer] = t
		m.shard.Hold(transactionBytes)
	}
	if before, again := t.values[at]; again {
		m.shard.Hold(-at.bytes(before))
	} else {
		t.order = append(t.order, at)
		g := m.group(at.group)
		g.setStagedBy(at.topicPartition, append(g.stagedBy(at.topicPartition), producer))
	}
	m.shard.Hold(at.bytes(value))
	t.values[at] = value
}

// stagedBy returns the producers that have staged an offset of a partition.
func (g *Group) stagedBy(tp topicPartition) []int64 { return g.staged[tp.topic][tp.partition] }

func (g *Group) setStagedBy(tp topicPartition, producers []int64) {
	of := g.staged[tp.topic]
	switch {
	case len(producers) == 0:
		if delete(of, tp.partition); len(of) == 0 {
			delete(g.staged, tp.topic)
		}
		return
	case of == nil:
		of = map[int32][]int64{}
		g.staged[tp.topic] = of
	}
	of[tp.partition] = producers
}

func (m *Machine) drop(t *transaction, at stagedPartition) {
	m.shard.Hold(-at.bytes(t.values[at]))
	delete(t.values, at)
	if len(t.order) > 2*len(t.values)+1 {
		t.shorten()
	}
}

// shorten takes out of the order what was dropped: what was staged again has its last place.
func (t *transaction) shorten() {
	seen := make(map[stagedPartition]bool, len(t.values))
	slices.Reverse(t.order)
	t.order = slices.DeleteFunc(t.order, func(at stagedPartition) bool {
		gone := t.values[at] == nil || seen[at]
		seen[at] = true
		return gone
	})
	slices.Reverse(t.order)
}

// ApplyMarker implements coordinator.Machine: offsets that the transaction has staged are committed, or dropped. Of a
// transactional and a plain commit the one whose record is later in the log counts, as in Kafka.
func (m *Machine) ApplyMarker(k *coordinator.Marker) error {
	t := m.open[k.ProducerID]
	if t == nil {
		return nil
	}
	delete(m.open, k.ProducerID)
	m.shard.Hold(-transactionBytes)
	if len(t.order) > len(t.values) {
		t.shorten()
	}
	for _, at := range t.order {
		g, value := m.group(at.group), t.values[at]
		m.shard.Hold(-at.bytes(value))
		if k.Commit {
			if now := g.offset(at.topicPartition); now == nil || now.at < value.at {
				m.put(g, at.topicPartition, value)
			}
		}
		g.setStagedBy(at.topicPartition, slices.DeleteFunc(g.stagedBy(at.topicPartition), func(id int64) bool { return id == k.ProducerID }))
		m.forget(g)
	}
	return nil
}

func (g *Group) offset(tp topicPartition) *offset { return g.offsets[tp.topic][tp.partition] }

func (m *Machine) put(g *Group, tp topicPartition, o *offset) {
	m.remove(g, tp)
	of := g.offsets[tp.topic]
	if of == nil {
		of = map[int32]*offset{}
		g.offsets[tp.topic] = of
	}
	of[tp.partition] = o
	g.committedCount++
	m.shard.Hold(o.bytes(g.id, tp.topic))
	use := useOf(tp.topic, o)
	m.uses.add(use)
	if m.serving && !m.exists(use) { // its topic went while it was committed
		m.uses.late[use] = true
	}
}

func (m *Machine) remove(g *Group, tp topicPartition) {
	of := g.offsets[tp.topic]
	o := of[tp.partition]
	if o == nil {
		return
	}
	delete(of, tp.partition)
	g.committedCount--
	m.shard.Hold(-o.bytes(g.id, tp.topic))
	if len(of) == 0 {
		delete(g.offsets, tp.topic)
	}
	m.uses.remove(useOf(tp.topic, o))
}

// committed returns the partitions that have an offset, by topic and partition.
func (g *Group) committed() []topicPartition {
	var out []topicPartition
	for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
		for _, partition := range slices.Sorted(maps.Keys(g.offsets[topic])) {
			out = append(out, topicPartition{topic, partition})
		}
	}
	return out
}

// rewriteOffset is the offset of a partition, but for one with a staged offset: the marker may be in the
// log already, ahead of what is applied, and must not come before an older offset.
func (m *Machine) rewriteOffset(g *Group, tp topicPartition) []coordinator.Entry {
	o := g.offset(tp)
	if o == nil {
		return nil
	}
	if len(g.stagedBy(tp)) > 0 {
		m.floor = min(m.floor, o.at)
		return nil
	}
	return []coordinator.Entry{offsetEntry(g.id, tp, o)}
}

func offsetKey(group string, tp topicPartition) []byte {
	key := kmsg.NewOffsetCommitKey()
	key.Version, key.Group, key.Topic, key.Partition = keyOffsetCommit, group, tp.topic, tp.partition
	return key.AppendTo(nil)
}

// offsetEntry is the record of an offset, in the version that Kafka writes.
func offsetEntry(group string, tp topicPartition, o *offset) coordinator.Entry {
	v := kmsg.NewOffsetCommitValue()
	v.Version, v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp, v.TopicID = offsetValueVersion, o.value, o.epoch, o.metadata, o.committed, o.topicID
	if o.expires >= 0 {
		v.Version, v.ExpireTimestamp = offsetValueExpires, o.expires
	}
	return coordinator.Entry{Key: offsetKey(group, tp), Value: v.AppendTo(nil)}
}
