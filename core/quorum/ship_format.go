package quorum

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
)

// ShipmentVersion is the version of the shipments that this package writes.
const ShipmentVersion = 1

const (
	shipmentMagic     = 0x3150485372696577 // "weirSHP1", read as little-endian
	restoringMagic    = 0x3153525172696577 // "weirQRS1"
	shipmentHeadBytes = 192
	shipmentBytesMax  = 64 << 20 // no shipment is larger: what a reader allocates for one

	shipDirectory     = "/log/"
	snapshotDirectory = "/snapshot/"
	restoringName     = directory + "restoring"

	markBytes = 64 // of a record that says what was shipped
)

// markEntry is the type of that record. It is no entry of the log. A program that does not ship refuses a log
// that holds one.
const markEntry raftpb.EntryType = 0x70696873

// shipmentKind says what a shipment is.
type shipmentKind uint32

const (
	shipmentEntries shipmentKind = iota // entries of the log, perhaps none
	shipmentSeal                        // a rebuild ended the incarnation with it; the next one is its number plus one
)

// snapshotRef names a snapshot in the object store, and the shipment from which on the shipments
// continue it.
type snapshotRef struct {
	index uint64 // of the last entry in it
	nonce uint64 // part of its name; 0: there is none
	first uint64 // sequence of the shipment that is to be read first after it
	sum   uint32 // CRC32C of its data
}

// position is a place in the chain of shipments: the newest one that is known.
type position struct {
	incarnation uint32 // of the cluster: 0, and one more with each rebuild
	sequence    uint64 // counts all shipments from 1; 0: nothing was shipped yet
	nonce       uint64
	last        uint64 // index of the last entry shipped with it or before it
	ref         snapshotRef
}

func (p *position) encode(b []byte) {
	order.PutUint32(b, p.incarnation)
	order.PutUint32(b[4:], p.ref.sum)
	order.PutUint64(b[8:], p.sequence)
	order.PutUint64(b[16:], p.nonce)
	order.PutUint64(b[24:], p.last)
	order.PutUint64(b[32:], p.ref.index)
	order.PutUint64(b[40:], p.ref.nonce)
	order.PutUint64(b[48:], p.ref.first)
	order.PutUint64(b[56:], 0)
}

func decodePosition(b []byte) position {
	return position{
		incarnation: order.Uint32(b), sequence: order.Uint64(b[8:]), nonce: order.Uint64(b[16:]), last: order.Uint64(b[24:]),
		ref: snapshotRef{index: order.Uint64(b[32:]), nonce: order.Uint64(b[40:]), first: order.Uint64(b[48:]), sum: order.Uint32(b[4:])},
	}
}

// mark is the record that makes a position durable on the disk.
func (p *position) mark() *raftpb.Entry {
	kind := markEntry
	data := make([]byte, markBytes)
	p.encode(data)
	return &raftpb.Entry{Type: &kind, Term: new(uint64(0)), Index: new(p.sequence), Data: data}
}

// shipmentHeader is the head of a shipment.
type shipmentHeader struct {
	version  uint32
	cluster  clusterID
	node     int32
	kind     shipmentKind
	at       position
	previous uint64 // nonce of the shipment before
	after    uint64 // index of the last entry before the first one in it
	lastTerm uint64 // of entry at.last
	millis   int64  // wall clock when it was written, for people
	records  uint32
	bytes    uint64 // of what follows the head
	sum      uint32 // CRC32C of that
}

func (h *shipmentHeader) encode(b []byte) {
	clear(b[:shipmentHeadBytes])
	copy(b[16:], h.cluster[:])
	order.PutUint32(b[32:], uint32(h.node))
	order.PutUint32(b[36:], uint32(h.kind))
	h.at.encode(b[40:])
	order.PutUint64(b[104:], h.previous)
	order.PutUint64(b[112:], h.after)
	order.PutUint64(b[120:], h.lastTerm)
	order.PutUint64(b[128:], uint64(h.millis))
	order.PutUint32(b[136:], h.records)
	order.PutUint32(b[140:], h.sum)
	order.PutUint64(b[144:], h.bytes)
	order.PutUint64(b, shipmentMagic)
	order.PutUint32(b[8:], ShipmentVersion)
	order.PutUint32(b[12:], sumWithout(b[:shipmentHeadBytes], 12))
}

func decodeShipmentHeader(b []byte) (h shipmentHeader, ok bool) {
	if len(b) < shipmentHeadBytes {
		return h, false
	}
	if h.version, ok = unseal(b[:shipmentHeadBytes], shipmentMagic); !ok {
		return h, false
	}
	h.cluster = clusterID(b[16:32])
	h.node = int32(order.Uint32(b[32:]))
	h.kind = shipmentKind(order.Uint32(b[36:]))
	h.at = decodePosition(b[40:])
	h.previous = order.Uint64(b[104:])
	h.after = order.Uint64(b[112:])
	h.lastTerm = order.Uint64(b[120:])
	h.millis = int64(order.Uint64(b[128:]))
	h.records = order.Uint32(b[136:])
	h.sum = order.Uint32(b[140:])
	h.bytes = order.Uint64(b[144:])
	return h, true
}

// shipment is a decoded shipment.
type shipment struct {
	shipmentHeader
	entries []*raftpb.Entry
}

// encodeShipment lays a shipment out. It sets the header's records, bytes and sum.
func encodeShipment(h *shipmentHeader, entries []*raftpb.Entry) []byte {
	room := shipmentHeadBytes
	for _, e := range entries {
		room += recordBytes(e)
	}
	b := make([]byte, room)
	at := shipmentHeadBytes
	for _, e := range entries {
		at += encodeRecord(b[at:], e)
	}
	h.records, h.bytes = uint32(len(entries)), uint64(room-shipmentHeadBytes)
	h.sum = crc32.Checksum(b[shipmentHeadBytes:], castagnoli)
	h.encode(b)
	return b
}

// decodeShipment reads a whole shipment; an error says what of it is damaged.
func decodeShipment(b []byte) (s shipment, err error) {
	h, ok := decodeShipmentHeader(b)
	if !ok {
		return s, fmt.Errorf("its head fails its checksum")
	}
	s.shipmentHeader = h
	if h.version != ShipmentVersion {
		return s, nil // the caller must look
	}
	body := b[shipmentHeadBytes:]
	if h.bytes != uint64(len(body)) || crc32.Checksum(body, castagnoli) != h.sum {
		return s, fmt.Errorf("its entries fail their checksum")
	}
	for range h.records {
		e, room, ok := decodeRecord(body)
		if !ok || e.GetIndex() != h.after+1+uint64(len(s.entries)) || e.GetType() != raftpb.EntryNormal && e.GetType() != raftpb.EntryConfChangeV2 {
			return s, fmt.Errorf("its entries are not as they should be")
		}
		s.entries = append(s.entries, e)
		body = body[room:]
	}
	if len(body) > 0 || h.after+uint64(len(s.entries)) != h.at.last {
		return s, fmt.Errorf("its entries end at the wrong index")
	}
	return s, nil
}

// shipPrefix is what the names of all shipments of a cluster begin with. They sort by sequence.
func (id clusterID) shipPrefix() string { return id.String() + shipDirectory }

func (id clusterID) shipKey(incarnation uint32, sequence uint64) string {
	return fmt.Sprintf("%s%08x-%016x", id.shipPrefix(), incarnation, sequence)
}

// parseShipKey takes a shipment's name apart.
func (id clusterID) parseShipKey(key string) (incarnation uint32, sequence uint64, ok bool) {
	name := strings.TrimPrefix(key, id.shipPrefix())
	if len(name) != 25 || name[8] != '-' {
		return 0, 0, false
	}
	inc, err := strconv.ParseUint(name[:8], 16, 32)
	if err != nil {
		return 0, 0, false
	}
	sequence, err = strconv.ParseUint(name[9:], 16, 64)
	return uint32(inc), sequence, err == nil && id.shipKey(uint32(inc), sequence) == key
}

func (id clusterID) snapshotPrefix() string { return id.String() + snapshotDirectory }

func (id clusterID) snapshotKey(r snapshotRef) string {
	return fmt.Sprintf("%s%016x-%016x", id.snapshotPrefix(), r.index, r.nonce)
}

// restoring is what a node makes durable before it replaces its log by what was shipped: while the
// file is there, the rest of the disk counts for nothing.
type restoring struct {
	version     uint32
	cluster     clusterID
	node        int32
	incarnation uint32
	term        uint64 // the new log's term is above
}

func (r *restoring) encode(block []byte) {
	clear(block[:blockBytes])
	copy(block[16:], r.cluster[:])
	order.PutUint32(block[32:], uint32(r.node))
	order.PutUint32(block[36:], r.incarnation)
	order.PutUint64(block[40:], r.term)
	seal(block[:headBytes], restoringMagic)
}

func decodeRestoring(block []byte) (r restoring, ok bool) {
	if r.version, ok = unseal(block[:headBytes], restoringMagic); !ok {
		return r, false
	}
	return restoring{
		version: r.version, cluster: clusterID(block[16:32]), node: int32(order.Uint32(block[32:])),
		incarnation: order.Uint32(block[36:]), term: order.Uint64(block[40:]),
	}, true
}
