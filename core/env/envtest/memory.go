package envtest

import (
	"testing"
	"unsafe"

	"weir/core/env"
)

// pageBytes is the alignment that slabs must have for direct I/O.
const pageBytes = 4096

// TestMemory runs the contract tests of env.Memory. fresh gives an empty memory each time.
func TestMemory(t *testing.T, fresh func(testing.TB) env.Memory) {
	t.Run("SizeAndAlignment", func(t *testing.T) { testSizeAndAlignment(t, fresh(t)) })
	t.Run("SlabsAreDistinct", func(t *testing.T) { testSlabsAreDistinct(t, fresh(t)) })
	t.Run("LastReleaseFrees", func(t *testing.T) { testLastReleaseFrees(t, fresh(t)) })
	t.Run("DoubleReleasePanics", func(t *testing.T) { testDoubleReleasePanics(t, fresh(t)) })
}

func testSizeAndAlignment(t *testing.T, m env.Memory) {
	for _, bytes := range []int{1, 512, 4096, 4097, 64 << 10, 1<<20 + 1, 8 << 20} {
		s := m.Alloc(bytes)
		if len(s.Data) < bytes || s.Refs() != 1 {
			t.Fatalf("asked for %d bytes, got %d with %d references", bytes, len(s.Data), s.Refs())
		}
		if address := uintptr(unsafe.Pointer(unsafe.SliceData(s.Data))); address%pageBytes != 0 {
			t.Fatalf("a slab of %d bytes lies at %#x, not on a page", bytes, address)
		}
		s.Data[0], s.Data[bytes-1] = 1, 1
		s.Release()
	}
}

func testSlabsAreDistinct(t *testing.T, m env.Memory) {
	var slabs []*env.Slab
	for round := range 3 {
		for i := range 16 {
			s := m.Alloc(10_000)
			for at := range s.Data {
				s.Data[at] = byte(i)
			}
			slabs = append(slabs, s)
		}
		for i, s := range slabs {
			if s.Data[0] != byte(i) || s.Data[len(s.Data)-1] != byte(i) {
				t.Fatalf("round %d: slab %d was written through another", round, i)
			}
			s.Release()
		}
		slabs = slabs[:0]
	}
}

func testLastReleaseFrees(t *testing.T, m env.Memory) {
	s := m.Alloc(4096)
	s.Retain()
	s.Release()
	if s.Refs() != 1 {
		t.Fatalf("%d references, want 1", s.Refs())
	}
	s.Data[0] = 7
	other := m.Alloc(4096)
	if other == s {
		t.Fatal("a slab in use was given out again")
	}
	s.Release()
	other.Release()
}

func testDoubleReleasePanics(t *testing.T, m env.Memory) {
	s := m.Alloc(4096)
	s.Release()
	defer func() {
		if recover() == nil {
			t.Fatal("a second release passed")
		}
	}()
	s.Release()
}
