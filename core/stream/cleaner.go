package stream

import (
	"errors"
	"fmt"
	"iter"

	"weir/core/clean"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/task"
	"weir/core/telemetry"
)

const (
	// cleanReadBytes is how much a pass asks the store for at once, beyond one block.
	cleanReadBytes = 4 << 20
	// cleanIndexBytes is what Options.CleanIndexBytes is where it is not set.
	cleanIndexBytes = 128 << 20
	// cleanYieldsMax is how often a pass waits for others before each read.
	cleanYieldsMax = 50
	// cleanBatchBytes bounds what a batch may decompress to while a pass opens it; a larger one stays as it is.
	cleanBatchBytes = 128 << 20
)

// Cleaning is one pass over a stream that is compacted by key.
type Cleaning struct {
	// Plan is that of [Stream.CleanPlan], in the same turn.
	Plan clean.Plan
	// Now is the wall clock and DeleteRetention delete.retention.ms, in milliseconds.
	Now, DeleteRetention int64
	// Producers are the active ones. It is lent until Done.
	Producers map[int64]clean.LastRecord
	// Done runs once the pass ended, unless the engine was shut down. An error leaves what was cleaned before.
	Done func(error)
}

// cleaner runs passes, one at a time: memory, reads and writes of a pass are those of all.
type cleaner struct {
	*base
	ids    *idLease
	reader *Reader
	others *compactor // with which it shares bandwidth

	pause   task.Timer
	running bool
	upload  *upload           // of the object that is under way
	oldest  metadata.ObjectID // of those that are stored, and that a replacement is to name
	wake    func()            // ends the wait of the pass
	metrics cleanMetrics
}

// errBusy: another pass is under way, or objects of the stream are being merged.
var errBusy = errors.New("another compaction is under way")

// SetCleanIndexBytes sets Options.CleanIndexBytes, for the passes to come.
func (e *Engine) SetCleanIndexBytes(bytes int64) {
	e.base.CleanIndexBytes = orDefault(bytes, cleanIndexBytes)
}

// CleanPlan plans a pass over what is committed of the stream, below limit.
func (s *Stream) CleanPlan(limit, now int64, c *clean.Config) clean.Plan {
	image, ok := s.engine.base.Image.Stream(s.id)
	if mayClean := s.engine.base.MayClean; !ok || s.owner == nil || s.compacting || mayClean != nil && !mayClean() {
		return clean.Plan{}
	}
	if _, owed := s.owedElsewhere(0); owed { // the search for what was aborted may lead there
		return clean.Plan{}
	}
	return clean.PlanOf(partsOf(image), max(image.Cleaned, image.LogStart), min(limit, image.CommittedEnd()), now, c)
}

func partsOf(image *metadata.Stream) iter.Seq[clean.Part] {
	return func(yield func(clean.Part) bool) {
		for i := range image.Parts {
			p := &image.Parts[i]
			if !yield(clean.Part{Start: p.Start, End: p.End, Bytes: p.Bytes, Timestamp: p.Newest()}) {
				return
			}
		}
	}
}

// Clean runs a pass. It ends at once with an error while another is under way.
func (s *Stream) Clean(o Cleaning) {
	c := &s.engine.cleaner
	if c.running || c.stopping || s.owner == nil || s.compacting {
		o.Done(errBusy)
		return
	}
	c.running, s.compacting = true, true
	c.Loop.Go("compaction by key", func(p *task.Proc) {
		err := c.run(p, s, &o)
		if errors.Is(err, errMoved) {
			err = nil
		}
		c.running, c.upload, c.oldest, s.compacting = false, nil, 0, false
		s.engine.compactor.note(s)
		if !c.stopping {
			o.Done(err)
		}
	})
}

// run does a pass: it indexes what is dirty, replaces what loses records, and notes how far it came.
func (c *cleaner) run(p *task.Proc, s *Stream, o *Cleaning) error {
	pass := &cleanPass{
		cleaner: c, proc: p, stream: s, plan: o.Plan,
		offsets: clean.NewOffsets(c.CleanIndexBytes),
	}
	if err := pass.index(); err != nil {
		return fmt.Errorf("index the keys of what is dirty: %w", err)
	}
	pass.filter = clean.Filter{
		Offsets: pass.offsets, Now: o.Now, DeleteRetention: o.DeleteRetention, Producers: o.Producers, BatchBytesMax: cleanBatchBytes,
	}
	if err := pass.rewrite(); err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	if err := c.alive(s); err != nil {
		return err
	}
	var err error
	c.await(p, func(wake func()) {
		c.Controller.CleanStream(c.Epoch, s.id, min(pass.offsets.End(), o.Plan.End), func(e error) { err = e; wake() })
	})
	if err != nil {
		return fmt.Errorf("note how far the stream is compacted: %w", err)
	}
	c.Telemetry.Hit("stream clean: a pass ended")
	c.metrics.passes.Add(1)
	c.metrics.passed.Now()
	return nil
}

// await waits as [task.Proc.Await] does, but no longer than the engine runs.
func (c *cleaner) await(p *task.Proc, start func(wake func())) {
	p.Await(func(wake func()) {
		woken := false
		c.wake = func() {
			if !woken {
				woken, c.wake = true, nil
				wake()
			}
		}
		start(c.wake)
	})
}

// halt tries nothing again, for shutdown.
func (c *cleaner) halt() {
	c.Loop.Stop(&c.pause)
	if c.upload != nil {
		c.Loop.Stop(&c.upload.timer)
	}
}

// drop ends the pass that waits for what does not come any more, for shutdown.
func (c *cleaner) drop() {
	if c.upload != nil {
		c.upload.drop()
	}
	if c.wake != nil {
		c.wake()
	}
}

// alive says whether a pass may go on.
func (c *cleaner) alive(s *Stream) error {
	switch {
	case c.stopping:
		return ErrStopped
	case s.owner == nil || s.gone:
		return ErrGone
	}
	return nil
}

// yield leaves the store to others, as long as that does not last, and keeps to the bandwidth that all compaction has.
func (c *cleaner) yield(p *task.Proc) {
	for range cleanYieldsMax {
		wait := c.others.mustWait()
		if wait <= 0 || c.stopping {
			return
		}
		c.await(p, func(wake func()) { c.Loop.Reset(&c.pause, wait, wake) })
	}
}

// fetch reads consecutive blocks of an object, which lie side by side, and has each checked and taken, in order, off the loop.
// take runs once for each block, and only if all are sound.
func (c *cleaner) fetch(p *task.Proc, id metadata.ObjectID, blocks []object.Block, take func(data []byte)) (err error) {
	first, last := &blocks[0], &blocks[len(blocks)-1]
	bytes := int(last.Position - first.Position + int64(last.Bytes))
	c.await(p, func(wake func()) {
		g := &get{urgency: ahead(c.Loop.Now().Add(c.ReadBudget)), purpose: env.PurposeCompaction, object: id, offset: first.Position}
		g.pieces = []*piece{{ // one, whatever the number of blocks: pieces are checked side by side
			get: g, bytes: bytes,
			check: func(data []byte) error { return takeBlocks(blocks, data, take) },
			done: func(slab *env.Slab, e error) {
				if err = e; slab != nil {
					slab.Release()
				}
				wake()
			},
		}}
		c.reader.gets.submit(g)
	})
	c.metrics.bytesRead.Add(int64(bytes))
	c.others.charge(int64(bytes))
	return err
}

// takeBlocks checks blocks that lie side by side, and takes each once all are sound.
func takeBlocks(blocks []object.Block, data []byte, take func(data []byte)) error {
	bytesOf := func(k *object.Block) []byte { return data[k.Position-blocks[0].Position:][:k.Bytes] }
	for i := range blocks {
		if err := blocks[i].Verify(bytesOf(&blocks[i])); err != nil {
			return err
		}
	}
	for i := range blocks {
		take(bytesOf(&blocks[i]))
	}
	return nil
}

// indexOf reads the index of a part.
func (c *cleaner) indexOf(p *task.Proc, s *Stream, part *metadata.Part) (index *heldIndex, err error) {
	c.await(p, func(wake func()) {
		c.reader.indexes.with(s.id, part, c.Loop.Now().Add(c.ReadBudget), func(x *heldIndex, e error) {
			index, err = x, e
			wake()
		})
	})
	if index == nil && err == nil {
		err = c.alive(s)
	}
	return index, err
}

// abortedIn returns the aborted transactions that overlap the offsets [from, to), which lie below the last stable offset.
func (c *cleaner) abortedIn(p *task.Proc, s *Stream, from, to int64) (got Fetched) {
	got.Err = ErrStopped
	c.await(p, func(wake func()) {
		q := &abortedSearch{stream: s, at: from, deadline: s.stored.deadline(), done: func(f Fetched) { got = f; wake() }}
		q.From, q.To = from, to
		q.next()
	})
	return got
}

type cleanMetrics struct {
	passes, bytesRead, bytesWritten, unopened env.Counter
	passed                                    telemetry.LastSuccess
}

func newCleanMetrics(t *telemetry.Registry, clock env.Clock) cleanMetrics {
	return cleanMetrics{
		passes:       t.Counter("weir_clean_passes_total", "passes over compacted partitions that came to their end"),
		bytesRead:    t.Counter("weir_clean_read_bytes_total", "bytes read from the store to compact by key"),
		bytesWritten: t.Counter("weir_clean_written_bytes_total", "bytes of batches written to the store by compaction by key"),
		unopened:     t.Counter("weir_clean_unopened_batches_total", "batches that compaction by key left as they are because they do not open, or to too many bytes"),
		passed:       t.LastSuccess(clock, "clean", "when a pass over a compacted partition last came to its end"),
	}
}
