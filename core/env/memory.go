package env

// Memory gives slabs: off-heap, page-aligned, recycled. Its methods are called
// on the loop only.
type Memory interface {
	// Alloc returns a slab of at least the given size (rounded up to a size
	// class) with one reference, its contents arbitrary. The core keeps its own
	// budget; Alloc panics only when the machine has no memory.
	Alloc(bytes int) *Slab
	// Free takes back a slab whose last reference is gone. Only Slab.Release
	// calls it.
	Free(*Slab)
}

// Slab is a piece of off-heap memory, counted by plain integers on the loop.
// The world borrows it from submit to completion; the core keeps a reference
// for that long.
type Slab struct {
	Data   []byte
	memory Memory
	refs   int
}

// NewSlab is for implementations of Memory: a slab with one reference.
func NewSlab(m Memory, data []byte) *Slab { return &Slab{Data: data, memory: m, refs: 1} }

// Reset is for implementations of Memory that recycle Slab values: it gives a
// freed slab its first reference again.
func (s *Slab) Reset() {
	if s.refs != 0 {
		panic("env: reset of a slab in use")
	}
	s.refs = 1
}

// Refs returns the number of references.
func (s *Slab) Refs() int { return s.refs }

// Retain adds a reference. Retaining a freed slab panics.
func (s *Slab) Retain() {
	if s.refs <= 0 {
		panic("env: slab retained after its last release")
	}
	s.refs++
}

// Release drops a reference and frees the slab with the last one. Releasing
// twice panics.
func (s *Slab) Release() {
	if s.refs <= 0 {
		panic("env: slab released twice")
	}
	s.refs--
	if s.refs == 0 {
		s.memory.Free(s)
	}
}
