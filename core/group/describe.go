package group

import (
	"strings"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeGroupNotFound is the version of DescribeGroups that says that a group is unknown; before, it is "Dead".
const describeGroupNotFound = 6

const stateDead = "Dead"

// NotDescribed is the answer of DescribeGroups for a group that is not there, or of another type.
func NotDescribed(version int16, id, message string) kmsg.DescribeGroupsResponseGroup {
	out := kmsg.NewDescribeGroupsResponseGroup()
	out.Group, out.State = id, stateDead
	if version >= describeGroupNotFound {
		out.ErrorCode, out.ErrorMessage = wire.GroupIDNotFound, &message
	}
	return out
}

// Describe handles one group of DescribeGroups. Protocol and subscriptions are shown of stable groups only;
// assignments always, as in Kafka: between generations they are those of the last.
func (m *Machine) Describe(version int16, id string) kmsg.DescribeGroupsResponseGroup {
	g := m.groups[id]
	if g == nil {
		return NotDescribed(version, id, "Group "+id+" not found.")
	}
	out := kmsg.NewDescribeGroupsResponseGroup()
	out.Group, out.State = id, phaseNames[phaseEmpty]
	if g.members == nil {
		return out
	}
	c, ok := g.members.(*classic)
	if !ok {
		return NotDescribed(version, id, "Group "+id+" is not a classic group.")
	}
	out.State, out.ProtocolType = c.state(), c.protocolName
	stable := c.phase == phaseStable
	if stable && c.protocol != nil {
		out.Protocol = *c.protocol
	}
	for _, mb := range c.members {
		d := kmsg.NewDescribeGroupsResponseGroupMember()
		d.MemberID, d.InstanceID, d.ClientID, d.ClientHost = mb.id, mb.instanceID, mb.client.ID, mb.client.Host
		d.ProtocolMetadata, d.MemberAssignment = []byte{}, append([]byte{}, mb.assignment...)
		if stable {
			d.ProtocolMetadata = mb.metadata(c.protocol)
		}
		out.Members = append(out.Members, d)
	}
	return out
}

// List appends the groups that pass the filters, by id. Filters are compared without regard to case; none pass all.
func (m *Machine) List(out []kmsg.ListGroupsResponseGroup, states, types Filter) []kmsg.ListGroupsResponseGroup {
	for _, g := range m.sorted() {
		l := kmsg.NewListGroupsResponseGroup()
		l.Group, l.GroupState, l.GroupType = g.id, phaseNames[phaseEmpty], string(Classic)
		if g.members != nil {
			l.ProtocolType, l.GroupState, l.GroupType = g.members.protocolType(), g.members.state(), string(g.members.kind())
		}
		if states.passes(l.GroupState) && types.passes(l.GroupType) {
			out = append(out, l)
		}
	}
	return out
}

// Filter holds the words that pass, in lower case; nil lets all pass. A request may have a million, and is for every group.
type Filter map[string]bool

// NewFilter is the filter of a request.
func NewFilter(words []string) Filter {
	if len(words) == 0 {
		return nil
	}
	f := Filter{}
	for _, word := range words {
		f[strings.ToLower(word)] = true
	}
	return f
}

func (f Filter) passes(word string) bool { return f == nil || f[strings.ToLower(word)] }
