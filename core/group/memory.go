package group

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"strings"
)

const (
	// memberBytes is what a member takes beside what its client sent, with a parked request; pendingBytes what an id takes
	// that was handed out.
	memberBytes  = 2 << 10
	pendingBytes = 512
	// memberPrefixBytesMax is as much as is kept of a client id.
	memberPrefixBytesMax = 1 << 10
)

// heldMax bounds what clients can make the members of all groups of a broker hold: as much as their requests may.
func (o *Options) heldMax() int64 { return o.Config.QueuedMaxRequestBytes }

// charge counts what a member holds.
func (m *Machine) charge(mb *member) {
	n := int64(memberBytes + len(mb.id) + len(mb.client.ID) + len(mb.assignment))
	if mb.instanceID != nil {
		n += int64(len(*mb.instanceID))
	}
	for i := range mb.protocols {
		n += int64(len(mb.protocols[i].Name) + len(mb.protocols[i].Metadata))
	}
	m.held += n - mb.charged
	mb.charged = n
}

func (m *Machine) discharge(mb *member) {
	m.held -= mb.charged
	mb.charged = 0
}

// refuseMember notes that there is no memory for a member.
func (m *Machine) refuseMember() {
	m.count.refused.Add(1)
	m.operators.Warn(m.Telemetry, "members", m.Loop.Now(), "a member may not join its group: the members of all groups hold as much memory as they may. "+
		"It tries again. Raise queued.max.request.bytes, or find out who joins so many groups",
		slog.Int64("bytes", m.held), slog.Int64("max", m.heldMax()))
}

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
