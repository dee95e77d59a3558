package quorum

import (
	"fmt"
	"hash/crc32"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
)

// segmentBytesHard bounds what a segment may be, and so what recovery allocates for one.
const segmentBytesHard = 64 << 20

// CorruptError says that something which was durable cannot be read back. Nothing was changed;
// going on would lose committed metadata.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("quorum file %q is damaged at %d: %s, yet it was durable; recover the disk or restore the "+
		"node's metadata directory from a copy and start again", e.File, e.Offset, e.Reason)
}

// VersionError says that a file, or the cluster's marker in the object store, was written by
// another version of the format.
type VersionError struct {
	File    string
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%q has format version %d, this program reads version %d: start the version that wrote it",
		e.File, e.Version, FormatVersion)
}

// segmentMark is what cleaning up must know of a segment.
type segmentMark struct{ ordinal, last uint64 }

// inventory is what the disk holds, by its names.
type inventory struct {
	snapshots []uint64 // ascending, as the names sort
	segments  []uint64 // ascending
	temps     []string
	founding  bool
	restoring bool
}

func takeInventory(list []env.FileInfo) inventory {
	inv := inventory{}
	for _, file := range list {
		if n, ok := numbered(file.Name, snapshotPrefix); ok {
			inv.snapshots = append(inv.snapshots, n)
		} else if n, ok := numbered(file.Name, segmentPrefix); ok {
			inv.segments = append(inv.segments, n)
		} else if strings.HasSuffix(file.Name, temporary) {
			inv.temps = append(inv.temps, file.Name)
		} else if file.Name == foundingName {
			inv.founding = true
		} else if file.Name == restoringName {
			inv.restoring = true
		}
	}
	return inv
}

// recovery reads what is durable, front to back.
type recovery struct {
	files
	node     int32
	store    *storage
	snapshot snapshotHeader
	marks    []segmentMark
	sequence uint64   // of the group expected next
	last     uint64   // index of the last entry read
	shipped  position // the newest that was noted
	torn     bool     // the log ended in a group of which only a part got to the disk
}

// run restores the newest snapshot through restore, and reads the log that follows it.
func (r *recovery) run(inv inventory, restore func(index uint64, snapshot []byte) error) error {
	index := inv.snapshots[len(inv.snapshots)-1]
	if err := r.readSnapshot(index, restore); err != nil {
		return err
	}
	r.store = &storage{
		members: r.snapshot.members, index: index, term: r.snapshot.term,
		hard: hardState{term: r.snapshot.term, commit: index},
	}
	if n := len(inv.segments); r.snapshot.hard.term > 0 && (n == 0 || inv.segments[n-1] < r.snapshot.segment) {
		r.store.hard, r.last = r.snapshot.hard, index // it was to be continued by a segment of its own
		return nil
	}
	if err := r.readSegments(inv); err != nil {
		return err
	}
	name := segmentName(r.marks[len(r.marks)-1].ordinal)
	if r.last < index {
		return &CorruptError{File: name, Reason: fmt.Sprintf("the log ends at entry %d, before the snapshot of entry %d", r.last, index)}
	}
	hard := &r.store.hard
	hard.commit = max(hard.commit, index)
	if hard.commit > r.last {
		return &CorruptError{File: name, Reason: fmt.Sprintf("the log ends at entry %d, but entry %d was committed", r.last, hard.commit)}
	}
	return nil
}

func (r *recovery) readSnapshot(index uint64, restore func(uint64, []byte) error) error {
	name := snapshotName(index)
	file, size, err := r.open(name, false)
	if err != nil {
		return err
	}
	defer r.env.Meta.Close(file)
	slab, data, err := r.readAll(file, name, size)
	if err != nil {
		return err
	}
	defer slab.Release()
	if len(data) < blockBytes {
		return &CorruptError{File: name, Reason: "it is shorter than its header"}
	}
	h, ok := decodeSnapshotHeader(data[:blockBytes])
	body := data[blockBytes:]
	switch {
	case !ok:
		return &CorruptError{File: name, Reason: "its header fails its checksum"}
	case h.version != FormatVersion:
		return &VersionError{File: name, Version: h.version}
	case h.node != r.node:
		return otherNode(name, h.node, r.node)
	case h.index != index || len(h.members.voters) == 0 && index > 0 || h.member.Node() != r.node:
		return &CorruptError{File: name, Reason: fmt.Sprintf("its header names entry %d, member %v and %d voters", h.index, h.member, len(h.members.voters))}
	case h.bytes > uint64(len(body)) || crc32.Checksum(body[:h.bytes], castagnoli) != h.sum:
		return &CorruptError{File: name, Offset: blockBytes, Reason: "its data fail their checksum"}
	}
	r.snapshot, r.shipped = h, h.shipped
	if err := restore(index, body[:h.bytes:h.bytes]); err != nil {
		return fmt.Errorf("restore the metadata from %q: %w", name, err)
	}
	return nil
}

func otherNode(name string, of, node int32) error {
	return fmt.Errorf("%q belongs to node %d, but this is node %d: give each node a metadata directory of its own, "+
		"or correct node.id", name, of, node)
}

// readSegments reads the segments that continue the snapshot, each of which must be there.
func (r *recovery) readSegments(inv inventory) error {
	expected := r.snapshot.segment
	for i, ordinal := range inv.segments {
		if ordinal < r.snapshot.segment {
			continue
		}
		if ordinal != expected {
			break
		}
		next := segmentHeader{}
		final := i == len(inv.segments)-1
		if !final {
			var err error
			if next, err = r.header(inv.segments[i+1]); err != nil {
				return err
			}
		}
		if err := r.readSegment(ordinal, final, next.sequence); err != nil {
			return err
		}
		expected++
	}
	if n := len(inv.segments); n == 0 || expected <= inv.segments[n-1] || len(r.marks) == 0 {
		return &CorruptError{File: segmentName(expected), Reason: "it is missing"}
	}
	return nil
}

// header reads only the first block of a segment.
func (r *recovery) header(ordinal uint64) (segmentHeader, error) {
	name := segmentName(ordinal)
	file, size, err := r.open(name, false)
	if err != nil {
		return segmentHeader{}, err
	}
	defer r.env.Meta.Close(file)
	slab, data, err := r.readAll(file, name, min(size, blockBytes))
	if err != nil {
		return segmentHeader{}, err
	}
	defer slab.Release()
	return r.validateHeader(name, ordinal, data)
}

// validateHeader checks a segment's first block. A segment appears under its name whole, so that an
// invalid one is damage.
func (r *recovery) validateHeader(name string, ordinal uint64, data []byte) (segmentHeader, error) {
	if len(data) < blockBytes {
		return segmentHeader{}, &CorruptError{File: name, Reason: "it is shorter than its header"}
	}
	h, ok := decodeSegmentHeader(data[:blockBytes])
	switch {
	case !ok:
		return h, &CorruptError{File: name, Reason: "its header fails its checksum"}
	case h.version != FormatVersion:
		return h, &VersionError{File: name, Version: h.version}
	case h.node != r.node:
		return h, otherNode(name, h.node, r.node)
	case h.cluster != r.snapshot.cluster:
		return h, fmt.Errorf("%q belongs to cluster %s, but the snapshot beside it to cluster %s: "+
			"restore the metadata directory as one", name, h.cluster, r.snapshot.cluster)
	case h.ordinal != ordinal:
		return h, &CorruptError{File: name, Reason: fmt.Sprintf("its header names segment %d", h.ordinal)}
	}
	return h, nil
}

// readSegment reads one segment: the final one to its end, any other up to the group upTo, with
// which the next segment starts.
func (r *recovery) readSegment(ordinal uint64, final bool, upTo uint64) error {
	name := segmentName(ordinal)
	file, size, err := r.open(name, false)
	if err != nil {
		return err
	}
	defer r.env.Meta.Close(file)
	if size > segmentBytesHard {
		return &CorruptError{File: name, Offset: segmentBytesHard, Reason: fmt.Sprintf("it has %d bytes, more than is ever written", size)}
	}
	slab, data, err := r.readAll(file, name, size)
	if err != nil {
		return err
	}
	defer slab.Release()
	h, err := r.validateHeader(name, ordinal, data)
	if err != nil {
		return err
	}
	if err := r.begin(name, h); err != nil {
		return err
	}
	at, newest, err := r.groups(name, h.nonce, data, final, upTo)
	if err != nil || !final && r.sequence == upTo {
		return err
	}
	if lost := !final || laterGroup(data[at:], h.nonce, r.sequence); lost {
		return &CorruptError{File: name, Offset: int64(at), Reason: fmt.Sprintf("group %d cannot be read, yet later ones were written", r.sequence)}
	}
	r.torn = at < len(data) && !allZero(data[at:at+blockBytes])
	return r.secure(file, name, slab, newest, at)
}

// secure writes the newest group again, and syncs: nothing vouches for it. Its write may have failed, and then the sync of an
// earlier start; after that a sync succeeds and says nothing of those bytes, which the next power failure takes.
func (r *recovery) secure(file env.FileID, name string, slab *env.Slab, from, upTo int) error {
	if from == upTo {
		return nil // a segment appears whole
	}
	slab.Retain() // lent to the write, whatever becomes of this proc
	err := r.write(file, name, int64(from), slab.Data[from:upTo], nil)
	slab.Release()
	if err != nil {
		return err
	}
	return r.sync(file, name)
}

// begin checks that a segment continues what was read.
func (r *recovery) begin(name string, h segmentHeader) error {
	if len(r.marks) == 0 {
		if h.last > r.snapshot.index {
			return &CorruptError{File: name, Reason: fmt.Sprintf("it starts after entry %d, beyond the snapshot of entry %d", h.last, r.snapshot.index)}
		}
		r.sequence, r.last = h.sequence, h.last
	}
	if h.last != r.last || h.sequence != r.sequence {
		return &CorruptError{File: name, Reason: fmt.Sprintf("it continues entry %d and group %d, but the log before it ends at %d and %d",
			h.last, h.sequence, r.last, r.sequence)}
	}
	r.marks = append(r.marks, segmentMark{h.ordinal, h.last})
	r.store.hard = h.hard
	return nil
}

// groups takes whole groups in sequence and returns where the first one that is not one would lie, and where the newest
// whole one does.
func (r *recovery) groups(name string, nonce uint64, data []byte, final bool, upTo uint64) (at, newest int, err error) {
	at, newest = blockBytes, blockBytes
	for at < len(data) && (final || r.sequence < upTo) {
		h, ok := decodeGroupHeader(data[at:], nonce)
		if !ok || h.sequence != r.sequence || uint64(h.bytes) > uint64(len(data)-at) {
			return at, newest, nil
		}
		body := data[at+groupHeaderBytes : at+int(h.bytes)]
		if crc32.Checksum(body, castagnoli) != h.sum {
			return at, newest, nil
		}
		if err := r.take(name, int64(at), h, body); err != nil {
			return at, newest, err
		}
		at, newest = at+int(h.bytes), at
	}
	return at, newest, nil
}

func (r *recovery) take(name string, at int64, h groupHeader, body []byte) error {
	for range h.records {
		e, room, ok := decodeRecord(body)
		if !ok || e.GetIndex() == 0 {
			return &CorruptError{File: name, Offset: at, Reason: "a group is whole but its entries are not"}
		}
		if e.GetType() == markEntry && len(e.GetData()) == markBytes {
			if at := decodePosition(e.GetData()); at.sequence > r.shipped.sequence { // the snapshot may be newer
				r.shipped = at
			}
			body = body[room:]
			continue
		}
		if e.GetType() != raftpb.EntryNormal && e.GetType() != raftpb.EntryConfChangeV2 {
			return fmt.Errorf("entry %d in %q is of type %d, which this program does not know: start the version that wrote it",
				e.GetIndex(), name, e.GetType())
		}
		if e.GetIndex() > r.last+1 || !r.store.append([]*raftpb.Entry{e}) {
			return &CorruptError{File: name, Offset: at, Reason: fmt.Sprintf("entry %d follows entry %d", e.GetIndex(), r.last)}
		}
		r.last = e.GetIndex()
		body = body[room:]
	}
	r.store.hard = h.hard
	r.sequence++
	return nil
}

// laterGroup reports whether data hold the header of a group after the one of that sequence. One
// write is in flight at a time, so a later group proves that this one was durable.
func laterGroup(data []byte, nonce, sequence uint64) bool {
	for at := 0; at+blockBytes <= len(data); at += blockBytes {
		if h, ok := decodeGroupHeader(data[at:], nonce); ok && h.sequence > sequence {
			return true
		}
	}
	return false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
