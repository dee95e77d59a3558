package quorum

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"weir/core/env"
	"weir/core/task"
)

const (
	segmentBytesMax = 24 << 20  // a segment takes no further group beyond this
	growBytes       = 256 << 10 // zeros written ahead together with a group, so that few writes grow the file
	fullRetryAfter  = time.Second

	roomLineInterval = 30 * time.Second
)

// segmentLog writes the log: groups one after another into the newest segment, one write at a time.
type segmentLog struct {
	header   segmentHeader // of the newest segment
	name     string
	open     bool
	at       int64  // where the next group goes
	grown    int64  // size of the file
	sequence uint64 // of the next group
	marks    []segmentMark
	first    uint64            // ordinal of the first segment, if there is none yet
	queue    []*raftpb.Message // what raft wants durable, in order
	rotating bool              // no group is written meanwhile

	batch   []*raftpb.Message // in the group being written
	mark    *raftpb.Entry     // goes with it, or nil: how far the log is shipped
	group   groupHeader
	slab    *env.Slab
	op      env.DiskWrite
	writing bool
	stalled bool // writing, but the disk had no room: the timer tries again
	retry   task.Timer
	whole   bool // the newest group only says that everything before it was durable
}

// release gives the group's memory back.
func (l *segmentLog) release() {
	if l.slab != nil {
		l.slab.Release()
		l.slab = nil
	}
}

// shut closes the newest segment.
func (q *Quorum) shut() {
	l := &q.log
	l.release()
	if l.open {
		l.open = false
		q.o.Env.Meta.Close(l.op.File)
	}
}

// newSegment starts a segment; with a full disk it changes nothing. No write may be in flight.
func (q *Quorum) newSegment(f files) error {
	l := &q.log
	ordinal := q.nextSegment()
	h := segmentHeader{
		cluster: q.cluster, node: q.o.Node, ordinal: ordinal, sequence: l.sequence, last: q.store.last(), hard: q.store.hard,
		nonce: q.o.Env.Rand.Uint64("quorum segment nonce", ordinal, uint64(q.o.Env.Clock.WallMillis())),
	}
	name := segmentName(ordinal)
	if err := f.publish(name, h.encode, nil); err != nil {
		return err
	}
	file, size, err := f.open(name, false)
	if err != nil {
		return err
	}
	if l.open {
		q.o.Env.Meta.Close(l.op.File)
	}
	l.header, l.name, l.open, l.at, l.grown, l.whole = h, name, true, blockBytes, size, false
	l.op = env.DiskWrite{File: file, Durable: true, Prepare: l.prepare, Done: q.groupWritten}
	l.marks = append(l.marks, segmentMark{ordinal, h.last})
	return nil
}

// nextSegment is the ordinal of the segment to begin. A snapshot may lie on the disk without one that continues it.
func (q *Quorum) nextSegment() uint64 {
	if n := len(q.log.marks); n > 0 {
		return q.log.marks[n-1].ordinal + 1
	}
	return q.log.first
}

// needsWrite reports whether a storage message has anything that must be durable. How far the log
// is committed goes with the next group: raft finds it out again. But not without a majority of the voters that it knows of: that a change of
// them is committed is written at once. The story: a fifth voter is promoted, all restart without knowing so, and two of the other four
// are lost for good. The three that are left are a majority, and would wait for the dead for ever.
func (q *Quorum) needsWrite(m *raftpb.Message) bool {
	if len(m.GetEntries()) > 0 || m.GetSnapshot() != nil {
		return true
	}
	return m.Term != nil && (m.GetTerm() != q.store.hard.term || m.GetVote() != q.store.hard.vote || q.store.changesUpTo(m.GetCommit()))
}

// settle answers the first storage message at once if everything before it is durable and it has
// nothing to write. It reports whether it did.
func (q *Quorum) settle() bool {
	l := &q.log
	if l.writing || len(l.queue) == 0 || q.needsWrite(l.queue[0]) {
		return false
	}
	m := l.queue[0]
	l.queue = l.queue[1:]
	q.stable(m)
	return true
}

// stable takes a storage message whose content is durable.
func (q *Quorum) stable(m *raftpb.Message) {
	q.store.hard = hardOf(m, q.store.hard)
	if !q.store.append(m.GetEntries()) {
		panic(fmt.Sprintf("quorum: raft left a gap after entry %d", q.store.last()))
	}
	q.respond(m)
}

// writeGroup writes everything that has gathered as one group, unless one is being written.
func (q *Quorum) writeGroup() {
	l := &q.log
	if q.err != nil || l.writing || l.rotating || len(l.queue) == 0 || l.at >= segmentBytesMax && q.closing == nil {
		return
	}
	if m := l.queue[0]; m.GetSnapshot() != nil {
		if !q.snapshots.active && q.holds == 0 {
			l.queue = l.queue[1:]
			q.install(m)
		}
		return
	}
	n := slices.IndexFunc(l.queue, func(m *raftpb.Message) bool { return m.GetSnapshot() != nil })
	if n < 0 {
		n = len(l.queue)
	}
	l.batch, l.queue = l.queue[:n:n], l.queue[n:]
	q.submit()
}

// submit writes the batch. An empty one is a mark: it vouches for the group before it.
func (q *Quorum) submit() {
	l := &q.log
	l.group = groupHeader{nonce: l.header.nonce, sequence: l.sequence, hard: q.store.hard}
	room := groupHeaderBytes
	for _, m := range l.batch {
		l.group.hard = hardOf(m, l.group.hard)
		for _, e := range m.GetEntries() {
			room += recordBytes(e)
			l.group.records++
		}
	}
	if l.mark = nil; q.ship.marked < q.ship.at.sequence {
		l.mark, q.ship.marked = q.ship.at.mark(), q.ship.at.sequence
		room += recordBytes(l.mark)
		l.group.records++
	}
	l.group.bytes = uint32(roundUp(room))
	bytes := roundUp(room)
	if l.at+int64(bytes) > l.grown {
		bytes += growBytes
	}
	l.slab = q.o.Env.Memory.Alloc(bytes)
	l.op.Offset, l.op.Data, l.op.Err = l.at, l.slab.Data[:bytes], nil
	l.writing = true
	q.o.Env.Meta.Write(&l.op)
}

// prepare lays the group into its slab. It runs off the loop, and touches only the slab, the batch
// and the group's header, all lent until the write completes.
func (l *segmentLog) prepare() {
	data := l.op.Data
	at := groupHeaderBytes
	for _, m := range l.batch {
		for _, e := range m.GetEntries() {
			at += encodeRecord(data[at:], e)
		}
	}
	if l.mark != nil {
		at += encodeRecord(data[at:], l.mark)
	}
	clear(data[at:])
	l.group.sum = crc32.Checksum(data[groupHeaderBytes:l.group.bytes], castagnoli)
	l.group.encode(data)
}

// groupWritten takes a completed write.
func (q *Quorum) groupWritten(op *env.DiskWrite) {
	l := &q.log
	if q.err == nil && errors.Is(op.Err, env.ErrDiskFull) {
		q.writeExactly(op.Err)
		return
	}
	l.writing = false
	l.release()
	if op.Err != nil {
		q.fail(fmt.Errorf("write of group %d to %q at %d: %w", l.sequence, l.name, op.Offset, op.Err))
	}
	if q.err != nil {
		return
	}
	q.metrics.roomWaits.Set(0)
	l.at += int64(l.group.bytes)
	l.grown = max(l.grown, op.Offset+int64(len(op.Data)))
	l.sequence++
	l.whole = len(l.batch) == 0
	if l.mark != nil {
		q.ship.durable = l.mark.GetIndex()
	}
	q.snapshots.bytes += int64(l.group.bytes)
	q.metrics.bytes.Add(int64(l.group.bytes))
	q.metrics.groups.Add(1)
	batch := l.batch
	l.batch = nil
	for _, m := range batch {
		q.stable(m)
	}
	q.pump()
}

// writeExactly writes the same group again, without room to grow into; if that was tried, it waits for
// room on the disk first. A full disk definitely promised nothing, so this, unlike any other error, may
// be tried again.
func (q *Quorum) writeExactly(full error) {
	l := &q.log
	exact := len(l.op.Data) == int(l.group.bytes)
	l.op.Data, l.op.Err = l.op.Data[:l.group.bytes], nil
	if !exact {
		q.o.Env.Meta.Write(&l.op)
		return
	}
	q.noRoom(full)
	l.stalled = true
	q.o.Loop.Reset(&l.retry, fullRetryAfter, func() {
		l.stalled = false
		q.o.Env.Meta.Write(&l.op)
	})
}

// noRoom says that the disk is full, and has room made.
func (q *Quorum) noRoom(full error) {
	q.o.Telemetry.Hit("quorum: disk full")
	q.metrics.roomWaits.Set(1)
	q.snapshots.short = true
	q.lines.Warn(q.o.Telemetry, "no room", q.o.Loop.Now(),
		"no room on the metadata disk: free some; until then a start waits, and so do changes to the cluster's metadata", slog.String("error", full.Error()))
	if q.o.Full != nil {
		q.o.Full()
	}
}
