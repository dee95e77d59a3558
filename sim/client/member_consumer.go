package client

import (
	"strings"
	"time"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerBeat is the one request of a member of KIP-848: it joins with epoch 0, tells what it owns, and is told what it is to own.
func (m *Member) consumerBeat() {
	joins := m.phase == outside
	all := joins || m.full || m.generation == 0 // while its expression is being resolved it may be told epoch 0
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.MemberEpoch, r.InstanceID, r.RebalanceTimeoutMillis = m.options.Group, m.id, m.generation, m.instance(), -1
	if joins {
		m.drop()
		m.takeSeat()
		r.MemberEpoch = 0
	}
	if all {
		r.RebalanceTimeoutMillis = int32(m.options.Rebalance.Milliseconds())
		if r.SubscribedTopicNames = []string{}; m.options.Expression != "" {
			r.SubscribedTopicRegex = kmsg.StringPtr(m.options.Expression)
		} else {
			for _, t := range m.options.Topics {
				r.SubscribedTopicNames = append(r.SubscribedTopicNames, t.Name)
			}
		}
	}
	if all || !m.reported || m.draws.PerMille(100) {
		r.Topics = m.ownedTopics()
	}
	call := m.Stamp()
	reports := r.Topics != nil
	m.call(requestTimeout, r, func(response kmsg.Response) {
		v := response.(*kmsg.ConsumerGroupHeartbeatResponse)
		if v.ErrorCode != 0 {
			if joins && v.ErrorCode == wire.FencedMemberEpoch {
				m.fail("group", "client %d joins group %s as %s with epoch 0, and is fenced", m.client, m.options.Group, m.id)
			}
			what := "ConsumerGroupHeartbeat"
			if v.ErrorMessage != nil {
				what += " (" + *v.ErrorMessage + ")"
			}
			m.refused(what, v.ErrorCode)
			return
		}
		m.confirm(call)
		m.full, m.taken = false, call
		m.reported = m.reported || reports
		m.heard(v)
	})
}

func (m *Member) ownedTopics() []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, p := range m.parts {
		if !p.owned {
			continue
		}
		if n := len(topics); n == 0 || topics[n-1].TopicID != p.Topic.ID {
			topic := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			topic.TopicID = p.Topic.ID
			topics = append(topics, topic)
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, p.Index)
	}
	return topics
}

// heard takes the answer to a heartbeat.
func (m *Member) heard(v *kmsg.ConsumerGroupHeartbeatResponse) {
	if m.phase == stable && v.MemberEpoch < m.generation {
		m.fail("group", "client %d had member epoch %d in group %s and was told %d", m.client, m.generation, m.options.Group, v.MemberEpoch)
	}
	if v.MemberID != nil && *v.MemberID != m.id {
		m.id = strings.Clone(*v.MemberID) // of version 0
	}
	m.generation, m.phase = v.MemberEpoch, stable
	if v.HeartbeatIntervalMillis > 0 {
		m.interval = time.Duration(v.HeartbeatIntervalMillis) * time.Millisecond
	}
	for _, p := range m.parts {
		if p.owned && p.since < 0 {
			p.since = m.generation
		}
	}
	if v.Assignment == nil {
		m.step()
		return
	}
	mine := map[*memberPart]bool{}
	for _, t := range v.Assignment.Topics {
		for _, index := range t.Partitions {
			p := m.find("", t.TopicID, index)
			if p == nil {
				m.fail("group", "client %d was assigned partition %d of topic %x in group %s, to which it did not subscribe", m.client, index, t.TopicID, m.options.Group)
				continue
			}
			mine[p] = true
		}
	}
	m.linger(mine)
	changed := false
	for _, p := range m.parts {
		changed = changed || p.owned != mine[p]
	}
	m.revise(mine)
	m.reported = m.reported && !changed
	m.step()
}

// linger keeps some of the partitions that it is told to give back for a while, as a client does that finishes its work on
// them. They are nobody else's until it says that it has given them back.
func (m *Member) linger(mine map[*memberPart]bool) {
	now := m.Queue.Now()
	for _, p := range m.parts {
		switch {
		case !p.owned:
		case mine[p]:
			p.revoked = 0
		case p.revoked > now:
			mine[p] = true
		case p.revoked == 0 && !m.ending && m.draws.PerMille(m.options.Slow):
			p.revoked, mine[p] = now.Add(m.draws.Duration(time.Millisecond, m.options.Rebalance/2)), true
		}
	}
}

// giveUp gives up the partitions whose revocation took long enough, and reports whether there were any.
func (m *Member) giveUp() (any bool) {
	for _, p := range m.parts {
		if p.owned && p.revoked > 0 && (p.revoked <= m.Queue.Now() || m.ending) {
			p.owned, p.revoked, m.reported, any = false, 0, false, true
		}
	}
	return any
}
