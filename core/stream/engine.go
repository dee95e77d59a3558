package stream

import (
	"fmt"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/telemetry"
	"weir/core/wal"
)

// base is what the parts of an engine stand on: what the engine was given, and what they count together.
type base struct {
	Options
	operations
	health  *storeHealth
	metrics metrics
	log     *wal.Log           // nil until UseLog
	lines   *telemetry.Limiter // about commits that fail
}

// Engine is all streams of one broker incarnation, over one WAL and one store.
// It is called on the loop only.
type Engine struct {
	base      base
	streams   streamSet
	trimmer   trimmer
	appends   appender
	ids       idLease
	uploads   uploader
	recovered recoveredLogs
	owed      owedReads
	reader    *Reader
	compactor compactor
	cleaner   cleaner

	checkpoints checkpoints
	states      []*StoredStates // that records may still name
	scratch     []byte          // of AppendSummary
}

// NewEngine returns an engine without a WAL: recover old ones first
// ([Engine.RecoverLog]), then give it its own ([Engine.UseLog]).
func NewEngine(o Options) *Engine {
	o = o.resolve()
	health := newStoreHealth(o.Env.Rand, o.Telemetry)
	e := &Engine{base: base{
		Options: o, health: health, metrics: newMetrics(o.Telemetry, o.Env.Clock), lines: telemetry.NewLimiter(lostLineInterval),
	}}
	e.streams.open = make(map[metadata.StreamID]*Stream)
	e.trimmer = trimmer{base: &e.base, streams: &e.streams}
	e.appends = appender{base: &e.base, trimmer: &e.trimmer, onSpace: func() {}}
	e.appends.flush = e.appends.tellOwners
	e.ids.base = &e.base
	e.uploads = uploader{base: &e.base, appends: &e.appends, ids: &e.ids}
	e.recovered = recoveredLogs{base: &e.base, notes: &e.appends.cache.tails, offerRoom: e.appends.offerRoom, again: waits{loop: o.Loop}}
	e.recovered.uploads = tailUploader{base: &e.base, logs: &e.recovered, ids: &e.ids}
	e.owed = owedReads{base: &e.base, streams: &e.streams, recovered: &e.recovered, quiet: make(map[metadata.BrokerEpoch]env.Time)}
	e.reader = newReader(ReaderOptions{
		Loop: o.Loop, Env: o.Env, Telemetry: o.Telemetry, Image: o.Image, Cluster: o.Cluster,
		BlockCacheBytes: o.BlockCacheBytes, GetsInFlightMax: o.GetsInFlightMax, ReadBudget: o.ReadBudget,
	}, health)
	e.appends.began, e.appends.took = e.reader.appending, e.reader.appended
	e.checkpoints = newCheckpoints(&e.base, &e.reader.gets)
	e.checkpoints.tails = e.recovered.settle
	e.recovered.checkpoints, e.recovered.uploads.checkpoints = &e.checkpoints, &e.checkpoints
	e.compactor = compactor{
		base: &e.base, streams: &e.streams, appends: &e.appends, uploads: &e.uploads, ids: &e.ids, gets: &e.reader.gets, policy: o.Compaction.policy(),
	}
	e.compactor.storeStates = e.StoreStates
	e.cleaner = cleaner{base: &e.base, ids: &e.ids, reader: e.reader, others: &e.compactor, metrics: newCleanMetrics(o.Telemetry, o.Env.Clock)}
	o.Loop.OnTurnEnd(e.uploads.turnEnd)
	return e
}

// UseLog gives the engine the log of its own epoch, before any stream is opened.
// The engine owns it from now on: Shutdown closes it.
func (e *Engine) UseLog(l *wal.Log) {
	e.base.log = l
	l.OnSpace(e.appends.spaceCame)
}

// AppendBytesMax is the largest batch that Append takes.
func (e *Engine) AppendBytesMax() int { return e.base.log.AppendBytesMax() }

// OnSpace sets the function that runs when appends may be tried again.
func (e *Engine) OnSpace(f func()) { e.appends.onSpace = f }

// Open opens the stream's newest range, which the image says this incarnation
// owns. What lies below its start is read from the store and from recovered WALs.
func (e *Engine) Open(id metadata.StreamID, leaderEpoch int32, owner Owner) *Stream {
	image, ok := e.base.Image.Stream(id)
	if !ok {
		panic(fmt.Sprintf("stream: open of stream %d, which the image does not have", id))
	}
	r, ok := rangeOf(image, leaderEpoch)
	if !ok || r.BrokerEpoch != e.base.Epoch || r.End >= 0 || e.streams.open[id] != nil {
		panic(fmt.Sprintf("stream: open of stream %d at leader epoch %d, which is not this epoch's or open already", id, leaderEpoch))
	}
	start := committedOf(r)
	s := &Stream{
		engine: e, id: id, leaderEpoch: leaderEpoch, owner: owner, stored: e.reader.Log(id, owner), start: r.Start,
		reach: reach{from: start}, committed: start, cut: start, highWatermark: start, end: start, pinnedFrom: start, logStart: image.LogStart,
	}
	s.stored.cached = s.inCache
	s.entries.pool = &e.appends.cache.entries
	e.streams.add(s)
	e.checkpoints.forget(id)
	e.compactor.note(s)
	e.compactor.start()
	return s
}

// Close gives a stream up (topic deleted, leadership lost, shutdown). Its owner
// hears nothing more. What it left uncommitted stays in the WAL, for recovery,
// until the image says that the stream is gone or the range committed.
func (e *Engine) Close(id metadata.StreamID) {
	s := e.streams.open[id]
	if s == nil {
		return
	}
	delete(e.streams.open, id)
	s.stored.Close()
	s.owner = nil
	if s.handedOver() {
		e.streams.leave(&e.base)
		e.uploads.hurry(s)
	} else {
		e.uploads.forget(s)
	}
	if s.refresh() {
		e.appends.settleSoon()
	}
}

// StreamsChanged tells the engine which streams the records that were applied changed: it looks at no
// other.
func (e *Engine) StreamsChanged(ids []metadata.StreamID) {
	moved := false
	for _, id := range ids {
		if e.streams.refresh(id) {
			moved = true
		}
		if s := e.streams.open[id]; s != nil {
			e.compactor.note(s)
		}
		e.checkpoints.refresh(id)
	}
	e.recovered.refreshOf(ids)
	if moved {
		e.appends.settle()
	}
}

// ImageChanged tells the engine that records were applied, whatever they changed.
func (e *Engine) ImageChanged() {
	moved := e.streams.refreshAll()
	e.recovered.refresh()
	e.compactor.noteAll()
	e.checkpoints.refreshAll()
	if moved {
		e.appends.settle()
	}
}

// ImageShipped tells the engine that more of the image is in the object store: log space
// that it had freed may be given up.
func (e *Engine) ImageShipped() {
	if e.base.log == nil || e.base.stopping || e.base.Shipping == nil {
		return
	}
	e.trimmer.trimShipped()
	e.appends.offerRoom()
	e.recovered.refresh() // the image may have records of which nobody was told yet
}

// RecoverLog reads the log of an ended broker epoch and keeps, for reading and upload, what the image
// says that epoch owns, has not committed, and this one is to commit, unless the engine has it already. The image must be as new as the end of that epoch, and
// logs are recovered in order of their epochs. into gets each kept batch, and the summaries between them;
// what it got counts only if done gets no error. done gets the ends of the epoch's
// open ranges, for the record that closes them (R3). Errors mean damage to acknowledged data, or a
// device that fails: the broker must not start as if nothing were missing. A log of which nothing is
// owed any more is removed unread (R3), once the record that freed it is shipped: what it holds, damage included,
// matters to nobody. Without into the states are known, and logs may be read in any order; if the image says where all of those ranges end, they may be
// read while the rest of the log is still looked at.
func (e *Engine) RecoverLog(name string, epoch metadata.BrokerEpoch, into Replayer, done func(ends []metadata.RangeEnd, err error)) {
	e.recovered.recover(name, epoch, into, done)
}

// RecoverEnds finds the ends of an ended broker epoch's open ranges, and their states into into, by the newest summary of its log
// and what follows: it takes as long for a log that holds much. Nothing of it can be read then: RecoverLog is to follow, once the
// ranges are sealed. An error says that this log must be read whole to know; into is worth nothing then.
func (e *Engine) RecoverEnds(name string, epoch metadata.BrokerEpoch, into Replayer, done func(ends []metadata.RangeEnd, err error)) {
	e.recovered.recoverEnds(name, epoch, into, done)
}

// Lacks reports whether there is something of an ended epoch's log that the image has this epoch commit, and that the engine neither has read
// nor reads now. It looks at every stream.
func (e *Engine) Lacks(ended metadata.BrokerEpoch) bool { return len(e.recovered.lacking(ended)) > 0 }

// HasTail reports whether a range of an ended epoch was read from that one's log, or is being read.
func (e *Engine) HasTail(id metadata.StreamID, leaderEpoch int32) bool {
	return e.recovered.has(id, leaderEpoch)
}

// UploadTails uploads what it can of the recovered logs although the engine has none of its own yet: those of
// ranges that are sealed. It is called now and then while the log's disk has no room for one, and when the
// log of another broker was recovered.
func (e *Engine) UploadTails() { e.recovered.refresh() }

// ObjectFloor is the lowest leased id that may still be committed: what lies below and is not in the
// image never will be. Zero: none was leased yet.
func (e *Engine) ObjectFloor() metadata.ObjectID {
	floor := e.ids.next
	for _, w := range e.uploads.queue {
		if w.id != 0 {
			floor = min(floor, w.id)
		}
	}
	if w := e.recovered.uploads.upload; w != nil && w.id != 0 {
		floor = min(floor, w.id)
	}
	for _, j := range e.compactor.jobs {
		if j.upload != nil && j.upload.id != 0 {
			floor = min(floor, j.upload.id)
		}
	}
	for _, s := range e.states {
		if s.upload.id != 0 {
			floor = min(floor, s.upload.id)
		}
	}
	if w := e.cleaner.upload; w != nil && w.id != 0 {
		floor = min(floor, w.id)
	}
	if id := e.cleaner.oldest; id != 0 {
		floor = min(floor, id)
	}
	return floor
}
