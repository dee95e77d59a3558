package memory

import "weir/core/env"

// Memory is an env.Memory whose slabs are pieces of an arena.
type Memory struct {
	arena *Arena
	live  int
}

// New returns slabs from an arena, which may serve others too.
func New(arena *Arena) *Memory { return &Memory{arena: arena} }

// Alloc implements env.Memory.
func (m *Memory) Alloc(bytes int) *env.Slab {
	m.live++
	return env.NewSlab(m, m.arena.Get(bytes))
}

// Free implements env.Memory. The slab's Data is nil from then on, and the Slab
// itself is not used again, so that a late use or release panics.
func (m *Memory) Free(s *env.Slab) {
	m.live--
	m.arena.Put(s.Data)
	s.Data = nil
}

// Live counts slabs in use; at a clean shutdown it is 0.
func (m *Memory) Live() int { return m.live }
