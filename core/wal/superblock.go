package wal

import (
	"errors"
	"fmt"

	"weir/core/env"
)

// errClosed is the state of a log after Close.
var errClosed = errors.New("wal is closed")

// superEveryParts: the trim point is saved once it moved by this part of the region.
const superEveryParts = 16

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
