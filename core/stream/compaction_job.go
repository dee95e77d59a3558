package stream

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

const (
	compactionTriesMax = 6        // of each step, before the compaction is given up
	compactionGets     = 4        // in flight of one compaction
	spanBytesMax       = 4 << 20  // of one GET, unless a block is larger
	spanGapMax         = 64 << 10 // that is read to spare a GET
)

// compaction makes runs of parts of some streams one part each, in one new object: it reads their indexes, then their blocks
// (or has the store copy them), puts the object, and replaces the parts (R3a). At most one is at work on a
// stream. What a crash interrupts leaves nothing but an object that nobody refers to, which dies by R20.
type compaction struct {
	*compactor
	serial uint64
	join   bool
	runs   []*compactedRun

	spans  []*span // being read
	asked  int
	flying int
	err    error
	then   func() // once all are read

	extents  []object.Extent // of a join
	upload   *upload
	attempts int // of the replacement
}

// compactedRun is a run of a stream's parts that become one.
type compactedRun struct {
	stream  *Stream
	sources []compactedPart
}

// compactedPart is one of them, with what was read of it.
type compactedPart struct {
	part    metadata.Part
	index   *object.Index
	batches [][]object.Batch // by block
}

func newCompactedRun(s *Stream, parts []metadata.Part) *compactedRun {
	r := &compactedRun{stream: s, sources: make([]compactedPart, len(parts))}
	for i := range parts {
		r.sources[i].part = parts[i]
	}
	return r
}

func (r *compactedRun) parts() []metadata.Part {
	parts := make([]metadata.Part, len(r.sources))
	for i := range r.sources {
		parts[i] = r.sources[i].part
	}
	return parts
}

func (r *compactedRun) name() string {
	if r.stream.owner == nil {
		return fmt.Sprintf("stream %d", r.stream.id)
	}
	return r.stream.owner.String()
}

// leaderEpoch is that of the newest source.
func (r *compactedRun) leaderEpoch() int32 { return r.sources[len(r.sources)-1].part.LeaderEpoch }

// wanted is a run of bytes that is wanted of an object.
type wanted struct {
	run           *compactedRun
	object        metadata.ObjectID
	offset, bytes int64
	take          func(data []byte) error // runs off the loop
}

// span is what one GET reads: runs of bytes that lie near each other.
type span struct {
	object        metadata.ObjectID
	offset, bytes int64
	wanted        []wanted
	slab          *env.Slab
	attempts      int
	waiting       waits
	err           error
}

// start reads the indexes.
func (j *compaction) start() {
	j.Telemetry.Hit("stream compaction: begun")
	var all []wanted
	for _, r := range j.runs {
		for i := range r.sources {
			s := &r.sources[i]
			all = append(all, wanted{r, s.part.Object, s.part.IndexOffset, int64(s.part.IndexBytes), func(data []byte) error { return s.readIndex(r.stream.id, data) }})
		}
	}
	j.read(all, j.indexed)
}

func (s *compactedPart) readIndex(id metadata.StreamID, data []byte) error {
	index, err := object.ParseIndex(data)
	if err != nil {
		return err
	}
	if !isIndexOf(index, id, &s.part) {
		return object.ErrDamaged
	}
	s.index, s.batches = index, make([][]object.Batch, len(index.Blocks))
	return nil
}

// indexed goes on once the indexes are there.
func (j *compaction) indexed() {
	j.dropSpans()
	if j.join {
		j.lay()
		return
	}
	var all []wanted
	for _, r := range j.runs {
		for i := range r.sources {
			s := &r.sources[i]
			for k := range s.index.Blocks {
				b := &s.index.Blocks[k]
				all = append(all, wanted{r, s.part.Object, b.Position, int64(b.Bytes), func(data []byte) error {
					s.batches[k] = nil // a try before this one may have come so far
					return b.Open(data, func(h *record.Header, data []byte) {
						s.batches[k] = append(s.batches[k], object.Batch{Data: data, Base: h.BaseOffset, End: h.NextOffset(), MaxTimestamp: h.MaxTimestamp})
					})
				}})
			}
		}
	}
	j.read(all, j.store)
}

// read reads all that is wanted, and goes on with then.
func (j *compaction) read(all []wanted, then func()) {
	j.spans, j.asked, j.then = spansOf(all), 0, then
	j.pumpReads()
}

// spansOf gathers what lies near each other in an object.
func spansOf(all []wanted) (spans []*span) {
	slices.SortStableFunc(all, func(a, b wanted) int { return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.offset, b.offset)) })
	for _, w := range all {
		if n := len(spans); n > 0 {
			last := spans[n-1]
			end := max(last.offset+last.bytes, w.offset+w.bytes)
			if last.object == w.object && w.offset-(last.offset+last.bytes) <= spanGapMax && end-last.offset <= spanBytesMax {
				last.bytes = end - last.offset
				last.wanted = append(last.wanted, w)
				continue
			}
		}
		spans = append(spans, &span{object: w.object, offset: w.offset, bytes: w.bytes, wanted: []wanted{w}})
	}
	return spans
}

func (j *compaction) pumpReads() {
	for j.err == nil && j.asked < len(j.spans) && j.flying < compactionGets {
		j.asked++
		j.flying++
		j.get(j.spans[j.asked-1])
	}
}

// get reads a span into memory of its own.
func (j *compaction) get(s *span) {
	if s.slab == nil {
		s.slab = j.Env.Memory.Alloc(int(s.bytes))
	}
	j.begin()
	j.metrics.compactionReads.Add(1)
	j.Env.Store.Get(&env.GetObject{
		For: env.PurposeCompaction, Key: object.Key(j.Cluster, uint64(s.object)), Offset: s.offset, Into: s.slab.Data[:s.bytes],
		Done: func(op *env.GetObject) { j.got(s, op) },
	})
}

func (j *compaction) got(s *span, op *env.GetObject) {
	defer j.end()
	j.health.answered(op.Outcome)
	switch {
	case j.stopping:
	case op.Outcome == env.OutcomeRefused:
		j.lost(s, errNoObject)
	case op.Outcome != env.OutcomeDone:
		j.again(s, op.Err)
	case int64(op.N) < s.bytes:
		j.health.damaged.Add(1)
		j.again(s, fmt.Errorf("%d of %d bytes came", op.N, s.bytes))
	default:
		j.metrics.compactionBytesRead.Add(s.bytes)
		j.verify(s)
	}
}

// verify checks what came, off the loop.
func (j *compaction) verify(s *span) {
	j.begin()
	j.Env.Compute.Submit(&env.Compute{
		Class: env.ComputeCompaction,
		Work:  func() { s.err = s.take() },
		Done: func(*env.Compute) {
			defer j.end()
			switch {
			case j.stopping:
			case s.err != nil:
				j.health.damaged.Add(1)
				j.again(s, s.err)
			default:
				j.arrived()
			}
		},
	})
}

func (s *span) take() error {
	for i := range s.wanted {
		w := &s.wanted[i]
		at := w.offset - s.offset
		if err := w.take(s.slab.Data[at : at+w.bytes : at+w.bytes]); err != nil {
			return err
		}
	}
	return nil
}

func (j *compaction) arrived() {
	j.flying--
	switch {
	case j.err != nil:
		j.giveUp()
	case j.asked == len(j.spans) && j.flying == 0:
		j.then()
	default:
		j.pumpReads()
	}
}

// again reads a span once more after a back-off, a few times.
func (j *compaction) again(s *span, err error) {
	if s.attempts++; s.attempts >= compactionTriesMax || j.err != nil {
		j.lost(s, fmt.Errorf("read object %s: %w", object.Key(j.Cluster, uint64(s.object)), err))
		return
	}
	s.waiting.loop = j.Loop
	s.waiting.later(j.health.backoff("compaction read retry", uint64(s.object), s.attempts), func() {
		switch {
		case j.stopping:
		case j.err != nil:
			j.arrived()
		default:
			j.get(s)
		}
	})
}

// lost gives the compaction up for what a span could not be read, and leaves its streams alone for a while.
func (j *compaction) lost(s *span, err error) {
	if j.err == nil {
		j.err = err
		for i := range s.wanted {
			if of := s.wanted[i].run.stream; of.compactAfter <= j.Loop.Now() {
				j.putOff(of)
			}
		}
	}
	j.flying--
	j.giveUp()
}

// giveUp ends a compaction that failed once nothing of it is in flight.
func (j *compaction) giveUp() {
	if j.flying > 0 {
		return
	}
	j.Telemetry.Hit("stream compaction: failed")
	if !errors.Is(j.err, errNoObject) || j.current() { // else the parts were replaced, or trimmed, meanwhile
		j.tell(j, j.err)
	}
	j.release()
	j.ended(j)
}

// current reports whether all sources are still parts of their streams.
func (j *compaction) current() bool {
	for _, r := range j.runs {
		image, ok := j.Image.Stream(r.stream.id)
		if !ok {
			return false
		}
		for i := range r.sources {
			p := &r.sources[i].part
			if at, ok := partAt(image.Parts, p.Start); !ok || image.Parts[at].Object != p.Object {
				return false
			}
		}
	}
	return true
}

// store uploads what was read as one object.
func (j *compaction) store() {
	w := j.newUpload()
	for _, r := range j.runs {
		p := uploadPart{Part: object.Part{Stream: uint64(r.stream.id), LeaderEpoch: r.leaderEpoch()}}
		p.Sparse, p.Start = true, r.sources[0].part.Start // it may be compacted by key
		for i := range r.sources {
			for _, batches := range r.sources[i].batches {
				p.Batches = append(p.Batches, batches...)
			}
		}
		w.add(p)
	}
	for _, s := range j.spans {
		w.slabs = append(w.slabs, s.slab)
		s.slab = nil
	}
	j.spans = nil
	w.start()
}

func (j *compaction) newUpload() *upload {
	j.upload = &upload{
		base: j.base, ids: j.ids, purpose: env.PurposeCompaction, compacting: true, stored: j.stored, settled: func(*upload) {},
		giveUp: func(w *upload) bool {
			if w.attempts < compactionTriesMax {
				return false
			}
			j.failed(errors.New("its object could not be put"))
			return true
		},
	}
	return j.upload
}

// lay has the store join what the indexes name.
func (j *compaction) lay() {
	parts := make([]object.JoinedPart, len(j.runs))
	for i, r := range j.runs {
		parts[i] = object.JoinedPart{Stream: uint64(r.stream.id), LeaderEpoch: r.leaderEpoch()}
		for k := range r.sources {
			parts[i].Sources = append(parts[i].Sources, r.sources[k].index)
		}
	}
	j.extents = extentsOf(parts)
	j.charge(j.sent())
	w := j.newUpload()
	w.layout = func(h object.Header) object.Built { return object.Join(h, j.extents, parts) }
	w.compose = j.pieces
	w.start()
}

// sent is how many bytes of a join pass through the broker: those of runs that are too small to be copied.
func (j *compaction) sent() (bytes int64) {
	for i := range j.extents {
		if x := &j.extents[i]; x.Bytes < j.policy.joinBytesMin {
			bytes += x.Bytes
		}
	}
	return bytes
}

// extentsOf are the runs of bytes in which the blocks of parts lie, by object and place. Little that nobody needs is taken
// along: what is joined must not be sparse again.
func extentsOf(parts []object.JoinedPart) (extents []object.Extent) {
	var all []object.Extent
	for i := range parts {
		for _, index := range parts[i].Sources {
			for k := range index.Blocks {
				all = append(all, object.Extent{Object: index.Object, Position: index.Blocks[k].Position, Bytes: int64(index.Blocks[k].Bytes)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b object.Extent) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Position, b.Position))
	})
	for _, x := range all {
		if n := len(extents); n > 0 && extents[n-1].Object == x.Object && x.Position-(extents[n-1].Position+extents[n-1].Bytes) <= min(spanGapMax, x.Bytes/8) {
			extents[n-1].Bytes = x.Position + x.Bytes - extents[n-1].Position
			continue
		}
		extents = append(extents, x)
	}
	return extents
}

// pieces are what the store makes the object of: the header, the runs, and the indexes.
func (j *compaction) pieces(built *object.Built) []env.Piece {
	pieces := []env.Piece{{Data: built.Body[0]}}
	for _, x := range j.extents {
		pieces = append(pieces, env.Piece{Key: object.Key(j.Cluster, x.Object), Offset: x.Position, Bytes: x.Bytes})
	}
	return append(pieces, env.Piece{Data: built.Body[1]})
}

// stored goes on once the object is surely in the store.
func (j *compaction) stored(w *upload) {
	j.metrics.compactedObjects.Add(1)
	if !j.join {
		j.metrics.compactionBytesWritten.Add(w.built.Header.Bytes)
	}
	w.release()
	j.replace()
}

// replace proposes to replace the sources by what the object has of them. The image refuses that for what this broker does not
// lead any more.
func (j *compaction) replace() {
	w := j.upload
	w.phase = phaseCommitting
	streams := make([]metadata.Replacement, len(j.runs))
	for i, r := range j.runs {
		info := &w.built.Parts[i]
		streams[i] = metadata.Replacement{Stream: r.stream.id, Parts: []metadata.Part{{
			Object: w.id, Start: info.Start, End: info.End, LeaderEpoch: info.LeaderEpoch, MaxTimestamp: mergedTimestamp(r.parts()),
			Bytes: info.Bytes, IndexOffset: info.IndexPosition, IndexBytes: info.IndexBytes,
		}}}
		for k := range r.sources {
			p := &r.sources[k].part
			streams[i].Sources = append(streams[i].Sources, metadata.Source{Object: p.Object, Start: p.Start, End: p.End})
		}
	}
	j.Controller.Replace(j.Epoch, []metadata.NewObject{{ID: w.id, Bytes: w.built.Header.Bytes}}, streams, j.replaced)
}

// replaced takes the answer. An error leaves open whether the record will apply; to ask again is safe, since
// a replacement that comes second is refused.
func (j *compaction) replaced(accepted []bool, err error) {
	if j.stopping {
		return
	}
	if err != nil {
		j.Telemetry.Hit("stream compaction: replacement failed")
		if j.attempts++; j.attempts >= compactionTriesMax || errors.Is(err, metadata.ErrNotPrepared) {
			j.failed(err)
			return
		}
		j.Loop.Reset(&j.upload.timer, j.health.backoff("compaction commit retry", j.serial, j.attempts), j.replace)
		return
	}
	for i, r := range j.runs {
		r.stream.compactFailures = 0
		if accepted[i] {
			j.metrics.compactedParts.Add(int64(len(r.sources)))
			continue
		}
		j.Telemetry.Hit("stream compaction: sources were not current any more")
		j.metrics.partsRefused.Add(1)
	}
	j.metrics.compacted.Now()
	if j.join {
		j.Telemetry.Hit("stream compaction: joined")
	} else {
		j.Telemetry.Hit("stream compaction: rewritten")
	}
	j.ended(j)
}

// failed gives the compaction up once its object was to be put: all its streams are left alone for a while.
func (j *compaction) failed(err error) {
	j.err = err
	for _, r := range j.runs {
		if r.stream.compactAfter <= j.Loop.Now() {
			j.putOff(r.stream)
		}
	}
	j.giveUp()
}

func (j *compaction) dropSpans() {
	for _, s := range j.spans {
		if s.slab != nil {
			s.slab.Release()
			s.slab = nil
		}
	}
	j.spans = nil
}

// halt tries nothing again, for shutdown.
func (j *compaction) halt() {
	for _, s := range j.spans {
		s.waiting.end()
	}
	if j.upload != nil {
		j.Loop.Stop(&j.upload.timer)
	}
}

// release gives back all memory; nothing is in flight.
func (j *compaction) release() {
	j.dropSpans()
	if j.upload != nil {
		j.upload.drop()
	}
}
