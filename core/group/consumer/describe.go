package consumer

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The member types of ConsumerGroupDescribe 1.
const (
	memberTypeClassic  = 0
	memberTypeConsumer = 1
)

// Describe describes the group as of what is applied. Topics that are gone are left out.
func (g *Group) Describe(c *Context) kmsg.ConsumerGroupDescribeResponseGroup {
	out := kmsg.NewConsumerGroupDescribeResponseGroup()
	out.Group, out.State = g.ID, g.State()
	out.Epoch, out.AssignmentEpoch = g.value.epoch, g.target.epoch
	out.AssignorName = g.assignor(c, nil, nil)
	for _, m := range g.members {
		d := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		d.MemberID, d.MemberEpoch = m.ID, m.Epoch
		d.InstanceID, d.RackID = unlessEmpty(m.InstanceID), unlessEmpty(m.Rack)
		d.ClientID, d.ClientHost = m.ClientID, m.ClientHost
		d.SubscribedTopics, d.SubscribedTopicRegex = m.Topics, &m.Expression // never null, as in Kafka
		d.Assignment.TopicPartitions = describePartitions(c, m.Assigned)
		d.TargetAssignment.TopicPartitions = describePartitions(c, g.targets[m.ID])
		d.MemberType = memberTypeConsumer
		if m.Classic != nil {
			d.MemberType = memberTypeClassic
		}
		out.Members = append(out.Members, d)
	}
	return out
}

func describePartitions(c *Context, a Assignment) (out []kmsg.AssignmentTopicPartition) {
	for _, tp := range a {
		topic, ok := c.Topics.TopicByID(tp.Topic)
		if !ok {
			continue
		}
		d := kmsg.NewAssignmentTopicPartition()
		d.TopicID, d.Topic, d.Partitions = tp.Topic, topic.Name, tp.Partitions
		out = append(out, d)
	}
	return out
}

func unlessEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
