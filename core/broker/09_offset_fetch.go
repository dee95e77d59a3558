// OffsetFetch (9), versions 1-10: all topics and a top-level error (KIP-88, version 2), leader epochs (KIP-320, 5), stable offsets
// only (KIP-447, 7), many groups (KIP-709, 8), member epochs (KIP-848, 9), topic ids (KIP-848, 10).
//
// Difference from Kafka: what a request names twice is answered once. Four bytes of it may ask for the metadata of an
// offset, some thousand times as much.

package broker

import (
	"slices"

	"weir/core/group"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	offsetFetchTopError = 2  // an error for the whole request
	offsetFetchGroups   = 8  // many groups
	offsetFetchTopicIDs = 10 // topics by id
)

// offsetFetch returns committed offsets.
func (b *Broker) offsetFetch(x exchange, r *kmsg.OffsetFetchRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.OffsetFetchResponse)
	if r.Version >= offsetFetchGroups {
		fetchOnce(r.Groups)
		for i := range r.Groups {
			out.Groups = append(out.Groups, b.fetchGroup(r.Version, &r.Groups[i], r.RequireStable))
		}
	} else {
		b.fetchOneGroup(r, out)
	}
	x.replyMessage(out)
}

// fetchOneGroup handles the versions that ask for one group by name.
func (b *Broker) fetchOneGroup(r *kmsg.OffsetFetchRequest, out *kmsg.OffsetFetchResponse) {
	q := kmsg.NewOffsetFetchRequestGroup()
	q.Group = r.Group
	for _, t := range r.Topics {
		one := kmsg.NewOffsetFetchRequestGroupTopic()
		one.Topic, one.Partitions = t.Topic, t.Partitions
		q.Topics = append(q.Topics, one)
	}
	if r.Topics != nil && q.Topics == nil {
		q.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	fetchOnce([]kmsg.OffsetFetchRequestGroup{q})
	g := b.fetchGroup(r.Version, &q, r.RequireStable)
	if g.ErrorCode != wire.None && r.Version < offsetFetchTopError {
		g.Topics = failedTopics(q.Topics, g.ErrorCode)
	}
	out.ErrorCode = g.ErrorCode
	for _, t := range g.Topics {
		one := kmsg.NewOffsetFetchResponseTopic()
		one.Topic = t.Topic
		for _, p := range t.Partitions {
			q := kmsg.NewOffsetFetchResponseTopicPartition()
			q.Partition, q.Offset, q.LeaderEpoch, q.Metadata, q.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			one.Partitions = append(one.Partitions, q)
		}
		out.Topics = append(out.Topics, one)
	}
}

// fetchOnce takes out of a request what is there again: partitions, and groups all of whose topics are asked for.
func fetchOnce(groups []kmsg.OffsetFetchRequestGroup) {
	type topic struct {
		group, name int
		id          metadata.TopicID
	}
	var groupNumbers, names topicNumbers
	all, topics, seen := map[int]bool{}, map[topic]int{}, map[topicPartition]bool{}
	for i := range groups {
		g := &groups[i]
		number := groupNumbers.of(g.Group)
		if g.Topics == nil && all[number] {
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
		}
		all[number] = all[number] || g.Topics == nil
		for j := range g.Topics {
			t := &g.Topics[j]
			key := topic{number, names.of(t.Topic), t.TopicID}
			at, ok := topics[key]
			if !ok {
				at = len(topics)
				topics[key] = at
			}
			t.Partitions = slices.DeleteFunc(t.Partitions, func(p int32) bool {
				again := seen[topicPartition{at, p}]
				seen[topicPartition{at, p}] = true
				return again
			})
		}
	}
}

// failedTopics says of every partition asked for why it has no offset.
func failedTopics(asked []kmsg.OffsetFetchRequestGroupTopic, code int16) (topics []kmsg.OffsetFetchResponseGroupTopic) {
	for _, t := range asked {
		one := kmsg.NewOffsetFetchResponseGroupTopic()
		one.Topic, one.TopicID = t.Topic, t.TopicID
		for _, index := range t.Partitions {
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, -1, kmsg.StringPtr(""), code
			one.Partitions = append(one.Partitions, p)
		}
		topics = append(topics, one)
	}
	return topics
}

// fetchGroup returns the offsets of one group.
func (b *Broker) fetchGroup(version int16, q *kmsg.OffsetFetchRequestGroup, requireStable bool) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = q.Group
	m, code := b.groupOf(q.Group)
	if code != wire.None {
		out.ErrorCode = int16(code)
		return out
	}
	byID := version >= offsetFetchTopicIDs
	asked, unknown := b.fetchedTopics(byID, q.Topics)
	out.Topics, code = m.Fetch(q.Group, q.MemberID, q.MemberEpoch, asked, requireStable)
	if out.ErrorCode = int16(code); code != wire.None {
		return out
	}
	if byID && q.Topics == nil {
		out.Topics = b.withIDs(out.Topics)
	}
	out.Topics = append(out.Topics, failedTopics(unknown, wire.UnknownTopicID)...)
	return out
}

// fetchedTopics resolves topic ids; nil asks for all topics.
func (b *Broker) fetchedTopics(byID bool, asked []kmsg.OffsetFetchRequestGroupTopic) (topics []group.FetchedTopic, unknown []kmsg.OffsetFetchRequestGroupTopic) {
	if asked == nil {
		return nil, nil
	}
	topics = []group.FetchedTopic{}
	for _, t := range asked {
		f := group.FetchedTopic{Name: t.Topic, Partitions: t.Partitions}
		if byID {
			known, ok := b.image.TopicByID(t.TopicID)
			if !ok {
				unknown = append(unknown, t)
				continue
			}
			f.Name, f.ID = known.Name, known.ID
		}
		topics = append(topics, f)
	}
	return topics, unknown
}

// withIDs gives topics their ids, and leaves those out that are gone.
func (b *Broker) withIDs(topics []kmsg.OffsetFetchResponseGroupTopic) (out []kmsg.OffsetFetchResponseGroupTopic) {
	for _, t := range topics {
		if known, ok := b.image.Topic(t.Topic); ok {
			t.TopicID = known.ID
			out = append(out, t)
		}
	}
	return out
}
