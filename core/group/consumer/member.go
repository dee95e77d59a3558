package consumer

import "slices"

// Member is one member of a group. It is lent until the next record of the group, and never changed by its users.
type Member struct {
	ID string
	Metadata
	// Epoch is the member's: the epoch of the target assignment to which it is, or is being, moved. Zero: it just joined.
	// epochStaticLeft: a static member that left and may come back.
	Epoch         int32
	PreviousEpoch int32
	State         State
	Assigned      Assignment // what the member may consume
	Revoking      Assignment // what it has not confirmed to have given back

	known, placed bool // a record of TypeMember, of TypeCurrent is there
	deadlines     deadlines
}

// Metadata is what a member says of itself. Empty strings are unset.
type Metadata struct {
	InstanceID, Rack     string
	ClientID, ClientHost string
	Topics               []string // a set, sorted
	Expression           string   // RE2
	// RebalanceTimeoutMillis is how long the member may take to give back partitions; negative: not known.
	RebalanceTimeoutMillis int32
	Assignor               string
	Classic                *Classic // nil: a member of the new protocol
}

// Classic is what a member of the classic protocol has besides.
type Classic struct {
	SessionTimeoutMillis int32
	Protocols            []ClassicProtocol
}

// ClassicProtocol is a protocol as in JoinGroup.
type ClassicProtocol struct {
	Name     string
	Metadata []byte
}

func (m *Metadata) equal(o *Metadata) bool {
	return m.InstanceID == o.InstanceID && m.Rack == o.Rack && m.ClientID == o.ClientID && m.ClientHost == o.ClientHost &&
		slices.Equal(m.Topics, o.Topics) && m.Expression == o.Expression && m.RebalanceTimeoutMillis == o.RebalanceTimeoutMillis &&
		m.Assignor == o.Assignor && m.Classic.equal(o.Classic)
}

// bytes estimates the memory that it takes.
func (m *Metadata) bytes() int64 {
	n := memberBytes + len(m.InstanceID) + len(m.Rack) + len(m.ClientID) + len(m.ClientHost) + len(m.Expression)
	for _, topic := range m.Topics {
		n += 16 + len(topic)
	}
	if m.Classic != nil {
		for i := range m.Classic.Protocols {
			n += 64 + len(m.Classic.Protocols[i].Name) + len(m.Classic.Protocols[i].Metadata)
		}
	}
	return int64(n)
}

func (c *Classic) equal(o *Classic) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.SessionTimeoutMillis == o.SessionTimeoutMillis && slices.EqualFunc(c.Protocols, o.Protocols, func(a, b ClassicProtocol) bool {
		return a.Name == b.Name && slices.Equal(a.Metadata, b.Metadata)
	})
}

// State is where a member is on its way to its target, numbered as in Kafka's records.
type State int8

// The states of a member.
const (
	// Stable: the member has its target, as far as it knows one.
	Stable State = 0
	// Unrevoked: the member must confirm that it gave partitions back.
	Unrevoked State = 1
	// Unreleased: the member waits for partitions that others have not given back.
	Unreleased State = 2
)

// epochStaticLeft is the epoch of a static member that left for a while.
const epochStaticLeft = -2

func (m *Member) reconciledTo(targetEpoch int32) bool {
	return m.State == Stable && m.Epoch == targetEpoch
}

// moved sets an epoch and keeps the one before it, for answers that get lost.
func (m *Member) moved(epoch int32) { m.PreviousEpoch, m.Epoch = m.Epoch, epoch }

func (m *Member) current() currentValue {
	return currentValue{epoch: m.Epoch, previous: m.PreviousEpoch, state: m.State, assigned: m.Assigned, revoking: m.Revoking}
}

// samePlace reports whether two states of a member have the same epochs, state and partitions.
func (m *Member) samePlace(o *Member) bool {
	return m.Epoch == o.Epoch && m.PreviousEpoch == o.PreviousEpoch && m.State == o.State &&
		m.Assigned.Equal(o.Assigned) && m.Revoking.Equal(o.Revoking)
}
