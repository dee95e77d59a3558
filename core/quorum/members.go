package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// learnersMax bounds the members that only follow.
const learnersMax = 256

// MemberID names a member of the quorum: a node together with one metadata disk (R18). A node that comes
// back with an empty disk is another member, which has promised nothing.
type MemberID uint64

// memberID puts a node and the number of its disk together. A cluster's founder has disk 0.
func memberID(node int32, disk uint32) MemberID { return MemberID(disk)<<32 | MemberID(node) + 1 }

// Node is the member's node.id.
func (id MemberID) Node() int32 { return int32(uint32(id) - 1) }

func (id MemberID) valid() bool { return int32(uint32(id)) > 0 }

// String is the node.id, and the disk unless it is the founder's.
func (id MemberID) String() string {
	if disk := uint32(id >> 32); disk != 0 {
		return fmt.Sprintf("%d (disk %08x)", id.Node(), disk)
	}
	return fmt.Sprint(id.Node())
}

// members are those that have the log: voters elect the leader and decide what is committed, learners only
// follow. Both ascend.
type members struct{ voters, learners []uint64 }

func membersOf(c *raftpb.ConfState) members {
	m := members{slices.Clone(c.GetVoters()), slices.Clone(c.GetLearners())}
	slices.Sort(m.voters)
	slices.Sort(m.learners)
	return m
}

func (m members) confState() *raftpb.ConfState {
	return &raftpb.ConfState{Voters: slices.Clone(m.voters), Learners: slices.Clone(m.learners)}
}

// single reports whether a member decides alone.
func (m members) single(id MemberID) bool { return len(m.voters) == 1 && m.voters[0] == uint64(id) }

// alone reports whether this member decides alone, or no member decides since a rebuild is under way.
func (q *Quorum) alone() bool { return q.store == nil || q.store.members.single(q.id) }

func (m members) votes(id MemberID) bool { return slices.Contains(m.voters, uint64(id)) }

// others reports whether there is anybody beside a member.
func (m members) others(id MemberID) bool {
	return len(m.voters)+len(m.learners) > 1 || len(m.voters) == 1 && m.voters[0] != uint64(id)
}

// ids are all members.
func (m members) ids() []MemberID {
	var ids []MemberID
	for _, id := range append(slices.Clone(m.voters), m.learners...) {
		ids = append(ids, MemberID(id))
	}
	return ids
}

// MemberChange is one step of a change of the members.
type MemberChange uint8

// Steps. A new voter is a learner first, so that it can vote from the moment on that it counts.
const (
	AddLearner   MemberChange = iota // the member begins to follow
	PromoteVoter                     // a learner that has caught up becomes a voter
	RemoveMember                     // a voter or learner leaves
)

// Errors of ChangeMembers.
var (
	// ErrNotCaughtUp: the learner lacks entries that are committed; it is made a voter later.
	ErrNotCaughtUp = errors.New("quorum: the learner has not caught up yet; try again later")
	// ErrMembers: the change cannot be made, whenever it is tried.
	ErrMembers = errors.New("quorum: no such change of the members")
)

// pendingChange is a change whose entry was proposed.
type pendingChange struct {
	term uint64
	done func(error)
}

// ChangeMembers changes the members by one step. done runs once, in a later step of the loop: with nil once the
// change is in force, at once if it was before; or with an error, and then nothing was changed, unless it is
// ErrUnknown. One change is under way at a time, else the error is ErrBusy.
func (q *Quorum) ChangeMembers(change MemberChange, id MemberID, done func(error)) {
	answer := func(err error) { q.o.Loop.Post(func() { done(err) }) }
	if !q.leading || q.closing != nil {
		answer(q.notLeader())
		return
	}
	kind, needed, err := q.validateChange(change, id)
	switch {
	case err != nil || !needed:
		answer(err)
		return
	case q.change != nil:
		answer(ErrBusy)
		return
	}
	step := &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(uint64(id))}
	if err := q.node.ProposeConfChange(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{step}}); err != nil {
		answer(fmt.Errorf("%w (%w)", ErrBusy, err))
		return
	}
	q.change = &pendingChange{q.term, done}
	q.wake()
}

// validateChange is the change in raft's terms, and whether anything is to be done.
func (q *Quorum) validateChange(change MemberChange, id MemberID) (kind raftpb.ConfChangeType, needed bool, err error) {
	m := &q.store.members
	voter, learner := m.votes(id), slices.Contains(m.learners, uint64(id))
	switch change {
	case AddLearner:
		if len(m.learners) >= learnersMax || !id.valid() {
			return 0, false, fmt.Errorf("%w: member %v cannot be added to %d others", ErrMembers, id, len(m.learners))
		}
		return raftpb.ConfChangeAddLearnerNode, !voter && !learner, nil
	case PromoteVoter:
		switch {
		case voter:
			return 0, false, nil
		case !learner || len(m.voters) >= votersMax:
			return 0, false, fmt.Errorf("%w: member %v is no learner, or there are too many voters", ErrMembers, id)
		case !q.caughtUp(id):
			return 0, false, ErrNotCaughtUp
		}
		return raftpb.ConfChangeAddNode, true, nil
	case RemoveMember:
		if m.single(id) {
			return 0, false, fmt.Errorf("%w: member %v is the only voter", ErrMembers, id)
		}
		return raftpb.ConfChangeRemoveNode, voter || learner, nil
	}
	return 0, false, ErrMembers
}

// caughtUp reports whether a member has every committed entry, and is being sent what follows.
func (q *Quorum) caughtUp(id MemberID) bool {
	p, ok := q.node.Status().Progress[uint64(id)]
	return ok && p.Match >= q.applied
}

// Member is this node's own, once it is known; before, what is returned has no node.
func (q *Quorum) Member() MemberID {
	if q.node == nil {
		return 0
	}
	return q.id
}

// Members are the members as of the last entry applied, each ascending.
func (q *Quorum) Members() (voters, learners []MemberID) {
	for _, id := range q.store.members.voters {
		voters = append(voters, MemberID(id))
	}
	for _, id := range q.store.members.learners {
		learners = append(learners, MemberID(id))
	}
	return voters, learners
}

// applyChange takes a committed change of the members.
func (q *Quorum) applyChange(e *raftpb.Entry) {
	change, err := decodeChange(e)
	if err != nil {
		q.fail(fmt.Errorf("entry %d: %w", e.GetIndex(), err))
		return
	}
	q.store.members = membersOf(q.node.ApplyConfChange(change))
	q.o.Telemetry.Hit("quorum: members changed")
	if c := q.change; c != nil && c.term == e.GetTerm() {
		q.change = nil
		c.done(nil)
	}
}

// decodeChange reads a change of the members; an error says that another program wrote it.
func decodeChange(e *raftpb.Entry) (*raftpb.ConfChangeV2, error) {
	change := &raftpb.ConfChangeV2{}
	if err := proto.Unmarshal(e.GetData(), change); err != nil {
		return nil, fmt.Errorf("a change of the members cannot be read: %w", err)
	}
	if len(change.GetChanges()) != 1 || change.GetTransition() != raftpb.ConfChangeTransitionAuto {
		return nil, fmt.Errorf("a change of the members has %d steps: start the version that wrote it", len(change.GetChanges()))
	}
	step := change.GetChanges()[0]
	switch step.GetType() {
	case raftpb.ConfChangeAddNode, raftpb.ConfChangeAddLearnerNode, raftpb.ConfChangeRemoveNode:
	default:
		return nil, fmt.Errorf("a change of the members is of type %v: start the version that wrote it", step.GetType())
	}
	if !MemberID(step.GetNodeId()).valid() {
		return nil, fmt.Errorf("a change of the members names member %d", step.GetNodeId())
	}
	return change, nil
}

// AwaitsAdmission reports whether this member runs and, as far as it knows, is to be added to the others yet.
func (q *Quorum) AwaitsAdmission() bool {
	return q.node != nil && q.err == nil && !slices.Contains(q.store.members.ids(), q.id)
}

// Leader is the member that leads as far as this one knows; 0 if it knows none.
func (q *Quorum) Leader() MemberID { return MemberID(q.leader) }

// Leads reports whether this member leads and has applied everything that was committed before it did.
func (q *Quorum) Leads() bool { return q.leading }
