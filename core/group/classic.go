package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/core/coordinator"
	"weir/core/task"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// groupValueVersion is the version that Kafka writes.
	groupValueVersion = 3
	// consumerProtocol is the protocol type of consumers: of their subscriptions the topics are known.
	consumerProtocol = "consumer"
)

// phase is the state of a classic group.
type phase uint8

const (
	phaseEmpty phase = iota
	phasePreparing
	phaseCompleting
	phaseStable
)

var phaseNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}

// classic is a group with members of the classic protocol. Only stored is durable.
type classic struct {
	m      *Machine
	g      *Group
	stored []byte // value of the last applied record; nil: there is none

	phase, previous phase
	since           int64 // wall time in milliseconds of the last transition; -1: not known
	generation      int32
	protocolName    string // type of the protocols, such as "consumer"; empty: none yet
	protocol        *string
	leader          *member
	members         []*member // in the order of joining
	byID            map[string]*member
	static          map[string]*member // by instance id
	votes           map[string]int     // how many members support a protocol
	joining         int                // members whose join is parked
	owing           int                // members that owe a sync
	pending         map[string]*pendingMember
	newcomer        bool // a member joined since the initial delay began
	topics          map[string]bool
	topicsKnown     bool
	topicsBytes     int64 // of topics
	topicsCharged   int64 // bytes of them that the shard counts
	joinTimer       task.Timer
	syncTimer       task.Timer
}

// member is one member of a classic group.
type member struct {
	id                               string
	instanceID                       *string
	client                           Client
	sessionTimeout, rebalanceTimeout time.Duration
	protocols                        []kmsg.JoinGroupRequestProtocol // in order of preference
	assignment                       []byte                          // never nil
	isNew                            bool                            // its first join is parked
	join                             *joinCall
	sync                             *syncCall
	owesSync                         bool
	session                          session
	charged                          int64 // bytes that the shard counts
}

// pendingMember is an id that was handed out, and has not joined.
type pendingMember struct {
	session session
	charged int64
}

func newClassic(m *Machine, g *Group) *classic {
	return &classic{
		m: m, g: g, since: -1, generation: m.FirstGeneration,
		byID: map[string]*member{}, static: map[string]*member{}, votes: map[string]int{}, pending: map[string]*pendingMember{},
	}
}

// classicOf returns the classic state of a group, made if the group may still become one of any type; nil: it is of
// another type.
func (m *Machine) classicOf(g *Group) *classic {
	if g.members == nil {
		g.members = newClassic(m, g)
	}
	c, _ := g.members.(*classic)
	return c
}

// applyClassic applies the record of a generation. While the machine serves, the record is one that this machine has
// written, and the operation that wrote it goes on from there.
func (m *Machine) applyClassic(r *coordinator.Record) error {
	var key kmsg.GroupMetadataKey
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("key of a group: %w", err)
	}
	if r.Value == nil {
		m.applyClassicTombstone(key.Group)
		return nil
	}
	v, err := readGeneration(r.Value)
	if err != nil {
		return fmt.Errorf("group %s: %w", key.Group, err)
	}
	g := m.group(key.Group)
	c := m.classicOf(g)
	if c == nil { // its records of the other protocol come before their tombstones
		c = newClassic(m, g)
		g.members.close(wire.NotCoordinator)
		g.members = c
	}
	c.setStored(bytes.Clone(r.Value))
	if !m.serving {
		c.load(v)
	}
	return nil
}

func readGeneration(value []byte) (*kmsg.GroupMetadataValue, error) {
	if err := wire.GroupValue.Check(value); err != nil {
		return nil, err
	}
	v := &kmsg.GroupMetadataValue{}
	if err := v.ReadFrom(value); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range v.Members {
		if seen[v.Members[i].MemberID] {
			return nil, fmt.Errorf("member %s is there twice", v.Members[i].MemberID)
		}
		seen[v.Members[i].MemberID] = true
	}
	clear(seen)
	for i := range v.Members {
		if id := v.Members[i].InstanceID; id != nil {
			if seen[*id] {
				return nil, fmt.Errorf("instance id %s is there twice", *id)
			}
			seen[*id] = true
		}
	}
	return v, nil
}

func (m *Machine) applyClassicTombstone(id string) {
	g := m.groups[id]
	if g == nil {
		return
	}
	c, ok := g.members.(*classic)
	if !ok {
		return
	}
	c.setStored(nil)
	if !m.serving || c.idle() {
		c.drop()
	}
}

// setStored keeps the value of the last record.
func (c *classic) setStored(value []byte) {
	c.m.shard.Hold(int64(len(value) - len(c.stored)))
	c.stored = value
}

// idle reports whether a group has neither members nor ids that were handed out.
func (c *classic) idle() bool { return len(c.members) == 0 && len(c.pending) == 0 }

// drop forgets the members of a group.
func (c *classic) drop() {
	c.close(wire.UnknownMemberID)
	c.g.members = nil
	c.m.forget(c.g)
}

// load makes the group as its record says: nothing is under way.
func (c *classic) load(v *kmsg.GroupMetadataValue) {
	*c = classic{m: c.m, g: c.g, stored: c.stored, topicsCharged: c.topicsCharged, votes: map[string]int{}, byID: map[string]*member{}, static: map[string]*member{}, pending: map[string]*pendingMember{}}
	c.generation, c.protocolName, c.protocol, c.since = v.Generation, v.ProtocolType, v.Protocol, v.CurrentStateTimestamp
	if v.Version < 2 {
		c.since = -1
	}
	for i := range v.Members {
		c.add(loadedMember(v, &v.Members[i]))
	}
	if v.Leader != nil && c.byID[*v.Leader] != nil {
		c.leader = c.byID[*v.Leader]
	}
	c.phase = phaseEmpty
	if len(c.members) > 0 {
		c.phase = phaseStable
	}
	c.previous = c.phase
	c.readTopics()
}

func loadedMember(v *kmsg.GroupMetadataValue, s *kmsg.GroupMetadataValueMember) *member {
	mb := &member{
		id: s.MemberID, instanceID: s.InstanceID, client: Client{ID: s.ClientID, Host: s.ClientHost},
		sessionTimeout: millis(s.SessionTimeoutMillis), rebalanceTimeout: millis(s.RebalanceTimeoutMillis), assignment: bytes.Clone(s.Assignment),
	}
	if v.Version < 1 || s.RebalanceTimeoutMillis < 0 {
		mb.rebalanceTimeout = mb.sessionTimeout
	}
	p := kmsg.NewJoinGroupRequestProtocol()
	if v.Protocol != nil {
		p.Name = *v.Protocol
	}
	p.Metadata = bytes.Clone(s.Subscription)
	mb.protocols = []kmsg.JoinGroupRequestProtocol{p}
	return mb
}

func millis(n int32) time.Duration { return time.Duration(n) * time.Millisecond }

// entries implements members.
func (c *classic) entries() []coordinator.Entry {
	if c.stored == nil {
		return nil
	}
	return []coordinator.Entry{{Key: groupKey(c.g.id), Value: c.stored}}
}

// tombstones implements members.
func (c *classic) tombstones() []coordinator.Entry {
	if c.stored == nil {
		return nil
	}
	return []coordinator.Entry{{Key: groupKey(c.g.id)}}
}

func groupKey(id string) []byte {
	key := kmsg.NewGroupMetadataKey()
	key.Version, key.Group = keyGroupMetadata, id
	return key.AppendTo(nil)
}

// record is the generation as it is, with these assignments; each gives what is stored of a member.
func (c *classic) record(each func(*member, *kmsg.GroupMetadataValueMember)) coordinator.Entry {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Generation, v.Protocol, v.CurrentStateTimestamp = groupValueVersion, c.protocolName, c.generation, c.protocol, c.since
	for _, mb := range c.members {
		s := kmsg.NewGroupMetadataValueMember()
		s.MemberID, s.InstanceID, s.ClientID, s.ClientHost = mb.id, mb.instanceID, mb.client.ID, mb.client.Host
		s.SessionTimeoutMillis, s.RebalanceTimeoutMillis = int32(mb.sessionTimeout.Milliseconds()), int32(mb.rebalanceTimeout.Milliseconds())
		s.Subscription, s.Assignment = mb.metadata(c.protocol), mb.assignment
		if each != nil {
			each(mb, &s)
		}
		if mb == c.leader {
			v.Leader = kmsg.StringPtr(s.MemberID)
		}
		v.Members = append(v.Members, s)
	}
	return coordinator.Entry{Key: groupKey(c.g.id), Value: v.AppendTo(nil)}
}

// metadata is what a member sent for a protocol.
func (mb *member) metadata(protocol *string) []byte {
	for i := range mb.protocols {
		if protocol != nil && mb.protocols[i].Name == *protocol {
			return mb.protocols[i].Metadata
		}
	}
	return []byte{}
}

// kind implements members.
func (c *classic) kind() Type { return Classic }

// state implements members.
func (c *classic) state() string { return phaseNames[c.phase] }

// protocolType implements members.
func (c *classic) protocolType() string { return c.protocolName }

// empty implements members.
func (c *classic) empty() bool { return c.phase == phaseEmpty }

// expires implements members.
func (c *classic) expires() (may bool, since int64) {
	switch {
	case c.protocolName == "":
		return true, -1
	case c.phase == phaseEmpty:
		return true, c.since
	}
	return c.protocolName == consumerProtocol && c.topicsKnown && c.phase == phaseStable, -1
}

// subscribes implements members.
func (c *classic) subscribes(topic string) bool {
	if !c.topicsKnown {
		return c.protocolName == consumerProtocol
	}
	return c.topics[topic]
}

// admitsOffsetDelete implements members.
func (c *classic) admitsOffsetDelete() wire.Code {
	if c.phase != phaseEmpty && c.protocolName != consumerProtocol {
		return wire.NonEmptyGroup
	}
	return wire.None
}

// admitsCommit implements members.
func (c *classic) admitsCommit(q *commitCheck) wire.Code {
	switch named := q.generation >= 0 || q.memberID != "" || q.instanceID != nil; {
	case q.generation < 0 && c.phase == phaseEmpty:
		return wire.None
	case !named:
		return wire.UnknownMemberID
	}
	mb, code := c.validateGeneration(q)
	switch {
	case code != wire.None:
		return code
	case c.phase == phaseCompleting:
		return wire.RebalanceInProgress
	}
	c.beat(mb)
	return wire.None
}

// admitsTxnCommit implements members: a producer that does not say who it is may commit (before KIP-447).
func (c *classic) admitsTxnCommit(q *commitCheck) wire.Code {
	if q.generation < 0 && (c.phase == phaseEmpty || q.memberID == "" && q.instanceID == nil) {
		return wire.None
	}
	_, code := c.validateGeneration(q)
	return code
}

func (c *classic) validateGeneration(q *commitCheck) (*member, wire.Code) {
	mb, code := c.validate(q.memberID, q.instanceID)
	if code == wire.None && q.generation != c.generation {
		code = wire.IllegalGeneration
	}
	return mb, code
}

// admitsFetch implements members.
func (c *classic) admitsFetch(*string, int32) wire.Code { return wire.None }

// readTopics reads what the members of a consumer group subscribe to.
func (c *classic) readTopics() {
	c.topics, c.topicsBytes, c.topicsKnown = nil, 0, false
	if c.protocolName == consumerProtocol {
		c.topicsKnown = c.readSubscriptions()
	}
	c.chargeTopics()
}

// readSubscriptions reports whether the subscriptions of all members could be read. Otherwise no topic is known.
func (c *classic) readSubscriptions() bool {
	topics, bytes := map[string]bool{}, int64(0)
	for _, mb := range c.members {
		var s kmsg.ConsumerMemberMetadata
		prefix, ok := subscriptionPrefix(mb.metadata(c.protocol))
		if !ok || s.ReadFrom(prefix) != nil {
			return false
		}
		for _, topic := range s.Topics {
			if !topics[topic] {
				topics[topic] = true
				bytes += int64(topicBytes + len(topic))
			}
		}
	}
	c.topics, c.topicsBytes = topics, bytes
	return true
}

// chargeTopics counts what is known of topics, once the group is this one.
func (c *classic) chargeTopics() {
	if c.g.members == members(c) {
		c.m.shard.Hold(c.topicsBytes - c.topicsCharged)
		c.topicsCharged = c.topicsBytes
	}
}

// subscriptionPrefix is the part of a subscription that all of its versions have, as version 0: what a later version adds
// comes behind.
func subscriptionPrefix(subscription []byte) ([]byte, bool) {
	if len(subscription) < 2 || int16(subscription[0])<<8|int16(subscription[1]) < 0 {
		return nil, false
	}
	return append([]byte{0, 0}, subscription[2:]...), true
}

// serve implements members.
func (c *classic) serve() {
	c.chargeTopics()
	for _, mb := range c.members {
		c.m.charge(mb)
		c.beat(mb)
	}
	if len(c.members) > int(c.m.Config.Groups.MaxSize) {
		c.prepareRebalance()
	}
}

// close implements members.
func (c *classic) close(code wire.Code) {
	c.m.stop(&c.joinTimer)
	c.m.stop(&c.syncTimer)
	for _, mb := range c.members {
		c.answerJoinError(mb, "", code)
		c.answerSyncError(mb, code)
		c.m.stop(&mb.session.timer)
		c.m.discharge(mb)
	}
	for _, id := range slices.Sorted(maps.Keys(c.pending)) {
		c.removePending(id)
	}
	c.setStored(nil)
	c.m.shard.Hold(-c.topicsCharged)
	c.topicsCharged = 0
}

// answerParked implements members.
func (c *classic) answerParked(code wire.Code) {
	for _, mb := range c.members {
		c.answerJoinError(mb, "", code)
		c.answerSyncError(mb, code)
	}
}

func (c *classic) transition(to phase) {
	c.previous, c.phase = c.phase, to
	c.since = c.m.Env.Clock.WallMillis()
}

// add adds a member. Its protocols are its own.
func (c *classic) add(mb *member) {
	if len(c.members) == 0 && mb.isNew {
		c.leader = nil
	}
	if c.leader == nil {
		c.leader = mb
	}
	c.members = append(c.members, mb)
	c.byID[mb.id] = mb
	if mb.instanceID != nil {
		c.static[*mb.instanceID] = mb
	}
	c.vote(mb, 1)
}

// vote counts the protocols that a member supports, each once.
func (c *classic) vote(mb *member, by int) {
	for i := range mb.protocols {
		name := mb.protocols[i].Name
		if c.votes[name] += by; c.votes[name] == 0 {
			delete(c.votes, name)
		}
	}
}

// remove removes a member, with its timers. What is parked must have been answered.
func (c *classic) remove(mb *member) {
	if c.byID[mb.id] == mb {
		c.detach(mb)
		c.compact()
	}
}

// detach begins to remove a member; compact, once for many, ends it.
func (c *classic) detach(mb *member) {
	c.m.stop(&mb.session.timer)
	c.m.discharge(mb)
	c.vote(mb, -1)
	c.owes(mb, false)
	delete(c.byID, mb.id)
	if mb.instanceID != nil {
		delete(c.static, *mb.instanceID)
	}
}

func (c *classic) compact() {
	gone := func(mb *member) bool { return c.byID[mb.id] != mb }
	c.members = slices.DeleteFunc(c.members, gone)
	if c.leader == nil || !gone(c.leader) {
		return
	}
	c.leader = nil
	if len(c.members) > 0 {
		c.leader = c.members[0]
	}
}

func (c *classic) removePending(id string) {
	if p := c.pending[id]; p != nil {
		c.m.stop(&p.session.timer)
		delete(c.pending, id)
		c.m.shard.Hold(-p.charged)
	}
}

// dropUnused forgets a group that nobody ever joined: there is no record of it whose tombstone would end it.
func (c *classic) dropUnused() {
	if c.g.members == members(c) && c.idle() && c.stored == nil && c.generation == c.m.FirstGeneration {
		c.drop()
	}
}

// supports reports whether a group can take a member with these protocols: one of them must be one that all members support.
func (c *classic) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if c.phase == phaseEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	return c.protocolName == protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return c.votes[p.Name] == len(c.members)
	})
}

// selectProtocol counts the votes of the members: each for its first protocol that all of them support. Of two with as
// many votes, the one counts that a member voted for first.
func (c *classic) selectProtocol() string {
	votes, order := map[string]int{}, []string{}
	for _, mb := range c.members {
		i := slices.IndexFunc(mb.protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return c.votes[p.Name] == len(c.members) })
		if i < 0 {
			continue
		}
		name := mb.protocols[i].Name
		if votes[name]++; votes[name] == 1 {
			order = append(order, name)
		}
	}
	best := ""
	for _, name := range order {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// rebalanceTimeout is the longest of the members that are there.
func (c *classic) rebalanceTimeout() time.Duration {
	longest := time.Duration(0)
	for _, mb := range c.members {
		longest = max(longest, mb.rebalanceTimeout)
	}
	return longest
}
