package broker

import (
	"bytes"
	"testing"
	"time"

	"weir/core/compress"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produce sends batches to partitions 0, 1, … of a topic.
func (r *dataRig) produce(version, acks int16, topic string, id byte, batches ...[]byte) *trade {
	q := kmsg.NewPtrProduceRequest()
	q.Version, q.Acks, q.TimeoutMillis = version, acks, 1000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, [16]byte{id}
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	decoded, err := decodeProduce(version, q.AppendTo(nil))
	if err != nil {
		r.t.Fatal(err)
	}
	x := &trade{t: r.t, v: version}
	r.plane.produce(x, decoded)
	return x
}

func (x *trade) produced() []kmsg.ProduceResponseTopicPartition {
	x.t.Helper()
	x.want(true)
	m := kmsg.NewPtrProduceResponse()
	m.Version = x.v
	if err := m.ReadFrom(x.body); err != nil {
		x.t.Fatal(err)
	}
	return m.Topics[0].Partitions
}

func TestProduceAnswersWhenAllIsDurable(t *testing.T) {
	for _, acks := range []int16{1, -1} {
		r := newDataRig(t)
		x := r.produce(9, acks, "t", 1, batchOf(0, 2), batchOf(compress.Zstd, 3))
		if x.frames != 1 {
			t.Fatal("the frame stays though the payload is copied")
		}
		r.logs[1].durable()
		x.want(false)
		r.logs[2].durable()
		for i, p := range x.produced() {
			if p.ErrorCode != 0 || p.BaseOffset != 0 || p.LogAppendTime != -1 || p.Partition != int32(i) {
				t.Fatalf("%+v", p)
			}
		}
	}
}

func TestProduceErrors(t *testing.T) {
	r := newDataRig(t)
	broken := batchOf(0, 1)
	broken[len(broken)-1] ^= 1
	for _, c := range []struct {
		name    string
		x       *trade
		want    wire.Code
		version int16
	}{
		{"unknown topic", r.produce(12, -1, "x", 1, batchOf(0, 1)), wire.UnknownTopicOrPartition, 12},
		{"unknown id", r.produce(13, -1, "", 9, batchOf(0, 1)), wire.UnknownTopicID, 13},
		{"corrupt", r.produce(13, -1, "", 1, broken), wire.CorruptMessage, 13},
		{"acks 2", r.produce(8, 2, "t", 1, batchOf(0, 1)), wire.InvalidRequiredAcks, 8},
		{"null records", r.produce(8, -1, "t", 1, nil), wire.InvalidRecord, 8},
	} {
		if p := c.x.produced()[0]; p.ErrorCode != int16(c.want) || p.BaseOffset != -1 {
			t.Errorf("%s: code %d, want %d", c.name, p.ErrorCode, c.want)
		}
	}
}

func TestProduceNamesTheLeader(t *testing.T) {
	for _, version := range []int16{9, 10, 13} {
		r := newDataRig(t)
		x := r.produce(version, -1, "t", 1, batchOf(0, 1), batchOf(0, 1), batchOf(0, 1), batchOf(0, 1))
		for id := range metadata.StreamID(3) {
			r.logs[id+1].durable()
		}
		p := x.produced()[3]
		m := kmsg.NewPtrProduceResponse()
		m.Version = version
		if err := m.ReadFrom(x.body); err != nil {
			t.Fatal(err)
		}
		hinted := p.CurrentLeader.LeaderID == 2 && p.CurrentLeader.LeaderEpoch == 8 && len(m.Brokers) == 1 && m.Brokers[0].Port == 9
		if p.ErrorCode != int16(wire.NotLeaderOrFollower) || hinted != (version >= produceHints) {
			t.Fatalf("v%d: %+v, brokers %+v", version, p, m.Brokers)
		}
	}
}

// asked is one partition of a fetch.
type asked struct {
	index  int32
	offset int64
	max    int32
	epoch  int32
}

type fetchAsk struct {
	version   int16
	session   int32
	epoch     int32
	min, max  int32
	wait      time.Duration
	isolation int8
	parts     []asked
	forget    []int32
	from      string
}

func (r *dataRig) fetch(a fetchAsk) *trade {
	q := kmsg.NewPtrFetchRequest()
	q.Version, q.SessionID, q.SessionEpoch, q.MinBytes, q.MaxWaitMillis = a.version, a.session, a.epoch, a.min, int32(a.wait.Milliseconds())
	q.MaxBytes, q.IsolationLevel = a.max, a.isolation
	if a.max == 0 {
		q.MaxBytes = 1 << 20
	}
	if len(a.parts) > 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = "t", [16]byte{1}
		for _, p := range a.parts {
			tp := kmsg.NewFetchRequestTopicPartition()
			tp.Partition, tp.FetchOffset, tp.PartitionMaxBytes, tp.CurrentLeaderEpoch = p.index, p.offset, 1<<20, -1
			if p.max > 0 {
				tp.PartitionMaxBytes = p.max
			}
			if p.epoch > 0 {
				tp.CurrentLeaderEpoch = p.epoch
			}
			t.Partitions = append(t.Partitions, tp)
		}
		q.Topics = append(q.Topics, t)
	}
	if len(a.forget) > 0 {
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = "t", [16]byte{1}, a.forget
		q.ForgottenTopics = append(q.ForgottenTopics, f)
	}
	// Through the wire, so that fields of other versions are as they arrive.
	wired := kmsg.NewPtrFetchRequest()
	wired.Version = a.version
	if err := wired.ReadFrom(q.AppendTo(nil)); err != nil {
		r.t.Fatal(err)
	}
	x := &trade{t: r.t, v: a.version, from: a.from}
	r.plane.fetch(x, wired)
	return x
}

func (x *trade) fetched() *kmsg.FetchResponse {
	x.t.Helper()
	x.want(true)
	m := kmsg.NewPtrFetchResponse()
	m.Version = x.v
	if err := m.ReadFrom(x.body); err != nil {
		x.t.Fatal(err)
	}
	return m
}

// parts lists the answered partitions.
func (x *trade) parts() []kmsg.FetchResponseTopicPartition {
	x.t.Helper()
	var parts []kmsg.FetchResponseTopicPartition
	for _, t := range x.fetched().Topics {
		parts = append(parts, t.Partitions...)
	}
	return parts
}

func batchesIn(b []byte) (n int) {
	for len(b) > 0 {
		h, err := record.ReadHeader(b)
		if err != nil {
			panic(err)
		}
		b = b[h.Bytes:]
		n++
	}
	return n
}

var batchBytes = int32(len(batchOf(0, 1)))

func TestFetchReturnsWholeBatchesFromTheMiddle(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		r := newDataRig(t)
		x := r.produce(9, -1, "t", 1, batchOf(0, 10))
		r.logs[1].durable()
		x.want(true)
		p := r.fetch(fetchAsk{version: version, epoch: -1, parts: []asked{{offset: 7}}}).parts()[0]
		h, err := record.Check(p.RecordBatches)
		if err != nil || h.BaseOffset != 0 || h.Records != 10 || h.LeaderEpoch != 5 || p.HighWatermark != 10 || p.LastStableOffset != 10 {
			t.Fatalf("v%d: %+v, %v, %+v", version, h, err, p)
		}
	}
}

func TestFetchReturnsAtLeastOneBatchWhateverTheLimits(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 3)
	r.fill(2, 3)
	parts := r.fetch(fetchAsk{version: 12, epoch: -1, max: 1, parts: []asked{{index: 2}, {index: 0, max: 1}, {index: 1}}}).parts()
	if len(parts) != 3 || parts[0].Partition != 2 || batchesIn(parts[0].RecordBatches) != 0 || batchesIn(parts[1].RecordBatches) != 1 || batchesIn(parts[2].RecordBatches) != 0 {
		t.Fatalf("%+v", parts)
	}
	parts = r.fetch(fetchAsk{version: 12, epoch: -1, max: 4 * batchBytes, parts: []asked{{index: 0, max: 2 * batchBytes}, {index: 1}}}).parts()
	if batchesIn(parts[0].RecordBatches) != 2 || batchesIn(parts[1].RecordBatches) != 2 {
		t.Fatalf("%d and %d batches, want 2 and 2", batchesIn(parts[0].RecordBatches), batchesIn(parts[1].RecordBatches))
	}
}

// Clients that do not take their answers cannot make the broker hold more than the
// limit and a batch, and lose their connections once others need the room.
func TestAnswersNotTakenAreBounded(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 8)
	r.plane.held.limit = int64(4 * batchBytes)
	ask := fetchAsk{version: 12, epoch: -1, min: 1, wait: heldRetry, parts: []asked{{}}}
	var stuck []*trade
	for i := range 3 {
		x := r.fetch(ask)
		if n := batchesIn(x.parts()[0].RecordBatches); n != 1 {
			t.Fatalf("answer %d has %d batches", i, n)
		}
		stuck = append(stuck, x)
	}
	late := r.fetch(ask)
	late.want(false)
	other := ask
	other.from = "elsewhere"
	if n := batchesIn(r.fetch(other).parts()[0].RecordBatches); n != 1 {
		t.Fatalf("another address gets %d batches", n)
	}
	r.pass(heldRetry)
	if p := late.parts()[0]; len(p.RecordBatches) != 0 || p.ErrorCode != 0 || p.HighWatermark != 8 {
		t.Fatalf("%+v", p)
	}
	if stuck[0].wasCut {
		t.Fatal("cut before its time")
	}
	r.pass(heldPatience)
	ask.wait = time.Minute
	late = r.fetch(ask)
	for i, x := range stuck {
		if x.wasCut != (i == 0) {
			t.Fatalf("answer %d: cut=%v", i, x.wasCut)
		}
	}
	stuck[0].written()
	r.pass(heldRetry)
	if n := batchesIn(late.parts()[0].RecordBatches); n != 1 {
		t.Fatalf("%d batches once there is room", n)
	}
}

func TestFetchNeverServesAboveTheHighWatermark(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 2)
	r.produce(9, -1, "t", 1, batchOf(0, 1)) // not durable
	p := r.fetch(fetchAsk{version: 12, epoch: -1, parts: []asked{{}}}).parts()[0]
	if batchesIn(p.RecordBatches) != 2 || p.HighWatermark != 2 {
		t.Fatalf("%d batches, high watermark %d", batchesIn(p.RecordBatches), p.HighWatermark)
	}
	// At the end of what was appended it waits; beyond, it is out of range.
	r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: []asked{{offset: 3}}}).want(false)
	if p := r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: []asked{{offset: 4}}}).parts()[0]; p.ErrorCode != int16(wire.OffsetOutOfRange) || p.HighWatermark != -1 {
		t.Fatalf("%+v", p)
	}
}

func TestFetchWaitsForItsMinimum(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	x := r.fetch(fetchAsk{version: 12, epoch: -1, min: 3 * batchBytes, wait: time.Second, parts: []asked{{index: 0}, {index: 1}}})
	x.want(false)
	r.fill(2, 1)
	r.turn()
	x.want(false)
	r.fill(1, 1)
	r.turn()
	if parts := x.parts(); batchesIn(parts[0].RecordBatches) != 2 || batchesIn(parts[1].RecordBatches) != 1 {
		t.Fatalf("%+v", parts)
	}
	y := r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: []asked{{offset: 2}}})
	r.pass(999 * time.Millisecond)
	y.want(false)
	r.pass(time.Millisecond)
	if p := y.parts()[0]; p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
		t.Fatalf("%+v", p)
	}
}

func TestAClosedPartitionEndsTheWait(t *testing.T) {
	r := newDataRig(t)
	x := r.fetch(fetchAsk{version: 16, epoch: -1, min: 1, wait: time.Second, parts: []asked{{}}})
	r.topics[0].Partitions[0].Leader, r.topics[0].Partitions[0].LeaderEpoch = 2, 6
	if err := r.plane.partitions.ImageChanged(); err != nil {
		t.Fatal(err)
	}
	r.turn()
	if p := x.parts()[0]; p.ErrorCode != int16(wire.NotLeaderOrFollower) || p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 6 || len(x.fetched().Brokers) != 1 {
		t.Fatalf("%+v", p)
	}
}

func TestSlabsAreReleasedOnceWritten(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 2)
	x := r.fetch(fetchAsk{version: 12, epoch: -1, parts: []asked{{}}})
	x.want(true)
	l := r.logs[1]
	if l.lent != 1 || l.released != 0 {
		t.Fatalf("%d lent, %d released before it was written", l.lent, l.released)
	}
	x.written()
	gone := r.fetch(fetchAsk{version: 12, epoch: -1, min: 1 << 20, wait: time.Second, parts: []asked{{}}})
	gone.gone()
	l.late = true
	late := r.fetch(fetchAsk{version: 12, epoch: -1, parts: []asked{{}}})
	late.gone()
	l.deliver()
	if l.lent != 3 || l.released != 3 {
		t.Fatalf("%d lent, %d released", l.lent, l.released)
	}
	r.fill(1, 1)
	r.pass(time.Minute)
	if gone.ended+late.ended != 0 {
		t.Fatal("answered a connection that is gone")
	}
}

func TestALateReadIsServedFirstToTheNextFetch(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	r.fill(2, 3)
	r.logs[1].late = true
	ask := func() *trade {
		return r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, max: 9 * batchBytes, wait: time.Second, parts: []asked{{index: 1}, {index: 0}}})
	}
	x := ask()
	r.pass(time.Second)
	if parts := x.parts(); batchesIn(parts[0].RecordBatches) == 0 || len(parts[1].RecordBatches) != 0 {
		t.Fatalf("%+v", parts)
	}
	r.logs[1].deliver()
	if parts := ask().parts(); batchesIn(parts[1].RecordBatches) != 1 {
		t.Fatalf("the read that came late was lost: %+v", parts)
	}
	// One that nobody comes for is let go.
	x = ask()
	r.pass(time.Second)
	x.want(true)
	r.logs[1].deliver()
	released := r.logs[1].released
	r.pass(lateKeep)
	if r.logs[1].released != released+1 || r.plane.late.bytes != 0 {
		t.Fatalf("%d released, %d bytes kept", r.logs[1].released-released, r.plane.late.bytes)
	}
}

// A partition that is read at once, and whose batches are larger than what the client takes of it, comes in
// its turn, also if every fetch has a late read to serve.
func TestLateReadsDoNotStarveTheOthers(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	r.fill(2, 1)
	r.logs[1].late = true
	ask := func(max int32) *trade {
		return r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, max: max, wait: time.Second, parts: []asked{{index: 1, max: 1}, {index: 0, max: 1}}})
	}
	ask(1 << 20)
	r.pass(time.Second)
	r.logs[1].deliver()
	parts := ask(1).parts()
	if batchesIn(parts[0].RecordBatches) != 1 || batchesIn(parts[1].RecordBatches) != 1 {
		t.Fatalf("%+v", parts)
	}
}

func TestALateReadDoesNotHoldTheOthers(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	r.fill(2, 1)
	r.logs[1].late = true
	x := r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: []asked{{index: 0}, {index: 1}}})
	x.want(false)
	r.pass(time.Second)
	if parts := x.parts(); len(parts[0].RecordBatches) != 0 || batchesIn(parts[1].RecordBatches) != 1 {
		t.Fatalf("%+v", parts)
	}
	// Alone, it is waited for.
	y := r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: []asked{{index: 0}}})
	r.pass(2 * time.Second)
	y.want(false)
	r.logs[1].deliver()
	if parts := y.parts(); batchesIn(parts[0].RecordBatches) != 1 {
		t.Fatalf("%+v", parts)
	}
}

// What becomes readable while a slow read is under way counts for min.bytes, on whichever partition.
func TestWhatComesDuringALateReadCountsForTheMinimum(t *testing.T) {
	for _, grows := range []metadata.StreamID{1, 2} {
		r := newDataRig(t)
		r.fill(1, 1)
		r.logs[1].late = true
		x := r.fetch(fetchAsk{version: 12, epoch: -1, min: 3 * batchBytes, wait: time.Minute, parts: []asked{{index: 0}, {index: 1}}})
		r.fill(grows, 2)
		r.turn()
		x.want(false)
		for range 3 { // its answer comes late whenever it is asked
			r.logs[1].deliver()
			r.turn()
		}
		parts := x.parts()
		require.Equal(t, 3, batchesIn(parts[0].RecordBatches)+batchesIn(parts[1].RecordBatches), "stream %d", grows)
	}
}

func TestFetchFencesLeaderEpochs(t *testing.T) {
	r := newDataRig(t)
	for epoch, want := range map[int32]wire.Code{4: wire.FencedLeaderEpoch, 5: wire.None, 6: wire.UnknownLeaderEpoch} {
		x := r.fetch(fetchAsk{version: 16, epoch: -1, parts: []asked{{epoch: epoch}}})
		p := x.parts()[0]
		if p.ErrorCode != int16(want) || (p.CurrentLeader.LeaderID == 1) != (want == wire.FencedLeaderEpoch) {
			t.Errorf("epoch %d: %+v", epoch, p)
		}
	}
}

func TestStorageErrorsAreSaid(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	r.logs[1].broken = errBroken
	if p := r.fetch(fetchAsk{version: 12, epoch: -1, min: 1, wait: time.Second, parts: []asked{{}}}).parts()[0]; p.ErrorCode != int16(wire.KafkaStorageError) {
		t.Fatalf("%+v", p)
	}
}

func TestSessionSendsOnlyNews(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 1)
	x := r.fetch(fetchAsk{version: 13, parts: []asked{{index: 0}, {index: 1}, {index: 2}}})
	session := x.fetched().SessionID
	if session == 0 || len(x.parts()) != 3 {
		t.Fatalf("session %d, %d partitions", session, len(x.parts()))
	}
	next := func(epoch int32, a fetchAsk) *trade {
		a.version, a.session, a.epoch = 13, session, epoch
		return r.fetch(a)
	}
	if parts := next(1, fetchAsk{parts: []asked{{index: 0, offset: 1}}}).parts(); len(parts) != 0 {
		t.Fatalf("nothing changed, yet %+v", parts)
	}
	r.fill(2, 1)
	if parts := next(2, fetchAsk{}).parts(); len(parts) != 1 || parts[0].Partition != 1 {
		t.Fatalf("%+v", parts)
	}
	r.logs[3].start = 0
	r.logs[1].start = 1 // the log start alone is news
	if parts := next(3, fetchAsk{parts: []asked{{index: 1, offset: 1}}}).parts(); len(parts) != 1 || parts[0].Partition != 0 || parts[0].LogStartOffset != 1 {
		t.Fatalf("%+v", parts)
	}
	// A forgotten partition is silent; an error is always said, and so is its end.
	r.fill(1, 1)
	if parts := next(4, fetchAsk{forget: []int32{0}, parts: []asked{{index: 2, offset: 99}}}).parts(); len(parts) != 1 || parts[0].Partition != 2 || parts[0].ErrorCode == 0 {
		t.Fatalf("%+v", parts)
	}
	if parts := next(5, fetchAsk{}).parts(); len(parts) != 1 || parts[0].ErrorCode == 0 {
		t.Fatalf("%+v", parts)
	}
	if parts := next(6, fetchAsk{parts: []asked{{index: 2, offset: 0}}}).parts(); len(parts) != 1 || parts[0].ErrorCode != 0 {
		t.Fatalf("%+v", parts)
	}
	if code := next(6, fetchAsk{}).fetched().ErrorCode; code != int16(wire.InvalidFetchSessionEpoch) {
		t.Fatalf("a repeated epoch gives %d", code)
	}
}

func TestSessionRotatesSoThatNoPartitionStarves(t *testing.T) {
	r := newDataRig(t)
	for id := range metadata.StreamID(3) {
		r.fill(id+1, 10)
	}
	x := r.fetch(fetchAsk{version: 12, max: 1, parts: []asked{{index: 0}, {index: 1}, {index: 2}}})
	served := map[int32]int{}
	x.parts() // opening a session does not rotate: Kafka begins again with the first
	for epoch := int32(1); epoch <= 6; epoch++ {
		x = r.fetch(fetchAsk{version: 12, session: x.fetched().SessionID, epoch: epoch, max: 1})
		for _, p := range x.parts() {
			served[p.Partition] += batchesIn(p.RecordBatches)
		}
	}
	if served[0] != 2 || served[1] != 2 || served[2] != 2 {
		t.Fatalf("served %v", served)
	}
}

func TestSessionErrors(t *testing.T) {
	r := newDataRig(t)
	if code := r.fetch(fetchAsk{version: 12, session: 77, epoch: 1}).fetched().ErrorCode; code != int16(wire.FetchSessionIDNotFound) {
		t.Fatalf("unknown session: %d", code)
	}
	id := r.fetch(fetchAsk{version: 12, parts: []asked{{}}}).fetched().SessionID
	if code := r.fetch(fetchAsk{version: 13, session: id, epoch: 1}).fetched().ErrorCode; code != int16(wire.FetchSessionTopicIDError) {
		t.Fatalf("names, then ids: %d", code)
	}
	if got := r.fetch(fetchAsk{version: 12, session: id, epoch: -1, parts: []asked{{}}}).fetched(); got.SessionID != 0 || got.ErrorCode != 0 {
		t.Fatalf("closing: %+v", got)
	}
	if code := r.fetch(fetchAsk{version: 12, session: id, epoch: 1}).fetched().ErrorCode; code != int16(wire.FetchSessionIDNotFound) {
		t.Fatalf("closed session: %d", code)
	}
}

func TestSessionSlotsAreBounded(t *testing.T) {
	r := newDataRig(t)
	open := func() int32 { return r.fetch(fetchAsk{version: 12, parts: []asked{{}}}).fetched().SessionID }
	first, second := open(), open()
	open()
	if id := open(); id != 0 {
		t.Fatalf("session %d beyond the slots", id)
	}
	r.pass(sessionEvictionIdle)
	if code := r.fetch(fetchAsk{version: 12, session: first, epoch: 1}).fetched().ErrorCode; code != 0 {
		t.Fatal("the session in use is gone")
	}
	r.pass(time.Second)
	if id := open(); id == 0 {
		t.Fatal("an idle session was not evicted")
	}
	if code := r.fetch(fetchAsk{version: 12, session: second, epoch: 1}).fetched().ErrorCode; code != int16(wire.FetchSessionIDNotFound) {
		t.Fatalf("the one idle for longest should be gone: %d", code)
	}
	if n := len(r.plane.sessions.byID); n != 3 || r.plane.sessions.parts != 3 {
		t.Fatalf("%d sessions with %d partitions", n, r.plane.sessions.parts)
	}
}

func TestReadCommittedListsNoAbortedTransactions(t *testing.T) {
	r := newDataRig(t)
	for isolation, null := range map[int8]bool{0: true, 1: false} {
		p := r.fetch(fetchAsk{version: 12, epoch: -1, isolation: isolation, parts: []asked{{}}}).parts()[0]
		if (p.AbortedTransactions == nil) != null {
			t.Errorf("isolation %d: %v", isolation, p.AbortedTransactions)
		}
	}
}

func (r *dataRig) list(version int16, timestamp int64, epoch int32, indexes ...int32) *trade {
	q := kmsg.NewPtrListOffsetsRequest()
	q.Version = version
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = "t"
	for _, index := range indexes {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = index, timestamp, epoch
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	x := &trade{t: r.t, v: version}
	r.plane.listOffsets(x, q)
	return x
}

func (x *trade) listed() kmsg.ListOffsetsResponseTopicPartition {
	x.t.Helper()
	x.want(true)
	return x.message.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
}

func TestListOffsetsSpecialTimestamps(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 5)
	r.logs[1].start = 2
	for _, c := range []struct {
		timestamp int64
		since     int16
		offset    int64
		epoch     int32
	}{{-1, 1, 5, 5}, {-2, 1, 2, 5}, {-4, 8, 2, 5}, {-5, 9, -1, -1}, {-6, 11, -1, -1}} {
		for version := int16(1); version <= 11; version++ {
			p := r.list(version, c.timestamp, -1, 0).listed()
			if version < c.since {
				if p.ErrorCode != int16(wire.UnsupportedVersion) {
					t.Errorf("timestamp %d at v%d: code %d", c.timestamp, version, p.ErrorCode)
				}
			} else if p.ErrorCode != 0 || p.Offset != c.offset || p.LeaderEpoch != c.epoch || p.Timestamp != -1 {
				t.Errorf("timestamp %d at v%d: %+v", c.timestamp, version, p)
			}
		}
	}
}

func TestListOffsetsByTimestampOpensCompressedBatches(t *testing.T) {
	for codec := compress.None; codec.Valid(); codec++ {
		r := newDataRig(t)
		r.produce(9, -1, "t", 1, batchOf(codec, 10)) // timestamps 1000 to 1009
		r.logs[1].durable()
		for _, c := range []struct{ timestamp, offset, found int64 }{
			{0, 0, 1000}, {1004, 4, 1004}, {1009, 9, 1009}, {1010, -1, -1}, {timestampMax, 9, 1009},
		} {
			x := r.list(7, c.timestamp, -1, 0)
			r.compute()
			if p := x.listed(); p.ErrorCode != 0 || p.Offset != c.offset || p.Timestamp != c.found {
				t.Errorf("%v, timestamp %d: %+v", codec, c.timestamp, p)
			}
		}
		r.logs[1].start = 6
		x := r.list(7, 1002, -1, 0)
		r.compute()
		if p := x.listed(); p.Offset != 6 {
			t.Errorf("%v: found offset %d below the log start", codec, p.Offset)
		}
		if l := r.logs[1]; l.lent != l.released {
			t.Errorf("%v: %d lent, %d released", codec, l.lent, l.released)
		}
	}
}

func TestListOffsetsErrors(t *testing.T) {
	r := newDataRig(t)
	for name, c := range map[string]struct {
		x    *trade
		want wire.Code
	}{
		"unknown partition": {r.list(7, -1, -1, 9), wire.UnknownTopicOrPartition},
		"not the leader":    {r.list(7, -1, -1, 3), wire.NotLeaderOrFollower},
		"fenced":            {r.list(7, -1, 4, 0), wire.FencedLeaderEpoch},
		"unknown epoch":     {r.list(7, -1, 6, 0), wire.UnknownLeaderEpoch},
		"asked twice":       {r.list(7, -1, -1, 0, 0), wire.InvalidRequest},
	} {
		if p := c.x.listed(); p.ErrorCode != int16(c.want) {
			t.Errorf("%s: code %d, want %d", name, p.ErrorCode, c.want)
		}
	}
	r.fill(1, 1)
	r.logs[1].late = true
	x := r.list(7, 5, -1, 0)
	r.pass(listOffsetsTimeoutBefore)
	if p := x.listed(); p.ErrorCode != int16(wire.RequestTimedOut) {
		t.Fatalf("%+v", p)
	}
	r.logs[1].deliver()
	if l := r.logs[1]; l.released != 1 || x.ended != 1 {
		t.Fatal("a late lookup leaks or answers again")
	}
}

func (r *dataRig) deleteRecords(offsets ...int64) *trade {
	q := kmsg.NewPtrDeleteRecordsRequest()
	q.Version, q.TimeoutMillis = 2, 1000
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = "t"
	for i, offset := range offsets {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = int32(i), offset
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	x := &trade{t: r.t, v: 2}
	r.plane.deleteRecords(x, q)
	return x
}

func (x *trade) deleted() []kmsg.DeleteRecordsResponseTopicPartition {
	x.t.Helper()
	x.want(true)
	return x.message.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions
}

func TestDeleteRecords(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 5)
	r.fill(2, 5)
	r.fill(3, 5)
	r.logs[3].start = 3
	x := r.deleteRecords(-1, 6, 2, 1)
	x.want(false)
	r.trims[0](nil)
	x.want(false)
	r.trims[1](nil) // below the log start too: what raised it may not be shipped yet
	got := x.deleted()
	for i, want := range []struct {
		low  int64
		code wire.Code
	}{{5, 0}, {-1, wire.OffsetOutOfRange}, {3, 0}, {-1, wire.NotLeaderOrFollower}} {
		if got[i].LowWatermark != want.low || got[i].ErrorCode != int16(want.code) {
			t.Errorf("partition %d: %+v, want %+v", i, got[i], want)
		}
	}
	late := r.deleteRecords(2)
	r.pass(deletionWaitMin)
	if got := late.deleted()[0]; got.ErrorCode != int16(wire.RequestTimedOut) {
		t.Fatalf("%+v", got)
	}
	r.trims[2](nil)
	r.plane.partitions.Partitions()[0].Config().CleanupPolicy = "compact"
	if got := r.deleteRecords(2).deleted()[0]; got.ErrorCode != int16(wire.PolicyViolation) {
		t.Fatalf("%+v", got)
	}
}

func TestTransactionsAreRefusedClearly(t *testing.T) {
	r := newDataRig(t)
	id, empty := "tx", ""
	if _, got := r.initProducer(&id); got.ErrorCode != int16(wire.UnsupportedVersion) {
		t.Errorf("%+v", got)
	}
	if _, got := r.initProducer(&empty); got.ErrorCode != int16(wire.InvalidRequest) {
		t.Errorf("%+v", got)
	}
	b := (&record.Builder{Transactional: true, ProducerID: 4}).AppendBatch(nil, []record.Record{{Timestamp: 1}})
	if p := r.produce(9, -1, "t", 1, b).produced()[0]; p.ErrorCode != int16(wire.TransactionalIDAuthorizationFailed) || p.ErrorMessage == nil {
		t.Errorf("%+v", p)
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	r := newDataRig(t)
	r.fill(1, 4)
	r.produce(9, -1, "t", 1, batchOf(0, 1)) // not durable: not known
	for version := int16(2); version <= 4; version++ {
		for _, c := range []struct {
			current, asked int32
			code           wire.Code
			epoch          int32
			end            int64
		}{{-1, 5, 0, 5, 4}, {5, 5, 0, 5, 4}, {4, 5, wire.FencedLeaderEpoch, -1, -1}, {6, 5, wire.UnknownLeaderEpoch, -1, -1}, {-1, 9, 0, -1, -1}, {-1, 3, 0, 3, 0}} {
			q := kmsg.NewPtrOffsetForLeaderEpochRequest()
			q.Version = version
			topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
			topic.Topic = "t"
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.CurrentLeaderEpoch, p.LeaderEpoch = c.current, c.asked
			topic.Partitions = append(topic.Partitions, p)
			q.Topics = append(q.Topics, topic)
			x := &trade{t: t, v: version}
			r.plane.offsetForLeaderEpoch(x, q)
			x.want(true)
			got := x.message.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			if got.ErrorCode != int16(c.code) || got.LeaderEpoch != c.epoch || got.EndOffset != c.end {
				t.Errorf("%+v: %+v", c, got)
			}
		}
	}
}

func TestAnIdempotentRetryThroughTheWholePlane(t *testing.T) {
	r := newDataRig(t)
	builder := record.Builder{ProducerID: 9, BaseSequence: 0}
	batch := builder.AppendBatch(nil, []record.Record{{Timestamp: 1, Value: []byte("v")}})
	first := r.produce(9, -1, "t", 1, bytes.Clone(batch))
	retry := r.produce(9, -1, "t", 1, bytes.Clone(batch))
	first.want(false)
	retry.want(false)
	r.logs[1].durable()
	if a, b := first.produced()[0], retry.produced()[0]; a.ErrorCode != 0 || b.ErrorCode != 0 || b.BaseOffset != a.BaseOffset || len(r.logs[1].batches) != 1 {
		t.Fatalf("%+v, %+v", a, b)
	}
}
