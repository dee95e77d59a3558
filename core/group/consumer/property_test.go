package consumer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"
)

// client is a member that takes its time: it goes on consuming what it was told to give back until it gets to that.
type client struct {
	id, instance string
	serial       int // of its member ids
	joined       bool
	missed       bool // an answer: the next heartbeat says everything, and is answered in full
	epoch        int32
	given        Assignment // by the last answer
	consumes     map[partitionKey]bool
	says         []says // its subscription
}

func (c *client) fenced() {
	c.joined, c.missed, c.epoch, c.given, c.consumes = false, false, 0, nil, map[partitionKey]bool{}
}

func (c *client) member() string { return fmt.Sprintf("%s-%d", c.id, c.serial) }

// revoke stops what the client must give back.
func (c *client) revoke() {
	for key := range c.consumes {
		if !c.given.Has(key.topic, key.partition) {
			delete(c.consumes, key)
		}
	}
}

// owned is what the client says it owns: all that it consumes.
func (c *client) owned() (a Assignment) {
	byTopic := map[metadata.TopicID][]int32{}
	for key := range c.consumes {
		byTopic[key.topic] = append(byTopic[key.topic], key.partition)
	}
	for id, partitions := range byTopic {
		a = append(a, TopicPartitions{Topic: id, Partitions: partitions})
	}
	return normalized(a)
}

func (c *client) learn(a *kmsg.ConsumerGroupHeartbeatResponse) {
	c.epoch = a.MemberEpoch
	if a.Assignment == nil {
		return
	}
	c.given = nil
	for _, topic := range a.Assignment.Topics {
		c.given = append(c.given, TopicPartitions{Topic: topic.TopicID, Partitions: topic.Partitions})
		for _, p := range topic.Partitions {
			c.consumes[partitionKey{topic.TopicID, p}] = true
		}
	}
}

// story is a group with its clients, at random.
type story struct {
	*rig
	t       *rapid.T
	clients []*client
	calm    bool // nothing fails any more
}

func (s *story) draw(n int, what string) int {
	if s.calm {
		return n - 1
	}
	return rapid.IntRange(0, n-1).Draw(s.t, what)
}

func (s *story) subscription() []says {
	switch s.draw(4, "subscription") {
	case 0:
		return []says{names("a"), expression("")}
	case 1:
		return []says{names("ab"), expression("")}
	case 2:
		return []says{func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{} }, expression("[bc]")}
	}
	return []says{names("c"), expression("a")}
}

// heartbeat sends one; its write may fail, and its answer may be lost.
func (s *story) heartbeat(c *client, q *kmsg.ConsumerGroupHeartbeatRequest) {
	if c.instance != "" {
		q.InstanceID = &c.instance
	}
	if s.draw(10, "the write fails") == 0 {
		s.c.TopicsVersion, s.c.NewTopicsVersion = s.topics.version, int64(s.topics.version)
		before := snapshot(s.g)
		_, _ = s.g.Heartbeat(&s.c, q, Client{})
		require.Equal(s.t, before, snapshot(s.g), "a decision changes nothing")
		c.missed = true
		return
	}
	a, code := s.try(q)
	switch code {
	case wire.None:
	case wire.FencedMemberEpoch, wire.UnknownMemberID, wire.FencedInstanceID:
		c.fenced()
		return
	case wire.UnreleasedInstanceID: // the member before it, which may be itself, must expire first
		c.joined = false
		return
	default:
		s.t.Fatalf("code %d", code)
	}
	switch {
	case q.MemberEpoch < 0:
		c.fenced()
	case s.draw(8, "the answer is lost") == 0:
		// A join is repeated; the client must not believe that it is not a member.
		c.joined, c.missed = true, true
	default:
		c.joined, c.missed = true, false
		c.learn(a)
	}
}

func (s *story) beatOf(c *client, set ...says) {
	if !c.joined || c.epoch == 0 {
		s.joinOf(c)
		return
	}
	q := request(c.member(), c.epoch, set...)
	if c.missed {
		q = request(c.member(), c.epoch, append(slices.Clone(c.says), owns(c.owned()))...)
		q.RebalanceTimeoutMillis = 60_000
	}
	s.heartbeat(c, q)
}

func (s *story) joinOf(c *client) {
	c.consumes = map[partitionKey]bool{} // a client that joins owns nothing
	if c.says == nil {
		c.says = s.subscription()
	}
	q := request(c.member(), 0, owns(nil))
	q.RebalanceTimeoutMillis = 60_000
	for _, f := range c.says {
		f(q)
	}
	s.heartbeat(c, q)
}

// expire removes a silent member; its client has stopped by then.
func (s *story) expire(m *Member) {
	for _, c := range s.clients {
		if c.member() == m.ID {
			c.fenced()
		}
	}
	s.write(s.g.Fence(&s.c, m))
}

func (s *story) step() {
	c := s.clients[s.draw(len(s.clients), "client")]
	switch s.draw(14, "step") {
	case 0, 1, 2:
		s.beatOf(c)
	case 3, 4, 5:
		s.beatOf(c, owns(c.owned()))
	case 6, 7:
		c.revoke()
	case 8:
		if c.joined && c.epoch > 0 {
			c.says = s.subscription()
			s.beatOf(c, c.says...)
		}
	case 9:
		if c.joined && c.epoch > 0 {
			s.heartbeat(c, request(c.member(), -1))
			if !c.joined {
				c.serial++
			}
		}
	case 10:
		if c.instance != "" && c.joined && c.epoch > 0 {
			s.heartbeat(c, request(c.member(), -2))
			if !c.joined {
				c.serial++
			}
		} else if members := s.g.Members(); len(members) > 0 {
			s.expire(members[s.draw(len(members), "expires")])
		}
	case 11:
		s.changeTopics()
	case 12:
		s.later(time.Duration(s.draw(15_000, "millis")) * time.Millisecond)
	case 13:
		if s.resolve != nil {
			s.resolved()
		}
	}
}

func (s *story) changeTopics() {
	name := string("abc"[s.draw(3, "topic")])
	topic, ok := s.topics.Topic(name)
	switch {
	case !ok:
		s.topics.create(name, 1+s.draw(5, "partitions"))
	case s.draw(2, "grows") == 0:
		s.topics.grow(name, len(topic.Partitions)+1)
	default:
		s.topics.remove(name)
	}
}

// checkOwners: no two clients consume a partition, and the coordinator knows of every one that consumes it.
func (s *story) checkOwners() {
	owners := map[partitionKey]string{}
	for _, c := range s.clients {
		for key := range c.consumes {
			require.Empty(s.t, owners[key], "partition %d of %c has two owners, %s besides", key.partition, key.topic[0], c.id)
			owners[key] = c.id
			require.Equal(s.t, c.member(), s.g.owner(key.topic, key.partition), "who consumes a partition is not its owner")
		}
	}
}

// restart loads the group from its log, as it is or compacted, and goes on with that.
func (s *story) restart() {
	log := s.log
	if s.draw(2, "compacted") == 0 {
		log = compacted(log[:s.draw(len(log)+1, "clean up to")], log)
	}
	loaded := NewGroup("g")
	for _, e := range log {
		require.NoError(s.t, apply(loaded, e))
	}
	require.Equal(s.t, snapshot(s.g), snapshot(loaded))
	require.Equal(s.t, s.g.Bytes(), loaded.Bytes(), "what a group holds follows from its records")
	again := NewGroup("g")
	for _, e := range s.g.Rewrite() {
		require.NoError(s.t, apply(again, e))
	}
	require.Equal(s.t, snapshot(s.g), snapshot(again), "a group that is written anew")
	require.Equal(s.t, s.g.Bytes(), again.Bytes())
	s.g, s.resolve = loaded, nil
}

// compacted is a log whose first part keeps the last record of each key, and no tombstones.
func compacted(part, log []coordinator.Entry) (out []coordinator.Entry) {
	last := map[string]int{}
	for i, e := range part {
		last[string(e.Key)] = i
	}
	for i, e := range part {
		if last[string(e.Key)] == i && e.Value != nil {
			out = append(out, e)
		}
	}
	return append(out, log[len(part):]...)
}

// settle lets every client do what it must until nothing changes, and checks that the group has converged.
func (s *story) settle() {
	for round := range 40 {
		s.later(11 * time.Second)
		if s.resolve != nil {
			s.resolved()
		}
		written := s.written
		for _, m := range slices.Clone(s.g.Members()) {
			if !slices.ContainsFunc(s.clients, func(c *client) bool { return c.joined && c.member() == m.ID }) {
				s.expire(m)
			}
		}
		for _, c := range s.clients {
			c.revoke()
			s.beatOf(c, owns(c.owned()))
			s.checkOwners()
		}
		if round > 20 && s.written == written {
			break
		}
	}
}

func (s *story) checkConverged() {
	require.Equal(s.t, StateStable, s.g.State(), s.rig.story())
	have := map[partitionKey]string{}
	for _, c := range s.clients {
		m := s.g.Member(c.member())
		require.NotNil(s.t, m)
		require.True(s.t, c.owned().samePartitions(m.Assigned), "%s consumes %s of %s", c.id, s.show(c.owned()), s.show(m.Assigned))
		m.Assigned.Each(func(id metadata.TopicID, p int32) { have[partitionKey{id, p}] = m.ID })
	}
	for _, name := range s.topics.names() {
		topic, _ := s.topics.Topic(name)
		for p := range topic.Partitions {
			_, assigned := have[partitionKey{topic.ID, int32(p)}]
			require.Equal(s.t, s.g.SubscribedTo(name), assigned, "partition %d of %s", p, name)
		}
	}
}

// Members come, go, and give back late; topics change; writes fail and answers are lost; the coordinator crashes. At no time
// has a partition two owners, what is loaded is what was there, and in the end the group converges.
func TestGroupOwnsEachPartitionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &story{rig: newRig(t, "a3", "b2", "c4"), t: t}
		for i := range 4 {
			c := &client{id: fmt.Sprintf("m%d", i)}
			if i == 3 {
				c.instance = "i"
			}
			c.fenced()
			s.clients = append(s.clients, c)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s.step()
			s.checkOwners()
			if s.draw(12, "restart") == 0 {
				s.restart()
			}
		}
		s.calm = true
		s.settle()
		s.checkConverged()
	})
}
