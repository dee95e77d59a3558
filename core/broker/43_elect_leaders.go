// ElectLeaders (43), versions 0-2: preferred and unclean elections (KIP-183; KIP-460 from version 1).
//
// A partition has one broker that can lead it, so there is never an election to hold: a partition that has its leader gets
// ELECTION_NOT_NEEDED, as in Kafka with one replica, and one whose broker is away PREFERRED_LEADER_NOT_AVAILABLE, or
// ELIGIBLE_LEADERS_NOT_AVAILABLE for an unclean election.

package broker

import (
	"fmt"

	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of elections.
const (
	electPreferred = 0
	electUnclean   = 1
)

// electLeaders says of each partition why it has no election. Null topics ask for all that need one: then each topic is in
// the answer with its partitions that have no leader.
func (b *Broker) electLeaders(x exchange, r *kmsg.ElectLeadersRequest) {
	b.whenCurrent(x, r.TimeoutMillis, func() { b.electLeadersNow(x, r) }, func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.ElectLeadersResponse)
		out.ErrorCode = code
		for i := range r.Topics {
			addElections(out, r.Topics[i].Topic, r.Topics[i].Partitions, func(int32) (int16, string) { return code, *message })
		}
		x.replyMessage(out)
	})
}

func (b *Broker) electLeadersNow(x exchange, r *kmsg.ElectLeadersRequest) {
	out := r.ResponseKind().(*kmsg.ElectLeadersResponse)
	kind, refused, why := r.ElectionType, int16(0), ""
	if r.Version == 0 {
		kind = electPreferred
	}
	switch {
	case kind != electPreferred && kind != electUnclean:
		refused, why = wire.InvalidRequest, fmt.Sprintf("Value %d must be one of [PREFERRED, UNCLEAN]", kind)
	case r.TimeoutMillis <= 0:
		refused = wire.RequestTimedOut // as in Kafka: the time is over before the work begins
	}
	out.ErrorCode = refused
	if r.Topics == nil && refused == 0 {
		for _, t := range b.image.Topics() {
			addElections(out, t.Name, b.leaderless(t, x.listener()), func(index int32) (int16, string) { return b.election(t, index, kind, x.listener()) })
		}
	}
	for i := range r.Topics {
		q := &r.Topics[i]
		t, _ := b.image.Topic(q.Topic)
		addElections(out, q.Topic, q.Partitions, func(index int32) (int16, string) {
			if refused != 0 {
				return refused, why
			}
			return b.election(t, index, kind, x.listener())
		})
	}
	x.replyMessage(out)
}

// leaderless lists the partitions of a topic that have no leader.
func (b *Broker) leaderless(t *metadata.Topic, listener string) (indexes []int32) {
	for i := range t.Partitions {
		if b.stateOf(&t.Partitions[i], listener).leader < 0 {
			indexes = append(indexes, int32(i))
		}
	}
	return indexes
}

// election is the outcome for one partition; t is nil if there is no such topic.
func (b *Broker) election(t *metadata.Topic, index int32, kind int8, listener string) (int16, string) {
	switch {
	case t == nil:
		return wire.UnknownTopicOrPartition, "There is no such topic." // names are not repeated for each of many partitions
	case index < 0 || int(index) >= len(t.Partitions):
		return wire.UnknownTopicOrPartition, "The topic has no such partition."
	case b.stateOf(&t.Partitions[index], listener).leader >= 0:
		return wire.ElectionNotNeeded, "Leader election not needed for topic partition."
	case kind == electPreferred:
		return wire.PreferredLeaderNotAvailable, "The preferred leader was not available."
	}
	return wire.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available."
}

func addElections(out *kmsg.ElectLeadersResponse, topic string, partitions []int32, outcome func(index int32) (int16, string)) {
	t := kmsg.NewElectLeadersResponseTopic()
	t.Topic = topic
	t.Partitions = make([]kmsg.ElectLeadersResponseTopicPartition, len(partitions))
	for i, index := range partitions {
		code, message := outcome(index)
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition, p.ErrorCode = index, code
		if message != "" {
			p.ErrorMessage = &message
		}
		t.Partitions[i] = p
	}
	out.Topics = append(out.Topics, t)
}
