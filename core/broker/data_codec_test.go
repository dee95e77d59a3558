package broker

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"weir/core/compress"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func batchOf(codec compress.Codec, n int) []byte {
	records := make([]record.Record, n)
	for i := range records {
		records[i] = record.Record{Timestamp: 1000 + int64(i), Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 50)}
	}
	return (&record.Builder{Codec: codec, ProducerID: -1}).AppendBatch(nil, records)
}

func produceBody(version int16, batches ...[]byte) []byte {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = version, -1, 1234
	for i := range 2 {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = fmt.Sprintf("topic-%d", i)
		t.TopicID = [16]byte{byte(i + 1)}
		for j, b := range batches {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition, p.Records = int32(j), b
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	return r.AppendTo(nil)
}

func TestProduceRequestsDecodeLikeKmsg(t *testing.T) {
	for version := int16(produceVersionMin); version <= 13; version++ {
		good, packed := batchOf(compress.None, 3), batchOf(compress.Gzip, 3)
		r, err := decodeProduce(version, produceBody(version, good, packed, nil))
		if err != nil {
			t.Fatalf("v%d: %v", version, err)
		}
		if r.acks != -1 || r.timeoutMillis != 1234 || r.transactional || len(r.topics) != 2 || len(r.parts) != 6 {
			t.Fatalf("v%d: %+v", version, r)
		}
		for i, topic := range r.topics {
			named := string(topic.wireName) == fmt.Sprintf("topic-%d", i) && topic.id == metadata.TopicID{}
			identified := topic.wireName == nil && topic.id == metadata.TopicID{byte(i + 1)}
			if named == (version >= produceTopicIDs) || identified != (version >= produceTopicIDs) || topic.first != i*3 || topic.end != i*3+3 {
				t.Fatalf("v%d: topic %+v", version, topic)
			}
		}
		for i, want := range []wire.Code{wire.None, wire.None, wire.InvalidRecord} {
			if p := r.parts[i]; p.Code != want || p.index != int32(i) {
				t.Errorf("v%d: partition %d has code %d (%s), want %d", version, p.index, p.Code, p.Detail, want)
			}
		}
		if &r.parts[0].Data[0] == &good[0] || !bytes.Equal(r.parts[0].Data, good) {
			t.Error("the batch is not a slice of the frame")
		}
	}
}

func TestProduceJudgesBatchesAsKafkaDoes(t *testing.T) {
	old := bytes.Clone(batchOf(compress.None, 1))
	old[16] = 1
	corrupt := bytes.Clone(batchOf(compress.None, 1))
	corrupt[len(corrupt)-1] ^= 1
	twice := append(batchOf(compress.None, 1), batchOf(compress.None, 1)...)
	for _, c := range []struct {
		name    string
		version int16
		batch   []byte
		want    wire.Code
	}{
		{"magic 1", 9, old, wire.InvalidRecord},
		{"bad checksum", 9, corrupt, wire.CorruptMessage},
		{"two batches", 9, twice, wire.InvalidRecord},
		{"trailing byte", 9, append(batchOf(compress.None, 1), 0), wire.None},
		{"empty", 9, []byte{}, wire.InvalidRecord},
		{"zstd at version 6", 6, batchOf(compress.Zstd, 1), wire.UnsupportedCompressionType},
		{"zstd at version 7", 7, batchOf(compress.Zstd, 1), wire.None},
	} {
		r, err := decodeProduce(c.version, produceBody(c.version, c.batch))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if r.parts[0].Code != c.want {
			t.Errorf("%s: code %d (%s), want %d", c.name, r.parts[0].Code, r.parts[0].Detail, c.want)
		}
	}
}

// One request's batches share a bound on what they decompress to.
func TestBombsShareABudget(t *testing.T) {
	b := record.Builder{Codec: compress.Zstd, ProducerID: -1}
	bomb := b.AppendBatch(nil, []record.Record{{Value: make([]byte, 40<<20)}})
	for _, c := range []struct {
		batches [][]byte
		invalid []bool
	}{
		{[][]byte{bomb}, []bool{false}},
		{[][]byte{bomb, bomb, bomb}, []bool{false, true, true}},
	} {
		r, err := decodeProduce(9, produceBody(9, c.batches...))
		require.NoError(t, err)
		for i, want := range c.invalid {
			require.Equal(t, want, errors.Is(r.parts[i].Invalid, record.ErrTooLarge), i)
		}
	}
}

func TestHostileProduceLengths(t *testing.T) {
	body := produceBody(9, batchOf(compress.None, 1))
	for i := range body {
		if _, err := decodeProduce(9, body[:i]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	// A topic array that claims as many elements as there are bytes.
	hostile := append([]byte{0, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0x80, 0x40}, make([]byte, 1<<20)...)
	if _, err := decodeProduce(9, hostile); err == nil {
		t.Fatal("accepted a million topics of zero bytes")
	}
}

func FuzzDecodeProduce(f *testing.F) {
	for _, version := range []int16{3, 8, 9, 13} {
		f.Add(version, produceBody(version, batchOf(compress.None, 2), nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < produceVersionMin || version > 13 || len(body) > 1<<16 {
			return
		}
		other := kmsg.NewPtrProduceRequest()
		other.Version = version
		otherErr := other.ReadFrom(bytes.Clone(body))
		r, err := decodeProduce(version, body)
		if err != nil {
			return
		}
		if otherErr != nil {
			// kmsg wants no bytes left over; so do we.
			t.Fatalf("kmsg refuses what we take: %v", otherErr)
		}
		if other.Acks != r.acks || len(other.Topics) != len(r.topics) {
			t.Fatalf("kmsg reads %+v, we read %+v", other, r)
		}
		for i := range other.Topics {
			if n := r.topics[i].end - r.topics[i].first; n != len(other.Topics[i].Partitions) {
				t.Fatalf("topic %d has %d partitions, kmsg says %d", i, n, len(other.Topics[i].Partitions))
			}
		}
	})
}

func TestProduceResponsesReadBackByKmsg(t *testing.T) {
	for version := int16(produceVersionMin); version <= 13; version++ {
		r := &produceRequest{version: version, topics: []produceTopic{{name: "a", id: metadata.TopicID{1}, end: 2}, {name: "b", id: metadata.TopicID{2}, first: 2, end: 3}}}
		r.parts = make([]producePart, 3)
		for i := range r.parts {
			r.parts[i] = producePart{index: int32(i), Append: partition.Append{BaseOffset: int64(i) * 100, LogAppendTime: -1, LogStart: 7}}
		}
		r.parts[1].Code, r.parts[1].leader = wire.NotLeaderOrFollower, leaderHint{known: true, id: 3, epoch: 9}
		r.parts[2].Code, r.parts[2].Detail = wire.InvalidRecord, "no key"
		r.parts[2].RecordErrors = []partition.RecordError{{Index: 5, Detail: "no key"}}
		nodes := []nodeEndpoint{{id: 3, host: "h", port: 9092, rack: "z"}}

		got := kmsg.NewPtrProduceResponse()
		got.Version = version
		if err := got.ReadFrom(r.appendProduceResponse(nil, 11, nodes)); err != nil {
			t.Fatalf("v%d: %v", version, err)
		}
		if got.ThrottleMillis != 11 || len(got.Topics) != 2 || len(got.Topics[0].Partitions) != 2 || len(got.Topics[1].Partitions) != 1 {
			t.Fatalf("v%d: %+v", version, got)
		}
		if p := got.Topics[0].Partitions[0]; p.Partition != 0 || p.BaseOffset != 0 || p.ErrorCode != 0 || (version >= 5 && p.LogStartOffset != 7) {
			t.Errorf("v%d: %+v", version, p)
		}
		if p := got.Topics[0].Partitions[1]; p.ErrorCode != 6 || (version >= produceHints && (p.CurrentLeader.LeaderID != 3 || p.CurrentLeader.LeaderEpoch != 9)) {
			t.Errorf("v%d: %+v", version, p)
		}
		if p := got.Topics[1].Partitions[0]; version >= produceErrors && (len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 5 || *p.ErrorMessage != "no key") {
			t.Errorf("v%d: %+v", version, p)
		}
		if version >= produceHints && (len(got.Brokers) != 1 || got.Brokers[0].Host != "h" || got.Brokers[0].Port != 9092 || *got.Brokers[0].Rack != "z") {
			t.Errorf("v%d: %+v", version, got.Brokers)
		}
	}
}

func FuzzFetchResponse(f *testing.F) {
	f.Add(int16(4), uint64(1), []byte("batch"))
	f.Add(int16(18), uint64(0xfedcba9876543210), bytes.Repeat([]byte("x"), 300))
	f.Fuzz(func(t *testing.T, version int16, shape uint64, batch []byte) {
		if version < 4 || version > 18 {
			return
		}
		a := drawFetchAnswer(version, shape, batch)
		var wire []byte
		for _, piece := range a.encode([]byte("head")) {
			wire = append(wire, piece...)
		}
		got := kmsg.NewPtrFetchResponse()
		got.Version = version
		if !bytes.HasPrefix(wire, []byte("head")) {
			t.Fatal("the head is lost")
		}
		if err := got.ReadFrom(wire[4:]); err != nil {
			t.Fatalf("v%d: %v", version, err)
		}
		if want := kmsgFetch(a); !reflect.DeepEqual(got.AppendTo(nil), want.AppendTo(nil)) || !bytes.Equal(got.AppendTo(nil), wire[4:]) {
			t.Fatalf("v%d:\n got %+v\nwant %+v", version, got, want)
		}
	})
}

func TestFetchResponsesReadBackByKmsg(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		for shape := range uint64(64) {
			a := drawFetchAnswer(version, shape*0x9e3779b97f4a7c15, []byte("some batch bytes"))
			var wire []byte
			for _, piece := range a.encode(nil) {
				wire = append(wire, piece...)
			}
			if want := kmsgFetch(a).AppendTo(nil); !bytes.Equal(wire, want) {
				t.Fatalf("v%d shape %d:\n got %x\nwant %x", version, shape, wire, want)
			}
		}
	}
}

// drawFetchAnswer makes an answer whose shape is decided by bits.
func drawFetchAnswer(version int16, shape uint64, batch []byte) *fetchAnswer {
	bits := func(n uint) uint64 { v := shape & (1<<n - 1); shape = shape>>n | v<<(64-n); return v }
	a := &fetchAnswer{version: version, throttle: int32(bits(3)), session: int32(bits(4)), committed: bits(1) == 1}
	if bits(2) == 3 {
		a.code = 70
	}
	for range bits(2) {
		topic := fetchTopicAnswer{name: "t" + string(rune('a'+bits(3))), id: metadata.TopicID{byte(bits(4))}, first: len(a.parts)}
		for range bits(2) {
			p := fetchPartAnswer{index: int32(bits(4)), highWatermark: int64(bits(5)), lastStable: int64(bits(5)), logStart: int64(bits(3))}
			for range bits(2) {
				p.batches = append(p.batches, batch)
				p.bytes += len(batch)
			}
			switch bits(3) {
			case 1:
				p.code, p.leader = wire.NotLeaderOrFollower, leaderHint{known: true, id: 4, epoch: 5}
			case 2:
				p.diverging = divergingEpoch{known: true, epoch: 2, end: 33}
			}
			a.parts = append(a.parts, p)
		}
		topic.end = len(a.parts)
		a.topics = append(a.topics, topic)
	}
	if bits(1) == 1 {
		a.nodes = []nodeEndpoint{{id: 4, host: "host", port: 1}, {id: 5, host: "", port: 2, rack: "r"}}
	}
	return a
}

// kmsgFetch is what the answer should mean, built with kmsg.
func kmsgFetch(a *fetchAnswer) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	r.Version, r.ThrottleMillis, r.ErrorCode, r.SessionID = a.version, a.throttle, int16(a.code), a.session
	for _, at := range a.topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = at.name, at.id
		for _, ap := range a.parts[at.first:at.end] {
			t.Partitions = append(t.Partitions, kmsgFetchPart(a, ap))
		}
		r.Topics = append(r.Topics, t)
	}
	if a.version >= fetchHints {
		for _, n := range a.nodes {
			b := kmsg.NewFetchResponseBroker()
			b.NodeID, b.Host, b.Port = int32(n.id), n.host, n.port
			if n.rack != "" {
				b.Rack = &n.rack
			}
			r.Brokers = append(r.Brokers, b)
		}
	}
	return r
}

func kmsgFetchPart(a *fetchAnswer, ap fetchPartAnswer) kmsg.FetchResponseTopicPartition {
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = ap.index, int16(ap.code), ap.highWatermark, ap.lastStable, ap.logStart
	if ap.absent || a.committed && p.ErrorCode == 0 {
		p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	p.RecordBatches = bytes.Join(ap.batches, nil)
	if p.RecordBatches == nil {
		p.RecordBatches = []byte{}
	}
	if ap.diverging.known {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = ap.diverging.epoch, ap.diverging.end
	} else if ap.leader.known && a.version >= fetchHints {
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = 4, 5
	}
	return p
}
