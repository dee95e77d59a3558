package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/task"
)

const (
	growChunkBytes = 1 << 20 // a larger zero write would hold up groups behind it
	growRetryAfter = time.Second
	growTries      = 5 // that find the device full before the log may shrink
	growWarnEvery  = 30 * time.Second
	shrinkPart     = 16       // the log never shrinks below this part of its size
	shrinkBytesMin = 16 << 20 // or below this, whichever is less
)

// growth writes zeros ahead of use, on the first lap.
type growth struct {
	device  *device
	slab    *env.Slab // zeros, while growing
	zeros   []byte
	op      env.DiskWrite
	space   env.DiskSpace
	grown   int64    // bytes of the region that are written
	wanted  int64    // bytes that an append which was refused needs
	writing bool     // or asking the device for its room
	stalled bool     // the device had no room
	stalls  int      // in a row
	warned  env.Time // of that; 0: never
	retry   task.Timer
}

// begin makes the zeros, once for the log.
func (s *growth) begin() {
	l := s.device.log
	chunk := min(growChunkBytes, l.config.GrowBytes, s.device.region)
	s.slab = l.env.Memory.Alloc(int(chunk))
	s.zeros = s.slab.Data[:chunk]
	clear(s.zeros)
	s.op = env.DiskWrite{File: s.device.file, Durable: true, Done: s.grew}
	s.space.Done = s.spaceKnown
}

// abandon gives the zeros up, now or when they are written.
func (s *growth) abandon() {
	s.device.log.loop.Stop(&s.retry)
	if s.slab != nil && !s.writing {
		s.slab.Release()
		s.slab, s.zeros = nil, nil
	}
}

// step writes the next zeros if the log comes within GrowBytes of what is grown.
func (s *growth) step() {
	l := s.device.log
	if s.writing || s.stalled || l.closing != nil || s.grown == s.device.region ||
		max(int64(l.End())+l.config.GrowBytes, s.wanted) <= s.grown {
		return
	}
	if l.held {
		if l.refused {
			s.stall() // it shrinks to what it has rather than wait for ever
		}
		return
	}
	s.writing = true
	s.op.Offset, s.op.Data, s.op.Err = headBytes+s.grown, s.zeros[:min(int64(len(s.zeros)), s.device.region-s.grown)], nil
	if l.config.FloorBytes == 0 {
		l.env.WAL.Write(&s.op)
		return
	}
	s.space.Err = nil
	l.env.WAL.Space(&s.space)
}

// spaceKnown writes the next zeros unless they would take what is to stay usable. A device that cannot
// tell its room may still have some: the write shows it.
func (s *growth) spaceKnown(op *env.DiskSpace) {
	l := s.device.log
	switch {
	case l.err != nil || l.closing != nil:
		s.writing = false
		s.abandon()
	case op.Err == nil && op.UsableBytes < l.config.FloorBytes+int64(len(s.op.Data)):
		s.writing = false
		s.stall()
	default:
		l.env.WAL.Write(&s.op)
	}
}

func (s *growth) grew(op *env.DiskWrite) {
	l := s.device.log
	s.writing = false
	switch {
	case l.err != nil:
		s.abandon()
	case errors.Is(op.Err, env.ErrDiskFull):
		s.stall()
	case op.Err != nil:
		l.fail(fmt.Errorf("growth of wal file %q to %d bytes: %w", l.name, s.grown, op.Err))
	default:
		s.grown += int64(len(op.Data))
		s.stalls = 0
		l.metrics.waits(false)
		if s.grown == s.device.region {
			s.abandon()
		}
		l.spaceCame()
	}
}

// stall waits for room on the device. A full device definitely wrote nothing that was
// promised, so this, unlike any other error, may be tried again.
func (s *growth) stall() {
	l := s.device.log
	s.stalls++
	if s.stalls > growTries && s.shrink() {
		return
	}
	s.stalled = true
	l.metrics.waits(true)
	if now := l.loop.Now(); s.warned == 0 || now.Sub(s.warned) >= growWarnEvery {
		s.warned = now
		l.env.Log.Log(slog.LevelWarn, "no room on the device to grow the wal, but for what is kept free for the metadata: free some, or lower weir.wal.size.bytes; producers may be held up meanwhile",
			slog.String("file", l.name), slog.Int64("grown_bytes", s.grown), slog.Int64("size_bytes", s.device.region), slog.Int64("kept_free_bytes", l.config.FloorBytes))
	}
	l.loop.Reset(&s.retry, growRetryAfter, func() { s.stalled = false })
}

// shrink makes the log one of what was grown so far, because an append waits for space, the device has had
// none for a while, and uploads have made room below: from the next superblock on the log wraps there.
// All that was placed lies within what was grown, so no position moves. It reports whether it did.
func (s *growth) shrink() bool {
	l, d := s.device.log, s.device
	region := s.grown / blockBytes * blockBytes
	if !l.refused || l.closing != nil || region < max(regionBytesMin, min(d.region/shrinkPart, shrinkBytesMin)) ||
		l.Used() > region/2 {
		return false
	}
	if l.End() > Position(region) {
		panic(fmt.Sprintf("wal: position %d was placed beyond the %d bytes that were grown", l.End(), region))
	}
	l.env.Log.Log(slog.LevelWarn, "the device is too small for the wal: the log goes on with what it has until the next start. Free some space, or lower weir.wal.size.bytes",
		slog.String("file", l.name), slog.Int64("bytes", region), slog.Int64("size_bytes", d.region))
	d.region, s.grown, s.stalled = region, region, false
	s.abandon()
	l.resized(region)
	l.metrics.waits(false)
	return true
}
