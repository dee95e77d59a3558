package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
)

// errClosed is the state of a log after Close.
var errClosed = errors.New("wal is closed")

const (
	growChunkBytes  = 1 << 20 // a larger zero write would hold up groups behind it
	growRetryAfter  = time.Second
	growTries       = 5 // that find the device full before the log may shrink
	growWarnEvery   = 30 * time.Second
	shrinkPart      = 16       // the log never shrinks below this part of its size
	shrinkBytesMin  = 16 << 20 // or below this, whichever is less
	summaryMin      = 64 << 10
	superEveryParts = 16 // the trim point is saved once it moved by this part of the region
)

// superState is the rewriting of the superblocks: lazily, one at a time.
type superState struct {
	slab    *env.Slab // one block
	op      env.DiskWrite
	writing bool
	pending content // being written
	saved   content // durable on the device
}

// content is what changes in a superblock.
type content struct {
	trim, durable, summary Position
	region                 int64
}

func (s *superblock) content() content { return content{s.trim, s.durable, s.summary, s.region} }

func (s *superState) abandon() {
	if s.slab != nil && !s.writing {
		s.slab.Release()
		s.slab = nil
	}
}

// superDue says whether a superblock is worth its write: the trim point moved far, somebody waits
// for the space, a summary became durable, or the log closes.
func (l *Log) superDue() bool {
	now, saved := l.super.content(), l.supers.saved
	if now == saved {
		return false
	}
	moved := now.trim - saved.trim
	return moved >= Position(l.super.region/superEveryParts) || l.refused && moved > 0 || now.summary != saved.summary || now.region != saved.region ||
		l.closing != nil && l.open == nil && len(l.sealed)+len(l.inFlight) == 0
}

func (l *Log) saveSuperblock() {
	s := &l.supers
	if s.writing || !l.superDue() {
		return
	}
	l.super.sequence++
	l.super.encode(s.slab.Data[:blockBytes])
	s.writing, s.pending = true, l.super.content()
	s.op = env.DiskWrite{File: l.file, Offset: l.super.offset(), Data: s.slab.Data[:blockBytes], Durable: true, Done: l.superSaved}
	l.env.WAL.Write(&s.op)
}

// superSaved frees the space that the durable superblock gives up.
func (l *Log) superSaved(op *env.DiskWrite) {
	l.supers.writing = false
	if op.Err != nil {
		l.fail(fmt.Errorf("write of the superblock of wal file %q: %w", l.name, op.Err))
	}
	if l.err != nil {
		l.supers.abandon()
		return
	}
	shrank := l.supers.saved.region != l.supers.pending.region
	l.supers.saved = l.supers.pending
	if l.saved < l.supers.saved.trim || shrank {
		l.saved = max(l.saved, l.supers.saved.trim)
		l.spaceCame()
	}
}

func (l *Log) spaceCame() {
	if l.refused && l.onSpace != nil {
		l.refused = false
		l.onSpace()
	}
}

// summaryState is the summary record: one at a time, its buffer reused.
type summaryState struct {
	source  Summarizer
	append  Append
	flying  bool
	next    Position // no summary before the log reaches this
	payload []byte
}

// reserve is the space that appends leave for the next summary.
func (s *summaryState) reserve(region int64) int64 {
	if s.source == nil {
		return 0
	}
	return min(region/8, summaryMin+2*int64(len(s.payload)))
}

// summarize appends a summary if one is due.
func (l *Log) summarize() {
	s := &l.summary
	if s.source == nil || s.flying || l.closing != nil || l.End() < s.next {
		return
	}
	s.payload = s.source.AppendSummary(s.payload[:0])
	if len(s.payload) > l.config.AppendBytesMax {
		l.env.Log.Log(slog.LevelWarn, "wal summary is larger than the log takes; recovery will read batch headers instead",
			slog.String("file", l.name), slog.Int("bytes", len(s.payload)))
		s.next = l.End() + Position(l.config.SummaryEveryBytes)
		return
	}
	room := recordBytes(len(s.payload))
	if !l.hasSpace(room, 0) {
		s.next = l.End() + 1 // not again before something else found space
		return
	}
	s.flying = true
	s.append = Append{Payload: s.payload, LogAppendTime: -1, Owner: (*summaryOwner)(l), kind: kindSummary}
	l.place(&s.append, room)
	s.next = l.End() + Position(l.config.SummaryEveryBytes)
}

// summaryOwner is the Log as the owner of its summary record.
type summaryOwner Log

func (o *summaryOwner) Durable(a *Append) {
	o.summary.flying = false
	o.super.summary = a.At
}

// growthState is the writing of zeros ahead of use, on the first lap.
type growthState struct {
	slab    *env.Slab // zeros, while growing
	zeros   []byte
	op      env.DiskWrite
	space   env.DiskSpace
	grown   int64    // bytes of the region that are written
	wanted  int64    // bytes that an append which was refused needs
	writing bool     // or asking the device for its room
	held    bool     // see Log.HoldGrowth
	stalled bool     // the device had no room
	stalls  int      // in a row
	warned  env.Time // of that; 0: never
	retry   timer
}

// begin makes the zeros, once for the log.
func (s *growthState) begin(l *Log) {
	s.slab = l.env.Memory.Alloc(int(min(growChunkBytes, l.config.GrowBytes, l.super.region)))
	s.zeros = s.slab.Data[:min(growChunkBytes, l.config.GrowBytes, l.super.region)]
	clear(s.zeros)
	s.op = env.DiskWrite{File: l.file, Durable: true, Done: l.grew}
	s.space.Done = l.spaceKnown
}

func (s *growthState) abandon() {
	if s.slab != nil && !s.writing {
		s.slab.Release()
		s.slab, s.zeros = nil, nil
	}
}

// HoldGrowth keeps the log from taking more of its device, or lets it go on.
func (l *Log) HoldGrowth(hold bool) {
	l.growth.held = hold
	l.metrics.waits(hold)
	l.loop.Post(l.flush)
}

// grow writes the next zeros if the log comes within GrowBytes of what is grown.
func (l *Log) grow() {
	s := &l.growth
	if s.writing || s.held || s.stalled || l.closing != nil || s.grown == l.super.region ||
		max(int64(l.End())+l.config.GrowBytes, s.wanted) <= s.grown {
		return
	}
	s.writing = true
	s.op.Offset, s.op.Data, s.op.Err = headBytes+s.grown, s.zeros[:min(int64(len(s.zeros)), l.super.region-s.grown)], nil
	if l.config.FloorBytes == 0 {
		l.env.WAL.Write(&s.op)
		return
	}
	s.space.Err = nil
	l.env.WAL.Space(&s.space)
}

// spaceKnown writes the next zeros unless they would take what is to stay usable. A device that cannot
// tell its room may still have some: the write shows it.
func (l *Log) spaceKnown(op *env.DiskSpace) {
	s := &l.growth
	switch {
	case l.err != nil || l.closing != nil:
		s.writing = false
		s.abandon()
	case op.Err == nil && op.UsableBytes < l.config.FloorBytes+int64(len(s.op.Data)):
		s.writing = false
		l.stallGrowth()
	default:
		l.env.WAL.Write(&s.op)
	}
}

func (l *Log) grew(op *env.DiskWrite) {
	s := &l.growth
	s.writing = false
	switch {
	case l.err != nil:
		s.abandon()
	case errors.Is(op.Err, env.ErrDiskFull):
		l.stallGrowth()
	case op.Err != nil:
		l.fail(fmt.Errorf("growth of wal file %q to %d bytes: %w", l.name, s.grown, op.Err))
	default:
		s.grown += int64(len(op.Data))
		s.stalls = 0
		l.metrics.waits(false)
		if s.grown == l.super.region {
			s.abandon()
		}
		l.spaceCame()
	}
}

// stallGrowth waits for room on the device. A full device definitely wrote nothing that was
// promised, so this, unlike any other error, may be tried again.
func (l *Log) stallGrowth() {
	s := &l.growth
	s.stalls++
	if s.stalls > growTries && l.shrink() {
		return
	}
	s.stalled = true
	l.metrics.waits(true)
	if now := l.loop.Now(); s.warned == 0 || now.Sub(s.warned) >= growWarnEvery {
		s.warned = now
		l.env.Log.Log(slog.LevelWarn, "no room on the device to grow the wal: free some, or lower weir.wal.size.bytes; producers may be held up meanwhile",
			slog.String("file", l.name), slog.Int64("grown_bytes", s.grown), slog.Int64("size_bytes", l.super.region), slog.Int64("kept_free_bytes", l.config.FloorBytes))
	}
	l.loop.Reset(&s.retry, growRetryAfter, func() { s.stalled = false })
}

// shrink makes the log one of what was grown so far, because an append waits for space, the device has had
// none for a while, and uploads have made room below: from the next superblock on the log wraps there.
// All that was placed lies within what was grown, so no position moves. It reports whether it did.
func (l *Log) shrink() bool {
	s := &l.growth
	region := s.grown / blockBytes * blockBytes
	if !l.refused || l.closing != nil || region < max(regionBytesMin, min(l.super.region/shrinkPart, shrinkBytesMin)) ||
		int64(l.End()-l.super.trim) > region/2 {
		return false
	}
	if l.End() > Position(region) {
		panic(fmt.Sprintf("wal: position %d was placed beyond the %d bytes that were grown", l.End(), region))
	}
	l.env.Log.Log(slog.LevelWarn, "the device is too small for the wal: the log goes on with what it has until the next start. Free some space, or lower weir.wal.size.bytes",
		slog.String("file", l.name), slog.Int64("bytes", region), slog.Int64("size_bytes", l.super.region))
	l.super.region, s.grown, s.stalled = region, region, false
	l.config.AppendBytesMax = min(l.config.AppendBytesMax, int(region/4))
	l.config.GroupBytesMax = min(l.config.GroupBytesMax, int(region/8)/blockBytes*blockBytes)
	l.config.SummaryEveryBytes = min(l.config.SummaryEveryBytes, region/4)
	s.abandon()
	l.metrics.size.Set(region)
	l.metrics.waits(false)
	return true
}

// shrinking reports whether the superblock on the device does not yet have the size that the log shrank to.
func (l *Log) shrinking() bool { return l.supers.saved.region != l.super.region }
