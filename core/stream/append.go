package stream

import (
	"time"

	"weir/core/env"
	"weir/core/record"
	"weir/core/telemetry"
	"weir/core/wal"
)

// appender takes batches into the WAL and the log cache while there is room, and tells the owners of streams what
// became durable.
type appender struct {
	*base
	trimmer *trimmer
	cache   logCache
	onSpace func()
	refused bool       // an append was refused since space last came free
	idle    []*pending // append structs for reuse
	dirty   []*Stream  // whose owner has yet to hear of the high watermark
	flush   func()     // tells them
	flushes bool       // flush is posted
	settles bool       // settle is posted
	unowed  bool       // something became durable of which nothing is owed
	timed   bool       // an append is under way whose time is taken
	began   func()     // hears of its beginning
	took    func(time.Duration)
}

// pending is one append on its way to the device. The structs are recycled.
type pending struct {
	wal.Append
	stream  *Stream
	release func()
	timed   bool
	began   env.Time // if timed
}

// Append gives the batch the next offsets. False: the WAL or the cache is full;
// nothing was taken; Engine.OnSpace tells when to try again. A batch is at most
// Engine.AppendBytesMax bytes.
func (s *Stream) Append(b Batch) (baseOffset int64, ok bool) {
	a := &s.engine.appends
	if a.stopping || s.owner == nil {
		return 0, false
	}
	if !a.cache.hasRoom(a.CacheBytes) {
		a.refuse("stream append refused: cache full")
		return 0, false
	}
	if !s.reaches(s.end + int64(b.Offsets)) {
		a.refuse("stream append refused: too many offsets are not committed")
		return 0, false
	}
	p := a.newPending(s, &b)
	if !a.log.Append(&p.Append) {
		a.recycle(p)
		a.refuse("stream append refused: wal full")
		return 0, false
	}
	if !a.timed {
		a.timed, p.timed, p.began = true, true, a.Loop.Now()
		a.began()
	}
	base := s.end
	s.end += int64(b.Offsets)
	s.engine.streams.wrote(s)
	s.cached(entry{
		base: base, offsets: b.Offsets, bytes: int32(len(b.Data)), maxTimestamp: b.MaxTimestamp,
		at: p.At, slab: a.cache.of(p.Slab), place: int32(p.Offset),
	})
	if record.Transactional(b.Data) {
		a.cache.entries.addTransaction(&s.transactions, b.Data, base)
	}
	return base, true
}

// refuse remembers that somebody waits for space, which also presses for an upload.
func (a *appender) refuse(mark string) {
	a.refused = true
	a.metrics.refused.Add(1)
	a.Telemetry.Hit(mark)
}

func (a *appender) spaceCame() {
	if a.refused && !a.stopping {
		a.refused = false
		a.onSpace()
	}
}

// settle uses what commits made free.
func (a *appender) settle() {
	a.trimmer.trim()
	a.cache.evict(a.CacheBytes)
	a.offerRoom()
}

// settleSoon settles once for all streams that let go of something in one event: it looks at every stream, and a
// deleted topic may have many.
func (a *appender) settleSoon() {
	if a.settles {
		return
	}
	a.settles = true
	a.Loop.Post(func() {
		a.settles = false
		a.settle()
	})
}

// offerRoom lets refused appends try again if the cache has room for them.
func (a *appender) offerRoom() {
	a.metrics.cacheBytes.Set(a.cache.used())
	if a.refused && a.cache.hasRoom(a.CacheBytes) {
		a.Loop.Post(a.spaceCame)
	}
}

func (a *appender) newPending(s *Stream, b *Batch) *pending {
	var p *pending
	if n := len(a.idle); n > 0 {
		p, a.idle = a.idle[n-1], a.idle[:n-1]
	} else {
		p = &pending{}
	}
	p.stream, p.release = s, b.Release
	p.Append = wal.Append{
		Stream: uint64(s.id), LeaderEpoch: s.leaderEpoch, BaseOffset: s.end, Offsets: b.Offsets,
		Payload: b.Data, LogAppendTime: b.LogAppendTime, Owner: p,
	}
	return p
}

func (a *appender) recycle(p *pending) {
	*p = pending{}
	a.idle = append(a.idle, p)
}

// Durable implements wal.Owner.
func (p *pending) Durable(a *wal.Append) {
	s, release := p.stream, p.release
	if p.timed {
		s.engine.appends.timed = false
		s.engine.appends.took(s.engine.base.Loop.Now().Sub(p.began))
	}
	s.durable(a.BaseOffset, int64(a.Offsets), int64(len(a.Payload)))
	s.engine.appends.recycle(p)
	if release != nil {
		release()
	}
}

// Returned implements wal.Returner: the process ends, and the batch is not acknowledged.
func (p *pending) Returned(*wal.Append) {
	if p.release != nil {
		p.release()
	}
}

// durable moves the high watermark over one batch. The owner hears of it once,
// after the event.
func (s *Stream) durable(base, offsets, bytes int64) {
	if base != s.highWatermark {
		telemetry.Assert(3, false, "stream %d: offset %d became durable, the high watermark is %d", s.id, base, s.highWatermark)
	}
	s.highWatermark += offsets
	a := &s.engine.appends
	a.metrics.appended.Add(bytes)
	if s.owner == nil || s.gone {
		a.unowed = true
	} else {
		s.engine.uploads.add(s, 1, bytes)
	}
	if s.owner != nil && !s.told {
		s.told = true
		a.dirty = append(a.dirty, s)
	}
	if !a.flushes {
		a.flushes = true
		a.Loop.Post(a.flush)
	}
}

// tellOwners tells each owner once how far its stream is durable. What nobody will commit gives its
// space in the WAL up as soon as it is durable: no commit comes that would.
func (a *appender) tellOwners() {
	a.flushes = false
	for i := 0; i < len(a.dirty); i++ {
		s := a.dirty[i]
		a.dirty[i] = nil
		s.told = false
		if s.owner != nil {
			s.owner.Durable(s.highWatermark)
		}
	}
	a.dirty = a.dirty[:0]
	if a.unowed {
		a.unowed = false
		a.trimmer.trim()
	}
}
