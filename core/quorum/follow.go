package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
	"weir/core/task"
)

// ErrLostEntries: this member has not got what it promised to keep (R18).
var ErrLostEntries = errors.New("this metadata disk lacks entries that it had acknowledged: it was restored from an older copy, or it lost writes; " +
	"put it away and start with an empty one, which joins the cluster anew")

// Receive takes a message from another member. What is not for this member, or not of this cluster, is dropped.
func (q *Quorum) Receive(m *Message) {
	switch {
	case q.err != nil || q.node == nil || q.closing != nil:
	case m.Cluster != [16]byte(q.cluster) || m.To != q.id || m.Incarnation != q.ship.at.incarnation && m.Incarnation > 0 && q.ship.at.sequence > 0:
		q.o.Telemetry.Hit("quorum: a message for another member was dropped")
	case m.shipped != nil:
		q.learnPosition(*m.shipped)
	case q.lost(m.raft):
		q.fail(ErrLostEntries)
	case m.raft.GetType() == raftpb.MsgSnap:
		q.offered(m.raft)
	case m.raft.GetType() == raftpb.MsgAppResp && m.raft.GetIndex() > q.appended:
		q.o.Telemetry.Hit("quorum: a member acknowledged what was never sent")
	default:
		q.noteContact(m.raft)
		q.stepRaft(m.raft)
	}
}

// stepRaft hands raft a message, and notes if it came from the leader. What raft cannot bear ends the replica: the
// sender's log and this one contradict each other.
func (q *Quorum) stepRaft(m *raftpb.Message) {
	defer func() {
		if p := recover(); p != nil {
			q.fail(fmt.Errorf("a message of member %v contradicts this log: %v", MemberID(m.GetFrom()), p))
		}
	}()
	if err := q.node.Step(m); err != nil {
		q.o.Telemetry.Hit("quorum: raft dropped a message")
		return
	}
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		if q.node.BasicStatus().Lead == m.GetFrom() {
			q.await()
		}
	}
}

// lost reports whether a message proves that this disk lacks what it acknowledged: the leader sends a commit index
// with a heartbeat only as far as this member has acknowledged.
func (q *Quorum) lost(m *raftpb.Message) bool {
	if m.GetTerm() < q.node.BasicStatus().GetTerm() {
		return false
	}
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		return m.GetCommit() > max(q.appended, q.store.last())
	case raftpb.MsgApp:
		for _, e := range m.GetEntries() {
			if i := e.GetIndex(); i > q.store.index && i <= q.applied && q.store.entries[i-q.store.index-1].GetTerm() != e.GetTerm() {
				return true
			}
		}
	}
	return false
}

// fetch is a snapshot that the leader offered. It is read from the object store before raft hears of the offer, and no other is
// taken until it is installed.
type fetch struct {
	active bool
	at     position
	head   snapshotHeader
	data   []byte
}

// offered fetches a snapshot, unless that is under way, or not needed.
func (q *Quorum) offered(m *raftpb.Message) {
	f := &q.fetch
	at := decodePosition(m.GetSnapshot().GetData())
	if at.ref.index <= q.applied {
		q.stepRaft(m) // raft answers what this member has
		return
	}
	if f.active || m.GetTerm() < q.node.BasicStatus().GetTerm() {
		return
	}
	f.active, f.at = true, at
	q.o.Telemetry.Info("this node fetches the metadata from the object store: the leader has no longer what it lacks",
		slog.Uint64("entry", at.ref.index), slog.Uint64("applied", q.applied))
	q.busy++
	q.o.Loop.Go("fetch quorum snapshot", func(p *task.Proc) {
		if !q.take(q.remote(p, env.PurposeRecovery), m, at) {
			q.fetch = fetch{}
		}
		q.busy--
	})
}

// take fetches a snapshot and hands raft the offer. It reports whether raft wants it written.
func (q *Quorum) take(r *remote, offer *raftpb.Message, at position) bool {
	h, data, found, err := r.snapshot(at.ref)
	meta := offer.GetSnapshot().GetMetadata()
	switch {
	case errors.Is(err, errEnded) || q.err != nil:
		return false
	case err != nil:
		q.fail(err)
		return false
	case !found:
		q.o.Telemetry.Hit("quorum: an offered snapshot was gone")
		return false // a newer one took its place, and is offered later
	case h.term != meta.GetTerm():
		q.fail(fmt.Errorf("the shipped snapshot of entry %d is of term %d, and the leader says %d", h.index, h.term, meta.GetTerm()))
		return false
	}
	q.fetch.head, q.fetch.data = h, data
	q.stepRaft(offer)
	q.pump()
	q.wake()
	return slices.ContainsFunc(q.log.queue, func(m *raftpb.Message) bool { return m.GetSnapshot() != nil })
}

// install writes a snapshot that raft has accepted, in place of the log.
func (q *Quorum) install(m *raftpb.Message) {
	s, l := &q.snapshots, &q.log
	meta := m.GetSnapshot().GetMetadata()
	if q.fetch.data == nil || q.fetch.head.index != meta.GetIndex() {
		panic(fmt.Sprintf("quorum: raft asks for the snapshot of entry %d, which was not fetched", meta.GetIndex()))
	}
	s.active, l.rotating = true, true
	q.busy++
	q.o.Loop.Go("install quorum snapshot", func(p *task.Proc) {
		for {
			err := q.tryInstall(files{p, q.o.Env}, m)
			if err == nil || q.err != nil || !errors.Is(err, env.ErrDiskFull) {
				if err != nil {
					q.fail(err)
				}
				break
			}
			q.noRoom(err)
			p.Sleep(fullRetryAfter)
			if !q.live() {
				break
			}
		}
		s.active, l.rotating = false, false
		q.busy--
		q.wake()
	})
}

// tryInstall makes the snapshot durable, and only then begins a segment that continues it: a start that finds no segment
// behind the newest snapshot goes on from there.
func (q *Quorum) tryInstall(f files, m *raftpb.Message) error {
	before := q.store.index
	h := q.fetch.head
	h.node, h.member, h.shipped = q.o.Node, q.id, q.fetch.at
	h.members = membersOf(m.GetSnapshot().GetMetadata().GetConfState())
	h.segment = q.log.marks[len(q.log.marks)-1].ordinal + 1
	h.hard = hardOf(m, q.store.hard)
	h.hard.commit = max(h.hard.commit, h.index)
	if err := publishSnapshot(f, &h, q.fetch.data); err != nil {
		return err
	}
	if q.err != nil {
		return nil
	}
	if err := q.o.Machine.Restore(h.index, q.fetch.data); err != nil {
		return fmt.Errorf("restore the metadata from the shipped snapshot of entry %d: %w", h.index, err)
	}
	q.store.restore(&h)
	q.store.hard = h.hard
	q.applied, q.snapshots.pending, q.snapshots.bytes = h.index, nil, 0
	q.metrics.applied.Set(int64(q.applied))
	q.fetch = fetch{}
	q.forgetProposals(ErrUnknown)
	q.o.Telemetry.Hit("quorum: a snapshot was installed")
	for {
		err := q.newSegment(f)
		if !errors.Is(err, env.ErrDiskFull) || !q.live() {
			if err != nil {
				return err
			}
			break
		}
		q.noRoom(err)
		f.proc.Sleep(fullRetryAfter)
	}
	if before != h.index {
		if err := q.giveUp(f, before, h.segment); err != nil {
			return err
		}
	}
	if q.err == nil {
		q.learnPosition(h.shipped)
		q.respond(m)
	}
	return nil
}

// hardOf is the hard state that a storage message makes durable.
func hardOf(m *raftpb.Message, now hardState) hardState {
	if m.Term == nil {
		return now
	}
	return hardState{m.GetTerm(), m.GetVote(), m.GetCommit()}
}

// send hands a message of raft's to the others.
func (q *Quorum) send(m *raftpb.Message) {
	if q.o.Peers == nil {
		panic("quorum: there are other members, and no way to them")
	}
	if m.GetType() == raftpb.MsgSnap {
		m = offerTo(m)
	}
	q.o.Peers.Send(&Message{Cluster: q.cluster, Incarnation: q.ship.at.incarnation, From: q.id, To: MemberID(m.GetTo()), raft: m})
}

// offerTo makes the receiver of a snapshot a learner in it, if it is not a member there: it was added behind the snapshot, and
// raft restores none that does not name its own member. More voters would change who decides; a learner does not.
func offerTo(m *raftpb.Message) *raftpb.Message {
	meta := m.GetSnapshot().GetMetadata()
	names := membersOf(meta.GetConfState())
	if slices.Contains(names.voters, m.GetTo()) || slices.Contains(names.learners, m.GetTo()) {
		return m
	}
	names.learners = append(names.learners, m.GetTo())
	slices.Sort(names.learners)
	return &raftpb.Message{
		Type: m.Type, To: m.To, From: m.From, Term: m.Term,
		Snapshot: &raftpb.Snapshot{Data: m.GetSnapshot().GetData(), Metadata: &raftpb.SnapshotMetadata{
			Index: meta.Index, Term: meta.Term, ConfState: names.confState(),
		}},
	}
}

// tellPosition tells the others how far the log is in the object store. It is told again with each tick.
func (q *Quorum) tellPosition() {
	if !q.leads || q.ship.at.sequence == 0 || q.o.Peers == nil {
		return
	}
	at := q.ship.at
	for _, id := range q.store.members.ids() {
		if id != q.id {
			q.o.Peers.Send(&Message{Cluster: q.cluster, Incarnation: at.incarnation, From: q.id, To: id, shipped: &at})
		}
	}
}

// learnPosition takes how far the leader has shipped the log. Whoever was the leader when it was told, it is so.
func (q *Quorum) learnPosition(at position) {
	s := &q.ship
	if q.leads || at.incarnation != s.at.incarnation && s.at.sequence > 0 || at.sequence <= s.at.sequence {
		return
	}
	s.at, s.genesis = at, nil
	q.metrics.shipped.Set(int64(at.last))
	q.tellShipped()
}

// offerSnapshot is what raft sends a member whose entries are no longer here: the name of the newest shipped snapshot.
func (q *Quorum) offerSnapshot() (*raftpb.Snapshot, error) {
	s := &q.ship
	if !s.synced || s.head.ref != s.at.ref || s.at.ref.nonce == 0 || s.at.ref.index < q.store.index {
		s.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	data := make([]byte, markBytes)
	s.at.encode(data)
	return &raftpb.Snapshot{Data: data, Metadata: &raftpb.SnapshotMetadata{
		Index: new(s.at.ref.index), Term: new(s.head.term), ConfState: s.head.members.confState(),
	}}, nil
}
