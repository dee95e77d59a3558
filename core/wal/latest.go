package wal

import (
	"cmp"
	"errors"

	"weir/core/env"
	"weir/core/task"
)

// ErrNoSummary says that a log has no summary where one is found at once.
var ErrNoSummary = errors.New("wal has no summary that is found without reading all of it")

// slotsBack is how many slots before the end of an object log are tried for a summary. It goes into each, unless that would
// make the log twice as large.
var slotsBack = []int{1, 16}

// RecoverLatest is for those who must know soon where the streams of a log end, and what their state is there, whatever the
// log holds: it visits the newest summary that is found without reading the log, and then all that follows. It checks that, makes it
// durable and seals the log as Recover does, which reads the rest at any time after, and finds only then what is damaged there.
// The log that done gets is closed. ErrNoSummary: there is none, or it is not found at once; nothing was visited. Other errors are
// those of Recover.
func RecoverLatest(loop *task.Loop, e env.Env, at Stored, visit func(Entry), summary func(at Position, state []byte), done func(*Sealed, error)) {
	loop.Go("recover the end of a wal", func(p *task.Proc) {
		back := slotsBack
		if !at.Object {
			back = slotsBack[:1]
		}
		var sealed *Sealed
		err := ErrNoSummary
		for i := 0; i < len(back) && errors.Is(err, ErrNoSummary); i++ {
			sealed, err = recoverLatest(p, at.source(loop, e), at.Name, back[i], visit, summary)
		}
		done(sealed, err)
	})
}

// groupsLatest is with how many slots RecoverLatestSealed begins: a second of writing at least, or some dozens of MB.
const groupsLatest = 4

// RecoverLatestSealed visits the last of what RecoverSealed does, for those who want that soon: of an object log the last slots, and on a device as much
// as most of them would have. Entries may be read at once, and the log that done gets is open. ErrNoSummary: it is not found at
// once, or the log has not more.
func RecoverLatestSealed(loop *task.Loop, e env.Env, at Stored, opened func(*Sealed), visit func(Entry), done func(*Sealed, error)) {
	s := &scanner{
		source: at.source(loop, e), name: at.Name, visit: visit, summary: func(Position, []byte) {}, opened: opened, durable: true, back: groupsLatest,
	}
	s.run(loop, done)
}

func recoverLatest(p *task.Proc, from source, name string, back int, visit func(Entry), summary func(at Position, state []byte)) (*Sealed, error) {
	found := false
	s := &scanner{source: from, name: name, sealed: &Sealed{Name: name, source: from, closed: true}}
	s.visit = func(n Entry) {
		if found {
			visit(n)
		}
	}
	s.summary = func(at Position, state []byte) {
		found = true
		summary(at, state)
	}
	var err error
	if s.head, err = from.openLatest(p, back); err != nil {
		return nil, err
	}
	s.begin()
	err = s.scan()
	from.scanned()
	from.close()
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, ErrNoSummary
	}
	return s.sealed, nil
}

// backBytes is how much further back on a device each group more begins that is asked for.
const backBytes = 16 << 20

// openLatest implements source: the superblock names the newest summary.
func (s *deviceSource) openLatest(p *task.Proc, back int) (head, error) {
	h, err := s.open(p)
	if err != nil {
		return h, err
	}
	start, ok := Position(0), false
	if !h.blank {
		start, ok, err = s.summaryGroup()
	}
	if err == nil && !ok {
		err = ErrNoSummary
	}
	if err == nil && back > 1 {
		start, err = s.further(start, Position(back-1)*backBytes)
	}
	if err != nil {
		s.scanned()
		s.close()
		return h, err
	}
	h.trim = start
	return h, nil
}

// summaryGroup finds the start of the group with the summary that the superblock names.
func (s *deviceSource) summaryGroup() (start Position, ok bool, err error) {
	summary := s.super.summary
	if summary == noPosition || summary < s.super.trim {
		return 0, false, nil
	}
	h, err := s.headerBefore(summary)
	return h.at, h.bytes > 0 && summary < h.at+Position(h.bytes), err
}

// further goes back from the start of a group to that of one some bytes before, if it is found at once.
func (s *deviceSource) further(start, by Position) (Position, error) {
	if start < s.super.trim+by {
		return s.super.trim, nil
	}
	h, err := s.headerBefore(start - by)
	if h.bytes == 0 {
		return start, err
	}
	return h.at, err
}

// headerBefore finds the nearest header at or before a position: zero if it is further away than most groups are large. A header is of its place
// alone, so nothing else passes for it; the scan checks the group.
func (s *deviceSource) headerBefore(at Position) (groupHeader, error) {
	last := at / blockBytes * blockBytes
	lap := last - Position(uint64(last)%uint64(s.super.region)) // a group does not cross the region's end
	first := max(s.super.trim, lap, last-min(last, windowBytes-blockBytes))
	data, err := s.bytes(first, int(last-first)+blockBytes)
	if err != nil || data == nil {
		return groupHeader{}, err
	}
	for at := last; ; at -= blockBytes {
		if h, ok := decodeGroupHeader(data[at-first:], s.super.identity); ok && h.at == at && s.super.holds(&h) {
			return h, nil
		}
		if at == first {
			return groupHeader{}, nil
		}
	}
}

const (
	// slotDoublings is how often the distance doubles at which the end of an object log is looked for.
	slotDoublings = 24
	// slotSteps is in how many places at a time it is looked for, once it is known between which slots it lies.
	slotSteps = 32
)

// openLatest implements source: it finds the slot where the log ends, and starts some before it.
func (s *slotSource) openLatest(p *task.Proc, back int) (head, error) {
	s.proc = p
	end, err := s.findEnd()
	if err != nil {
		return head{}, err
	}
	if end < s.first+uint64(back) {
		return head{}, ErrNoSummary
	}
	s.first = end - uint64(back)
	return s.open(p)
}

// findEnd finds the first slot that has no group. A slot that has one says that all slots inFlightMaxHard before it were durable, since
// its writer creates no further ahead; so only those around the last that is found are looked at one by one.
func (s *slotSource) findEnd() (uint64, error) {
	last, missing, err := s.bracket()
	for err == nil && missing-last > inFlightMaxHard {
		last, missing, err = s.narrow(last, missing)
	}
	if err != nil {
		return 0, err
	}
	from := max(s.first, last-min(last, inFlightMaxHard))
	slots := make([]uint64, 0, 2*inFlightMaxHard+1)
	for slot := from; slot <= last+inFlightMaxHard; slot++ {
		slots = append(slots, slot)
	}
	groups, err := s.haveGroups(slots)
	if err != nil {
		return 0, err
	}
	for i, slot := range slots {
		if !groups[i] {
			return slot, nil
		}
	}
	return 0, ErrNoSummary // the writer is still at work
}

// bracket finds a slot that has a group, or is the first, and a later one that has none.
func (s *slotSource) bracket() (last, missing uint64, err error) {
	slots := make([]uint64, slotDoublings)
	for i := range slots {
		slots[i] = s.first + 1<<i
	}
	return s.between(s.first, slots, s.first+1<<slotDoublings)
}

// narrow looks between two slots.
func (s *slotSource) narrow(last, missing uint64) (uint64, uint64, error) {
	slots := make([]uint64, 0, slotSteps-1)
	for i := range uint64(slotSteps - 1) {
		slots = append(slots, last+(i+1)*(missing-last)/slotSteps)
	}
	return s.between(last, slots, missing)
}

// between returns the highest of some slots, ascending, that has a group, or last, and the one after that, or missing.
func (s *slotSource) between(last uint64, slots []uint64, missing uint64) (uint64, uint64, error) {
	groups, err := s.haveGroups(slots)
	if err != nil {
		return 0, 0, err
	}
	for i := len(slots) - 1; i >= 0; i-- {
		if groups[i] {
			return slots[i], missing, nil
		}
		missing = slots[i]
	}
	return last, missing, nil
}

// haveGroups reports which slots have a group, all looked at together.
func (s *slotSource) haveGroups(slots []uint64) ([]bool, error) {
	groups := make([]bool, len(slots))
	var err error
	for i, r := range s.readSlots(slots, true) {
		err = cmp.Or(err, r.err)
		groups[i] = r.isGroup()
		r.drop() // each of them, although another one failed
	}
	return groups, err
}
