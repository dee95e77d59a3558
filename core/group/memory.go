package group

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is held, in bytes, beside names and what clients sent: estimates of the memory, with maps and parked requests.
const (
	groupBytes       = 512
	memberBytes      = 2 << 10
	protocolBytes    = 192 // of a member, and its place among the votes
	topicBytes       = 64  // that a classic group reads
	pendingBytes     = 512 // an id that was handed out
	offsetBytes      = 256
	stagedBytes      = 384
	transactionBytes = 256 // with staged offsets
	// memberPrefixBytesMax is as much as is kept of a client id.
	memberPrefixBytesMax = 1 << 10
)

func (g *Group) bytes() int64 { return int64(groupBytes + len(g.id)) }

// bytes is what an offset of a topic takes. That each has the id of its group is true of its records: a group is written anew, or deleted,
// by as many of them at a time.
func (o *offset) bytes(group, topic string) int64 {
	return int64(offsetBytes + len(group) + len(topic) + len(o.metadata))
}

// bytes is what a staged offset of a partition takes.
func (at *stagedPartition) bytes(o *offset) int64 {
	return stagedBytes + o.bytes(at.group, at.topic)
}

// bytes is what a member takes.
func (mb *member) bytes() int64 {
	return memberSize(mb.id, mb.instanceID, &mb.client, mb.protocols) + int64(len(mb.assignment))
}

// bytes is what the member of a join takes.
func (call *joinCall) bytes() int64 {
	return memberSize(call.MemberID, call.InstanceID, &call.client, call.Protocols)
}

func memberSize(id string, instanceID *string, client *Client, protocols []kmsg.JoinGroupRequestProtocol) int64 {
	n := memberBytes + len(id) + len(client.ID)
	if instanceID != nil {
		n += len(*instanceID)
	}
	for i := range protocols {
		n += protocolBytes + len(protocols[i].Name) + len(protocols[i].Metadata)
	}
	return int64(n)
}

// What a request takes while it waits, about: of each thing that it names, beside names.
const (
	requestPartBytes  = 160
	offsetRecordBytes = 64
)

func requestPart(names ...string) int64 {
	n := requestPartBytes
	for _, name := range names {
		n += len(name)
	}
	return int64(n)
}

// bytes is about what a commit takes, with its batch, which is no larger than a log takes. Each record of that names the group.
func (c *Commit) bytes(batchMax int) (n int64) {
	for i := range c.results {
		n += requestPart(c.results[i].name)
		n += requestPartBytes * int64(len(c.results[i].codes))
	}
	batch := 0
	for i := range c.offsets {
		p := &c.offsets[i]
		text := 0
		if p.metadata != nil {
			text = len(*p.metadata)
		}
		n += int64(text)
		batch = min(batch+len(c.group)+len(p.Topic)+text+offsetRecordBytes, batchMax)
	}
	return n + int64(batch)
}

func heartbeatBytes(r *kmsg.ConsumerGroupHeartbeatRequest) (n int64) {
	if r.SubscribedTopicRegex != nil {
		n += int64(len(*r.SubscribedTopicRegex))
	}
	for _, name := range r.SubscribedTopicNames {
		n += int64(topicBytes + len(name))
	}
	for i := range r.Topics {
		n += topicBytes + 4*int64(len(r.Topics[i].Partitions))
	}
	return n
}

func leaveBytes(r *kmsg.LeaveGroupRequest) (n int64) {
	for i := range r.Members {
		n += requestPart(r.Members[i].MemberID)
	}
	return n
}

func deletionBytes(r *kmsg.OffsetDeleteRequest) (n int64) {
	for i := range r.Topics {
		n += requestPart(r.Topics[i].Topic)
		n += requestPartBytes * int64(len(r.Topics[i].Partitions))
	}
	return n
}

// charge counts what a member holds.
func (m *Machine) charge(mb *member) {
	n := mb.bytes()
	m.shard.Hold(n - mb.charged)
	mb.charged = n
}

func (m *Machine) discharge(mb *member) {
	m.shard.Hold(-mb.charged)
	mb.charged = 0
}

// admitsJoin reports whether there is memory for what a join says of a member, which has said so much before.
func (m *Machine) admitsJoin(call *joinCall, before int64) bool {
	return m.shard.Admits(call.bytes() - before)
}

// said is what of a member's bytes is from its joins.
func (mb *member) said() int64 { return mb.charged - int64(len(mb.assignment)) }

// memberID makes an id that no member had before: a prefix and a random UUID, as in Kafka. A long prefix is cut: an instance
// id may have as many bytes as a string of the group's record holds, and the member id would have more.
func (m *Machine) memberID(prefix string) string {
	if len(prefix) > memberPrefixBytesMax {
		prefix = strings.ToValidUTF8(prefix[:memberPrefixBytesMax], "")
	}
	h := hex.EncodeToString(m.uuid())
	return prefix + "-" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// newMemberID makes an id for a member of the protocol of KIP-848: a random UUID as Kafka writes those of its own.
func (m *Machine) newMemberID() string { return base64.RawURLEncoding.EncodeToString(m.uuid()) }

// uuid is a random UUID (version 4).
func (m *Machine) uuid() []byte {
	var id [16]byte
	for half := range 2 {
		m.draws++
		binary.BigEndian.PutUint64(id[8*half:], m.Env.Rand.Uint64("group member", uint64(m.Env.Clock.WallMillis()), m.draws))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id[:]
}
