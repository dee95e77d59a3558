package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"pgregory.net/rapid"
)

// The leader knows how far everybody is and when it heard them; the others say what they know.
func TestStateShowsTheMembers(t *testing.T) {
	c := newCluster(t, 11, 3)
	c.found()
	leader := c.awaitLeader()
	away := c.nodes[(leader.index+1)%3]
	q := leader.node.q
	complete := func() bool {
		s := q.State()
		for _, m := range append(s.Voters, s.Learners...) {
			if m.End != q.appended || m.Heard < 0 || m.Caught < 0 {
				return false
			}
		}
		return len(s.Voters) == 3
	}
	c.until("all to be caught up", complete)
	s := q.State()
	require.Equal(t, []any{q.id, q.term, q.applied}, []any{s.Leader, s.Term, s.Applied})

	// One that answers, and lacks an entry, is heard and not caught up.
	c.now = c.now.Add(time.Second)
	leader.w.now = c.now
	leader.w.turn(func() {
		q.appended++
		q.noteContact(&raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(away.node.q.id)), Term: new(q.term)})
		m := q.memberState(uint64(away.node.q.id))
		q.appended--
		require.Zero(t, m.Heard)
		require.GreaterOrEqual(t, m.Caught, time.Second)
	})

	c.stop(away.index, never)
	at := c.now
	c.propose(leader)
	c.until("an entry without the one that is away", func() bool { return len(c.acked) == 1 && c.now > at })
	for _, m := range q.State().Voters {
		if m.ID.Node() == int32(away.index) {
			require.GreaterOrEqual(t, m.Heard, c.now.Sub(at))
			require.GreaterOrEqual(t, m.Caught, c.now.Sub(at))
			require.Less(t, m.End, q.appended)
		}
	}
	follower := c.nodes[(leader.index+2)%3].node.q
	s = follower.State()
	require.Equal(t, q.id, s.Leader)
	for _, m := range s.Voters {
		require.Equal(t, m.ID == follower.id, m.End > 0)
		require.Negative(t, m.Heard)
	}
}

func TestStatesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		member := rapid.Custom(func(t *rapid.T) MemberState {
			return MemberState{
				MemberID(rapid.Uint64().Draw(t, "id")), rapid.Uint64().Draw(t, "end"),
				time.Duration(rapid.Int64().Draw(t, "heard")), time.Duration(rapid.Int64().Draw(t, "caught")),
			}
		})
		s := State{Leader: MemberID(rapid.Uint64().Draw(t, "leader")), Term: 3, Applied: 4}
		s.Voters = append(s.Voters, rapid.SliceOfN(member, 0, 5).Draw(t, "voters")...)
		s.Learners = append(s.Learners, rapid.SliceOfN(member, 0, 5).Draw(t, "learners")...)
		b := s.AppendTo(nil)
		got, err := DecodeState(b)
		require.NoError(t, err)
		require.Equal(t, s, got)
		_, err = DecodeState(b[:len(b)-1])
		require.Error(t, err)
		_, err = DecodeState(append(b, 0))
		require.Error(t, err)
	})
}

func TestDirectoriesTellDisksApart(t *testing.T) {
	seen := map[[16]byte]bool{}
	for _, id := range []MemberID{memberID(0, 0), memberID(1, 0), memberID(1, 1), memberID(1<<31-2, 1<<32-1), memberID(2, 1)} {
		d := id.Directory()
		require.False(t, seen[d] || d == [16]byte{}, "%v", id)
		require.Equal(t, id.Directory(), d)
		seen[d] = true
	}
}
