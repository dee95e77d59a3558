package consumer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"weir/core/env"
	"weir/core/metadata"
)

// Group is the state of one consumer group: what its records yield when applied in order. It is changed by Apply
// only; what the soft state below holds is about time, and lost with the coordinator.
type Group struct {
	// ID is the group's name.
	ID string

	value   groupValue
	target  targetValue
	written struct{ group, target bool } // whether there are records of value and target
	members []*Member                    // by id
	targets map[string]Assignment
	// expressions are what regular expressions matched when they were resolved last.
	expressions btree.Map[string, *Resolved]
	// oldPartitions says that there is a record of TypePartitions.
	oldPartitions bool

	// What follows is derived from the records above.
	statics    map[string]string           // member ids by instance id
	names      btree.Map[string, int]      // members that subscribe to a topic by its name
	subscribed btree.Map[string, int]      // members that subscribe to an expression
	matched    btree.Map[string, int]      // expressions that matched a topic
	assignors  btree.Map[string, int]      // members that ask for an assignor
	classic    int                         // members of the classic protocol
	bytes      int64                       // of what members say of themselves, what their expressions matched, and targets
	owners     map[partitionKey]*ownership // of all partitions that a member has, or has not given back yet

	soft soft
}

// soft is state that no record has.
type soft struct {
	// checked is the version of the topics for which hash is right; 0: none.
	checked uint64
	// resolving says that regular expressions are being resolved.
	resolving bool
}

type partitionKey struct {
	topic     metadata.TopicID
	partition int32
}

// ownership is who may consume a partition, or did until it has confirmed that it stopped.
type ownership struct {
	member string
	epoch  int32 // the member's
}

// Resolved is what a regular expression matched.
type Resolved struct {
	Topics    []string // a set, sorted
	Version   int64    // of the metadata image
	Timestamp int64    // milliseconds
}

// bytes estimates the memory that it takes with its expression.
func (r *Resolved) bytes(expression string) int64 {
	n := 64 + len(expression)
	for _, topic := range r.Topics {
		n += 16 + len(topic)
	}
	return int64(n)
}

// NewGroup returns a group without records.
func NewGroup(id string) *Group {
	return &Group{
		ID: id, targets: map[string]Assignment{}, statics: map[string]string{}, owners: map[partitionKey]*ownership{},
		value: groupValue{epoch: epochFirst}, target: targetValue{epoch: epochFirst},
	}
}

// epochFirst is the epoch of a group, and of its target, as long as there is no record of it: nothing is assigned, as it should be.
const epochFirst = 1

// Epoch is the group epoch: it grows whenever the assignment must be computed anew.
func (g *Group) Epoch() int32 { return g.value.epoch }

// AssignmentEpoch is the group epoch for which the target assignment was computed.
func (g *Group) AssignmentEpoch() int32 { return g.target.epoch }

// Members returns the members by id. They are lent until the next record.
func (g *Group) Members() []*Member { return g.members }

// Member finds a member, or returns nil.
func (g *Group) Member(id string) *Member {
	if i, ok := g.search(id); ok {
		return g.members[i]
	}
	return nil
}

func (g *Group) search(id string) (int, bool) {
	return slices.BinarySearchFunc(g.members, id, func(m *Member, id string) int { return strings.Compare(m.ID, id) })
}

// Static finds the member of an instance id, or returns nil.
func (g *Group) Static(instance string) *Member {
	if instance == "" {
		return nil
	}
	if id, ok := g.statics[instance]; ok {
		return g.Member(id)
	}
	return nil
}

// ClassicMembers is the number of members that use the classic protocol.
func (g *Group) ClassicMembers() int { return g.classic }

// Bytes estimates the memory that members make the group hold, in bytes.
func (g *Group) Bytes() int64 { return g.bytes + int64(len(g.owners))*ownershipBytes }

const (
	// memberBytes is what a member takes beside what it says of itself, and ownershipBytes what a partition that it has takes.
	memberBytes    = 1 << 10
	ownershipBytes = 128
)

// idBytes is what the ids of group and member take in a record of the member. Clients choose both; the member's is held with the
// member and with its target, and all its records are made at a time when the group is written anew.
func (g *Group) idBytes(member string) int64 { return int64(len(g.ID) + len(member)) }

// Gone says that no record of the group is left.
func (g *Group) Gone() bool {
	return !g.written.group && !g.written.target && len(g.members) == 0 && len(g.targets) == 0 && g.expressions.Len() == 0 && !g.oldPartitions
}

// State names the group's state as Kafka does.
func (g *Group) State() string {
	switch {
	case len(g.members) == 0:
		return StateEmpty
	case g.value.epoch > g.target.epoch:
		return StateAssigning
	}
	for _, m := range g.members {
		if !m.reconciledTo(g.target.epoch) {
			return StateReconciling
		}
	}
	return StateStable
}

// The states of a group.
const (
	StateEmpty       = "Empty"
	StateAssigning   = "Assigning"
	StateReconciling = "Reconciling"
	StateStable      = "Stable"
	StateDead        = "Dead"
)

// SubscribedTo reports whether some member subscribes to a topic, by its name or by an expression.
func (g *Group) SubscribedTo(topic string) bool {
	_, named := g.names.Get(topic)
	_, matched := g.matched.Get(topic)
	return named || matched
}

// owner is who has a partition; empty: nobody.
func (g *Group) owner(id metadata.TopicID, partition int32) string {
	if o := g.owners[partitionKey{id, partition}]; o != nil {
		return o.member
	}
	return ""
}

// Apply applies a committed record of the group, live and in replay alike; a nil value is a tombstone. Records may come in any
// order, as compaction leaves them: each makes what it needs, and a tombstone of what is not there changes nothing.
func (g *Group) Apply(k Key, value []byte) error {
	switch k.Type {
	case TypeGroup:
		return g.applyGroup(value)
	case TypePartitions:
		g.oldPartitions = value != nil
	case TypeMember:
		return g.applyMember(k.Of, value)
	case TypeTarget:
		return g.applyTarget(value)
	case TypeTargetOf:
		return g.applyTargetOf(k.Of, value)
	case TypeCurrent:
		return g.applyCurrent(k.Of, value)
	case TypeExpression:
		return g.applyExpression(k.Of, value)
	}
	return nil
}

func (g *Group) applyGroup(value []byte) error {
	v := groupValue{epoch: epochFirst}
	if value != nil {
		if err := decode(value, &v); err != nil {
			return err
		}
	}
	g.value, g.written.group, g.soft.checked = v, value != nil, 0
	return nil
}

func (g *Group) applyTarget(value []byte) error {
	v := targetValue{epoch: epochFirst}
	if value != nil {
		if err := decode(value, &v); err != nil {
			return err
		}
	}
	g.target, g.written.target = v, value != nil
	return nil
}

func (g *Group) applyTargetOf(id string, value []byte) error {
	v := targetOfValue{}
	if value != nil {
		if err := decode(value, &v); err != nil {
			return err
		}
	}
	if old, had := g.targets[id]; had {
		g.bytes -= old.bytes() + g.idBytes(id)
		delete(g.targets, id)
	}
	if value != nil {
		g.bytes += v.assignment.bytes() + g.idBytes(id)
		g.targets[id] = v.assignment
	}
	return nil
}

func (g *Group) applyExpression(text string, value []byte) error {
	v := expressionValue{}
	if value != nil {
		if err := decode(value, &v); err != nil {
			return err
		}
	}
	if old, had := g.expressions.Delete(text); had {
		g.countMatched(text, old, -1)
	}
	if value != nil {
		g.expressions.Set(text, &v.Resolved)
		g.countMatched(text, &v.Resolved, 1)
	}
	return nil
}

// countMatched adds what an expression matched to what is counted over all of them, or takes it away.
func (g *Group) countMatched(text string, r *Resolved, by int) {
	for _, topic := range r.Topics {
		add(&g.matched, topic, by)
	}
	g.bytes += int64(by) * r.bytes(text)
}

func (g *Group) applyMember(id string, value []byte) error {
	m := g.Member(id)
	if value == nil {
		if m != nil {
			g.setMetadata(m, nil)
			g.dropIfEmpty(m)
		}
		return nil
	}
	v := memberValue{}
	if err := decode(value, &v); err != nil {
		return err
	}
	g.setMetadata(g.memberOrNew(id), &v.Metadata)
	return nil
}

// setMetadata replaces what a member is known by, and what is derived from that.
func (g *Group) setMetadata(m *Member, next *Metadata) {
	if m.known {
		g.count(&m.Metadata, -1)
		g.bytes -= 2 * g.idBytes(m.ID)
		if g.statics[m.InstanceID] == m.ID {
			delete(g.statics, m.InstanceID)
		}
	}
	m.Metadata, m.known = Metadata{}, next != nil
	if next == nil {
		return
	}
	m.Metadata = *next
	g.count(next, 1)
	g.bytes += 2 * g.idBytes(m.ID)
	if next.InstanceID != "" {
		g.statics[next.InstanceID] = m.ID
	}
}

// count adds a member to what is counted over all members, or takes it away.
func (g *Group) count(m *Metadata, by int) {
	for _, topic := range m.Topics {
		add(&g.names, topic, by)
	}
	if m.Expression != "" {
		add(&g.subscribed, m.Expression, by)
	}
	if m.Assignor != "" {
		add(&g.assignors, m.Assignor, by)
	}
	if m.Classic != nil {
		g.classic += by
	}
	g.bytes += int64(by) * m.bytes()
}

func add(to *btree.Map[string, int], key string, by int) {
	n, _ := to.Get(key)
	if n+by == 0 {
		to.Delete(key)
		return
	}
	to.Set(key, n+by)
}

func (g *Group) applyCurrent(id string, value []byte) error {
	m := g.Member(id)
	if value == nil {
		if m != nil {
			_ = g.setCurrent(m, currentValue{}) // it takes nothing
			m.placed = false
			g.dropIfEmpty(m)
		}
		return nil
	}
	v := currentValue{}
	if err := decode(value, &v); err != nil {
		return err
	}
	m = g.memberOrNew(id)
	m.placed = true
	return g.setCurrent(m, v)
}

// setCurrent gives back what the member had and takes what it has now, in one step: a partition that it gets again
// before it had given it back is its own all the time (KAFKA-16147). A partition that another member has is ErrTwoOwners.
func (g *Group) setCurrent(m *Member, v currentValue) error {
	g.release(m)
	m.Epoch, m.PreviousEpoch, m.State, m.Assigned, m.Revoking = v.epoch, v.previous, v.state, v.assigned, v.revoking
	m.deadlines.revoked = 0 // counted anew from when somebody looks
	return errors.Join(g.take(m, m.Assigned), g.take(m, m.Revoking))
}

func (g *Group) release(m *Member) {
	drop := func(id metadata.TopicID, partition int32) { delete(g.owners, partitionKey{id, partition}) }
	m.Assigned.Each(drop)
	m.Revoking.Each(drop)
}

func (g *Group) take(m *Member, a Assignment) (err error) {
	a.Each(func(id metadata.TopicID, partition int32) {
		key := partitionKey{id, partition}
		if o := g.owners[key]; o != nil {
			err = fmt.Errorf("%w: partition %d of topic %x of group %s is given to member %s at epoch %d, and member %s has it at epoch %d",
				ErrTwoOwners, partition, id, g.ID, m.ID, m.Epoch, o.member, o.epoch)
		}
		g.owners[key] = &ownership{m.ID, m.Epoch}
	})
	return err
}

// ErrTwoOwners says that a record gives a partition to a member which another one has (I13).
var ErrTwoOwners = errors.New("a partition has two owners")

func (g *Group) memberOrNew(id string) *Member {
	i, ok := g.search(id)
	if !ok {
		g.members = slices.Insert(g.members, i, &Member{ID: id})
	}
	return g.members[i]
}

func (g *Group) dropIfEmpty(m *Member) {
	if i, ok := g.search(m.ID); ok && !m.known && !m.placed {
		g.members = slices.Delete(g.members, i, i+1)
	}
}

// deadlines are of one member, on this coordinator's clock.
type deadlines struct {
	session env.Time // 0: not running yet
	revoked env.Time // by when it must have given back what it was told to; 0: not running
	join    env.Time // by when a classic member must join again; 0: it need not
	sync    env.Time // by when a classic member that joined must sync; 0: it need not
}
