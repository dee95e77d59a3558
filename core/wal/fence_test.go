package wal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/env"
)

// A is suspended, R waits out its lease, fences and reads, A resumes, and what it wrote lands: at whichever of its
// operations A was suspended, it acknowledges nothing that R did not find.
func TestASuspendedOwnerAcknowledgesOnlyWhatItsRecovererFinds(t *testing.T) {
	for before := range 8 {
		a := newSharedWorld(t)
		j := a.create("wal-7", grown(), nil)
		for range 3 {
			a.turn(func() { j.append(9000) })
		}
		for range min(before, 6) {
			a.complete(0)
		}
		found := a.neighbour().recover("wal-7")
		a.settle()
		a.turn(func() { j.append(9000) })
		a.settle()
		j.expect(found, 0)
		var fenced *FencedError
		require.ErrorAs(t, j.failure, &fenced)
		require.Equal(t, FencedError{File: "wal-7", By: 1}, *fenced)
		require.Zero(t, a.memory.live)
	}
}

// The first bytes of a fence that is being written end the owner, wherever a crash of the recoverer tears it; the
// next recoverer writes it anew.
func TestATornFence(t *testing.T) {
	for kept := range 1 << 3 {
		a := newSharedWorld(t)
		j := a.create("wal-7", grown(), nil)
		a.turn(func() { j.append(9000) })
		a.settle()

		r := a.neighbour()
		r.turn(func() { Fence(r.loop, r.env(), "wal-7", 5, func(error) { t.Fatal("fenced") }) })
		r.untilWriting()
		piece := 0
		r.crash(func() bool { piece++; return kept>>(piece-1)&1 != 0 })

		a.turn(func() { j.append(9000) })
		a.settle()
		torn := kept&1 != 0 // the other pieces are zeros
		require.Equal(t, torn, j.failure != nil)
		found := a.neighbour().recover("wal-7")
		a.turn(func() { j.append(9000) })
		a.settle()
		j.expect(found, 0)
		require.Error(t, j.failure)
	}
}

// untilWriting completes what is in flight until a write is.
func (w *world) untilWriting() {
	for w.disk.pending[0].cut == nil {
		w.complete(0)
	}
}

// Whatever the owner has made of its log when it is fenced, it acknowledges nothing after that, even if the recoverer has removed
// what it found.
func TestAnOwnerThatIsFencedWhileItMakesItsLog(t *testing.T) {
	for before := range 6 {
		a := newSharedWorld(t)
		var log *Log
		var failure error
		a.turn(func() {
			config := grown()
			config.Shared = true
			Create(a.loop, a.env(), config, "wal-7", 7, nil, func(err error) { failure = err }, func(l *Log, err error) { log = l })
		})
		for range min(before, 4) {
			a.complete(0)
		}
		r := a.neighbour()
		found := r.recover("wal-7")
		if found.err == nil {
			require.Empty(t, found.entries)
			r.turn(func() { found.sealed.Remove(func(err error) { require.NoError(t, err) }) })
			r.settle()
		} else {
			require.ErrorIs(t, found.err, env.ErrNotExist)
		}
		r.sweep()

		a.settle()
		if log == nil {
			continue
		}
		j := &journal{w: a, log: log}
		for range 3 {
			a.turn(func() { j.append(9000) })
			a.settle()
		}
		require.Zero(t, j.durable)
		var fenced *FencedError
		require.ErrorAs(t, failure, &fenced)
	}
}

func (w *world) sweep() {
	swept := false
	w.turn(func() {
		SweepFences(w.loop, w.env(), func(err error) { require.NoError(w.t, err); swept = true })
	})
	w.settle()
	require.True(w.t, swept)
}

// names are the files on the disk.
func (w *world) names() (names []string) {
	for name := range w.disk.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestTheFenceIsRemovedAfterItsLog(t *testing.T) {
	for done := range 3 { // removals that a crash lets complete
		w := newSharedWorld(t)
		w.fill(3, 9000)
		r := w.neighbour()
		found := r.recover("wal-7")
		require.Len(t, found.entries, 3)
		r.turn(func() { found.sealed.Remove(func(error) {}) })
		for range done {
			r.complete(0)
		}
		require.ElementsMatch(t, []string{"fence-wal-7", "wal-7"}[:2-done], r.names())
		r.crash(lose)
		r.sweep()
		if done == 0 {
			require.Equal(t, []string{"fence-wal-7", "wal-7"}, r.names())
			continue
		}
		require.Empty(t, r.names())
	}
}

func TestASweepLeavesWhatAnOwnerMayYetOpen(t *testing.T) {
	w := newSharedWorld(t)
	w.create("wal-7", grown(), nil) // lives
	require.NoError(t, w.neighbour().fence("wal-8", 1))
	w.disk.files["fence-wal-9"] = &file{fence: true} // of an owner that has yet to make its log
	before := w.names()
	w.neighbour().sweep()
	require.Equal(t, before, w.names())
}

func TestOnlySharedLogsAreFenced(t *testing.T) {
	w := newWorld(t)
	j := w.create("wal-7", grown(), nil)
	w.turn(func() { j.append(9000) })
	w.complete(0)
	require.Equal(t, 1, j.durable, "a private log reads nothing")
	require.Equal(t, []string{"wal-7"}, w.names())
	var private *PrivateError
	require.ErrorAs(t, w.fence("wal-7", 1), &private)
	require.Equal(t, []string{"wal-7"}, w.names())
}

func TestASharedLogIsRecoveredOnlyOnceItIsFenced(t *testing.T) {
	w := newSharedWorld(t)
	w.fill(3, 9000)
	r := w.neighbour()
	r.shared = false
	require.ErrorContains(t, r.recover("wal-7").err, "was not fenced")
	require.NoError(t, r.fence("wal-7", 1))
	require.Len(t, r.recover("wal-7").entries, 3)
}

func TestAnUnreadableFenceEndsTheLog(t *testing.T) {
	for name, spoil := range map[string]func(*file, *env.DiskRead){
		"error": func(_ *file, o *env.DiskRead) { o.Err = env.ErrDiskIO },
		"short": func(f *file, _ *env.DiskRead) { f.data = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSharedWorld(t)
			j := w.create("wal-7", grown(), nil)
			w.turn(func() { j.append(9000) })
			w.complete(0)
			read := w.disk.pending[0]
			w.disk.pending[0].apply = func() {
				spoil(w.disk.files["fence-wal-7"], read.event.(*env.DiskRead))
				read.apply()
			}
			w.settle()
			require.ErrorIs(t, j.failure, env.ErrDiskIO)
			require.Zero(t, j.durable)
			require.Zero(t, w.memory.live)
		})
	}
}

// A read that the device delays holds up no group that a later one clears.
func TestALaterReadOfTheFenceClearsEarlierGroups(t *testing.T) {
	w := newSharedWorld(t)
	j := w.create("wal-7", grown(), nil)
	for range 3 {
		w.turn(func() { j.append(9000) })
	}
	for range 3 {
		w.complete(0)
	}
	require.Len(t, w.disk.pending, 3, "a read for each group")
	w.complete(2)
	require.Equal(t, 3, j.durable)
	for range 5 {
		w.turn(func() { j.append(9000) })
		for i := len(w.disk.pending) - 1; i >= 0; i-- {
			if w.disk.pending[i].cut != nil {
				w.complete(i)
			}
		}
	}
	require.Len(t, w.disk.pending, small.WritesInFlightMax, "reads are bounded")
	w.settle()
	require.Equal(t, 8, j.durable)
	j.close()
	require.Zero(t, w.memory.live)
}

// A is suspended while it writes a superblock that gives space up, and resumes while R, who may have read the one before, reads: nothing
// that R is about to read is overwritten.
func TestSpaceIsNotReusedUnderARecoverer(t *testing.T) {
	for steps := range 20 {
		a := newSharedWorld(t)
		j := a.create("wal-7", grown(), nil)
		fill := func() {
			for placed := true; placed; a.settle() {
				a.turn(func() { placed = j.append(9000) })
			}
		}
		fill()
		a.turn(func() { j.log.Trim(j.accepted[len(j.accepted)/2].At) })
		require.Len(t, a.disk.pending, 1, "the superblock is being written")
		r := &recoverer{world: a.neighbour()}
		r.begin()
		for i := 0; i < steps && len(r.disk.pending) > 0; i++ {
			r.complete(0)
		}
		a.settle()
		fill()
		r.settle()
		require.NoError(t, r.found[0].err, "after %d steps", steps)
		j.expect(r.found[0], int(r.found[0].entries[0].BaseOffset/10))
	}
}

// recoverer fences and recovers, step by step.
type recoverer struct {
	*world
	by      uint64
	running bool
	found   []recovered
}

func (r *recoverer) begin() {
	r.running = true
	r.by++
	r.turn(func() {
		Fence(r.loop, r.env(), "wal-7", r.by, func(err error) {
			require.NoError(r.t, err)
			r.read()
		})
	})
}

func (r *recoverer) read() {
	var f recovered
	Recover(r.loop, r.env(), Stored{Name: "wal-7"}, func(e Entry) {
		e.Batch = bytes.Clone(e.Batch)
		f.entries = append(f.entries, e)
	}, func(Position, []byte) {}, func(sealed *Sealed, err error) {
		r.running = false
		if f.sealed, f.err = sealed, err; err == nil {
			sealed.Close()
		}
		r.found = append(r.found, f)
	})
}

// split lets an operation take effect now, and its node hear of it later.
func (w *world) split(i int) {
	op := &w.disk.pending[i]
	op.apply()
	op.apply, op.cut = func() {}, nil
}

// TestSharedLogsUnderRecoverersProperty: however the operations of an owner and of two recoverers interleave, and whichever recoverer
// crashes, what the owner acknowledges by the end was found by every recovery, none of which took anything for damage.
func TestSharedLogsUnderRecoverersProperty(t *testing.T) {
	fenced, acknowledged := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		a := newSharedWorld(t)
		j := a.create("wal-7", grown(), nil)
		recoverers := []*recoverer{{world: a.neighbour()}, {world: a.neighbour(), by: 100}}
		step := func(w *world) {
			if n := len(w.disk.pending); n > 0 {
				i := rapid.IntRange(0, n-1).Draw(rt, "which")
				if rapid.Bool().Draw(rt, "heard later") {
					w.split(i)
					return
				}
				w.complete(i)
			}
		}
		append := func(rt *rapid.T) {
			bytes := rapid.IntRange(100, 20_000).Draw(rt, "bytes")
			a.turn(func() { j.append(bytes) })
		}
		some := func(rt *rapid.T) *recoverer { return rapid.SampledFrom(recoverers).Draw(rt, "recoverer") }
		rt.Repeat(map[string]func(*rapid.T){
			"append": append, "append more": append, "append again": append,
			"owner":       func(*rapid.T) { step(a) },
			"owner more":  func(*rapid.T) { step(a) },
			"owner again": func(*rapid.T) { step(a) },
			"owner all":   func(*rapid.T) { a.settle() },
			"trim": func(rt *rapid.T) {
				if n := j.durable; n > 1 && j.failure == nil {
					a.turn(func() { j.log.Trim(j.accepted[rapid.IntRange(n/2, n-1).Draw(rt, "up to")].At) })
				}
			},
			"recover": func(rt *rapid.T) {
				if r := some(rt); !r.running && len(j.accepted) > rapid.IntRange(0, 20).Draw(rt, "early") {
					r.begin()
				}
			},
			"recoverer": func(rt *rapid.T) { step(some(rt).world) },
			"recoverer steps": func(rt *rapid.T) {
				r := some(rt)
				for range rapid.IntRange(1, 10).Draw(rt, "steps") {
					step(r.world)
				}
			},
			"recoverer crashes": func(rt *rapid.T) {
				if r := some(rt); r.running && rapid.IntRange(0, 3).Draw(rt, "odds") == 0 {
					r.crash(func() bool { return rapid.Bool().Draw(rt, "kept") })
					r.running = false
				}
			},
		})
		for _, r := range recoverers {
			r.settle()
		}
		a.settle()
		acknowledged += j.durable
		for _, r := range recoverers {
			for _, found := range r.found {
				first := len(j.accepted)
				if found.err == nil {
					first = slices.IndexFunc(j.accepted, func(a *Append) bool { return a.At >= found.sealed.Trimmed })
				}
				j.expect(found, max(first, 0))
			}
		}
		var f *FencedError
		if errors.As(j.failure, &f) {
			fenced++
		} else {
			require.NoError(t, j.failure)
		}
	})
	require.NotZero(t, acknowledged)
	t.Logf("%d batches were acknowledged, %d owners were fenced", acknowledged, fenced)
}
