package wal

import (
	"errors"
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

const (
	windowBytes = 4 << 20 // read ahead at a time; more only for a group that is larger
	pieceBytes  = 1 << 20 // pieces of a window are read together
)

// deviceSource is the source of a log that lies in a file on a disk. It reads in a bounded window.
type deviceSource struct {
	disk   env.Disk
	memory env.Memory
	name   string
	proc   *task.Proc
	file   env.FileID
	size   int64 // of the file, whole blocks only
	super  superblock

	slab *env.Slab // window over [from, upTo)
	from Position
	upTo Position
}

func newDeviceSource(e env.Env, name string) *deviceSource {
	return &deviceSource{disk: e.WAL, memory: e.Memory, name: name}
}

func (s *deviceSource) open(p *task.Proc) (head, error) {
	s.proc = p
	open := &env.DiskOpen{Name: s.name, Direct: true}
	p.Await(func(wake func()) {
		open.Done = func(*env.DiskOpen) { wake() }
		s.disk.Open(open)
	})
	if open.Err != nil {
		return head{}, fmt.Errorf("open wal file %q: %w", s.name, open.Err)
	}
	s.file, s.size = open.File, open.Size/blockBytes*blockBytes
	err := s.sync()
	blank := false
	if err == nil {
		blank, err = s.readSuperblock()
	}
	if err == nil && s.super.shared() {
		err = s.checkFence()
	}
	if err != nil {
		s.close()
	}
	return head{identity: s.super.identity, marks: s.super.marks, blank: blank}, err
}

// checkFence holds the caller to fencing a shared log before recovering it: its owner may still write.
func (s *deviceSource) checkFence() error {
	f := &fileProc{disk: s.disk, memory: s.memory, proc: s.proc}
	_, whole, err := f.fence(FenceName(s.name))
	if err == nil && !whole {
		err = fmt.Errorf("wal file %q is shared, and was not fenced", s.name)
	}
	return err
}

func (s *deviceSource) sync() error {
	op := &env.DiskSync{File: s.file}
	s.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskSync) { wake() }
		s.disk.Sync(op)
	})
	if op.Err != nil {
		return fmt.Errorf("sync wal file %q before recovery: %w", s.name, op.Err)
	}
	return nil
}

// readSuperblock picks the valid superblock with the highest sequence. blank says that the log was
// never used: its creation did not get as far as a superblock.
func (s *deviceSource) readSuperblock() (blank bool, err error) {
	if s.size < blockBytes {
		return true, nil
	}
	slab := s.memory.Alloc(headBytes + blockBytes)
	defer slab.Release()
	data := slab.Data[:min(s.size, headBytes+blockBytes)]
	if err := s.fill(0, data); err != nil {
		return false, err
	}
	found := false
	for at := 0; at < headBytes && at < len(data); at += blockBytes {
		if super, ok := decodeSuperblock(data[at : at+blockBytes]); ok && (!found || super.sequence > s.super.sequence) {
			s.super, found = super, true
		}
	}
	if !found {
		if allZero(data) {
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

// secure writes again, durably, what lies in [from, upTo): the same bytes at the same place. A write may have failed, and then the
// sync of an earlier start; after that a sync succeeds and says nothing of those bytes, which the next power failure takes.
// They have been read whole, so that a crash in between leaves what it could have left before.
func (s *deviceSource) secure(from, upTo Position) (more bool, err error) {
	for from < upTo {
		n := min(int64(upTo-from), toWrap(from, s.super.region), windowBytes)
		if stored := min(n, s.available(from)); stored > 0 { // the end of a filler is not
			data, err := s.bytes(from, int(stored))
			if err == nil {
				err = s.write(fileOffset(from, s.super.region), data)
			}
			if err != nil {
				return false, err
			}
		}
		from += Position(n)
	}
	return false, nil
}

func (s *deviceSource) write(offset int64, data []byte) error {
	op := &env.DiskWrite{File: s.file, Offset: offset, Data: data, Durable: true}
	s.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskWrite) { wake() }
		s.disk.Write(op)
	})
	if op.Err != nil {
		return fmt.Errorf("make %d bytes at %d of wal file %q durable before recovery: %w", len(data), offset, s.name, op.Err)
	}
	return nil
}

// fill reads data from the file, several pieces at once.
func (s *deviceSource) fill(offset int64, data []byte) error {
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
			s.disk.Read(&env.DiskRead{File: s.file, Offset: offset + int64(at), Data: piece, Done: done})
		}
	})
	return failure
}

// group looks for a header at the position, unless the log fills the whole region up to there. A
// whole header of an earlier position is what the lap before left.
func (s *deviceSource) group(at Position) (h groupHeader, data []byte, err error) {
	if at-s.super.trim >= Position(s.super.region) {
		return h, nil, nil
	}
	if h, err = s.header(at); err != nil || h.bytes == 0 || h.at != at {
		return h, nil, err
	}
	data, err = s.bytes(at, h.needed())
	return h, data, err
}

// header is zero if there is no header of this log at the position.
func (s *deviceSource) header(at Position) (groupHeader, error) {
	data, err := s.bytes(at, groupHeaderBytes)
	if err != nil {
		return groupHeader{}, err
	}
	h, ok := decodeGroupHeader(data, s.super.identity)
	if !ok || !s.super.holds(&h) {
		return groupHeader{}, nil
	}
	return h, nil
}

func (s *deviceSource) beyond(missing Position, found func(groupHeader) bool) error {
	limit := min(missing+Position(s.super.ahead), s.super.trim+Position(s.super.region))
	for at := missing; at < limit; at += blockBytes {
		if s.available(at) < groupHeaderBytes {
			// Nothing more before the region's end; what follows lies at its start.
			at += Position(toWrap(at, s.super.region)) - blockBytes
			continue
		}
		h, err := s.header(at)
		if err != nil {
			return err
		}
		if h.bytes > 0 && h.at == at && !found(h) {
			return nil
		}
	}
	return nil
}

// available is how many bytes the file holds from at on, up to the region's end.
func (s *deviceSource) available(at Position) int64 {
	return max(0, min(toWrap(at, s.super.region), s.size-fileOffset(at, s.super.region)))
}

// bytes returns n bytes at a position that is a multiple of blockBytes, valid until the next call;
// nil if the file does not hold them.
func (s *deviceSource) bytes(at Position, n int) ([]byte, error) {
	if at < s.from || at+Position(n) > s.upTo {
		available := s.available(at)
		if int64(n) > available {
			return nil, nil
		}
		if err := s.move(at, int(min(available, int64(max(windowBytes, roundUp(n, blockBytes)))))); err != nil {
			return nil, err
		}
	}
	start := int(at - s.from)
	return s.slab.Data[start : start+n : start+n], nil
}

// move makes the window start at at and hold want bytes, keeping what it holds of them.
func (s *deviceSource) move(at Position, want int) error {
	var kept []byte
	if s.slab != nil && at >= s.from && at < s.upTo {
		kept = s.slab.Data[at-s.from : s.upTo-s.from]
	}
	kept = kept[:min(len(kept), want)]
	if s.slab == nil || len(s.slab.Data) < want {
		slab := s.memory.Alloc(want)
		copy(slab.Data, kept)
		s.scanned()
		s.slab = slab
	} else {
		copy(s.slab.Data, kept)
	}
	s.from, s.upTo = at, at+Position(want)
	return s.fill(fileOffset(at, s.super.region)+int64(len(kept)), s.slab.Data[len(kept):want])
}

func (s *deviceSource) scanned() {
	if s.slab != nil {
		s.slab.Release()
		s.slab, s.from, s.upTo = nil, 0, 0
	}
}

func (s *deviceSource) read(at Position, bytes int, done func(slab *env.Slab, offset int, err error)) {
	if int64(bytes) > toWrap(at, s.super.region) {
		panic(fmt.Sprintf("wal: read of %d bytes at %d crosses the end of the region of %q", bytes, at, s.name))
	}
	start := fileOffset(at, s.super.region)
	skip := int(start % blockBytes)
	room := roundUp(skip+bytes, blockBytes)
	slab := s.memory.Alloc(room)
	s.disk.Read(&env.DiskRead{
		File: s.file, Offset: start - int64(skip), Data: slab.Data[:room],
		Done: func(op *env.DiskRead) {
			if op.Err != nil {
				slab.Release()
				done(nil, 0, fmt.Errorf("read a batch at position %d of wal file %q: %w", at, s.name, op.Err))
				return
			}
			clear(op.Data[op.N:])
			done(slab, skip, nil)
		},
	})
}

func (s *deviceSource) close() { s.disk.Close(s.file) }

// remove removes the log, and then its fence: while there is the log, its owner may write to it. What a crash in
// between leaves is SweepFences's, and so is the fence of a log that was not read.
func (s *deviceSource) remove(done func(error)) {
	s.removeFile(s.name, func(err error) {
		if err != nil || !s.super.shared() {
			done(err)
			return
		}
		s.removeFile(FenceName(s.name), done)
	})
}

func (s *deviceSource) removeFile(name string, done func(error)) {
	s.disk.Remove(&env.DiskRemove{Name: name, Done: func(op *env.DiskRemove) {
		if op.Err != nil && !errors.Is(op.Err, env.ErrNotExist) { // another recoverer of the log may have removed it
			done(fmt.Errorf("remove wal file %q: %w", name, op.Err))
			return
		}
		done(nil)
	}})
}
