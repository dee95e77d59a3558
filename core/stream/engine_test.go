package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/wal"
)

var (
	smallLog     = wal.Config{SizeBytes: 1 << 20, SlabBytes: 64 << 10, GroupBytesMax: 32 << 10, SummaryEveryBytes: 64 << 10}
	smallOptions = Options{
		CacheBytes: 1 << 20, BlockCacheBytes: 64 << 10, UploadBytes: 256 << 10, UploadInterval: time.Second,
		BlockBytes: 4 << 10, OwnObjectBytes: 128 << 10,
	}
)

func start(t testing.TB) (*world, *cluster, *node) {
	w := newWorld(t)
	c := newCluster(w)
	return w, c, boot(w, c, smallOptions, smallLog)
}

// fill appends batches until about that many bytes are durable.
func (o *owner) fill(n *node, bytes int) {
	n.w.t.Helper()
	for sum := 0; sum < bytes; sum += 1000 {
		n.w.until("room", func() bool { return o.append(n, 1, 1000, int64(sum)) })
	}
	n.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
}

// drain waits until everything durable is committed.
func (o *owner) drain(n *node) {
	n.w.t.Helper()
	n.w.until("a commit", func() bool { return o.stream.committed == o.stream.HighWatermark() })
}

func TestOwnerHearsOncePerEventAndInTheSameTurn(t *testing.T) {
	w, _, n := start(t)
	o := n.create(1)
	w.settle()
	w.turn(func() {
		for i := range 10 {
			o.put(batchOf(1, 100, 0, uint64(i)), 1, 0)
		}
	})
	w.settle()
	if o.told != 1 || o.durable != 10 || o.released != 10 {
		t.Fatalf("told %d times, durable up to %d, %d frames released", o.told, o.durable, o.released)
	}
}

func TestAStoreThatIsDownFillsTheCacheAndThenHoldsAppendsUp(t *testing.T) {
	w, _, n := start(t)
	o := n.create(1)
	down := true
	w.store.weather = func(string) string {
		if down {
			return "failed"
		}
		return ""
	}
	spaces := 0
	n.e.OnSpace(func() { spaces++ })
	refused := false
	for range 3000 {
		if refused = !o.append(n, 1, 1000, 0); refused {
			break
		}
		w.settle()
	}
	if !refused || n.e.appends.cache.bytes > smallOptions.CacheBytes+64<<10 {
		t.Fatalf("refused: %v, with %d bytes in the cache", refused, n.e.appends.cache.bytes)
	}
	o.readAll(n, 10_000)
	down = false
	w.until("space", func() bool { return spaces > 0 })
	w.until("room for an append", func() bool { return o.append(n, 1, 1000, 0) })
	o.drain(n)
	o.readAll(n, 10_000)
	n.shutdown()
}

func TestAFullCacheTellsWhenThereIsRoomAgain(t *testing.T) {
	w := newWorld(t)
	o := smallOptions
	o.CacheBytes, o.UploadBytes = 256<<10, 1<<20
	n := boot(w, newCluster(w), o, wal.Config{SizeBytes: 64 << 20, SlabBytes: 64 << 10, GroupBytesMax: 32 << 10, GrowBytes: 1 << 20})
	p := n.create(1)
	w.until("the log's growth", func() bool { return len(w.pending) == 0 })
	down, spaces := true, 0
	w.store.weather = func(string) string {
		if down {
			return "failed"
		}
		return ""
	}
	n.e.OnSpace(func() { spaces++ })
	for p.append(n, 1, 1000, 0) {
		w.settle()
	}
	if w.hits("stream append refused: cache full") == 0 || spaces > 0 {
		t.Fatal("it was not the cache that was full")
	}
	down = false
	w.until("space", func() bool { return spaces > 0 })
	if !p.append(n, 1, 1000, 0) {
		t.Fatal("there is no room after OnSpace")
	}
	n.shutdown()
}

func TestAfterALogFailsNothingIsAcknowledged(t *testing.T) {
	w, _, n := start(t)
	o := n.create(1)
	o.fill(n, 10_000)
	w.disk.broken = true
	o.append(n, 1, 1000, 0)
	w.settle()
	if n.failed == nil || o.durable != 10 || o.append(n, 1, 1000, 0) {
		t.Fatalf("failure %v, durable up to %d", n.failed, o.durable)
	}
	o.readAll(n, 3000)
	n.shutdown()
}

func TestAFullLogPressesForUploads(t *testing.T) {
	w := newWorld(t)
	o := smallOptions
	o.CacheBytes, o.UploadBytes, o.UploadInterval = 64<<20, 64<<20, time.Hour
	n := boot(w, newCluster(w), o, wal.Config{SizeBytes: 256 << 10, SlabBytes: 32 << 10, GroupBytesMax: 32 << 10})
	p := n.create(1)
	p.fill(n, 2<<20)
	p.readAll(n, 50_000)
	n.shutdown()
}

// A log that refuses while it still grows is pressed, and uploads of what little came in make no room: one a second is enough.
func TestUnderPressureLittleIsUploadedNowAndThen(t *testing.T) {
	w := newWorld(t)
	o := smallOptions
	o.CacheBytes, o.UploadBytes, o.UploadInterval = 64<<20, 64<<20, time.Hour
	n := boot(w, newCluster(w), o, wal.Config{SizeBytes: 64 << 20, SlabBytes: 32 << 10, GroupBytesMax: 32 << 10})
	p := n.create(1)
	began := w.now
	for range 300 {
		require.True(t, p.append(n, 1, 1000, 0))
		w.turn(func() { n.e.appends.refused = true })
		w.settle()
	}
	require.Less(t, w.now.Sub(began), littleEach)
	require.LessOrEqual(t, w.hits("stream upload: pressure"), int64(2))
	n.e.appends.refused = true
	p.drain(n) // the timer brings the turn in which the rest goes
	p.readAll(n, 50_000)
	n.shutdown()
}

func TestANameThatIsTakenByAnotherBodyGivesANewID(t *testing.T) {
	w, c, n := start(t)
	o := n.create(1)
	for id := uint64(1); id <= 2; id++ {
		alien := object.Build(object.Header{ID: id, Cluster: "cluster", Nonce: object.Nonce{1}}, []object.Part{{
			Stream: 9, Batches: []object.Batch{{Data: batchOf(1, 10, 0, 1), Base: 0, End: 1}},
		}}, 1000)
		w.store.objects[object.Key("cluster", id)] = slices.Concat(alien.Body...)
	}
	o.fill(n, 10_000)
	o.drain(n)
	if got := c.streams[1].Parts[0].Object; got != 3 || w.hits("stream upload: renumbered") != 2 {
		t.Fatalf("committed as object %d", got)
	}
}

func TestALostAnswerIsSettledByTheNonce(t *testing.T) {
	for _, weather := range []string{"lost before", "lost after", "late", "failed"} {
		t.Run(weather, func(t *testing.T) {
			w, c, n := start(t)
			o := n.create(1)
			bad := 3
			w.store.weather = func(op string) string {
				if op == "put" && bad > 0 {
					bad--
					return weather
				}
				return ""
			}
			o.fill(n, 10_000)
			o.drain(n)
			for _, arrive := range w.late {
				arrive()
			}
			if len(w.store.objects) != 1 || c.commits != 1 {
				t.Fatalf("%d objects, %d commits", len(w.store.objects), c.commits)
			}
			w.store.audit()
			n.shutdown()
		})
	}
}

func TestARefusedPartIsCutAgainAndHoldsUpNoOther(t *testing.T) {
	w, c, n := start(t)
	one, two := n.create(1), n.create(2)
	refusals := 2
	c.validatePart = func(p *metadata.CommitPart) bool {
		if p.Stream == 1 && refusals > 0 {
			refusals--
			return false
		}
		return true
	}
	one.fill(n, 20_000)
	two.fill(n, 20_000)
	two.drain(n)
	if one.stream.committed != 0 {
		t.Fatal("the refused part was committed")
	}
	one.drain(n)
	one.readAll(n, 5000)
	w.store.audit()
	n.shutdown()
}

func TestLargeStreamsGetTheirOwnObjects(t *testing.T) {
	_, c, n := start(t)
	large, small, tiny := n.create(1), n.create(2), n.create(3)
	small.append(n, 1, 500, 0)
	tiny.append(n, 1, 500, 0)
	large.fill(n, 200_000)
	large.drain(n)
	small.drain(n)
	tiny.drain(n)
	a, b, d := c.streams[1].Parts[0].Object, c.streams[2].Parts[0].Object, c.streams[3].Parts[0].Object
	if a == b || b != d {
		t.Fatalf("objects %d, %d and %d", a, b, d)
	}
}

func TestDamageInTheStoreIsNeverServed(t *testing.T) {
	w, c, n := start(t)
	o := n.create(1)
	o.fill(n, 100_000)
	o.drain(n)
	n.shutdown()
	key := w.store.keys()[0]
	w.store.objects[key][object.HeaderBytes+100] ^= 1
	n = boot(w, c, smallOptions, smallLog)
	o = n.owners[1]
	if _, err := o.read(n, 0, 1000); !errors.Is(err, object.ErrDamaged) {
		t.Fatalf("read of a damaged block: %v", err)
	}
	require.Len(t, w.logged, 1)
	for _, says := range []string{"committed records cannot be read", "partition=topic-1 first_offset=0 last_offset=", "DeleteRecords", key} {
		require.Contains(t, w.logged[0], says)
	}
	w.store.objects[key][object.HeaderBytes+100] ^= 1
	bad := 2
	w.store.weather = func(string) string {
		if bad--; bad >= 0 {
			return "damaged"
		}
		return ""
	}
	o.readAll(n, 1000)
	n.shutdown()
}

func TestAnObjectThatIsLostIsAnError(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 10_000)
	n.owners[1].drain(n)
	n.shutdown()
	clear(w.store.objects)
	n = boot(w, c, smallOptions, smallLog)
	if _, err := n.owners[1].read(n, 0, 1000); !errors.Is(err, errNoObject) {
		t.Fatalf("read of a lost object: %v", err)
	}
	_, _ = n.owners[1].read(n, 0, 1000)
	require.Len(t, w.logged, 1, "one line for an object and a minute")
	last := c.streams[1].Parts[0].End - 1
	for _, says := range []string{"committed records are lost", fmt.Sprintf("partition=topic-1 first_offset=0 last_offset=%d", last), "DeleteRecords"} {
		require.Contains(t, w.logged[0], says)
	}
	n.shutdown()
}

func TestAReadGivesUpWithinItsBudget(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 10_000)
	n.owners[1].drain(n)
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	w.store.weather = func(string) string { return "failed" }
	began := w.now
	if _, err := n.owners[1].read(n, 0, 1000); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Fatalf("read from a store that is down: %v", err)
	}
	if took := w.now.Sub(began); took < 10*time.Second || took > 20*time.Second {
		t.Fatalf("gave up after %v", took)
	}
	n.shutdown()
}

func TestWaitersShareOneGetAndReadsAreBounded(t *testing.T) {
	w, c, n := start(t)
	for id := metadata.StreamID(1); id <= 50; id++ {
		n.create(id).fill(n, 8000)
		n.owners[id].drain(n)
	}
	n.shutdown()
	o := smallOptions
	o.GetsInFlightMax = 4
	n = boot(w, c, o, smallLog)
	w.settle()
	before, gets, live := w.memory.bytes, w.store.gets, 0
	w.memory.peak = before
	w.turn(func() {
		for range 3 {
			for id := metadata.StreamID(1); id <= 50; id++ {
				n.owners[id].stream.Read(0, 1, func(f Fetched) { live++; f.Release() })
			}
		}
	})
	w.until("all reads", func() bool { return live == 150 })
	if got := w.store.gets - gets; got > 100 {
		t.Fatalf("%d reads of the store for 50 indexes and 50 blocks", got)
	}
	if grown := int64(w.memory.peak - before); grown > o.BlockCacheBytes+8*(8<<10) {
		t.Fatalf("reading took %d bytes beyond what there was", grown)
	}
	n.shutdown()
}

func TestASequentialReaderIsReadAhead(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 100_000)
	n.owners[1].drain(n)
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	n.owners[1].readAll(n, 4000)
	w.settle()
	if hits := w.hits("stream read: ahead"); hits < 10 {
		t.Fatalf("%d blocks were read ahead", hits)
	}
	n.shutdown()
}

// A scan through much more than the cache holds leaves what is read again and again in it.
func TestAScanDoesNotFlushTheBlockCache(t *testing.T) {
	w, c, n := start(t)
	hot, cold := n.create(1), n.create(2)
	hot.fill(n, 16_000)
	cold.fill(n, 400_000)
	hot.drain(n)
	cold.drain(n)
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	hot, cold = n.owners[1], n.owners[2]
	for range 3 {
		hot.readAll(n, 1000)
	}
	cold.readAll(n, 1000)
	w.settle()
	gets := w.store.gets
	hot.readAll(n, 1000)
	if again := w.store.gets - gets; again > 1 {
		t.Fatalf("the scan flushed the cache: %d blocks were read anew", again)
	}
	n.shutdown()
}

func TestRetentionStopsAtWhatTheStoreHas(t *testing.T) {
	_, c, n := start(t)
	o := n.create(1)
	for ts := int64(1); ts <= 3; ts++ {
		o.append(n, 10, 5000, ts*100)
		o.fill(n, 1)
		o.drain(n)
	}
	parts := c.streams[1].Parts
	o.append(n, 10, 5000, 400)
	total := o.stream.Bytes()
	for _, check := range []struct{ oldest, most, want int64 }{
		{-1, -1, 0},
		{101, -1, parts[0].End},
		{1000, -1, parts[2].End},
		{-1, total, 0},
		{-1, total - parts[0].Bytes, parts[0].End},
		{-1, 0, parts[2].End},
	} {
		if got := o.stream.RetentionPoint(check.oldest, check.most); got != check.want {
			t.Errorf("retention of %d ms and %d bytes: %d, want %d", check.oldest, check.most, got, check.want)
		}
	}
}

// What has no timestamp is as old as its upload, in no lookup older or newer than other records.
func TestRetentionOfRecordsWithoutTimestamps(t *testing.T) {
	w, c, n := start(t)
	o := n.create(1)
	w.now += env.Time(time.Hour)
	o.append(n, 10, 5000, -1)
	n.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
	o.drain(n)
	uploaded := w.WallMillis()
	part := &c.streams[1].Parts[0]
	if part.LargestTimestamp() != -1 || part.MaxTimestamp >= -1 {
		t.Fatalf("the part's max timestamp is %d", part.MaxTimestamp)
	}
	for oldest, want := range map[int64]int64{1: 0, uploaded - 1_000: 0, uploaded + 1: part.End} {
		if got := o.stream.RetentionPoint(oldest, -1); got != want {
			t.Errorf("retention of what is older than %d: %d, want %d", oldest, got, want)
		}
	}
	part.MaxTimestamp = -1 // an object of before uploads were dated
	if got := o.stream.RetentionPoint(uploaded+1, -1); got != 0 {
		t.Errorf("a part of unknown age is retained up to %d only", got)
	}
	n.shutdown()
}

func TestADeletedStreamHoldsNothingUp(t *testing.T) {
	w, c, n := start(t)
	one, two := n.create(1), n.create(2)
	one.fill(n, 10_000)
	two.fill(n, 10_000)
	delete(c.streams, 1)
	w.turn(n.e.ImageChanged)
	if !one.append(n, 1, 100, 0) {
		t.Fatal("an append before the owner heard of the deletion was refused")
	}
	w.turn(func() { n.e.Close(1) })
	two.drain(n)
	w.settle()
	if used := n.log.Used(); used > 8192 {
		t.Fatalf("the log keeps %d bytes", used)
	}
	n.shutdown()
}

// A device that is slow for a moment has the whole log in flight when the topic that filled it is deleted:
// nothing of it will ever be committed, and yet its space must come free.
func TestAStreamThatIsDeletedWithALogFullOfItInFlightHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	n := boot(w, c, smallOptions, wal.Config{SizeBytes: 256 << 10, SlabBytes: 64 << 10, GroupBytesMax: 32 << 10})
	one, two := n.create(1), n.create(2)
	w.settle()
	full := false
	for range 1000 {
		w.turn(func() { full = !one.put(batchOf(1, 1000, 0, 0), 1, 0) })
		if full {
			break
		}
	}
	spaces := 0
	n.e.OnSpace(func() { spaces++ })
	if !full || two.append(n, 1, 1000, 0) {
		t.Fatal("the log is not full")
	}
	delete(c.streams, 1)
	w.turn(func() {
		n.e.Close(1)
		n.e.ImageChanged()
	})
	w.settle()
	if spaces == 0 || !two.append(n, 1, 1000, 0) {
		t.Fatalf("the log holds %d bytes of a stream that is gone", n.log.Used())
	}
	two.drain(n)
	n.shutdown()
}

// A record costs the same however many streams there are: retention changes thousands in one turn.
func TestAChangeLooksAtTheStreamsItNamesOnly(t *testing.T) {
	w, c, n := start(t)
	for id := range metadata.StreamID(1000) {
		n.create(id + 1)
	}
	one, two := n.owners[7], n.owners[8]
	one.fill(n, 10_000)
	one.drain(n)
	c.trim(7, 3)
	delete(c.streams, 8)
	c.lookups = 0
	w.turn(func() {
		n.e.StreamsChanged([]metadata.StreamID{7, 8, 7, 12345})
		n.e.Close(8)
	})
	if c.lookups > 6 || one.trimmed != 3 || !two.stream.gone {
		t.Fatalf("%d lookups; the log start is at %d, the deleted stream is gone: %v", c.lookups, one.trimmed, two.stream.gone)
	}
	n.shutdown()
}

func TestTheFloorIsBelowWhatMayStillBeCommitted(t *testing.T) {
	w, c, n := start(t)
	o := n.create(1)
	if n.e.ObjectFloor() != 0 {
		t.Fatal("a floor before the first lease")
	}
	w.store.weather = func(string) string { return "failed" }
	o.fill(n, 10_000)
	w.until("an id", func() bool { return len(n.e.uploads.queue) > 0 && n.e.uploads.queue[0].id != 0 })
	if floor := n.e.ObjectFloor(); floor != 1 {
		t.Fatalf("floor %d while object 1 is under way", floor)
	}
	w.store.weather = func(string) string { return "" }
	o.drain(n)
	w.settle()
	if floor := n.e.ObjectFloor(); floor != c.streams[1].Parts[0].Object+1 {
		t.Fatalf("floor %d", floor)
	}
}

// recoverWith shuts a node down with a tail, changes something, and returns what recovery says.
func recoverWith(t *testing.T, change func(*world, *cluster)) error {
	w, c, n := start(t)
	o := n.create(1)
	o.fill(n, 100_000)
	n.shutdown()
	change(w, c)
	c.epoch++
	again := &node{w: w, c: c, owners: map[metadata.StreamID]*owner{}}
	options := smallOptions
	options.Loop, options.Env, options.Telemetry, options.Image, options.Controller = w.loop, w.env(), w.marks, c, c
	options.Epoch, options.NewState = c.epoch, newTestState
	again.e = NewEngine(options)
	_, err := again.recover()
	return err
}

func TestRecoveryIsLoudWhenWALAndImageDisagree(t *testing.T) {
	if err := recoverWith(t, func(*world, *cluster) {}); err != nil {
		t.Fatalf("sound state: %v", err)
	}
	for name, change := range map[string]func(*world, *cluster){
		"is next": func(_ *world, c *cluster) {
			c.streams[1].Ranges[0].Start, c.streams[1].Ranges[0].Committed = 0, 3
			c.shift(1)
		},
		"log of broker epoch": func(w *world, c *cluster) {
			w.disk.files[logName(2)] = w.disk.files[logName(1)]
			c.streams[1].Ranges[0].BrokerEpoch = 2
			c.epoch++
		},
		"it was sealed at": func(_ *world, c *cluster) { c.streams[1].Ranges[0].End = 1_000_000 },
		"another state":    func(_ *world, c *cluster) { c.streams[1].Checkpoint = encodeState(0, 77) },
	} {
		if err := recoverWith(t, change); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: recovery says %v", name, err)
		}
	}
}

func TestMissingAndBlankLogsMatterOnlyIfOwed(t *testing.T) {
	w, c, n := start(t)
	var err error
	ask := func() error {
		ended := false
		w.turn(func() {
			n.e.RecoverLog("wal-missing", 7, &replayer{c: c}, func(_ []metadata.RangeEnd, e error) { err, ended = e, true })
		})
		w.until("recovery", func() bool { return ended })
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	w.disk.files["wal-missing"] = &file{data: []byte(strings.Repeat("damage", 10_000))}
	if err := ask(); err != nil || w.disk.files["wal-missing"] != nil {
		t.Fatalf("a damaged log of which nothing is owed holds up the start, or stays: %v", err)
	}
	c.create(5)
	c.streams[5].Ranges[0].BrokerEpoch = 7
	if err := ask(); !errors.Is(err, env.ErrNotExist) {
		t.Fatalf("a log that is owed is missing: %v", err)
	}
	w.disk.files["wal-missing"] = &file{}
	var corrupt *wal.CorruptError
	if err := ask(); err == nil {
		t.Fatal("a log that is owed is blank")
	}
	w.disk.files["wal-missing"] = &file{data: []byte(strings.Repeat("damage", 10_000))}
	if err := ask(); !errors.As(err, &corrupt) {
		t.Fatalf("a log that is owed is damaged: %v", err)
	}
}

func TestATailThatCannotBeReadIsTriedAgain(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 50_000)
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	w.disk.failing = true
	w.until("a failed piece", func() bool { return w.hits("stream tail upload: failed") > 2 })
	w.disk.failing = false
	w.until("the tail's commit", func() bool { return !c.EpochOwes(1) })
	n.owners[1].readAll(n, 3000)
	n.shutdown()
}

// A sector of a recovered log goes bad: what lies elsewhere in it, and in the logs after it, must get to
// the store all the same.
func TestATailThatCannotBeReadHoldsNoOtherStreamUp(t *testing.T) {
	w, c, n := start(t)
	for id := range metadata.StreamID(3) {
		n.create(id+1).fill(n, 30_000)
	}
	n.shutdown()
	// The store is down, so that a second log comes to be owed.
	w.store.weather = func(op string) string { return "failed" }
	n = boot(w, c, smallOptions, smallLog)
	for id := range metadata.StreamID(3) {
		n.owners[id+1].fill(n, 30_000)
	}
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	w.store.weather = func(string) string { return "" }
	bad := n.e.recovered.tails[0].streams[1].entries.at(3).at
	sound := w.disk.files[logName(1)].data[8192+int(bad)+100:]
	sound[0] ^= 1
	w.until("the other streams' commits", func() bool {
		return c.streams[1].CommittedEnd() == 60 && c.streams[3].CommittedEnd() == 60 && w.hits("stream tail upload: failed") > 2
	})
	sound[0] ^= 1
	w.until("the tails' commit", func() bool { return !c.EpochOwes(1) && !c.EpochOwes(2) })
	for id := range metadata.StreamID(3) {
		n.owners[id+1].readAll(n, 3000)
	}
	n.shutdown()
}

func TestAStreamIsDeletedWhileItsTailIsRead(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 100_000)
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	w.until("a piece that is being read", func() bool {
		return n.e.recovered.uploads.piece != nil && n.e.recovered.uploads.piece.asked < len(n.e.recovered.uploads.piece.entries)
	})
	delete(c.streams, 1)
	w.turn(n.e.ImageChanged)
	w.turn(func() { n.e.Close(1) })
	w.until("the log is gone", func() bool { return w.disk.files[logName(1)] == nil })
	n.shutdown()
}

// During a start the engine hears of some streams, and not of every record that was applied.
func TestALogIsGivenUpAfterADeletionThatNobodyToldOf(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 30_000)
	n.shutdown()
	o := smallOptions
	o.Shipping = &countedShipping{}
	n = boot(w, c, o, smallLog)
	w.disk.failing = true
	w.until("a piece of its tail that cannot be read", func() bool { return w.hits("stream tail upload: failed") > 0 && n.e.recovered.uploads.piece == nil })
	w.disk.failing = false
	delete(c.streams, 1)
	w.until("the log is gone", func() bool {
		w.turn(func() { n.e.StreamsChanged([]metadata.StreamID{2}) })
		return w.disk.files[logName(1)] == nil
	})
	w.turn(func() { n.e.Close(1) })
	n.shutdown()
}

// A shutdown does not wait for the reading of another broker's log. What is read when the engine has stopped is closed, and kept nowhere.
func TestALogThatIsReadOnceTheEngineHasStoppedIsNotKept(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 30_000)
	n.shutdown()
	c.epoch++
	o := smallOptions
	o.Loop, o.Env, o.Telemetry, o.Image, o.Controller, o.Epoch, o.NewState = w.loop, w.env(), w.marks, c, c, c.epoch, newTestState
	e := NewEngine(o)
	var err error
	stopped, read := false, false
	w.turn(func() {
		e.RecoverLog(logName(1), 1, nil, func(_ []metadata.RangeEnd, recoverErr error) { err, read = recoverErr, true })
		e.Shutdown(func() { stopped = true })
	})
	w.until("the engine's end and that of the read", func() bool { return stopped && read })
	require.ErrorIs(t, err, ErrStopped)
	require.Empty(t, e.recovered.tails)
}

func TestShutdownAnswersReadsThatAreTriedAgain(t *testing.T) {
	w, c, n := start(t)
	n.create(1).fill(n, 10_000)
	n.owners[1].drain(n)
	n.owners[1].append(n, 1, 100, 0)
	w.settle()
	n.shutdown()
	n = boot(w, c, smallOptions, smallLog)
	clear(w.store.objects)
	w.disk.failing = true
	answers := 0
	w.turn(func() {
		for _, at := range []int64{0, 10} {
			n.owners[1].stream.Read(at, 100, func(f Fetched) {
				if f.Err != ErrGone && f.Err != ErrStopped {
					t.Errorf("read at %d: %v", at, f.Err)
				}
				answers++
			})
		}
	})
	w.settle()
	if answers > 0 || len(n.e.reader.again.all) != 1 || len(n.e.recovered.again.all) != 1 {
		t.Fatalf("%d answers, waits %d and %d", answers, len(n.e.reader.again.all), len(n.e.recovered.again.all))
	}
	n.shutdown()
	if answers != 2 {
		t.Fatalf("%d of 2 reads were answered", answers)
	}
}

// TestShutdownWaitsForNoUpload: neither for one in flight, which may take as long as the link is slow, nor
// for one that waits to be tried again, which would begin another.
func TestShutdownWaitsForNoUpload(t *testing.T) {
	for _, waits := range []bool{false, true} {
		w, _, n := start(t)
		if waits {
			w.store.weather = func(string) string { return "failed" }
		} else {
			w.store.hangs = true
		}
		n.create(1).fill(n, 100_000)
		w.until("an upload that is under way, or rests", func() bool {
			for _, u := range n.e.uploads.queue {
				if waits && u.timer.Pending() || len(w.store.hung) > 0 {
					return true
				}
			}
			return false
		})
		began := w.now
		n.shutdown()
		require.Less(t, w.now.Sub(began), time.Second, "it waited")
	}
}

func TestShutdownWithEverythingUnderWay(t *testing.T) {
	for steps := range 60 {
		w, c, n := start(t)
		n.create(1).fill(n, 60_000)
		n.owners[1].drain(n)
		n.owners[1].fill(n, 100_000)
		w.crash()
		n = boot(w, c, smallOptions, smallLog)
		for range 20 {
			n.owners[1].append(n, 2, 3000, 5)
		}
		answers := 0
		w.turn(func() {
			for at := int64(0); at < 100; at += 7 {
				n.owners[1].stream.Read(at, 100, func(f Fetched) { answers++; f.Release() })
			}
		})
		for range steps * 3 {
			w.step()
		}
		n.shutdown()
		if answers != 15 {
			t.Fatalf("%d of 15 reads were answered", answers)
		}
	}
}
