package group

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joining is a JoinGroup whose answer may be outstanding.
type joining struct{ out *kmsg.JoinGroupResponse }

func (j *joining) code() wire.Code {
	if j.out == nil {
		return noAnswer
	}
	return wire.Code(j.out.ErrorCode)
}

const noAnswer = -1000

type syncing struct{ out *kmsg.SyncGroupResponse }

func (s *syncing) code() wire.Code {
	if s.out == nil {
		return noAnswer
	}
	return wire.Code(s.out.ErrorCode)
}

func subscription(topics ...string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = topics
	return s.AppendTo(nil)
}

// join sends JoinGroup 3, whose members are named at once; set changes it.
func (r *rig) join(member string, set ...func(*kmsg.JoinGroupRequest)) *joining {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 3, "g", member, "consumer", 10_000, 30_000
	q.Protocols = protocols("range")
	for _, f := range set {
		f(q)
	}
	j := &joining{}
	r.machine().Join(q, Client{ID: "client", Host: "/127.0.0.1"}, func(out *kmsg.JoinGroupResponse) {
		require.Nil(r.t, j.out, "answered twice")
		j.out = out
	})
	r.Turn()
	return j
}

func protocols(names ...string) (out []kmsg.JoinGroupRequestProtocol) {
	for _, name := range names {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription("a")
		out = append(out, p)
	}
	return out
}

func with(names ...string) func(*kmsg.JoinGroupRequest) {
	return func(q *kmsg.JoinGroupRequest) { q.Protocols = protocols(names...) }
}

func version(v int16) func(*kmsg.JoinGroupRequest) {
	return func(q *kmsg.JoinGroupRequest) { q.Version = v }
}

func static(instance string) func(*kmsg.JoinGroupRequest) {
	return func(q *kmsg.JoinGroupRequest) { q.Version, q.InstanceID = 9, &instance }
}

func timeouts(session, rebalance time.Duration) func(*kmsg.JoinGroupRequest) {
	return func(q *kmsg.JoinGroupRequest) {
		q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = int32(session.Milliseconds()), int32(rebalance.Milliseconds())
	}
}

func (r *rig) sync(member string, generation int32, assigned ...string) *syncing {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 5, "g", member, generation
	for _, m := range assigned {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m, []byte("of "+m)
		q.GroupAssignment = append(q.GroupAssignment, a)
	}
	return r.syncAs(q)
}

func (r *rig) syncAs(q *kmsg.SyncGroupRequest) *syncing {
	s := &syncing{}
	r.machine().Sync(q, func(out *kmsg.SyncGroupResponse) {
		require.Nil(r.t, s.out, "answered twice")
		s.out = out
	})
	r.Turn()
	return s
}

func (r *rig) beat(member string, generation int32) wire.Code {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.Generation = "g", member, generation
	code := wire.Code(noAnswer)
	r.machine().Heartbeat(q, func(c wire.Code) { code = c })
	r.Turn()
	return code
}

func (r *rig) leave(members ...string) *kmsg.LeaveGroupResponse {
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, "g"
	for _, m := range members {
		one := kmsg.NewLeaveGroupRequestMember()
		one.MemberID = m
		q.Members = append(q.Members, one)
	}
	return r.leaveAs(q)
}

func (r *rig) leaveAs(q *kmsg.LeaveGroupRequest) (out *kmsg.LeaveGroupResponse) {
	r.machine().Leave(q, func(o *kmsg.LeaveGroupResponse) {
		require.Nil(r.t, out)
		out = o
	})
	r.Turn()
	return out
}

// stable makes a stable group of so many members; the first leads it.
func (r *rig) stable(count int, set ...func(*kmsg.JoinGroupRequest)) (ids []string, generation int32) {
	var joins []*joining
	for range count {
		joins = append(joins, r.join("", set...))
	}
	for i := 0; i < 20 && joins[0].out == nil; i++ { // newcomers extend the delay
		r.pass(3 * time.Second)
	}
	for _, j := range joins {
		require.Equal(r.t, wire.Code(wire.None), j.code())
		ids, generation = append(ids, j.out.MemberID), j.out.Generation
	}
	r.assign(ids, generation)
	return ids, generation
}

// assign syncs all members, the leader first.
func (r *rig) assign(ids []string, generation int32) {
	for i, id := range ids {
		assigned := ids
		if i > 0 {
			assigned = nil
		}
		s := r.sync(id, generation, assigned...)
		require.Equal(r.t, wire.Code(wire.None), s.code())
		require.Equal(r.t, "of "+id, string(s.out.MemberAssignment))
	}
}

func (r *rig) phase() string { return r.machine().Describe(6, "g").State }

// 1, 3: what a join is refused for before anything is made.
func TestJoinIsRefused(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		member string
		set    func(*kmsg.JoinGroupRequest)
		want   wire.Code
	}{
		"empty group":         {"", func(q *kmsg.JoinGroupRequest) { q.Group = "" }, wire.InvalidGroupID},
		"short session":       {"", timeouts(5*time.Second, time.Minute), wire.InvalidSessionTimeout},
		"long session":        {"", timeouts(time.Hour, time.Minute), wire.InvalidSessionTimeout},
		"id never handed out": {"stranger", version(4), wire.UnknownMemberID},
		"no protocol type":    {"", func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "" }, wire.InconsistentGroupProtocol},
		"no protocol":         {"", func(q *kmsg.JoinGroupRequest) { q.Protocols = nil }, wire.InconsistentGroupProtocol},
	} {
		j := r.join(c.member, c.set)
		require.Equal(t, c.want, j.code(), name)
		require.Nil(t, j.out.ProtocolType, name)
	}
	require.Empty(t, r.machine().groups, "no group appears")
}

// 1, 8, 9: ids are handed out before joining, and the join phase waits for those that have one.
func TestMemberIDIsRequired(t *testing.T) {
	r := newRig(t)
	first := r.join("", version(4))
	require.EqualValues(t, wire.MemberIDRequired, first.code())
	require.Regexp(t, `^client-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, first.out.MemberID)
	other := r.join("", version(4)).out.MemberID
	require.NotEqual(t, first.out.MemberID, other)
	require.Equal(t, "Empty", r.phase())

	ids, generation := r.stable(1)
	for range 2 {
		r.pass(5 * time.Second)
		r.beat(ids[0], generation)
	}
	require.EqualValues(t, wire.UnknownMemberID, r.join(other, version(4)).code())

	pending := r.join("", version(4), timeouts(20*time.Second, 30*time.Second)).out.MemberID
	again := r.join(ids[0], with("range", "sticky"))
	require.EqualValues(t, noAnswer, again.code(), "waits for the pending member")
	joined := r.join(pending, version(4), timeouts(20*time.Second, 30*time.Second))
	require.EqualValues(t, wire.None, again.code())
	require.EqualValues(t, wire.None, joined.code())
	require.Equal(t, generation+1, joined.out.Generation)
}

func TestPendingMemberThatNeverJoinsIsForgotten(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(1, timeouts(20*time.Second, time.Minute))
	r.join("", version(4))
	again := r.join(ids[0], with("range", "sticky"))
	require.EqualValues(t, noAnswer, again.code())
	r.pass(10 * time.Second)
	require.EqualValues(t, wire.None, again.code())
	require.Equal(t, generation+1, again.out.Generation)
}

// 6: the first rebalance waits for more members, each of which extends it, no longer than the rebalance timeout.
func TestInitialRebalanceDelay(t *testing.T) {
	r := newRig(t)
	first := r.join("", timeouts(10*time.Second, 7*time.Second))
	r.pass(2 * time.Second)
	second := r.join("", timeouts(10*time.Second, 7*time.Second))
	r.pass(time.Second) // 3 s: somebody came
	require.EqualValues(t, noAnswer, first.code())
	r.pass(2 * time.Second)
	third := r.join("", timeouts(10*time.Second, 7*time.Second))
	r.pass(time.Second) // 6 s: somebody came, and one second is left
	require.EqualValues(t, noAnswer, first.code())
	r.join("", timeouts(10*time.Second, 7*time.Second))
	r.pass(time.Second)
	for _, j := range []*joining{first, second, third} {
		require.EqualValues(t, wire.None, j.code())
		require.EqualValues(t, 1, j.out.Generation)
	}
	require.Len(t, first.out.Members, 4)
	require.Empty(t, second.out.Members)
}

// 4, 15, 16: the protocol is one that all support, and their votes choose it.
func TestProtocolVoting(t *testing.T) {
	r := newRig(t)
	a := r.join("", with("x", "range", "sticky"))
	b := r.join("", with("sticky", "range", "y"))
	c := r.join("", with("sticky", "range"))
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.join("", with("x", "y")).code(), "each has one of them, and not all have either")
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.join("", func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "connect" }).code())
	for range 5 {
		r.pass(3 * time.Second)
	}
	for _, j := range []*joining{a, b, c} {
		require.Equal(t, "sticky", *j.out.Protocol)
	}
}

// 7: the group's size.
func TestGroupMaxSize(t *testing.T) {
	r := newRig(t)
	r.config.Groups.MaxSize = 2
	ids, generation := r.stable(2)
	require.EqualValues(t, wire.GroupMaxSizeReached, r.join("").code())
	require.EqualValues(t, wire.MemberIDRequired, r.joinWhileFull(ids), "ids that are handed out do not count")
	r.assign(ids, generation+1)

	r.config.Groups.MaxSize = 1
	r.reload()
	require.Equal(t, "PreparingRebalance", r.phase())
	first, last := r.join(ids[1]), r.join(ids[0])
	require.EqualValues(t, wire.GroupMaxSizeReached, last.code())
	require.EqualValues(t, wire.None, first.code(), "the last to rejoin loses")
}

// joinWhileFull lets the members join again, and a new one ask for an id before they have.
func (r *rig) joinWhileFull(ids []string) wire.Code {
	r.join(ids[0])
	code := r.join("", version(4)).code()
	pending := r.machine().groups["g"].members.(*classic).pending
	require.Len(r.t, pending, 1)
	for id := range pending {
		r.leave(id)
	}
	r.join(ids[1])
	return code
}

// 10, 11, 13: who joins a stable group again.
func TestRejoin(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(2)
	same := r.join(ids[1])
	require.EqualValues(t, wire.None, same.code())
	require.Equal(t, generation, same.out.Generation)
	require.Empty(t, same.out.Members)
	require.Equal(t, ids[0], same.out.LeaderID)

	changed := r.join(ids[1], with("range", "sticky"))
	require.EqualValues(t, noAnswer, changed.code())
	leader := r.join(ids[0])
	require.Equal(t, generation+1, leader.out.Generation)
	require.Equal(t, generation+1, changed.out.Generation)
	require.Len(t, leader.out.Members, 2)
	lost := r.join(ids[0])
	require.Equal(t, generation+1, lost.out.Generation, "the answer was lost: it is given again")
	require.Len(t, lost.out.Members, 2)
	r.assign(ids, generation+1)

	leader = r.join(ids[0])
	require.EqualValues(t, noAnswer, leader.code(), "a leader that joins again wants a rebalance")
	require.Equal(t, wire.Code(wire.RebalanceInProgress), r.beat(ids[1], generation+1))
	r.join(ids[1])
	require.Equal(t, generation+2, leader.out.Generation)
}

// 12: members that do not join again.
func TestAbsentees(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(3, timeouts(time.Minute, 10*time.Second))
	back := r.join(ids[0], timeouts(time.Minute, 10*time.Second))
	r.pass(10 * time.Second)
	require.Equal(t, generation+1, back.out.Generation)
	require.Len(t, back.out.Members, 1, "the others are dropped")
	require.EqualValues(t, wire.UnknownMemberID, r.beat(ids[1], generation))
}

// 24 of the traps: the wait is the longest of the members that are there.
func TestRebalanceTimeoutIsTheLongest(t *testing.T) {
	r := newRig(t)
	short, long := timeouts(time.Minute, 8*time.Second), timeouts(time.Minute, 40*time.Second)
	a, b := r.join("", short), r.join("", long)
	for b.out == nil {
		r.pass(time.Second)
	}
	r.assign([]string{a.out.MemberID, b.out.MemberID}, 1)
	again := r.join(a.out.MemberID, short)
	r.pass(39 * time.Second)
	require.EqualValues(t, noAnswer, again.code())
	r.pass(time.Second)
	require.EqualValues(t, wire.None, again.code())
}

// 32 of the traps: of two joins for one member the newest counts, and both are answered.
func TestParkedJoinOutlivesItsConnection(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(2)
	lost := r.join(ids[0])
	retried := r.join(ids[0])
	require.EqualValues(t, wire.RebalanceInProgress, lost.code())
	require.EqualValues(t, noAnswer, retried.code())
	r.join(ids[1])
	require.Equal(t, generation+1, retried.out.Generation)
	require.Len(t, retried.out.Members, 2)
}

// 17, 18, 19, 25, 28: who is not known.
func TestStrangersAreTold(t *testing.T) {
	r := newRig(t)
	unknown := func(when string, generation int32) {
		require.EqualValues(t, wire.UnknownMemberID, r.sync("stranger", generation).code(), when)
		require.EqualValues(t, wire.UnknownMemberID, r.beat("stranger", generation), when)
		left := r.leave("stranger")
		require.Zero(t, left.ErrorCode, when)
		require.EqualValues(t, wire.UnknownMemberID, left.Members[0].ErrorCode, when)
	}
	unknown("there is no group", 1)
	ids, generation := r.stable(1)
	unknown("the group has others", generation)
	for _, g := range []int32{generation - 1, generation + 1} {
		require.EqualValues(t, wire.IllegalGeneration, r.sync(ids[0], g).code())
		require.EqualValues(t, wire.IllegalGeneration, r.beat(ids[0], g))
	}
	wrong := kmsg.NewPtrSyncGroupRequest()
	wrong.Group, wrong.MemberID, wrong.Generation, wrong.ProtocolType = "g", ids[0], generation, kmsg.StringPtr("connect")
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.syncAs(wrong).code())
	wrong.ProtocolType, wrong.Protocol = nil, kmsg.StringPtr("sticky")
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.syncAs(wrong).code())
	require.Zero(t, r.leave(ids[0]).Members[0].ErrorCode)
	require.Equal(t, "Empty", r.phase())
	unknown("the group is empty", generation+1)
}

// 20, 23: followers wait until the leader's assignment is stored; who is left out has nothing.
func TestSyncWaitsForTheRecord(t *testing.T) {
	r := newRig(t)
	r.log.Held = true
	a, b := r.join(""), r.join("")
	for range 5 {
		r.pass(3 * time.Second)
	}
	require.Equal(t, wire.Code(wire.None), r.beat(a.out.MemberID, 1), "before the sync")
	follower := r.sync(b.out.MemberID, 1)
	leader := r.sync(a.out.MemberID, 1, a.out.MemberID)
	require.EqualValues(t, noAnswer, leader.code(), "the record is not durable")
	require.EqualValues(t, noAnswer, follower.code())
	require.Equal(t, "CompletingRebalance", r.phase())
	r.log.Durable()
	r.Turn()
	require.Equal(t, "of "+a.out.MemberID, string(leader.out.MemberAssignment))
	require.NotNil(t, follower.out.MemberAssignment)
	require.Empty(t, follower.out.MemberAssignment)
	require.EqualValues(t, wire.None, r.sync(b.out.MemberID, 1).code(), "asked late, it is answered at once")
}

// 24: a refused record is told to all who wait, and the rebalance is prepared again.
func TestRefusedGenerationIsPreparedAgain(t *testing.T) {
	r := newRig(t)
	a, b := r.join(""), r.join("")
	for range 5 {
		r.pass(3 * time.Second)
	}
	follower := r.sync(b.out.MemberID, 1)
	r.log.Refuse = wire.RequestTimedOut
	leader := r.sync(a.out.MemberID, 1, a.out.MemberID)
	require.EqualValues(t, wire.CoordinatorNotAvailable, leader.code())
	require.EqualValues(t, wire.CoordinatorNotAvailable, follower.code())
	require.Equal(t, "PreparingRebalance", r.phase())
}

// 21, 22: who does not sync in time is removed.
func TestPendingSyncDeadline(t *testing.T) {
	r := newRig(t)
	long := timeouts(5*time.Minute, 20*time.Second)
	r.join("", long)
	silent, last := r.join("", long), r.join("", long)
	for range 4 {
		r.pass(3 * time.Second)
	}
	require.EqualValues(t, wire.None, last.code())
	r.pass(20 * time.Second)
	require.Equal(t, "Empty", r.phase(), "nobody synced within the rebalance timeout")
	require.EqualValues(t, wire.UnknownMemberID, r.beat(silent.out.MemberID, 1))

	ids, generation := r.stable(1, long)
	late := r.join("", long)
	r.join(ids[0], long)
	r.sync(ids[0], generation+1, ids...)
	r.pass(20 * time.Second)
	require.EqualValues(t, wire.UnknownMemberID, r.beat(late.out.MemberID, generation+1))
	require.EqualValues(t, wire.RebalanceInProgress, r.beat(ids[0], generation+1), "the others rebalance")
}

func TestLeaderThatNeverSyncsIsReplaced(t *testing.T) {
	r := newRig(t)
	long := timeouts(5*time.Minute, 20*time.Second)
	a, b := r.join("", long), r.join("", long)
	for range 5 {
		r.pass(3 * time.Second)
	}
	follower := r.sync(b.out.MemberID, 1)
	require.EqualValues(t, noAnswer, follower.code())
	r.pass(20 * time.Second)
	require.EqualValues(t, wire.RebalanceInProgress, follower.code())
	again := r.join(b.out.MemberID, long)
	require.EqualValues(t, wire.None, again.code())
	require.Equal(t, b.out.MemberID, again.out.LeaderID)
	require.EqualValues(t, wire.UnknownMemberID, r.beat(a.out.MemberID, 1))
}

// 26: sessions.
func TestSessions(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(2)
	for range 10 {
		r.pass(9 * time.Second)
		require.EqualValues(t, wire.None, r.beat(ids[0], generation))
		require.EqualValues(t, wire.None, r.beat(ids[1], generation))
	}
	again := r.join(ids[0]) // parked: needs no heartbeat
	r.pass(9 * time.Second)
	require.EqualValues(t, wire.RebalanceInProgress, r.beat(ids[1], generation))
	r.pass(9 * time.Second)
	require.EqualValues(t, noAnswer, again.code())
	r.pass(time.Second) // the other was silent for its session
	require.EqualValues(t, wire.None, again.code())
	require.Len(t, again.out.Members, 1)
}

// 27: an absent static member delays a rebalance to the end of its session, not for ever.
func TestAbsentStaticMemberDelaysARebalance(t *testing.T) {
	r := newRig(t)
	at := timeouts(40*time.Second, 10*time.Second)
	a, b := r.join("", at), r.join("", static("i"), at)
	for range 4 {
		r.pass(3 * time.Second)
	}
	ids := []string{a.out.MemberID, b.out.MemberID}
	r.assign(ids, 1)
	again := r.join(ids[0], at)
	r.pass(10 * time.Second)
	require.EqualValues(t, wire.None, again.code())
	require.Len(t, again.out.Members, 2, "a static member is kept")
	r.sync(ids[0], 2, ids...)
	r.pass(10 * time.Second)
	require.Equal(t, "PreparingRebalance", r.phase(), "it did not sync in time")
	require.Len(t, r.join(ids[0], at).out.Members, 1)
}

// 29: a bad entry does not spoil the others; pending members leave.
func TestBatchedLeave(t *testing.T) {
	r := newRig(t)
	a, b := r.join("", static("i")), r.join("", static("k"))
	for range 5 {
		r.pass(3 * time.Second)
	}
	r.assign([]string{a.out.MemberID, b.out.MemberID}, 1)
	pending := r.join("", version(4)).out.MemberID
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, "g"
	for _, m := range []struct{ member, instance string }{{"", "i"}, {"stranger", "k"}, {"", "nobody"}, {pending, ""}, {"stranger", ""}} {
		one := kmsg.NewLeaveGroupRequestMember()
		one.MemberID = m.member
		if m.instance != "" {
			one.InstanceID = &m.instance
		}
		q.Members = append(q.Members, one)
	}
	var codes []int16
	for _, m := range r.leaveAs(q).Members {
		codes = append(codes, m.ErrorCode)
	}
	require.Equal(t, []int16{0, wire.FencedInstanceID, wire.UnknownMemberID, 0, wire.UnknownMemberID}, codes)
	c := r.machine().groups["g"].members.(*classic)
	require.Len(t, c.members, 1)
	require.Empty(t, c.pending)
}

// 2, 32, 33, 34: a static member that starts again has its place, and fences whom it replaces.
func TestStaticMemberIsReplaced(t *testing.T) {
	r := newRig(t)
	a, b := r.join("", static("i")), r.join("", static("k"))
	for range 5 {
		r.pass(3 * time.Second)
	}
	r.assign([]string{a.out.MemberID, b.out.MemberID}, 1)
	r.log.Held = true
	back := r.join("", static("k"))
	require.EqualValues(t, noAnswer, back.code(), "the new id is not durable")
	require.EqualValues(t, wire.None, r.beat(b.out.MemberID, 1), "and the old one counts")
	r.log.Durable()
	r.Turn()
	require.EqualValues(t, wire.None, back.code())
	require.NotEqual(t, b.out.MemberID, back.out.MemberID)
	require.EqualValues(t, 1, back.out.Generation)
	require.Equal(t, "Stable", r.phase())
	require.EqualValues(t, wire.UnknownMemberID, r.beat(b.out.MemberID, 1))
	fenced := kmsg.NewPtrHeartbeatRequest()
	fenced.Group, fenced.MemberID, fenced.InstanceID, fenced.Generation = "g", b.out.MemberID, kmsg.StringPtr("k"), 1
	r.machine().Heartbeat(fenced, func(code wire.Code) { require.EqualValues(t, wire.FencedInstanceID, code) })
	require.EqualValues(t, wire.FencedInstanceID, r.join(b.out.MemberID, static("k")).code())
	require.Equal(t, "of "+b.out.MemberID, string(r.sync(back.out.MemberID, 1).out.MemberAssignment), "it has its partitions")

	r.log.Held = false
	leader := r.join("", static("i"))
	require.True(t, leader.out.SkipAssignment)
	require.Len(t, leader.out.Members, 2)
	require.Equal(t, leader.out.MemberID, leader.out.LeaderID)
	old := r.join("", static("i"), version(8))
	require.Equal(t, leader.out.MemberID, old.out.LeaderID, "an older leader is told that another leads")

	r.reload()
	require.EqualValues(t, wire.None, r.beat(back.out.MemberID, 1))
	require.EqualValues(t, wire.None, r.beat(old.out.MemberID, 1))
}

// 34, 36: a duplicate's parked requests are fenced; while assignments are waited for, the round starts again.
func TestReplacedWhileRebalancing(t *testing.T) {
	r := newRig(t)
	a, b := r.join("", static("i")), r.join("", static("k"))
	twin := r.join("", static("k"))
	require.EqualValues(t, wire.FencedInstanceID, b.code())
	for range 5 {
		r.pass(3 * time.Second)
	}
	parked := r.sync(twin.out.MemberID, 1)
	again := r.join("", static("k"))
	require.EqualValues(t, wire.FencedInstanceID, parked.code())
	require.EqualValues(t, noAnswer, again.code())
	require.Equal(t, "PreparingRebalance", r.phase())
	r.join(a.out.MemberID, static("i"))
	require.EqualValues(t, 2, again.out.Generation)
}

// 35: a replacement that is not stored leaves no trace; one that changes the vote rebalances.
func TestRefusedReplacementLeavesNoTrace(t *testing.T) {
	r := newRig(t)
	a, b := r.join("", static("i")), r.join("", static("k"))
	for range 5 {
		r.pass(3 * time.Second)
	}
	ids := []string{a.out.MemberID, b.out.MemberID}
	r.assign(ids, 1)
	r.log.Refuse = wire.RequestTimedOut
	refused := r.join("", static("k"))
	require.EqualValues(t, wire.CoordinatorNotAvailable, refused.code())
	require.Empty(t, refused.out.MemberID)
	r.log.Refuse = wire.None
	require.EqualValues(t, wire.None, r.beat(ids[1], 1))
	require.EqualValues(t, wire.None, r.sync(ids[1], 1).code())
	r.reload()
	require.EqualValues(t, wire.None, r.beat(ids[1], 1))

	r.join(ids[0], static("i"), with("range", "sticky"))
	r.join(ids[1], static("k"), with("range", "sticky"))
	require.Equal(t, "CompletingRebalance", r.phase())
	r.assign(ids, 2)
	require.EqualValues(t, noAnswer, r.join("", static("k"), with("sticky")).code(), "all have another protocol only")
	require.Equal(t, "PreparingRebalance", r.phase())
}

// 25 of the traps, 60, 61: what a restart in the middle of a rebalance finds is the last stable generation, whose
// members have their sessions to come back.
func TestRestartInARebalance(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(2)
	r.leave(ids[0])
	require.Equal(t, "PreparingRebalance", r.phase())
	r.reload()
	require.Equal(t, "Stable", r.phase())
	r.pass(9 * time.Second)
	require.EqualValues(t, wire.None, r.beat(ids[1], generation))
	r.pass(time.Second) // the one that left is not heard of
	require.EqualValues(t, wire.RebalanceInProgress, r.beat(ids[1], generation))
	d := r.machine().Describe(6, "g")
	require.Len(t, d.Members, 1)
	require.Empty(t, d.Members[0].ProtocolMetadata)
	require.Empty(t, d.Protocol)
}

// 27 of the traps: the first join of a member that is gone is given up.
func TestNewMemberTimeout(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(1, timeouts(10*time.Minute, 20*time.Minute))
	gone := r.join("", timeouts(10*time.Second, 20*time.Minute))
	again := r.join(ids[0], timeouts(10*time.Minute, 20*time.Minute), with("range"))
	require.EqualValues(t, wire.None, again.code())
	r.sync(ids[0], generation+1, ids...)
	late := r.join("", timeouts(10*time.Second, 20*time.Minute))
	require.EqualValues(t, noAnswer, late.code())
	r.pass(newMemberTimeout)
	require.EqualValues(t, wire.UnknownMemberID, late.code())
	_ = gone
}

// A static member that is silent is waited for until its session ends, in peace, whatever timeout it gave.
func TestSilentStaticMembersKeepNobodyBusy(t *testing.T) {
	for _, timeout := range []int32{math.MinInt32, -1, 0, 1} {
		r := newRig(t)
		silent := r.join("", static("s"), func(q *kmsg.JoinGroupRequest) { q.RebalanceTimeoutMillis = timeout })
		other := r.join("")
		r.pass(3 * time.Second)
		r.assign([]string{silent.out.MemberID, other.out.MemberID}, other.out.Generation)
		r.leave(other.out.MemberID)
		for range 3 {
			r.pass(time.Millisecond)
		}
		require.Greater(t, r.Clock.Wake, r.Clock.At.Add(100*time.Millisecond), "timeout %d", timeout)
		require.Equal(t, "PreparingRebalance", r.phase())
		r.pass(time.Minute)
		require.Equal(t, "Empty", r.phase())
	}
}

// The members of all groups hold no more than they may.
func TestMembersAreBounded(t *testing.T) {
	r := newRig(t)
	r.Memory.Max = 64 << 10
	refused := 0
	for i := range 1000 {
		j := r.join("", version(4), func(q *kmsg.JoinGroupRequest) { q.Group = fmt.Sprint("group-", i) })
		if j.code() == wire.CoordinatorNotAvailable {
			refused++
		}
	}
	require.Positive(t, refused)
	require.Less(t, r.Memory.Held(), int64(66<<10))
	r.pass(10 * time.Second)
	require.Zero(t, r.Memory.Held(), "what expires is given back")
	ids, _ := r.stable(3)
	require.Positive(t, r.Memory.Held())
	r.leave(ids...)
	r.machine().DeleteGroup("g", func(wire.Code) {})
	r.Turn()
	require.Zero(t, r.Memory.Held())
}

// 62: filters of ListGroups.
func TestListGroups(t *testing.T) {
	r := newRig(t)
	r.stable(1)
	list := func(states, types []string) (names []string) {
		for _, g := range r.machine().List(nil, NewFilter(states), NewFilter(types)) {
			names = append(names, g.Group+" "+g.ProtocolType+" "+g.GroupState+" "+g.GroupType)
		}
		return names
	}
	all := []string{"g consumer Stable classic"}
	require.Equal(t, all, list(nil, nil))
	require.Equal(t, all, list([]string{"empty", "STABLE"}, []string{"Classic"}))
	require.Empty(t, list([]string{"Empty"}, nil))
	require.Empty(t, list(nil, []string{"consumer"}))
	require.Empty(t, list([]string{"nowhere"}, nil))
}

// 63, 26 of the traps: a group is deleted with its offsets in one batch, durably.
func TestDeleteGroup(t *testing.T) {
	r := newRig(t)
	remove := func() (code wire.Code) {
		code = noAnswer
		r.machine().DeleteGroup("g", func(c wire.Code) { code = c })
		r.Turn()
		return code
	}
	require.EqualValues(t, wire.GroupIDNotFound, remove())
	ids, _ := r.stable(2)
	require.EqualValues(t, wire.NonEmptyGroup, remove())
	r.leave(ids...)
	r.commit("a", 0, 5)
	before := r.log.LogEnd()
	require.EqualValues(t, wire.None, remove())
	require.Equal(t, before+2, r.log.LogEnd())
	require.Empty(t, r.machine().groups)
	r.reload()
	require.Empty(t, r.machine().groups)
	require.Equal(t, "Dead", r.phase())
}

func TestClosingAnswersWhatIsParked(t *testing.T) {
	r := newRig(t)
	ids, generation := r.stable(2)
	parked := r.join(ids[0])
	r.machine().AnswerParked(wire.NotCoordinator)
	require.EqualValues(t, wire.NotCoordinator, parked.code())
	parked = r.join(ids[0])
	r.Runtime.Close()
	require.EqualValues(t, wire.NotCoordinator, parked.code())
	require.Zero(t, r.Memory.Held())
	_ = slices.Clone(ids)
	_ = generation
}

// Ids that are handed out count as much as their groups hold, and a group that nobody joins is not kept: no record of it is
// there to end it.
func TestGroupsThatNobodyJoinsAreForgotten(t *testing.T) {
	r := newRig(t)
	long := func(q *kmsg.JoinGroupRequest) { q.Version, q.Group = 4, "g"+strings.Repeat("x", 10_000) }
	require.EqualValues(t, wire.MemberIDRequired, r.join("", long).code())
	require.Greater(t, r.Memory.Held(), int64(10_000))
	left := r.join("", version(4)).out.MemberID
	require.Len(t, r.machine().groups, 2)
	r.leave(left)
	require.Len(t, r.machine().groups, 1)
	r.pass(11 * time.Second)
	require.Empty(t, r.machine().groups)
	require.Zero(t, r.Memory.Held())
	require.EqualValues(t, wire.InconsistentGroupProtocol, r.join("", func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "" }).code())
	r.Memory.Max = -1
	require.EqualValues(t, wire.CoordinatorNotAvailable, r.join("", version(4)).code())
	require.Empty(t, r.machine().groups)
}
