package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// MessageBytesMax is the largest message that is sent or taken, encoded.
const MessageBytesMax = 4 << 20

const (
	messageHeadBytes  = 40
	messageEntriesMax = 1 << 16
	appendBytesMax    = 1 << 20 // of the entries in a message, unless a single one is larger

	messageRaft    = 1
	messageShipped = 2

	fieldEntries = 7 // of raftpb.Message
)

// Message is what one member tells another. It is not changed once it is made.
//
// Encoded, integers little-endian:
//
//	 0 u8 kind: 1 raft's, 2 how far the log is in the object store
//	 1 zeros up to 4
//	 4 u32 incarnation of the cluster; 0 also if the sender does not know it yet
//	 8 cluster id, 16 bytes
//	24 u64 from, 32 u64 to: members
//	40 raft's own encoding, or a position of 64 bytes (see shipments)
type Message struct {
	Cluster     [16]byte
	Incarnation uint32
	From, To    MemberID

	raft    *raftpb.Message
	shipped *position // instead of raft
}

// Bytes is about how long the encoded message is.
func (m *Message) Bytes() int {
	if m.shipped != nil {
		return messageHeadBytes + markBytes
	}
	return messageHeadBytes + proto.Size(m.raft)
}

// Peers carries messages to the other members. It may lose, repeat, delay and reorder them.
type Peers interface {
	// Send takes a message for m.To, and never blocks. It drops it if there is no way to that member.
	Send(m *Message)
}

var errMessage = errors.New("quorum: a message of another member is malformed")

// AppendTo appends the encoded message. It may be called off the loop.
func (m *Message) AppendTo(dst []byte) []byte {
	head := make([]byte, messageHeadBytes)
	order.PutUint32(head[4:], m.Incarnation)
	copy(head[8:], m.Cluster[:])
	order.PutUint64(head[24:], uint64(m.From))
	order.PutUint64(head[32:], uint64(m.To))
	if m.shipped != nil {
		head[0] = messageShipped
		body := make([]byte, markBytes)
		m.shipped.encode(body)
		return append(append(dst, head...), body...)
	}
	head[0] = messageRaft
	dst, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(append(dst, head...), m.raft)
	if err != nil {
		panic(fmt.Sprintf("quorum: a message cannot be encoded: %v", err))
	}
	return dst
}

// DecodeMessage reads a message that another member sent. It takes only what raft can take; errors say what is wrong.
// It may be called off the loop. The message does not point into data.
func DecodeMessage(data []byte) (*Message, error) {
	if len(data) < messageHeadBytes || len(data) > MessageBytesMax {
		return nil, fmt.Errorf("%w: it has %d bytes", errMessage, len(data))
	}
	m := &Message{Cluster: [16]byte(data[8:24]), Incarnation: order.Uint32(data[4:]), From: MemberID(order.Uint64(data[24:])), To: MemberID(order.Uint64(data[32:]))}
	body := data[messageHeadBytes:]
	if !m.From.valid() || !m.To.valid() {
		return nil, fmt.Errorf("%w: from member %d to %d", errMessage, uint64(m.From), uint64(m.To))
	}
	switch {
	case data[0] == messageShipped && len(body) == markBytes:
		at := decodePosition(body)
		m.shipped = &at
		return m, nil
	case data[0] != messageRaft:
		return nil, fmt.Errorf("%w: kind %d with %d bytes", errMessage, data[0], len(body))
	}
	if err := countEntries(body); err != nil {
		return nil, err
	}
	m.raft = &raftpb.Message{}
	if err := proto.Unmarshal(body, m.raft); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	return m, m.validate()
}

// countEntries bounds what the decoder allocates.
func countEntries(body []byte) error {
	entries := 0
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMessage, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(field, kind, body[n:])
		if size < 0 {
			return fmt.Errorf("%w: %w", errMessage, protowire.ParseError(size))
		}
		if field == fieldEntries {
			entries++
		}
		body = body[n+size:]
	}
	if entries > messageEntriesMax {
		return fmt.Errorf("%w: %d entries", errMessage, entries)
	}
	return nil
}

// validate takes only messages that members send each other, whole in themselves.
func (m *Message) validate() error {
	r := m.raft
	switch {
	case r.GetFrom() != uint64(m.From) || r.GetTo() != uint64(m.To):
		return fmt.Errorf("%w: its sender or receiver differs", errMessage)
	case r.GetTerm() == 0 || len(r.GetResponses()) > 0:
		return fmt.Errorf("%w: it is for the sender itself", errMessage)
	case (r.GetType() == raftpb.MsgSnap) != (r.Snapshot != nil):
		return fmt.Errorf("%w: %v with or without a snapshot", errMessage, r.GetType())
	case r.GetType() != raftpb.MsgApp && len(r.GetEntries()) > 0:
		return fmt.Errorf("%w: %v with entries", errMessage, r.GetType())
	}
	switch r.GetType() {
	case raftpb.MsgApp:
		return validateEntries(r)
	case raftpb.MsgSnap:
		return validateOffer(r)
	case raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow:
		return nil
	}
	return fmt.Errorf("%w: %v", errMessage, r.GetType())
}

// validateEntries takes entries that follow each other.
func validateEntries(r *raftpb.Message) error {
	term := r.GetLogTerm()
	for i, e := range r.GetEntries() {
		if e.GetIndex() != r.GetIndex()+1+uint64(i) || e.GetTerm() < term || e.GetTerm() > r.GetTerm() || len(e.GetData()) > EntryBytesMax {
			return fmt.Errorf("%w: entry %d of term %d in an append after entry %d of term %d", errMessage, e.GetIndex(), e.GetTerm(), r.GetIndex(), r.GetLogTerm())
		}
		term = e.GetTerm()
		switch e.GetType() {
		case raftpb.EntryNormal:
		case raftpb.EntryConfChangeV2:
			if _, err := decodeChange(e); err != nil {
				return fmt.Errorf("%w: %w", errMessage, err)
			}
		default:
			return fmt.Errorf("%w: entry %d is of type %d", errMessage, e.GetIndex(), e.GetType())
		}
	}
	return nil
}

// validateOffer takes the offer of a snapshot: its data are the position that names it.
func validateOffer(r *raftpb.Message) error {
	s := r.GetSnapshot()
	meta := s.GetMetadata()
	c := meta.GetConfState()
	voters, learners := c.GetVoters(), c.GetLearners()
	at := position{}
	if len(s.GetData()) == markBytes {
		at = decodePosition(s.GetData())
	}
	switch {
	case at.ref.nonce == 0 || at.ref.index != meta.GetIndex() || meta.GetIndex() == 0 || meta.GetTerm() == 0 || meta.GetTerm() > r.GetTerm():
		return fmt.Errorf("%w: snapshot of entry %d of term %d", errMessage, meta.GetIndex(), meta.GetTerm())
	case len(voters) == 0 || len(voters) > votersMax || len(learners) > learnersMax || len(c.GetVotersOutgoing())+len(c.GetLearnersNext()) > 0:
		return fmt.Errorf("%w: a snapshot with %d voters and %d learners", errMessage, len(voters), len(learners))
	case !ascending(voters) || !ascending(learners) || slices.ContainsFunc(learners, func(id uint64) bool { return slices.Contains(voters, id) }):
		return fmt.Errorf("%w: a snapshot names a member twice", errMessage)
	}
	return nil
}

// ascending reports whether ids are members, each once, in order.
func ascending(ids []uint64) bool {
	for i, id := range ids {
		if !MemberID(id).valid() || i > 0 && id <= ids[i-1] {
			return false
		}
	}
	return true
}
