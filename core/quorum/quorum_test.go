package quorum

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/core/env"
)

func TestWhatWasProposedIsThereAfterARestart(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	id := n.q.ClusterID()
	if len(id) != 22 || id[0] == '-' {
		t.Fatalf("cluster id %q", id)
	}
	n.write("a", "b")
	n.write("c")
	n.has("a", "b", "c")
	n.close()
	w.crash(never)
	n = w.start(nil)
	n.has("a", "b", "c")
	if n.q.ClusterID() != id {
		t.Fatalf("cluster id %q, was %q", n.q.ClusterID(), id)
	}
	n.write("d")
	w.crash(never)
	w.start(nil).has("a", "b", "c", "d")
}

func TestProposalsOfOneTurnAreOneWrite(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	before := w.disk.writes
	n.write("a", "b", "c", "d")
	if got := w.disk.writes - before; got != 1 {
		t.Fatalf("%d writes", got)
	}
	// While a write is in flight the next group gathers.
	w.turn(func() { n.propose("e") })
	w.turn(func() { n.propose("f") })
	w.turn(func() { n.propose("g") })
	if len(w.pending) != 1 {
		t.Fatalf("%d operations in flight", len(w.pending))
	}
	w.settle()
	if got := w.disk.writes - before; got != 3 || len(n.acked) != 7 {
		t.Fatalf("%d writes, %d acknowledged", got, len(n.acked))
	}
	n.close()
}

func TestAProposalMadeAfterTheFlushIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	w.loop.OnTurnEnd(func() {
		if n.acked == nil && len(n.q.proposals) == 0 {
			n.propose("late")
		}
	})
	w.turn(func() {})
	w.advance()
	w.settle()
	n.has("late")
}

func TestProposeIsBounded(t *testing.T) {
	w := newWorld(t)
	n := w.start(func(o *Options) { o.QueueEntries, o.QueueBytes = 3, 100 })
	refused := func(data string, want error) {
		t.Helper()
		var got error
		w.turn(func() { n.q.Propose([]byte(data), func(_ uint64, err error) { got = err }) })
		if !errors.Is(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	refused("", ErrTooLarge)
	refused(strings.Repeat("x", EntryBytesMax+1), ErrTooLarge)
	n.write(strings.Repeat("x", EntryBytesMax)) // alone, it is taken whatever the bound
	w.turn(func() { n.propose(strings.Repeat("y", 60)) })
	refused(strings.Repeat("y", 60), ErrBusy)
	w.turn(func() { n.propose("1"); n.propose("2") })
	refused("3", ErrBusy)
	w.settle()
	n.write("4")
	n.close()
	refused("5", ErrClosed)
}

func TestAFailedWriteEndsTheNode(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("a")
	w.disk.failing = func(op env.Event) error {
		if _, ok := op.(*env.DiskWrite); ok {
			return env.ErrDiskIO
		}
		return nil
	}
	n.write("b", "c")
	if !errors.Is(n.failure, env.ErrDiskIO) || len(n.acked) != 1 {
		t.Fatalf("failure %v, %d acknowledged", n.failure, len(n.acked))
	}
	var late error
	w.turn(func() { n.q.Propose([]byte("d"), func(_ uint64, err error) { late = err }) })
	if !errors.Is(late, ErrClosed) || len(w.pending) != 0 {
		t.Fatalf("after the failure: %v, %d in flight", late, len(w.pending))
	}
	n.close()
}

func TestAFullDiskHoldsProposalsUp(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	full := true
	w.disk.failing = func(op env.Event) error {
		if _, ok := op.(*env.DiskWrite); ok && full {
			return env.ErrDiskFull
		}
		return nil
	}
	n.write("a", "b")
	w.advance()
	w.settle()
	if len(n.acked) != 0 || n.failure != nil || len(w.logged) == 0 {
		t.Fatalf("%d acknowledged, failure %v, log %q", len(n.acked), n.failure, w.logged)
	}
	full = false
	w.advance()
	w.settle()
	n.has("a", "b")
	full = true
	n.write("c")
	n.close()
	w.crash(never)
	full = false
	w.start(nil).has("a", "b")
}

func TestSnapshotsReplaceTheLog(t *testing.T) {
	w := newWorld(t)
	n := w.start(func(o *Options) { o.SnapshotEntries = 10 })
	n.machine.pad = 3 << 20
	var want []string
	for i := range 95 {
		want = append(want, fmt.Sprintf("entry %d", i))
		n.write(want[i])
	}
	n.has(want...)
	if got := len(w.disk.files); got > 4 {
		t.Fatalf("%d files left: %q", got, w.disk.names())
	}
	if len(n.q.store.entries) > 20 {
		t.Fatalf("%d entries in memory", len(n.q.store.entries))
	}
	n.close()
	w.crash(never)
	n = w.start(nil)
	n.has(want...)
	n.close()
}

func TestASnapshotDoesNotHoldProposalsUp(t *testing.T) {
	w := newWorld(t)
	n := w.start(func(o *Options) { o.SnapshotEntries = 2 })
	n.machine.pad = 5 << 20
	w.turn(func() { n.propose("a"); n.propose("b") })
	for !n.q.snapshots.active || n.q.log.rotating {
		w.complete(0)
	}
	for i := range 3 {
		w.turn(func() { n.propose(fmt.Sprint(i)) })
		for len(n.acked) < 3+i {
			w.complete(len(w.pending) - 1)
		}
	}
	if !n.q.snapshots.active {
		t.Fatal("the snapshot is done already")
	}
	w.settle()
	n.close()
	w.crash(never)
	w.start(nil).has("a", "b", "0", "1", "2")
}

func TestEachStartBeginsASegmentYetTheyDoNotPileUp(t *testing.T) {
	w := newWorld(t)
	for range 60 {
		w.start(nil)
		w.settle()
		w.crash(never)
	}
	if got := len(w.disk.files); got > segmentsMax+4 {
		t.Fatalf("%d files: %q", got, w.disk.names())
	}
}

func TestALargeLogGoesOnInSegments(t *testing.T) {
	w := newWorld(t)
	n := w.start(func(o *Options) { o.SnapshotEntries = 1 << 40; o.SnapshotBytes = 16 << 20 })
	w.disk.failing = func(op env.Event) error { // no snapshot can be written
		if o, ok := op.(*env.DiskOpen); ok && strings.HasPrefix(o.Name, snapshotPrefix) {
			return env.ErrDiskFull
		}
		return nil
	}
	var want []string
	for i := range 80 {
		want = append(want, strings.Repeat(string(rune('a'+i%26)), EntryBytesMax))
		n.write(want[i])
	}
	if len(n.q.log.marks) < 4 {
		t.Fatalf("%d segments", len(n.q.log.marks))
	}
	n.close()
	w.disk.failing = nil
	w.crash(never)
	n = w.start(nil)
	n.has(want...)
	n.write("more")
	n.close()
}
