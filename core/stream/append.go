package stream

import (
	"weir/core/telemetry"
	"weir/core/wal"
)

// pending is one append on its way to the device. The structs are recycled.
type pending struct {
	wal.Append
	stream  *Stream
	release func()
}

// Append gives the batch the next offsets. False: the WAL or the cache is full;
// nothing was taken; Engine.OnSpace tells when to try again. A batch is at most
// Engine.AppendBytesMax bytes.
func (s *Stream) Append(b Batch) (baseOffset int64, ok bool) {
	e := s.engine
	if e.stopping != nil || s.owner == nil {
		return 0, false
	}
	if !e.cache.hasRoom(e.options.CacheBytes) {
		e.refuse("stream append refused: cache full")
		return 0, false
	}
	p := e.newPending(s, &b)
	if !e.log.Append(&p.Append) {
		e.recycle(p)
		e.refuse("stream append refused: wal full")
		return 0, false
	}
	base := s.end
	s.end += int64(b.Offsets)
	s.cached(entry{
		base: base, offsets: b.Offsets, bytes: int32(len(b.Data)), maxTimestamp: b.MaxTimestamp,
		at: p.At, slab: e.cache.of(p.Slab), place: int32(p.Offset),
	})
	return base, true
}

// refuse remembers that somebody waits for space, which also presses for an upload.
func (e *Engine) refuse(mark string) {
	e.refused = true
	e.metrics.refused.Add(1)
	e.telemetry.Hit(mark)
}

func (e *Engine) newPending(s *Stream, b *Batch) *pending {
	var p *pending
	if n := len(e.idle); n > 0 {
		p, e.idle = e.idle[n-1], e.idle[:n-1]
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

func (e *Engine) recycle(p *pending) {
	*p = pending{}
	e.idle = append(e.idle, p)
}

// Durable implements wal.Owner.
func (p *pending) Durable(a *wal.Append) {
	s, release := p.stream, p.release
	s.durable(a.BaseOffset, int64(a.Offsets), int64(len(a.Payload)))
	s.engine.recycle(p)
	if release != nil {
		release()
	}
}

// durable moves the high watermark over one batch. The owner hears of it once,
// after the event.
func (s *Stream) durable(base, offsets, bytes int64) {
	if base != s.highWatermark {
		telemetry.Assert(3, false, "stream %d: offset %d became durable, the high watermark is %d", s.id, base, s.highWatermark)
	}
	s.highWatermark += offsets
	e := s.engine
	switch {
	case s.owner == nil || s.gone:
		e.unowed = true
	default:
		e.up.add(s, 1, bytes)
	}
	if s.owner != nil && !s.told {
		s.told = true
		e.dirty = append(e.dirty, s)
	}
	if !e.flushes {
		e.flushes = true
		e.loop.Post(e.flush)
	}
}

// tellOwners tells each owner once how far its stream is durable. What nobody will commit gives its
// space in the WAL up as soon as it is durable: no commit comes that would.
func (e *Engine) tellOwners() {
	e.flushes = false
	for i := 0; i < len(e.dirty); i++ {
		s := e.dirty[i]
		e.dirty[i] = nil
		s.told = false
		if s.owner != nil {
			s.owner.Durable(s.highWatermark)
		}
	}
	e.dirty = e.dirty[:0]
	if e.unowed {
		e.unowed = false
		e.trim()
	}
}
