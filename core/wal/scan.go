package wal

import (
	"fmt"
	"hash/crc32"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
)

const (
	windowBytes = 4 << 20 // read ahead at a time; more only for a group that is larger
	pieceBytes  = 1 << 20 // pieces of a window are read together
)

// scanner reads a log file front to back in a bounded window.
type scanner struct {
	proc  *task.Proc
	env   env.Env
	name  string
	file  env.FileID
	size  int64 // of the file, whole blocks only
	super superblock

	slab    *env.Slab // window over [from, upTo)
	from    Position
	upTo    Position
	visit   func(Entry)
	summary func(Position, []byte)
	sealed  *Sealed
}

// read fills data from the file, several pieces at once.
func (s *scanner) read(offset int64, data []byte) error {
	var failure error
	s.proc.Await(func(wake func()) {
		left := (len(data) + pieceBytes - 1) / pieceBytes
		done := func(op *env.DiskRead) {
			if op.Err != nil && failure == nil {
				failure = fmt.Errorf("read %d bytes at %d of wal file %q: %w", len(op.Data), op.Offset, s.name, op.Err)
			} else if op.N < len(op.Data) && failure == nil {
				failure = fmt.Errorf("read %d bytes at %d of wal file %q: the file ended early", len(op.Data), op.Offset, s.name)
			}
			if left--; left == 0 {
				wake()
			}
		}
		for at := 0; at < len(data); at += pieceBytes {
			piece := data[at:min(at+pieceBytes, len(data))]
			s.env.WAL.Read(&env.DiskRead{File: s.file, Offset: offset + int64(at), Data: piece, Done: done})
		}
	})
	return failure
}

// available is how many bytes the file holds from at on, up to the region's end.
func (s *scanner) available(at Position) int64 {
	return max(0, min(s.super.toWrap(at), s.size-s.super.fileOffset(at)))
}

// bytes returns n bytes at a position that is a multiple of blockBytes, valid until the next call;
// nil if the file does not hold them.
func (s *scanner) bytes(at Position, n int) ([]byte, error) {
	if at < s.from || at+Position(n) > s.upTo {
		available := s.available(at)
		if int64(n) > available {
			return nil, nil
		}
		if err := s.move(at, int(min(available, int64(max(windowBytes, roundUp(n)))))); err != nil {
			return nil, err
		}
	}
	start := int(at - s.from)
	return s.slab.Data[start : start+n : start+n], nil
}

// move makes the window start at at and hold want bytes, keeping what it holds of them.
func (s *scanner) move(at Position, want int) error {
	var kept []byte
	if s.slab != nil && at >= s.from && at < s.upTo {
		kept = s.slab.Data[at-s.from : s.upTo-s.from]
	}
	kept = kept[:min(len(kept), want)]
	if s.slab == nil || len(s.slab.Data) < want {
		slab := s.env.Memory.Alloc(want)
		copy(slab.Data, kept)
		s.release()
		s.slab = slab
	} else {
		copy(s.slab.Data, kept)
	}
	s.from, s.upTo = at, at+Position(want)
	return s.read(s.super.fileOffset(at)+int64(len(kept)), s.slab.Data[len(kept):want])
}

func (s *scanner) release() {
	if s.slab != nil {
		s.slab.Release()
		s.slab, s.from, s.upTo = nil, 0, 0
	}
}

// readSuperblock picks the valid superblock with the highest sequence. blank says that the log was
// never used: its creation did not get as far as a superblock.
func (s *scanner) readSuperblock() (blank bool, err error) {
	if s.size < blockBytes {
		return true, nil
	}
	slab := s.env.Memory.Alloc(headBytes + blockBytes)
	defer slab.Release()
	head := slab.Data[:min(s.size, headBytes+blockBytes)]
	if err := s.read(0, head); err != nil {
		return false, err
	}
	found := false
	for at := 0; at < headBytes && at < len(head); at += blockBytes {
		if super, ok := decodeSuperblock(head[at : at+blockBytes]); ok && (!found || super.sequence > s.super.sequence) {
			s.super, found = super, true
		}
	}
	if !found {
		if allZero(head) {
			return true, nil
		}
		return false, &CorruptError{File: s.name, Reason: "neither superblock is valid", Durable: noPosition}
	}
	if s.super.version != FormatVersion {
		return false, &VersionError{File: s.name, Version: s.super.version}
	}
	return false, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// groups visits valid groups from the trim point on and returns where the first invalid one is,
// with what is wrong with it.
func (s *scanner) groups() (end Position, reason string, err error) {
	at, sequence := s.super.trim, uint64(0)
	for at-s.super.trim < Position(s.super.region) {
		head, err := s.bytes(at, groupHeaderBytes)
		if err != nil {
			return 0, "", err
		}
		h, ok := decodeGroupHeader(head, &s.super)
		if !ok {
			return at, "no valid group header", nil
		}
		if h.at != at {
			return at, "", s.misplaced(at, h)
		}
		if at > s.super.trim && h.sequence != sequence {
			return at, "a group header out of sequence", nil
		}
		data, err := s.bytes(at, h.written())
		if err != nil {
			return 0, "", err
		}
		if data == nil || !s.valid(h, data) {
			s.sealed.Torn = true
			return at, "a group fails its checksum", nil
		}
		s.visitRecords(h, data)
		at, sequence = at+Position(h.bytes), h.sequence+1
	}
	return at, "the log is full", nil
}

// misplaced classifies a whole header of this log that belongs elsewhere. One of an earlier lap is what
// the end of the log looks like; a later one means that the trim point was moved and is lost.
func (s *scanner) misplaced(at Position, h groupHeader) error {
	if h.at < at {
		return nil
	}
	return &CorruptError{
		File: s.name, At: at, Durable: max(h.durable, s.super.durable),
		Reason: fmt.Sprintf("it holds the group of position %d, so a newer superblock was lost or the group is misplaced", h.at),
	}
}

// valid sums every record of a group.
func (s *scanner) valid(h groupHeader, data []byte) bool {
	var scratch [16]byte
	at, sum := groupHeaderBytes, uint32(0)
	for range h.records {
		if at > len(data) {
			return false
		}
		r, ok := checkRecord(data[at:], &scratch, s.super.nonce, h.at+Position(at))
		if !ok {
			return false
		}
		sum = crc32.Update(sum, castagnoli, data[at:at+4])
		at += recordBytes(int(r.bytes))
	}
	return sum == h.sum
}

// visitRecords hands the entries of a valid group out.
func (s *scanner) visitRecords(h groupHeader, data []byte) {
	at := groupHeaderBytes
	for range h.records {
		r, _ := decodeRecordHeader(data[at:])
		payload := r.payload(data[at:])
		if r.kind == kindSummary {
			s.summary(h.at+Position(at), payload)
		} else {
			s.visit(Entry{
				Stream: r.stream, LeaderEpoch: r.leaderEpoch, BaseOffset: r.baseOffset, Offsets: r.offsets,
				Bytes: int32(r.bytes), At: h.at + Position(at), BatchHeader: payload[:record.HeaderBytes:record.HeaderBytes],
			})
		}
		at += recordBytes(int(r.bytes))
	}
}

// highestMark looks beyond a lost group for later ones of this log, as far as writes in flight can
// have reached, and returns the highest mark up to which one of them found everything durable.
func (s *scanner) highestMark(lost Position) (Position, error) {
	mark := s.super.durable
	limit := min(lost+Position(s.super.ahead), s.super.trim+Position(s.super.region))
	for at := lost; at < limit && mark <= lost; at += blockBytes {
		head, err := s.bytes(at, groupHeaderBytes)
		if err != nil {
			return 0, err
		}
		if head == nil {
			// Nothing more before the region's end; what follows lies at its start.
			at += Position(s.super.toWrap(at)) - blockBytes
			continue
		}
		if h, ok := decodeGroupHeader(head, &s.super); ok && h.at == at {
			s.sealed.Torn = true
			mark = max(mark, h.durable)
		}
	}
	return mark, nil
}
