package client

import (
	"strconv"
	"strings"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitDue commits what was read, now and then.
func (m *Member) commitDue() {
	if m.pipe != nil {
		m.pipe.transactor.step()
		return
	}
	if m.ending || m.draws.PerMille(100) {
		m.commit(func() {})
	}
}

// commit commits the positions, if there is anything to commit, and goes on.
func (m *Member) commit(next func()) {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation, r.MemberID, r.InstanceID = m.options.Group, m.generation, m.id, m.instance()
	old, large := !m.ending && m.draws.PerMille(m.options.Old), !m.ending && m.draws.PerMille(m.options.Large)
	since := int32(0)
	type sent struct {
		p                 *memberPart
		number, ownership int
		offset            int64
	}
	var all []sent
	for _, p := range m.parts {
		if !p.owned || m.pipe != nil || p.position <= p.done {
			continue
		}
		if since = max(since, p.since); p.since < 0 {
			old = false
		}
		number := m.number(p.Partition, p.position, 0)
		all = append(all, sent{p, number, p.ownership, p.position})
		if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != p.Topic.Name {
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = p.Topic.Name, p.Topic.ID
			r.Topics = append(r.Topics, topic)
		}
		topic := &r.Topics[len(r.Topics)-1]
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p.Index, p.position, -1, kmsg.StringPtr(strconv.Itoa(number))
		if large {
			part.Metadata = kmsg.StringPtr(*part.Metadata + strings.Repeat(" ", metadataMax))
		}
		topic.Partitions = append(topic.Partitions, part)
	}
	if len(all) == 0 {
		next()
		return
	}
	if old {
		r.Generation = since
	}
	call := m.Stamp()
	m.call(requestTimeout, r, func(response kmsg.Response) {
		v := response.(*kmsg.OffsetCommitResponse)
		worst := int16(0)
		for _, s := range all {
			code := committedCode(v, s.p.Partition)
			m.answered(m.history, s.number, code)
			if large && code == 0 {
				m.fail("protocol", "client %d: a commit with metadata of more than %d bytes was accepted for %s", m.client, metadataMax, s.p.History.Name)
			}
			if old && code == wire.StaleMemberEpoch {
				m.fail("group", "client %d has %s since epoch %d at the latest, and a commit with it was answered %s", m.client, s.p.History.Name, since, checker.CodeName(code))
			}
			if code != 0 {
				worst = code
			} else if s.p.owned && s.ownership == s.p.ownership {
				s.p.done = s.offset
			}
		}
		if worst == 0 {
			m.confirm(call)
			next()
			return
		}
		m.refused("OffsetCommit", worst)
	})
}

// metadataMax is offset.metadata.max.bytes.
const metadataMax = 4096

// number records a commit that is about to be sent.
func (m *Member) number(p *Partition, offset int64, transaction int32) int {
	generation := m.generation
	if m.options.Consumer {
		generation = -1
	}
	m.history.Commits = append(m.history.Commits, checker.OffsetCommit{
		Client: int32(m.client), Partition: p.History.Name, Offset: offset, Generation: generation, Transaction: transaction, Call: m.Stamp(), Return: forever,
	})
	return len(m.history.Commits)
}

// answered records the answer to a commit.
func (s *session) answered(g *checker.Group, number int, code int16) {
	c := &g.Commits[number-1]
	switch c.Code = code; code {
	case 0:
		c.Outcome, c.Return = checker.Done, s.Stamp()
	case wire.IllegalGeneration, wire.UnknownMemberID, wire.FencedInstanceID, wire.StaleMemberEpoch, wire.FencedMemberEpoch, wire.RebalanceInProgress,
		wire.GroupIDNotFound, wire.UnknownTopicOrPartition, wire.OffsetMetadataTooLarge, wire.ConcurrentTransactions, wire.InvalidProducerEpoch, wire.ProducerFenced, wire.InvalidTxnState, wire.InvalidProducerIDMapping:
		c.Outcome, c.Return = checker.Failed, s.Stamp()
	}
}

// allAnswered records the answers to the commits of some partitions, and returns an error code of them, if there is one.
func (s *session) allAnswered(g *checker.Group, parts []*memberPart, numbers []int, code func(*Partition) int16) (worst int16) {
	for i, p := range parts {
		got := code(p.Partition)
		s.answered(g, numbers[i], got)
		if got != 0 {
			worst = got
		}
	}
	return worst
}

func committedCode(v *kmsg.OffsetCommitResponse, p *Partition) int16 {
	for i := range v.Topics {
		t := &v.Topics[i]
		if t.Topic != p.Topic.Name && (t.Topic != "" || t.TopicID != p.Topic.ID) {
			continue
		}
		for j := range t.Partitions {
			if t.Partitions[j].Partition == p.Index {
				return t.Partitions[j].ErrorCode
			}
		}
	}
	return -1
}
