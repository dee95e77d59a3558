package client

import (
	"slices"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// doom is what became of the doomed topic.
type doom uint8

const (
	alive    doom = iota
	deleting      // and it must be asked for again until it is gone
	gone
)

// topics are those that are there.
func (t *Transactor) topics() []*Topic {
	if t.options.Doomed == nil || t.doom != alive {
		return t.options.Topics
	}
	return append(slices.Clone(t.options.Topics), t.options.Doomed)
}

// dooms reports whether the doomed topic is to be deleted now: the transaction has written to it.
func (t *Transactor) dooms() bool {
	if t.options.Doomed == nil || t.doom != alive {
		return t.doom == deleting
	}
	wrote := slices.ContainsFunc(t.parts, func(p *txnPart) bool { return p.Topic == t.options.Doomed && p.added })
	return wrote && !t.ending && t.draws.PerMille(300)
}

// deleteDoomed deletes the doomed topic: the coordinator has to end a transaction of which a partition is gone.
func (t *Transactor) deleteDoomed() {
	t.doom, t.options.Doomed.Deleting = deleting, true
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TimeoutMillis, r.TopicNames = 3000, []string{t.options.Doomed.Name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(t.options.Doomed.Name)
	r.Topics = append(r.Topics, topic)
	t.call(r, func(response kmsg.Response) {
		v := response.(*kmsg.DeleteTopicsResponse)
		if len(v.Topics) == 1 && (v.Topics[0].ErrorCode == 0 || v.Topics[0].ErrorCode == wire.UnknownTopicOrPartition) {
			t.Queue.Hit("client: a topic was deleted within a transaction")
			t.doom = gone
			t.parts = slices.DeleteFunc(t.parts, func(p *txnPart) bool { return p.Topic == t.options.Doomed })
		} else if len(v.Topics) == 1 && t.leaves(v.Topics[0].ErrorCode) {
			return
		}
		t.again()
	})
}
