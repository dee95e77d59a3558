package disk

import (
	"testing"

	"weir/core/env"
	"weir/core/env/envtest"
)

// completions wait here for the test's goroutine.
type completions chan env.Event

func newCompletions() completions { return make(completions, 4096) }

func (c completions) deliver(e env.Event) { c <- e }

// pump waits for one completion and delivers what has come.
func (c completions) pump() {
	(<-c).Deliver()
	for {
		select {
		case e := <-c:
			e.Deliver()
		default:
			return
		}
	}
}

// memory gives aligned slabs and recycles them.
type memory struct{ free map[int][]*env.Slab }

func newMemory() *memory { return &memory{free: map[int][]*env.Slab{}} }

func (m *memory) Alloc(bytes int) *env.Slab {
	size := (bytes + blockBytesMax - 1) / blockBytesMax * blockBytesMax
	if free := m.free[size]; len(free) > 0 {
		s := free[len(free)-1]
		m.free[size] = free[:len(free)-1]
		s.Reset()
		return s
	}
	return env.NewSlab(m, alignedBytes(size))
}

func (m *memory) Free(s *env.Slab) { m.free[len(s.Data)] = append(m.free[len(s.Data)], s) }

func TestMemoryOfTheseTests(t *testing.T) {
	envtest.TestMemory(t, func(testing.TB) env.Memory { return newMemory() })
}

// world opens a disk at path, which restarts (a process dies and the page cache stays) when it crashes.
func world(t testing.TB, open func(deliver func(env.Event)) *Disk) envtest.Harness {
	t.Helper()
	box := newCompletions()
	d := open(box.deliver)
	t.Cleanup(func() { _ = d.Shutdown() })
	h := envtest.Harness{Disk: d, Memory: newMemory(), Pump: func() { box.pump() }}
	h.Crash = func() (env.Disk, env.Memory) {
		if err := d.Shutdown(); err != nil {
			t.Fatal(err)
		}
		box = newCompletions()
		d = open(box.deliver)
		return d, newMemory()
	}
	return h
}
