package quorum

import (
	"encoding/binary"
	"errors"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
)

// State is what a member knows of the quorum.
type State struct {
	Leader           MemberID // 0: not known
	Term             uint64
	Applied          uint64        // index of the newest entry that this member has applied
	Voters, Learners []MemberState // ascending
}

// MemberState is one member as the leader knows it. Others know of themselves only.
type MemberState struct {
	ID MemberID
	// End is the index of the newest entry that the member is known to have; 0: not known.
	End uint64
	// Heard is how long ago the leader heard the member, and Caught how long ago it had every entry; negative: not known.
	Heard, Caught time.Duration
}

// contact is what a leader has heard of another member in its term.
type contact struct {
	end    uint64
	heard  env.Time
	caught env.Time
	has    bool // it had every entry at caught
}

// noteContact notes what another member's message tells its leader.
func (q *Quorum) noteContact(m *raftpb.Message) {
	if !q.leads || m.GetTerm() != q.term {
		return
	}
	c := q.contacts[m.GetFrom()]
	switch m.GetType() {
	case raftpb.MsgAppResp:
		if !m.GetReject() {
			c.end = max(c.end, m.GetIndex())
		}
	case raftpb.MsgHeartbeatResp:
	default:
		return
	}
	c.heard = q.o.Loop.Now()
	if c.end >= q.appended {
		c.caught, c.has = c.heard, true
	}
	q.contacts[m.GetFrom()] = c
}

// State is what this member knows now. Only the leader knows of others.
func (q *Quorum) State() State {
	s := State{Leader: MemberID(q.leader), Term: q.node.BasicStatus().GetTerm(), Applied: q.applied}
	for _, id := range q.store.members.voters {
		s.Voters = append(s.Voters, q.memberState(id))
	}
	for _, id := range q.store.members.learners {
		s.Learners = append(s.Learners, q.memberState(id))
	}
	return s
}

func (q *Quorum) memberState(id uint64) MemberState {
	m := MemberState{ID: MemberID(id), Heard: -1, Caught: -1}
	c, known := q.contacts[id]
	switch {
	case m.ID == q.id && q.leads:
		m.End, m.Heard, m.Caught = q.appended, 0, 0
	case m.ID == q.id:
		m.End = q.appended
	case q.leads && known:
		now := q.o.Loop.Now()
		m.End, m.Heard = c.end, now.Sub(c.heard)
		if c.has {
			m.Caught = now.Sub(c.caught)
		}
	}
	return m
}

const (
	stateHeadBytes   = 32
	stateMemberBytes = 32
)

// AppendTo appends an encoding: u64 leader, term, index applied, u32 voters, u32 learners; then of each the voters first: u64
// member, u64 end, i64 heard, i64 caught, in nanoseconds. All is little-endian.
func (s *State) AppendTo(dst []byte) []byte {
	order := binary.LittleEndian
	dst = order.AppendUint64(dst, uint64(s.Leader))
	dst = order.AppendUint64(dst, s.Term)
	dst = order.AppendUint64(dst, s.Applied)
	dst = order.AppendUint32(dst, uint32(len(s.Voters)))
	dst = order.AppendUint32(dst, uint32(len(s.Learners)))
	for _, list := range [][]MemberState{s.Voters, s.Learners} {
		for _, m := range list {
			dst = order.AppendUint64(dst, uint64(m.ID))
			dst = order.AppendUint64(dst, m.End)
			dst = order.AppendUint64(dst, uint64(m.Heard))
			dst = order.AppendUint64(dst, uint64(m.Caught))
		}
	}
	return dst
}

var errState = errors.New("quorum: what should be a state is none")

// DecodeState decodes what AppendTo wrote.
func DecodeState(b []byte) (s State, err error) {
	if len(b) < stateHeadBytes {
		return State{}, errState
	}
	order := binary.LittleEndian
	s = State{Leader: MemberID(order.Uint64(b)), Term: order.Uint64(b[8:]), Applied: order.Uint64(b[16:])}
	voters, learners := int64(order.Uint32(b[24:])), int64(order.Uint32(b[28:]))
	b = b[stateHeadBytes:]
	if int64(len(b)) != (voters+learners)*stateMemberBytes {
		return State{}, errState
	}
	for ; len(b) > 0; b = b[stateMemberBytes:] {
		m := MemberState{
			ID: MemberID(order.Uint64(b)), End: order.Uint64(b[8:]),
			Heard: time.Duration(order.Uint64(b[16:])), Caught: time.Duration(order.Uint64(b[24:])),
		}
		if int64(len(s.Voters)) < voters {
			s.Voters = append(s.Voters, m)
		} else {
			s.Learners = append(s.Learners, m)
		}
	}
	return s, nil
}
