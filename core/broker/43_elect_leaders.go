package broker

import (
	"fmt"

	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders (43), versions 0-2: preferred and unclean elections (KIP-183; KIP-460 from version 1).
//
// A partition has one broker that can lead it, so there is never an election to hold: a partition that has its leader gets
// ELECTION_NOT_NEEDED, as in Kafka with one replica, and one whose broker is away PREFERRED_LEADER_NOT_AVAILABLE, or
// ELIGIBLE_LEADERS_NOT_AVAILABLE for an unclean election.

// electionTextsMax is how many partitions of an answer have a text. One request can name some 260,000 partitions, or the same one
// as often; with a text for each, its answer would be many times its size.
const electionTextsMax = 1000

// Kinds of elections.
const (
	electPreferred = 0
	electUnclean   = 1
)

// electLeaders says of each partition why it has no election. Null topics ask for all that need one: then each topic is in
// the answer with its partitions that have no leader.
func (b *Broker) electLeaders(x exchange, r *kmsg.ElectLeadersRequest) {
	x.releaseFrame()
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
	answer := elections{response: out, why: why}
	if r.Topics == nil && refused == 0 {
		for _, t := range b.image.Topics() {
			answer.add(t.Name, t, b.leaderless(t, x.listener()), func(index int32) int16 { return b.election(t, index, kind, x.listener()) })
		}
	}
	for i := range r.Topics {
		q := &r.Topics[i]
		t, _ := b.image.Topic(q.Topic)
		answer.add(q.Topic, t, q.Partitions, func(index int32) int16 {
			if refused != 0 {
				return refused
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
func (b *Broker) election(t *metadata.Topic, index int32, kind int8, listener string) int16 {
	switch {
	case t == nil || index < 0 || int(index) >= len(t.Partitions):
		return wire.UnknownTopicOrPartition
	case b.stateOf(&t.Partitions[index], listener).leader >= 0:
		return wire.ElectionNotNeeded
	case kind == electPreferred:
		return wire.PreferredLeaderNotAvailable
	}
	return wire.EligibleLeadersNotAvailable
}

// elections gathers the outcomes.
type elections struct {
	response *kmsg.ElectLeadersResponse
	why      string // the text if the whole request is refused
	texts    int    // partitions that have a text
}

func (e *elections) add(topic string, known *metadata.Topic, partitions []int32, outcome func(index int32) int16) {
	t := kmsg.NewElectLeadersResponseTopic()
	t.Topic = topic
	t.Partitions = make([]kmsg.ElectLeadersResponseTopicPartition, len(partitions))
	for i, index := range partitions {
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition, p.ErrorCode = index, outcome(index)
		if e.texts < electionTextsMax {
			p.ErrorMessage = e.text(topic, known, index, p.ErrorCode)
			e.texts++
		}
		t.Partitions[i] = p
	}
	e.response.Topics = append(e.response.Topics, t)
}

// text explains an outcome. A name that no topic can have is left out: it may be as long as the request.
func (e *elections) text(topic string, known *metadata.Topic, index int32, code int16) *string {
	text := e.why
	switch {
	case code == wire.UnknownTopicOrPartition && known != nil:
		text = fmt.Sprintf("No such partition as %s-%d", topic, index)
	case code == wire.UnknownTopicOrPartition && validTopicName(topic):
		text = "No such topic as " + topic
	case code == wire.UnknownTopicOrPartition:
		text = "No such topic."
	case code == wire.ElectionNotNeeded:
		text = "Leader election not needed for topic partition."
	case code == wire.PreferredLeaderNotAvailable:
		text = "The preferred leader was not available."
	case code == wire.EligibleLeadersNotAvailable:
		text = "Eligible topic partition leaders are not available."
	}
	if text == "" {
		return nil
	}
	return &text
}
