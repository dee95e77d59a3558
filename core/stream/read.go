package stream

import "weir/core/env"

// Read reads from offset, which lies in [LogStart, HighWatermark), up to the high
// watermark: at least one batch, then as many as fit in maxBytes; it may return
// fewer where the source changes. done may run before Read returns (log cache hit).
func (s *Stream) Read(offset int64, maxBytes int, done func(Fetched)) {
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
			e.recovered.read(t, s, offset, maxBytes, done)
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
