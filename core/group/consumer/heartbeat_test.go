package consumer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/env"
	"weir/core/wire"
)

func TestHeartbeatValidation(t *testing.T) {
	r := newRig(t, "a4")
	timeout := func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = 1000 }
	for _, c := range []struct {
		name string
		q    *kmsg.ConsumerGroupHeartbeatRequest
		code wire.Code
	}{
		{"no member id", request("", 0, names("a"), timeout, owns(nil)), wire.InvalidRequest},
		{"a blank member id", request(" ", 0, names("a"), timeout, owns(nil)), wire.InvalidRequest},
		{"no group", request("m", 0, names("a"), timeout, owns(nil), func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "" }), wire.InvalidRequest},
		{"an empty instance id", request("m", 0, names("a"), timeout, owns(nil), static("")), wire.InvalidRequest},
		{"no rebalance timeout", request("m", 0, names("a"), owns(nil)), wire.InvalidRequest},
		{"no owned partitions", request("m", 0, names("a"), timeout), wire.InvalidRequest},
		{"owned partitions", request("m", 0, names("a"), timeout, owns(Assignment{{Partitions: []int32{1}}})), wire.InvalidRequest},
		{"no subscription", request("m", 0, timeout, owns(nil)), wire.InvalidRequest},
		{"a static leave without an instance", request("m", -2), wire.InvalidRequest},
		{"an epoch below", request("m", -3), wire.InvalidRequest},
		{"an unknown assignor", request("m", 0, names("a"), timeout, owns(nil), assignor("sticky")), wire.UnsupportedAssignor},
		{"a wrong expression", request("m", 0, expression("["), timeout, owns(nil)), wire.InvalidRegularExpression},
		{"a long expression", request("m", 0, expression(strings.Repeat("a", expressionBytesMax+1)), timeout, owns(nil)), wire.InvalidRegularExpression},
		{"a large expression", request("m", 0, expression("((a{100}){100}){100}"), timeout, owns(nil)), wire.InvalidRegularExpression},
		{"an unknown member", request("m", 3), wire.UnknownMemberID},
		{"an unknown member that leaves", request("m", -1), wire.UnknownMemberID},
		{"an unknown instance", request("m", 3, static("i")), wire.UnknownMemberID},
		{"an unknown instance that leaves", request("m", -2, static("i")), wire.UnknownMemberID},
	} {
		_, code := r.try(c.q)
		require.Equal(t, c.code, code, c.name)
		require.Empty(t, r.log, "%s wrote something", c.name)
	}
	q := request("", 0, names("a"), timeout, owns(nil))
	q.Version = 0
	require.NoError(t, CheckHeartbeat(q, r.c.Config.Assignors), "a version 0 member gets its id from the coordinator")
}

func TestJoin(t *testing.T) {
	r := newRig(t, "a4")
	a := r.join("m1", names("a"))
	require.Equal(t, "a:0,1,2,3", r.given(a))
	require.EqualValues(t, 2, a.MemberEpoch)
	require.EqualValues(t, 5000, a.HeartbeatIntervalMillis)
	require.Equal(t, []string{"5 m1", "3", "7 m1", "6", "8 m1"}, r.batch)
	require.Equal(t, "Stable 2/2\nm1 2(0) 0 [a:0,1,2,3] []", r.story())

	// A bare heartbeat writes nothing and says nothing of the assignment; a full one is answered in full.
	require.Equal(t, "-", r.given(r.bare("m1")))
	require.Empty(t, r.batch)
	full := request("m1", 2, names("a"), owns(r.answers["m1"].owns))
	full.RebalanceTimeoutMillis = 60_000
	require.Equal(t, "a:0,1,2,3", r.given(r.beat(full)))
	require.Empty(t, r.batch)
	full.RebalanceTimeoutMillis = -1 // all fields count, not the owned partitions alone (KAFKA-16367)
	require.Equal(t, "-", r.given(r.beat(full)))
}

// The order of names, and names twice, change nothing.
func TestSubscriptionIsASet(t *testing.T) {
	r := newRig(t, "a1", "b1")
	r.join("m1", names("ab"))
	r.beat(request("m1", 2, names("bab")))
	require.Empty(t, r.batch)
	r.beat(request("m1", 2, names("b")))
	require.Equal(t, "3", r.batch[1])
}

func TestHandOver(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	r.later(2 * time.Second)
	require.Equal(t, "", r.given(r.join("m2", names("a"))))
	require.Equal(t, "Reconciling 3/3\nm1 2(0) 0 [a:0,1,2,3] []\nm2 3(0) 2 [] []", r.story())

	// m1 must give back first. Its epoch stays, and m2 waits.
	require.Equal(t, "a:0,1", r.given(r.bare("m1")))
	require.Equal(t, "m1 2(2) 1 [a:0,1] [a:2,3]", strings.Split(r.story(), "\n")[1])
	require.Equal(t, "-", r.given(r.bare("m2")))
	r.bare("m1") // says nothing of what it owns
	require.Equal(t, "m1 2(2) 1 [a:0,1] [a:2,3]", strings.Split(r.story(), "\n")[1])

	require.EqualValues(t, 3, r.confirm("m1").MemberEpoch)
	require.Equal(t, "a:2,3", r.given(r.bare("m2")))
	require.Equal(t, "Stable 3/3\nm1 3(2) 0 [a:0,1] []\nm2 3(3) 0 [a:2,3] []", r.story())
	for _, id := range []string{"m1", "m2"} {
		r.bare(id)
		require.Empty(t, r.batch)
	}
	since, _ := r.g.Member("m1").Assigned.Epoch(r.g.Member("m1").Assigned[0].Topic, 0)
	require.EqualValues(t, 2, since, "m1 has had it since epoch 2 (KIP-1251)")
}

// A member that must give back is not computed anew when the target moves on: it waits for its client.
func TestUnrevokedIsFrozen(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	r.later(2 * time.Second)
	r.join("m2", names("a"))
	r.bare("m1")
	r.later(2 * time.Second)
	r.join("m3", names("a"))
	require.Equal(t, "-", r.given(r.bare("m1")))
	require.Equal(t, "m1 2(2) 1 [a:0,1] [a:2,3]", strings.Split(r.story(), "\n")[1])
	// m2 and m3 leave: m1 shall keep what it was told to give back, and has it all the while (KAFKA-16147, KAFKA-19449).
	r.beat(request("m2", -1))
	r.beat(request("m3", -1))
	r.later(2 * time.Second)
	require.Equal(t, "-", r.given(r.bare("m1")))
	require.Equal(t, "a:0,1,2,3", r.given(r.confirm("m1")))
	require.Equal(t, StateStable, r.g.State())
}

func TestEpochs(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	_, code := r.try(request("m1", 3))
	require.EqualValues(t, wire.FencedMemberEpoch, code)
	_, code = r.try(request("m1", 1))
	require.EqualValues(t, wire.FencedMemberEpoch, code)

	// The member missed the answer that moved it to epoch 3.
	r.later(2 * time.Second)
	r.join("m2", names("a"))
	r.bare("m1")
	held := r.answers["m1"].owns
	r.confirm("m1")
	_, code = r.try(request("m1", 2))
	require.EqualValues(t, wire.FencedMemberEpoch, code, "it does not say what it owns")
	_, code = r.try(request("m1", 2, owns(Assignment{{Topic: held[0].Topic, Partitions: []int32{0, 1, 2}}})))
	require.EqualValues(t, wire.FencedMemberEpoch, code, "it owns what it was not given")
	_, code = r.try(request("m1", 2, owns(held)))
	require.EqualValues(t, wire.None, code)
}

// Epoch 0 is a join, whatever is known of the member (KAFKA-19233).
func TestRejoin(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	r.later(2 * time.Second)
	r.join("m2", names("a"))
	require.Equal(t, "", r.given(r.join("m2", names("a"))), "while it waits for others")
	r.bare("m1")
	require.Equal(t, "a:0,1", r.given(r.join("m1", names("a"))), "while it gives back; a join owns nothing")
	require.EqualValues(t, 3, r.answers["m1"].epoch)
	require.Equal(t, "a:0,1", r.given(r.join("m1", names("a"))), "while it is stable")
	require.Len(t, r.g.Members(), 2)
}

func TestLeave(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	r.later(2 * time.Second)
	r.join("m2", names("a"))
	a := r.beat(request("m1", -1))
	require.EqualValues(t, -1, a.MemberEpoch)
	require.Equal(t, []string{"-8 m1", "-7 m1", "-5 m1", "3"}, r.batch)
	require.Equal(t, StateAssigning, r.g.State())
	r.later(2 * time.Second)
	require.Equal(t, "a:0,1,2,3", r.given(r.bare("m2")))

	r.beat(request("m2", -1))
	require.Equal(t, []string{"-8 m2", "-7 m2", "-5 m2", "3", "6"}, r.batch)
	require.Equal(t, "Empty 5/5", r.story(), "an empty group has nothing to assign (KAFKA-20442)")
	require.False(t, r.g.Gone())
	r.write(r.g.Tombstones())
	require.True(t, r.g.Gone())
}

// Assignments are spaced, so that members that join together are assigned once.
func TestAssignmentInterval(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	r.join("m2", names("a"))
	require.Equal(t, "Assigning 3/2\nm1 2(0) 0 [a:0,1,2,3] []\nm2 2(0) 0 [] []", r.story())
	r.join("m3", names("a"))
	r.later(999 * time.Millisecond)
	r.bare("m2")
	require.EqualValues(t, 2, r.g.AssignmentEpoch())
	r.later(time.Millisecond)
	r.bare("m2")
	require.EqualValues(t, 4, r.g.AssignmentEpoch())
	r.later(-time.Hour) // a clock that was set back does not put it off
	r.beat(request("m3", -1))
	r.bare("m2")
	require.EqualValues(t, 5, r.g.AssignmentEpoch())
}

func TestTopicsComeAndGo(t *testing.T) {
	r := newRig(t, "a2")
	require.Equal(t, "a:0,1", r.given(r.join("m1", names("ab"))))
	epoch := func() int32 { r.later(2 * time.Second); r.bare("m1"); return r.g.Epoch() }
	require.EqualValues(t, 2, epoch())
	r.topics.create("c", 1) // not subscribed to
	require.EqualValues(t, 2, epoch())
	r.topics.create("b", 1)
	require.EqualValues(t, 3, epoch())
	require.Equal(t, "a:0,1 b:0", r.show(r.g.Member("m1").Assigned))
	r.topics.grow("a", 3)
	require.EqualValues(t, 4, epoch())
	require.Equal(t, "a:0,1,2 b:0", r.show(r.g.Member("m1").Assigned))
	r.topics.remove("a")
	require.EqualValues(t, 5, epoch())
	r.confirm("m1")
	require.Equal(t, "b:0", r.show(r.g.Member("m1").Assigned))
	r.topics.remove("b")
	r.topics.create("b", 1) // another topic of that name
	require.EqualValues(t, 6, epoch())
}

// A topic that a member has unsubscribed from is taken away at once, although the group is not assigned anew yet, and while
// the member gives back others too (KAFKA-19431).
func TestUnsubscribe(t *testing.T) {
	r := newRig(t, "a2", "b2")
	r.join("m1", names("ab"))
	require.Equal(t, "b:0,1", r.given(r.beat(request("m1", 2, names("b")))))
	require.Equal(t, "Assigning 3/2\nm1 2(2) 1 [b:0,1] [a:0,1]", r.story())
	require.Equal(t, "", r.given(r.beat(request("m1", 2, names(""), owns(r.answers["m1"].owns)))))
	require.Equal(t, "Assigning 4/2", strings.Split(r.story(), "\n")[0])
	require.Equal(t, "", r.given(r.join("m2", names("")))) // joining without topics is allowed
}

func TestPreferredAssignor(t *testing.T) {
	r := newRig(t, "a4", "b4")
	r.join("m1", names("ab"))
	require.Equal(t, "uniform", r.g.Describe(&r.c).AssignorName)
	r.later(2 * time.Second)
	r.join("m2", names("ab"), assignor("range"))
	require.Equal(t, "range", r.g.Describe(&r.c).AssignorName)
	epoch := r.g.Epoch()
	r.beat(request("m2", r.answers["m2"].epoch, assignor("uniform")))
	require.Equal(t, epoch+1, r.g.Epoch(), "a new assignor needs a new assignment")
}

func TestMaxSize(t *testing.T) {
	r := newRig(t, "a4")
	r.c.Config.MaxSize = 2
	r.join("m1", names("a"))
	r.join("m2", names("a"), static("i"))
	q := request("m3", 0, names("a"), owns(nil))
	q.RebalanceTimeoutMillis = 1
	_, code := r.try(q)
	require.EqualValues(t, wire.GroupMaxSizeReached, code)
	r.join("m1", names("a"))
	r.beat(request("m2", -2, static("i")))
	r.join("m4", names("a"), static("i")) // takes the seat
	require.Len(t, r.g.Members(), 2)
}

func TestStaticMember(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"), static("i"))
	r.later(2 * time.Second)
	r.join("m2", names("a"))
	r.bare("m1")
	join := request("m3", 0, names("a"), owns(nil), static("i"))
	join.RebalanceTimeoutMillis = 1
	_, code := r.try(join)
	require.EqualValues(t, wire.UnreleasedInstanceID, code)
	_, code = r.try(request("m3", 2, static("i")))
	require.EqualValues(t, wire.FencedInstanceID, code)
	_, code = r.try(request("m3", -2, static("i")))
	require.EqualValues(t, wire.FencedInstanceID, code)

	// It leaves for a while: nobody gets its partitions, but what it was giving back is free.
	a := r.beat(request("m1", -2, static("i")))
	require.EqualValues(t, -2, a.MemberEpoch)
	require.Equal(t, []string{"8 m1"}, r.batch)
	require.Equal(t, "a:2,3", r.given(r.bare("m2")))
	require.EqualValues(t, 3, r.g.Epoch())
	_, code = r.try(request("m1", 2, static("i")))
	require.EqualValues(t, wire.FencedMemberEpoch, code)

	// Who comes back has what it had, and the group is not assigned anew.
	require.Equal(t, "a:0,1", r.given(r.join("m3", names("a"), static("i"))))
	require.EqualValues(t, 3, r.answers["m3"].epoch)
	require.EqualValues(t, 3, r.g.Epoch())
	require.Nil(t, r.g.Member("m1"))
	_, code = r.try(request("m1", 2, static("i")))
	require.EqualValues(t, wire.FencedInstanceID, code)

	// With another subscription, it is.
	r.beat(request("m3", -2, static("i")))
	r.later(2 * time.Second)
	r.topics.create("b", 1)
	require.Equal(t, "a:0,1 b:0", r.given(r.join("m3", names("ab"), static("i"))))
	require.EqualValues(t, 4, r.g.Epoch())
	r.beat(request("m3", -1, static("i")))
	require.Nil(t, r.g.Static("i"))
}

func TestRegularExpressions(t *testing.T) {
	r := newRig(t, "a2", "b2", "c2")
	require.Equal(t, "", r.given(r.join("m1", expression("[ab]"))), "it is not resolved yet")
	require.Equal(t, []string{"[ab]"}, r.resolve)
	require.EqualValues(t, 1, r.g.Epoch())
	require.Equal(t, []string{"5 m1", "8 m1"}, r.batch)
	r.resolve = nil
	r.bare("m1")
	require.Nil(t, r.resolve, "one resolution at a time")
	r.resolve = []string{"[ab]"}
	r.resolved()
	require.Equal(t, []string{"16 [ab]", "3"}, r.batch)
	require.Equal(t, "a:0,1 b:0,1", r.given(r.bare("m1")))

	// A member with the same expression shares what it matched.
	r.later(2 * time.Second)
	r.join("m2", expression("[ab]"))
	require.Nil(t, r.resolve)
	require.EqualValues(t, 3, r.g.Epoch())

	// A new topic is found, but not more often than every ten seconds.
	r.topics.create("a", 2)
	r.bare("m2")
	require.Nil(t, r.resolve)
	r.later(9 * time.Second)
	r.bare("m2")
	require.Equal(t, []string{"[ab]"}, r.resolve)
	r.resolved()

	// With other expressions, all are resolved together.
	r.later(11 * time.Second)
	r.beat(request("m2", r.answers["m2"].epoch, expression("c")))
	require.Equal(t, []string{"[ab]", "c"}, r.resolve)
	r.resolved()
	require.True(t, r.g.SubscribedTo("c"))
	require.False(t, r.g.SubscribedTo("d"))

	// All is matched again after ten minutes; the last subscriber takes its expression along.
	r.later(599 * time.Second)
	r.bare("m2")
	require.Nil(t, r.resolve)
	r.later(2 * time.Second)
	r.bare("m2")
	require.Equal(t, []string{"[ab]", "c"}, r.resolve)
	r.resolved()
	r.beat(request("m2", -1))
	require.Equal(t, []string{"-8 m2", "-7 m2", "-5 m2", "-16 c", "3"}, r.batch)
	r.beat(request("m1", r.answers["m1"].epoch, expression(""), names("a")))
	require.Contains(t, r.batch, "-16 [ab]")
	require.Zero(t, r.g.expressions.Len())
}

// What was resolved for an expression that nobody subscribes to any more is dropped.
func TestLateResolution(t *testing.T) {
	r := newRig(t, "a2")
	r.join("m1", expression("a"))
	r.beat(request("m1", -1))
	r.resolved()
	require.Empty(t, r.batch)
}

func TestDeadlines(t *testing.T) {
	r := newRig(t, "a4")
	config := r.c.Config
	at := func(d time.Duration) env.Time { return env.Time(0).Add(d) }
	q := func(id string, set ...says) {
		r.join(id, append(set, names("a"))...)
	}
	q("m1", func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = 7000 })
	r.g.Heard("m1", at(time.Second), config)
	expired, next := r.g.Expired(at(2*time.Second), config)
	require.Empty(t, expired)
	require.Equal(t, at(46*time.Second), next)

	r.later(2 * time.Second)
	q("m2")
	r.g.Heard("m2", at(3*time.Second), config)
	r.bare("m1")
	_, next = r.g.Expired(at(4*time.Second), config)
	require.Equal(t, at(11*time.Second), next, "m1 must give back within its rebalance timeout")
	expired, next = r.g.Expired(at(11*time.Second), config)
	require.Equal(t, "m1", expired[0].ID)
	require.Equal(t, at(48*time.Second), next)
	r.write(r.g.Fence(&r.c, expired...))
	require.Nil(t, r.g.Member("m1"))

	// After a load, sessions begin anew.
	loaded := NewGroup("g")
	for _, e := range r.log {
		require.NoError(t, apply(loaded, e))
	}
	_, next = loaded.Expired(at(time.Minute), config)
	require.Equal(t, at(105*time.Second), next)
	expired, next = loaded.Expired(at(105*time.Second), config)
	require.Len(t, expired, 1)
	require.Zero(t, next)
}

func TestCommitsAndFetches(t *testing.T) {
	r := newRig(t, "a4")
	code := func(err error) wire.Code {
		if err == nil {
			return wire.None
		}
		return err.(*Refusal).Code
	}
	commit := func(id string, epoch int32) (CommitCheck, wire.Code) {
		check, err := r.g.CheckCommit(id, "", epoch, false, 9)
		return check, code(err)
	}
	_, got := commit("", -1)
	require.EqualValues(t, wire.None, got, "an administrator, of a group without members")
	r.join("m1", names("a"))
	_, got = commit("", -1)
	require.EqualValues(t, wire.UnknownMemberID, got)
	_, err := r.g.CheckCommit("m1", "", 2, false, 8)
	require.EqualValues(t, wire.UnsupportedVersion, code(err))
	check, got := commit("m1", 2)
	require.EqualValues(t, wire.None, got)
	require.Nil(t, check)
	_, got = commit("m1", 3)
	require.EqualValues(t, wire.StaleMemberEpoch, got)
	_, err = r.g.CheckCommit("", "", -1, true, 5)
	require.NoError(t, err, "a producer of a transaction that knows no member")

	// m1 goes on to epoch 3 with two partitions; a commit with epoch 2 is right for those, and for those that it gives back.
	topic := r.g.Member("m1").Assigned[0].Topic
	r.later(2 * time.Second)
	r.join("m2", names("a"))
	r.bare("m1")
	check, got = commit("m1", 1)
	require.EqualValues(t, wire.None, got)
	require.EqualValues(t, wire.StaleMemberEpoch, code(check("a", topic, 0)), "assigned later")
	r.confirm("m1")
	r.bare("m2")
	check, _ = commit("m1", 2)
	require.NoError(t, check("a", topic, 0))
	require.EqualValues(t, wire.StaleMemberEpoch, code(check("a", topic, 3)), "it is m2's")

	id := "m1"
	require.NoError(t, r.g.CheckFetch(nil, -1))
	require.NoError(t, r.g.CheckFetch(&id, 3))
	require.EqualValues(t, wire.StaleMemberEpoch, code(r.g.CheckFetch(&id, 2)))
	id = "m9"
	require.EqualValues(t, wire.UnknownMemberID, code(r.g.CheckFetch(&id, 2)))
}

func TestDescribe(t *testing.T) {
	r := newRig(t, "a2", "b1")
	r.join("m1", names("ab"), static("i"))
	d := r.g.Describe(&r.c)
	require.Equal(t, StateStable, d.State)
	m := d.Members[0]
	require.Equal(t, "i", *m.InstanceID)
	require.Nil(t, m.RackID)
	require.Equal(t, "", *m.SubscribedTopicRegex, "never null")
	require.EqualValues(t, memberTypeConsumer, m.MemberType)
	require.Equal(t, "a", m.Assignment.TopicPartitions[0].Topic)
	r.topics.remove("a")
	require.Len(t, r.g.Describe(&r.c).Members[0].Assignment.TopicPartitions, 1, "a topic that is gone is left out")
}

// A record may come before those that Kafka writes before it, and tombstones of what is not there do nothing (KAFKA-17306).
func TestAnyOrder(t *testing.T) {
	r := newRig(t, "a4")
	r.join("m1", names("a"))
	backwards := NewGroup("g")
	for i := len(r.log) - 1; i >= 0; i-- {
		require.NoError(t, apply(backwards, r.log[i]))
	}
	require.Equal(t, snapshot(r.g), snapshot(backwards))
	for _, k := range []Key{{TypeGroup, "g", ""}, {TypePartitions, "g", ""}, {TypeMember, "g", "x"}, {TypeTarget, "g", ""}, {TypeTargetOf, "g", "x"}, {TypeCurrent, "g", "x"}, {TypeExpression, "g", "x"}} {
		g := NewGroup("g")
		require.NoError(t, g.Apply(k, nil), k)
		require.True(t, g.Gone(), k)
	}
}

// A record of Kafka before 4.1 goes with the next group epoch.
func TestOldSubscriptionMetadata(t *testing.T) {
	r := newRig(t, "a4")
	require.NoError(t, r.g.Apply(Key{TypePartitions, "g", ""}, []byte{0, 0, 1, 0}))
	require.False(t, r.g.Gone())
	r.join("m1", names("a"))
	require.Contains(t, r.batch, "-4")
	require.False(t, r.g.oldPartitions)
}
