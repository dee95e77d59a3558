package wal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"weir/core/env"
)

var small = Config{
	SizeBytes: 256 << 10, SlabBytes: 64 << 10, GroupBytesMax: 16 << 10, AppendBytesMax: 32 << 10,
	WritesInFlightMax: 3, SummaryEveryBytes: 64 << 10, GrowBytes: 32 << 10,
}

// grown is small with all of its space grown at the start, so that only groups are in flight.
func grown() Config {
	c := small
	c.GrowBytes = 2 * c.SizeBytes
	return c
}

func (j *journal) close() {
	j.w.t.Helper()
	closed := false
	j.w.turn(func() { j.log.Close(func(err error) { closed = err == nil }) })
	j.w.settle()
	if !closed {
		j.w.t.Fatal("the log did not close")
	}
}

// expect checks that the entries are the accepted appends from first on, whole and in order.
func (j *journal) expect(r recovered, first int) {
	j.w.t.Helper()
	if r.err != nil {
		j.w.t.Fatal(r.err)
	}
	for i, e := range r.entries {
		if first+i >= len(j.accepted) {
			j.w.t.Fatalf("entry %d was never appended", i)
		}
		a := j.accepted[first+i]
		if e.At != a.At || e.Stream != a.Stream || e.LeaderEpoch != a.LeaderEpoch || e.BaseOffset != a.BaseOffset ||
			e.Offsets != a.Offsets || int(e.Bytes) != len(a.Payload) || !bytes.Equal(e.Batch, want(a)) {
			j.w.t.Fatalf("entry %d is %+v, want %+v", i, e, a)
		}
	}
	if first+len(r.entries) < j.durable {
		j.w.t.Fatalf("found %d entries from %d on, but %d were acknowledged", len(r.entries), first, j.durable)
	}
}

func TestAppendedBatchesAreFoundAndReadBack(t *testing.T) {
	onEachMedium(t, testAppendedBatchesAreFoundAndReadBack)
}

func testAppendedBatchesAreFoundAndReadBack(t *testing.T, w *world) {
	j := w.create("wal-7", small, nil)
	sizes := []int{61, 62, 100, 4096, 5000, 16384, 20000, 32768}
	for _, n := range sizes {
		for _, bytes := range []int{n, 70} {
			for placed := false; !placed; w.settle() { // what the log has not grown to is refused until it has
				w.turn(func() { placed = j.append(bytes) })
			}
		}
	}
	w.settle()
	if j.durable != 2*len(sizes) {
		t.Fatalf("%d durable, want %d", j.durable, 2*len(sizes))
	}
	w.crash(func() bool { return false })
	r := w.recover("wal-7")
	j.expect(r, 0)
	if r.sealed.BrokerEpoch != 7 || len(r.entries) != j.durable {
		t.Fatalf("found %d entries of epoch %d", len(r.entries), r.sealed.BrokerEpoch)
	}
	for i, e := range r.entries {
		got, err := w.read(r.sealed, e)
		if err != nil || !bytes.Equal(got, want(j.accepted[i])) {
			t.Fatalf("entry %d: read back %d bytes, error %v", i, len(got), err)
		}
	}
	if w.memory.live != 0 {
		t.Fatalf("recovery and reads leave %d slabs", w.memory.live)
	}
	removed := false
	w.turn(func() { r.sealed.Remove(func(err error) { removed = err == nil }) })
	w.settle()
	if r = w.recover("wal-7"); !removed || !errors.Is(r.err, env.ErrNotExist) {
		t.Fatalf("after removal: %v", r.err)
	}
}

func TestSlabsHoldTheDurableBatchAndAreAllReleased(t *testing.T) {
	onEachMedium(t, testSlabsHoldTheDurableBatchAndAreAllReleased)
}

func testSlabsHoldTheDurableBatchAndAreAllReleased(t *testing.T, w *world) {
	j := w.create("wal-7", small, nil)
	j.keep = true
	j.onTold = func(a *Append) {
		if got := a.Slab.Data[a.Offset : a.Offset+len(a.Payload)]; !bytes.Equal(got, want(a)) {
			t.Fatal("the slab does not hold the batch")
		}
	}
	for i := range 40 {
		w.turn(func() { j.append(500 * i) })
		if i%3 == 0 {
			w.settle()
		}
	}
	w.settle()
	j.close()
	for _, a := range j.accepted {
		if got := a.Slab.Data[a.Offset : a.Offset+len(a.Payload)]; !bytes.Equal(got, want(a)) {
			t.Fatal("a retained slab changed")
		}
	}
	for _, a := range j.accepted {
		a.Slab.Release()
	}
	if w.memory.live != 0 || w.disk.closed != 1 {
		t.Fatalf("%d slabs are left, %d files closed", w.memory.live, w.disk.closed)
	}
}

func TestCreateRefusesAnExistingName(t *testing.T) {
	w := newWorld(t)
	w.create("wal-7", small, nil)
	var got error
	w.turn(func() {
		Create(w.loop, w.env(), small, "wal-7", 8, nil, nil, func(_ *Log, err error) { got = err })
	})
	w.settle()
	if !errors.Is(got, env.ErrExist) {
		t.Fatalf("got %v", got)
	}
}

func TestFirstAppendIsWrittenAtOnceAndLaterOnesGather(t *testing.T) {
	onEachMedium(t, testFirstAppendIsWrittenAtOnceAndLaterOnesGather)
}

func testFirstAppendIsWrittenAtOnceAndLaterOnesGather(t *testing.T, w *world) {
	j := w.create("wal-7", grown(), nil)
	w.settle()
	w.turn(func() { j.append(100) })
	if n := len(w.disk.pending); n != 1 {
		t.Fatalf("%d writes in flight after the first append, want 1", n)
	}
	for range 5 {
		w.turn(func() { j.append(100) })
	}
	if n := len(w.disk.pending); n != 1 {
		t.Fatalf("%d writes in flight while little gathers, want 1", n)
	}
	w.turn(func() { j.append(5000) })
	if n := len(w.disk.pending); n != 2 {
		t.Fatalf("%d writes in flight once much gathered, want 2", n)
	}
	w.settle()
	if j.durable != 7 {
		t.Fatalf("%d durable, want 7", j.durable)
	}
}

func TestCompletionsOutOfOrderAcknowledgeInOrder(t *testing.T) {
	onEachMedium(t, testCompletionsOutOfOrderAcknowledgeInOrder)
}

func testCompletionsOutOfOrderAcknowledgeInOrder(t *testing.T, w *world) {
	j := w.create("wal-7", grown(), nil)
	w.settle()
	for range 3 {
		w.turn(func() { j.append(9000) })
	}
	if len(w.disk.pending) != 3 {
		t.Fatalf("%d writes in flight, want 3", len(w.disk.pending))
	}
	w.complete(2)
	w.complete(1)
	if j.durable != 0 {
		t.Fatal("acknowledged above a hole")
	}
	w.complete(0)
	w.settle()
	if j.durable != 3 {
		t.Fatalf("%d durable, want 3", j.durable)
	}
}

func TestFullLogRefusesUntilTrimmed(t *testing.T) { onEachMedium(t, testFullLogRefusesUntilTrimmed) }

func testFullLogRefusesUntilTrimmed(t *testing.T, w *world) {
	j := w.create("wal-7", small, nil)
	space := 0
	w.turn(func() { j.log.OnSpace(func() { space++ }) })
	fill := func() {
		for full := false; !full; w.settle() {
			w.turn(func() { full = !j.append(3000) })
		}
	}
	for lap := range 20 {
		fill()
		if space != lap {
			t.Fatalf("lap %d: told of space %d times", lap, space)
		}
		first := len(j.accepted) / 2
		for j.accepted[first].At < j.log.Trimmed() {
			first++
		}
		first += (len(j.accepted) - first) / 2
		w.turn(func() { j.log.Trim(j.accepted[first].At) })
		w.settle()
	}
	trimmed := j.log.Trimmed()
	w.crash(func() bool { return false })
	r := w.recover("wal-7")
	first := 0
	for j.accepted[first].At < r.sealed.Trimmed {
		first++
	}
	j.expect(r, first)
	if r.sealed.Trimmed > trimmed {
		t.Fatalf("recovered trim point %d, never beyond %d", r.sealed.Trimmed, trimmed)
	}
}

func TestTrimToTheEndFreesEverything(t *testing.T) { onEachMedium(t, testTrimToTheEndFreesEverything) }

func testTrimToTheEndFreesEverything(t *testing.T, w *world) {
	j := w.create("wal-7", small, nil)
	w.turn(func() { j.append(100); j.append(30000) })
	w.settle()
	w.turn(func() { j.log.Trim(j.log.End()) })
	if j.log.Used() != 0 {
		t.Fatalf("%d bytes used", j.log.Used())
	}
	j.close()
	if w.stores != nil && len(w.stores["wal-7"].values) > 0 {
		t.Fatalf("%d slots are kept", len(w.stores["wal-7"].values))
	}
	r := w.recover("wal-7")
	if r.err != nil || len(r.entries) != 0 || r.sealed.Trimmed != r.sealed.End {
		t.Fatalf("found %d entries, %v", len(r.entries), r.err)
	}
}

func TestDeviceErrorEndsTheLogOnce(t *testing.T) { onEachMedium(t, testDeviceErrorEndsTheLogOnce) }

func testDeviceErrorEndsTheLogOnce(t *testing.T, w *world) {
	j := w.create("wal-7", small, nil)
	w.settle()
	for range 3 {
		w.turn(func() { j.append(9000) })
	}
	w.complete(1)
	w.disk.failing = func([]byte) error { return env.ErrDiskIO }
	w.turn(func() { j.append(100) })
	w.complete(0)
	w.disk.failing = nil
	w.settle()
	if !errors.Is(j.failure, env.ErrDiskIO) || j.durable != 0 {
		t.Fatalf("failure %v, %d acknowledged", j.failure, j.durable)
	}
	w.turn(func() {
		if j.append(100) {
			t.Fatal("a failed log took an append")
		}
	})
	if len(w.disk.pending) != 0 {
		t.Fatal("a failed log writes on")
	}
	if w.memory.live != 0 {
		t.Fatalf("a failed log keeps %d slabs", w.memory.live)
	}
}

func TestGroupsWaitForGrownSpace(t *testing.T) {
	w := newWorld(t)
	config := small
	config.GrowBytes = 4096
	j := w.create("wal-7", config, nil)
	w.disk.limit = 64 << 10
	for range 20 {
		w.turn(func() { j.append(9000) })
		w.settle()
	}
	if j.durable == 0 || j.durable == 20 || j.failure != nil {
		t.Fatalf("%d of 20 durable on a full device, failure %v", j.durable, j.failure)
	}
	if size := len(w.disk.files["wal-7"].data); size > 64<<10 {
		t.Fatalf("wrote %d bytes", size)
	}
	w.disk.limit = 0
	before := j.durable
	for range 100 {
		w.now += env.Time(growRetryAfter)
		w.turn(func() {})
		w.settle()
	}
	w.turn(func() { j.append(9000) })
	w.settle()
	if j.durable != len(j.accepted) || j.durable != before+1 {
		t.Fatalf("%d of %d durable after room came", j.durable, len(j.accepted))
	}
}

// A log begins on a device that has room for no more than its head, since what fills the device is removed
// only once there is a new log; and growth leaves the floor to others.
func TestALogBeginsWithItsHeadAndGrowsDownToTheFloor(t *testing.T) {
	w := newWorld(t)
	config := small
	config.GrowBytes, config.FloorBytes = 4096, 40<<10
	w.disk.limit = CreateBytes
	j := w.create("wal-7", config, nil)
	if w.turn(func() { j.append(9000) }); len(j.accepted) > 0 {
		t.Fatal("a batch was placed where there is no room")
	}
	if r := w.recover("wal-7"); r.err != nil || len(r.entries) != 0 || r.sealed.BrokerEpoch != 7 {
		t.Fatalf("an empty log is recovered as %+v: %v", r.sealed, r.err)
	}
	w.disk.limit = 100 << 10
	for range 20 {
		w.now += env.Time(growRetryAfter)
		w.turn(func() { j.append(9000) })
		w.settle()
	}
	if size := len(w.disk.files["wal-7"].data); j.durable == 0 || size != 60<<10 {
		t.Fatalf("the log has %d bytes, %d batches are durable", size, j.durable)
	}
}

// On a device that stays full the log wraps where it was grown to, and is found there by recovery, whatever
// of the superblock's write a crash leaves.
func TestALogShrinksOnAFullDevice(t *testing.T) {
	for _, torn := range []bool{false, true} {
		w := newWorld(t)
		config := small
		config.SizeBytes, config.GrowBytes = 1<<20, 4096
		j := w.create("wal-7", config, nil)
		w.disk.limit = headBytes + 300<<10
		for range 200 {
			w.turn(func() {
				j.append(9000)
				if n := len(j.accepted); n > 3 {
					j.log.Trim(j.accepted[n-3].At)
				}
			})
			w.settle()
			w.now += env.Time(growRetryAfter / 4)
		}
		if j.durable != len(j.accepted) || j.durable < 60 || j.failure != nil {
			t.Fatalf("%d of %d durable on a full device, failure %v", j.durable, len(j.accepted), j.failure)
		}
		if size := j.log.Size(); size > 300<<10 || size < regionBytesMin {
			t.Fatalf("the log has %d bytes", size)
		}
		w.crash(func() bool { return torn })
		r := w.recover("wal-7")
		if r.err != nil || len(r.entries) == 0 || r.entries[len(r.entries)-1].BaseOffset != j.accepted[len(j.accepted)-1].BaseOffset {
			t.Fatalf("%d entries were recovered: %v", len(r.entries), r.err)
		}
		j.expect(r, int(r.entries[0].BaseOffset/10))
	}
}

// A log that may not grow wraps where it was grown to as well: nobody may ever let it grow.
func TestALogThatIsHeldShrinks(t *testing.T) {
	w := newWorld(t)
	config := small
	config.SizeBytes, config.GrowBytes = 1<<20, 300<<10
	j := w.create("wal-7", config, nil)
	w.turn(func() { j.log.HoldGrowth(true) })
	for range 200 {
		w.turn(func() {
			j.append(9000)
			if n := len(j.accepted); n > 3 {
				j.log.Trim(j.accepted[n-3].At)
			}
		})
		w.settle()
		w.now += env.Time(growRetryAfter / 4)
	}
	if j.durable != len(j.accepted) || j.durable < 60 || j.failure != nil {
		t.Fatalf("%d of %d durable in a log that is held, failure %v", j.durable, len(j.accepted), j.failure)
	}
	j.close()
}

// A shutdown cannot wait for somebody to free room on the device.
func TestALogClosesOnAFullDevice(t *testing.T) {
	w := newWorld(t)
	config := small
	config.GrowBytes = 4096
	j := w.create("wal-7", config, nil)
	w.disk.limit = 64 << 10
	for range 20 {
		w.turn(func() { j.append(9000) })
		w.settle()
	}
	j.close()
	if j.durable == 0 || j.durable != len(j.accepted) || j.failure != nil {
		t.Fatalf("%d durable of %d, failure %v", j.durable, len(j.accepted), j.failure)
	}
	if w.memory.live != 0 {
		t.Fatalf("the log keeps %d slabs", w.memory.live)
	}
	w.disk.limit = 0
	if r := w.recover("wal-7"); r.err != nil || len(r.entries) != j.durable {
		t.Fatalf("%d entries were recovered, %d were durable: %v", len(r.entries), j.durable, r.err)
	}
}

func TestSummariesAreRecovered(t *testing.T) { onEachMedium(t, testSummariesAreRecovered) }

func testSummariesAreRecovered(t *testing.T, w *world) {
	var j *journal
	j = w.create("wal-7", small, textSummary{func() string { return fmt.Sprint("as of ", len(j.accepted), long(9000)) }})
	for range 30 {
		w.turn(func() { j.append(4000) })
		w.settle()
	}
	w.crash(func() bool { return false })
	r := w.recover("wal-7")
	j.expect(r, 0)
	below := 0
	for below < len(r.entries) && r.entries[below].At < r.summaryAt {
		below++
	}
	if text := fmt.Sprint("as of ", below, long(9000)); below == 0 || string(r.summary) != text {
		t.Fatalf("summary %.20q at %d, want %.20q", r.summary, r.summaryAt, text)
	}
	if r.sealed.head.summary != r.summaryAt {
		t.Fatalf("the superblock names the summary at %d, it is at %d", r.sealed.head.summary, r.summaryAt)
	}
}

func TestUnfinishedCreationIsAnEmptyLog(t *testing.T) {
	for _, kept := range []bool{false, true} {
		w := newWorld(t)
		w.turn(func() { Create(w.loop, w.env(), small, "wal-7", 7, nil, nil, func(*Log, error) {}) })
		w.complete(0)
		w.crash(func() bool { return kept })
		r := w.recover("wal-7")
		if r.err != nil || len(r.entries) != 0 || r.sealed.End != 0 {
			t.Fatalf("kept=%v: %v", kept, r.err)
		}
	}
}

func TestAppendAllocatesNothingPerRecord(t *testing.T) {
	onEachMedium(t, testAppendAllocatesNothingPerRecord)
}

func testAppendAllocatesNothingPerRecord(t *testing.T, w *world) {
	config := small
	config.SizeBytes, config.SlabBytes, config.GroupBytesMax = 1<<20, 128<<10, 64<<10
	j := w.create("wal-7", config, nil)
	w.settle()
	appends := make([]Append, 64)
	body := batch(1, 200)
	owner := trimmer{j.log}
	ran := testing.AllocsPerRun(200, func() {
		w.turn(func() {
			for i := range appends {
				appends[i] = Append{Stream: 1, Offsets: 1, Payload: body, LogAppendTime: -1, Owner: owner}
				if !j.log.Append(&appends[i]) {
					t.Fatal("refused")
				}
			}
		})
		w.settle()
	})
	// The fake world allocates for each operation; 64 records must not show.
	if ran > 30 {
		t.Fatalf("%v allocations for a group of 64 records", ran)
	}
}

type trimmer struct{ log *Log }

func (o trimmer) Durable(a *Append) { o.log.Trim(a.At) }
