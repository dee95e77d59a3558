package wal

import (
	"fmt"

	"weir/core/env"
)

const (
	headBytes  = 2 * blockBytes
	superBytes = 88
	superMagic = 0x314c415772696577 // "weirWAL1", read as little-endian

	superShared = 1 // flag: the owner reads a fence (R8)

	superEveryParts = 16 // the trim point is saved once it moved by this part of the region
)

// superblock is what the head of the file says about the log.
type superblock struct {
	version uint32
	identity
	sequence uint64
	region   int64
	ahead    int64
	flags    uint64
	marks
}

func (s *superblock) shared() bool { return s.flags&superShared != 0 }

// offset is where the superblock belongs in the file.
func (s *superblock) offset() int64 { return int64(s.sequence%2) * blockBytes }

// encode fills one whole block.
func (s *superblock) encode(block []byte) {
	clear(block)
	order.PutUint64(block[0:], superMagic)
	order.PutUint32(block[8:], FormatVersion)
	order.PutUint64(block[16:], uint64(s.epoch))
	order.PutUint64(block[24:], s.nonce)
	order.PutUint64(block[32:], s.sequence)
	order.PutUint64(block[40:], uint64(s.region))
	order.PutUint64(block[48:], uint64(s.ahead))
	order.PutUint64(block[56:], uint64(s.trim))
	order.PutUint64(block[64:], uint64(s.durable))
	order.PutUint64(block[72:], uint64(s.summary))
	order.PutUint64(block[80:], s.flags)
	order.PutUint32(block[12:], sumWithout(block[:superBytes], 12))
}

// decodeSuperblock reports false for anything that is not whole and sane.
func decodeSuperblock(block []byte) (s superblock, ok bool) {
	if len(block) < superBytes || order.Uint64(block) != superMagic ||
		order.Uint32(block[12:]) != sumWithout(block[:superBytes], 12) {
		return s, false
	}
	s = superblock{
		version:  order.Uint32(block[8:]),
		identity: identity{epoch: int64(order.Uint64(block[16:])), nonce: order.Uint64(block[24:])},
		sequence: order.Uint64(block[32:]),
		region:   int64(order.Uint64(block[40:])),
		ahead:    int64(order.Uint64(block[48:])),
		flags:    order.Uint64(block[80:]),
		marks: marks{
			trim:    Position(order.Uint64(block[56:])),
			durable: Position(order.Uint64(block[64:])),
			summary: Position(order.Uint64(block[72:])),
		},
	}
	return s, s.version != FormatVersion || s.sane()
}

// sane bounds what later arithmetic relies on.
func (s *superblock) sane() bool {
	return s.region >= regionBytesMin && s.region <= regionBytesMax && s.region%blockBytes == 0 &&
		s.ahead >= 0 && s.ahead <= (inFlightMaxHard+2)*appendBytesMaxHard &&
		s.trim%blockBytes == 0 && s.trim <= s.durable && s.durable < 1<<62 && s.durable-s.trim <= Position(s.region)
}

// holds reports whether the region may hold a group with this header.
func (s *superblock) holds(h *groupHeader) bool {
	left := toWrap(h.at, s.region)
	if h.bytes%blockBytes != 0 {
		return false
	}
	if h.flags&flagFiller != 0 {
		return int64(h.bytes) == left
	}
	return int64(h.bytes) <= min(left, appendBytesMaxHard+2*blockBytes)
}

// fileOffset is where a position lies in the file.
func fileOffset(at Position, region int64) int64 { return headBytes + int64(uint64(at)%uint64(region)) }

// toWrap is how many bytes follow a position before the region's end.
func toWrap(at Position, region int64) int64 { return region - int64(uint64(at)%uint64(region)) }

// superblocks rewrites the superblocks: lazily, one at a time.
type superblocks struct {
	device  *device
	last    superblock // the newest written or being written
	saved   superblock // the newest durable one
	slab    *env.Slab  // one block
	op      env.DiskWrite
	writing bool
	ticket  uint64 // of the watch, between the write and its effect; 0: none
}

// begin takes over after the first superblock became durable.
func (s *superblocks) begin() {
	s.slab = s.device.log.env.Memory.Alloc(blockBytes)
	s.saved = s.last
}

func (s *superblocks) abandon() {
	if s.slab != nil && !s.writing {
		s.slab.Release()
		s.slab = nil
	}
}

// settled reports whether the superblock on the device is up to date.
func (s *superblocks) settled() bool {
	return !s.writing && s.ticket == 0 && s.saved.marks == s.device.log.marks && s.saved.region == s.device.region
}

// due says whether a superblock is worth its write: the trim point moved far, somebody waits
// for the space, a summary became durable, the log shrank, or it closes.
func (s *superblocks) due() bool {
	if s.settled() {
		return false
	}
	l, region := s.device.log, s.device.region
	moved := l.marks.trim - s.saved.trim
	return moved >= Position(region/superEveryParts) || l.refused && moved > 0 ||
		l.marks.summary != s.saved.summary || region != s.saved.region ||
		l.closing != nil && l.drained()
}

func (s *superblocks) step() {
	if s.writing || s.ticket != 0 || !s.due() {
		return
	}
	s.last.sequence++
	s.last.marks, s.last.region = s.device.log.marks, s.device.region
	s.last.encode(s.slab.Data[:blockBytes])
	s.writing = true
	s.op = env.DiskWrite{File: s.device.file, Offset: s.last.offset(), Data: s.slab.Data[:blockBytes], Durable: true, Done: s.written}
	s.device.log.env.WAL.Write(&s.op)
}

// written frees the space that the durable superblock gives up.
// In a shared log it first makes sure that no recoverer reads by the superblock before, which keeps that space.
func (s *superblocks) written(op *env.DiskWrite) {
	l := s.device.log
	s.writing = false
	if op.Err != nil {
		l.fail(fmt.Errorf("write of the superblock of wal file %q: %w", l.name, op.Err))
	}
	if l.err != nil {
		s.abandon()
		return
	}
	if w := s.device.watch; w != nil {
		s.ticket = w.ask()
		return
	}
	s.takeEffect()
}

// confirmed takes the tickets that the watch has cleared.
func (s *superblocks) confirmed(upTo uint64) {
	if s.ticket != 0 && s.ticket <= upTo {
		s.ticket = 0
		s.takeEffect()
	}
}

func (s *superblocks) takeEffect() {
	before := s.saved
	s.saved = s.last
	if before.trim < s.saved.trim || before.region != s.saved.region {
		s.device.log.spaceCame()
	}
}
