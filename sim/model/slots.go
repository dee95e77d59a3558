package model

import "fmt"

// The parts of rules that the log of an object store rests on.
const (
	ownNames       = "R5: an incarnation writes a log of its own"
	inOrder        = "R6: slots are acknowledged in order"
	oneBody        = "R6: a retry repeats its bytes"
	settled        = "R6: a create that is refused is settled by reading the slot"
	namedSlot      = "R6: recovery begins with the slot that the image names"
	includesEnd    = "R6: recovery begins with an image that includes the end of the epoch"
	sealCreated    = "R6: the first free slot is sealed by creating it"
	lateRead       = "R6: a create that was faster than the seal counts"
	sealsStay      = "R6: seals are never deleted"
	appliedFirst   = "R6: slots are deleted once the commit that covers them is applied"
	endedOwner     = "R1: the owner of an ended epoch commits nothing"
	firstSealOnly  = "R3: the first record that closes the range counts"
	owedSlotsStay  = "R3: a sealed log lives until its ranges are committed"
	slotGroups     = 3 // groups that the writer has, one to a slot
	slotsInFlight  = 2 // creates of the writer that are under way together
	slotFaults     = 1 // creates that are given up, and come later or never; with 2 there are 3.4 million states, and nothing breaks either
	slotRecoverers = 2
)

// slotRules are all of them.
var slotRules = []string{
	ownNames, inOrder, oneBody, settled, namedSlot, includesEnd, sealCreated, lateRead, sealsStay, appliedFirst, endedOwner, firstSealOnly, owedSlotsStay,
}

// What a slot holds.
const (
	slotFree uint8 = iota
	slotGroup
	slotOther // the group with other bytes
	slotSeal
)

// What the writer knows of a create.
const (
	createUnknown uint8 = iota
	createRefused
	createDurable
)

// create is a writer's or a recoverer's create of one slot: under way, given up and still to come, or both.
type create struct {
	waits, late bool
	body        uint8 // of the try under way
	lateBody    uint8
}

// Phases of a recoverer.
const (
	recoveryIdle uint8 = iota
	recoveryReads
	recoverySeals
	recoveryEnded // it proposes where the range ends
	recoveryOver
)

type recoverer struct {
	phase  uint8
	at     uint8 // the slot that it reads or seals
	seal   bool  // its seal is under way
	late   bool  // one was given up, for lateAt
	lateAt uint8
}

// Slots is a state of one log in an object store: a writer with several creates under way, two recoverers, and
// the store. A group is one record, so that its offset is its slot.
type Slots struct {
	cell    [slotGroups + 1]uint8
	durable [slotGroups]uint8 // what the group of a slot says was durable when it was made

	creates [slotGroups]create
	known   [slotGroups]uint8
	begun   uint8
	acked   [slotGroups]bool
	body    [slotGroups]uint8 // that was acknowledged
	over    bool              // the writer knows that its epoch has ended
	faults  uint8             // that are left

	first   uint8 // the image's: where recovery begins
	commit  uint8 // a commit up to here is proposed; 0: none
	ended   bool  // the epoch
	sealed  bool
	end     uint8 // of the range, once sealed
	done    bool  // all of it is committed
	broken  string
	recover [slotRecoverers]recoverer
}

// searchSlots searches the model without some rules.
func searchSlots(off rules) finding {
	m := slotModel{off}
	return search(Slots{faults: slotFaults}, m.steps, m.broken)
}

type slotModel struct{ rules }

// takeSlots is called for each step that may come next.
type takeSlots = func(step string, to Slots)

func (m slotModel) steps(s Slots, take takeSlots) {
	m.begin(s, take)
	for slot := range uint8(slotGroups) {
		m.create(s, slot, take)
		m.acknowledge(s, slot, take)
		m.delete(s, slot, take)
	}
	m.commits(s, take)
	m.ends(s, take)
	for i := range slotRecoverers {
		m.recovers(s, i, take)
		m.lateSeal(s, i, take)
	}
}

// begin is the writer's next group.
func (m slotModel) begin(s Slots, take takeSlots) {
	if s.over || s.begun == slotGroups || s.begun >= s.ackedInOrder()+slotsInFlight {
		return
	}
	s.durableAt(s.begun)
	s.creates[s.begun].waits, s.creates[s.begun].body = true, slotGroup
	s.begun++
	take(fmt.Sprintf("the writer begins slot %d", s.begun-1), s)
}

func (s *Slots) durableAt(slot uint8) { s.durable[slot] = s.ackedInOrder() }

func (s *Slots) ackedInOrder() (n uint8) {
	for n < slotGroups && s.acked[n] {
		n++
	}
	return n
}

// create is what becomes of the creates of a slot.
func (m slotModel) create(s Slots, slot uint8, take takeSlots) {
	c := s.creates[slot]
	if c.late {
		to := s
		to.creates[slot].late, to.creates[slot].lateBody = false, 0
		if to.cell[slot] == slotFree {
			to.cell[slot] = c.lateBody
		}
		take(fmt.Sprintf("a create of slot %d that was given up comes", slot), to)
	}
	if s.over {
		return
	}
	if c.waits {
		m.answer(s, slot, take)
	}
	if s.known[slot] == createRefused {
		m.settle(s, slot, take)
	}
}

// answer is what becomes of a create whose answer the writer waits for.
func (m slotModel) answer(s Slots, slot uint8, take takeSlots) {
	c := s.creates[slot]
	to := s
	to.creates[slot].waits = false
	if to.cell[slot] == slotFree {
		to.cell[slot], to.known[slot] = c.body, createDurable
		take(fmt.Sprintf("slot %d is created", slot), to)
	} else {
		to.known[slot] = createRefused
		if !m.keeps(settled) {
			to.known[slot] = createDurable
		}
		take(fmt.Sprintf("the create of slot %d is refused", slot), to)
	}
	if s.faults == 0 || c.late {
		return
	}
	to = s
	to.faults--
	again := &to.creates[slot]
	if !m.keeps(oneBody) {
		again.body = slotOther
	}
	if lost := to; lost.cell[slot] == slotFree {
		lost.cell[slot] = c.body
		take(fmt.Sprintf("slot %d is created, the answer is lost, and the writer tries again", slot), lost)
	}
	again.late, again.lateBody = true, c.body
	take(fmt.Sprintf("the create of slot %d is given up, and tried again", slot), to)
}

// settle reads a slot whose create was refused.
func (m slotModel) settle(s Slots, slot uint8, take takeSlots) {
	switch s.cell[slot] {
	case slotFree:
		s.known[slot], s.creates[slot].waits = createUnknown, true
	case slotSeal:
		s.over = true
	default:
		s.known[slot] = createDurable
	}
	take(fmt.Sprintf("the writer reads slot %d", slot), s)
}

func (m slotModel) acknowledge(s Slots, slot uint8, take takeSlots) {
	if s.over || s.known[slot] != createDurable || s.acked[slot] || m.keeps(inOrder) && slot != s.ackedInOrder() {
		return
	}
	s.acked[slot], s.body[slot] = true, s.creates[slot].body
	take(fmt.Sprintf("slot %d is acknowledged", slot), s)
}

// delete deletes a slot that nobody needs.
func (m slotModel) delete(s Slots, slot uint8, take takeSlots) {
	below := s.first
	if !m.keeps(appliedFirst) {
		below = max(below, s.commit)
	}
	given := slot < below || s.done || !m.keeps(owedSlotsStay) && s.sealed
	if c := s.cell[slot]; given && (c == slotGroup || c == slotOther || c == slotSeal && s.done && !m.keeps(sealsStay)) {
		s.cell[slot] = slotFree
		take(fmt.Sprintf("slot %d is deleted", slot), s)
	}
}

// commits are those of the owner.
func (m slotModel) commits(s Slots, take takeSlots) {
	if n := s.ackedInOrder(); !s.over && s.commit == 0 && n > s.first {
		to := s
		to.commit = n
		take(fmt.Sprintf("the owner proposes a commit of all below slot %d", n), to)
	}
	if s.commit == 0 {
		return
	}
	to := s
	if to.commit = 0; !s.ended || !m.keeps(endedOwner) {
		to.first = max(s.first, s.commit)
		take("the owner's commit applies", to)
	} else {
		take("the owner's commit is refused", to)
	}
}

// ends ends the epoch, and commits what its log holds.
func (m slotModel) ends(s Slots, take takeSlots) {
	if !s.ended {
		to := s
		to.ended = true
		take("the end of the epoch applies", to)
	}
	if s.sealed && !s.done {
		to := s
		to.done = true
		take("all of the range is committed", to)
	}
	if s.sealed && s.done && !m.keeps(ownNames) && s.end+1 < slotGroups {
		// The next incarnation goes on behind the seal.
		if c := s.cell[s.end+1]; c == slotGroup || c == slotOther {
			s.broken = "the next incarnation finds a body of the one before in its log"
			take(fmt.Sprintf("the next incarnation creates slot %d", s.end+1), s)
		}
	}
}

// recovers is the next step of a recoverer.
func (m slotModel) recovers(s Slots, i int, take takeSlots) {
	r := &s.recover[i]
	who := fmt.Sprintf("recoverer %d", i+1)
	switch r.phase {
	case recoveryIdle:
		if s.ended || !m.keeps(includesEnd) && i == 0 {
			r.phase, r.at = recoveryReads, m.beginsAt(&s)
			take(fmt.Sprintf("%s begins with slot %d", who, r.at), s)
		}
	case recoveryReads:
		if s.ended {
			m.reads(s, i, who, take)
		}
	case recoverySeals:
		m.seals(s, i, who, take)
	case recoveryEnded:
		r.phase = recoveryOver
		if !s.sealed || !m.keeps(firstSealOnly) {
			s.sealed, s.end = true, r.at
		}
		take(fmt.Sprintf("%s proposes that the range ends at %d", who, r.at), s)
	}
}

// beginsAt is the first slot that a recoverer reads.
func (m slotModel) beginsAt(s *Slots) uint8 {
	if m.keeps(namedSlot) {
		return s.first
	}
	return 0 // what a log begins with
}

func (m slotModel) reads(s Slots, i int, who string, take takeSlots) {
	r := &s.recover[i]
	what := fmt.Sprintf("%s reads slot %d", who, r.at)
	switch {
	case s.cell[r.at] == slotSeal:
		r.phase = recoveryEnded
	case s.cell[r.at] != slotFree:
		r.at++
	case s.missing(r.at) && s.done:
		r.phase = recoveryOver // its image is an old one
	case s.missing(r.at):
		s.broken = fmt.Sprintf("slot %d is missing, and was durable", r.at)
	case !m.keeps(sealCreated):
		r.phase = recoveryEnded
	default:
		r.phase, r.seal = recoverySeals, true
	}
	take(what, s)
}

// missing reports whether a slot behind a free one says that it was durable.
func (s *Slots) missing(free uint8) bool {
	for slot := free + 1; slot < slotGroups; slot++ {
		if c := s.cell[slot]; (c == slotGroup || c == slotOther) && s.durable[slot] > free {
			return true
		}
	}
	return false
}

// seals is what becomes of a recoverer's seal.
func (m slotModel) seals(s Slots, i int, who string, take takeSlots) {
	to := s
	r := &to.recover[i]
	r.seal = false
	switch c := to.cell[r.at]; {
	case c == slotFree:
		to.cell[r.at], r.phase = slotSeal, recoveryEnded
	case c == slotSeal || !m.keeps(lateRead):
		r.phase = recoveryEnded
	default:
		r.phase = recoveryReads
	}
	take(fmt.Sprintf("%s creates the seal in slot %d", who, r.at), to)
	if s.faults > 0 && !s.recover[i].late {
		to = s
		to.faults--
		to.recover[i].late, to.recover[i].lateAt = true, s.recover[i].at
		take(fmt.Sprintf("%s gives up its seal in slot %d, and tries again", who, s.recover[i].at), to)
	}
}

// lateSeal is a seal that comes after it was given up.
func (m slotModel) lateSeal(s Slots, i int, take takeSlots) {
	r := &s.recover[i]
	if !r.late {
		return
	}
	if s.cell[r.lateAt] == slotFree {
		s.cell[r.lateAt] = slotSeal
	}
	r.late = false
	take(fmt.Sprintf("a seal of recoverer %d that was given up comes to slot %d", i+1, r.lateAt), s)
}

// broken names what is wrong with a state.
func (m slotModel) broken(s Slots) string {
	if s.broken != "" {
		return s.broken
	}
	for slot := range uint8(slotGroups) {
		owed := slot >= s.first && !s.done
		c := s.cell[slot]
		switch {
		case s.acked[slot] && s.sealed && slot >= max(s.end, s.first):
			return fmt.Sprintf("slot %d was acknowledged, and the range ends before it", slot)
		case s.acked[slot] && owed && c != slotGroup && c != slotOther:
			return fmt.Sprintf("slot %d was acknowledged, is not committed, and is gone", slot)
		case s.acked[slot] && owed && c != s.body[slot]:
			return fmt.Sprintf("slot %d was acknowledged with other bytes than it holds", slot)
		case s.sealed && owed && slot < s.end && c != slotGroup && c != slotOther:
			return fmt.Sprintf("slot %d belongs to the range, is not committed, and is gone", slot)
		}
	}
	return ""
}
