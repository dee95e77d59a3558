package stream

import "weir/core/env"

// Read reads from offset, which lies in [LogStart, HighWatermark), up to the high
// watermark: at least one batch, then as many as fit in maxBytes; it may return
// fewer where the source changes. done may run before Read returns (log cache hit).
func (s *Stream) Read(offset int64, maxBytes int, done func(Fetched)) {
	s.readBy(s.stored.deadline(), offset, maxBytes, done)
}

func (s *Stream) readBy(deadline env.Time, offset int64, maxBytes int, done func(Fetched)) {
	e := s.engine
	switch {
	case e.base.stopping:
		done(Fetched{Err: ErrStopped})
	case s.owner == nil:
		done(Fetched{Err: ErrGone})
	case offset < s.logStart:
		done(Fetched{Err: ErrTrimmed})
	case offset >= s.highWatermark:
		done(Fetched{})
	case s.inCache(offset):
		done(s.readCache(offset, maxBytes))
	default:
		if t, ok := e.recovered.at(s.id, offset); ok {
			e.recovered.read(t, offset, maxBytes, func() { s.Read(offset, maxBytes, done) }, done)
			return
		}
		if of, owed := s.owedAt(offset); owed {
			s.readOwed(deadline, &of, offset, maxBytes, func() { s.readBy(deadline, offset, maxBytes, done) }, done)
			return
		}
		s.stored.read(offset, maxBytes, done)
	}
}

// inCache reports whether the log cache has the records from an offset on. What was compacted by key since is read from the store.
func (s *Stream) inCache(offset int64) bool {
	return s.entries.len() > 0 && offset >= max(s.entries.at(0).base, s.compacted)
}

// readCache takes batches from the log cache, without a copy.
func (s *Stream) readCache(offset int64, maxBytes int) Fetched {
	first := s.entries.search(offset)
	last, bytes := first, 0
	for last < s.entries.len() {
		n := s.entries.at(last)
		if n.base >= s.highWatermark || (last > first && bytes+int(n.bytes) > maxBytes) {
			break
		}
		bytes += int(n.bytes)
		last++
	}
	g := gather{Fetched: Fetched{Batches: make([][]byte, 0, last-first)}}
	for i := first; i < last; i++ {
		n := s.entries.at(i)
		g.add(n.data(), n.slab.slab)
	}
	return g.Fetched
}

// gather collects batches and one reference to each of their slabs.
type gather struct{ Fetched }

func (g *gather) add(data []byte, slab *env.Slab) {
	if n := len(g.Slabs); n == 0 || g.Slabs[n-1] != slab {
		slab.Retain()
		g.Slabs = append(g.Slabs, slab)
	}
	g.Batches = append(g.Batches, data)
	g.Bytes += len(data)
}

// fits reports whether one more batch of that size may come.
func (g *gather) fits(bytes, most int) bool { return len(g.Batches) == 0 || g.Bytes+bytes <= most }

// owedElsewhere returns the first offset, from one on, that only another broker's WAL holds, or a dead one's that was not read as far: what
// lies from there up to the start of this range can be read once it is committed, or found (R14, R15).
func (s *Stream) owedElsewhere(offset int64) (from int64, ok bool) {
	image, known := s.engine.base.Image.Stream(s.id)
	if !known {
		return 0, false
	}
	for i := range image.Ranges {
		r := &image.Ranges[i]
		if r.Start >= s.start {
			break
		}
		from = max(committedOf(r), image.LogStart, offset)
		if from < r.End {
			from = s.engine.recovered.reach(s.id, from)
		}
		if from < r.End {
			return from, true
		}
	}
	return 0, false
}

// awaitOwed tries a search again in a while: it looks through batches that nobody is asked for.
func (s *Stream) awaitOwed(deadline env.Time, again func(), done func(Fetched)) {
	e := s.engine
	e.base.Telemetry.Hit("stream read: waits for what another broker owes")
	switch {
	case e.base.stopping:
		done(Fetched{Err: ErrStopped})
		return
	case e.base.Loop.Now() >= deadline:
		done(Fetched{Err: errOwed})
		return
	}
	e.recovered.again.later(owedPoll, again)
}
