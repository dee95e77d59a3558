package quorum

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
)

// FormatVersion is the version of every format that this package writes.
const FormatVersion = 1

const (
	blockBytes        = 4096 // alignment of everything on the disk; a multiple of every device's block
	headBytes         = 128  // of a file's head that its checksum covers, unless the format says otherwise
	groupHeaderBytes  = 64
	recordHeaderBytes = 24
	markerBytes       = 40
	votersMax         = 64
	memberOffset      = 600  // of what a snapshot's header says of its member, behind the voters
	shippedOffset     = 1024 // of the position
	learnersOffset    = 1280

	segmentMagic  = 0x31474c5172696577 // "weirQLG1", read as little-endian
	snapshotMagic = 0x314e535172696577 // "weirQSN1"
	foundingMagic = 0x3144465172696577 // "weirQFD1"
	markerMagic   = 0x31554c4372696577 // "weirCLU1"
	groupMagic    = 0x70726771         // "qgrp"

	directory      = "quorum/"
	segmentPrefix  = directory + "log-"
	snapshotPrefix = directory + "snapshot-"
	foundingName   = directory + "founding"
	temporary      = ".tmp"
)

var (
	order      = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	fourZeros  [4]byte
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func roundUp(n int) int { return (n + blockBytes - 1) &^ (blockBytes - 1) }

// sumWithout is the CRC of b with the four bytes at hole taken as zero.
func sumWithout(b []byte, hole int) uint32 {
	sum := crc32.Update(0, castagnoli, b[:hole])
	sum = crc32.Update(sum, castagnoli, fourZeros[:])
	return crc32.Update(sum, castagnoli, b[hole+4:])
}

func segmentName(ordinal uint64) string { return fmt.Sprintf("%s%016x", segmentPrefix, ordinal) }
func snapshotName(index uint64) string  { return fmt.Sprintf("%s%016x", snapshotPrefix, index) }

// numbered returns the number in a name of the given prefix.
func numbered(name, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil && digits == strings.ToLower(digits)
}

// clusterID is a cluster's identity: 16 random bytes.
type clusterID [16]byte

// String is the form that Kafka uses: base64url without padding, 22 characters.
func (id clusterID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// seal stamps magic, version and checksum into the head of a file or object.
func seal(head []byte, magic uint64) {
	order.PutUint64(head, magic)
	order.PutUint32(head[8:], FormatVersion)
	order.PutUint32(head[12:], sumWithout(head, 12))
}

// unseal checks what seal stamped. Bytes that were never such a head, or no longer are, are not ok.
func unseal(head []byte, magic uint64) (version uint32, ok bool) {
	ok = order.Uint64(head) == magic && order.Uint32(head[12:]) == sumWithout(head, 12)
	return order.Uint32(head[8:]), ok
}

// hardState is what a voter may never forget, and how far it knew the log to be committed.
type hardState struct{ term, vote, commit uint64 }

func (h hardState) encode(b []byte) {
	order.PutUint64(b, h.term)
	order.PutUint64(b[8:], h.vote)
	order.PutUint64(b[16:], h.commit)
}

func decodeHardState(b []byte) hardState {
	return hardState{order.Uint64(b), order.Uint64(b[8:]), order.Uint64(b[16:])}
}

// segmentHeader is the first block of a log segment.
type segmentHeader struct {
	version  uint32
	cluster  clusterID
	node     int32
	ordinal  uint64
	nonce    uint64
	sequence uint64 // of its first group; every group below it lies in earlier segments, durable
	last     uint64 // index of the last entry before it
	hard     hardState
}

func (h *segmentHeader) encode(block []byte) {
	clear(block[:blockBytes])
	copy(block[16:], h.cluster[:])
	order.PutUint32(block[32:], uint32(h.node))
	order.PutUint64(block[40:], h.ordinal)
	order.PutUint64(block[48:], h.nonce)
	order.PutUint64(block[56:], h.sequence)
	order.PutUint64(block[64:], h.last)
	h.hard.encode(block[72:])
	seal(block[:headBytes], segmentMagic)
}

func decodeSegmentHeader(block []byte) (h segmentHeader, ok bool) {
	if h.version, ok = unseal(block[:headBytes], segmentMagic); !ok {
		return h, false
	}
	h.cluster = clusterID(block[16:32])
	h.node = int32(order.Uint32(block[32:]))
	h.ordinal = order.Uint64(block[40:])
	h.nonce = order.Uint64(block[48:])
	h.sequence = order.Uint64(block[56:])
	h.last = order.Uint64(block[64:])
	h.hard = decodeHardState(block[72:])
	return h, true
}

// groupHeader starts a group: what one write made durable.
type groupHeader struct {
	nonce    uint64
	sequence uint64
	hard     hardState
	bytes    uint32 // header, records and padding; a multiple of blockBytes
	records  uint32
	sum      uint32 // CRC32C of what follows the header
}

func (h *groupHeader) encode(b []byte) {
	clear(b[:groupHeaderBytes])
	order.PutUint32(b, groupMagic)
	order.PutUint64(b[8:], h.nonce)
	order.PutUint64(b[16:], h.sequence)
	h.hard.encode(b[24:])
	order.PutUint32(b[48:], h.bytes)
	order.PutUint32(b[52:], h.records)
	order.PutUint32(b[56:], h.sum)
	order.PutUint32(b[4:], sumWithout(b[:groupHeaderBytes], 4))
}

// decodeGroupHeader takes only a whole header of the segment with that nonce.
func decodeGroupHeader(b []byte, nonce uint64) (h groupHeader, ok bool) {
	if order.Uint32(b) != groupMagic || order.Uint64(b[8:]) != nonce ||
		order.Uint32(b[4:]) != sumWithout(b[:groupHeaderBytes], 4) {
		return h, false
	}
	h = groupHeader{
		nonce: nonce, sequence: order.Uint64(b[16:]), hard: decodeHardState(b[24:]),
		bytes: order.Uint32(b[48:]), records: order.Uint32(b[52:]), sum: order.Uint32(b[56:]),
	}
	return h, h.bytes >= blockBytes && h.bytes%blockBytes == 0
}

// recordBytes is the room that an entry takes in a group.
func recordBytes(e *raftpb.Entry) int { return recordHeaderBytes + (len(e.GetData())+7)&^7 }

// encodeRecord writes an entry and returns the room it took.
func encodeRecord(b []byte, e *raftpb.Entry) int {
	room := recordBytes(e)
	order.PutUint32(b, uint32(len(e.GetData())))
	order.PutUint32(b[4:], uint32(e.GetType()))
	order.PutUint64(b[8:], e.GetTerm())
	order.PutUint64(b[16:], e.GetIndex())
	n := recordHeaderBytes + copy(b[recordHeaderBytes:], e.GetData())
	clear(b[n:room])
	return room
}

// decodeRecord reads an entry, its data copied, and returns the room it took; not ok if b does not
// hold it.
func decodeRecord(b []byte) (e *raftpb.Entry, room int, ok bool) {
	if len(b) < recordHeaderBytes {
		return nil, 0, false
	}
	length := order.Uint32(b)
	if length > EntryBytesMax || recordHeaderBytes+(int(length)+7)&^7 > len(b) {
		return nil, 0, false
	}
	kind := raftpb.EntryType(order.Uint32(b[4:]))
	e = &raftpb.Entry{Type: &kind, Term: new(order.Uint64(b[8:])), Index: new(order.Uint64(b[16:]))}
	if length > 0 {
		e.Data = append([]byte(nil), b[recordHeaderBytes:recordHeaderBytes+int(length)]...)
	}
	return e, recordBytes(e), true
}

// snapshotHeader is the first block of a snapshot.
type snapshotHeader struct {
	version uint32
	cluster clusterID
	node    int32
	index   uint64 // of the last entry in it
	term    uint64
	bytes   uint64 // of data
	sum     uint32 // CRC32C of data
	segment uint64 // ordinal of the segment from which on the log continues it
	member  MemberID
	members members
	hard    hardState // if no such segment was begun yet; else zero
	shipped position  // at least up to index; zero before anything was shipped
}

func (h *snapshotHeader) encode(block []byte) {
	clear(block[:blockBytes])
	copy(block[16:], h.cluster[:])
	order.PutUint32(block[32:], uint32(h.node))
	order.PutUint32(block[36:], uint32(len(h.members.voters)))
	order.PutUint64(block[40:], h.index)
	order.PutUint64(block[48:], h.term)
	order.PutUint64(block[56:], h.bytes)
	order.PutUint32(block[64:], h.sum)
	order.PutUint64(block[72:], h.segment)
	for i, v := range h.members.voters {
		order.PutUint64(block[80+8*i:], v)
	}
	if h.member != memberID(h.node, 0) { // what a founder writes, a release of single members reads
		order.PutUint64(block[memberOffset:], uint64(h.member))
	}
	h.hard.encode(block[memberOffset+8:])
	order.PutUint32(block[memberOffset+32:], uint32(len(h.members.learners)))
	for i, v := range h.members.learners {
		order.PutUint64(block[learnersOffset+8*i:], v)
	}
	h.shipped.encode(block[shippedOffset:])
	seal(block[:blockBytes], snapshotMagic)
}

func decodeSnapshotHeader(block []byte) (h snapshotHeader, ok bool) {
	if h.version, ok = unseal(block[:blockBytes], snapshotMagic); !ok {
		return h, false
	}
	h.cluster = clusterID(block[16:32])
	h.node = int32(order.Uint32(block[32:]))
	h.index = order.Uint64(block[40:])
	h.term = order.Uint64(block[48:])
	h.bytes = order.Uint64(block[56:])
	h.sum = order.Uint32(block[64:])
	h.segment = order.Uint64(block[72:])
	for i := range min(order.Uint32(block[36:]), votersMax) {
		h.members.voters = append(h.members.voters, order.Uint64(block[80+8*i:]))
	}
	if h.member = MemberID(order.Uint64(block[memberOffset:])); h.member == 0 {
		h.member = memberID(h.node, 0)
	}
	h.hard = decodeHardState(block[memberOffset+8:])
	for i := range min(order.Uint32(block[memberOffset+32:]), learnersMax) {
		h.members.learners = append(h.members.learners, order.Uint64(block[learnersOffset+8*i:]))
	}
	h.shipped = decodePosition(block[shippedOffset:])
	return h, true
}

// founding is what a node made durable before it tried to found a cluster: the marker is its own
// if it carries this nonce.
type founding struct {
	version uint32
	cluster clusterID
	node    int32
	nonce   uint64
}

func (f *founding) encode(block []byte) {
	clear(block[:blockBytes])
	copy(block[16:], f.cluster[:])
	order.PutUint32(block[32:], uint32(f.node))
	order.PutUint64(block[40:], f.nonce)
	seal(block[:headBytes], foundingMagic)
}

func decodeFounding(block []byte) (f founding, ok bool) {
	if f.version, ok = unseal(block[:headBytes], foundingMagic); !ok {
		return f, false
	}
	return founding{
		version: f.version, cluster: clusterID(block[16:32]),
		node: int32(order.Uint32(block[32:])), nonce: order.Uint64(block[40:]),
	}, true
}

// marker is the body of the cluster's marker object.
type marker struct {
	version uint32
	cluster clusterID
	nonce   uint64
}

func (m *marker) encode() []byte {
	b := make([]byte, markerBytes)
	copy(b[16:], m.cluster[:])
	order.PutUint64(b[32:], m.nonce)
	seal(b, markerMagic)
	return b
}

func decodeMarker(b []byte) (m marker, ok bool) {
	if len(b) < markerBytes {
		return m, false
	}
	if m.version, ok = unseal(b[:markerBytes], markerMagic); !ok {
		return m, false
	}
	return marker{version: m.version, cluster: clusterID(b[16:32]), nonce: order.Uint64(b[32:])}, true
}
