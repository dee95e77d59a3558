package wal

import (
	"errors"
	"fmt"
	"sort"

	"weir/core/env"
	"weir/core/task"
)

const (
	slotsAhead     = 8         // are read together
	slotGuessBytes = 64 << 10  // read of a slot whose size is not known; the rest follows
	slotReadsMax   = 5         // tries of one read of a batch
	slotBytesMax   = 512 << 20 // of a slot; more is damage
)

// slotSource is the source of a log whose groups are objects under consecutive names. It begins with a slot that the
// cluster's metadata name, never with what a listing finds, and seals the first free one (R6).
type slotSource struct {
	store slotStore
	epoch int64
	first uint64 // the lowest slot that may be owed
	proc  *task.Proc

	id     identity // of the log, once a slot of it was read
	places []slotPlace
	window []*slotRead // from the slot after those that were visited on; nil: not read
	at     Position    // of the newest group returned
	got    bool        // there is one
}

// slotPlace is where a slot's group lies in the log.
type slotPlace struct {
	at    Position
	bytes int64
}

// slotRead is the reading of one whole slot, until it makes sense or is known not to be there.
type slotRead struct {
	source   *slotSource
	slot     uint64
	headOnly bool // only its header is wanted
	get      env.GetObject
	slab     *env.Slab
	wanted   int // bytes that the slab is for
	size     int // of the object; 0: none
	have     int // bytes of it
	header   groupHeader
	timer    task.Timer
	failures int
	damaged  int
	err      error
	done     func()
}

func newSlotSource(loop *task.Loop, e env.Env, at Stored) *slotSource {
	return &slotSource{store: newSlotStore(loop, e, at.Name), epoch: at.Epoch, first: at.First}
}

// open finds the nonce of the log, and the position of the first slot. If that is free, it is sealed at once: what the
// writer may still create there has a position which is not known.
func (s *slotSource) open(p *task.Proc) (head, error) {
	s.proc = p
	h := head{identity: identity{epoch: s.epoch}, marks: marks{summary: noPosition}}
	first, err := s.settleFirst()
	if err != nil {
		s.scanned()
		return h, err
	}
	if first.isGroup() {
		s.id = first.header.identity
		h.nonce, h.trim, h.durable = s.id.nonce, first.header.at, first.header.at
	}
	return h, nil
}

// settleFirst returns the first slot, which is there or sealed.
func (s *slotSource) settleFirst() (*slotRead, error) {
	for {
		r, err := s.next()
		if err != nil || r.size > 0 {
			return r, err
		}
		if s.first == 0 {
			return nil, s.missing()
		}
		later, err := s.later()
		if err != nil {
			return nil, err
		}
		for _, h := range later {
			if h.durable >= later[0].at {
				return nil, s.missing()
			}
		}
		if _, err := s.secure(0, 0); err != nil {
			return nil, err
		}
	}
}

func (s *slotSource) missing() error {
	return &CorruptError{File: s.store.key(s.first), Durable: noPosition, Reason: "it is missing from the object store"}
}

// next is the slot after those that were visited.
func (s *slotSource) next() (*slotRead, error) {
	if len(s.window) == 0 {
		s.window = s.readSlots(slotsFrom(s.first+uint64(len(s.places)), slotsAhead), false)
	}
	r := s.window[0]
	return r, r.err
}

// slotsFrom are n slots from one on.
func slotsFrom(first uint64, n int) []uint64 {
	slots := make([]uint64, n)
	for i := range slots {
		slots[i] = first + uint64(i)
	}
	return slots
}

// readSlots reads slots, all at a time, or only their headers.
func (s *slotSource) readSlots(slots []uint64, headOnly bool) []*slotRead {
	reads := make([]*slotRead, len(slots))
	s.proc.Await(func(wake func()) {
		left := len(reads)
		for i := range reads {
			reads[i] = &slotRead{source: s, slot: slots[i], headOnly: headOnly, done: func() {
				if left--; left == 0 {
					wake()
				}
			}}
			reads[i].start()
		}
	})
	return reads
}

// group returns the group of the slot after the one returned before. A seal is where the log ends.
func (s *slotSource) group(at Position) (h groupHeader, data []byte, err error) {
	if s.got && at > s.at {
		s.visited()
	}
	r, err := s.next()
	if err != nil || !r.isGroup() {
		return groupHeader{}, nil, err
	}
	if s.id != (identity{}) && r.header.identity != s.id {
		return groupHeader{}, nil, s.foreign(r)
	}
	s.id, s.at, s.got = r.header.identity, r.header.at, true
	return r.header, r.slab.Data[:r.size], nil
}

// visited moves on to the slot after the one that group returned.
func (s *slotSource) visited() {
	r := s.window[0]
	s.places = append(s.places, slotPlace{r.header.at, int64(r.size)})
	s.window = s.window[1:]
	r.drop()
	s.got = false
}

func (s *slotSource) foreign(r *slotRead) error {
	return &CorruptError{
		File: s.store.key(r.slot), At: r.header.at, Durable: noPosition,
		Reason: fmt.Sprintf("it was written by epoch %d under nonce %x, the log by epoch %d under nonce %x", r.header.epoch, r.header.nonce, s.id.epoch, s.id.nonce),
	}
}

func (s *slotSource) beyond(_ Position, found func(groupHeader) bool) error {
	later, err := s.later()
	for _, h := range later {
		found(h)
	}
	return err
}

// later returns the headers of the slots that the writer may have created together with the one where the log
// ends, and of one more: that was begun when the missing one was durable. The writer may still be at work: the
// missing slot is read once more after the others, and they say nothing of it if it is there by now, or sealed.
func (s *slotSource) later() (later []groupHeader, err error) {
	if missing, err := s.next(); err != nil || missing.size > 0 {
		return nil, err
	}
	for _, r := range s.readSlots(slotsFrom(s.first+uint64(len(s.places))+1, inFlightMaxHard), true) {
		if r.err == nil && r.isGroup() && (s.id == identity{} || r.header.identity == s.id) {
			later = append(later, r.header)
		}
		r.drop()
	}
	if len(later) == 0 {
		return nil, nil
	}
	s.scanned()
	if missing, err := s.next(); err != nil || missing.size > 0 {
		return nil, err
	}
	return later, nil
}

// secure creates the seal in the first free slot. If a late create of the log's writer was faster, there is more to read.
func (s *slotSource) secure(_, upTo Position) (more bool, err error) {
	r, err := s.next()
	if err != nil || r.size > 0 {
		return r.isGroup(), err
	}
	slot := r.slot
	c := creation{store: &s.store, slot: slot, body: [][]byte{s.seal(slot, upTo)}}
	var outcome error
	s.proc.Await(func(wake func()) {
		c.done = func(err error) {
			outcome = err
			wake()
		}
		c.start()
	})
	s.scanned() // what was read is older than the seal
	switch {
	case outcome == nil || errors.Is(outcome, errTaken) && c.found.flags&flagSeal != 0:
		return false, nil
	case errors.Is(outcome, errTaken):
		return true, nil
	}
	return false, fmt.Errorf("seal wal %q at slot %d: %w", s.store.name, slot, outcome)
}

func (s *slotSource) seal(slot uint64, at Position) []byte {
	body := make([]byte, SealBytes)
	nonce := s.store.env.Rand.Uint64("wal seal", uint64(s.epoch), slot)
	h := groupHeader{flags: flagSeal, identity: identity{s.epoch, nonce}, sequence: slot, at: at, bytes: SealBytes}
	h.encode(body)
	return body
}

func (s *slotSource) scanned() {
	for _, r := range s.window {
		r.drop()
	}
	s.window, s.got = nil, false
}

// read reads a batch, some times if the store fails.
func (s *slotSource) read(at Position, n int, done func(slab *env.Slab, offset int, err error)) {
	i := sort.Search(len(s.places), func(i int) bool { return s.places[i].at > at }) - 1
	key, slab := s.store.key(s.first+uint64(i)), s.store.env.Memory.Alloc(n)
	var timer task.Timer
	failures := 0
	var try func()
	try = func() {
		get := &env.GetObject{For: env.PurposeRecovery, Key: key, Offset: int64(at - s.places[i].at), Into: slab.Data[:n]}
		get.Done = func(op *env.GetObject) {
			switch {
			case op.Outcome == env.OutcomeDone:
				clear(op.Into[op.N:])
				done(slab, 0, nil)
			case op.Outcome == env.OutcomeRefused || ended(op.Err) || failures >= slotReadsMax:
				slab.Release()
				done(nil, 0, fmt.Errorf("read a batch at position %d of wal %q: %w", at, s.store.name, op.Err))
			default:
				failures++
				s.store.later(&timer, "wal batch back-off", uint64(at), failures, try)
			}
		}
		s.store.env.Store.Get(get)
	}
	try()
}

func (s *slotSource) close() {}

// remove deletes the slots that were read; the seal stays. What a deletion leaves, and what else lies there, is
// found by a sweep. The error is always nil.
func (s *slotSource) remove(done func(error)) {
	next, left := 0, len(s.places)
	if left == 0 {
		s.store.loop.Post(func() { done(nil) })
		return
	}
	var pump func()
	pump = func() {
		key := s.store.key(s.first + uint64(next))
		s.store.env.Store.Delete(&env.DeleteObject{For: env.PurposeDeletion, Key: key, Done: func(op *env.DeleteObject) {
			if left--; ended(op.Err) {
				left -= len(s.places) - next
				next = len(s.places)
			}
			if left == 0 {
				done(nil)
			} else if next < len(s.places) {
				pump()
			}
		}})
		next++
	}
	for range min(deletesInFlightMax, left) {
		pump()
	}
}

func (r *slotRead) isGroup() bool { return r.size > 0 && r.header.flags&flagSeal == 0 }

// start reads the first bytes of the slot.
func (r *slotRead) start() {
	r.wanted = slotGuessBytes
	if r.headOnly {
		r.wanted = groupHeaderBytes
	}
	r.slab = r.source.store.env.Memory.Alloc(r.wanted)
	r.fetch()
}

// fetch reads on.
func (r *slotRead) fetch() {
	store := &r.source.store
	r.get = env.GetObject{
		For: env.PurposeRecovery, Key: store.key(r.slot), Offset: int64(r.have), Into: r.slab.Data[r.have:r.wanted], Done: r.fetched,
	}
	store.env.Store.Get(&r.get)
}

func (r *slotRead) fetched(op *env.GetObject) {
	switch {
	case op.Outcome == env.OutcomeRefused:
		r.drop()
		r.done()
		return
	case ended(op.Err):
		r.fail(errGivenUp)
		return
	case op.Outcome != env.OutcomeDone:
		r.again()
		return
	}
	r.have += op.N
	size := int(min(op.Size, slotBytesMax))
	switch {
	case r.headOnly && r.have == groupHeaderBytes && r.belongs(size):
		r.size = size
		r.done()
	case r.have < size && op.N == len(op.Into) && !r.headOnly:
		r.grow(size)
		r.fetch()
	case r.have == size && r.belongs(size) && r.whole(size):
		r.size = size
		r.done()
	default:
		r.damage()
	}
}

// grow makes room for the whole object.
func (r *slotRead) grow(size int) {
	slab := r.source.store.env.Memory.Alloc(size)
	copy(slab.Data, r.slab.Data[:r.have])
	r.slab.Release()
	r.slab, r.wanted = slab, size
}

// belongs takes the header, and checks that the object belongs where it is.
func (r *slotRead) belongs(size int) bool {
	h, ok := decodeHeader(r.slab.Data[:min(r.have, size)])
	r.header = h
	return ok && h.version == FormatVersion && h.sane() && h.epoch == r.source.epoch && h.sequence == r.slot && int(h.bytes) == size
}

// whole checks the sums of all that the object has.
func (r *slotRead) whole(size int) bool {
	return r.header.flags&flagSeal != 0 || r.header.holds(r.slab.Data[:size])
}

// damage reads the slot again: what came may have been damaged on its way.
func (r *slotRead) damage() {
	if r.damaged++; r.damaged < damagedReadsMax {
		r.again()
		return
	}
	r.fail(r.damagedError())
}

func (r *slotRead) damagedError() error {
	key := r.source.store.key(r.slot)
	if h, ok := decodeHeader(r.slab.Data[:min(r.have, len(r.slab.Data))]); ok && h.version != FormatVersion {
		return &VersionError{File: key, Version: uint32(h.version)}
	}
	return &CorruptError{File: key, Durable: noPosition, Reason: "it fails its checksums each time it is read"}
}

func (r *slotRead) again() {
	r.failures++
	r.source.store.later(&r.timer, "wal slot read back-off", r.slot, r.failures, func() {
		r.have = 0
		r.fetch()
	})
}

func (r *slotRead) fail(err error) {
	r.drop()
	r.err = err
	r.done()
}

// drop gives the slot's bytes up.
func (r *slotRead) drop() {
	if r.slab != nil {
		r.slab.Release()
		r.slab, r.size = nil, 0
	}
}
