package partition

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/clean"
	"weir/core/compress"
	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// fakeLog is a stream whose room and durability the test decides.
type fakeLog struct {
	owner         stream.Owner
	start, hw, at int64
	room          int // appends it still takes; -1: no bound
	taken         []stream.Batch
	point         int64
	plan          clean.Plan
	limit         int64 // of the plan that was asked for last
	cleanings     []stream.Cleaning
}

func (l *fakeLog) Append(b stream.Batch) (int64, bool) {
	if l.room == 0 {
		return 0, false
	}
	l.room--
	base := l.at
	l.at += int64(b.Offsets)
	l.taken = append(l.taken, b)
	b.Release()
	return base, true
}
func (l *fakeLog) LogStart() int64                                    { return l.start }
func (l *fakeLog) HighWatermark() int64                               { return l.hw }
func (l *fakeLog) End() int64                                         { return l.at }
func (l *fakeLog) Read(int64, int, func(stream.Fetched))              {}
func (l *fakeLog) ReadStable(int64, int64, int, func(stream.Fetched)) {}
func (l *fakeLog) FindTimestamp(int64, int64, func(stream.Fetched))   {}
func (l *fakeLog) Bytes() int64                                       { return 0 }
func (l *fakeLog) RetentionPoint(int64, int64) int64                  { return l.point }

func (l *fakeLog) CleanPlan(limit, _ int64, _ *clean.Config) clean.Plan {
	l.limit = limit
	return l.plan
}

func (l *fakeLog) Clean(o stream.Cleaning) { l.cleanings = append(l.cleanings, o) }

func (l *fakeLog) durable(hw int64) {
	l.hw = hw
	l.owner.Durable(hw)
}

type fakeClock struct{ now env.Time }

const wallZero = 1_700_000_000_000

func (c *fakeClock) Now() env.Time     { return c.now }
func (c *fakeClock) WallMillis() int64 { return wallZero + int64(c.now)/1e6 }
func (c *fakeClock) WakeAt(env.Time)   {}

type rig struct {
	t       *testing.T
	clock   *fakeClock
	loop    *task.Loop
	manager *Manager
	p       *Partition
	log     *fakeLog
	answers []*Append
	trims   []int64
	compute []*env.Compute
	engine  *fakeEngine
}

func (r *rig) Submit(c *env.Compute) { r.compute = append(r.compute, c) }

func (r *rig) computeAll() {
	for len(r.compute) > 0 {
		c := r.compute[0]
		r.compute = r.compute[1:]
		c.Work()
		c.Deliver()
	}
}

func (r *rig) appended(a *Append) { r.answers = append(r.answers, a) }

func newRig(t *testing.T) *rig {
	r := &rig{t: t, clock: &fakeClock{}, engine: &fakeEngine{batchMax: 1 << 20}}
	r.loop = task.NewLoop(r.clock)
	r.manager = newManager(Options{
		Loop: r.loop, Env: env.Env{Clock: r.clock, Compute: r}, ProducerIDExpiration: time.Hour, HousekeepingInterval: time.Minute, Engine: r.engine,
		Trim: func(_ metadata.StreamID, at int64, _ func(error)) { r.trims = append(r.trims, at) },
	})
	state, err := LoadState(nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.p = &Partition{Name: "t", Stream: 1, manager: r.manager, epoch: 4, state: state, topic: &topic{config: config.Topic{
		CleanupPolicy: "delete", Retention: -1, RetentionBytes: -1,
		MaxMessageBytes: 1 << 20, RecordBytesMax: 1<<31 - 1, TimestampBeforeMaxMillis: 1<<63 - 1, TimestampAfterMaxMillis: 3_600_000,
	}}}
	state.settle(&r.manager.producers)
	r.log = &fakeLog{owner: r.p, room: -1}
	r.p.log = r.log
	r.manager.partitions = []*Partition{r.p}
	return r
}

// send appends a batch of n records; it returns the Append, which may be answered later.
func (r *rig) send(producer int64, epoch int16, sequence int32, n int) *Append {
	return r.sendBatch(record.Builder{ProducerID: producer, ProducerEpoch: epoch, BaseSequence: sequence}, n, wallZero)
}

func (r *rig) sendBatch(b record.Builder, n int, timestamp int64) *Append {
	records := make([]record.Record, n)
	for i := range records {
		records[i].Timestamp = timestamp
	}
	return r.appendBatch(b.AppendBatch(nil, records), OriginClient)
}

func (r *rig) appendBatch(data []byte, origin Origin) *Append {
	h, err := record.Check(data)
	require.NoError(r.t, err)
	a := &Append{
		Origin: origin, Header: h, Data: data, RecordErrorsMax: 1000, Done: r.appended, Release: func() {}, Deadline: r.clock.now.Add(30 * time.Second),
	}
	a.Facts, a.Invalid = record.Validate(&h, data, 64<<20)
	r.p.Append(a)
	return a
}

func (r *rig) answered(a *Append) bool { return slices.Contains(r.answers, a) }

// want checks that a was answered with code and base offset.
func (r *rig) want(a *Append, code wire.Code, base int64) {
	r.t.Helper()
	if !r.answered(a) || a.Code != code || a.BaseOffset != base {
		r.t.Fatalf("answered=%v code=%d (%s) base=%d, want code %d base %d", r.answered(a), a.Code, a.Detail, a.BaseOffset, code, base)
	}
}

func TestAnAppendIsAcknowledgedOnceDurable(t *testing.T) {
	r := newRig(t)
	a, b := r.send(-1, -1, -1, 3), r.send(-1, -1, -1, 2)
	if len(r.answers) != 0 {
		t.Fatal("acknowledged before it was durable")
	}
	r.log.durable(3)
	r.want(a, wire.None, 0)
	if r.answered(b) {
		t.Fatal("acknowledged before it was durable")
	}
	r.log.durable(5)
	r.want(b, wire.None, 3)
}

func TestADuplicateIsAcknowledgedOnlyWithItsOriginal(t *testing.T) {
	r := newRig(t)
	first := r.send(7, 0, 0, 3)
	again := r.send(7, 0, 0, 3)
	if r.answered(again) || len(r.log.taken) != 1 {
		t.Fatal("a duplicate was acknowledged early, or appended")
	}
	r.log.durable(3)
	r.want(first, wire.None, 0)
	r.want(again, wire.None, 0)
	r.want(r.send(7, 0, 0, 3), wire.None, 0) // durable already: at once
}

func TestTheWindowHoldsExactlyFiveBatches(t *testing.T) {
	r := newRig(t)
	for i := range int32(6) {
		r.send(7, 0, i*10, 10)
	}
	r.log.durable(60)
	r.want(r.send(7, 0, 0, 10), wire.OutOfOrderSequence, -1)
	for i := int32(1); i < 6; i++ {
		r.want(r.send(7, 0, i*10, 10), wire.None, int64(i)*10)
	}
	r.want(r.send(7, 0, 50, 9), wire.OutOfOrderSequence, -1) // same base, another length: no duplicate
	if len(r.log.taken) != 6 {
		t.Fatalf("%d batches were appended, want 6", len(r.log.taken))
	}
}

func TestSequences(t *testing.T) {
	r := newRig(t)
	r.send(7, 3, 100, 1) // nothing known of the producer: any first sequence
	r.want(r.send(7, 3, 105, 1), wire.OutOfOrderSequence, -1)
	r.want(r.send(7, 2, 101, 1), wire.InvalidProducerEpoch, -1)
	r.want(r.send(7, 4, 101, 1), wire.OutOfOrderSequence, -1) // a new epoch begins at 0
	ok := r.send(7, 4, 0, 1)
	r.want(r.send(7, 3, 100, 1), wire.InvalidProducerEpoch, -1)
	r.log.durable(2)
	r.want(ok, wire.None, 1)
}

func TestSequencesWrapInsideAndBetweenBatches(t *testing.T) {
	const top = 1<<31 - 1
	r := newRig(t)
	r.send(7, 0, top-4, 5) // ends at the top
	a := r.send(7, 0, 0, 5)
	r.send(8, 0, top-1, 5) // wraps inside: ends at 2
	b := r.send(8, 0, 3, 1)
	r.log.durable(r.log.at)
	r.want(a, wire.None, 5)
	r.want(b, wire.None, 15)
	r.want(r.send(8, 0, top-1, 5), wire.None, 10)
}

// TestTimestampsAtTheirEnds: with the largest bounds, every timestamp is taken; producers that send microseconds rely
// on it.
func TestTimestampsAtTheirEnds(t *testing.T) {
	r := newRig(t)
	ends := []int64{wallZero * 1000, math.MaxInt64, math.MinInt64, -2}
	for _, timestamp := range ends {
		l := r.p.recordLimits()
		far := timestamp > wallZero || timestamp == math.MinInt64 // the distance to it wraps, as in Kafka
		require.Equal(t, far, l.timestamp(timestamp, false) == timestampOutOfRange, "%d at the defaults", timestamp)
	}
	r.p.topic.config.TimestampAfterMaxMillis = math.MaxInt64
	for _, timestamp := range ends {
		l := r.p.recordLimits()
		require.Equal(t, timestampTaken, l.timestamp(timestamp, false), "%d", timestamp)
	}
}

func TestValidation(t *testing.T) {
	r := newRig(t)
	builder := record.Builder{ProducerID: -1}
	r.want(r.sendBatch(record.Builder{ProducerID: -1, BaseOffset: 5}, 1, wallZero), wire.InvalidRecord, -1)
	r.want(r.sendBatch(record.Builder{ProducerID: 1, Control: true}, 1, wallZero), wire.InvalidRecord, -1)
	r.want(r.sendBatch(record.Builder{ProducerID: 1, Transactional: true}, 1, wallZero), wire.InvalidTxnState, -1)
	r.p.topic.config.TimestampBeforeMaxMillis = 60_000
	r.p.topic.config.MaxMessageBytes = 80
	r.want(r.sendBatch(builder, 10, wallZero), wire.MessageTooLarge, -1)
	r.p.topic.config.MaxMessageBytes, r.engine.batchMax = 1<<20, 80
	r.want(r.sendBatch(builder, 10, wallZero), wire.MessageTooLarge, -1)
	r.engine.batchMax = 1 << 20
	good := []*Append{r.sendBatch(builder, 1, wallZero+3_600_000), r.sendBatch(builder, 1, wallZero-60_000), r.sendBatch(builder, 1, -1)}
	r.log.durable(3)
	for i, a := range good {
		r.want(a, wire.None, int64(i))
	}
}

// A refusal lists every record at fault, as Kafka's does. It is answered once, and its batch
// released, also if the partition closes meanwhile.
func TestACompactedTopicListsTheRecordsWithoutKeys(t *testing.T) {
	for codec := compress.None; codec.Valid(); codec++ {
		r := newRig(t)
		r.p.topic.config.CleanupPolicy = "compact"
		b := record.Builder{ProducerID: 7, Codec: codec}
		keyless := r.appendBatch(b.AppendBatch(nil, []record.Record{
			{Timestamp: wallZero}, {Timestamp: wallZero, Key: []byte("k")}, {Timestamp: wallZero},
		}), OriginClient)
		b.ProducerID = 8
		keyed := r.appendBatch(b.AppendBatch(nil, []record.Record{{Timestamp: wallZero, Key: []byte("k")}}), OriginClient)
		r.p.close(wire.NotLeaderOrFollower)
		released := 0
		keyless.Release = func() { released++ }
		r.computeAll()
		r.want(keyless, wire.InvalidRecord, -1)
		require.Equal(t, 1, released)
		require.Equal(t, []RecordError{
			{0, "Compacted topic cannot accept message without key in topic partition t-0"},
			{2, "Compacted topic cannot accept message without key in topic partition t-0"},
		}, keyless.RecordErrors)
		r.want(keyed, wire.NotLeaderOrFollower, -1)
		require.Len(t, r.answers, 2)
	}
}

func TestTimestampsOutOfRangeAreListed(t *testing.T) {
	r := newRig(t)
	b := record.Builder{ProducerID: -1, Codec: compress.Zstd}
	const hour = 3_600_000
	late := r.appendBatch(b.AppendBatch(nil, []record.Record{{Timestamp: wallZero}, {Timestamp: wallZero + hour + 1}, {Timestamp: -1}}), OriginClient)
	r.computeAll()
	r.want(late, wire.InvalidTimestamp, -1)
	require.Len(t, late.RecordErrors, 1)
	require.EqualValues(t, 1, late.RecordErrors[0].Index)
	r.p.topic.config.TimestampBeforeMaxMillis = 3_600_000
	early := r.appendBatch(b.AppendBatch(nil, []record.Record{{Timestamp: wallZero - hour - 1}, {Timestamp: wallZero}}), OriginClient)
	r.computeAll()
	r.want(early, wire.InvalidTimestamp, -1)
	none := r.appendBatch(b.AppendBatch(nil, []record.Record{{Timestamp: -1}}), OriginClient)
	r.log.durable(1)
	r.want(none, wire.None, 0)
}

func TestAWrongMaxTimestampIsPutRight(t *testing.T) {
	for codec := compress.None; codec.Valid(); codec++ {
		for _, wrong := range []int64{-1, wallZero, wallZero + 1<<40} {
			r := newRig(t)
			b := record.Builder{ProducerID: -1, Codec: codec}
			data := b.AppendBatch(nil, []record.Record{{Timestamp: wallZero}, {Timestamp: wallZero + 7}})
			record.SetCreateTime(data, wrong)
			r.appendBatch(data, OriginClient)
			require.Len(t, r.log.taken, 1)
			h, err := record.Check(r.log.taken[0].Data)
			require.NoError(t, err)
			require.EqualValues(t, wallZero+7, h.MaxTimestamp)
			require.EqualValues(t, wallZero+7, r.log.taken[0].MaxTimestamp)
		}
	}
}

// A producer that sets the type LogAppendTime is refused where the broker sets it, and elsewhere
// its batch becomes one of CreateTime, if it has a timestamp in range.
func TestTheTypeLogAppendTimeIsForBrokers(t *testing.T) {
	r := newRig(t)
	marked := func(millis int64) []byte {
		b := record.Builder{ProducerID: -1}
		data := b.AppendBatch(nil, []record.Record{{Timestamp: wallZero}, {Timestamp: wallZero + 3}})
		record.StampLogAppendTime(data, millis)
		return data
	}
	r.appendBatch(marked(wallZero), OriginClient)
	require.Len(t, r.log.taken, 1)
	h, err := record.Check(r.log.taken[0].Data)
	require.NoError(t, err)
	require.False(t, h.LogAppendTime())
	require.EqualValues(t, wallZero+3, h.MaxTimestamp)

	for name, a := range map[string]*Append{
		"far ahead": r.appendBatch(marked(wallZero+1<<40), OriginClient), "no timestamp": r.appendBatch(marked(-1), OriginClient),
	} {
		r.computeAll()
		r.want(a, wire.InvalidTimestamp, -1)
		require.Len(t, a.RecordErrors, 2, name)
	}
	r.p.topic.config.LogAppendTime = true
	a := r.appendBatch(marked(wallZero), OriginClient)
	r.computeAll()
	r.want(a, wire.InvalidTimestamp, -1)
	require.Len(t, a.RecordErrors, 2)
}

func TestPoisonedBatchesAreRefused(t *testing.T) {
	r := newRig(t)
	b := record.Builder{ProducerID: -1, Codec: compress.Gzip}
	data := b.AppendBatch(nil, []record.Record{{Timestamp: wallZero}, {Timestamp: wallZero}})
	binary.BigEndian.PutUint32(data[23:], 2)
	binary.BigEndian.PutUint32(data[57:], 3)
	record.Seal(data)
	r.want(r.appendBatch(data, OriginClient), wire.InvalidRecord, -1)
	large := b.AppendBatch(nil, []record.Record{{Timestamp: wallZero, Value: make([]byte, 64<<20)}})
	r.want(r.appendBatch(large, OriginClient), wire.MessageTooLarge, -1)
	r.p.topic.config.RecordBytesMax = 1000
	long := b.AppendBatch(nil, []record.Record{{Timestamp: wallZero, Value: make([]byte, 1000)}})
	r.want(r.appendBatch(long, OriginClient), wire.InvalidRecord, -1)
	require.Empty(t, r.log.taken)
}

// What the origin of a batch allows, as Kafka's AppendOrigin.
func TestOrigins(t *testing.T) {
	for origin, want := range map[Origin]wire.Code{OriginClient: wire.InvalidRecord, OriginCoordinator: wire.None, OriginReplica: wire.None} {
		r := newRig(t)
		a := r.appendBatch(record.AppendMarker(nil, 5, 3, record.Marker{}, wallZero), origin)
		r.log.durable(r.log.at)
		require.Equal(t, want, a.Code, origin)
	}
	for origin, want := range map[Origin][2]wire.Code{
		OriginClient:      {wire.OutOfOrderSequence, wire.InvalidProducerEpoch},
		OriginCoordinator: {wire.None, wire.InvalidProducerEpoch},
		OriginReplica:     {wire.None, wire.None},
	} {
		r := newRig(t)
		r.send(5, 3, 0, 1)
		jump := record.Builder{ProducerID: 5, ProducerEpoch: 3, BaseSequence: 9}
		a := r.appendBatch(jump.AppendBatch(nil, []record.Record{{Timestamp: wallZero}}), origin)
		jump.ProducerEpoch = 2
		old := r.appendBatch(jump.AppendBatch(nil, []record.Record{{Timestamp: wallZero}}), origin)
		r.log.durable(r.log.at)
		require.Equal(t, want, [2]wire.Code{a.Code, old.Code}, origin)
	}
}

// A producer that is forgotten too early has its late retry appended twice.
func TestNewProducersAreRefusedRatherThanOldOnesForgotten(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 2
	first := r.send(1, 0, 0, 1)
	r.clock.now = env.Time(10 * time.Minute)
	r.send(2, 0, 0, 1)
	r.log.durable(2)
	r.want(r.send(3, 0, 0, 1), wire.PolicyViolation, -1)
	r.want(first, wire.None, 0)
	r.want(r.send(1, 0, 0, 1), wire.None, 0) // the late retry
	require.Len(t, r.log.taken, 2)
	plain := r.sendBatch(record.Builder{ProducerID: -1}, 1, wallZero)
	r.log.durable(3)
	r.want(plain, wire.None, 2)

	r.clock.now = env.Time(61 * time.Minute) // the first has expired
	r.send(3, 0, 0, 1)
	require.Len(t, r.log.taken, 4)
	require.Nil(t, r.p.state.find(1))
}

func TestProducersWithoutAnEpoch(t *testing.T) {
	r := newRig(t)
	a := r.send(5, -1, 0, 1)
	again := r.send(5, -1, 0, 1)
	other := r.sendBatch(record.Builder{ProducerID: -2, ProducerEpoch: -1, BaseSequence: -1}, 1, wallZero)
	r.log.durable(3)
	r.want(a, wire.None, 0)
	r.want(again, wire.None, 1)
	r.want(other, wire.None, 2)
	r.want(r.send(5, -2, 0, 1), wire.InvalidProducerEpoch, -1)
	r.send(5, 0, 0, 1)
	r.want(r.send(5, -1, 0, 1), wire.InvalidProducerEpoch, -1)
}

func TestLogAppendTimeStampsAndIgnoresTheProducersTime(t *testing.T) {
	r := newRig(t)
	r.p.topic.config.LogAppendTime = true
	r.clock.now = env.Time(5 * time.Second)
	a := r.sendBatch(record.Builder{ProducerID: 3}, 1, 12345)
	r.log.durable(1)
	r.want(a, wire.None, 0)
	if a.LogAppendTime != wallZero+5000 || r.log.taken[0].LogAppendTime != wallZero+5000 || r.p.state.MaxTimestamp() != wallZero+5000 {
		t.Fatalf("stamped %d", a.LogAppendTime)
	}
	r.clock.now = env.Time(9 * time.Second)
	again := r.sendBatch(record.Builder{ProducerID: 3}, 1, 12345)
	if r.want(again, wire.None, 0); again.LogAppendTime != wallZero+5000 {
		t.Fatalf("a duplicate says %d", again.LogAppendTime)
	}
}

func TestBackPressureKeepsOrder(t *testing.T) {
	r := newRig(t)
	r.log.room = 1
	for i := range int32(4) {
		r.send(7, 0, i, 1)
	}
	if len(r.log.taken) != 1 {
		t.Fatalf("%d taken", len(r.log.taken))
	}
	r.log.room = 2
	r.manager.space()
	if len(r.log.taken) != 3 {
		t.Fatalf("%d taken after there was room for two", len(r.log.taken))
	}
	r.log.room = -1
	r.send(7, 0, 4, 1) // must not overtake the one that waits
	r.manager.space()
	r.log.durable(5)
	for i, a := range r.answers {
		if a.Code != wire.None || a.BaseOffset != int64(i) {
			t.Fatalf("answer %d: code %d base %d (%s)", i, a.Code, a.BaseOffset, a.Detail)
		}
	}
	if len(r.answers) != 5 || r.manager.blocked.Len() != 0 {
		t.Fatalf("%d answers", len(r.answers))
	}
}

func TestAnAppendThatWaitsTooLongTimesOut(t *testing.T) {
	r := newRig(t)
	r.log.room = 0
	a := r.send(-1, -1, -1, 1)
	r.clock.now = env.Time(31 * time.Second)
	r.loop.Turn(nil)
	r.want(a, wire.RequestTimedOut, -1)
	r.log.room = -1
	r.manager.space()
	if len(r.log.taken) != 0 {
		t.Fatal("appended after it was given up")
	}
}

func TestCloseAnswersEverythingOnce(t *testing.T) {
	r := newRig(t)
	r.log.room = 1
	sent := []*Append{r.send(7, 0, 0, 1), r.send(7, 0, 1, 1)}
	r.log.room = 0
	w := &watcher{}
	w.watch.Moved = w.hear
	r.p.Watch(&w.watch, ReadUncommitted)
	r.p.close(wire.NotLeaderOrFollower)
	sent = append(sent, r.send(7, 0, 2, 1))
	for _, a := range sent {
		r.want(a, wire.NotLeaderOrFollower, -1)
	}
	if len(r.answers) != 3 || w.moved != 1 || w.watch.Watching() {
		t.Fatalf("%d answers, watcher told %d times", len(r.answers), w.moved)
	}
}

type watcher struct {
	watch Watch
	moved int
}

func (w *watcher) hear() { w.moved++ }

func TestWatchersHearOfEveryMoveAndCountBytes(t *testing.T) {
	r := newRig(t)
	watchers := make([]watcher, 4)
	for i := range watchers {
		watchers[i].watch.Moved = watchers[i].hear
		r.p.Watch(&watchers[i].watch, Isolation(i%2))
	}
	a := r.send(-1, -1, -1, 2)
	r.log.durable(2)
	watchers[1].watch.Unwatch()
	watchers[0].watch.Unwatch()
	watchers[0].watch.Unwatch() // again: nothing
	b := r.send(-1, -1, -1, 1)
	r.log.durable(3)
	for i, want := range []int{1, 1, 2, 2} {
		if watchers[i].moved != want {
			t.Errorf("watcher %d was told %d times, want %d", i, watchers[i].moved, want)
		}
	}
	if got := watchers[3].watch.Bytes(); got != int64(a.Header.Bytes+b.Header.Bytes) {
		t.Errorf("counted %d bytes", got)
	}
}

func TestNothingIsReadAboveTheReadableEnd(t *testing.T) {
	r := newRig(t)
	r.send(-1, -1, -1, 2)
	reads := 0
	r.p.log = countingLog{r.log, &reads}
	for _, i := range []Isolation{ReadUncommitted, ReadCommitted} {
		r.log.hw = 0
		answered := false
		r.p.Read(0, 100, i, func(f stream.Fetched) { answered = f.Bytes == 0 })
		require.True(t, answered)
		r.log.hw = 2
		require.EqualValues(t, 2, r.p.ReadableEnd(i))
		r.p.Read(1, 100, i, func(stream.Fetched) {})
	}
	require.Equal(t, 2, reads)
}

type countingLog struct {
	*fakeLog
	reads *int
}

func (l countingLog) Read(int64, int, func(stream.Fetched))              { *l.reads++ }
func (l countingLog) ReadStable(int64, int64, int, func(stream.Fetched)) { *l.reads++ }

var update = flag.Bool("update", false, "write the golden files")

// Checkpoints of every version that was ever written are read: they lie in the quorum's log, in
// snapshots and in WALs of brokers that are upgraded.
func TestOldCheckpointsAreRead(t *testing.T) {
	r := newRig(t)
	r.send(7, 0, 0, 2)
	r.send(300, 5, 9, 1)
	r.send(7, 0, 2, 3)
	r.sendBatch(record.Builder{ProducerID: -1}, 1, wallZero+5)
	r.log.durable(7)
	plain := slices.Clone(r.p.Checkpoint(nil))
	r.open(300, 5, 10, 2)
	r.end(7, 1, record.Marker{CoordinatorEpoch: 8}, 2)
	r.log.durable(10)
	now := r.p.Checkpoint(nil)
	r.p.state.find(7).durable.marked = noTimestamp // as a release had it that did not know the timestamps of markers
	transactions := r.p.Checkpoint(nil)
	r.p.state.dense = func() bool { return true }
	dense := r.p.Checkpoint(nil)
	for version, written := range map[int][]byte{checkpointPlain: plain, checkpointTransactions: transactions, checkpointMarkers: now, checkpointDense: dense} {
		require.EqualValues(t, version, written[len(checkpointMagic)], "a new version needs a golden file of its own, and keeps the old ones")
		path := fmt.Sprintf("testdata/checkpoint-v%d.hex", version)
		if *update {
			require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%x\n", written), 0o644))
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		old, err := hex.DecodeString(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		s, err := loadState(old, int64(map[int]int{1: 7, 2: 10, 3: 10, 4: 10}[version]), 0, func() bool { return version == checkpointDense })
		require.NoError(t, err)
		require.Equal(t, written, s.AppendCheckpoint(nil), "version %d", version)
	}
	now[len(checkpointMagic)] = checkpointDense + 1
	binary.BigEndian.PutUint32(now[len(now)-4:], crc32.Checksum(now[:len(now)-4], castagnoli))
	_, err := LoadState(now, 10, 0)
	require.ErrorIs(t, err, ErrCheckpoint)
	require.ErrorContains(t, err, "newer")
}

func TestTheCheckpointIsExactlyAsOfTheHighWatermark(t *testing.T) {
	r := newRig(t)
	var headers []record.Header
	note := func(a *Append) {
		h := a.Header
		h.BaseOffset = a.BaseOffset
		headers = append(headers, h)
	}
	for i := range int32(8) {
		note(r.send(7, 0, i*2, 2))
		note(r.send(9, 1, i, 1))
		note(r.send(-1, -1, -1, 1))
	}
	for n := range len(headers) + 1 {
		if n > 0 {
			r.log.durable(headers[n-1].NextOffset())
		}
		replayed, err := LoadState(nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range headers[:n] {
			if err := replayed.Replay(&headers[i], nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		got, want := r.p.Checkpoint(nil), replayed.AppendCheckpoint(nil)
		if !slices.Equal(got, want) {
			t.Fatalf("with %d batches durable the checkpoint differs from a replay of them", n)
		}
		loaded, err := LoadState(got, r.log.hw, 0)
		if err != nil || !slices.Equal(loaded.AppendCheckpoint(nil), got) {
			t.Fatalf("a checkpoint does not come back: %v", err)
		}
	}
}

func TestARetryIsADuplicateAfterACheckpointAndReplay(t *testing.T) {
	r := newRig(t)
	r.send(7, 0, 0, 4)
	r.log.durable(4)
	checkpoint := r.p.Checkpoint(nil)
	late := r.send(7, 0, 4, 4)
	late.Header.BaseOffset = late.BaseOffset
	state, err := LoadState(checkpoint, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := state.check(&late.Header, OriginClient); code != wire.None {
		t.Fatalf("code %d", code)
	}
	if err := state.Replay(&late.Header, nil, 0); err != nil {
		t.Fatal(err)
	}
	if again := state.duplicateOf(&late.Header); !again.found || again.batch.offset != 4 {
		t.Fatalf("the replayed batch is unknown: %+v", again)
	}
	if err := state.Replay(&late.Header, nil, 0); err == nil {
		t.Fatal("a gap or overlap in the replay went unnoticed")
	}
}

func TestProducersAreBoundedAndExpire(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 10
	for i := range int64(30) {
		r.clock.now += env.Time(time.Second)
		r.send(i, 0, 0, 1)
		r.log.durable(i + 1)
	}
	if n := r.p.state.Producers(); n != 10 {
		t.Fatalf("%d producers", n)
	}
	r.manager.armHousekeeping()
	r.clock.now += env.Time(time.Hour)
	r.send(29, 0, 0, 1)
	r.loop.Turn(nil)
	if n := r.p.state.Producers(); n != 1 {
		t.Fatalf("%d producers after an hour, want the one that appends", n)
	}
}

func TestRetentionAsksForTheLogStart(t *testing.T) {
	r := newRig(t)
	r.log.point = 9
	r.p.retain()
	if len(r.trims) != 0 {
		t.Fatal("trimmed without a limit")
	}
	r.p.topic.config.Retention = time.Hour
	r.p.retain()
	r.p.topic.config.CleanupPolicy = "compact"
	r.p.retain()
	if !slices.Equal(r.trims, []int64{9}) {
		t.Fatalf("trims %v", r.trims)
	}
}

func TestEpochs(t *testing.T) {
	cache := epochsOf([]metadata.Range{
		{LeaderEpoch: 1, Start: 0}, {LeaderEpoch: 2, Start: 10}, {LeaderEpoch: 3, Start: 10}, {LeaderEpoch: 5, Start: 20},
	})
	for _, c := range []struct {
		epoch      int32
		logStart   int64
		wantEpoch  int32
		wantOffset int64
	}{
		{-1, 0, -1, -1},
		{0, 0, 0, 0},
		{1, 0, 1, 10},
		{2, 0, 1, 10},
		{3, 0, 3, 20},
		{4, 0, 3, 20},
		{5, 0, 5, 33},
		{6, 0, -1, -1},
		{1, 15, 1, 15},
		{3, 15, 3, 20},
		{3, 25, 3, 25},
	} {
		if epoch, offset := cache.endOf(c.epoch, c.logStart, 33); epoch != c.wantEpoch || offset != c.wantOffset {
			t.Errorf("end of epoch %d with log start %d is (%d, %d), want (%d, %d)", c.epoch, c.logStart, epoch, offset, c.wantEpoch, c.wantOffset)
		}
	}
	for offset, want := range map[int64]int32{0: 1, 9: 1, 10: 3, 19: 3, 20: 5, 99: 5} {
		if got := cache.at(offset); got != want {
			t.Errorf("epoch at %d is %d, want %d", offset, got, want)
		}
	}
	p := Partition{epoch: 5}
	for epoch, want := range map[int32]wire.Code{-1: wire.None, 5: wire.None, 4: wire.FencedLeaderEpoch, 6: wire.UnknownLeaderEpoch} {
		if got := p.CheckEpoch(epoch); got != want {
			t.Errorf("epoch %d: code %d, want %d", epoch, got, want)
		}
	}
}

func FuzzLoadState(f *testing.F) {
	s, _ := LoadState(nil, 0, 0)
	f.Add(s.AppendCheckpoint(nil), int64(0))
	for _, version := range []int{2, 3, 4} {
		if text, err := os.ReadFile(fmt.Sprintf("testdata/checkpoint-v%d.hex", version)); err == nil {
			b, _ := hex.DecodeString(strings.TrimSpace(string(text)))
			f.Add(b, int64(10))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		b = resum(b)
		if s, err := LoadState(b, end, 0); err == nil && len(b) > 0 {
			s.AppendCheckpoint(nil)
		}
	})
}

// resum gives bytes a right checksum, so that the fuzzer gets past it.
func resum(b []byte) []byte {
	if len(b) < 4 {
		return b
	}
	body := b[:len(b)-4]
	return binary.BigEndian.AppendUint32(slices.Clone(body), crc32.Checksum(body, castagnoli))
}
