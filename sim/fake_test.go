package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/env"
	"weir/core/task"
	"weir/sim/machine"
)

// fakeBroker is a small broker in memory whose log outlives it, with defects that
// can be planted: it proves clients, world and checkers without the real core.
type fakeBroker struct {
	env    env.Env
	o      NodeOptions
	loop   *task.Loop
	disk   *fakeDisk
	defect string
	begun  bool
	ending func()
	count  int
}

// fakeDisk is what survives.
type fakeDisk struct {
	topics   []*fakeTopic
	nextPID  int64
	nextID   byte
	restarts int
}

type fakeTopic struct {
	name  string
	id    [16]byte
	parts []*fakePart
}

type fakePart struct {
	batches   [][]byte
	bases     []int64
	start     int64
	end, high int64
	producers map[int64]*fakeProducer
}

type fakeProducer struct {
	epoch int16
	last  []fakeSeen
	next  int32
}

type fakeSeen struct {
	sequence int32
	base     int64
}

func buildFake(disk *fakeDisk, defect string) Build {
	return func(e env.Env, o NodeOptions) machine.Node {
		disk.restarts++
		return &fakeBroker{env: e, o: o, loop: task.NewLoop(e.Clock), disk: disk, defect: defect}
	}
}

func (b *fakeBroker) Abandon() { b.loop.Abandon() }

func (b *fakeBroker) Shutdown(done func()) { b.ending = done }

func (b *fakeBroker) Turn(events []env.Event) {
	if !b.begun {
		b.begun = true
		b.begin()
	}
	b.loop.Turn(events)
	if b.ending != nil {
		b.ending()
		b.ending = nil
	}
}

func (b *fakeBroker) begin() {
	for _, t := range b.disk.topics {
		for _, p := range t.parts {
			if b.defect == "lose the tail at a crash" && len(p.batches) > 2 {
				n := len(p.batches) - 1
				p.end = p.bases[n]
				p.batches, p.bases = p.batches[:n], p.bases[:n]
			}
			p.high = p.end
			if b.defect == "forget producers at a restart" {
				p.producers = map[int64]*fakeProducer{}
			}
		}
	}
	b.env.Network.Listen(&env.Listen{Name: "PLAINTEXT", Address: "broker:9092", Handler: b, Codec: fakeCodec{}, Done: func(l *env.Listen) {
		b.o.Ready(l.Bound)
	}})
}

type fakeCodec struct{}

type fakeRequest struct {
	correlation int32
	request     kmsg.Request
}

func (fakeCodec) Admit(int, []byte) error { return nil }

func (fakeCodec) Decode(f []byte) (any, error) {
	r := kbin.Reader{Src: f}
	key, version, correlation := r.Int16(), r.Int16(), r.Int32()
	r.NullableString()
	request := kmsg.RequestForKey(key)
	request.SetVersion(version)
	if request.IsFlexible() {
		r.Uvarint()
	}
	return &fakeRequest{correlation, request}, request.ReadFrom(r.Src)
}

func (b *fakeBroker) Opened(env.ConnID, env.ConnInfo) {}
func (b *fakeBroker) Closed(env.ConnID, error)        {}

func (b *fakeBroker) Received(id env.ConnID, m any, f *env.Frame) {
	q := m.(*fakeRequest)
	answer := func(response kmsg.Response) {
		b.env.Network.Send(&env.Send{Conn: id, Message: &fakeResponse{q.correlation, response}})
	}
	// Answers on a connection keep their order: whoever waits holds the others up.
	b.handle(q.request, answer)
	b.env.Network.Release(f)
}

type fakeResponse struct {
	correlation int32
	response    kmsg.Response
}

func (r *fakeResponse) Encode(scratch []byte) [][]byte {
	scratch = binary.BigEndian.AppendUint32(scratch, uint32(r.correlation))
	if r.response.IsFlexible() && r.response.Key() != 18 {
		scratch = append(scratch, 0)
	}
	return [][]byte{r.response.AppendTo(scratch)}
}

func (b *fakeBroker) handle(request kmsg.Request, answer func(kmsg.Response)) {
	switch q := request.(type) {
	case *kmsg.ApiVersionsRequest:
		v := q.ResponseKind().(*kmsg.ApiVersionsResponse)
		for _, k := range []int16{0, 1, 2, 3, 18, 19, 20, 21, 22} {
			max := kmsg.RequestForKey(k).MaxVersion()
			if k == 1 {
				max = 17
			}
			v.ApiKeys = append(v.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: max})
		}
		answer(v)
	case *kmsg.MetadataRequest:
		answer(b.metadata(q))
	case *kmsg.CreateTopicsRequest:
		v := q.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, t := range q.Topics {
			b.create(t.Topic, int(t.NumPartitions))
		}
		answer(v)
	case *kmsg.DeleteTopicsRequest:
		answer(b.remove(q))
	case *kmsg.InitProducerIDRequest:
		v := q.ResponseKind().(*kmsg.InitProducerIDResponse)
		b.disk.nextPID++
		v.ProducerID = b.disk.nextPID
		answer(v)
	case *kmsg.ProduceRequest:
		b.produce(q, answer)
	case *kmsg.FetchRequest:
		answer(b.fetch(q))
	case *kmsg.ListOffsetsRequest:
		answer(b.list(q))
	case *kmsg.DeleteRecordsRequest:
		answer(b.trim(q))
	}
}

func (b *fakeBroker) create(name string, n int) {
	if b.topic(name, [16]byte{}) != nil {
		return
	}
	b.disk.nextID++
	t := &fakeTopic{name: name, id: [16]byte{b.disk.nextID, 1}}
	for range n {
		t.parts = append(t.parts, &fakePart{producers: map[int64]*fakeProducer{}})
	}
	b.disk.topics = append(b.disk.topics, t)
}

func (b *fakeBroker) topic(name string, id [16]byte) *fakeTopic {
	for _, t := range b.disk.topics {
		if t.name == name || name == "" && t.id == id {
			return t
		}
	}
	return nil
}

func (b *fakeBroker) metadata(q *kmsg.MetadataRequest) kmsg.Response {
	v := q.ResponseKind().(*kmsg.MetadataResponse)
	for _, want := range q.Topics {
		got := kmsg.NewMetadataResponseTopic()
		got.Topic = want.Topic
		if t := b.topic(*want.Topic, [16]byte{}); t != nil {
			got.TopicID = t.id
			for i := range t.parts {
				p := kmsg.NewMetadataResponseTopicPartition()
				p.Partition = int32(i)
				got.Partitions = append(got.Partitions, p)
			}
		} else {
			got.ErrorCode = 3
		}
		v.Topics = append(v.Topics, got)
	}
	return v
}

func (b *fakeBroker) remove(q *kmsg.DeleteTopicsRequest) kmsg.Response {
	v := q.ResponseKind().(*kmsg.DeleteTopicsResponse)
	names := q.TopicNames
	for _, t := range q.Topics {
		if t.Topic != nil {
			names = append(names, *t.Topic)
		}
	}
	for _, name := range names {
		b.disk.topics = slices.DeleteFunc(b.disk.topics, func(t *fakeTopic) bool { return t.name == name })
		v.Topics = append(v.Topics, kmsg.DeleteTopicsResponseTopic{Topic: kmsg.StringPtr(name)})
	}
	return v
}

func (b *fakeBroker) produce(q *kmsg.ProduceRequest, answer func(kmsg.Response)) {
	v := q.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range q.Topics {
		topic := kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			got := kmsg.NewProduceResponseTopicPartition()
			got.Partition = p.Partition
			if k := b.topic(t.Topic, t.TopicID); k != nil {
				got.ErrorCode, got.BaseOffset = b.append(k.parts[p.Partition], p.Records)
			} else {
				got.ErrorCode = 3
			}
			topic.Partitions = append(topic.Partitions, got)
		}
		v.Topics = append(v.Topics, topic)
	}
	if b.defect == "serve above the high watermark" {
		b.loop.After(30*time.Millisecond, func() { b.commit(); answer(v) })
		return
	}
	b.commit()
	answer(v)
}

func (b *fakeBroker) commit() {
	for _, t := range b.disk.topics {
		for _, p := range t.parts {
			p.high = p.end
		}
	}
}

func (b *fakeBroker) append(p *fakePart, records []byte) (int16, int64) {
	be := binary.BigEndian
	b.count++
	pid, epoch, sequence, n := int64(be.Uint64(records[43:])), int16(be.Uint16(records[51:])), int32(be.Uint32(records[53:])), int32(be.Uint32(records[57:]))
	if pid >= 0 {
		s := p.producers[pid]
		if s == nil || epoch > s.epoch {
			s = &fakeProducer{epoch: epoch, next: sequence}
			p.producers[pid] = s
		}
		if epoch < s.epoch {
			return 47, -1
		}
		for _, seen := range s.last {
			if seen.sequence == sequence && b.defect != "no window of duplicates" {
				return 0, seen.base
			}
		}
		if sequence != s.next && b.defect != "no window of duplicates" {
			return 45, -1
		}
		s.next = (sequence + n) & 0x7fffffff // wraps to 0
		s.last = append(s.last, fakeSeen{sequence, p.end})
		if len(s.last) > 5 {
			s.last = s.last[1:]
		}
	}
	base := p.end
	if b.defect == "acknowledge and forget" && b.count%97 == 0 {
		return 0, base
	}
	batch := append([]byte(nil), records...)
	be.PutUint64(batch, uint64(base))
	be.PutUint32(batch[12:], 0)
	if b.defect == "damage a byte" && b.count%97 == 0 {
		batch[len(batch)-3] ^= 1
	}
	if b.defect == "append twice" && b.count%97 == 0 {
		p.bases, p.batches = append(p.bases, base), append(p.batches, batch)
		p.end += int64(n)
		batch = append([]byte(nil), batch...)
		be.PutUint64(batch, uint64(p.end))
	}
	p.bases, p.batches = append(p.bases, p.end), append(p.batches, batch)
	p.end += int64(n)
	return 0, base
}

func (b *fakeBroker) fetch(q *kmsg.FetchRequest) kmsg.Response {
	v := q.ResponseKind().(*kmsg.FetchResponse)
	for _, t := range q.Topics {
		topic := kmsg.FetchResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			got := kmsg.NewFetchResponseTopicPartition()
			got.Partition, got.HighWatermark = p.Partition, -1
			k := b.topic(t.Topic, t.TopicID)
			if k == nil {
				got.ErrorCode = 3
				topic.Partitions = append(topic.Partitions, got)
				continue
			}
			b.serve(k.parts[p.Partition], &p, &got)
			topic.Partitions = append(topic.Partitions, got)
		}
		v.Topics = append(v.Topics, topic)
	}
	return v
}

func (b *fakeBroker) serve(part *fakePart, p *kmsg.FetchRequestTopicPartition, got *kmsg.FetchResponseTopicPartition) {
	if p.FetchOffset < part.start || p.FetchOffset > part.high {
		got.ErrorCode = 1
		return
	}
	got.HighWatermark, got.LastStableOffset, got.LogStartOffset = part.high, part.high, part.start
	if b.defect == "stale high watermark" && b.env.Clock.WallMillis()%10 == 0 && part.high > p.FetchOffset+3 {
		got.HighWatermark, got.LastStableOffset = p.FetchOffset, p.FetchOffset
		return
	}
	bytes := 0
	for i, batch := range part.batches {
		end := part.end
		if i+1 < len(part.bases) {
			end = part.bases[i+1]
		}
		if end <= p.FetchOffset || end > part.high && b.defect != "serve above the high watermark" {
			continue
		}
		if bytes > 0 && bytes+len(batch) > int(p.PartitionMaxBytes) {
			return
		}
		if b.defect == "skip a batch" && i%50 == 49 && bytes > 0 {
			continue
		}
		bytes += len(batch)
		got.RecordBatches = append(got.RecordBatches, batch...)
	}
}

func (b *fakeBroker) list(q *kmsg.ListOffsetsRequest) kmsg.Response {
	v := q.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, t := range q.Topics {
		topic := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			got := kmsg.NewListOffsetsResponseTopicPartition()
			got.Partition = p.Partition
			if k := b.topic(t.Topic, [16]byte{}); k == nil {
				got.ErrorCode = 3
			} else if p.Timestamp >= 0 {
				got.Offset, got.Timestamp = k.parts[p.Partition].find(p.Timestamp)
			} else if p.Timestamp == -1 {
				got.Offset = k.parts[p.Partition].high
			} else {
				got.Offset = k.parts[p.Partition].start
			}
			topic.Partitions = append(topic.Partitions, got)
		}
		v.Topics = append(v.Topics, topic)
	}
	return v
}

func (p *fakePart) find(timestamp int64) (offset, found int64) {
	for i, batch := range p.batches {
		end := p.bases[i] + int64(binary.BigEndian.Uint32(batch[23:])) + 1
		if at := int64(binary.BigEndian.Uint64(batch[35:])); at >= timestamp && end > p.start && p.bases[i] < p.high {
			return max(p.bases[i], p.start), at
		}
	}
	return -1, -1
}

func (b *fakeBroker) trim(q *kmsg.DeleteRecordsRequest) kmsg.Response {
	v := q.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for _, t := range q.Topics {
		topic := kmsg.DeleteRecordsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			got := kmsg.NewDeleteRecordsResponseTopicPartition()
			got.Partition = p.Partition
			part := b.topic(t.Topic, [16]byte{}).parts[p.Partition]
			before := p.Offset
			if before < 0 {
				before = part.high
			}
			if b.defect == "trim too far" {
				before = min(before+1, part.high)
			}
			if before > part.high {
				got.ErrorCode = 1
			} else {
				part.start = max(part.start, before)
				got.LowWatermark = part.start
			}
			topic.Partitions = append(topic.Partitions, got)
		}
		v.Topics = append(v.Topics, topic)
	}
	return v
}
