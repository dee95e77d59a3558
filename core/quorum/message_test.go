package quorum

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func appendMessage(change func(*raftpb.Message)) *Message {
	m := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(5)), Index: new(uint64(7)), LogTerm: new(uint64(3)),
		Commit: new(uint64(6)), Entries: []*raftpb.Entry{
			{Type: raftpb.EntryNormal.Enum(), Index: new(uint64(8)), Term: new(uint64(4)), Data: []byte("x")},
			{Type: raftpb.EntryNormal.Enum(), Index: new(uint64(9)), Term: new(uint64(5))},
		},
	}
	if change != nil {
		change(m)
	}
	return &Message{Cluster: [16]byte{1}, From: 1, To: 2, raft: m}
}

func offerMessage(change func(*raftpb.Message)) *Message {
	at := position{incarnation: 1, sequence: 4, nonce: 9, last: 30, ref: snapshotRef{index: 20, nonce: 3, first: 2, sum: 1}}
	data := make([]byte, markBytes)
	at.encode(data)
	m := &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(5)),
		Snapshot: &raftpb.Snapshot{Data: data, Metadata: &raftpb.SnapshotMetadata{
			Index: new(uint64(20)), Term: new(uint64(4)), ConfState: members{voters: []uint64{1, 3}, learners: []uint64{2}}.confState(),
		}},
	}
	if change != nil {
		change(m)
	}
	return &Message{Cluster: [16]byte{1}, Incarnation: 1, From: 1, To: 2, raft: m}
}

func TestMessagesAreReadAsTheyWereWritten(t *testing.T) {
	at := position{sequence: 3, nonce: 1, last: 9}
	for _, m := range []*Message{appendMessage(nil), offerMessage(nil), {From: 1, To: memberID(2, 77), Incarnation: 3, shipped: &at}} {
		got, err := DecodeMessage(m.AppendTo(nil))
		require.NoError(t, err)
		require.Equal(t, []any{m.Cluster, m.Incarnation, m.From, m.To, m.shipped}, []any{got.Cluster, got.Incarnation, got.From, got.To, got.shipped})
		require.True(t, proto.Equal(m.raft, got.raft))
	}
}

// What raft could not bear, or would take for its own, is refused before it sees it.
func TestMalformedMessagesAreRefused(t *testing.T) {
	confChange := func(c *raftpb.ConfChangeV2) []byte {
		data, err := proto.Marshal(c)
		require.NoError(t, err)
		return data
	}
	for name, m := range map[string]*Message{
		"a local message":           appendMessage(func(m *raftpb.Message) { m.Type = raftpb.MsgHup.Enum(); m.Entries = nil }),
		"a storage answer":          appendMessage(func(m *raftpb.Message) { m.Type = raftpb.MsgStorageAppendResp.Enum(); m.Entries = nil }),
		"a proposal":                appendMessage(func(m *raftpb.Message) { m.Type = raftpb.MsgProp.Enum() }),
		"no term":                   appendMessage(func(m *raftpb.Message) { m.Term = nil }),
		"another sender":            appendMessage(func(m *raftpb.Message) { m.From = new(uint64(3)) }),
		"responses":                 appendMessage(func(m *raftpb.Message) { m.Responses = []*raftpb.Message{{}} }),
		"a gap":                     appendMessage(func(m *raftpb.Message) { m.Entries[1].Index = new(uint64(10)) }),
		"a term that falls":         appendMessage(func(m *raftpb.Message) { m.Entries[1].Term = new(uint64(3)) }),
		"a term to come":            appendMessage(func(m *raftpb.Message) { m.Entries[1].Term = new(uint64(6)) }),
		"an entry of another type":  appendMessage(func(m *raftpb.Message) { m.Entries[0].Type = raftpb.EntryConfChange.Enum() }),
		"a change that is none":     appendMessage(func(m *raftpb.Message) { m.Entries[0].Type = raftpb.EntryConfChangeV2.Enum() }),
		"a heartbeat with entries":  appendMessage(func(m *raftpb.Message) { m.Type = raftpb.MsgHeartbeat.Enum() }),
		"an append with a snapshot": appendMessage(func(m *raftpb.Message) { m.Snapshot = &raftpb.Snapshot{} }),
		"two steps at once": appendMessage(func(m *raftpb.Message) {
			m.Entries[0].Type = raftpb.EntryConfChangeV2.Enum()
			step := &raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(uint64(4))}
			m.Entries[0].Data = confChange(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{step, step}})
		}),
		"a change of member 0": appendMessage(func(m *raftpb.Message) {
			m.Entries[0].Type = raftpb.EntryConfChangeV2.Enum()
			m.Entries[0].Data = confChange(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(uint64(0))}}})
		}),
		"an offer of nothing":          offerMessage(func(m *raftpb.Message) { m.Snapshot = nil }),
		"an offer without a name":      offerMessage(func(m *raftpb.Message) { m.Snapshot.Data = m.Snapshot.Data[1:] }),
		"an offer of another entry":    offerMessage(func(m *raftpb.Message) { m.Snapshot.Metadata.Index = new(uint64(21)) }),
		"an offer without voters":      offerMessage(func(m *raftpb.Message) { m.Snapshot.Metadata.ConfState.Voters = nil }),
		"an offer of a member twice":   offerMessage(func(m *raftpb.Message) { m.Snapshot.Metadata.ConfState.Learners = []uint64{3} }),
		"an offer of a joint majority": offerMessage(func(m *raftpb.Message) { m.Snapshot.Metadata.ConfState.VotersOutgoing = []uint64{3} }),
	} {
		_, err := DecodeMessage(m.AppendTo(nil))
		require.ErrorIs(t, err, errMessage, name)
	}
	many := appendMessage(func(m *raftpb.Message) { m.Entries = make([]*raftpb.Entry, messageEntriesMax+1) })
	for i := range many.raft.Entries {
		many.raft.Entries[i] = &raftpb.Entry{}
	}
	_, err := DecodeMessage(many.AppendTo(nil))
	require.ErrorContains(t, err, "65537 entries")
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(appendMessage(nil).AppendTo(nil))
	f.Add(offerMessage(nil).AppendTo(nil))
	f.Add((&Message{From: 1, To: 2, shipped: &position{sequence: 1}}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMessage(data)
		if err != nil {
			return
		}
		again, err := DecodeMessage(m.AppendTo(nil))
		require.NoError(t, err)
		require.True(t, proto.Equal(m.raft, again.raft))
	})
}

// A member that lies, or whose messages are damaged in ways that their form does not show, ends a member at worst; it never
// makes it panic or hang.
func TestLiesOfAMemberAreBorne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func() *uint64 { return new([]uint64{0, 1, 2, 5, 9, 1 << 40, 1<<64 - 1}[rng.IntN(7)]) }
	for range 300 {
		c := newCluster(t, 5, 3)
		c.found()
		c.lenient = true
		for range 5 {
			c.propose(c.awaitLeader())
		}
		victim := c.nodes[rng.IntN(3)]
		for range 30 {
			from := c.nodes[rng.IntN(3)]
			kinds := []raftpb.MessageType{
				raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgHeartbeat,
				raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow,
			}
			m := &raftpb.Message{
				Type: kinds[rng.IntN(len(kinds))].Enum(), From: new(uint64(from.node.replica.Member())), To: new(uint64(victim.node.replica.Member())),
				Term: new(uint64(rng.IntN(8))), Index: pick(), LogTerm: pick(), Commit: pick(), Reject: new(rng.IntN(2) == 0), RejectHint: pick(),
			}
			lie := &Message{Cluster: victim.node.replica.cluster, From: from.node.replica.Member(), To: victim.node.replica.Member(), raft: m}
			got, err := DecodeMessage(lie.AppendTo(nil))
			if err != nil {
				continue
			}
			victim.w.now = c.now
			victim.w.turn(func() { victim.node.replica.Receive(got) })
			for victim.node.failure == nil && len(victim.w.pending) > 0 {
				c.complete(victim, 0)
			}
		}
	}
}
