package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

// Entry is one recovered record: where it lies, and its batch.
type Entry struct {
	Stream      uint64
	LeaderEpoch int32
	BaseOffset  int64
	Offsets     int32
	Bytes       int32
	At          Position
	Batch       []byte // the whole batch, patched; valid during the visit only
}

// Sealed is a log of an ended incarnation, open for reading. Its methods are called on the loop.
type Sealed struct {
	Name        string
	BrokerEpoch int64    // 0 if the creation of the log never finished
	Trimmed     Position // where the first entry may lie
	End         Position
	Torn        bool // a group that was being written is lost, or one behind it is not
	Raced       bool // a late create of the log's writer was faster than the seal, and counts

	source  source
	head    head
	reading int
	closed  bool
	idle    []func() // run when the last read ends after closing
}

// Stored says where a log lies that its broker writes no more.
type Stored struct {
	// Name is that of its file on the log's disk or, of the object kind, what its keys start with.
	Name string
	// Object says that it is of the object kind. Then Epoch is its broker's, and First the lowest slot that may hold
	// anything which is not committed: by an image that includes the end of the epoch (R6).
	Object bool
	Epoch  int64
	First  uint64
}

func (at Stored) source(loop *task.Loop, e env.Env) source {
	if at.Object {
		return newSlotSource(loop, e, at)
	}
	return newDeviceSource(e, at.Name)
}

// Recover opens a log, seals it if it is of the object kind, checks every group, makes durable again what no mark vouches for, before anybody trusts it (R7),
// and visits every entry from the trim point to the end in order, and between them every summary: the state
// as of all entries before it. What was visited counts only if done gets no error, and is valid during the
// visit only. A log whose creation never finished is empty. Errors: env.ErrNotExist;
// *CorruptError if something below the highest durable mark cannot be read; *VersionError; an error
// of the device. After an error nothing is open and nothing was changed.
//
// A shared log must have been fenced first, by Fence, and is refused else. The directory may hold other logs, and their owners
// may write to them meanwhile.
func Recover(loop *task.Loop, e env.Env, at Stored, visit func(Entry), summary func(at Position, state []byte), done func(*Sealed, error)) {
	recoverFrom(loop, at.source(loop, e), at.Name, visit, summary, done)
}

func recoverFrom(loop *task.Loop, from source, name string, visit func(Entry), summary func(at Position, state []byte), done func(*Sealed, error)) {
	s := &scanner{source: from, name: name, visit: visit, summary: summary, opened: func(*Sealed) {}}
	s.run(loop, done)
}

// RecoverSealed is Recover for those who know how far of the log counts: whoever found that out has sealed the log, or made durable what it has up to there,
// and it is not done again. So what was visited may be read while the rest is still visited. opened gets the log before anything is; after an error
// it is closed.
func RecoverSealed(loop *task.Loop, e env.Env, at Stored, opened func(*Sealed), visit func(Entry), summary func(at Position, state []byte), done func(*Sealed, error)) {
	s := &scanner{source: at.source(loop, e), name: at.Name, visit: visit, summary: summary, opened: opened, durable: true}
	s.run(loop, done)
}

// run recovers the log in a process of its own.
func (s *scanner) run(loop *task.Loop, done func(*Sealed, error)) {
	s.sealed = &Sealed{Name: s.name, source: s.source}
	loop.Go("recover wal", func(p *task.Proc) {
		var err error
		if s.back > 0 {
			s.head, err = s.source.openLatest(p, s.back)
		} else {
			s.head, err = s.source.open(p)
		}
		if err != nil {
			done(nil, err)
			return
		}
		s.begin()
		s.opened(s.sealed)
		err = s.scan()
		s.source.scanned()
		if err != nil {
			s.sealed.Close()
			done(nil, err)
			return
		}
		done(s.sealed, nil)
	})
}

// Unread is a log for those who only remove it. The slots of one of the object kind are left to a sweep.
func Unread(loop *task.Loop, e env.Env, at Stored) *Sealed {
	return &Sealed{Name: at.Name, source: at.source(loop, e), closed: true}
}

// Read reads one entry's batch back into a slab of its own, checksums checked. done owns the slab's
// one reference. A batch that fails its checksum is a *CorruptError, never returned.
func (s *Sealed) Read(at Position, bytes int32, done func(slab *env.Slab, offset int, err error)) {
	room := recordHeaderBytes + int(bytes)
	if s.closed || bytes < 0 || at < s.Trimmed || at+Position(room) > s.End || at%8 != 0 {
		panic(fmt.Sprintf("wal: read of %d bytes at %d, not an entry of the open log %q", bytes, at, s.Name))
	}
	s.reading++
	s.source.read(at, room, func(slab *env.Slab, offset int, err error) {
		if err == nil && !s.whole(slab.Data[offset:offset+room], at, bytes) {
			slab.Release()
			slab, err = nil, &CorruptError{File: s.Name, At: at, Durable: s.End, Reason: "a batch fails its checksum"}
		}
		done(slab, offset+recordHeaderBytes, err)
		s.readEnded()
	})
}

func (s *Sealed) whole(data []byte, at Position, bytes int32) bool {
	var scratch [16]byte
	h, ok := checkRecord(data, &scratch, s.head.nonce, at)
	return ok && h.kind == kindBatch && h.bytes == uint32(bytes)
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

// Close gives the log up once reads in flight have ended; it stays where it is.
func (s *Sealed) Close() { s.close(func() {}) }

// Remove deletes the log once reads in flight have ended. Only once all its ranges are
// committed (R3). Removing what Close closed is fine.
func (s *Sealed) Remove(done func(error)) {
	s.close(func() { s.source.remove(done) })
}

func (s *Sealed) close(then func()) {
	first := !s.closed
	s.closed = true
	finish := func() {
		if first {
			s.source.close()
		}
		then()
	}
	if s.reading == 0 {
		finish()
		return
	}
	s.idle = append(s.idle, finish)
}
