package wal

import "weir/core/env"

// gatherer lays appends into groups, one after another. It decides where everything lies; the bytes
// are laid later, off the loop.
type gatherer struct {
	log   *Log
	align int // groups start at multiples of it, in the log and in the slab

	slab     *env.Slab // the slab being laid
	slabUsed int
	open     *group   // gathering, nil if nothing is gathered
	end      Position // after the newest sealed group
	serial   uint64   // sequence of the next group
	arrived  int64    // bytes ever placed
	idle     []*group
}

// position is the end of the log, with what gathers.
func (s *gatherer) position() Position {
	if s.open != nil {
		return s.open.header.at + Position(s.open.used)
	}
	return s.end
}

func (s *gatherer) aligned(bytes int) int { return roundUp(bytes, s.align) }

// endWith is where the log would end after placing room more bytes.
func (s *gatherer) endWith(room int) Position {
	start := s.end
	if g := s.open; g != nil {
		if s.fits(room) {
			return g.header.at + Position(s.aligned(g.used+room))
		}
		start = g.header.at + Position(s.aligned(g.used))
	}
	bytes := s.aligned(groupHeaderBytes + room)
	return start + s.gap(start, bytes) + Position(bytes)
}

// gap is what the medium leaves between a position and the next group, of this many bytes.
func (s *gatherer) gap(at Position, bytes int) Position {
	if room := s.log.medium.room(at); int64(bytes) > room {
		return Position(room)
	}
	return 0
}

// fits reports whether the gathering group takes room more bytes.
func (s *gatherer) fits(room int) bool { return s.aligned(s.open.used+room) <= s.open.bytesMax }

// bound says how large the gathering group may become.
func (s *gatherer) bound() {
	if g := s.open; g != nil {
		g.bytesMax = min(s.log.config.GroupBytesMax, len(g.slab.Data)-g.slabAt, int(s.log.medium.room(g.header.at)))
	}
}

func (s *gatherer) place(a *Append, room int) {
	if s.open != nil && !s.fits(room) {
		s.seal()
	}
	if s.open == nil {
		s.openGroup(room)
	}
	g := s.open
	a.At, a.Slab, a.Offset = g.header.at+Position(g.used), g.slab, g.slabAt+g.used+recordHeaderBytes
	g.used += room
	g.appends = append(g.appends, a)
	s.arrived += int64(room)
}

// openGroup starts a group that has room for at least one record of room bytes.
func (s *gatherer) openGroup(room int) {
	bytes := s.aligned(groupHeaderBytes + room)
	if gap := s.gap(s.end, bytes); gap > 0 {
		s.openAt(s.aligned(groupHeaderBytes))
		s.open.header.flags = flagFiller
		s.sealAs(uint32(gap))
	}
	s.openAt(bytes)
}

func (s *gatherer) openAt(bytes int) {
	if s.slab == nil || s.slabUsed+bytes > len(s.slab.Data) {
		s.releaseSlab()
		s.slab, s.slabUsed = s.log.env.Memory.Alloc(max(bytes, s.log.config.SlabBytes)), 0
	}
	g := s.newGroup()
	s.slab.Retain()
	g.slab, g.slabAt, g.used, g.opened = s.slab, s.slabUsed, groupHeaderBytes, s.log.loop.Now()
	g.header = groupHeader{identity: s.log.id, sequence: s.serial, at: s.end}
	s.serial++
	s.open = g
	s.bound()
}

func (s *gatherer) releaseSlab() {
	if s.slab != nil {
		s.slab.Release()
		s.slab = nil
	}
}

func (s *gatherer) seal() { s.sealAs(uint32(s.aligned(s.open.used))) }

// sealAs ends the gathering group, which takes bytes of the log.
func (s *gatherer) sealAs(bytes uint32) {
	g := s.open
	s.open = nil
	g.header.bytes, g.header.records = bytes, uint32(len(g.appends))
	g.data = g.slab.Data[g.slabAt : g.slabAt+s.aligned(g.used)]
	s.slabUsed += len(g.data)
	s.end = g.end()
	s.log.sealed(g)
}

// drop gives up what gathers, and the slab.
func (s *gatherer) drop() {
	if g := s.open; g != nil {
		s.open = nil
		s.log.commit.giveBack(g)
	}
	s.releaseSlab()
}

func (s *gatherer) newGroup() *group {
	if n := len(s.idle); n > 0 {
		g := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return g
	}
	g := &group{}
	g.prepare = g.lay
	return g
}

// recycle forgets everything the group refers to.
func (s *gatherer) recycle(g *group) {
	clear(g.appends)
	g.appends = g.appends[:0]
	g.slab, g.data, g.written, g.ticket = nil, nil, false, 0
	s.idle = append(s.idle, g)
}
