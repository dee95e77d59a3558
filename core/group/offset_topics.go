package group

import (
	"maps"
	"slices"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"
)

// topicUse names a topic that has committed offsets: by its id, and its name before that.
type topicUse struct {
	id   metadata.TopicID
	name string
}

func useOf(topic string, o *offset) topicUse { return topicUse{o.topicID, topic} }

// topicUses are the topics that have committed offsets in a partition, with their number.
type topicUses struct {
	counts map[metadata.TopicID]map[string]int
	// late are topics whose offsets are to be deleted with the next change: they could not be, or came when the topic was gone.
	late map[topicUse]bool
	// scanned says that all were looked at once since the coordinator serves: topics may have gone while it did not.
	scanned bool
}

func newTopicUses() topicUses {
	return topicUses{counts: map[metadata.TopicID]map[string]int{}, late: map[topicUse]bool{}}
}

// add counts an offset.
func (u *topicUses) add(use topicUse) {
	of := u.counts[use.id]
	if of == nil {
		of = map[string]int{}
		u.counts[use.id] = of
	}
	of[use.name]++
}

func (u *topicUses) remove(use topicUse) {
	of := u.counts[use.id]
	if of[use.name]--; of[use.name] > 0 {
		return
	}
	delete(u.late, use)
	if delete(of, use.name); len(of) == 0 {
		delete(u.counts, use.id)
	}
}

// retry lets topics be looked at again with the next change.
func (u *topicUses) retry(gone *goneTopics) {
	for use := range gone.uses { //weir:ordered it makes a set
		if u.counts[use.id][use.name] > 0 {
			u.late[use] = true
		}
	}
}

// ImageChanged deletes the offsets of topics that were deleted, as Kafka does. changed are the topics that came, went or changed; all says
// that they may be any. It costs what they do, and what is to be deleted; the first one after a load looks at all.
func (m *Machine) ImageChanged(all bool, changed []metadata.TopicID) {
	if !m.serving || m.closed {
		return
	}
	gone := m.goneOf(all || !m.uses.scanned, changed)
	m.uses.scanned = true
	if len(gone.uses) == 0 {
		return
	}
	var groups []string
	for id, g := range m.groups { //weir:ordered they are sorted below
		if gone.touches(g) {
			groups = append(groups, id)
		}
	}
	slices.Sort(groups)
	for _, id := range groups {
		m.deleteGone(m.groups[id], gone)
	}
}

// goneOf finds the topics that have offsets, and are gone.
func (m *Machine) goneOf(all bool, changed []metadata.TopicID) *goneTopics {
	gone := &goneTopics{names: map[string]bool{}, uses: map[topicUse]bool{}}
	for use := range m.uses.late { //weir:ordered it makes a set
		gone.add(use)
	}
	clear(m.uses.late)
	if all {
		for id := range m.uses.counts { //weir:ordered it makes a set
			m.addGone(gone, id)
		}
		return gone
	}
	deleted := false
	for _, id := range changed {
		if _, ok := m.Image.TopicByID(id); !ok {
			deleted = true
			m.addGone(gone, id)
		}
	}
	if deleted {
		m.addGone(gone, metadata.TopicID{})
	}
	return gone
}

// addGone adds those of an id that are gone; without an id each name is looked for.
func (m *Machine) addGone(gone *goneTopics, id metadata.TopicID) {
	for name := range m.uses.counts[id] { //weir:ordered it makes a set
		if use := (topicUse{id, name}); !m.exists(use) {
			gone.add(use)
		}
	}
}

func (m *Machine) exists(use topicUse) bool {
	if use.id == (metadata.TopicID{}) {
		_, ok := m.Image.Topic(use.name)
		return ok
	}
	_, ok := m.Image.TopicByID(use.id)
	return ok
}

// goneTopics are topics that were deleted, or were created anew under their names.
type goneTopics struct {
	names map[string]bool
	uses  map[topicUse]bool
}

func (t *goneTopics) add(use topicUse) { t.names[use.name], t.uses[use] = true, true }

// has reports whether the offset of a partition is of one of them.
func (t *goneTopics) has(g *Group, tp topicPartition) bool {
	o := g.offset(tp)
	return o != nil && t.uses[useOf(tp.topic, o)]
}

// namesIn lists the names of which a group has offsets. It looks at the fewer of both: there may be many groups, of many topics each.
func (t *goneTopics) namesIn(g *Group) (names []string) {
	if len(t.names) > len(g.offsets) {
		for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
			if t.names[topic] {
				names = append(names, topic)
			}
		}
		return names
	}
	for _, topic := range slices.Sorted(maps.Keys(t.names)) {
		if len(g.offsets[topic]) > 0 {
			names = append(names, topic)
		}
	}
	return names
}

// touches reports whether a group may have offsets of them.
func (t *goneTopics) touches(g *Group) bool {
	if len(t.names) > len(g.offsets) {
		for topic := range g.offsets { //weir:ordered whether there is one
			if t.names[topic] {
				return true
			}
		}
		return false
	}
	for topic := range t.names { //weir:ordered whether there is one
		if len(g.offsets[topic]) > 0 {
			return true
		}
	}
	return false
}

func (m *Machine) deleteGone(g *Group, gone *goneTopics) {
	id := g.id
	op := &coordinator.Operation{Key: id, Cut: true}
	op.Done = func(code wire.Code) {
		if code != wire.None && !m.closed {
			m.uses.retry(gone)
		}
	}
	op.Decide = func() (entries []coordinator.Entry) {
		g := m.groups[id]
		if g == nil {
			return nil
		}
		entries, op.Next = m.entries(g.walkOf(gone.namesIn(g)), func(g *Group, tp topicPartition) []coordinator.Entry {
			if !gone.has(g, tp) {
				return nil
			}
			return tombstone(g, tp)
		}, nothing)
		return entries
	}
	m.shard.Do(op)
}
