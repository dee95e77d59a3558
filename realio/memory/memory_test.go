package memory

import (
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"weir/core/env"
	"weir/core/env/envtest"
)

func TestContract(t *testing.T) {
	envtest.TestMemory(t, func(testing.TB) env.Memory { return New(NewArena(1 << 20)) })
}

func TestClasses(t *testing.T) {
	last := -1
	for pages := 1; pages < 1<<15; pages++ {
		class, size := classOf(pages * pageBytes)
		if size < pages*pageBytes || class < last || class > last+1 {
			t.Fatalf("%d pages: class %d of %d bytes behind class %d", pages, class, size, last)
		}
		if again, same := classOf(size); again != class || same != size {
			t.Fatalf("a class of %d bytes is of class %d", size, again)
		}
		if slack := size - pages*pageBytes; slack*5 > size {
			t.Fatalf("%d pages: %d of %d bytes are slack", pages, slack, size)
		}
		last = class
	}
	if class, _ := classOf(1 << 40); class >= classCount {
		t.Fatalf("1 TiB is of class %d", class)
	}
}

func TestWarmestPieceComesFirst(t *testing.T) {
	a := NewArena(64 << 20)
	first, second := a.Get(1<<20), a.Get(1<<20)
	a.Put(first)
	a.Put(second)
	if again := a.Get(1 << 20); &again[0] != &second[0] {
		t.Fatal("not the piece used last")
	}
}

// What lies idle goes back to the system beyond the bound, and what was cut from a
// chunk can be had again.
func TestTrim(t *testing.T) {
	const bound = 4 << 20
	a := NewArena(bound)
	for range 3 {
		var pieces [][]byte
		for range 64 {
			for _, size := range []int{5000, 100_000, 1 << 20, 3 << 20} {
				piece := a.Get(size)
				piece[0], piece[len(piece)-1] = 1, 1
				pieces = append(pieces, piece)
			}
		}
		for _, piece := range pieces {
			a.Put(piece)
		}
		a.Wait()
		got := a.Stats()
		if got.Used != 0 || got.Idle > bound || got.Mapped > bound+64*(5000+100_000)+4*chunkBytes {
			t.Fatalf("%+v", got)
		}
	}
}

// Trimming costs work in proportion to the pieces trimmed, however many are idle.
func TestTrimIsLinear(t *testing.T) {
	const pieces = 10_000
	a := NewArena(0)
	var held [][]byte
	for range pieces {
		held = append(held, a.Get(pageBytes))
	}
	a.trimming = true // all are idle before the trim begins
	for _, piece := range held {
		a.Put(piece)
	}
	a.trim()
	if got := a.Stats(); got.Idle != 0 || a.moved > pieces {
		t.Fatalf("%d bytes idle after moving %d entries for %d pieces", got.Idle, a.moved, pieces)
	}
}

func TestForeignPiecePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("a piece of another size passed")
		}
	}()
	NewArena(0).Put(make([]byte, 5000))
}

// No two pieces in use overlap, whatever the order of use.
func TestPiecesAreDistinct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewArena(rapid.Int64Range(0, 1<<20).Draw(t, "idle"))
		var live [][]byte
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(live) > 0 && rapid.Bool().Draw(t, "put") {
				at := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				a.Put(live[at])
				live = append(live[:at], live[at+1:]...)
				continue
			}
			piece := a.Get(rapid.IntRange(1, 600_000).Draw(t, "bytes"))
			for _, other := range live {
				if overlap(piece, other) {
					t.Fatalf("step %d: overlapping pieces", i)
				}
			}
			live = append(live, piece)
		}
	})
}

func overlap(a, b []byte) bool {
	x, y := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return x < y+uintptr(len(b)) && y < x+uintptr(len(a))
}

func TestManyGoroutines(t *testing.T) {
	a := NewArena(1 << 20)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 500 {
				piece := a.Get((i%40 + 1) * 10_000)
				piece[0], piece[len(piece)-1] = byte(g), byte(g)
				if piece[0] != byte(g) || piece[len(piece)-1] != byte(g) {
					t.Error("two hold one piece")
				}
				a.Put(piece)
			}
		})
	}
	group.Wait()
	a.Wait()
	if got := a.Stats(); got.Used != 0 || got.Idle > 1<<20 {
		t.Fatalf("%+v", got)
	}
}

func BenchmarkGetPut(b *testing.B) {
	a := NewArena(64 << 20)
	for b.Loop() {
		a.Put(a.Get(16 << 10))
	}
}
