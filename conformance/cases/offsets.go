package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitRequest commits one offset for a group without members; cases set more.
func commitRequest(group string, t topic, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = group, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, offset, pointer("")
	in := kmsg.NewOffsetCommitRequestTopic()
	in.Topic, in.TopicID, in.Partitions = t.name, t.id, append(in.Partitions, p)
	r.Topics = append(r.Topics, in)
	return r
}

// commitCode commits on a connection and returns the code of the first partition.
func commitCode(on suite.Caller, r *kmsg.OffsetCommitRequest) int16 {
	return suite.Call(on, r).Topics[0].Partitions[0].ErrorCode
}

// commitSimple commits without a member, as tools and consumers without a group do.
func commitSimple(c *suite.C, group string, t topic, offset int64) {
	c.OK(commitCode(c, commitRequest(group, t, 0, offset)), "OffsetCommit")
}

// commit commits as a member.
func (m *member) commit(t topic, partition int32, offset int64) int16 {
	r := commitRequest(m.group, t, partition, offset)
	r.MemberID, r.Generation, r.InstanceID = m.id, m.generation, m.instance
	return commitCode(m, r)
}

// committed is what OffsetFetch says of a partition, in any version.
type committed struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    *string
	ErrorCode   int16
}

// fetchRequest asks for the offsets of partitions; without any, for all of the group.
func fetchRequest(group string, t topic, partitions ...int32) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	if len(partitions) > 0 {
		old, in := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroupTopic()
		old.Topic, old.Partitions = t.name, partitions
		in.Topic, in.TopicID, in.Partitions = t.name, t.id, partitions
		r.Topics, g.Topics = append(r.Topics, old), append(g.Topics, in)
	}
	r.Groups = append(r.Groups, g)
	return r
}

// offsetsIn are the partitions of one topic in an answer, with the code of the group.
func offsetsIn(r *kmsg.OffsetFetchResponse, t topic) (found map[int32]committed, code int16) {
	found = map[int32]committed{}
	for _, in := range r.Topics {
		for _, p := range in.Partitions {
			if in.Topic == t.name {
				found[p.Partition] = committed{p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode}
			}
		}
	}
	if r.Version < 8 {
		return found, r.ErrorCode
	}
	for _, in := range r.Groups[0].Topics {
		for _, p := range in.Partitions {
			if in.Topic == t.name || r.Version >= 10 && in.TopicID == t.id {
				found[p.Partition] = committed{p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode}
			}
		}
	}
	return found, r.Groups[0].ErrorCode
}

// fetchCommitted is the offset of one partition.
func fetchCommitted(c *suite.C, group string, t topic, partition int32) committed {
	found, code := offsetsIn(suite.Call(c, fetchRequest(group, t, partition)), t)
	c.OK(code, "OffsetFetch")
	c.Equal("partitions of OffsetFetch", len(found), 1)
	return found[partition]
}
