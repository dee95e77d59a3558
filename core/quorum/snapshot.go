package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/task"
)

const (
	segmentsMax      = 16 // each start begins a segment: a snapshot is due beyond this many
	roomRetryAfter   = 10 * time.Second
	snapshotBytesMax = 4 << 30
)

// snapshotState is when the next snapshot is due, and whether one is being written.
type snapshotState struct {
	bytes   int64 // of log since the newest one
	pending *pendingSnapshot
	active  bool       // a proc begins a segment or writes a snapshot
	noRoom  task.Timer // pending: the disk had no room for a snapshot
	short   bool       // the disk was full: a snapshot would let older segments be removed
}

// pendingSnapshot waits until the log up to it is shipped: until then its entries must stay, since
// they are what a start compares with the store.
type pendingSnapshot struct {
	shippable
	bytes int64 // of log until then
}

func (q *Quorum) snapshotDue() bool {
	entries := int64(q.applied - q.store.index)
	return entries > 0 && q.snapshots.pending == nil &&
		(q.snapshots.bytes >= q.o.SnapshotBytes || entries >= q.o.SnapshotEntries || len(q.log.marks) > segmentsMax || q.snapshots.short && len(q.log.marks) > 1)
}

// snapshotReady reports whether a snapshot may be written now.
func (q *Quorum) snapshotReady() bool {
	p := q.snapshots.pending
	return p != nil && q.Shipped() >= p.index
}

// maintain begins a new segment when the newest is full, and takes a snapshot when one is due. It is
// called with every turn, so that it finds a moment between two writes.
func (q *Quorum) maintain() {
	s, l := &q.snapshots, &q.log
	due := q.snapshotDue() && !s.noRoom.Pending()
	ready := q.snapshotReady() && !s.noRoom.Pending()
	segment := due || l.at >= segmentBytesMax
	if s.active || q.opened != nil || q.closing != nil || l.writing || l.retry.Pending() || !segment && !ready {
		return
	}
	s.active, l.rotating = true, segment
	q.busy++
	q.o.Loop.Go("maintain quorum log", func(p *task.Proc) {
		f := files{p, q.o.Env}
		var err error
		if segment {
			err = q.newSegment(f)
			l.rotating = false
			q.maintained(err, &l.retry, fullRetryAfter)
		}
		if due && err == nil && q.live() {
			q.captureSnapshot(p)
		}
		if err == nil && q.live() && q.snapshotReady() {
			q.maintained(q.takeSnapshot(f), &s.noRoom, roomRetryAfter)
		}
		s.active = false
		q.busy--
	})
}

// captureSnapshot encodes the machine's state as of the last entry applied.
func (q *Quorum) captureSnapshot(p *task.Proc) {
	bytes := q.snapshots.bytes
	captured := q.capture(p)
	if q.err != nil {
		return
	}
	q.snapshots.pending = &pendingSnapshot{shippable: captured, bytes: bytes}
	if q.o.Shipping != ShipNever {
		q.AwaitShipped(captured.index, func() {})
	}
}

// capture is the machine's state as of the last entry applied. A large one takes long to encode, so that is done off the
// loop, and what is committed meanwhile is applied after it. Messages, writes and reads go on.
func (q *Quorum) capture(p *task.Proc) shippable {
	term, err := q.store.Term(q.applied)
	if err != nil {
		panic(fmt.Sprintf("quorum: the term of applied entry %d is unknown: %v", q.applied, err))
	}
	s := shippable{index: q.applied, term: term, members: q.store.members, first: q.ship.at.sequence + 1}
	q.holds++
	p.Await(func(wake func()) {
		q.o.Env.Compute.Submit(&env.Compute{
			Class: env.ComputeTail, // all that is committed meanwhile waits for it
			Work: func() {
				s.data = q.o.Machine.AppendSnapshot(nil)
				s.sum = checksum(s.data)
			},
			Done: func(*env.Compute) { wake() },
		})
	})
	q.release()
	return s
}

// maintained handles the end of a step of maintenance. Without room nothing was lost: the log goes on
// as it was, and the step is tried again when retry fires.
func (q *Quorum) maintained(err error, retry *task.Timer, after time.Duration) {
	switch {
	case err == nil || q.err != nil:
	case !errors.Is(err, env.ErrDiskFull):
		q.fail(err)
	default:
		q.o.Telemetry.Hit("quorum: no room to maintain")
		q.lines.Warn(q.o.Telemetry, "no room to maintain", q.o.Loop.Now(),
			"no room on the metadata disk for a new log segment or snapshot; free some", slog.String("error", err.Error()))
		if q.o.Full != nil {
			q.o.Full()
		}
		if q.closing == nil {
			q.o.Loop.Reset(retry, after, func() {})
		}
	}
}

// takeSnapshot writes the snapshot that is pending, then gives up the log and the snapshot before it.
func (q *Quorum) takeSnapshot(f files) error {
	p, before := q.snapshots.pending, q.store.index
	h := snapshotHeader{
		cluster: q.cluster, node: q.o.Node, member: q.id, index: p.index, term: p.term, members: p.members,
		segment: segmentFor(q.log.marks, p.index), shipped: q.ship.at,
	}
	if err := publishSummed(f, &h, p.data, p.sum); err != nil {
		if errors.Is(err, env.ErrDiskFull) {
			return errors.Join(err, f.remove(snapshotName(p.index)+temporary))
		}
		return err
	}
	q.ship.durable = max(q.ship.durable, h.shipped.sequence)
	q.store.compact(p.index, p.term)
	q.snapshots.pending = nil
	q.snapshots.bytes -= p.bytes
	q.snapshots.short = false
	q.metrics.snapshots.Add(1)
	q.metrics.snapshotBytes.Set(int64(len(p.data)))
	q.o.Telemetry.Hit("quorum: snapshot")
	if q.o.Shipping != ShipNever && q.ships() {
		q.ship.upload = &p.shippable
	}
	return q.giveUp(f, before, h.segment)
}

// segmentFor is the newest segment from which on every entry after index is read.
func segmentFor(marks []segmentMark, index uint64) uint64 {
	ordinal := marks[0].ordinal
	for _, m := range marks {
		if m.last <= index {
			ordinal = m.ordinal
		}
	}
	return ordinal
}

// giveUp removes the snapshot and the segments that a newer snapshot replaces, the oldest first.
func (q *Quorum) giveUp(f files, snapshot, segment uint64) error {
	if err := f.remove(snapshotName(snapshot)); err != nil {
		return err
	}
	for q.log.marks[0].ordinal < segment {
		if err := f.remove(segmentName(q.log.marks[0].ordinal)); err != nil {
			return err
		}
		q.log.marks = q.log.marks[1:]
	}
	return nil
}

// publishSnapshot writes a snapshot of the data, whole or not at all.
func publishSnapshot(f files, h *snapshotHeader, data []byte) error {
	return publishSummed(f, h, data, checksum(data))
}

// publishSummed is publishSnapshot of data whose sum is known.
func publishSummed(f files, h *snapshotHeader, data []byte, sum uint32) error {
	if len(data) > snapshotBytesMax {
		return fmt.Errorf("the metadata of %d bytes are larger than a snapshot may be", len(data))
	}
	h.bytes, h.sum = uint64(len(data)), sum
	return f.publish(snapshotName(h.index), h.encode, data)
}

// clean removes what crashes of earlier incarnations left: files that were never finished, and
// those that the newest snapshot replaced.
func (q *Quorum) clean(f files, inv inventory, h snapshotHeader) error {
	names := inv.temps
	if inv.founding {
		names = append(names, foundingName)
	}
	for _, index := range inv.snapshots {
		if index < h.index {
			names = append(names, snapshotName(index))
		}
	}
	for _, ordinal := range inv.segments {
		if ordinal < h.segment {
			names = append(names, segmentName(ordinal))
		}
	}
	for _, name := range names {
		if err := f.remove(name); err != nil {
			return err
		}
	}
	return nil
}
