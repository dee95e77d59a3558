package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

// Entry is one recovered record: where it lies and its batch's header.
type Entry struct {
	Stream      uint64
	LeaderEpoch int32
	BaseOffset  int64
	Offsets     int32
	Bytes       int32
	At          Position
	BatchHeader []byte // the batch's 61 header bytes, patched; valid during the visit only
}

// Sealed is a log of an ended incarnation, open for reading. Its methods are called on the loop.
type Sealed struct {
	Name        string
	BrokerEpoch int64    // 0 if the creation of the log never finished
	Trimmed     Position // where the first entry may lie
	End         Position
	Torn        bool // a group that was being written is lost, or one behind it is not

	env     env.Env
	file    env.FileID
	super   superblock
	reading int
	closed  bool
	idle    []func() // run when the last read ends after closing
}

// Recover opens the named log, syncs it before it trusts what it reads (R7), checks every group,
// and visits every entry from the trim point to the end in order, and between them every summary: the state
// as of all entries before it. What was visited counts only if done gets no error, and is valid during the
// visit only. A log whose creation never finished is empty. Errors: env.ErrNotExist;
// *CorruptError if something below the highest durable mark cannot be read; *VersionError; an error
// of the device. After an error nothing is open and nothing was changed.
func Recover(loop *task.Loop, e env.Env, name string, visit func(Entry), summary func(at Position, state []byte), done func(*Sealed, error)) {
	loop.Go("recover wal", func(p *task.Proc) {
		s := &scanner{proc: p, env: e, name: name, visit: visit, summary: summary, sealed: &Sealed{Name: name, env: e}}
		if err := s.open(); err != nil {
			done(nil, err)
			return
		}
		err := s.recover()
		s.release()
		if err != nil {
			e.WAL.Close(s.file)
			done(nil, err)
			return
		}
		done(s.sealed, nil)
	})
}

// Unread is the named log for those who only remove it.
func Unread(e env.Env, name string) *Sealed { return &Sealed{Name: name, env: e, closed: true} }

func (s *scanner) open() error {
	open := &env.DiskOpen{Name: s.name, Direct: true}
	s.proc.Await(func(wake func()) {
		open.Done = func(*env.DiskOpen) { wake() }
		s.env.WAL.Open(open)
	})
	if open.Err != nil {
		return fmt.Errorf("open wal file %q: %w", s.name, open.Err)
	}
	s.file, s.size = open.File, open.Size/blockBytes*blockBytes
	return nil
}

func (s *scanner) sync() error {
	op := &env.DiskSync{File: s.file}
	s.proc.Await(func(wake func()) {
		op.Done = func(*env.DiskSync) { wake() }
		s.env.WAL.Sync(op)
	})
	if op.Err != nil {
		return fmt.Errorf("sync wal file %q before recovery: %w", s.name, op.Err)
	}
	return nil
}

func (s *scanner) recover() error {
	if err := s.sync(); err != nil {
		return err
	}
	s.sealed.file = s.file
	blank, err := s.readSuperblock()
	if blank || err != nil {
		return err
	}
	end, reason, err := s.groups()
	if err != nil {
		return err
	}
	mark, err := s.highestMark(end)
	if err != nil {
		return err
	}
	if mark > end {
		return &CorruptError{File: s.name, At: end, Durable: mark, Reason: reason}
	}
	s.sealed.super, s.sealed.BrokerEpoch = s.super, s.super.epoch
	s.sealed.Trimmed, s.sealed.End = s.super.trim, end
	return nil
}

// Read reads one entry's batch back into a slab of its own, checksums checked. done owns the slab's
// one reference. A batch that fails its checksum is a *CorruptError, never returned.
func (s *Sealed) Read(at Position, bytes int32, done func(slab *env.Slab, offset int, err error)) {
	room := int64(recordHeaderBytes) + int64(bytes)
	if s.closed || bytes < 0 || at < s.Trimmed || at+Position(room) > s.End || at%8 != 0 || room > s.super.toWrap(at) {
		panic(fmt.Sprintf("wal: read of %d bytes at %d, not an entry of the open log %q", bytes, at, s.Name))
	}
	start := s.super.fileOffset(at)
	skip := int(start % blockBytes)
	slab := s.env.Memory.Alloc(roundUp(skip + int(room)))
	s.reading++
	s.env.WAL.Read(&env.DiskRead{
		File: s.file, Offset: start - int64(skip), Data: slab.Data[:roundUp(skip+int(room))],
		Done: func(op *env.DiskRead) {
			err := s.validate(op, skip, at, bytes)
			if err != nil {
				slab.Release()
				slab = nil
			}
			done(slab, skip+recordHeaderBytes, err)
			s.readEnded()
		},
	})
}

func (s *Sealed) validate(op *env.DiskRead, skip int, at Position, bytes int32) error {
	if op.Err != nil {
		return fmt.Errorf("read a batch at position %d of wal file %q: %w", at, s.Name, op.Err)
	}
	var scratch [16]byte
	if op.N == len(op.Data) {
		h, ok := checkRecord(op.Data[skip:], &scratch, s.super.nonce, at)
		if ok && h.kind == kindBatch && h.bytes == uint32(bytes) {
			return nil
		}
	}
	return &CorruptError{File: s.Name, At: at, Durable: s.End, Reason: "a batch fails its checksum"}
}

func (s *Sealed) readEnded() {
	s.reading--
	if s.reading > 0 {
		return
	}
	for _, f := range s.idle {
		f()
	}
	s.idle = nil
}

// Close gives the file up once reads in flight have ended; the log stays on the device.
func (s *Sealed) Close() { s.close(func() {}) }

// Remove deletes the log's file once reads in flight have ended. Only once all its ranges are
// committed (R3). Removing what Close closed is fine.
func (s *Sealed) Remove(done func(error)) {
	s.close(func() {
		s.env.WAL.Remove(&env.DiskRemove{Name: s.Name, Done: func(op *env.DiskRemove) {
			if op.Err != nil {
				done(fmt.Errorf("remove wal file %q: %w", s.Name, op.Err))
				return
			}
			done(nil)
		}})
	})
}

func (s *Sealed) close(then func()) {
	first := !s.closed
	s.closed = true
	finish := func() {
		if first {
			s.env.WAL.Close(s.file)
		}
		then()
	}
	if s.reading == 0 {
		finish()
		return
	}
	s.idle = append(s.idle, finish)
}
