package group

import (
	"maps"
	"slices"
	"time"

	"weir/core/coordinator"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteOffsets handles OffsetDelete. done runs once.
func (m *Machine) DeleteOffsets(r *kmsg.OffsetDeleteRequest, done func(*kmsg.OffsetDeleteResponse)) {
	out := r.ResponseKind().(*kmsg.OffsetDeleteResponse)
	fail := func(code wire.Code) {
		out.ErrorCode, out.Topics = int16(code), nil
	}
	if r.Group == "" {
		fail(wire.InvalidGroupID)
		done(out)
		return
	}
	m.shard.Do(&coordinator.Operation{
		Key: r.Group, Cut: true, Bytes: deletionBytes(r),
		Decide: func() []coordinator.Entry {
			g := m.groups[r.Group]
			code := wire.Code(wire.None)
			if g == nil {
				code = wire.GroupIDNotFound
			} else if g.members != nil {
				code = g.members.admitsOffsetDelete()
			}
			if code != wire.None {
				fail(code)
				return nil
			}
			return m.deleteOffsets(g, r, out)
		},
		Done: func(code wire.Code) {
			if code != wire.None {
				fail(code)
			}
			done(out)
		},
	})
}

// deleteOffsets answers for each partition: for those that do not exist first, as in Kafka.
func (m *Machine) deleteOffsets(g *Group, r *kmsg.OffsetDeleteRequest, out *kmsg.OffsetDeleteResponse) (entries []coordinator.Entry) {
	answers := offsetDeletions{out: out, places: map[string]int{}}
	var found []topicPartition
	for i := range r.Topics {
		topic := r.Topics[i].Topic
		known, ok := m.Image.Topic(topic)
		for _, q := range r.Topics[i].Partitions {
			if ok && q.Partition >= 0 && int(q.Partition) < len(known.Partitions) {
				found = append(found, topicPartition{topic, q.Partition})
				continue
			}
			answers.add(topic, q.Partition, wire.UnknownTopicOrPartition)
		}
	}
	seen := map[topicPartition]bool{}
	for _, tp := range found {
		switch {
		case g.members != nil && g.members.subscribes(tp.topic):
			answers.add(tp.topic, tp.partition, wire.GroupSubscribedToTopic)
			continue
		case !seen[tp] && (g.offset(tp) != nil || len(g.stagedBy(tp)) > 0):
			entries = append(entries, coordinator.Entry{Key: offsetKey(g.id, tp)})
			seen[tp] = true
		}
		answers.add(tp.topic, tp.partition, wire.None)
	}
	return entries
}

// offsetDeletions is an answer to OffsetDelete, by topic.
type offsetDeletions struct {
	out    *kmsg.OffsetDeleteResponse
	places map[string]int // of topics
	last   string         // the topic of the last answer, at its place: looked up once, not for each partition
	at     int
}

func (d *offsetDeletions) add(topic string, partition int32, code wire.Code) {
	if topic != d.last || len(d.out.Topics) == 0 {
		d.find(topic)
	}
	p := kmsg.NewOffsetDeleteResponseTopicPartition()
	p.Partition, p.ErrorCode = partition, int16(code)
	d.out.Topics[d.at].Partitions = append(d.out.Topics[d.at].Partitions, p)
}

// find goes to a topic's place.
func (d *offsetDeletions) find(topic string) {
	at, ok := d.places[topic]
	if !ok {
		at = len(d.out.Topics)
		d.places[topic] = at
		t := kmsg.NewOffsetDeleteResponseTopic()
		t.Topic = topic
		d.out.Topics = append(d.out.Topics, t)
	}
	d.last, d.at = topic, at
}

// DeleteGroup handles one group of DeleteGroups: it is deleted with its offsets, the group last. done runs once. What fails half-way is
// a group with fewer offsets, which may be deleted again.
func (m *Machine) DeleteGroup(id string, done func(wire.Code)) {
	refused := wire.Code(wire.None)
	op := &coordinator.Operation{Key: id, Cut: true}
	op.Decide = func() (entries []coordinator.Entry) {
		g := m.groups[id]
		if refused = deletable(g); refused != wire.None {
			return nil
		}
		entries, op.Next = m.entries(g.walk(), tombstone, func(g *Group) []coordinator.Entry {
			if refused = deletable(g); refused != wire.None || g.members == nil { // somebody may have joined meanwhile
				return nil
			}
			return g.members.tombstones()
		})
		return entries
	}
	op.Done = func(code wire.Code) {
		if refused == wire.None {
			refused = code
		}
		if refused == wire.None {
			m.dropSoft(id)
		}
		done(refused)
	}
	m.shard.Do(op)
}

// deletable says why a group may not be deleted.
func deletable(g *Group) wire.Code {
	switch {
	case g == nil:
		return wire.GroupIDNotFound
	case g.members != nil && !g.members.empty():
		return wire.NonEmptyGroup
	}
	return wire.None
}

// dropSoft forgets a group of which nothing was stored: ids were handed out at most.
func (m *Machine) dropSoft(id string) {
	g := m.groups[id]
	if g == nil {
		return
	}
	if c, ok := g.members.(*classic); ok && c.stored == nil && c.phase == phaseEmpty && len(c.members) == 0 {
		c.drop()
	}
}

const (
	// expiryBatch is how many groups and offsets are looked at in one turn of the loop. A group that has more goes on by itself.
	expiryBatch = 4096
	expiryPause = 5 * time.Millisecond
)

// scheduleExpiry looks for offsets to expire every offsets.retention.check.interval.ms.
func (m *Machine) scheduleExpiry() {
	m.Loop.Reset(&m.expiry, m.Config.Groups.OffsetsRetentionCheckInterval, func() {
		m.expire(slices.Sorted(maps.Keys(m.groups)))
	})
}

func (m *Machine) expire(ids []string) {
	for looked := 0; len(ids) > 0 && looked < expiryBatch; ids = ids[1:] {
		if g := m.groups[ids[0]]; g != nil {
			looked += 1 + g.committedCount
			m.expireGroup(g)
		}
	}
	if len(ids) > 0 {
		m.Loop.Reset(&m.expiry, expiryPause, func() { m.expire(ids) })
		return
	}
	m.scheduleExpiry()
}

// expireGroup writes tombstones for the offsets of a group that are old, and for an empty group that has none left. It tries
// again at the next interval if that fails.
func (m *Machine) expireGroup(g *Group) {
	if g.committedCount < walkChunk && !m.abandoned(g) {
		if entries, _ := m.expired(g); len(entries) == 0 {
			return
		}
	}
	id := g.id
	op := &coordinator.Operation{Key: id, Cut: true}
	op.Decide = func() (entries []coordinator.Entry) {
		if g := m.groups[id]; g != nil {
			entries, op.Next = m.expired(g)
		}
		return entries
	}
	op.Done = func(code wire.Code) {
		if code == wire.None && !m.closed {
			if g := m.groups[id]; g != nil && m.abandoned(g) && len(g.entries()) == 0 {
				m.dropSoft(id)
			}
		}
	}
	m.shard.Do(op)
}

func (g *Group) entries() []coordinator.Entry {
	if g.members == nil {
		return nil
	}
	return g.members.entries()
}

// abandoned reports whether a group has neither members nor offsets.
func (m *Machine) abandoned(g *Group) bool {
	return len(g.offsets) == 0 && len(g.staged) == 0 && g.members != nil && g.members.empty()
}

// expired returns tombstones for what of a group is old: offsets, and the group if it is empty and has none left.
func (m *Machine) expired(g *Group) ([]coordinator.Entry, coordinator.Next) {
	if g.members != nil {
		if may, _ := g.members.expires(); !may {
			return nil, nil
		}
	}
	kept := false
	return m.entries(g.walk(), func(g *Group, tp topicPartition) []coordinator.Entry {
		if !m.expires(g, tp) {
			kept = true
			return nil
		}
		return tombstone(g, tp)
	}, func(g *Group) []coordinator.Entry {
		if kept || len(g.staged) > 0 || g.members == nil || !g.members.empty() {
			return nil
		}
		return g.members.tombstones()
	})
}

// expires reports whether the offset of a partition is old, and may go.
func (m *Machine) expires(g *Group, tp topicPartition) bool {
	may, since := true, int64(-1)
	if g.members != nil {
		may, since = g.members.expires()
	}
	o := g.offset(tp)
	if !may || o == nil || len(g.stagedBy(tp)) > 0 || g.members != nil && g.members.subscribes(tp.topic) {
		return false
	}
	return m.isOld(o, since, m.Env.Clock.WallMillis())
}

func (m *Machine) isOld(o *offset, since, now int64) bool {
	if o.expires >= 0 {
		return now >= o.expires
	}
	if since < 0 {
		since = o.committed
	}
	return now-since >= m.Config.Groups.OffsetsRetention.Milliseconds()
}
