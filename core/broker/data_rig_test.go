package broker

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/clean"
	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/telemetry"
)

// memoryLog is a stream in memory. Durability and late reads are the test's.
type memoryLog struct {
	owner     stream.Owner
	epoch     int32
	start, hw int64
	end       int64
	batches   [][]byte
	deferred  []func() // reads held back while late is set
	late      bool
	broken    error
	released  int
	lent      int
}

func (l *memoryLog) Append(b stream.Batch) (int64, bool) {
	data := bytes.Clone(b.Data)
	record.Patch(data, l.end, l.epoch)
	if b.LogAppendTime >= 0 {
		record.StampLogAppendTime(data, b.LogAppendTime)
	}
	base := l.end
	l.end += int64(b.Offsets)
	l.batches = append(l.batches, data)
	b.Release()
	return base, true
}

func (l *memoryLog) LogStart() int64                                  { return l.start }
func (l *memoryLog) HighWatermark() int64                             { return l.hw }
func (l *memoryLog) End() int64                                       { return l.end }
func (l *memoryLog) Bytes() int64                                     { return 0 }
func (l *memoryLog) CleanPlan(int64, int64, *clean.Config) clean.Plan { return clean.Plan{} }

func (l *memoryLog) Clean(stream.Cleaning) {}

func (l *memoryLog) RetentionPoint(int64, int64) int64 { return l.start }

func (l *memoryLog) durable() {
	l.hw = l.end
	l.owner.Durable(l.hw)
}

// Free implements env.Memory for the slabs lent with reads.
func (l *memoryLog) Free(*env.Slab)      { l.released++ }
func (l *memoryLog) Alloc(int) *env.Slab { panic("not used") }

func (l *memoryLog) Read(offset int64, maxBytes int, done func(stream.Fetched)) {
	var got stream.Fetched
	for _, b := range l.batches {
		h, err := record.ReadHeader(b)
		if err != nil {
			panic(err)
		}
		if h.NextOffset() <= offset || h.NextOffset() > l.hw {
			continue
		}
		if got.Bytes > 0 && got.Bytes+len(b) > maxBytes {
			break
		}
		got.Batches = append(got.Batches, b)
		got.Bytes += len(b)
	}
	l.give(got, done)
}

func (l *memoryLog) ReadStable(offset, end int64, maxBytes int, done func(stream.Fetched)) {
	l.Read(offset, maxBytes, func(got stream.Fetched) {
		q := object.AbortedSearch{From: offset, To: offset}
		for i, b := range got.Batches {
			h, _ := record.ReadHeader(b)
			if h.BaseOffset >= end {
				for _, cut := range got.Batches[i:] {
					got.Bytes -= len(cut)
				}
				got.Batches = got.Batches[:i]
				break
			}
			q.To = h.NextOffset()
		}
		var all object.Transactions
		for _, b := range l.batches {
			h, _ := record.ReadHeader(b)
			all.Add(b, h.BaseOffset)
		}
		q.Visit(&all, 0, l.end)
		got.Aborted = q.Found()
		done(got)
	})
}

func (l *memoryLog) give(got stream.Fetched, done func(stream.Fetched)) {
	if l.broken != nil {
		done(stream.Fetched{Err: l.broken})
		return
	}
	l.lent++
	got.Slabs = []*env.Slab{env.NewSlab(l, nil)}
	if l.late {
		l.deferred = append(l.deferred, func() { done(got) })
		return
	}
	done(got)
}

func (l *memoryLog) deliver() {
	deferred := l.deferred
	l.deferred = nil
	for _, f := range deferred {
		f()
	}
}

func (l *memoryLog) FindTimestamp(from, ts int64, done func(stream.Fetched)) {
	var best []byte
	top := int64(-1)
	for _, b := range l.batches {
		h, err := record.ReadHeader(b)
		if err != nil {
			panic(err)
		}
		if h.NextOffset() <= from {
			continue
		}
		if ts >= 0 && h.MaxTimestamp >= ts {
			best = b
			break
		}
		if ts < 0 && h.MaxTimestamp > top {
			best, top = b, h.MaxTimestamp
		}
	}
	var got stream.Fetched
	if best != nil {
		got.Batches, got.Bytes = [][]byte{best}, len(best)
	}
	l.give(got, done)
}

// dataRig is a data plane over memory.
type dataRig struct {
	t      *testing.T
	now    env.Time
	loop   *task.Loop
	plane  *dataPlane
	topics []*metadata.Topic
	logs   map[metadata.StreamID]*memoryLog
	trims  []func(error)
	grants []func(first, count int64, err error)
	work   []*env.Compute
	config config.Topic
}

func (r *dataRig) Now() env.Time                             { return r.now }
func (r *dataRig) WallMillis() int64                         { return 1_700_000_000_000 + int64(r.now)/1e6 }
func (r *dataRig) WakeAt(env.Time)                           {}
func (r *dataRig) Uint64(_ string, _, counter uint64) uint64 { return counter }
func (r *dataRig) Submit(c *env.Compute)                     { r.work = append(r.work, c) }
func (r *dataRig) Topics() []*metadata.Topic                 { return r.topics }
func (r *dataRig) Close(metadata.StreamID)                   {}
func (r *dataRig) OnSpace(func())                            {}
func (r *dataRig) AppendBytesMax() int                       { return 100 << 20 }

func (r *dataRig) Stream(id metadata.StreamID) (*metadata.Stream, bool) {
	return &metadata.Stream{ID: id, Ranges: []metadata.Range{{LeaderEpoch: 5, BrokerEpoch: 1, End: -1}}}, true
}

func (r *dataRig) Open(id metadata.StreamID, epoch int32, owner stream.Owner) partition.Log {
	l := &memoryLog{owner: owner, epoch: epoch}
	r.logs[id] = l
	return l
}

func (r *dataRig) Topic(name string) (*metadata.Topic, bool) {
	for _, t := range r.topics {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

func (r *dataRig) TopicByID(id metadata.TopicID) (*metadata.Topic, bool) {
	for _, t := range r.topics {
		if t.ID == id {
			return t, true
		}
	}
	return nil, false
}

func (r *dataRig) Broker(id metadata.BrokerID) (*metadata.Broker, bool) {
	return &metadata.Broker{ID: id, Rack: "z1", Listeners: []metadata.Endpoint{{Listener: "CLIENTS", Host: "h", Port: 9}}}, true
}

// newDataRig has topic t (id 1) with streams 1 to 4, the last led elsewhere.
func newDataRig(t *testing.T) *dataRig {
	r := &dataRig{t: t, logs: map[metadata.StreamID]*memoryLog{}, config: config.Topic{
		CleanupPolicy: "delete", Retention: -1, RetentionBytes: -1, RecordBytesMax: 1<<31 - 1, MaxMessageBytes: 1 << 20,
		TimestampBeforeMaxMillis: 1<<63 - 1, TimestampAfterMaxMillis: 3_600_000,
	}}
	r.loop = task.NewLoop(r)
	topic := &metadata.Topic{ID: metadata.TopicID{1}, Name: "t"}
	for i := range int32(4) {
		topic.Partitions = append(topic.Partitions, metadata.Partition{Index: i, Stream: metadata.StreamID(i + 1), Leader: 1, LeaderEpoch: 5})
	}
	topic.Partitions[3].Leader, topic.Partitions[3].LeaderEpoch = 2, 8
	r.topics = []*metadata.Topic{topic}
	e := env.Env{Clock: r, Rand: r, Compute: r}
	manager := partition.NewManager(partition.Options{
		Loop: r.loop, Env: e, Image: r, Broker: 1, Epoch: 1, Engine: r,
		TopicConfig: func([]metadata.Config) config.Topic { return r.config },
	})
	if err := manager.ImageChanged(); err != nil {
		t.Fatal(err)
	}
	r.plane = &dataPlane{
		unverified: map[askedProducer]int{},
		held:       newHeldAnswers(0), late: newLateReads(r.loop, 0, &telemetry.Mark{}),
		loop: r.loop, env: e, image: r, partitions: manager, sessions: newFetchSessions(3, r), fetchMaxBytes: 1 << 20,
		coordinatorEpoch: func() int32 { return 4 }, telemetry: telemetry.New(nil, nil), operators: telemetry.NewLimiter(time.Minute),
		strangeMarkers: telemetry.New(nil, nil).Counter("", ""),
		trim:           func(_ metadata.StreamID, _ int64, done func(error)) { r.trims = append(r.trims, done) },
		allocate:       func(done func(first, count int64, err error)) { r.grants = append(r.grants, done) },
	}
	r.plane.moved = &telemetry.Mark{}
	r.plane.arrivals = newArrivals(r.plane, &telemetry.Mark{})
	return r
}

func (r *dataRig) turn() { r.loop.Turn(nil) }

func (r *dataRig) pass(d time.Duration) {
	r.now += env.Time(d)
	r.turn()
}

func (r *dataRig) compute() {
	work := r.work
	r.work = nil
	for _, c := range work {
		c.Work()
		c.Deliver()
	}
}

// fill appends n batches of one record each to a stream, durable.
func (r *dataRig) fill(id metadata.StreamID, n int) {
	l := r.logs[id]
	p := r.plane.partitions.Partitions()[id-1]
	for range n {
		b := batchOf(0, 1)
		h, err := record.Check(b)
		if err != nil {
			r.t.Fatal(err)
		}
		facts := record.Facts{MinTimestamp: -1, MaxTimestamp: h.MaxTimestamp, Keyless: -1}
		p.Append(&partition.Append{Header: h, Data: b, Facts: facts, Release: func() {}, Done: r.appended})
	}
	l.durable()
}

func (r *dataRig) appended(*partition.Append) {}

// trade is an exchange that keeps what it is told.
type trade struct {
	t        *testing.T
	v        int16
	body     []byte
	message  kmsg.Response
	ended    int
	silent   bool
	hungUp   bool
	wasCut   bool
	from     string
	frames   int
	gone     func()
	written  func()
	answered bool
}

func (x *trade) version() int16   { return x.v }
func (x *trade) listener() string { return "CLIENTS" }
func (x *trade) reply(encode func([]byte) [][]byte, written func()) {
	x.ended++
	x.answered = true
	x.body = bytes.Join(encode(nil), nil)
	x.written = written
}
func (x *trade) replyMessage(m kmsg.Response) { x.ended++; x.answered, x.message = true, m }
func (x *trade) silence()                     { x.ended++; x.silent = true }
func (x *trade) address() string              { return x.from }
func (x *trade) clientID() string             { return "" }
func (x *trade) cut()                         { x.wasCut = true }
func (x *trade) hangUp()                      { x.ended++; x.hungUp = true }
func (x *trade) releaseFrame()                { x.frames++ }
func (x *trade) onGone(f func())              { x.gone = f }

// want checks that the exchange is over (or not), and its frame given back.
func (x *trade) want(answered bool) {
	x.t.Helper()
	if x.answered != answered || x.ended > 1 || (answered && x.frames != 1) {
		x.t.Fatalf("answered=%v (want %v), %d ends, frame released %d times", x.answered, answered, x.ended, x.frames)
	}
}

var errBroken = errors.New("broken")
