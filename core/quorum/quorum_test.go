package quorum

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

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
	w.wake = 1 << 62
	w.turn(func() {})
	if w.wake > w.now || len(w.pending) != 0 {
		t.Fatalf("asked to be woken at %d, now is %d", w.wake, w.now)
	}
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

// A log that holds what this version does not know, as after a downgrade, is not applied past it.
func TestAnEntryThatCannotBeAppliedEndsTheNode(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("a", "from the future", "b")
	w.crash(never)
	var old *machine
	n = w.patient(func(o *Options) {
		old = o.Machine.(*machine)
		old.unknown = "from the future"
	})
	if !errors.Is(n.err, errUnknownEntry) || n.failure != nil || len(old.entries) != 1 {
		t.Fatalf("open %v, failure %v, %d entries applied", n.err, n.failure, len(old.entries))
	}
	if w.memory.live != 0 || w.disk.opens() != 0 {
		t.Fatalf("%d slabs left, %d files open", w.memory.live, w.disk.opens())
	}
	w.crash(never)
	n = w.start(func(o *Options) { o.Machine.(*machine).unknown = "c" })
	n.has("a", "from the future", "b")
	w.turn(func() { n.q.Propose([]byte("c"), func(uint64, error) { t.Error("answered") }) })
	w.settle()
	if !errors.Is(n.failure, errUnknownEntry) {
		t.Fatalf("failure %v", n.failure)
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

// A start on a full disk asks for room and goes on once there is some: what fills the disk may be what only a
// node that has started can remove.
func TestAStartWaitsForRoomOnTheDisk(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	n.write("a", "b")
	n.close()
	w.crash(never)
	asked := 0
	w.disk.failing = func(op env.Event) error {
		if o, ok := op.(*env.DiskWrite); ok && asked < 3 && len(o.Data) > 0 {
			return env.ErrDiskFull
		}
		return nil
	}
	n = w.open(func(o *Options) { o.Full = func() { asked++ } })
	for range 10 {
		w.settle()
		w.advance()
	}
	w.settle()
	if !n.done || n.err != nil || asked != 3 || len(w.logged) == 0 {
		t.Fatalf("started: %t, %v; asked for room %d times, log %q", n.done, n.err, asked, w.logged)
	}
	n.has("a", "b")
	n.close()
}

// A disk that was full gets a snapshot as soon as there is room for one, which frees older segments.
func TestAFullDiskMakesASnapshotDue(t *testing.T) {
	w := newWorld(t)
	w.start(nil).close()
	w.crash(never)
	n := w.start(nil)
	n.write("a")
	full := true
	w.disk.failing = func(op env.Event) error {
		if _, ok := op.(*env.DiskWrite); ok && full {
			return env.ErrDiskFull
		}
		return nil
	}
	n.write("b")
	full = false
	w.advance()
	w.settle()
	n.write("c")
	if got := len(n.q.log.marks); got != 1 || len(n.acked) != 3 {
		t.Fatalf("%d segments, %d acknowledged", got, len(n.acked))
	}
	n.close()
}

func TestADiskWithoutRoomToGrowIntoStillTakesAGroup(t *testing.T) {
	w := newWorld(t)
	n := w.start(nil)
	w.disk.failing = func(op env.Event) error {
		if o, ok := op.(*env.DiskWrite); ok && len(o.Data) > 100<<10 {
			return env.ErrDiskFull
		}
		return nil
	}
	for i := range 100 {
		n.write(fmt.Sprint(i))
	}
	if len(n.acked) != 100 {
		t.Fatalf("%d acknowledged", len(n.acked))
	}
	n.close()
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

// encoding is the place among what is in flight of the machine's state being encoded; -1: it is not.
func (w *world) encoding() int {
	return slices.IndexFunc(w.pending, func(p pending) bool {
		_, ok := p.event.(*env.Compute)
		return ok
	})
}

// completeOthers completes everything but the encoding of the state.
func (w *world) completeOthers() {
	for i := 0; i < len(w.pending); {
		if i == w.encoding() {
			i++
			continue
		}
		w.complete(i)
		i = 0
	}
}

// The state is encoded off the loop. What is committed meanwhile is durable, is applied after it, and is not in the snapshot.
func TestNothingIsAppliedWhileTheStateIsEncoded(t *testing.T) {
	for _, closes := range []bool{false, true} {
		w := newWorld(t)
		n := w.start(func(o *Options) { o.SnapshotEntries = 2 })
		w.turn(func() { n.propose("a"); n.propose("b") })
		for w.encoding() < 0 {
			w.complete(0)
		}
		require.Less(t, w.pending[w.encoding()].event.(*env.Compute).Class, env.ComputeUpload, "it does not wait for what the others upload")
		applied := len(n.machine.entries)
		w.turn(func() { n.propose("c"); n.propose("d") })
		w.completeOthers()
		require.Len(t, n.machine.entries, applied)
		require.Len(t, n.acked, applied)
		if closes {
			w.turn(func() { n.q.Close(func() {}) })
			w.completeOthers()
		}
		w.settle()
		require.Equal(t, []string{"a", "b", "c", "d"}, n.acked)
		w.crash(never)
		n = w.start(nil)
		n.has("a", "b", "c", "d")
		n.close()
	}
}

// A crash, or a failure, while the state is encoded loses nothing that was committed.
func TestTheNodeEndsWhileTheStateIsEncoded(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w := newWorld(t)
		n := w.start(func(o *Options) { o.SnapshotEntries = 2 })
		w.turn(func() { n.propose("a"); n.propose("b") })
		for w.encoding() < 0 {
			w.complete(0)
		}
		w.turn(func() { n.propose("c") })
		w.completeOthers()
		if fails {
			w.turn(func() { n.q.fail(errors.New("the disk broke")) })
			w.settle()
		}
		w.kill(never)
		n = w.start(nil)
		n.has("a", "b", "c")
		n.close()
	}
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

// Each operation of a life fails once, and no other is harmed: the node ends in order, gives back
// what it holds, and the next finds everything acknowledged.
func TestAnyFailureEndsTheNodeInOrder(t *testing.T) {
	for at := 0; ; at++ {
		w := newWorld(t)
		ops := 0
		w.disk.failing = func(env.Event) error {
			if ops++; ops == at+1 {
				return env.ErrDiskIO
			}
			return nil
		}
		n := w.patient(func(o *Options) { o.SnapshotEntries = 4 })
		for i := 0; i < 12 && n.err == nil && n.failure == nil; i++ {
			n.write(fmt.Sprint(i))
		}
		if failed := n.err != nil || n.failure != nil; failed != (ops > at) {
			t.Fatalf("operation %d of %d fails: %v %v", at, ops, n.err, n.failure)
		}
		if n.err == nil {
			if w.memory.live != 0 {
				t.Fatalf("operation %d fails: %d slabs left", at, w.memory.live)
			}
			n.close()
		}
		if w.memory.live != 0 || w.disk.opens() != 0 {
			t.Fatalf("operation %d fails: %d slabs left, %d files open", at, w.memory.live, w.disk.opens())
		}
		acked, finished := n.acked, ops <= at
		w.disk.failing = nil
		w.crash(never)
		n = w.patient(nil)
		if n.err != nil || len(n.machine.entries) < len(acked) {
			t.Fatalf("operation %d failed, then: %v, %d entries of %d", at, n.err, len(n.machine.entries), len(acked))
		}
		if finished {
			return
		}
	}
}

// constant is a source of randomness that always says the same.
type constant byte

func (c constant) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}

// Raft draws an election timeout from the process's randomness. Nothing here ticks, so it is never
// read: whatever it is, the same events give the same bytes.
func TestRaftsOwnRandomnessReachesNoOutput(t *testing.T) {
	life := func() (disk []byte, log []string) {
		w := newWorld(t)
		for range 3 {
			n := w.start(func(o *Options) { o.SnapshotEntries = 5 })
			for i := range 7 {
				n.write(fmt.Sprint(i), "and")
			}
			w.now += 1 << 40
			w.advance()
			w.settle()
			w.crash(never)
		}
		return pack(w), w.logged
	}
	defer func(r io.Reader) { rand.Reader = r }(rand.Reader)
	want, wantLog := life()
	for _, c := range []constant{0, 1, 5, 7} {
		rand.Reader = c
		if got, log := life(); !bytes.Equal(got, want) || !slices.Equal(log, wantLog) {
			t.Fatalf("with draws of %d the disk or the log differs", c)
		}
	}
}

func TestSegmentFor(t *testing.T) {
	marks := []segmentMark{{3, 10}, {4, 20}, {5, 21}, {6, 30}}
	for index, want := range map[uint64]uint64{10: 3, 19: 3, 20: 4, 21: 5, 29: 5, 30: 6, 99: 6} {
		if got := segmentFor(marks, index); got != want {
			t.Errorf("the log continues entry %d from segment %d, want %d", index, got, want)
		}
	}
}

func BenchmarkPropose(b *testing.B) {
	w := newWorld(b)
	n := w.start(nil)
	data := make([]byte, 200)
	b.ReportAllocs()
	for i := 0; i < b.N; i += 64 {
		w.turn(func() {
			for range 64 {
				n.q.Propose(data, func(uint64, error) {})
			}
		})
		w.settle()
		n.machine.entries = nil
	}
}

// Messages that are being sent hold parts of the log's array: entries that replace others must not show in them.
func TestReplacedEntriesStayInMessagesUnderWay(t *testing.T) {
	entry := func(index, term uint64) *raftpb.Entry { return &raftpb.Entry{Index: new(index), Term: new(term)} }
	s := &storage{}
	require.True(t, s.append([]*raftpb.Entry{entry(1, 1), entry(2, 1), entry(3, 1)}))
	sent, err := s.Entries(1, 4, 1<<20)
	require.NoError(t, err)
	require.True(t, s.append([]*raftpb.Entry{entry(2, 2)}))
	require.EqualValues(t, 2, s.last())
	for _, e := range sent {
		require.EqualValues(t, 1, e.GetTerm())
	}
}
