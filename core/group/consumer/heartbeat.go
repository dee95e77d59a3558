package consumer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"
)

// Context is what a decision on a group looks at besides the group. It does not change while a decision is made.
type Context struct {
	// NowMillis is the wall clock. It is written with assignments and resolved expressions.
	NowMillis int64
	// Topics says what topics there are.
	Topics Topics
	// TopicsVersion changes whenever a topic came, went or grew. It is never 0.
	TopicsVersion uint64
	// NewTopicsVersion is the version of the metadata image with the newest topic.
	NewTopicsVersion int64
	// Config is what is configured for the group.
	Config *config.ConsumerGroup
}

// Topics is what decisions need of a *metadata.Image.
type Topics interface {
	Topic(name string) (*metadata.Topic, bool)
	TopicByID(id metadata.TopicID) (*metadata.Topic, bool)
}

// Client is who sent a request.
type Client struct {
	ID   string
	Host string // as Kafka writes it: a slash and the address
}

// Decision is the outcome of a request to a group: what to write as one batch, and what to answer once it is applied.
// If the write fails, nothing has happened.
type Decision struct {
	Entries []coordinator.Entry
	Answer  *kmsg.ConsumerGroupHeartbeatResponse
	// Fenced is the member that leaves, whose removal Entries are.
	Fenced *Member
	// Resolve are regular expressions to be resolved off the loop, with Group.Resolved to follow. None: nothing is to do.
	Resolve []string
}

// Refusal is an error with Kafka's code and the text that clients see.
type Refusal struct {
	Code    wire.Code
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(code wire.Code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// The epochs with which a member says something else than that it is alive.
const (
	epochJoin        = 0
	epochLeave       = -1
	epochLeaveStatic = epochStaticLeft
)

// CheckHeartbeat validates what can be said of a request without its group.
func CheckHeartbeat(r *kmsg.ConsumerGroupHeartbeatRequest, assignors []string) error {
	invalid := func(text string) error { return refuse(wire.InvalidRequest, "%s", text) }
	// A version 0 member that joins lets the coordinator choose its id.
	mayLackID := r.Version == 0 && r.MemberEpoch <= epochJoin && r.MemberEpoch != epochLeave
	switch {
	case !mayLackID && isBlank(r.MemberID):
		return invalid("MemberId can't be empty.")
	case isBlank(r.Group):
		return invalid("GroupId can't be empty.")
	case r.InstanceID != nil && isBlank(*r.InstanceID):
		return invalid("InstanceId can't be empty.")
	case r.RackID != nil && isBlank(*r.RackID):
		return invalid("RackId can't be empty.")
	}
	switch {
	case r.MemberEpoch == epochJoin && r.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case r.MemberEpoch == epochJoin && (r.Topics == nil || len(r.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case r.MemberEpoch == epochJoin && r.SubscribedTopicNames == nil && r.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case r.MemberEpoch == epochLeaveStatic && r.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case r.MemberEpoch < epochLeaveStatic:
		return invalid("MemberEpoch is invalid.")
	case r.ServerAssignor != nil && !slices.Contains(assignors, *r.ServerAssignor):
		return refuse(wire.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.", *r.ServerAssignor, strings.Join(assignors, ", "))
	}
	return nil
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }

// Heartbeat decides on a heartbeat that CheckHeartbeat has passed, and whose member has an id. The group may be one without records.
func (g *Group) Heartbeat(c *Context, r *kmsg.ConsumerGroupHeartbeatRequest, client Client) (Decision, error) {
	if r.MemberEpoch < epochJoin {
		return g.leave(c, r)
	}
	h := heartbeat{g: g, c: c, r: r}
	if err := h.decide(client); err != nil {
		return Decision{}, err
	}
	return Decision{Entries: h.entries, Answer: h.answer(), Resolve: h.resolve}, nil
}

// Growth is how many bytes more the group holds with what a request says of its member, or less. What is assigned to the
// member is not counted: that is written whatever the memory.
func (g *Group) Growth(r *kmsg.ConsumerGroupHeartbeatRequest, client Client) int64 {
	if r.MemberEpoch < epochJoin {
		return 0
	}
	next, before := Metadata{}, -3*g.idBytes(r.MemberID)
	if m := g.Member(r.MemberID); m != nil {
		next, before = m.Metadata, m.Metadata.bytes()
	}
	update(&next.InstanceID, r.InstanceID)
	update(&next.Rack, r.RackID)
	update(&next.Expression, r.SubscribedTopicRegex)
	if r.SubscribedTopicNames != nil {
		next.Topics = r.SubscribedTopicNames
	}
	next.ClientID, next.ClientHost = client.ID, client.Host
	return next.bytes() - before
}

// heartbeat is the work on one heartbeat of a member that stays or joins, or on its JoinGroup, made a heartbeat.
type heartbeat struct {
	g            *Group
	c            *Context
	r            *kmsg.ConsumerGroupHeartbeatRequest
	classic      *Classic // of a member that joins by the classic protocol
	classicIsNew bool     // it came without a member id

	before  *Member // as applied; a new one has only its id
	member  Member  // as it will be
	replace *Member // the static member whose place this one takes
	entries []coordinator.Entry
	resolve []string

	namesChanged, expressionChanged, expressionResolved bool
	epoch                                               int32 // of the group, as it will be
}

func (h *heartbeat) decide(client Client) error {
	if err := h.subscribe(client); err != nil {
		return err
	}
	if err := h.updateExpressions(); err != nil {
		return err
	}
	h.updateEpoch()
	return h.reconcile()
}

func (h *heartbeat) key(t int16, of string) Key { return Key{Type: t, Group: h.g.ID, Of: of} }

func (h *heartbeat) write(k Key, v value) { h.entries = append(h.entries, entry(k, v)) }

// subscribe finds the member, or makes it, and takes over what the request says of it.
func (h *heartbeat) subscribe(client Client) error {
	if err := h.find(); err != nil {
		return err
	}
	h.member = *h.before
	m, r := &h.member, h.r
	update(&m.InstanceID, r.InstanceID)
	update(&m.Rack, r.RackID)
	update(&m.Assignor, r.ServerAssignor)
	update(&m.Expression, r.SubscribedTopicRegex)
	if r.RebalanceTimeoutMillis != -1 {
		m.RebalanceTimeoutMillis = r.RebalanceTimeoutMillis
	}
	if r.SubscribedTopicNames != nil {
		m.Topics = set(slices.Clone(r.SubscribedTopicNames))
	}
	m.ClientID, m.ClientHost, m.Classic = client.ID, client.Host, h.classic
	if !h.before.known || !m.Metadata.equal(&h.before.Metadata) {
		h.write(h.key(TypeMember, m.ID), memberValue{m.Metadata})
	}
	h.namesChanged = !slices.Equal(m.Topics, h.before.Topics)
	return nil
}

func update(field *string, to *string) {
	if to != nil {
		*field = *to
	}
}

func (h *heartbeat) find() error {
	if h.g.full(h.c, h.r.MemberID, h.r.InstanceID) {
		return refuse(wire.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", h.c.Config.MaxSize)
	}
	joins := h.r.MemberEpoch == epochJoin
	switch {
	case h.r.InstanceID != nil && h.classic != nil:
		return h.findStaticClassic()
	case h.r.InstanceID != nil:
		return h.findStatic(joins)
	}
	h.before = h.g.Member(h.r.MemberID)
	if h.before == nil && !joins {
		return h.g.unknownMember(h.r.MemberID)
	}
	if h.before == nil {
		h.before = newMember(h.r.MemberID)
		return nil
	}
	return h.checkEpoch()
}

func newMember(id string) *Member {
	return &Member{ID: id, Metadata: Metadata{RebalanceTimeoutMillis: -1}}
}

func (g *Group) full(c *Context, member string, instance *string) bool {
	if instance != nil && g.Static(*instance) != nil {
		return false
	}
	return len(g.members) >= c.Config.MaxSize && g.Member(member) == nil
}

func (g *Group) unknownMember(id string) error {
	return refuse(wire.UnknownMemberID, "Member %s is not a member of group %s.", id, g.ID)
}

func (h *heartbeat) findStatic(joins bool) error {
	instance, id := *h.r.InstanceID, h.r.MemberID
	existing := h.g.Static(instance)
	switch {
	case !joins:
		if err := h.g.checkStatic(existing, id, instance); err != nil {
			return err
		}
		h.before = existing
		return h.checkEpoch()
	case existing == nil:
		if h.before = h.g.Member(id); h.before == nil {
			h.before = newMember(id)
		}
		return nil
	case existing.Epoch != epochStaticLeft && existing.Classic == nil:
		return refuse(wire.UnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.", id, instance, existing.ID)
	}
	h.takePlace(existing, id)
	return nil
}

// checkStatic refuses a member that is not the one of its instance id.
func (g *Group) checkStatic(existing *Member, id, instance string) error {
	if existing == nil {
		return refuse(wire.UnknownMemberID, "Instance id %s is unknown.", instance)
	}
	if existing.ID != id {
		return refuse(wire.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", id, instance, existing.ID)
	}
	return nil
}

// takePlace gives a static member that comes back what its instance id had, under its new member id. The partitions
// change hands within one batch, so that nobody else can take them.
func (h *heartbeat) takePlace(existing *Member, id string) {
	next := *existing
	next.ID, next.Epoch, next.PreviousEpoch = id, 0, 0
	h.removeMember(existing.ID)
	h.write(h.key(TypeMember, id), memberValue{next.Metadata})
	h.write(h.key(TypeTargetOf, id), targetOfValue{h.g.targets[existing.ID]})
	h.write(h.key(TypeCurrent, id), next.current())
	h.before, h.replace = &next, existing
}

func (h *heartbeat) removeMember(id string) { h.entries = append(h.entries, h.g.removal(id)...) }

// removal are the tombstones of a member.
func (g *Group) removal(id string) []coordinator.Entry {
	return []coordinator.Entry{
		entry(Key{TypeCurrent, g.ID, id}, nil), entry(Key{TypeTargetOf, g.ID, id}, nil), entry(Key{TypeMember, g.ID, id}, nil),
	}
}

// checkEpoch fences a member that is not where the coordinator believes it to be. Epoch 0 is a (re)join and always
// right (KAFKA-19233); the epoch before is right as long as the member has nothing that it was not given: then it
// missed an answer.
func (h *heartbeat) checkEpoch() error {
	m, got := h.before, h.r.MemberEpoch
	relation := ""
	switch {
	case got == epochJoin || got == m.Epoch:
		return nil
	case got > m.Epoch:
		relation = "greater"
	case got == m.PreviousEpoch && h.ownsAssignedOnly():
		return nil
	default:
		relation = "smaller"
	}
	return refuse(wire.FencedMemberEpoch, "The consumer group member has a %s member epoch (%d) than the one known by the group coordinator (%d). "+
		"The member must abandon all its partitions and rejoin.", relation, got, m.Epoch)
}

func (h *heartbeat) ownsAssignedOnly() bool {
	if h.r.Topics == nil {
		return false
	}
	for i := range h.r.Topics {
		for _, p := range h.r.Topics[i].Partitions {
			if !h.before.Assigned.Has(h.r.Topics[i].TopicID, p) {
				return false
			}
		}
	}
	return true
}

// updateEpoch bumps the group epoch if the assignment must be computed anew: subscriptions or the preferred assignor
// changed, or the topics that the group subscribes to.
func (h *heartbeat) updateEpoch() {
	g := h.g
	h.epoch = g.value.epoch
	bump := h.namesChanged || h.expressionChanged && h.expressionResolved ||
		g.assignor(h.c, nil, nil) != g.assignor(h.c, h.counted(), &h.member.Metadata)
	if !bump && g.soft.checked == h.c.TopicsVersion {
		return
	}
	hash := g.hashWith(h.c, h.counted(), &h.member.Metadata)
	if !bump && hash == g.value.hash {
		g.soft.checked = h.c.TopicsVersion
		return
	}
	h.epoch++
	h.write(h.key(TypeGroup, ""), groupValue{h.epoch, hash})
	if g.oldPartitions {
		h.write(h.key(TypePartitions, ""), nil)
	}
}

// counted is the member's metadata as they are counted in the group now; nil: not at all.
func (h *heartbeat) counted() *Metadata {
	switch {
	case h.replace != nil:
		return &h.replace.Metadata
	case h.before.known:
		return &h.before.Metadata
	}
	return nil
}

// reconcile computes the target if it is due, and moves the member towards it.
func (h *heartbeat) reconcile() error {
	targetEpoch, target := h.updateTarget()
	changed := h.namesChanged || h.expressionChanged
	if !changed && h.member.reconciledTo(targetEpoch) {
		return nil
	}
	r := reconciliation{
		member: &h.member, targetEpoch: targetEpoch, target: target, subscriptionChanged: changed,
		subscribed: func(id metadata.TopicID) bool { return h.g.subscribes(h.c, &h.member.Metadata, id) },
		free:       h.free, owned: h.owned(),
	}
	next, err := r.next()
	if err != nil {
		return err
	}
	if !next.samePlace(&h.member) {
		h.write(h.key(TypeCurrent, next.ID), next.current())
		h.member = *next
	}
	return nil
}

// free reports whether nobody else has a partition. What the member itself has not confirmed to have given back does not
// block it (KAFKA-19449).
func (h *heartbeat) free(id metadata.TopicID, partition int32) bool {
	owner := h.g.owner(id, partition)
	return owner == "" || owner == h.member.ID || h.replace != nil && owner == h.replace.ID
}

func (h *heartbeat) owned() *Assignment {
	if h.r.Topics == nil {
		return nil
	}
	a := make(Assignment, len(h.r.Topics))
	for i := range h.r.Topics {
		a[i] = TopicPartitions{Topic: h.r.Topics[i].TopicID, Partitions: h.r.Topics[i].Partitions}
	}
	a = normalized(a)
	return &a
}

// answer has the assignment if the member joins, asks with everything set, or gets a new one.
func (h *heartbeat) answer() *kmsg.ConsumerGroupHeartbeatResponse {
	out := h.r.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	out.MemberID, out.MemberEpoch = &h.member.ID, h.member.Epoch
	out.HeartbeatIntervalMillis = int32(h.c.Config.HeartbeatInterval.Milliseconds())
	full := h.r.RebalanceTimeoutMillis != -1 && (h.r.SubscribedTopicNames != nil || h.r.SubscribedTopicRegex != nil) && h.r.Topics != nil
	if h.r.MemberEpoch == epochJoin || full || !h.member.Assigned.samePartitions(h.before.Assigned) {
		a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for _, tp := range h.member.Assigned {
			topic := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			topic.TopicID, topic.Partitions = tp.Topic, tp.Partitions
			a.Topics = append(a.Topics, topic)
		}
		out.Assignment = &a
	}
	return out
}
