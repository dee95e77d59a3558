package stream

import (
	"errors"

	"weir/core/clean"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
	"weir/core/task"
)

// cleanPass is a pass under way.
type cleanPass struct {
	*cleaner
	proc    *task.Proc
	stream  *Stream
	plan    clean.Plan
	offsets *clean.Offsets
	filter  clean.Filter

	group cleanGroup
}

// index reads the keys of what is dirty, until their table is full.
func (c *cleanPass) index() error {
	x := clean.Indexer{Offsets: c.offsets, From: c.plan.Dirty, BatchBytesMax: cleanBatchBytes}
	full := false
	for at := max(c.plan.Dirty, c.stream.LogStart()); at < c.plan.End && !full; at = max(at, c.stream.LogStart()) {
		part, err := c.stream.stored.partFor(at)
		if err != nil {
			return err
		}
		if part.Lost() {
			at = part.End
			continue
		}
		end := min(part.End, c.plan.End) // it may have been joined with what comes behind, whose transactions may be open
		err = c.walk(&part, at, end, x.Begin, func(data []byte) {
			for !full && len(data) > 0 {
				h, _ := record.ReadHeader(data)
				full = h.BaseOffset >= end || !x.Add(data[:h.Bytes])
				data = data[h.Bytes:]
			}
		}, func() error {
			if full {
				return errFull
			}
			return nil
		})
		if err != nil && err != errFull {
			return err
		}
		at = end
	}
	return nil
}

// errFull ends the reading of keys.
var errFull = errors.New("there is no room for more keys")

// walk hands the blocks of a part that hold the offsets [from, end) to take, off the loop, in order, and calls read on the loop after
// each few. begin gets the aborted transactions of what comes, before.
func (c *cleanPass) walk(part *metadata.Part, from, end int64, begin func([]object.AbortedTransaction), take func(data []byte), read func() error) error {
	if err := c.alive(c.stream); err != nil {
		return err
	}
	index, err := c.indexOf(c.proc, c.stream, part)
	if err != nil {
		return c.unless(part, err)
	}
	got := c.abortedIn(c.proc, c.stream, max(from, c.stream.LogStart()), end)
	if got.Err != nil {
		return c.unless(part, got.Err)
	}
	begin(got.Aborted)
	i, _ := index.Find(from)
	for i < len(index.Blocks) && index.Blocks[i].First < end {
		c.yield(c.proc)
		if err := c.alive(c.stream); err != nil {
			return err
		}
		n := runOf(index.Blocks[i:])
		if err := c.fetch(c.proc, part.Object, index.Blocks[i:i+n], take); err != nil {
			return c.unless(part, err)
		}
		if err := c.alive(c.stream); err != nil {
			return err
		}
		if err := read(); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// errMoved ends a pass of which a source was trimmed or replaced meanwhile. The next one begins with what is there then.
var errMoved = errors.New("a part was trimmed or replaced meanwhile")

// unless returns the error of reading a part, or errMoved if that is why.
func (c *cleanPass) unless(part *metadata.Part, err error) error {
	if !errors.Is(err, errNoObject) && !errors.Is(err, ErrTrimmed) {
		return err
	}
	if now, e := c.stream.stored.partFor(part.End - 1); e == nil && now.Object == part.Object && part.Start >= c.stream.LogStart() {
		return err
	}
	c.Telemetry.Hit("stream clean: a part was moved meanwhile")
	return errMoved
}

// runOf is how many of the first blocks are read at once: those that lie side by side.
func runOf(blocks []object.Block) int {
	n, bytes := 1, int64(blocks[0].Bytes)
	for n < len(blocks) && blocks[n].Follows(&blocks[n-1]) && bytes+int64(blocks[n].Bytes) <= cleanReadBytes {
		bytes += int64(blocks[n].Bytes)
		n++
	}
	return n
}

// rewrite goes through the whole log up to the end of the pass, and replaces groups of parts by what stays of them.
func (c *cleanPass) rewrite() error {
	for at := int64(-1); at < c.end(); {
		part, err := c.next(at)
		if err != nil {
			return err
		}
		if part.Lost() || !c.group.takes(&part, c.CleanObjectBytes) {
			if err := c.flush(); err != nil {
				return err
			}
		}
		at = part.End
		if part.Lost() {
			continue
		}
		if part.Bytes > c.CleanObjectBytes {
			changes, err := c.changes(&part)
			if err != nil {
				return err
			}
			if !changes {
				continue
			}
		}
		if err := c.clean(&part); err != nil {
			return err
		}
	}
	return c.flush()
}

// end is where the pass ends: parts that begin there or behind it are left alone.
func (c *cleanPass) end() int64 { return min(c.offsets.End(), c.plan.End) }

// next finds the first part that ends above an offset, which lies below the end of the pass.
func (c *cleanPass) next(at int64) (metadata.Part, error) {
	image, ok := c.Image.Stream(c.stream.id)
	if !ok {
		return metadata.Part{}, ErrGone
	}
	i, _ := partAt(image.Parts, at)
	if i == len(image.Parts) || image.Parts[i].End > c.plan.End {
		return metadata.Part{}, errMoved // it was trimmed, or merged with what comes behind
	}
	return image.Parts[i], nil
}

// changes reports whether a part would lose anything. A part of several objects is read for that first: else what stays as it is
// would be written for nothing.
func (c *cleanPass) changes(part *metadata.Part) (bool, error) {
	probe, seen, logStart := c.filter.Clone(), cleanGroup{}, c.stream.LogStart()
	err := c.walk(part, part.Start, part.End, probe.Begin, func(data []byte) {
		if !seen.changed {
			seen.filter(&probe, data, logStart)
			seen.batches = nil
		}
	}, func() error {
		if seen.changed {
			return errChanges
		}
		return nil
	})
	if err == errChanges {
		return true, nil
	}
	if err == nil {
		c.filter = probe
	}
	return false, err
}

// errChanges ends the search for a change.
var errChanges = errors.New("the part changes")

// clean filters a part into the group.
func (c *cleanPass) clean(part *metadata.Part) error {
	g, logStart := &c.group, c.stream.LogStart()
	g.sources = append(g.sources, *part)
	return c.walk(part, part.Start, part.End, c.filter.Begin, func(data []byte) { g.filter(&c.filter, data, logStart) }, func() error {
		c.metrics.unopened.Add(g.unopened)
		g.unopened = 0
		if g.bytes < c.CleanObjectBytes {
			return nil
		}
		return c.store(g.batches[len(g.batches)-1].End)
	})
}

// flush replaces the parts of the group by what stays of them. A group that lost nothing stays as it is.
func (c *cleanPass) flush() error {
	g := &c.group
	defer func() { *g, c.oldest = cleanGroup{}, 0 }()
	if !g.changed {
		return nil
	}
	end := g.sources[len(g.sources)-1].End
	if g.start() < end {
		g.fill(end)
		if err := c.store(end); err != nil {
			return err
		}
	}
	return c.replace()
}

// store puts what was gathered up to an offset into an object.
func (c *cleanPass) store(end int64) error {
	g := &c.group
	w := &upload{base: c.base, ids: c.ids, purpose: env.PurposeCompaction, compacting: true}
	part := uploadPart{bytes: g.bytes}
	part.Stream, part.LeaderEpoch = uint64(c.stream.id), g.sources[0].LeaderEpoch
	part.Batches, part.Sparse, part.Start = g.batches, true, g.start()
	w.add(part)
	c.upload = w
	c.await(c.proc, func(wake func()) {
		w.stored = func(*upload) { wake() }
		w.start()
	})
	if w.phase != phaseStored {
		return ErrStopped
	}
	info := w.commitPart(0).Part
	if info.MaxTimestamp < 0 {
		info.MaxTimestamp = metadata.UntimedAt(newestOf(g.sources))
	}
	if len(g.objects) == 0 {
		c.oldest = w.id
	}
	g.parts = append(g.parts, info)
	g.objects = append(g.objects, metadata.NewObject{ID: w.id, Bytes: w.built.Header.Bytes})
	c.metrics.bytesWritten.Add(g.bytes)
	g.batches, g.bytes = nil, 0
	return c.alive(c.stream)
}

// newestOf is the time of the newest record of parts, or of their upload: by it retention deletes what has no time itself.
func newestOf(parts []metadata.Part) int64 {
	newest := int64(-1)
	for i := range parts {
		newest = max(newest, parts[i].Newest())
	}
	return newest
}

// replace proposes the group's parts in the place of its sources (R3a).
func (c *cleanPass) replace() error {
	g := &c.group
	c.upload.phase = phaseCommitting
	change := metadata.Replacement{Stream: c.stream.id, Parts: g.parts}
	for i := range g.sources {
		q := &g.sources[i]
		change.Sources = append(change.Sources, metadata.Source{Object: q.Object, Start: q.Start, End: q.End})
	}
	var accepted []bool
	var err error
	c.await(c.proc, func(wake func()) {
		c.Controller.Replace(c.Epoch, g.objects, []metadata.Replacement{change}, func(a []bool, e error) { accepted, err = a, e; wake() })
	})
	c.upload = nil
	switch {
	case err != nil:
		return err
	case len(accepted) == 0:
		return c.alive(c.stream)
	case !accepted[0]:
		c.Telemetry.Hit("stream clean: the parts were replaced or trimmed meanwhile")
		return errMoved // nothing behind it may go for the sake of what should have gone here
	}
	c.Telemetry.Hit("stream clean: parts were replaced")
	c.stream.compacted = max(c.stream.compacted, g.sources[len(g.sources)-1].End)
	return nil
}

// cleanGroup is parts that are replaced together, and what stays of them.
type cleanGroup struct {
	sources  []metadata.Part
	batches  []object.Batch // not in an object yet
	bytes    int64          // of them
	objects  []metadata.NewObject
	parts    []metadata.Part
	last     record.Header // of the last batch that was read
	changed  bool
	unopened int64
}

// takes reports whether the group has room for a part: none is cut in two.
func (g *cleanGroup) takes(part *metadata.Part, most int64) bool {
	if len(g.sources) == 0 {
		return true
	}
	sum := part.Bytes
	for i := range g.sources {
		sum += g.sources[i].Bytes
	}
	return sum <= most && g.sources[len(g.sources)-1].End == part.Start
}

// start is where the next of the group's new parts begins.
func (g *cleanGroup) start() int64 {
	if n := len(g.parts); n > 0 {
		return g.parts[n-1].End
	}
	return g.sources[0].Start
}

// filter adds what stays of a block's batches. It runs off the loop. What lies below the log start, and what has no records any
// more, goes with what else changes: nothing is written for its sake.
func (g *cleanGroup) filter(f *clean.Filter, data []byte, logStart int64) {
	out := make([]byte, 0, len(data))
	first := len(g.batches)
	var ends []int
	for len(data) > 0 {
		h, _ := record.ReadHeader(data)
		batch := data[:h.Bytes]
		data = data[h.Bytes:]
		g.last = h
		if h.NextOffset() <= logStart {
			continue
		}
		var o clean.Outcome
		out, o = f.Clean(out, &h, batch)
		g.changed = g.changed || !o.Same && h.Records > 0
		if o.Unopened {
			g.unopened++
		}
		if o.Kept {
			g.batches = append(g.batches, object.Batch{Base: h.BaseOffset, End: h.NextOffset(), MaxTimestamp: o.MaxTimestamp})
			ends = append(ends, len(out))
		}
	}
	from := 0
	for i, end := range ends {
		g.batches[first+i].Data = out[from:end:end]
		from = end
	}
	g.bytes += int64(len(out))
}

// fill makes the last batch end where the group does: of one that is gone its offsets stay.
func (g *cleanGroup) fill(end int64) {
	if n := len(g.batches); n > 0 && g.batches[n-1].End == end {
		return
	}
	h := &g.last
	b := record.AppendFiller(nil, h.BaseOffset, int64(h.LastOffsetDelta)+1, h.LeaderEpoch)
	g.batches = append(g.batches, object.Batch{Data: b, Base: h.BaseOffset, End: h.NextOffset(), MaxTimestamp: record.NoTimestamp})
	g.bytes += int64(len(b))
}
