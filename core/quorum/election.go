package quorum

import (
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"weir/core/task"
)

const (
	electionTicks = 10
	// snapshotTicks is after how many ticks a snapshot that a member was told to fetch is taken for lost.
	snapshotTicks = 300
)

// election has the timers of R17: the leader ticks, everybody else has a timer of its own, so that raft's
// random election timeout is never read.
type election struct {
	tick     task.Timer
	timeout  task.Timer
	draws    uint64
	fetching map[uint64]int // ticks since a member was told to fetch a snapshot
}

// roleChanged takes what raft says of this member's role.
func (q *Quorum) roleChanged(s *raft.SoftState) {
	led := q.leads
	q.leads, q.leader = s.RaftState == raft.StateLeader, s.Lead
	switch {
	case q.leads && !led:
		q.term, q.contacts = q.node.BasicStatus().GetTerm(), map[uint64]contact{}
		q.o.Loop.Stop(&q.election.timeout)
		if q.store.members.others(q.id) {
			q.ship.synced = false // others shipped meanwhile
		}
		q.o.Telemetry.Hit("quorum: elected")
	case led && !q.leads:
		q.deposed()
	}
	if q.opened != nil && !q.leads && q.leader != raft.None {
		q.open() // it follows
	}
}

// deposed ends what only a leader does. What was proposed may still be committed.
func (q *Quorum) deposed() {
	q.o.Telemetry.Hit("quorum: deposed")
	q.o.Telemetry.Info("this node does not lead the metadata's quorum any more", slog.Uint64("term", q.term))
	q.metrics.leader.Set(0)
	q.o.Loop.Stop(&q.election.tick)
	q.o.Loop.Stop(&q.ship.timer)
	q.contacts = nil
	q.ship.upload, q.ship.next, q.ship.elapsed, q.election.fetching = nil, snapshotRef{}, false, nil
	if q.leading {
		q.leading = false
		q.answerConfirmations(len(q.confirm.waiting), false)
		q.tellLeadership()
	}
	if q.resigned != nil {
		q.resigned()
	}
	q.await()
}

func (q *Quorum) tellLeadership() {
	if q.o.LeadershipChanged != nil && q.opened == nil {
		q.o.LeadershipChanged()
	}
}

// keepTime makes sure that the timer of this member's role runs.
func (q *Quorum) keepTime() {
	switch {
	case q.err != nil || q.closing != nil:
	case q.alone() && !q.leads: // nobody else would vote
	case !q.leads:
		if !q.election.timeout.Pending() {
			q.await()
		}
	case q.store.members.others(q.id) && !q.election.tick.Pending():
		q.o.Loop.Reset(&q.election.tick, q.o.ElectionTimeout/electionTicks, q.tick)
	}
}

// tick is a tenth of the election timeout of a leader: raft sends heartbeats, and steps down if no majority has
// answered for a whole one.
func (q *Quorum) tick() {
	q.node.Tick()
	q.reviewFetches()
	q.tellPosition()
}

// reviewFetches tells raft of snapshots that are installed, and of those that nobody seems to fetch any more, so that a newer one is
// offered. Raft goes on by itself only with a member that has everything up to the log's start, which may have moved on meanwhile.
func (q *Quorum) reviewFetches() {
	fetching, installed := map[uint64]int{}, map[uint64]bool{}
	q.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if p.State == tracker.StateSnapshot {
			fetching[id], installed[id] = q.election.fetching[id]+1, p.Match >= p.PendingSnapshot
		}
	})
	for _, m := range q.store.members.ids() {
		switch id := uint64(m); {
		case installed[id]:
			q.o.Telemetry.Hit("quorum: a member installed a snapshot that the log had left behind")
			delete(fetching, id)
			q.node.ReportSnapshot(id, raft.SnapshotFinish)
		case fetching[id] > snapshotTicks:
			delete(fetching, id)
			q.node.ReportSnapshot(id, raft.SnapshotFailure)
		}
	}
	q.election.fetching = fetching
}

// await waits for a leader to be heard: one to two election timeouts.
func (q *Quorum) await() {
	e := &q.election
	e.draws++
	draw := q.o.Env.Rand.Uint64("quorum election", uint64(q.id), e.draws)
	q.o.Loop.Reset(&e.timeout, q.o.ElectionTimeout+time.Duration(draw%uint64(q.o.ElectionTimeout)), q.campaign)
}

// campaign asks the others for their votes. They give them only if they have not heard the leader either.
func (q *Quorum) campaign() {
	q.await()
	if q.leads || q.err != nil || q.closing != nil {
		return
	}
	if !q.store.members.votes(q.id) {
		q.forgetLeader() // it may be a voter by an entry that it lacks, and then nobody leads without its vote
		return
	}
	q.o.Telemetry.Hit("quorum: an election began")
	q.metrics.elections.Add(1)
	q.lines.Warn(q.o.Telemetry, "election", q.o.Loop.Now(),
		"this node hears no leader of the metadata's quorum and asks for votes; a majority of the voters must run and reach each other",
		slog.String("members", fmt.Sprint(q.store.members.ids())))
	q.forgetLeader()
	if err := q.node.Campaign(); err != nil {
		panic("quorum: raft does not campaign: " + err.Error())
	}
}

// forgetLeader lets this member vote for another: with CheckQuorum it refuses that while it follows a leader.
func (q *Quorum) forgetLeader() {
	if err := q.node.ForgetLeader(); err != nil {
		panic("quorum: raft does not forget its leader: " + err.Error())
	}
}

// Resign gives the leadership to the voter that has most of the log, if there is one that answers. done runs once this member
// does not lead, or after an election timeout.
func (q *Quorum) Resign(done func()) {
	heir := q.heir()
	if !q.leads || heir == 0 || q.err != nil {
		q.o.Loop.Post(done)
		return
	}
	q.o.Telemetry.Hit("quorum: the leadership was handed on")
	q.node.TransferLeader(heir)
	q.wake()
	q.resigned = func() {
		q.resigned = nil
		q.o.Loop.Post(done)
	}
	q.o.Loop.After(q.o.ElectionTimeout, func() {
		if q.resigned != nil {
			q.resigned()
		}
	})
}

// heir is the voter that would lead soonest; 0: there is none.
func (q *Quorum) heir() (heir uint64) {
	most := uint64(0)
	for _, id := range q.store.members.voters {
		if p, ok := q.node.Status().Progress[id]; ok && id != uint64(q.id) && p.RecentActive && p.Match > most {
			heir, most = id, p.Match
		}
	}
	return heir
}
