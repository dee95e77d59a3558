package cases

import (
	"fmt"
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumer is one member of a group of KIP-848, on a connection of its own.
type consumer struct {
	*suite.Conn
	c        *suite.C
	group    string
	id       string
	instance *string
	epoch    int32
	topics   []string
	regex    *string
	assignor *string
	rack     *string
	timeout  int32 // rebalance, ms
	owned    []kmsg.ConsumerGroupHeartbeatRequestTopic
	assigned []string // partitions as name/index, as the last full answer gave them
	names    map[[16]byte]string
}

func newConsumer(c *suite.C, group, id string, topics ...topic) *consumer {
	m := &consumer{Conn: c.Dial(), c: c, group: group, id: id, timeout: memberTimeout, names: map[[16]byte]string{}}
	for _, t := range topics {
		m.topics = append(m.topics, t.name)
		m.names[t.id] = t.name
	}
	slices.Sort(m.topics)
	return m
}

// full is a heartbeat with all fields, as a member sends it first.
func (m *consumer) full(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := m.bare(epoch)
	r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.SubscribedTopicRegex = m.timeout, m.topics, m.regex
	if m.topics == nil {
		r.SubscribedTopicNames = []string{}
	}
	r.ServerAssignor, r.Topics = m.assignor, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if epoch != 0 {
		r.Topics = append(r.Topics, m.owned...)
	}
	return r
}

// bare is a heartbeat that says nothing new.
func (m *consumer) bare(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.MemberEpoch, r.InstanceID, r.RackID = m.group, m.id, epoch, m.instance, m.rack
	return r
}

// leaving is a heartbeat that leaves: with -1 for good, with -2 as an instance that comes back.
func (m *consumer) leaving(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest { return m.bare(epoch) }

func (m *consumer) try(r *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	return suite.Call(m, r)
}

// join joins, or joins again at epoch 0.
func (m *consumer) join() *kmsg.ConsumerGroupHeartbeatResponse {
	r := m.try(m.full(0))
	m.took(r)
	return r
}

// beat sends a bare heartbeat and takes what it answers.
func (m *consumer) beat() *kmsg.ConsumerGroupHeartbeatResponse {
	r := m.try(m.bare(m.epoch))
	m.took(r)
	return r
}

// confirm tells which partitions the member now owns: those assigned.
func (m *consumer) confirm() *kmsg.ConsumerGroupHeartbeatResponse {
	r := m.bare(m.epoch)
	r.Topics = append([]kmsg.ConsumerGroupHeartbeatRequestTopic{}, m.owned...)
	answer := m.try(r)
	m.took(answer)
	return answer
}

func (m *consumer) took(r *kmsg.ConsumerGroupHeartbeatResponse) {
	m.c.OK(r.ErrorCode, "ConsumerGroupHeartbeat")
	m.epoch = r.MemberEpoch
	if r.MemberID != nil {
		m.id = *r.MemberID
	}
	if r.Assignment == nil {
		return
	}
	m.assigned, m.owned = []string{}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range r.Assignment.Topics {
		own := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		own.TopicID, own.Partitions = t.TopicID, t.Partitions
		m.owned = append(m.owned, own)
		for _, p := range t.Partitions {
			m.assigned = append(m.assigned, fmt.Sprintf("%s/%d", m.names[t.TopicID], p))
		}
	}
	slices.Sort(m.assigned)
}

// settle lets members beat and confirm until the group is stable, each has the group's epoch, and they own n partitions.
func settle(n int, members ...*consumer) {
	c := members[0].c
	c.Poll(fmt.Sprintf("the group settles with %d partitions", n), func() bool {
		total := 0
		for _, m := range members {
			m.confirm()
			total += len(m.assigned)
		}
		g := describeConsumers(c, members[0].group)
		return total == n && g.State == "Stable" && !slices.ContainsFunc(members, func(m *consumer) bool { return m.epoch != g.Epoch })
	})
	owners := map[string]string{}
	for _, m := range members {
		for _, p := range m.assigned {
			c.True("%s has one owner, not %s and %s", owners[p] == "", p, owners[p], m.id)
			owners[p] = m.id
		}
	}
}

// alone makes a group of one member that owns n partitions.
func alone(c *suite.C, group string, n int, topics ...topic) *consumer {
	m := newConsumer(c, group, c.Name("m"), topics...)
	m.join()
	settle(n, m)
	return m
}

func describeConsumers(c *suite.C, group string) kmsg.ConsumerGroupDescribeResponseGroup {
	r := kmsg.NewPtrConsumerGroupDescribeRequest()
	r.Groups = []string{group}
	return suite.Call(c, r).Groups[0]
}

// setGroup sets a group's configuration and waits until the broker shows it.
func setGroup(c *suite.C, group, key, value string) {
	code := alterGroup(c, group, key, value)
	c.OK(code, "IncrementalAlterConfigs")
	c.Poll("the group's configuration is shown", func() bool { return groupConfig(c, group, key) == value })
}

func alterGroup(c *suite.C, group, key, value string) int16 {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	in, entry := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	entry.Name, entry.Value = key, &value
	in.ResourceType, in.ResourceName, in.Configs = kmsg.ConfigResourceTypeGroupConfig, group, append(in.Configs, entry)
	r.Resources = append(r.Resources, in)
	return suite.Call(c, r).Resources[0].ErrorCode
}

func groupConfig(c *suite.C, group, key string) string {
	r := kmsg.NewPtrDescribeConfigsRequest()
	in := kmsg.NewDescribeConfigsRequestResource()
	in.ResourceType, in.ResourceName, in.ConfigNames = kmsg.ConfigResourceTypeGroupConfig, group, []string{key}
	r.Resources = append(r.Resources, in)
	for _, entry := range suite.Call(c, r).Resources[0].Configs {
		if entry.Name == key && entry.Value != nil {
			return *entry.Value
		}
	}
	return ""
}
