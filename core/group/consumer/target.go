package consumer

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"weir/core/group/assign"
	"weir/core/metadata"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// assignor names the assignor that most members ask for, the first by name of those with equally many, as if one member's
// metadata had changed. Without a wish it is the first that is configured. One that a later release had, or a damaged record
// names, is no wish.
func (g *Group) assignor(c *Context, before, after *Metadata) string {
	wish, votes := c.Config.Assignors[0], 0
	count := func(name string, n int) {
		if before != nil && before.Assignor == name {
			n--
		}
		if after != nil && after.Assignor == name {
			n++
		}
		if assign.Find(name) == nil {
			return
		}
		if n > votes || n == votes && n > 0 && name < wish {
			wish, votes = name, n
		}
	}
	if after != nil && after.Assignor != "" {
		if _, counted := g.assignors.Get(after.Assignor); !counted {
			count(after.Assignor, 0)
		}
	}
	g.assignors.Scan(func(name string, n int) bool {
		count(name, n)
		return true
	})
	return wish
}

// resolvedTopics are the topics that an expression matched when it was resolved last; none if it was not yet.
func (g *Group) resolvedTopics(expression string) []string {
	if expression == "" {
		return nil
	}
	if r, ok := g.expressions.Get(expression); ok {
		return r.Topics
	}
	return nil
}

// subscribes reports whether a member subscribes to a topic, which must still be there.
func (g *Group) subscribes(c *Context, m *Metadata, id metadata.TopicID) bool {
	topic, ok := c.Topics.TopicByID(id)
	if !ok {
		return false
	}
	if _, named := slices.BinarySearch(m.Topics, topic.Name); named {
		return true
	}
	_, matched := slices.BinarySearch(g.resolvedTopics(m.Expression), topic.Name)
	return matched
}

// hashWith hashes the topics that the group subscribes to as if one member's metadata had changed.
func (g *Group) hashWith(c *Context, before, after *Metadata) int64 {
	delta := map[string]int{}
	change := func(m *Metadata, by int) {
		if m == nil {
			return
		}
		for _, topic := range m.Topics {
			delta[topic] += by
		}
	}
	change(before, -1)
	change(after, 1)
	topics := g.topicsWith(delta)
	g.subscribed.Scan(func(expression string, n int) bool {
		if before == nil || before.Expression != expression || n > 1 {
			topics = append(topics, g.resolvedTopics(expression)...)
		}
		return true
	})
	if after != nil {
		topics = append(topics, g.resolvedTopics(after.Expression)...)
	}
	return hashTopics(c, topics)
}

// hashWithout hashes the topics that the group subscribes to without some of its members.
func (g *Group) hashWithout(c *Context, members []*Member) int64 {
	delta, expressions := map[string]int{}, map[string]int{}
	for _, m := range members {
		for _, topic := range m.Topics {
			delta[topic]--
		}
		expressions[m.Expression]++
	}
	topics := g.topicsWith(delta)
	g.subscribed.Scan(func(expression string, n int) bool {
		if n > expressions[expression] {
			topics = append(topics, g.resolvedTopics(expression)...)
		}
		return true
	})
	return hashTopics(c, topics)
}

// hashResolved hashes the topics that the group subscribes to, with what expressions match now.
func (g *Group) hashResolved(c *Context, resolved map[string][]string) int64 {
	topics := g.topicsWith(nil)
	g.subscribed.Scan(func(expression string, _ int) bool {
		matched, ok := resolved[expression]
		if !ok {
			matched = g.resolvedTopics(expression)
		}
		topics = append(topics, matched...)
		return true
	})
	return hashTopics(c, topics)
}

// topicsWith lists the topics that members name, with so many members more or less for some.
func (g *Group) topicsWith(delta map[string]int) (topics []string) {
	g.names.Scan(func(topic string, n int) bool {
		if n+delta[topic] > 0 {
			topics = append(topics, topic)
		}
		return true
	})
	for _, topic := range sortedKeys(delta) {
		if _, named := g.names.Get(topic); !named && delta[topic] > 0 {
			topics = append(topics, topic)
		}
	}
	return topics
}

// hashTopics hashes which topics there are, and how many partitions they have. It is 0 if there are none. Kafka's hash
// differs, and counts racks: nobody compares the two.
func hashTopics(c *Context, names []string) int64 {
	slices.Sort(names)
	h, some := fnv.New64a(), false
	for _, name := range slices.Compact(names) {
		topic, ok := c.Topics.Topic(name)
		if !ok {
			continue
		}
		some = true
		h.Write(topic.ID[:])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(topic.Partitions))))
	}
	if !some {
		return 0
	}
	return int64(h.Sum64())
}

// updateTarget returns the member's target and its epoch. It computes the assignment anew if the group epoch asks for it,
// and the last one is old enough.
func (h *heartbeat) updateTarget() (int32, Assignment) {
	if h.epoch <= h.g.target.epoch || !h.assignmentIsDue() {
		return h.g.target.epoch, h.lastTarget()
	}
	targets := h.computeTarget()
	for _, id := range sortedKeys(targets) {
		old, ok := h.g.targets[id]
		if h.replace != nil && id == h.member.ID {
			old, ok = h.g.targets[h.replace.ID], true // written with the place
		}
		if !ok || !old.Equal(targets[id]) {
			h.write(h.key(TypeTargetOf, id), targetOfValue{targets[id]})
		}
	}
	h.write(h.key(TypeTarget, ""), targetValue{h.epoch, h.c.NowMillis})
	return h.epoch, targets[h.member.ID]
}

// assignmentIsDue spaces assignments by an interval, so that many members that join together cost few.
func (h *heartbeat) assignmentIsDue() bool {
	last, interval := h.g.target.timestamp, h.c.Config.AssignmentInterval.Milliseconds()
	// A clock that was set back must not put it off for long.
	return last == 0 || interval == 0 || h.c.NowMillis >= last+interval || h.c.NowMillis < last
}

func (h *heartbeat) lastTarget() Assignment {
	if h.replace != nil {
		return h.g.targets[h.replace.ID]
	}
	return h.g.targets[h.member.ID]
}

// computeTarget assigns the partitions anew, with the member as it will be.
func (h *heartbeat) computeTarget() map[string]Assignment {
	t := newTargets(h.g, h.c)
	for _, m := range h.g.members {
		if m.ID != h.member.ID && (h.replace == nil || m.ID != h.replace.ID) {
			t.add(m, h.g.targets[m.ID])
		}
	}
	t.add(&h.member, h.lastTarget())
	return t.assign(assign.Find(h.g.assignor(h.c, h.counted(), &h.member.Metadata)))
}

// targets translates between a group and what assignors work on.
type targets struct {
	g             *Group
	c             *Context
	in            assign.Group
	topics        []*metadata.Topic // by index
	index         map[metadata.TopicID]int32
	subscriptions map[string]int
}

func newTargets(g *Group, c *Context) *targets {
	t := &targets{g: g, c: c, index: map[metadata.TopicID]int32{}, subscriptions: map[string]int{}}
	names := g.topicsWith(nil)
	g.expressions.Scan(func(_ string, r *Resolved) bool {
		names = append(names, r.Topics...)
		return true
	})
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		t.topic(name)
	}
	return t
}

// topic returns the index of a topic; not ok: there is no such topic.
func (t *targets) topic(name string) (int32, bool) {
	topic, ok := t.c.Topics.Topic(name)
	if !ok {
		return 0, false
	}
	i, ok := t.index[topic.ID]
	if !ok {
		i = int32(len(t.topics))
		t.index[topic.ID] = i
		t.topics = append(t.topics, topic)
		t.in.Partitions = append(t.in.Partitions, int32(len(topic.Partitions)))
	}
	return i, true
}

func (t *targets) add(m *Member, holds Assignment) {
	member := assign.Member{ID: m.ID, InstanceID: m.InstanceID, Subscription: t.subscription(&m.Metadata)}
	for _, tp := range holds {
		if i, ok := t.index[tp.Topic]; ok {
			member.Holds = append(member.Holds, assign.Partitions{Topic: i, Partitions: tp.Partitions})
		}
	}
	slices.SortStableFunc(member.Holds, func(a, b assign.Partitions) int { return int(a.Topic - b.Topic) })
	t.in.Members = append(t.in.Members, member)
}

// subscription returns the index of a member's set of topics. Members that subscribe alike share one.
func (t *targets) subscription(m *Metadata) int {
	key := strings.Join(m.Topics, "\x00") + "\x01" + m.Expression
	if i, ok := t.subscriptions[key]; ok {
		return i
	}
	var topics []int32
	for _, name := range slices.Concat(m.Topics, t.g.resolvedTopics(m.Expression)) {
		if i, ok := t.topic(name); ok {
			topics = append(topics, i)
		}
	}
	slices.Sort(topics)
	t.in.Subscriptions = append(t.in.Subscriptions, slices.Compact(topics))
	t.subscriptions[key] = len(t.in.Subscriptions) - 1
	return t.subscriptions[key]
}

func (t *targets) assign(assignor assign.Assignor) map[string]Assignment {
	out := make(map[string]Assignment, len(t.in.Members))
	for i, partitions := range assignor(&t.in) {
		a := make(Assignment, 0, len(partitions))
		for _, p := range partitions {
			a = append(a, TopicPartitions{Topic: t.topics[p.Topic].ID, Partitions: p.Partitions})
		}
		slices.SortStableFunc(a, func(x, y TopicPartitions) int { return slices.Compare(x.Topic[:], y.Topic[:]) })
		out[t.in.Members[i].ID] = a
	}
	return out
}
