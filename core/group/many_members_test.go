package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members are removed in a time that is proportional to their number: with work that is quadratic, each of these takes minutes.
func TestManyMembersGoTogether(t *testing.T) {
	const many = 60_000
	for name, remove := range map[string]func(*rig, []string){
		"silent": func(r *rig, _ []string) { r.pass(time.Hour) },
		"silent after a load": func(r *rig, _ []string) {
			r.reload()
			r.pass(time.Hour)
		},
		"absent from a rebalance": func(r *rig, ids []string) {
			r.join(ids[0])
			r.pass(31 * time.Second)
		},
		"without a sync": func(r *rig, ids []string) {
			for _, id := range ids {
				r.join(id)
			}
			r.pass(31 * time.Second)
			r.pass(31 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ids, _ := r.stable(many, timeouts(25*time.Minute, 30*time.Second))
			remove(r, ids)
			if g := r.machine().groups["g"]; g != nil {
				c, _ := g.members.(*classic)
				require.LessOrEqual(t, len(c.members), 1)
				require.LessOrEqual(t, c.owing, len(c.members))
			}
			require.Equal(t, r.machine().recount(), r.Memory.Held())
		})
	}
}

// Members of a consumer group whose sessions end together go, also if their tombstones do not fit into one batch.
func TestManyConsumersExpireTogether(t *testing.T) {
	r := newConsumerRig(t)
	ids := r.crowd()
	r.pass(time.Minute)
	for range ids {
		r.pass(time.Second)
	}
	require.Empty(t, r.machine().consumerOf("g").group.Members())
	require.Equal(t, r.machine().recount(), r.Memory.Held())
	r.reload()
	require.Empty(t, r.machine().consumerOf("g").group.Members())
}

// crowd has many members join a consumer group, whose tombstones do not fit into one batch.
func (r *rig) crowd() (ids []string) {
	r.log.BytesMax = 1 << 20
	for i := range 40 {
		ids = append(ids, fmt.Sprint(strings.Repeat("m", 30_000), i))
		require.EqualValues(r.t, wire.None, r.heartbeat(ids[i], 0, joins("a")).ErrorCode)
	}
	return ids
}

// An administrator removes them all by one request.
func TestManyConsumersAreRemovedTogether(t *testing.T) {
	r := newConsumerRig(t)
	out := r.leave(append(r.crowd(), "nobody")...)
	require.EqualValues(t, wire.None, out.ErrorCode)
	require.Len(t, out.Members, 41)
	require.EqualValues(t, wire.None, out.Members[39].ErrorCode)
	require.EqualValues(t, wire.UnknownMemberID, out.Members[40].ErrorCode)
	require.Empty(t, r.machine().consumerOf("g").group.Members())
	require.Equal(t, r.machine().recount(), r.Memory.Held())
	r.reload()
	require.Empty(t, r.machine().consumerOf("g").group.Members())
}

// With the last of the new protocol's members the group becomes classic, and not before: some of the old ones leave too.
func TestManyConsumersLeaveAClassicMember(t *testing.T) {
	r := newConsumerRig(t)
	old := oldGroup(r)
	ids := r.crowd()
	leaver := &oldClient{r: r}
	require.NotNil(t, leaver.join())
	out := r.leave(append(ids, leaver.id)...)
	require.EqualValues(t, wire.None, out.ErrorCode)
	require.Equal(t, Classic, r.groupType())
	require.Len(t, r.machine().groups["g"].members.(*classic).members, 1)
	require.NotNil(t, old.join())
	require.True(t, old.leads)
	require.Equal(t, r.machine().recount(), r.Memory.Held())
}

// A part of them that cannot be removed is an error, after which the request may be made again.
func TestManyConsumersAreRemovedInPart(t *testing.T) {
	r := newConsumerRig(t)
	ids := r.crowd()
	r.log.Held = true
	var out *kmsg.LeaveGroupResponse
	leave := func() {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Version, q.Group = 5, "g"
		for _, id := range ids {
			one := kmsg.NewLeaveGroupRequestMember()
			one.MemberID = id
			q.Members = append(q.Members, one)
		}
		r.machine().Leave(q, func(o *kmsg.LeaveGroupResponse) { out = o })
	}
	leave()
	r.log.Refuse = wire.RequestTimedOut
	r.log.Durable()
	r.Turn()
	require.EqualValues(t, wire.CoordinatorNotAvailable, out.ErrorCode)
	require.Empty(t, out.Members)
	left := len(r.machine().consumerOf("g").group.Members())
	require.Positive(t, left)
	require.Less(t, left, len(ids))

	r.log.Refuse, r.log.Held = wire.None, false
	leave()
	r.Turn()
	require.EqualValues(t, wire.None, out.ErrorCode)
	require.EqualValues(t, wire.UnknownMemberID, out.Members[0].ErrorCode)
	require.Empty(t, r.machine().consumerOf("g").group.Members())
}

// BenchmarkListGroupsByManyStates is a request of a megabyte: each group looked through all of it, a minute for 10,000 groups.
func BenchmarkListGroupsByManyStates(b *testing.B) {
	words := make([]string, 1<<20)
	for b.Loop() {
		f := NewFilter(words)
		for range 10_000 {
			if f.passes("Stable") {
				b.Fatal("no word names the state")
			}
		}
	}
}
