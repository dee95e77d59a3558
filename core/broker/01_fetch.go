// Fetch (1), versions 4-18: isolation levels (KIP-98), the log start (KIP-107, version 5), sessions (KIP-227, 7), the client's
// leader epoch (KIP-320, 9), zstd (KIP-110, 10), racks (KIP-392, 11), diverging epochs (KIP-595, 12), topic ids (KIP-516, 13),
// the state of replicas (KIP-903, 15), the new leader (KIP-951, 16), directories of replicas (KIP-853, 17), their high
// watermark (KIP-1166, 18).
//
// Differences from Kafka: batches are whole, where Kafka cuts the last one at a byte limit; no preferred read replica is
// named, and a follower's fetch gets NOT_LEADER_OR_FOLLOWER, because there are no replicas; an aborted transaction that began
// in an earlier object of the store is listed from its first batch in the one that is read on; a session id that no shard of Kafka's cache has is an unknown session, where Kafka
// answers UNKNOWN_SERVER_ERROR; records in responses that clients do not read are bounded (held_answers.go).

package broker

import (
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	fetchEpochs       = 9
	fetchLastEpochs   = 12
	fetchReplicaState = 15
	fetchGraceMax     = 10 * time.Second // for reads still under way when the wait is over
	fetchReadsMax     = 16               // reads under way at once, for one request
	fetchUnknownEpoch = -1
	fetchHeavyParts   = 1000 // of a request from which on its own memory counts as that of answers does
	fetchTargetBytes  = 300  // about, of a fetchTarget
)

// fetching is a Fetch request under way. It reads every partition that has
// something; if that is less than the client's minimum, it lets go, waits for
// high watermarks to move, and reads again.
type fetching struct {
	plane     *dataPlane
	exchange  exchange
	version   int16
	minBytes  int64
	maxBytes  int
	deadline  env.Time
	isolation partition.Isolation
	follower  bool // it comes from a broker that replicates, of which weir has none
	byID      bool
	opens     bool          // a session is to be opened with the answer
	session   *fetchSession // of an incremental fetch
	targets   []fetchTarget
	timer     task.Timer
	round     int // of reads; those of an earlier one are dropped when they arrive
	reading   int
	issuing   bool
	waiting   bool
	watching  bool // the targets are watched since they were looked at last
	negative  bool // a byte limit below zero
	full      bool // answers not taken leave no room for records
	posted    bool
	need      int64 // bytes to wait for
	ended     bool
	gone      bool        // the connection closed
	patience  env.Time    // until when partitions on the move are waited for; 0: none was met
	lent      *heldAnswer // counts a heavy request while it is under way
}

// fetchTarget is one partition of a fetch.
type fetchTarget struct {
	fetchPart            // as asked
	kept      *fetchPart // in the session, of an incremental fetch
	partition *partition.Partition
	code      wire.Code
	diverging divergingEpoch
	watch     partition.Watch
	read      stream.Fetched
	arrived   bool
	late      bool // read took its time: if it cannot be sent now, it is kept for the next fetch
}

// absent reports whether there is no such partition.
func (t *fetchTarget) absent() bool {
	return t.code == wire.UnknownTopicOrPartition || t.code == wire.UnknownTopicID
}

// fetch answers a Fetch request.
func (d *dataPlane) fetch(x exchange, r *kmsg.FetchRequest) {
	f := &fetching{
		plane: d, exchange: x, version: x.version(),
		minBytes: int64(r.MinBytes), maxBytes: min(int(max(r.MaxBytes, 0)), d.fetchMaxBytes),
		deadline:  d.loop.Now().Add(time.Duration(max(r.MaxWaitMillis, 0)) * time.Millisecond),
		isolation: isolationOf(r.IsolationLevel), byID: x.version() >= fetchTopicIDs,
		follower: replicaOf(r) >= 0, negative: r.MaxBytes < 0,
	}
	parts := fetchPartsOf(r, f.byID)
	x.releaseFrame()
	if !knownIsolation(r.IsolationLevel) {
		f.refuse(r, parts)
		return
	}
	if code := f.enter(r, parts); code != wire.None {
		f.fail(code)
		return
	}
	if n := len(f.targets); n > fetchHeavyParts {
		f.lent = d.held.add(x, int64(n)*fetchTargetBytes, d.loop.Now())
	}
	x.onGone(f.cancel)
	f.start()
}

// knownIsolation reports whether a level is one of Kafka's, which answers UNKNOWN_SERVER_ERROR to any other.
func knownIsolation(level int8) bool { return level == 0 || level == 1 }

// isolationOf reads the field of Fetch and ListOffsets.
func isolationOf(level int8) partition.Isolation {
	if level == 1 {
		return partition.ReadCommitted
	}
	return partition.ReadUncommitted
}

// enter finds the session of the request and the partitions to serve.
func (f *fetching) enter(r *kmsg.FetchRequest, parts []fetchPart) wire.Code {
	sessions, now := f.plane.sessions, f.plane.loop.Now()
	if f.version < fetchSessionsFrom || r.SessionEpoch == sessionEpochFinal || r.SessionEpoch == sessionEpochInitial {
		if s := sessions.byID[r.SessionID]; s != nil && r.SessionID != 0 {
			sessions.drop(s)
		}
		f.opens = f.version >= fetchSessionsFrom && r.SessionEpoch == sessionEpochInitial
		f.targets = make([]fetchTarget, len(parts))
		for i := range parts {
			f.targets[i].fetchPart = parts[i]
		}
		return wire.None
	}
	s, code := sessions.resume(r.SessionID, r.SessionEpoch, f.byID, parts, forgottenOf(r, f.byID), now)
	if code != wire.None {
		return code
	}
	if len(s.parts) == 0 {
		sessions.drop(s)
		return wire.None
	}
	f.session = s
	f.targets = make([]fetchTarget, 0, len(s.parts))
	for p := s.first; p != nil; p = p.next {
		f.targets = append(f.targets, fetchTarget{fetchPart: *p, kept: p})
	}
	return wire.None
}

// start reads, in order, what each partition has, as far as the byte limit goes.
// A read that does not end at once counts for nothing yet, so that a cold
// partition does not hold up the others; what is too much in the end stays in the
// cache for the next fetch. One partition at least is read beside the late reads.
func (f *fetching) start() {
	f.round++
	f.issuing = true
	held := &f.plane.held
	f.full = held.full(f.exchange)
	if f.full {
		held.relieve(f.exchange, f.plane.loop.Now())
	}
	left, issued := held.room(f.exchange, f.maxBytes), false
	for i := range f.targets {
		t := &f.targets[i]
		f.look(t)
		if f.readable(t) && !f.full && f.takeLate(t) {
			left -= t.read.Bytes
		}
	}
	for i := range f.targets {
		t := &f.targets[i]
		if t.late || !f.readable(t) {
			continue
		}
		if f.full || (left <= 0 && issued) || f.reading >= fetchReadsMax {
			continue
		}
		issued = true
		f.read(t, min(int(max(t.maxBytes, 0)), max(left, 0)))
		left -= t.read.Bytes
	}
	f.issuing = false
	if f.reading == 0 {
		f.readAll()
		return
	}
	if f.minBytes > 1 {
		f.watch() // what comes while reads are under way counts if there is to be a wait
	}
	f.plane.loop.Reset(&f.timer, f.deadline.Sub(f.plane.loop.Now()), f.late)
}

// readable reports whether a target that was looked at has records to read.
func (f *fetching) readable(t *fetchTarget) bool {
	return t.code == wire.None && !t.diverging.known && t.offset < t.partition.ReadableEnd(f.isolation)
}

func (f *fetching) lateKey(t *fetchTarget) lateKey {
	return lateKey{partition: t.partition, offset: t.offset, isolation: f.isolation}
}

// takeLate takes what an earlier fetch asked for and was answered without.
func (f *fetching) takeLate(t *fetchTarget) bool {
	t.read, t.late = f.plane.late.take(f.lateKey(t))
	t.arrived = t.late
	return t.late
}

// giveBack lets go of a target's read. One that took its time is kept for the next fetch.
func (f *fetching) giveBack(t *fetchTarget) {
	if t.late && !f.gone {
		f.plane.late.add(f.lateKey(t), t.read)
	} else {
		t.read.Release()
	}
	t.read, t.arrived, t.late = stream.Fetched{}, false, false
}

// look finds the target's partition and checks epoch and offset.
func (f *fetching) look(t *fetchTarget) {
	t.diverging = divergingEpoch{}
	if f.byID {
		t.partition, t.code = f.plane.partitions.ByID(t.id, t.index)
	} else {
		t.partition, t.code = f.plane.partitions.ByName(t.name, t.index)
	}
	if t.code == wire.UnknownTopicID && t.kept != nil && t.kept.foundAs != "" {
		t.code = f.goneCode(t.kept)
	}
	if t.code != wire.None {
		return
	}
	p := t.partition
	if t.code = p.Serves(); t.code != wire.None {
		return
	}
	if f.follower {
		t.code = wire.NotLeaderOrFollower
		return
	}
	// A negative epoch is none here, whichever it is.
	if t.code = p.CheckEpoch(max(t.leaderEpoch, partition.UndefinedEpoch)); t.code != wire.None {
		return
	}
	if t.lastFetchedEpoch >= 0 {
		epoch, end := p.EpochEnd(t.lastFetchedEpoch)
		if epoch == partition.UndefinedEpoch {
			t.code = wire.OffsetOutOfRange
			return
		}
		if epoch < t.lastFetchedEpoch || end < t.offset {
			t.diverging = divergingEpoch{known: true, epoch: epoch, end: end}
			return
		}
	}
	if t.offset < p.LogStart() || t.offset > p.LogEnd() {
		t.code = wire.OffsetOutOfRange
		return
	}
	if f.readable(t) && (f.negative || t.maxBytes < 0) {
		t.code = wire.UnknownServerError // as in Kafka
	}
}

func (f *fetching) read(t *fetchTarget, limit int) {
	f.reading++
	round, key := f.round, f.lateKey(t)
	t.partition.Read(t.offset, limit, f.isolation, func(got stream.Fetched) {
		if f.gone || f.round != round {
			got.Release()
			return
		}
		if f.ended {
			f.plane.late.add(key, got)
			return
		}
		f.reading--
		t.read, t.arrived, t.late = got, true, !f.issuing
		if got.Err != nil {
			t.code = wire.KafkaStorageError
			if t.offset < t.partition.LogStart() {
				t.code = wire.OffsetOutOfRange
			}
		}
		if f.issuing {
			return
		}
		if f.reading == 0 || f.expired() {
			f.readAll()
		}
	})
}

func (f *fetching) expired() bool { return f.plane.loop.Now() >= f.deadline }

// late runs when the wait is over and reads are still under way: what has arrived
// is answered. If nothing has, the first arrival is waited for, within a bound.
func (f *fetching) late() {
	for i := range f.targets {
		if f.targets[i].read.Bytes > 0 {
			f.answer()
			return
		}
	}
	if over := f.plane.loop.Now().Sub(f.deadline); over < fetchGraceMax {
		f.plane.loop.Reset(&f.timer, fetchGraceMax-over, f.late)
		return
	}
	f.answer()
}

// readAll decides, with all that was read, whether to answer or to wait.
func (f *fetching) readAll() {
	f.plane.loop.Stop(&f.timer)
	bytes, settled := int64(0), len(f.targets) == 0
	for i := range f.targets {
		t := &f.targets[i]
		bytes += int64(t.read.Bytes)
		settled = settled || t.code != wire.None || t.diverging.known
	}
	if settled || bytes >= f.minBytes || f.expired() {
		f.answer()
		return
	}
	f.drop()
	f.wait(f.minBytes - bytes)
}

// drop lets go of what was read.
func (f *fetching) drop() {
	for i := range f.targets {
		f.giveBack(&f.targets[i])
	}
}

// wait waits until that many bytes more are readable than when the targets were looked at, something closes, or the
// time is over.
func (f *fetching) wait(need int64) {
	f.waiting, f.need = true, need
	if f.watching {
		f.moved()
	} else {
		f.watch()
	}
	left := f.deadline.Sub(f.plane.loop.Now())
	if f.full {
		left = min(left, heldRetry)
	}
	f.plane.loop.Reset(&f.timer, left, f.resume)
}

// watch watches the targets for what becomes readable from now on.
func (f *fetching) watch() {
	f.watching = true
	moved := f.moved
	for i := range f.targets {
		t := &f.targets[i]
		if t.code == wire.None {
			t.watch.Moved = moved
			t.partition.Watch(&t.watch, f.isolation)
		}
	}
}

// moved looks once after all the moves of an event.
func (f *fetching) moved() {
	if !f.posted {
		f.posted = true
		f.plane.loop.Post(f.check)
	}
}

func (f *fetching) check() {
	f.posted = false
	if !f.waiting {
		return
	}
	bytes := int64(0)
	for i := range f.targets {
		t := &f.targets[i]
		if !t.watch.Watching() {
			f.resume()
			return
		}
		bytes += t.watch.Bytes()
	}
	if bytes >= f.need {
		f.resume()
	}
}

// resume ends the wait and reads again.
func (f *fetching) resume() {
	if !f.expired() {
		f.dropOutgrown()
	}
	f.unwatch()
	f.start()
}

// dropOutgrown lets go of late reads of partitions that have more by now: all of it is read again.
func (f *fetching) dropOutgrown() {
	for i := range f.targets {
		t := &f.targets[i]
		if t.watch.Bytes() == 0 {
			continue
		}
		if got, ok := f.plane.late.take(f.lateKey(t)); ok {
			got.Release()
		}
	}
}

func (f *fetching) unwatch() {
	f.waiting, f.watching = false, false
	f.plane.loop.Stop(&f.timer)
	for i := range f.targets {
		f.targets[i].watch.Unwatch()
	}
}

// cancel ends a fetch whose connection is gone.
func (f *fetching) cancel() {
	if f.ended {
		return
	}
	f.ended, f.gone = true, true
	f.giveBackTargets()
	f.unwatch()
	f.drop()
}

// giveBackTargets ends the counting of a heavy request.
func (f *fetching) giveBackTargets() {
	if f.lent != nil {
		f.plane.held.done(f.lent)
		f.lent = nil
	}
}

// fail answers with an error for the whole request.
func (f *fetching) fail(code wire.Code) {
	f.ended = true
	a := &fetchAnswer{version: f.version, code: code}
	f.exchange.reply(a.encode, nil)
}

// refuse answers that the server does not understand the request: by partition before topics had ids.
func (f *fetching) refuse(r *kmsg.FetchRequest, parts []fetchPart) {
	f.ended = true
	a := &fetchAnswer{version: f.version, code: wire.UnknownServerError, session: r.SessionID}
	for i := range parts {
		if !f.byID {
			a.addPart(parts[i].name, parts[i].id, fetchPartAnswer{
				index: parts[i].index, code: wire.UnknownServerError, highWatermark: -1, lastStable: -1, logStart: -1, absent: true,
			})
		}
	}
	f.exchange.reply(a.encode, nil)
}

// answer sends what was read, within the byte limits: the first batches that there
// are go out whatever their size, later ones only if they fit, into the answer and
// into what the client takes of their partition. Late reads come first. They have a
// first of their own: else they would starve a partition whose batches are larger
// than the client takes of it, and that never needs a late read.
func (f *fetching) answer() {
	if f.awaitMoves() {
		return
	}
	f.ended = true
	f.giveBackTargets()
	f.unwatch()
	a := &fetchAnswer{version: f.version, committed: f.isolation == partition.ReadCommitted, parts: make([]fetchPartAnswer, 0, len(f.targets))}
	if f.opens {
		f.open()
	}
	if f.session != nil {
		a.session = f.session.id
	}
	held := &f.plane.held
	left, bytes, full := held.room(f.exchange, f.maxBytes), 0, held.full(f.exchange)
	for _, late := range []bool{true, false} {
		first := true
		for i := range f.targets {
			t := &f.targets[i]
			if t.late != late || t.read.Bytes == 0 {
				continue
			}
			if full || !first && (bytes+t.read.Bytes > left || t.read.Bytes > int(t.maxBytes)) {
				f.giveBack(t)
				continue
			}
			first = false
			bytes += t.read.Bytes
			t.partition.Served(t.read.Bytes)
		}
	}
	// Partitions that are not there come last, as in Kafka.
	for _, absent := range []bool{false, true} {
		for i := range f.targets {
			if t := &f.targets[i]; t.absent() == absent {
				f.add(a, t)
			}
		}
	}
	if len(a.parts) > smallParts {
		bytes += len(a.parts) * fetchPartBytes
	}
	if bytes == 0 {
		f.exchange.reply(a.encode, a.release)
		return
	}
	lent := held.add(f.exchange, int64(bytes), f.plane.loop.Now())
	f.exchange.reply(a.encode, func() {
		held.done(lent)
		a.release()
	})
}

// open makes a session of a full fetch's partitions.
func (f *fetching) open() {
	parts := make([]fetchPart, len(f.targets))
	for i := range f.targets {
		parts[i] = f.targets[i].fetchPart
	}
	f.session = f.plane.sessions.open(parts, f.byID, f.plane.loop.Now())
	if f.session == nil {
		return
	}
	for i := range f.targets {
		f.targets[i].kept = f.session.parts[f.targets[i].fetchKey]
	}
}

// add puts a target's part into the answer. An incremental answer has only what
// has data, an error, or news.
func (f *fetching) add(a *fetchAnswer, t *fetchTarget) {
	p := f.partAnswer(t)
	incremental := f.session != nil && !f.opens
	if t.kept != nil {
		news := p.bytes > 0 || p.code != wire.None || p.diverging.known ||
			p.highWatermark != t.kept.sentHighWatermark || p.logStart != t.kept.sentLogStart
		// After an error these are -1, so that its end is news.
		t.kept.sentHighWatermark, t.kept.sentLogStart = p.highWatermark, p.logStart
		if t.partition != nil {
			t.kept.foundAs = t.partition.Name
		}
		if incremental && p.bytes > 0 {
			f.session.toEnd(t.kept)
		}
		if incremental && !news {
			return
		}
	}
	if p.leader.known && !f.follower {
		a.nodes = f.plane.addNode(a.nodes, p.leader, f.exchange.listener())
	}
	a.addPart(t.name, t.id, p)
	a.slabs = append(a.slabs, t.read.Slabs...)
	t.read.Slabs = nil
}

// addPart adds a part to the last topic, or to a new one.
func (a *fetchAnswer) addPart(name string, id metadata.TopicID, p fetchPartAnswer) {
	a.parts = append(a.parts, p)
	if n := len(a.topics); n > 0 && a.topics[n-1].name == name && a.topics[n-1].id == id {
		a.topics[n-1].end = len(a.parts)
		return
	}
	a.topics = append(a.topics, fetchTopicAnswer{name: name, id: id, first: len(a.parts) - 1, end: len(a.parts)})
}

func (f *fetching) partAnswer(t *fetchTarget) fetchPartAnswer {
	if t.code == wire.None && !t.diverging.known {
		t.code = t.partition.Serves()
	}
	p := fetchPartAnswer{index: t.index, code: t.code, highWatermark: -1, lastStable: -1, logStart: -1, diverging: t.diverging, absent: t.absent()}
	if t.code != wire.None {
		t.read.Release()
		t.read = stream.Fetched{}
		if f.version >= fetchHints && hinted(t.code) {
			p.leader = f.plane.hint(f.byID, t.id, t.name, t.index)
		}
		return p
	}
	p.highWatermark, p.lastStable, p.logStart = t.partition.HighWatermark(), t.partition.LastStable(), t.partition.LogStart()
	p.batches, p.bytes, p.aborted = t.read.Batches, t.read.Bytes, t.read.Aborted
	return p
}
