package client

import (
	"strconv"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pipe consumes as a member of a group, and writes what comes of it together with the group's offsets in
// transactions (exactly once, KIP-447).
type Pipe struct {
	member     *Member
	transactor *Transactor
}

// NewPipe makes a pipe of a member and a transactor, which are not started.
func NewPipe(m *Member, t *Transactor) *Pipe {
	p := &Pipe{member: m, transactor: t}
	// Before these versions the group's coordinator is not told the generation, and cannot refuse a zombie; and nobody
	// can ask for offsets that wait for open transactions (KIP-447).
	t.floors[keyTxnOffsetCommit] = 3
	if m.floors == nil {
		m.floors = map[int16]int16{}
	}
	m.floors[keyOffsetFetch] = max(m.floors[keyOffsetFetch], stableFrom)
	m.pipe, t.pipe = p, p
	return p
}

// txnInput is what a transaction consumes, and as which member.
type txnInput struct {
	group      string
	member     string
	instance   *string
	generation int32
	spans      []checker.Input
	parts      []*memberPart
	ownership  []int
	numbers    []int
	state      int
}

// What of an input the coordinators know.
const (
	inputNew       = iota
	inputAdded     // the group is part of the transaction
	inputCommitted // its offsets are
)

// take is the next transaction's input; nil: there is none.
func (p *Pipe) take() *txnInput {
	m := p.member
	if m.phase != stable || m.Queue.Now() < m.rest {
		return nil
	}
	in := &txnInput{group: m.options.Group, member: m.id, instance: m.instance(), generation: m.generation}
	for _, part := range m.parts {
		if !part.owned || part.reset || part.position <= part.done {
			continue
		}
		in.spans = append(in.spans, checker.Input{Group: in.group, Partition: part.History.Name, From: part.done, To: part.position, Processed: part.records, Anew: part.anew})
		in.parts, in.ownership = append(in.parts, part), append(in.ownership, part.ownership)
		part.records = 0
	}
	if len(in.parts) == 0 {
		return nil
	}
	return in
}

// over ends the transaction: after an abort the member reads again from the committed offsets.
func (p *Pipe) over(committed bool) {
	in := p.transactor.input
	for i, part := range in.parts {
		switch {
		case !part.owned || part.ownership != in.ownership[i]:
		case committed:
			part.done, part.anew = in.spans[i].To, false
		default:
			part.position, part.reset = -1, false
		}
	}
}

// open reports whether a transaction may still commit offsets of the member.
func (p *Pipe) open() bool { return p.transactor.input != nil }

// Start starts both.
func (p *Pipe) Start() {
	p.member.Start()
	p.transactor.Start()
}

// End stops what disturbs others; the pipe works on.
func (p *Pipe) End() {
	p.member.End()
	p.transactor.End()
}

// Stop ends both.
func (p *Pipe) Stop() {
	p.member.Stop()
	p.transactor.Stop()
}

// Member is the pipe's member.
func (p *Pipe) Member() *Member { return p.member }

// commitInput makes the offsets part of the transaction.
func (t *Transactor) commitInput() {
	in := t.input
	if in.state == inputNew && t.options.First {
		r := kmsg.NewPtrAddOffsetsToTxnRequest()
		r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group = t.options.ID, t.id, t.epoch, in.group
		t.call(r, func(response kmsg.Response) {
			if code := response.(*kmsg.AddOffsetsToTxnResponse).ErrorCode; code != 0 {
				t.refused("AddOffsetsToTxn", code)
				return
			}
			in.state = inputAdded
			t.step()
		})
		return
	}
	m := t.pipe.member
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch = t.options.ID, in.group, t.id, t.epoch
	r.Generation, r.MemberID, r.InstanceID = in.generation, in.member, in.instance
	for i, part := range in.parts {
		if len(in.numbers) <= i {
			in.numbers = append(in.numbers, m.number(part.Partition, in.spans[i].To, t.number))
			m.history.Commits[in.numbers[i]-1].Generation = -1
		}
		if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != part.Topic.Name {
			topic := kmsg.NewTxnOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = part.Topic.Name, part.Topic.ID
			r.Topics = append(r.Topics, topic)
		}
		topic := &r.Topics[len(r.Topics)-1]
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset, partition.LeaderEpoch, partition.Metadata = part.Index, in.spans[i].To, -1, kmsg.StringPtr(strconv.Itoa(in.numbers[i]))
		topic.Partitions = append(topic.Partitions, partition)
	}
	t.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.TxnOffsetCommitResponse)
		worst := m.allAnswered(m.history, in.parts, in.numbers, func(p *Partition) int16 { return txnCommittedCode(v, p) })
		if worst != 0 {
			t.refused("TxnOffsetCommit", worst)
			return
		}
		in.state = inputCommitted
		t.step()
	})
}

func txnCommittedCode(v *kmsg.TxnOffsetCommitResponse, p *Partition) int16 {
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
	return wire.UnknownTopicOrPartition
}
