package group

import (
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FetchedTopic is one topic of a fetch of offsets. By name the id is zero, and offsets of a topic that was deleted count.
type FetchedTopic struct {
	Name       string
	ID         metadata.TopicID
	Partitions []int32
}

// Fetch returns committed offsets of a group: of these topics, or all if they are nil. If requireStable, a partition for
// which a transaction has staged an offset is answered UNSTABLE_OFFSET_COMMIT (KIP-447).
func (m *Machine) Fetch(id string, memberID *string, memberEpoch int32, topics []FetchedTopic, requireStable bool) ([]kmsg.OffsetFetchResponseGroupTopic, wire.Code) {
	g := m.groups[id]
	if g != nil && g.members != nil {
		if code := g.members.admitsFetch(memberID, memberEpoch); code != wire.None {
			return nil, code
		}
	}
	if topics == nil {
		topics = g.fetchAll()
	}
	out := make([]kmsg.OffsetFetchResponseGroupTopic, len(topics))
	for i := range topics {
		t := &topics[i]
		out[i] = kmsg.NewOffsetFetchResponseGroupTopic()
		out[i].Topic, out[i].TopicID = t.Name, t.ID
		out[i].Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(t.Partitions))
		from := g
		if len(t.Name) > metadata.TopicNameBytesMax {
			from = nil // no topic has the name: it is not looked up for each partition
		}
		for j, index := range t.Partitions {
			out[i].Partitions[j] = from.fetchOne(topicPartition{t.Name, index}, t.ID, requireStable)
		}
	}
	return out, wire.None
}

func (g *Group) fetchAll() []FetchedTopic {
	topics := []FetchedTopic{}
	if g == nil {
		return topics
	}
	for _, tp := range g.committed() {
		if n := len(topics); n == 0 || topics[n-1].Name != tp.topic {
			topics = append(topics, FetchedTopic{Name: tp.topic})
		}
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, tp.partition)
	}
	return topics
}

func (g *Group) fetchOne(tp topicPartition, id metadata.TopicID, requireStable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = tp.partition, -1, -1, kmsg.StringPtr("")
	if g == nil {
		return p
	}
	if requireStable && len(g.stagedBy(tp)) > 0 {
		p.ErrorCode = wire.UnstableOffsetCommit
		return p
	}
	o := g.offset(tp)
	if o == nil || id != (metadata.TopicID{}) && o.topicID != (metadata.TopicID{}) && o.topicID != id {
		return p
	}
	p.Offset, p.LeaderEpoch, p.Metadata = o.value, o.epoch, &o.metadata
	return p
}
