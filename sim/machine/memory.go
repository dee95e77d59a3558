package machine

import (
	"bytes"
	"fmt"
	"math/bits"
	"unsafe"

	"weir/core/env"
)

const (
	slabAlign  = 4096
	quarantine = 8 // freed slabs of a class kept aside before reuse
)

var poison = bytes.Repeat([]byte{0xdb}, 64<<10)

// Memory is one incarnation's slabs, in plain Go memory, with an account of
// every slab.
type Memory struct {
	live  int
	peak  int
	bytes int64
	free  [48][]*env.Slab // by size class, oldest first
}

// Alloc implements env.Memory.
func (m *Memory) Alloc(size int) *env.Slab {
	class := bits.Len(uint(max(size, slabAlign) - 1))
	m.live++
	m.peak = max(m.peak, m.live)
	m.bytes += 1 << class
	if held := m.free[class]; len(held) > quarantine {
		slab := held[0]
		copy(held, held[1:])
		m.free[class] = held[:len(held)-1]
		checkPoison(slab.Data)
		slab.Reset()
		return slab
	}
	return env.NewSlab(m, aligned(1<<class))
}

// Free implements env.Memory.
func (m *Memory) Free(slab *env.Slab) {
	m.live--
	m.bytes -= int64(len(slab.Data))
	for at := 0; at < len(slab.Data); {
		at += copy(slab.Data[at:], poison)
	}
	class := bits.Len(uint(len(slab.Data) - 1))
	m.free[class] = append(m.free[class], slab)
}

// Live counts slabs that are in use.
func (m *Memory) Live() int { return m.live }

// LiveBytes is the memory of slabs in use.
func (m *Memory) LiveBytes() int64 { return m.bytes }

// Check panics if a freed slab was written to.
func (m *Memory) Check() {
	for _, held := range m.free {
		for _, slab := range held {
			checkPoison(slab.Data)
		}
	}
}

func checkPoison(data []byte) {
	for at := 0; at < len(data); at += len(poison) {
		piece := data[at:min(at+len(poison), len(data))]
		if !bytes.Equal(piece, poison[:len(piece)]) {
			panic(fmt.Sprintf("sim: a slab of %d bytes was written to after it was freed", len(data)))
		}
	}
}

func aligned(size int) []byte {
	raw := make([]byte, size+slabAlign)
	skip := int(-uintptr(unsafe.Pointer(&raw[0])) & (slabAlign - 1))
	return raw[skip : skip+size : skip+size]
}

// Aligned reports whether memory starts at a multiple of block bytes, as direct
// I/O asks for.
func Aligned(data []byte, block int) bool {
	return len(data) == 0 || uintptr(unsafe.Pointer(&data[0]))&uintptr(block-1) == 0
}
