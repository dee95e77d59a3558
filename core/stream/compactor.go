package stream

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/task"
)

const (
	// compactionScan is how many streams are looked at in a turn.
	compactionScan = 128
	// sparseShare is the part of an object that is in use from which on the object may stay: one in so many.
	sparseShare = 4
	// compactionWait is how long compaction waits before it looks again whether it is in anybody's way.
	compactionWait = 200 * time.Millisecond
)

var compactionRetries = task.BackOff{First: time.Second, Max: 10 * time.Minute}

// compactor merges the small parts of streams that this broker leads into larger ones (see the package comment). It has the
// lowest priority of all: it begins nothing while uploads wait or reads are many, and does a bounded number of things at once.
type compactor struct {
	*base
	streams *streamSet
	appends *appender
	uploads *uploader
	ids     *idLease
	gets    *fetcher // of reads, which go first
	policy  mergePolicy

	due    task.Queue[*Stream] // whose parts changed, each once
	jobs   []*compaction
	nudge  task.Timer
	pass   task.Timer // looks at all streams now and then
	free   env.Time   // when the bandwidth lets the next begin
	serial uint64
	most   int // parts of a stream, in this pass
	sum    int // parts of all streams, in this pass

	// Objects of which little is in use: compaction leaves them to those whose parts are not worth to be merged yet.
	passes uint64
	inUse  map[metadata.ObjectID]usage    // in this pass
	little map[metadata.ObjectID]env.Time // since when; lookups only

	moving      bool // checkpoints of quiet streams
	storeStates func([]object.Checkpoint, func(*StoredStates))
}

// usage is what streams of this broker use of an object.
type usage struct {
	bytes int64
	parts int32 // and checkpoints
}

// ofAll estimates the bytes of an object that are in use by all streams, those of other brokers too: their parts are taken to
// be as large.
func (u usage) ofAll(o *metadata.Object) int64 {
	return u.bytes * int64(max(u.parts, o.Parts)) / int64(u.parts)
}

// note looks at a stream again, since its parts may have changed.
func (c *compactor) note(s *Stream) {
	if c.Compaction.Disabled || s.owner == nil || s.compactDue || c.Compaction.Allowed != nil && !c.Compaction.Allowed() {
		return
	}
	s.compactDue = true
	c.due.Push(s)
	c.pumpIn(0)
}

func (c *compactor) noteAll() {
	for _, s := range c.streams.ordered {
		c.note(s)
	}
}

// start looks at all streams now and then: at those too that could not be compacted when they changed.
func (c *compactor) start() {
	if c.Compaction.Disabled || c.stopping || c.pass.Pending() {
		return
	}
	c.Loop.Reset(&c.pass, c.Compaction.Interval, func() {
		c.metrics.partsMax.Set(int64(c.most))
		c.metrics.parts.Set(int64(c.sum))
		c.weighed()
		c.most, c.sum = 0, 0
		c.moveCheckpoints()
		c.noteAll()
		c.start()
	})
}

// weigh notes what a stream needs of objects, once in a pass.
func (c *compactor) weigh(s *Stream) {
	image, ok := c.Image.Stream(s.id)
	if !ok || s.weighed == c.passes {
		return
	}
	s.weighed = c.passes
	c.sum += len(image.Parts)
	for i := range image.Parts {
		if image.Parts[i].Lost() {
			continue
		}
		c.use(image.Parts[i].Object, image.Parts[i].Bytes)
	}
	if image.Stored.Named() {
		c.use(image.Stored.Object, int64(image.Stored.Bytes))
	}
}

// use notes that a stream needs so many bytes of an object.
func (c *compactor) use(id metadata.ObjectID, bytes int64) {
	u := c.inUse[id]
	c.inUse[id] = usage{u.bytes + bytes, u.parts + 1}
}

// weighed ends a pass that has seen all streams.
func (c *compactor) weighed() {
	if c.due.Len() == 0 && c.passes > 0 {
		little := map[metadata.ObjectID]env.Time{}
		for _, id := range slices.Sorted(maps.Keys(c.inUse)) {
			o, ok := c.Image.Object(id)
			if !ok {
				continue
			}
			if bytes := c.inUse[id].ofAll(o); bytes*sparseShare >= o.Bytes || o.Bytes-bytes < c.Compaction.SparseBytesMin {
				continue
			}
			since, known := c.little[id]
			if !known {
				since = c.Loop.Now()
			}
			little[id] = since
		}
		c.little = little
	}
	c.passes++
	c.inUse = map[metadata.ObjectID]usage{}
}

// sparse implements mergeView.
func (c *compactor) sparse(id metadata.ObjectID) bool {
	since, ok := c.little[id]
	return ok && c.Loop.Now().Sub(since) >= c.Compaction.SparseAge
}

func (c *compactor) pumpIn(d time.Duration) {
	if !c.nudge.Pending() && !c.stopping {
		c.Loop.Reset(&c.nudge, d, c.pump)
	}
}

// pump begins compactions, a slice of all streams at a time.
func (c *compactor) pump() {
	plans := c.policy.planner(c)
	for range compactionScan {
		if c.due.Len() == 0 || len(c.jobs) >= c.Compaction.JobsMax {
			return
		}
		if wait := c.mustWait(); wait > 0 {
			c.pumpIn(wait)
			return
		}
		s := c.due.Pop()
		s.compactDue = false
		if c.consider(s, &plans) {
			break // to begin one is much for a turn
		}
	}
	c.pumpIn(0)
}

// mustWait is how long compaction leaves the store to others, or keeps to its bandwidth.
func (c *compactor) mustWait() time.Duration {
	if len(c.uploads.queue) >= c.UploadsInFlightMax || c.appends.refused || c.gets.busy() {
		c.Telemetry.Hit("stream compaction: waits for others")
		return compactionWait
	}
	return c.free.Sub(c.Loop.Now())
}

// parts are those of a stream that may be compacted now: this broker leads it, also by the image.
func (c *compactor) parts(s *Stream) []metadata.Part {
	if s.owner == nil || s.gone || s.dead || s.compacting || s.compactAfter > c.Loop.Now() {
		return nil
	}
	image, ok := c.Image.Stream(s.id)
	if !ok || !s.leads(image) {
		return nil
	}
	return image.Parts
}

// each implements mergeView.
func (c *compactor) each(first, end metadata.StreamID, visit func(metadata.StreamID, []metadata.Part)) {
	for at := c.streams.search(first); at < len(c.streams.ordered) && c.streams.ordered[at].id < end; at++ {
		if parts := c.parts(c.streams.ordered[at]); parts != nil {
			visit(c.streams.ordered[at].id, contiguous(parts))
		}
	}
}

// contiguous is the first run of parts without a gap: ranges commit independently, and what lies behind a gap waits until it
// is closed.
func contiguous(parts []metadata.Part) []metadata.Part {
	for i := 1; i < len(parts); i++ {
		if parts[i].Start != parts[i-1].End {
			return parts[:i]
		}
	}
	return parts
}

// consider begins a compaction if a stream needs one, and says whether it did.
func (c *compactor) consider(s *Stream, plans *planner) bool {
	c.weigh(s)
	parts := c.parts(s)
	c.most = max(c.most, len(parts))
	parts = contiguous(parts)
	_, large := c.policy.largeParts(parts)
	plan, ok := plans.plan(s.id, parts, large != s.largeParts)
	if !ok {
		s.largeParts = large // until they change there is nothing to join
		return false
	}
	if plan.move {
		c.Telemetry.Hit("stream compaction: a part moves off an object that is little in use")
	}
	c.launch(&plan)
	return true
}

// launch begins one compaction.
func (c *compactor) launch(plan *mergePlan) {
	c.serial++
	j := &compaction{compactor: c, serial: c.serial, join: plan.join}
	for i := range plan.runs {
		run := &plan.runs[i]
		s := c.streams.open[run.stream]
		s.compacting = true
		j.runs = append(j.runs, newCompactedRun(s, run.parts))
	}
	c.reserve(plan)
	c.jobs = append(c.jobs, j)
	j.start()
}

// reserve keeps the bandwidth that a compaction takes: what is rewritten comes and goes. What is joined does not, but for runs that
// turn out to be too small to be copied.
func (c *compactor) reserve(plan *mergePlan) {
	if !plan.join {
		c.charge(plan.bytes())
	}
}

// charge keeps the bandwidth that so many bytes take, which come and go.
func (c *compactor) charge(bytes int64) {
	if c.Compaction.BytesPerSecond <= 0 {
		return
	}
	took := time.Duration(2 * bytes * int64(time.Millisecond) / max(c.Compaction.BytesPerSecond/1000, 1))
	c.free = max(c.free, c.Loop.Now()).Add(took)
}

// ended takes a compaction that is over, and looks at its streams again.
func (c *compactor) ended(j *compaction) {
	c.jobs = slices.DeleteFunc(c.jobs, func(o *compaction) bool { return o == j })
	for _, r := range j.runs {
		r.stream.compacting = false
	}
	for _, r := range j.runs {
		c.note(r.stream)
	}
	c.pumpIn(0)
}

// putOff leaves a stream alone for a while, after a compaction of it that failed.
func (c *compactor) putOff(s *Stream) {
	draw := c.Env.Rand.Uint64("compaction retry", uint64(s.id), uint64(s.compactFailures))
	s.compactAfter = c.Loop.Now().Add(compactionRetries.Wait(s.compactFailures, draw))
	s.compactFailures++
}

// adviseCompaction is what to do about compactions that fail.
const adviseCompaction = "look for lines about the object store, or about the records of that partition; until then the partitions concerned keep more objects than they need"

func (c *compactor) tell(j *compaction, err error) {
	c.metrics.compactionsFailed.Add(1)
	c.lines.Warn(c.Telemetry, "compaction", c.Loop.Now(), "a compaction of objects failed, it is tried again later",
		slog.String("partition", j.runs[0].name()), slog.Int("partitions", len(j.runs)), slog.String("error", err.Error()), slog.String("advice", adviseCompaction))
}

// halt tries nothing again, for shutdown.
func (c *compactor) halt() {
	c.Loop.Stop(&c.nudge)
	c.Loop.Stop(&c.pass)
	for _, j := range c.jobs {
		j.halt()
	}
}

// release gives back what is left once nothing is in flight.
func (c *compactor) release() {
	for _, j := range c.jobs {
		j.release()
	}
	c.jobs = nil
}
