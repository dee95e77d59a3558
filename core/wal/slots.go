package wal

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/task"
)

// deletesInFlightMax bounds the deletions of slots that nobody needs any more.
const deletesInFlightMax = 4

// slots is the medium of a log whose groups are objects under consecutive names: a group's sequence number is its
// slot. Each is created whole or not at all, and only if it is absent (R6).
type slots struct {
	log   *Log
	store slotStore

	linger  task.Timer
	paced   env.Time // when the next group would go if all were LingerMax apart; the further behind now, the more are saved
	trimmed Position // the trim point when it was last looked at
	writes  []*slotWrite
	idle    []*slotWrite

	garbage  uint64   // what lies below may be deleted
	deleted  uint64   // and what lies below this is, or is being
	failed   []uint64 // deletions that are to be done again
	deleting int
	failures int
	pause    task.Timer
}

// slotWrite is one group on its way. The structs are recycled.
type slotWrite struct {
	slots    *slots
	group    *group
	order    []*Append // of the group, as the object has them
	body     [][]byte
	compute  env.Compute
	creation creation
	laying   bool
}

func newSlots(l *Log) *slots {
	return &slots{log: l, store: newSlotStore(l.loop, l.env, l.name), paced: l.loop.Now()}
}

// room is not bounded: there is no end of a region to cross.
func (s *slots) room(Position) int64 { return math.MaxInt64 }

// reserve bounds what is not committed yet, and besides what is not in the store yet: there is no use in more than
// the creates in flight, and as much again that gathers. The append itself does not count there, so that small ones
// cannot keep a large one out.
func (s *slots) reserve(end Position, spare int64) bool {
	l := s.log
	if int64(end-l.marks.trim)+spare > l.Size() {
		return false
	}
	return int64(l.End()-l.marks.durable) < 2*int64(l.config.WritesInFlightMax)*int64(l.config.GroupBytesMax)
}

// due lets a group gather for LingerMin, and if no group is saved, until the next one is due: so appends after a pause wait
// little, and a busy log makes a bounded number of requests. A group that is nearly full goes at once, with room left for its summary.
func (s *slots) due(g *group) bool {
	l := s.log
	if !s.admits() {
		return false
	}
	now, at := l.loop.Now(), max(g.opened.Add(l.config.LingerMin), s.paced.Add(-s.saved(l.config.LingerBurst-1)))
	if now < at && g.used < g.bytesMax-g.bytesMax/8 && l.closing == nil {
		if !s.linger.Pending() {
			l.loop.Reset(&s.linger, at.Sub(now), func() {})
		}
		return false
	}
	l.loop.Stop(&s.linger)
	return true
}

// admits bounds the groups from the first that is not durable on, so that recovery knows how far beyond a free slot
// its writer may have created others.
func (s *slots) admits() bool { return len(s.log.commit.inFlight) < s.log.config.WritesInFlightMax }

func (s *slots) write(g *group) {
	w := s.newWrite()
	w.group, w.laying = g, true
	s.pace()
	s.writes = append(s.writes, w)
	s.log.env.Compute.Submit(&w.compute)
}

// saved is the time in which so many groups are saved.
func (s *slots) saved(groups int) time.Duration {
	return time.Duration(groups) * s.log.config.LingerMax
}

// pace takes the group that goes now from those that are saved. Full ones, which go whether any is saved or not, make the
// next wait no longer than LingerMax.
func (s *slots) pace() {
	now := s.log.loop.Now()
	s.paced = min(max(s.paced, now).Add(s.log.config.LingerMax), now.Add(s.saved(s.log.config.LingerBurst)))
}

func (s *slots) newWrite() *slotWrite {
	if n := len(s.idle); n > 0 {
		w := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return w
	}
	w := &slotWrite{slots: s}
	w.compute = env.Compute{Work: w.lay, Done: w.laid}
	w.creation = creation{store: &s.store, done: w.done}
	return w
}

// lay lays the group, its records sorted by stream and summaries last, so that others can read one stream of it.
// In the slab they stay where they were placed, and the object is put together from there. It runs off the loop.
func (w *slotWrite) lay() {
	g := w.group
	w.order = append(w.order[:0], g.appends...)
	slices.SortStableFunc(w.order, storedBefore)
	g.layAs(w.order)
	w.body = append(w.body[:0], g.data[:groupHeaderBytes])
	end := groupHeaderBytes
	for _, a := range w.order {
		at, room := a.Offset-recordHeaderBytes-g.slabAt, g.roomOf(a)
		if last := len(w.body) - 1; at == end {
			first := at - len(w.body[last])
			w.body[last] = g.data[first : at+len(room)]
		} else {
			w.body = append(w.body, room)
		}
		end = at + len(room)
	}
}

func storedBefore(a, b *Append) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.Stream, b.Stream))
}

func (w *slotWrite) laid(*env.Compute) {
	w.laying = false
	if w.slots.log.err != nil {
		w.done(errGivenUp)
		return
	}
	w.creation.slot, w.creation.body = w.group.header.sequence, w.body
	w.creation.start()
}

// done takes what became of the group's object.
func (w *slotWrite) done(err error) {
	s, g := w.slots, w.group
	if err != nil && !errors.Is(err, errGivenUp) {
		err = s.fenced(&w.creation, err)
	}
	s.writes = slices.DeleteFunc(s.writes, func(o *slotWrite) bool { return o == w })
	clear(w.order)
	clear(w.body)
	w.group, w.creation.body = nil, nil
	s.idle = append(s.idle, w)
	s.log.written(g, err)
	if s.log.err == nil {
		s.log.spaceCame()
	}
}

// fenced says why a group could not be created.
func (s *slots) fenced(c *creation, err error) error {
	if !errors.Is(err, errTaken) {
		return fmt.Errorf("create slot %d of wal %q: %w", c.slot, s.log.name, err)
	}
	if c.found.flags&flagSeal != 0 {
		return &FencedError{File: s.log.name}
	}
	return fmt.Errorf("slot %d of wal %q holds a body of another writer: this incarnation is over; what it has not acknowledged may be lost: %w",
		c.slot, s.log.name, err)
}

func (s *slots) step() (settled bool) {
	l := s.log
	if s.trimmed != l.marks.trim {
		s.trimmed = l.marks.trim
		l.loop.Post(s.offerSpace)
	}
	s.delete()
	return true // what is left undeleted is found later, by recovery or by a sweep
}

func (s *slots) offerSpace() {
	if s.log.err == nil {
		s.log.spaceCame()
	}
}

func (s *slots) lowestSlot() uint64 { return s.log.lowest }

func (s *slots) recorded(slot uint64) {
	if slot > s.log.lowest {
		panic(fmt.Sprintf("wal: slots below %d would be deleted, those from %d on are kept", slot, s.log.lowest))
	}
	s.garbage = max(s.garbage, slot)
}

// delete deletes slots that recovery does not begin with any more.
func (s *slots) delete() {
	for s.deleting < deletesInFlightMax && !s.pause.Pending() && s.log.closing == nil {
		slot := s.deleted
		switch n := len(s.failed); {
		case n > 0:
			slot, s.failed = s.failed[n-1], s.failed[:n-1]
		case slot < s.garbage:
			s.deleted++
		default:
			return
		}
		s.deleting++
		s.log.env.Store.Delete(&env.DeleteObject{
			For: env.PurposeDeletion, Key: s.store.key(slot), Done: func(op *env.DeleteObject) { s.deletionEnded(slot, op) },
		})
	}
}

func (s *slots) deletionEnded(slot uint64, op *env.DeleteObject) {
	s.deleting--
	if op.Outcome == env.OutcomeDone {
		s.failures = 0
		return
	}
	s.failed = append(s.failed, slot)
	if s.log.err != nil || ended(op.Err) {
		return
	}
	s.failures++
	s.store.later(&s.pause, "wal delete back-off", slot, s.failures, func() {})
}

// abandon lets go of groups that wait for their next try; those at the store end by themselves.
func (s *slots) abandon() {
	s.log.loop.Stop(&s.linger)
	s.log.loop.Stop(&s.pause)
	for _, w := range slices.Clone(s.writes) {
		if !w.laying && w.creation.stop() {
			s.log.loop.Post(func() { w.done(errGivenUp) })
		}
	}
}

func (s *slots) close() { s.abandon() }

// CreateObject makes the log of one broker epoch in the object store, under a name that [ObjectName] gives. Its first slot
// is created empty, and then once more, which the store must refuse: one that would take it has no conditional
// create, and no log can be kept safely there. It waits for the store for as long as that does not answer. What
// is said of [Create] holds otherwise; failed is also called if another has sealed the log.
func CreateObject(loop *task.Loop, e env.Env, config Config, name string, brokerEpoch int64, summary Summarizer, failed func(error), done func(*Log, error)) {
	config.GroupBytesMax = orDefault(config.GroupBytesMax, 8<<20)
	config.WritesInFlightMax = orDefault(config.WritesInFlightMax, 8)
	config, err := config.resolve()
	if err != nil {
		done(nil, err)
		return
	}
	id := identity{epoch: brokerEpoch, nonce: e.Rand.Uint64("wal nonce", uint64(brokerEpoch), 0)}
	l := newLog(loop, e, config, name, id, 8, summary, failed)
	l.summary.each, l.summary.next = true, 0
	s := newSlots(l)
	l.medium = s
	s.create(func(err error) {
		if err != nil {
			done(nil, err)
			return
		}
		l.begin(headSlotBytes)
		l.start()
		done(l, nil)
	})
}

// headSlotBytes is the size of the first slot, a group without records: it shows recovery that there is a log,
// and is larger than a seal.
const headSlotBytes = groupHeaderBytes + 8

// create makes the first slot, and probes the store.
func (s *slots) create(done func(error)) {
	c := &creation{store: &s.store, body: [][]byte{headSlot(s.log.id)}}
	c.done = func(err error) {
		if err != nil {
			done(fmt.Errorf("create wal %q: %w", s.log.name, err))
			return
		}
		s.probe(c.body, 0, done)
	}
	c.start()
}

func headSlot(id identity) []byte {
	head := make([]byte, headSlotBytes)
	h := groupHeader{identity: id, bytes: headSlotBytes}
	h.encode(head)
	return head
}

// probe creates the first slot once more, with the same bytes: a store that has conditional create refuses that.
func (s *slots) probe(body [][]byte, failures int, done func(error)) {
	var pause task.Timer
	s.log.env.Store.Put(&env.PutObject{For: env.PurposeWALSlot, Key: s.store.key(0), Body: body, Done: func(op *env.PutObject) {
		switch {
		case op.Outcome == env.OutcomeRefused:
			done(nil)
		case op.Outcome == env.OutcomeDone:
			done(fmt.Errorf("the object store took object %q twice: it has no conditional create (If-None-Match: *), without which two brokers could "+
				"overwrite each other's log; use a store that has it, or weir.wal.kind=device", op.Key))
		case ended(op.Err):
			done(errGivenUp)
		default:
			s.store.later(&pause, "wal probe back-off", 0, failures, func() { s.probe(body, failures+1, done) })
		}
	}})
}
