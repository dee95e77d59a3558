package stream

import (
	"cmp"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/task"
)

// setPartsMax bounds the parts of one object: each is looked up when its commit applies.
const setPartsMax = 2048

// littleEach is the least time between two uploads of less than an eighth of what starts one by its size.
const littleEach = time.Second

// uploader turns durable bytes into committed objects: it decides when, cuts
// all streams at their high watermarks, and commits in order of the cuts.
type uploader struct {
	*base
	appends *appender
	ids     *idLease

	uncut  int64 // durable bytes that no upload has taken
	uncutN int64 // batches of them
	toCut  []*Stream
	round  int        // so many of toCut, from the first on, are being cut
	nudge  task.Timer // a turn, to go on with them, or to look whether a little is to be uploaded
	age    task.Timer // runs from the oldest uncut byte
	due    bool       // it ran out
	cutAt  env.Time   // of the last cut
	queue  []*upload  // in order of cuts; the first is the next to commit
	serial uint64
}

// add counts batches that became durable.
func (u *uploader) add(s *Stream, batches, bytes int64) {
	s.uncut, s.uncutN = s.uncut+bytes, s.uncutN+batches
	u.uncut, u.uncutN = u.uncut+bytes, u.uncutN+batches
	if !s.listed {
		s.listed = true
		u.toCut = append(u.toCut, s)
	}
	if !u.age.Pending() && !u.due {
		u.Loop.Reset(&u.age, u.UploadInterval, u.aged)
	}
}

func (u *uploader) aged() { u.due = true }

// forget takes a stream's bytes out of what is to be uploaded.
func (u *uploader) forget(s *Stream) {
	u.uncut, u.uncutN = u.uncut-s.uncut, u.uncutN-s.uncutN
	s.uncut, s.uncutN = 0, 0
}

// recut makes the next upload of a stream start at from.
func (u *uploader) recut(s *Stream, from int64) {
	u.forget(s)
	s.cut = from
	first, end := s.entries.search(from), s.entries.search(s.highWatermark)
	if first < end && (s.owner != nil || s.handed) && !s.gone {
		u.add(s, int64(end-first), s.entries.bytes(first, end))
	}
}

// hurry uploads soon what a stream that was handed over still owes: its new leader's readers wait for it.
func (u *uploader) hurry(s *Stream) {
	s.handed = true
	u.due = u.due || s.uncut > 0
}

// turnEnd looks, after the events of a turn, whether it is time to upload.
func (u *uploader) turnEnd() {
	if u.uncut == 0 || u.stopping || len(u.queue) >= u.UploadsInFlightMax {
		return
	}
	reason := u.reason()
	if reason == "" {
		return
	}
	u.Telemetry.Hit(reason)
	u.cutAll()
}

// load is what an upload would take of the log cache.
func (u *uploader) load() int64 { return u.uncut + u.uncutN*batchOverhead }

// threshold is the load that starts an upload.
func (u *uploader) threshold() int64 {
	return max(min(u.UploadBytes, u.log.Size()/3), 1)
}

// reason says why to upload now; empty if there is none.
func (u *uploader) reason() string {
	pressed := u.appends.refused || u.log.Used() > u.log.Size()/2
	switch {
	case u.round > 0:
		return "stream upload: rest of a cut"
	case u.load() >= u.threshold():
		return "stream upload: bytes"
	case u.due:
		return "stream upload: age"
	case pressed && (u.load() >= u.threshold()/8 || u.littleHelps()):
		return "stream upload: pressure"
	}
	return ""
}

// littleHelps reports whether to upload little under pressure. An upload that is under way makes more room; and
// where a log is pressed that still grows, or that waits for its commits to be shipped, uploads make none: each
// would only cost its requests.
func (u *uploader) littleHelps() bool {
	wait := littleEach - u.Loop.Now().Sub(u.cutAt)
	if len(u.queue) == 0 && wait > 0 && !u.nudge.Pending() {
		u.Loop.Reset(&u.nudge, wait, func() {})
	}
	return len(u.queue) == 0 && wait <= 0
}

// cutAll takes everything durable into uploads, with each owner's checkpoint as of exactly there (R4).
// Each stream is cut in one turn, but not all in the same one: encoding their checkpoints takes time.
func (u *uploader) cutAll() {
	u.appends.tellOwners()
	u.cutAt = u.Loop.Now()
	if u.round == 0 {
		u.beginRound()
	}
	set, bytes, done := u.newUpload(env.PurposeUpload), 0, 0
	for ; done < u.round && bytes < u.CheckpointBytes; done++ {
		s := u.toCut[done]
		s.listed = false
		if s.uncut == 0 || s.gone || s.owner == nil && !s.handed {
			continue
		}
		to := set
		if s.uncut >= u.OwnObjectBytes {
			to = u.newUpload(env.PurposeOwnObject)
		}
		bytes += to.cut(s)
		u.forget(s)
		if to != set {
			u.enqueue(to)
		} else if set.full() {
			u.enqueue(set)
			set = u.newUpload(env.PurposeUpload)
		}
	}
	u.enqueue(set)
	u.toCut = slices.Delete(u.toCut, 0, done)
	if u.round -= done; u.round > 0 {
		u.Loop.Reset(&u.nudge, 0, func() {})
	}
	u.metrics.uncommitted.Set(u.uncut)
	u.pump()
}

// beginRound makes all that is to be cut one round: what comes later waits for the next, so that no
// stream is cut twice before every other was.
func (u *uploader) beginRound() {
	u.Loop.Stop(&u.age)
	u.due = false
	slices.SortStableFunc(u.toCut, func(a, b *Stream) int { return cmp.Compare(a.id, b.id) })
	u.round = len(u.toCut)
}

func (u *uploader) newUpload(purpose env.Purpose) *upload {
	u.serial++
	return &upload{base: u.base, ids: u.ids, purpose: purpose, serial: u.serial, stored: u.objectStored, settled: u.objectSettled}
}

func (u *uploader) enqueue(w *upload) {
	if len(w.parts) > 0 {
		u.queue = append(u.queue, w)
	}
}

// pump starts as many of the queue's uploads as may be under way.
func (u *uploader) pump() {
	active := 0
	for _, w := range u.queue {
		if w.phase == phaseStored || w.phase == phaseCommitting {
			continue
		}
		if active++; active > u.UploadsInFlightMax {
			return
		}
		if w.phase == phaseCut {
			w.start()
		}
	}
}

func (u *uploader) objectStored(*upload) {
	u.pump()
	u.commitNext()
}

// commitNext commits the oldest upload once it is stored.
func (u *uploader) commitNext() {
	if len(u.queue) > 0 && u.queue[0].phase == phaseStored {
		u.queue[0].commit()
	}
}

// objectSettled runs when the commit of the oldest upload was answered. A part that the image did not
// take is cut again, once no other upload holds the same stream.
func (u *uploader) objectSettled(w *upload) {
	u.metrics.uploaded.Now()
	u.queue = slices.Delete(u.queue, 0, 1)
	for i := range w.parts {
		s := w.parts[i].stream
		s.uploads--
		s.refresh()
		switch end := w.parts[i].end(); {
		case s.dead || s.gone:
			u.Telemetry.Hit("stream upload: a part's stream was deleted meanwhile")
			continue
		case s.committed >= end && s.logStart >= end:
			u.Telemetry.Hit("stream upload: a part was trimmed meanwhile")
			continue
		case s.committed >= end:
			continue
		}
		u.metrics.partsRefused.Add(1)
		u.Telemetry.Hit("stream upload: part refused")
		if s.uploads == 0 {
			u.recut(s, s.committed)
		}
	}
	w.release()
	u.appends.settle()
	u.pump()
	u.commitNext()
}

// halt tries nothing again, for shutdown.
func (u *uploader) halt() {
	for _, w := range u.queue {
		u.Loop.Stop(&w.timer)
	}
	u.Loop.Stop(&u.age)
	u.Loop.Stop(&u.nudge)
}

// uploadPart is one stream's part of an upload.
type uploadPart struct {
	object.Part
	stream     *Stream // nil: of a recovered tail
	bytes      int64
	checkpoint []byte
	block      int // in the object's checkpoints, or -1: the commit carries it
}

func (p *uploadPart) end() int64 { return p.Batches[len(p.Batches)-1].End }

// phase is how far an upload is.
type phase uint8

const (
	phaseCut phase = iota
	phaseStoring
	phaseStored
	phaseCommitting
	phaseDropped // by shutdown
)

// upload is one object from its cut to its commit.
type upload struct {
	*base
	ids      *idLease
	purpose  env.Purpose
	serial   uint64
	tail     bool // of a recovered log
	phase    phase
	parts    []uploadPart
	bytes    int64
	state    int // bytes of checkpoints
	slabs    []*env.Slab
	id       metadata.ObjectID
	built    object.Built
	attempts int // in a row that failed
	damaged  int // settling reads that made no sense
	timer    task.Timer
	began    env.Time
	head     [object.HeaderBytes]byte // lent to a settling read
	// stored runs when the object is surely in the store, settled when its commit was answered and
	// the image says what became of it.
	stored, settled func(*upload)

	// Of a compaction.
	compacting bool
	layout     func(object.Header) object.Built // nil: of the parts
	compose    func(*object.Built) []env.Piece  // nil: the body is put
	giveUp     func(*upload) bool               // whether a failure was the last; nil: none is
}

func (w *upload) full() bool {
	return w.bytes >= w.UploadBytes || len(w.parts) >= setPartsMax || w.state >= w.CheckpointBytes
}

// cut takes everything of a stream up to its high watermark. It returns the size of the checkpoint.
func (w *upload) cut(s *Stream) (checkpointBytes int) {
	first, end := s.entries.search(s.cut), s.entries.search(s.highWatermark)
	p := uploadPart{stream: s, bytes: s.uncut}
	if s.owner != nil {
		p.checkpoint = s.owner.Checkpoint(nil)
	}
	p.Stream, p.LeaderEpoch = uint64(s.id), s.leaderEpoch
	p.Batches = make([]object.Batch, 0, end-first)
	for i := first; i < end; i++ {
		n := s.entries.at(i)
		w.retain(n.slab)
		p.Batches = append(p.Batches, object.Batch{Data: n.data(), Base: n.base, End: n.end(), MaxTimestamp: n.maxTimestamp})
	}
	s.cut = s.highWatermark
	s.uploads++
	w.add(p)
	return len(p.checkpoint)
}

func (w *upload) add(p uploadPart) {
	w.parts = append(w.parts, p)
	w.bytes += p.bytes
	w.state += len(p.checkpoint)
}

// retain keeps a slab for as long as the body borrows it.
func (w *upload) retain(c *cacheSlab) {
	if c.upload != w.serial {
		c.upload = w.serial
		c.slab.Retain()
		w.slabs = append(w.slabs, c.slab)
	}
}

func (w *upload) release() {
	for _, s := range w.slabs {
		s.Release()
	}
	w.slabs, w.built.Body = nil, nil
}

// drop ends an upload that has nothing in flight, for shutdown.
func (w *upload) drop() {
	w.phase = phaseDropped
	w.Loop.Stop(&w.timer)
	w.release()
}
