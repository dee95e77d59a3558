package consumer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"
)

// topicTable is the topics of a test.
type topicTable struct {
	byName  map[string]*metadata.Topic
	version uint64
}

func (t *topicTable) Topic(name string) (*metadata.Topic, bool) {
	topic, ok := t.byName[name]
	return topic, ok
}

func (t *topicTable) TopicByID(id metadata.TopicID) (*metadata.Topic, bool) {
	for _, name := range slices.Sorted(maps.Keys(t.byName)) {
		if t.byName[name].ID == id {
			return t.byName[name], true
		}
	}
	return nil, false
}

func (t *topicTable) names() []string { return slices.Sorted(maps.Keys(t.byName)) }

// create makes a topic, or one of that name with other partitions and a new id.
func (t *topicTable) create(name string, partitions int) {
	t.version++
	t.byName[name] = &metadata.Topic{Name: name, ID: metadata.TopicID{name[0], byte(t.version >> 8), byte(t.version)}, Partitions: make([]metadata.Partition, partitions)}
}

func (t *topicTable) grow(name string, partitions int) {
	t.version++
	topic := *t.byName[name]
	topic.Partitions = make([]metadata.Partition, partitions)
	t.byName[name] = &topic
}

func (t *topicTable) remove(name string) {
	t.version++
	delete(t.byName, name)
}

// rig is a group whose writes succeed at once.
type rig struct {
	t       require.TestingT
	g       *Group
	c       Context
	topics  *topicTable
	log     []coordinator.Entry
	written int                // batches
	batch   []string           // what the last decision wrote: the types of its records
	resolve []string           // expressions that wait for their resolution
	answers map[string]*member // clients, by member id
}

// member is what a client knows.
type member struct {
	epoch int32
	owns  Assignment
}

func newRig(t require.TestingT, topics ...string) *rig {
	table := &topicTable{byName: map[string]*metadata.Topic{}, version: 1}
	for _, topic := range topics {
		name, partitions := topic[:1], 0
		fmt.Sscanf(topic[1:], "%d", &partitions)
		table.create(name, partitions)
	}
	settings := &config.Settings{}
	group := settings.ConsumerGroup(nil)
	return &rig{t: t, g: NewGroup("g"), topics: table, c: Context{NowMillis: 1_000_000, Topics: table, Config: &group}, answers: map[string]*member{}}
}

// later lets time pass.
func (r *rig) later(d time.Duration) { r.c.NowMillis += d.Milliseconds() }

func (r *rig) write(entries []coordinator.Entry) {
	r.batch = nil
	if len(entries) > 0 {
		r.written++
	}
	for _, e := range entries {
		r.log = append(r.log, e)
		require.NoError(r.t, apply(r.g, e))
		k, ok, err := ParseKey(e.Key)
		require.True(r.t, ok && err == nil)
		text := fmt.Sprint(k.Type)
		if k.Of != "" {
			text += " " + k.Of
		}
		if e.Value == nil {
			text = "-" + text
		}
		r.batch = append(r.batch, text)
	}
}

func apply(g *Group, e coordinator.Entry) error {
	k, _, err := ParseKey(e.Key)
	if err != nil {
		return err
	}
	return g.Apply(k, e.Value)
}

// request builds a heartbeat of a member that has something to say by what follows its id and epoch.
func request(id string, epoch int32, set ...says) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, "g", id, epoch
	for _, f := range set {
		f(r)
	}
	return r
}

type says = func(*kmsg.ConsumerGroupHeartbeatRequest)

func names(topics string) says {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.SubscribedTopicNames = strings.Split(topics, "")
	}
}

func expression(text string) says {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = &text }
}

func static(instance string) says {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &instance }
}

func assignor(name string) says {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = &name }
}

func owns(a Assignment) says {
	return func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, tp := range a {
			topic := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			topic.TopicID, topic.Partitions = tp.Topic, tp.Partitions
			r.Topics = append(r.Topics, topic)
		}
	}
}

// try sends a heartbeat; its records are applied. It returns Kafka's code.
func (r *rig) try(q *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, wire.Code) {
	r.c.TopicsVersion = r.topics.version
	r.c.NewTopicsVersion = int64(r.topics.version)
	err := CheckHeartbeat(q, r.c.Config.Assignors)
	var d Decision
	if err == nil {
		d, err = r.g.Heartbeat(&r.c, q, Client{ID: "client", Host: "/127.0.0.1"})
	}
	r.batch = nil
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return nil, refusal.Code
	}
	require.NoError(r.t, err)
	r.write(d.Entries)
	if d.Resolve != nil {
		r.resolve = d.Resolve
		r.g.SetResolving(true)
	}
	return d.Answer, wire.None
}

// beat is try for a heartbeat that is accepted; the client keeps what it is told.
func (r *rig) beat(q *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	a, code := r.try(q)
	require.Equal(r.t, wire.Code(wire.None), code)
	m := r.answers[q.MemberID]
	if m == nil {
		m = &member{}
		r.answers[q.MemberID] = m
	}
	m.epoch = a.MemberEpoch
	if a.Assignment != nil {
		m.owns = nil
		for _, topic := range a.Assignment.Topics {
			m.owns = append(m.owns, TopicPartitions{Topic: topic.TopicID, Partitions: topic.Partitions})
		}
	}
	return a
}

func (r *rig) join(id string, set ...says) *kmsg.ConsumerGroupHeartbeatResponse {
	q := request(id, 0, owns(nil))
	q.RebalanceTimeoutMillis = 60_000
	for _, f := range set {
		f(q)
	}
	return r.beat(q)
}

// bare is a heartbeat that says nothing but that the member lives.
func (r *rig) bare(id string) *kmsg.ConsumerGroupHeartbeatResponse {
	return r.beat(request(id, r.answers[id].epoch))
}

// confirm is a heartbeat that says that the member owns what it was last given.
func (r *rig) confirm(id string) *kmsg.ConsumerGroupHeartbeatResponse {
	return r.beat(request(id, r.answers[id].epoch, owns(r.answers[id].owns)))
}

func (r *rig) resolved() {
	resolve := r.resolve
	r.resolve = nil
	r.g.SetResolving(false)
	r.write(r.g.Resolved(&r.c, int64(r.topics.version), Resolve(resolve, r.topics.names())))
}

// show writes an assignment as "a:0,1 b:2".
func (r *rig) show(a Assignment) string {
	var parts []string
	for _, tp := range a {
		parts = append(parts, fmt.Sprintf("%c:%s", tp.Topic[0], strings.ReplaceAll(strings.Trim(fmt.Sprint(tp.Partitions), "[]"), " ", ",")))
	}
	return strings.Join(parts, " ")
}

// given is what an answer assigns; "-" if it says nothing of that.
func (r *rig) given(a *kmsg.ConsumerGroupHeartbeatResponse) string {
	if a.Assignment == nil {
		return "-"
	}
	var given Assignment
	for _, topic := range a.Assignment.Topics {
		given = append(given, TopicPartitions{Topic: topic.TopicID, Partitions: topic.Partitions})
	}
	return r.show(given)
}

// story describes the group on one line a member.
func (r *rig) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d/%d", r.g.State(), r.g.Epoch(), r.g.AssignmentEpoch())
	for _, m := range r.g.Members() {
		fmt.Fprintf(&b, "\n%s %d(%d) %d [%s] [%s]", m.ID, m.Epoch, m.PreviousEpoch, m.State, r.show(m.Assigned), r.show(m.Revoking))
	}
	return b.String()
}

// snapshot is the whole durable state of a group.
func snapshot(g *Group) string {
	var b bytes.Buffer
	for _, e := range g.Rewrite() {
		fmt.Fprintf(&b, "%x %x\n", e.Key, e.Value)
	}
	fmt.Fprintf(&b, "%v %v %d %d", g.value, g.target, g.classic, len(g.owners))
	return b.String()
}
