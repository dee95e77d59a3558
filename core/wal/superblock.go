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
	summaryLeast    = 64 << 10
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
type content struct{ trim, durable, summary Position }

func (s *superblock) content() content { return content{s.trim, s.durable, s.summary} }

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
	return moved >= Position(l.super.region/superEveryParts) || l.refused && moved > 0 || now.summary != saved.summary ||
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
	l.supers.saved = l.supers.pending
	if l.saved < l.supers.saved.trim {
		l.saved = l.supers.saved.trim
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
	return min(region/8, summaryLeast+2*int64(len(s.payload)))
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

func (o *summaryOwner) Dropped(*Append) { o.summary.flying = false }

// growthState is the writing of zeros ahead of use, on the first lap.
type growthState struct {
	slab    *env.Slab // zeros, while growing
	zeros   []byte
	op      env.DiskWrite
	grown   int64 // bytes of the region that are written
	writing bool
	stalled bool // the device had no room
	retry   timer
}

// covers reports whether g lies in grown space.
func (s *growthState) covers(g *group, region int64) bool {
	return s.grown == region || g.end() <= Position(s.grown)
}

func (s *growthState) abandon() {
	if s.slab != nil && !s.writing {
		s.slab.Release()
		s.slab, s.zeros = nil, nil
	}
}

// grow writes the next zeros if the log comes within GrowBytes of what is grown.
func (l *Log) grow() {
	s := &l.growth
	if s.writing || s.stalled || l.closing != nil && len(l.sealed) == 0 || s.grown == l.super.region ||
		int64(l.End())+l.config.GrowBytes <= s.grown {
		return
	}
	chunk := min(int64(len(s.zeros)), l.super.region-s.grown)
	s.writing = true
	s.op = env.DiskWrite{File: l.file, Offset: headBytes + s.grown, Data: s.zeros[:chunk], Durable: true, Done: l.grew}
	l.env.WAL.Write(&s.op)
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
		if s.grown == l.super.region {
			s.abandon()
		}
		l.spaceCame()
	}
}

// stallGrowth waits for room on the device. A full device definitely wrote nothing that was
// promised, so this, unlike any other error, may be tried again.
func (l *Log) stallGrowth() {
	l.growth.stalled = true
	l.env.Log.Log(slog.LevelWarn, "no room on the device to grow the wal; free some, producers are held up meanwhile",
		slog.String("file", l.name), slog.Int64("grown_bytes", l.growth.grown), slog.Int64("size_bytes", l.super.region))
	l.loop.Reset(&l.growth.retry, growRetryAfter, func() { l.growth.stalled = false })
}
