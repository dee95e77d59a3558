package consumer

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/coordinator"
	"weir/core/wire"
)

// ClassicProtocolType is the protocol type of consumers. Only they can be members of a consumer group.
const ClassicProtocolType = "consumer"

// Subscription is what the embedded protocol of a classic consumer says (ConsumerProtocolSubscription, versions 0-3).
type Subscription struct {
	Version int16
	Topics  []string
	Owned   []NamedPartitions
	Rack    string
}

// NamedPartitions are partitions of a topic by its name.
type NamedPartitions struct {
	Topic      string
	Partitions []int32
}

// ParseSubscription reads a subscription. A version that is too new is read as the newest one known.
func ParseSubscription(src []byte) (s Subscription, ok bool) {
	in := plain{decoder{kbin.Reader{Src: src}}}
	if s.Version = in.Int16(); s.Version < 0 {
		return s, false
	}
	for range in.count(2) {
		s.Topics = append(s.Topics, in.String())
	}
	in.NullableBytes() // user data
	if s.Version >= 1 {
		s.Owned = in.namedPartitions()
	}
	if s.Version >= 2 {
		in.Int32() // generation
	}
	if s.Version >= 3 {
		s.Rack = string(wire.ReadNullableString(&in.Reader, false))
	}
	return s, in.Ok()
}

// ParseAssignment reads an assignment of the embedded protocol; an empty one has no partitions. hasUserData says that an assignor
// of its own kind needs it: the group cannot be assigned by the broker.
func ParseAssignment(src []byte) (partitions []NamedPartitions, hasUserData, ok bool) {
	if len(src) == 0 {
		return nil, false, true
	}
	in := plain{decoder{kbin.Reader{Src: src}}}
	if in.Int16() < 0 {
		return nil, false, false
	}
	partitions = in.namedPartitions()
	hasUserData = len(in.NullableBytes()) > 0
	return partitions, hasUserData, in.Ok()
}

// plain is a decoder of the encoding without compact lengths.
type plain struct{ decoder }

func (d *plain) count(least int) int {
	n := wire.ReadArrayLen(&d.Reader, false)
	if n > len(d.Src)/least {
		d.Span(len(d.Src) + 1) // fails
		return 0
	}
	return n
}

func (d *plain) namedPartitions() (all []NamedPartitions) {
	for range d.count(6) {
		n := NamedPartitions{Topic: d.String()}
		for range d.count(4) {
			n.Partitions = append(n.Partitions, d.Int32())
		}
		all = append(all, n)
	}
	return all
}

// byID names topics by their ids. Those that are not there are left out.
func (c *Context) byID(named []NamedPartitions, epoch int32) Assignment {
	a := Assignment{}
	for _, n := range named {
		if topic, ok := c.Topics.Topic(n.Topic); ok {
			a = a.put(TopicPartitions{Topic: topic.ID, Partitions: n.Partitions})
		}
	}
	a = normalized(a)
	for i := range a {
		a[i].Epochs = slices.Repeat([]int32{epoch}, len(a[i].Partitions))
	}
	return a
}

// EncodeAssignment encodes an assignment for a classic consumer, in the version of its subscription.
func (c *Context) EncodeAssignment(version int16, a Assignment) []byte {
	out := kmsg.NewConsumerMemberAssignment()
	out.Version = min(max(version, 0), 3)
	for _, tp := range a {
		if topic, ok := c.Topics.TopicByID(tp.Topic); ok {
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic, t.Partitions = topic.Name, tp.Partitions
			out.Topics = append(out.Topics, t)
		}
	}
	return out.AppendTo(nil)
}

// ClassicMember is a member of a classic group that becomes a consumer group while it runs.
type ClassicMember struct {
	ID         string
	Metadata   Metadata // with Classic; Topics and Rack are of its subscription
	Assignment []NamedPartitions
}

// FromClassic returns the group that a classic one becomes: in its generation, each member with what it had.
func FromClassic(c *Context, id string, generation int32, members []ClassicMember) *Group {
	g := NewGroup(id)
	write := func(k Key, v value) {
		e := entry(k, v)
		if err := g.Apply(k, e.Value); err != nil {
			panic("consumer: " + err.Error())
		}
	}
	taken := map[partitionKey]bool{}
	for _, m := range members {
		write(Key{TypeMember, id, m.ID}, memberValue{m.Metadata})
		held := untaken(taken, c.byID(m.Assignment, generation))
		write(Key{TypeTargetOf, id, m.ID}, targetOfValue{held})
		write(Key{TypeCurrent, id, m.ID}, currentValue{epoch: generation, previous: generation, assigned: held})
	}
	write(Key{TypeTarget, id, ""}, targetValue{epoch: generation})
	write(Key{TypeGroup, id, ""}, groupValue{generation, g.hashWith(c, nil, nil)})
	return g
}

// untaken leaves out what another member has: a classic group's assignments come from its leader, who may err.
func untaken(taken map[partitionKey]bool, a Assignment) (out Assignment) {
	for _, tp := range a {
		kept := TopicPartitions{Topic: tp.Topic}
		for i, p := range tp.Partitions {
			if key := (partitionKey{tp.Topic, p}); !taken[key] {
				taken[key] = true
				kept.add(p, tp.Epochs[i])
			}
		}
		out = out.put(kept)
	}
	return out
}

// ClassicJoin is a JoinGroup for a consumer group.
type ClassicJoin struct {
	MemberID   string // chosen by the coordinator if IsNew
	IsNew      bool
	InstanceID *string
	Client     Client
	Metadata   Classic
	// RebalanceTimeoutMillis is as in the request.
	RebalanceTimeoutMillis int32
	Subscription           Subscription
}

// JoinGrowth is Growth for a JoinGroup.
func (g *Group) JoinGrowth(j *ClassicJoin) int64 {
	next := Metadata{Topics: j.Subscription.Topics, Rack: j.Subscription.Rack, ClientID: j.Client.ID, ClientHost: j.Client.Host, Classic: &j.Metadata}
	update(&next.InstanceID, j.InstanceID)
	m := g.Member(j.MemberID)
	if j.InstanceID != nil {
		m = g.Static(*j.InstanceID)
	}
	if m == nil {
		return next.bytes() + 3*g.idBytes(j.MemberID)
	}
	return next.bytes() - m.Metadata.bytes()
}

// JoinClassic decides on a member that joins by the classic protocol. Its epoch is the generation that it gets.
func (g *Group) JoinClassic(c *Context, j *ClassicJoin) (entries []coordinator.Entry, epoch int32, err error) {
	none := ""
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.MemberEpoch, r.InstanceID = g.ID, j.MemberID, epochJoin, j.InstanceID
	r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.SubscribedTopicRegex = j.RebalanceTimeoutMillis, j.Subscription.Topics, &none
	if r.SubscribedTopicNames == nil {
		r.SubscribedTopicNames = []string{}
	}
	if j.Subscription.Rack != "" {
		r.RackID = &j.Subscription.Rack
	}
	r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, tp := range c.byID(j.Subscription.Owned, 0) {
		topic := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		topic.TopicID, topic.Partitions = tp.Topic, tp.Partitions
		r.Topics = append(r.Topics, topic)
	}
	h := heartbeat{g: g, c: c, r: r, classic: &j.Metadata, classicIsNew: j.IsNew}
	if err := h.decide(j.Client); err != nil {
		return nil, 0, err
	}
	return h.entries, h.member.Epoch, nil
}

// findStaticClassic is findStatic for a member that joins by the classic protocol. It may take the place of a member that has
// not left: such a client knows no other way to come back.
func (h *heartbeat) findStaticClassic() error {
	instance, id := *h.r.InstanceID, h.r.MemberID
	existing := h.g.Static(instance)
	switch {
	case existing == nil && h.classicIsNew:
		h.before = newMember(id)
	case existing != nil && h.classicIsNew:
		h.takePlace(existing, id)
	default:
		if err := h.g.checkStatic(existing, id, instance); err != nil {
			return err
		}
		h.before = existing
	}
	return nil
}

// SupportsClassic reports whether a classic member may join with these protocols: all classic members support one of them.
func (g *Group) SupportsClassic(protocolType string, protocols []ClassicProtocol) bool {
	if protocolType != ClassicProtocolType || len(protocols) == 0 {
		return false
	}
	votes := map[string]int{}
	for _, m := range g.members {
		if m.Classic != nil {
			for _, p := range m.Classic.Protocols {
				votes[p.Name]++
			}
		}
	}
	return slices.ContainsFunc(protocols, func(p ClassicProtocol) bool { return votes[p.Name] == g.classic })
}

// FindClassic finds the classic member of a request, and checks its instance id, if it has one, and its generation. A member
// without an id of its own is named by its instance.
func (g *Group) FindClassic(id string, instance *string, generation int32) (*Member, error) {
	m := g.Member(id)
	if instance != nil {
		m = g.Static(*instance)
		if err := g.checkStatic(m, id, *instance); err != nil {
			return nil, err
		}
	}
	switch {
	case m == nil:
		return nil, g.unknownMember(id)
	case m.Classic == nil:
		return nil, refuse(wire.UnknownMemberID, "Member %s does not use the classic protocol.", id)
	case m.Epoch != generation:
		return nil, refuse(wire.IllegalGeneration, "The request generation id %d is not equal to the member epoch %d of member %s.", generation, m.Epoch, id)
	}
	return m, nil
}

// FindLeaving finds the member of a LeaveGroup, of either protocol.
func (g *Group) FindLeaving(id string, instance *string) (*Member, error) {
	if instance == nil {
		if m := g.Member(id); m != nil {
			return m, nil
		}
		return nil, g.unknownMember(id)
	}
	m := g.Static(*instance)
	if m != nil && id == "" {
		return m, nil
	}
	return m, g.checkStatic(m, id, *instance)
}

// MustRejoin reports whether a classic member must join again, since it knows no other way to learn of an assignment: there is
// a new one, it has partitions to give back, or those that it waits for are free.
func (g *Group) MustRejoin(m *Member) bool {
	switch m.State {
	case Unrevoked:
		return true
	case Unreleased:
		return m.Epoch < g.target.epoch || !g.waits(m)
	}
	return m.Epoch < g.target.epoch
}

// MustRejoinFirst is MustRejoin for SyncGroup: a member that gives back has joined again already.
func (g *Group) MustRejoinFirst(m *Member) bool {
	return m.Epoch < g.target.epoch && m.State != Unrevoked
}

// waits reports whether another member has some of a member's target.
func (g *Group) waits(m *Member) bool {
	for _, tp := range g.targets[m.ID] {
		for _, p := range tp.Partitions {
			if owner := g.owner(tp.Topic, p); owner != "" && owner != m.ID {
				return true
			}
		}
	}
	return false
}

// Protocol is the name of the protocol that a classic member is told it uses: its first.
func (m *Member) Protocol() string {
	if m.Classic == nil || len(m.Classic.Protocols) == 0 {
		return ""
	}
	return m.Classic.Protocols[0].Name
}

// SubscriptionVersion is the version in which a classic member talks.
func (m *Member) SubscriptionVersion() int16 {
	if m.Classic == nil || len(m.Classic.Protocols) == 0 {
		return 0
	}
	s, _ := ParseSubscription(m.Classic.Protocols[0].Metadata)
	return s.Version
}

// Target is a member's target assignment.
func (g *Group) Target(id string) Assignment { return g.targets[id] }
