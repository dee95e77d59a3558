package group

import (
	"maps"
	"slices"

	"weir/core/coordinator"
)

// walkChunk is how many partitions of a group are looked at in one turn of the loop: a group may have a million offsets.
const walkChunk = 4096

// offsetWalk goes through the partitions of a group that have an offset, committed or staged, by topic and partition. It may
// take many turns of the loop: a topic that comes to have an offset meanwhile may be missed. Nothing but a marker changes offsets
// between the steps of an operation, and that commits what was staged.
type offsetWalk struct {
	group      string
	topics     []string // to come
	topic      string
	partitions []int32 // of topic, to come
}

// walk begins at the first of all partitions of a group.
func (g *Group) walk() *offsetWalk {
	topics := slices.Sorted(maps.Keys(g.offsets))
	if len(g.staged) > 0 {
		topics = append(topics, slices.Sorted(maps.Keys(g.staged))...)
		slices.Sort(topics)
	}
	return g.walkOf(slices.Compact(topics))
}

// walkOf is a walk through these topics.
func (g *Group) walkOf(topics []string) *offsetWalk { return &offsetWalk{group: g.id, topics: topics} }

// next returns the next partition. The offset that it had may be gone.
func (w *offsetWalk) next(g *Group) (_ topicPartition, ok bool) {
	for len(w.partitions) == 0 {
		if len(w.topics) == 0 {
			return topicPartition{}, false
		}
		w.topic, w.topics = w.topics[0], w.topics[1:]
		w.partitions = slices.Sorted(maps.Keys(g.offsets[w.topic]))
		if staged := g.staged[w.topic]; len(staged) > 0 {
			w.partitions = append(w.partitions, slices.Sorted(maps.Keys(staged))...)
			slices.Sort(w.partitions)
			w.partitions = slices.Compact(w.partitions)
		}
	}
	tp := topicPartition{w.topic, w.partitions[0]}
	w.partitions = w.partitions[1:]
	return tp, true
}

// entries returns what each says of the next partitions, and what last says of the group behind all of them; rest is what follows in
// later turns of the loop.
func (m *Machine) entries(w *offsetWalk, each func(*Group, topicPartition) []coordinator.Entry, last func(*Group) []coordinator.Entry) (entries []coordinator.Entry, rest coordinator.Next) {
	step := func() (entries []coordinator.Entry, over bool) {
		g := m.groups[w.group]
		if g == nil {
			return nil, true
		}
		for range walkChunk {
			tp, ok := w.next(g)
			if !ok {
				return append(entries, last(g)...), true
			}
			entries = append(entries, each(g, tp)...)
		}
		return entries, false
	}
	entries, over := step()
	if over {
		return entries, nil
	}
	return entries, step
}

// nothing is the end of a walk that says nothing of the group.
func nothing(*Group) []coordinator.Entry { return nil }

// tombstone deletes the offset of a partition, and what is staged for it.
func tombstone(g *Group, tp topicPartition) []coordinator.Entry {
	return []coordinator.Entry{{Key: offsetKey(g.id, tp)}}
}
