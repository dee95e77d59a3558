package quorum

import (
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// applyAll applies committed entries. A change of the members takes effect now, whether or not the disk knows that it is
// committed: the group of the next change will say so, so that a start misses one of them at most, and the
// majorities before and after one change overlap.
func (q *Quorum) applyAll(m *raftpb.Message) {
	if q.holds > 0 {
		q.o.Telemetry.Hit("quorum: entries waited for a snapshot")
		q.held = append(q.held, m)
		return
	}
	for _, e := range m.GetEntries() {
		if q.apply(e); q.err != nil {
			return
		}
	}
	q.respond(m)
}

// release ends a hold of what is committed, and applies what came meanwhile.
func (q *Quorum) release() {
	q.holds--
	for q.holds == 0 && q.err == nil && len(q.held) > 0 {
		m := q.held[0]
		q.held = q.held[1:]
		q.applyAll(m)
	}
	if q.err == nil {
		q.wake()
	}
}

// respond hands out what waited for a storage message.
func (q *Quorum) respond(m *raftpb.Message) {
	for _, r := range m.GetResponses() {
		if r.GetTo() != uint64(q.id) {
			q.send(r)
			continue
		}
		// A member that is removed while it leads has no vote of its own to count any more.
		if err := q.node.Step(r); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
			panic(fmt.Sprintf("quorum: raft refuses its own answer: %v", err))
		}
	}
}

func (q *Quorum) apply(e *raftpb.Entry) {
	if e.GetIndex() != q.applied+1 {
		panic(fmt.Sprintf("quorum: entry %d is applied after entry %d", e.GetIndex(), q.applied))
	}
	record := isRecord(e)
	if record {
		if err := q.o.Machine.Apply(e.GetIndex(), e.GetTerm(), e.GetData()); err != nil {
			q.fail(fmt.Errorf("entry %d: %w", e.GetIndex(), err))
			return
		}
	}
	q.applied = e.GetIndex()
	q.metrics.applied.Set(int64(q.applied))
	for len(q.proposals) > 0 && q.proposals[0].term < e.GetTerm() {
		q.forgetProposal(ErrNotLeader) // terms of a log never fall: the entry will not come any more
	}
	if q.change != nil && q.change.term < e.GetTerm() {
		q.forgetChange(ErrNotLeader)
	}
	switch {
	case e.GetType() != raftpb.EntryNormal:
		q.applyChange(e)
	case record && len(q.proposals) > 0 && q.proposals[0].term == e.GetTerm():
		q.answer(e.GetIndex())
	case q.leads && !q.leading && len(e.GetData()) == 0 && e.GetTerm() == q.term:
		q.lead()
	case q.change != nil && !record && q.change.term == e.GetTerm():
		// An empty entry behind the first of a term stands for a change that raft turned down, since for all it knew an earlier one
		// was not applied yet. It says so in no other way: the change would be waited for, and others refused, as long as this member leads.
		q.o.Telemetry.Hit("quorum: a change of the members was turned down")
		q.forgetChange(ErrBusy)
	}
}

// isRecord reports whether an entry is the machine's, and not raft's own.
func isRecord(e *raftpb.Entry) bool {
	return e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0
}

// lead begins to take proposals: everything that was committed in earlier terms is applied.
func (q *Quorum) lead() {
	q.leading = true
	q.metrics.leader.Set(1)
	if q.opened != nil {
		q.open()
		return
	}
	q.o.Telemetry.Info("this node leads the metadata's quorum", slog.Uint64("term", q.term))
	q.tellLeadership()
}

// open ends the start.
func (q *Quorum) open() {
	q.opened(nil)
	if !q.founded {
		q.o.Loop.Go("check cluster marker", q.checkMarker)
	}
}

// forgetProposals ends all proposals whose entries this member will not see.
func (q *Quorum) forgetProposals(err error) {
	for len(q.proposals) > 0 {
		q.forgetProposal(err)
	}
	if q.change != nil {
		q.forgetChange(err)
	}
}

func (q *Quorum) forgetProposal(err error) {
	p := q.proposals[0]
	q.proposals[0].done = nil
	q.proposals = q.proposals[1:]
	q.bytes -= p.bytes
	q.o.Loop.Post(func() { p.done(0, err) })
}

func (q *Quorum) forgetChange(err error) {
	done := q.change.done
	q.change = nil
	q.o.Loop.Post(func() { done(err) })
}

// answer ends the oldest proposal, whose entry was applied at index.
func (q *Quorum) answer(index uint64) {
	p := q.proposals[0]
	q.proposals[0].done = nil
	q.proposals = q.proposals[1:]
	q.bytes -= p.bytes
	q.metrics.latency.Observe(int64(q.o.Loop.Now().Sub(p.began)))
	p.done(index, nil)
}
