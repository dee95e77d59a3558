package broker

import (
	"time"

	"weir/core/env"
	"weir/core/partition"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/telemetry"
)

const (
	// lateKeep is how long a late read waits for the next fetch of its partition.
	lateKeep = 10 * time.Second
	// latePart is the part, as a divisor, of the room for answers that late reads may hold.
	latePart = 4
	// lateBytesDefault bounds late reads where answers are not bounded.
	lateBytesDefault = 64 << 20
)

// lateReads keeps reads that arrived after their fetch was answered, until the next fetch from the same
// offset takes them. Without it a client with a short wait would never see a partition whose reads
// are slow, such as one in the object store, while its other partitions have data at once: each fetch
// would be answered without that partition, and the block cache may not keep what came for it.
//
// A late read goes first into the next answer. What is kept is bounded by bytes and by time; when there is
// no room a new late read is dropped, so that those that are kept are delivered.
type lateReads struct {
	loop        *task.Loop
	limit       int64
	bytes       int64
	reads       map[lateKey]*lateRead
	first, last *lateRead // in the order of arrival
	timer       task.Timer
	closed      bool
	served      *telemetry.Mark
}

// lateKey is what a fetch must ask for to get a late read. A partition that is opened again is another one.
type lateKey struct {
	partition *partition.Partition
	offset    int64
	isolation partition.Isolation
}

type lateRead struct {
	lateKey
	read           stream.Fetched
	expires        env.Time
	previous, next *lateRead
}

func newLateReads(loop *task.Loop, heldLimit int64, served *telemetry.Mark) lateReads {
	limit := heldLimit / latePart
	if heldLimit == 0 {
		limit = lateBytesDefault
	}
	return lateReads{loop: loop, limit: limit, reads: make(map[lateKey]*lateRead), served: served}
}

// add keeps a read, or releases it.
func (l *lateReads) add(key lateKey, read stream.Fetched) {
	_, have := l.reads[key]
	full := l.bytes > 0 && l.bytes+int64(read.Bytes) > l.limit
	if l.closed || have || full || read.Err != nil || read.Bytes == 0 {
		read.Release()
		return
	}
	r := &lateRead{lateKey: key, read: read, expires: l.loop.Now().Add(lateKeep), previous: l.last}
	if l.last == nil {
		l.first = r
		l.loop.Reset(&l.timer, lateKeep, l.expire)
	} else {
		l.last.next = r
	}
	l.last = r
	l.reads[key] = r
	l.bytes += int64(read.Bytes)
}

// take returns the late read of a key; the caller releases it.
func (l *lateReads) take(key lateKey) (stream.Fetched, bool) {
	r := l.reads[key]
	if r == nil {
		return stream.Fetched{}, false
	}
	l.served.Hit()
	l.remove(r)
	return r.read, true
}

func (l *lateReads) remove(r *lateRead) {
	delete(l.reads, r.lateKey)
	l.bytes -= int64(r.read.Bytes)
	if r.previous == nil {
		l.first = r.next
	} else {
		r.previous.next = r.next
	}
	if r.next == nil {
		l.last = r.previous
	} else {
		r.next.previous = r.previous
	}
	if l.first == nil {
		l.loop.Stop(&l.timer)
	}
}

// expire drops what no fetch came for.
func (l *lateReads) expire() {
	now := l.loop.Now()
	for l.first != nil && l.first.expires <= now {
		r := l.first
		l.remove(r)
		r.read.Release()
	}
	if l.first != nil {
		l.loop.Reset(&l.timer, l.first.expires.Sub(now), l.expire)
	}
}

// close drops everything, for good.
func (l *lateReads) close() {
	l.closed = true
	for l.first != nil {
		r := l.first
		l.remove(r)
		r.read.Release()
	}
}
