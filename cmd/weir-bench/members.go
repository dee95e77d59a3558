package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// rebalanceTimeoutMillis is what members ask for: Kafka's max.poll.interval.ms.
	rebalanceTimeoutMillis = 300_000
	// memberRetry is how long a member waits before it asks again a coordinator that is not ready.
	memberRetry   = 50 * time.Millisecond
	convergedPoll = 20 * time.Millisecond
)

// topicPartition is a partition of one of a fleet's topics.
type topicPartition struct {
	topic     [16]byte
	partition int32
}

// fleet is what the members of groups of the consumer protocol (KIP-848) have in common. All subscribe to the same topics.
type fleet struct {
	topics     []string
	partitions int          // of all topics
	beats      atomic.Int64 // heartbeats that were answered
	fail       context.CancelCauseFunc
}

// groupMembers is one group of a fleet, as its members see it. Its mutex guards its members, too.
type groupMembers struct {
	fleet *fleet
	id    string

	mutex   sync.Mutex
	owned   map[topicPartition]*groupMember
	live    map[*groupMember]bool
	stopped bool
}

func newGroupMembers(f *fleet, id string) *groupMembers {
	return &groupMembers{fleet: f, id: id, owned: map[topicPartition]*groupMember{}, live: map[*groupMember]bool{}}
}

// groupMember does what a consumer does, but for reading records: it gives back at once what it is told to.
type groupMember struct {
	group *groupMembers
	pipe  *pipe
	id    string

	epoch   int32
	owned   []topicPartition
	report  bool // the coordinator has not heard what is owned
	waiting bool // for an answer
	timer   *time.Timer
	joined  func() // called once, when the coordinator knows the member
	left    func() // nil: the member stays
}

func (g *groupMembers) join(p *pipe, id string, joined func()) *groupMember {
	m := &groupMember{group: g, pipe: p, id: id, joined: joined}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.live[m] = true
	m.beat()
	return m
}

// leave gives everything back, and calls left once the coordinator knows.
func (m *groupMember) leave(left func()) {
	m.group.mutex.Lock()
	defer m.group.mutex.Unlock()
	if m.left = left; !m.waiting {
		m.timer.Stop()
		m.beat()
	}
}

// beat sends a heartbeat.
func (m *groupMember) beat() {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = 1, m.group.id, m.id, m.epoch, -1
	switch {
	case m.left != nil:
		m.own(nil)
		r.MemberEpoch = -1
		delete(m.group.live, m)
	case m.epoch == 0:
		r.RebalanceTimeoutMillis, r.SubscribedTopicNames = rebalanceTimeoutMillis, m.group.fleet.topics
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	case m.report:
		r.Topics = byTopic(m.owned)
	}
	m.report, m.waiting = false, true
	m.pipe.send(r, func(response kmsg.Response, err error) {
		if err != nil {
			m.group.fleet.fail(fmt.Errorf("heartbeat: %w", err))
			return
		}
		m.answered(r, response.(*kmsg.ConsumerGroupHeartbeatResponse))
	})
}

func byTopic(all []topicPartition) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	out := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	places := map[[16]byte]int{}
	for _, p := range all {
		at, ok := places[p.topic]
		if !ok {
			at = len(out)
			places[p.topic] = at
			t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			t.TopicID = p.topic
			out = append(out, t)
		}
		out[at].Partitions = append(out[at].Partitions, p.partition)
	}
	return out
}

// answered takes over what the coordinator says. Who has other partitions now says so at once.
func (m *groupMember) answered(q *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) {
	m.group.fleet.beats.Add(1)
	m.group.mutex.Lock()
	defer m.group.mutex.Unlock()
	m.waiting = false
	wait := time.Duration(r.HeartbeatIntervalMillis) * time.Millisecond
	switch err := kerr.ErrorForCode(r.ErrorCode); {
	case err == nil && q.MemberEpoch < 0:
		m.left()
		return
	case err == nil:
		m.epoch = r.MemberEpoch
		m.assigned(r.Assignment)
		if m.joined != nil {
			m.joined()
			m.joined = nil
		}
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedMemberEpoch):
		m.own(nil)
		m.epoch, wait = 0, memberRetry
	case kerr.IsRetriable(err):
		wait = memberRetry
		defer func() { m.report = q.Topics != nil }()
	default:
		m.group.fleet.fail(fmt.Errorf("heartbeat: %w", err))
		return
	}
	switch {
	case m.group.stopped:
	case m.report || m.left != nil:
		m.beat()
	default:
		m.timer = time.AfterFunc(wait, m.due)
	}
}

func (m *groupMember) due() {
	m.group.mutex.Lock()
	defer m.group.mutex.Unlock()
	if !m.waiting && !m.group.stopped {
		m.beat()
	}
}

func (m *groupMember) assigned(a *kmsg.ConsumerGroupHeartbeatResponseAssignment) {
	if a == nil {
		return
	}
	var next []topicPartition
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			next = append(next, topicPartition{t.TopicID, p})
		}
	}
	m.own(next)
	m.report = true
}

// own gives back what the member has, and takes other partitions.
func (m *groupMember) own(next []topicPartition) {
	for _, p := range m.owned {
		delete(m.group.owned, p)
	}
	for _, p := range next {
		if m.group.owned[p] != nil {
			m.group.fleet.fail(fmt.Errorf("partition %d of topic %x has two owners in group %s", p.partition, p.topic, m.group.id))
		}
		m.group.owned[p] = m
	}
	m.owned = next
}

// converged reports whether so many members own every partition, are at one epoch, and have nothing to say.
func (g *groupMembers) converged(members int) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.owned) != g.fleet.partitions || len(g.live) != members {
		return false
	}
	lowest, highest := int32(1<<30), int32(0)
	for m := range g.live {
		lowest, highest = min(lowest, m.epoch), max(highest, m.epoch)
		if m.report {
			return false
		}
	}
	return lowest == highest && lowest > 0
}

// awaitConverged waits until the group's members have what they are to have, and the coordinator says so too.
func (g *groupMembers) awaitConverged(ctx context.Context, members int, asked *pipe) error {
	for {
		if g.converged(members) {
			if stable, err := stableGroup(asked, g.id); stable || err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(convergedPoll):
		}
	}
}

// stableGroup asks the coordinator whether all members of a group have reached their target.
func stableGroup(asked *pipe, group string) (bool, error) {
	r := kmsg.NewPtrListGroupsRequest()
	r.Version, r.StatesFilter = 5, []string{"Stable"}
	response, err := asked.call(r)
	if err != nil {
		return false, err
	}
	for _, g := range response.(*kmsg.ListGroupsResponse).Groups {
		if g.Group == group {
			return true, nil
		}
	}
	return false, nil
}

// stop ends the heartbeats.
func (g *groupMembers) stop() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.stopped = true
}
