package client

import (
	"math"
	"slices"
	"strings"

	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const forever = math.MaxInt64

// Protocols of the members: an eager one moves every partition with each generation, the cooperative one as few as it can.
const (
	eagerProtocol       = "rotating"
	otherEagerProtocol  = "turning"
	cooperativeProtocol = "sticky"
)

// offer draws the protocols of an incarnation. All that are there at the end have one in common.
func (m *Member) offer() {
	switch m.offers = []string{eagerProtocol}; {
	case m.options.Cooperative:
		m.offers = []string{cooperativeProtocol}
	case m.options.Choosy && m.ending:
		m.offers = []string{otherEagerProtocol, eagerProtocol}
	case m.options.Choosy:
		all := []string{eagerProtocol, otherEagerProtocol, eagerProtocol}
		at := m.draws.Below(3)
		m.offers = all[at:min(at+m.draws.Between(1, 2), 3)]
	}
}

// join takes part in a rebalance of the classic protocol.
func (m *Member) join() {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.InstanceID, r.ProtocolType = m.options.Group, m.id, m.instance(), "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(m.options.Session.Milliseconds()), int32(m.options.Rebalance.Milliseconds())
	if !m.options.Cooperative {
		m.drop()
	}
	for _, name := range m.offers {
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name, protocol.Metadata = name, m.subscription()
		r.Protocols = append(r.Protocols, protocol)
	}
	m.call(m.options.Rebalance+joinPatience, r, func(response kmsg.Response) {
		v := response.(*kmsg.JoinGroupResponse)
		switch v.ErrorCode {
		case 0:
			m.hasJoined(v)
		case wire.MemberIDRequired:
			m.id = strings.Clone(v.MemberID) // the response is lent
			m.step()
		default:
			m.refused("JoinGroup", v.ErrorCode)
		}
	})
}

func (m *Member) hasJoined(v *kmsg.JoinGroupResponse) {
	if m.id != "" && m.id != v.MemberID {
		m.fail("protocol", "client %d joined group %s as %s and was named %s", m.client, m.options.Group, m.id, v.MemberID)
	}
	m.id, m.generation, m.phase, m.members = v.MemberID, v.Generation, joined, nil
	if v.Protocol == nil || !slices.Contains(m.offers, *v.Protocol) {
		m.fail("protocol", "client %d offers %v to group %s, which chose another", m.client, m.offers, m.options.Group)
		return
	}
	m.protocol = strings.Clone(*v.Protocol)
	m.mute = !m.ending && !m.options.Static && !m.assigned(v.Generation) && m.draws.PerMille(m.options.Mute)
	if v.LeaderID == v.MemberID && !v.SkipAssignment {
		for _, other := range v.Members {
			other.ProtocolMetadata = slices.Clone(other.ProtocolMetadata) // the response is lent
			other.MemberID = strings.Clone(other.MemberID)
			m.members = append(m.members, other)
		}
	}
	m.id = strings.Clone(m.id)
	m.beat = m.Queue.Now().Add(m.interval)
	m.step()
}

// subscription is what the leader has to know of the member.
func (m *Member) subscription() []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Generation = 3, m.generation
	if m.id == "" {
		s.Generation = -1
	}
	for _, t := range m.options.Topics {
		s.Topics = append(s.Topics, t.Name)
	}
	for _, p := range m.parts {
		if !p.owned {
			continue
		}
		if n := len(s.OwnedPartitions); n == 0 || s.OwnedPartitions[n-1].Topic != p.Topic.Name {
			owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
			owned.Topic = p.Topic.Name
			s.OwnedPartitions = append(s.OwnedPartitions, owned)
		}
		last := &s.OwnedPartitions[len(s.OwnedPartitions)-1]
		last.Partitions = append(last.Partitions, p.Index)
	}
	return s.AppendTo(nil)
}

// assigned reports whether a member got its assignment of a generation. Who joins after that, as a static member may, is not
// waited for, and has no deadline.
func (m *Member) assigned(generation int32) bool {
	return slices.ContainsFunc(m.history.Syncs, func(s checker.Sync) bool { return s.Generation == generation })
}

// sync sends the assignment, if it is the leader, and gets its own.
func (m *Member) sync() {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.Generation, r.MemberID, r.InstanceID = m.options.Group, m.generation, m.id, m.instance()
	r.ProtocolType, r.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr(m.protocol)
	for i, parts := range m.assign() {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m.members[i].MemberID, assignment(parts)
		r.GroupAssignment = append(r.GroupAssignment, a)
	}
	call := m.Stamp()
	m.call(m.options.Rebalance+joinPatience, r, func(response kmsg.Response) {
		v := response.(*kmsg.SyncGroupResponse)
		if v.ErrorCode != 0 {
			m.refused("SyncGroup", v.ErrorCode)
			return
		}
		m.synced(v.MemberAssignment, call)
	})
}

func assignment(parts []*memberPart) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	for _, p := range parts {
		if n := len(a.Topics); n == 0 || a.Topics[n-1].Topic != p.Topic.Name {
			topic := kmsg.NewConsumerMemberAssignmentTopic()
			topic.Topic = p.Topic.Name
			a.Topics = append(a.Topics, topic)
		}
		last := &a.Topics[len(a.Topics)-1]
		last.Partitions = append(last.Partitions, p.Index)
	}
	return a.AppendTo(nil)
}

func (m *Member) synced(data []byte, call int64) {
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom(data); len(data) > 0 && err != nil {
		m.fail("protocol", "client %d was given an assignment of %d bytes that is none: %v", m.client, len(data), err)
		return
	}
	mine := map[*memberPart]bool{}
	record := checker.Sync{Client: int32(m.client), Member: m.called(), Generation: m.generation, Call: call, Return: m.Stamp()}
	for _, t := range a.Topics {
		for _, index := range t.Partitions {
			if p := m.find(t.Topic, [16]byte{}, index); p != nil {
				mine[p] = true
				record.Partitions = append(record.Partitions, p.History.Name)
			}
		}
	}
	m.history.Syncs = append(m.history.Syncs, record)
	revoked := m.revise(mine)
	m.phase = stable
	m.beat = m.Queue.Now().Add(m.interval)
	if revoked && m.options.Cooperative {
		m.rejoin() // so that others get what it gave up
		return
	}
	m.step()
}

// revise takes what is new and gives up what is gone.
func (m *Member) revise(mine map[*memberPart]bool) (revoked bool) {
	for _, p := range m.parts {
		switch {
		case p.owned && !mine[p]:
			p.owned, revoked = false, true
		case !p.owned && mine[p]:
			m.own(p)
		case p.owned:
			m.history.Owned[p.ownership-1].Epoch = m.generation
		}
	}
	return revoked
}

// assign is the leader's work: partitions for each of m.members.
func (m *Member) assign() [][]*memberPart {
	n := len(m.members)
	if n == 0 {
		return nil
	}
	slices.SortStableFunc(m.members, func(a, b kmsg.JoinGroupResponseMember) int { return strings.Compare(a.MemberID, b.MemberID) })
	given := make([][]*memberPart, n)
	if !m.options.Cooperative {
		for i, p := range m.parts {
			to := (i + int(m.generation)) % n
			given[to] = append(given[to], p)
		}
		return given
	}
	owners := m.owners()
	most := (len(m.parts) + n - 1) / n
	var free []*memberPart
	target := map[*memberPart]int{}
	load := make([]int, n)
	for _, p := range m.parts {
		if owner, owned := owners[p]; owned && load[owner] < most {
			target[p] = owner
			load[owner]++
		} else {
			free = append(free, p)
		}
	}
	for _, p := range free {
		least := 0
		for i := range load {
			if load[i] < load[least] {
				least = i
			}
		}
		target[p] = least
		load[least]++
	}
	for _, p := range m.parts {
		if owner, owned := owners[p]; !owned || owner == target[p] {
			given[target[p]] = append(given[target[p]], p)
		}
	}
	return given
}

// owners are the members that own each partition, as they say: the one of the latest generation, if several do.
func (m *Member) owners() map[*memberPart]int {
	owners, since := map[*memberPart]int{}, map[*memberPart]int32{}
	for i := range m.members {
		s := kmsg.NewConsumerMemberMetadata()
		if err := s.ReadFrom(m.members[i].ProtocolMetadata); err != nil {
			m.fail("protocol", "client %d was given metadata of member %s that are none: %v", m.client, m.members[i].MemberID, err)
			continue
		}
		for _, t := range s.OwnedPartitions {
			for _, index := range t.Partitions {
				p := m.find(t.Topic, [16]byte{}, index)
				if generation, claimed := since[p]; p != nil && (!claimed || generation < s.Generation) {
					owners[p], since[p] = i, s.Generation
				}
			}
		}
	}
	return owners
}
