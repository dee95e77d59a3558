package hostile

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/record"
	"weir/internal/weirbin"
)

var weirFlag = flag.String("weir", "", "the weir program; empty builds it")

const (
	requestBytes = 16 << 20
	frameBudget  = 32 << 20
	cacheBytes   = 64 << 20
	blockBytes   = 16 << 20
	fetchBytes   = 8 << 20
	perIPMax     = 3000

	// residentMax is what all of the above may make of the broker: the two caches,
	// frames, 256 MiB that it keeps warm, and its heap.
	residentMax = cacheBytes + blockBytes + frameBudget + 256<<20 + 192<<20

	lifeLimit = 30 * time.Second
	goneLimit = 60 * time.Second // half a request is given up after 30
	roundMax  = 5 * time.Second  // on a busy machine
)

// rig is one broker with small limits and its citizen.
type rig struct {
	t       *testing.T
	broker  *weirbin.Broker
	citizen *Citizen
}

func smallLimits() map[string]string {
	return map[string]string{
		"socket.request.max.bytes": fmt.Sprint(requestBytes), "queued.max.request.bytes": fmt.Sprint(frameBudget),
		"weir.cache.bytes": fmt.Sprint(cacheBytes), "weir.block.cache.bytes": fmt.Sprint(blockBytes),
		"weir.wal.size.bytes": fmt.Sprint(64 << 20), "weir.upload.interval.ms": "500", "weir.upload.bytes": fmt.Sprint(8 << 20),
		"fetch.max.bytes": fmt.Sprint(fetchBytes), "max.connections.per.ip": fmt.Sprint(perIPMax),
	}
}

// start starts a broker with the keys of a configuration, or with small limits for nil.
func start(t *testing.T, config map[string]string) *rig {
	t.Helper()
	path := *weirFlag
	if path == "" {
		var err error
		if path, err = weirbin.Build(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	if config == nil {
		config = smallLimits()
	}
	broker, err := weirbin.Start(weirbin.Options{Path: path, Dir: t.TempDir(), Config: config})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, broker: broker}
	t.Cleanup(func() {
		broker.Kill()
		if t.Failed() {
			t.Logf("the broker printed last:\n%s", broker.Tail(40))
		}
	})
	if r.citizen, err = StartCitizen(broker.Address, "citizen"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.citizen.Stop)
	r.lives()
	return r
}

// lives wants the citizen to go on, the broker to be there, and its memory in bounds.
func (r *rig) lives() {
	r.t.Helper()
	if err := r.citizen.Lives(20, lifeLimit); err != nil {
		r.t.Fatalf("the citizen suffers: %v", err)
	}
	usage, err := r.broker.Usage()
	if err != nil {
		r.t.Fatal(err)
	}
	if usage.ResidentMax > residentMax {
		r.t.Errorf("%d MiB of memory at the peak, %d now, more than %d", usage.ResidentMax>>20, usage.Resident>>20, residentMax>>20)
	}
	if slowest := r.citizen.Slowest(); slowest > roundMax {
		r.t.Errorf("a round of the citizen took %v", slowest)
	}
	r.t.Logf("slowest round %v, %d MiB at the peak, %d now", r.citizen.Slowest(), usage.ResidentMax>>20, usage.Resident>>20)
}

// dial opens n connections, which are closed with the test.
func (r *rig) dial(n int) []*Stranger {
	r.t.Helper()
	all := make([]*Stranger, n)
	for i := range all {
		s, err := Dial(r.broker.Address)
		if err != nil {
			r.t.Fatalf("connection %d: %v", i, err)
		}
		r.t.Cleanup(func() { s.Close() })
		all[i] = s
	}
	return all
}

// gone wants the broker to have closed each connection.
func (r *rig) gone(all []*Stranger) {
	r.t.Helper()
	for i, s := range all {
		if err := s.Gone(goneLimit); err != nil {
			r.t.Fatalf("connection %d: %v", i, err)
		}
	}
}

func (r *rig) write(s *Stranger, b []byte) {
	r.t.Helper()
	if err := s.SetWriteDeadline(time.Now().Add(lifeLimit)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
		r.t.Fatal(err)
	}
}

// Each attack is made on the same broker, one after the other.
func TestStrangersHarmNobody(t *testing.T) {
	r := start(t, nil)
	for _, attack := range []struct {
		name string
		run  func(r *rig)
	}{
		{"zero-filled frames", func(r *rig) { zeroFrames(r, requestBytes>>20); zeroFrames(r, 100) }},
		{"truncated requests", truncated},
		{"impossible and excessive sizes", oversized},
		{"garbage", garbage},
		{"half-open connections", halfOpen},
		{"slow requests", slow},
		{"decompression bombs", bombs},
		{"answers never read", neverReads},
		{"a flood from one address", flood},
		{"large metadata never read", metadataNeverRead},
	} {
		ok := t.Run(attack.name, func(t *testing.T) {
			here := &rig{t: t, broker: r.broker, citizen: r.citizen}
			begin := time.Now()
			attack.run(here)
			here.lives()
			t.Logf("%v", time.Since(begin))
		})
		if !ok {
			break
		}
	}
	if strings.Contains(r.broker.Tail(4000), "panic") {
		t.Error("something panicked")
	}
}

// The largest frame of the default configuration, three times at once.
func TestZeroFilledFramesAtDefaultLimits(t *testing.T) {
	r := start(t, map[string]string{})
	zeroFrames(r, 100)
	r.lives()
}

// Half a request: several strangers, of several addresses, announce the largest Produce request and send only its
// start. Neither small requests nor large ones of others wait for them to time out.
func TestHalfRequestsHoldNobodyUp(t *testing.T) {
	for _, sent := range []int{15, 64 << 10} {
		t.Run(fmt.Sprintf("%d bytes sent", sent), func(t *testing.T) {
			r := start(t, map[string]string{})
			frame := append(sized(100<<20), header(0, 9)...)
			frame = append(frame, make([]byte, sent+4-len(frame))...)
			for i := range 10 {
				s, err := DialFrom(fmt.Sprintf("127.0.0.%d", 2+i%4), r.broker.Address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				r.write(s, frame)
			}
			r.lives()
		})
	}
}

// Zeros look like a Produce request of version 0.
func zeroFrames(r *rig, mebibytes int) {
	zeros := make([]byte, 1<<20)
	all := r.dial(3)
	var group sync.WaitGroup
	for _, s := range all {
		r.write(s, sized(uint32(mebibytes)<<20))
		group.Go(func() {
			for range mebibytes {
				if _, err := s.Write(zeros); err != nil {
					return // refused: that is seen below
				}
			}
		})
	}
	group.Wait()
	r.gone(all)
}

func metadataRequest() kmsg.Request {
	request := kmsg.NewPtrMetadataRequest()
	request.SetVersion(12)
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("citizen")
	request.Topics = append(request.Topics, topic)
	return request
}

// A request is cut at each byte: by the end of the connection, and by a length that
// is too small.
func truncated(r *rig) {
	whole := r.dial(1)[0].Frame(metadataRequest())
	for n := range len(whole) {
		s := r.dial(1)[0]
		r.write(s, whole[:n])
		s.Close()
	}
	var short []*Stranger
	for n := range len(whole) - 4 {
		s := r.dial(1)[0]
		r.write(s, append(sized(uint32(n)), whole[4:4+n]...))
		short = append(short, s)
	}
	r.gone(short)
}

func oversized(r *rig) {
	var all []*Stranger
	for _, frame := range [][]byte{
		sized(0), sized(3, 0, 0, 0), sized(1<<31-1, header(0, 9)...), sized(1<<32-1, header(0, 9)...),
		sized(101<<20, header(0, 9)...), sized(2<<20, header(3, 9)...), sized(8<<10, header(18, 3)...), sized(1<<20, header(99, 0)...),
	} {
		s := r.dial(1)[0]
		r.write(s, frame)
		all = append(all, s)
	}
	r.gone(all)
}

func garbage(r *rig) {
	random := rand.New(rand.NewPCG(1, 2))
	var all []*Stranger
	for i := range 200 {
		s := r.dial(1)[0]
		b := make([]byte, 16+random.IntN(4096))
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		if i%2 == 0 { // with a header that gets further
			copy(b, sized(uint32(len(b)-4), header(int16(i%90), int16(i%14))...))
		}
		r.write(s, b)
		if err := s.CloseWrite(); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, s)
	}
	http := r.dial(1)[0]
	r.write(http, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	r.gone(append(all, http))
}

// Peers that stop sending in the middle and stay.
func halfOpen(r *rig) {
	all := r.dial(300)
	for i, s := range all {
		r.write(s, append(sized(1000), header(3, 9)...)[:i%14])
		if i%3 == 0 {
			if err := s.CloseWrite(); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	r.lives()
}

// Many large frames of which a byte comes now and then: they hold the budget of
// frames many times over.
func slow(r *rig) {
	all := r.dial(200)
	for _, s := range all {
		r.write(s, append(sized(1<<20), header(0, 9)...))
	}
	for range 5 {
		if err := r.citizen.Lives(5, lifeLimit); err != nil {
			r.t.Fatalf("the citizen suffers: %v", err)
		}
		for _, s := range all {
			r.write(s, []byte{0})
		}
	}
}

// bomb is a batch of 64 KiB or less that decompresses to almost 64 MiB.
func bomb(codec compress.Codec) []byte {
	b := record.Builder{Codec: codec, ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1}
	return b.AppendBatch(nil, []record.Record{{Timestamp: time.Now().UnixMilli(), Value: make([]byte, 63<<20)}})
}

func produceRequest(topic string, batches ...[]byte) *kmsg.ProduceRequest {
	request := kmsg.NewPtrProduceRequest()
	request.SetVersion(9)
	request.Acks, request.TimeoutMillis = -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for i, batch := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), batch
		t.Partitions = append(t.Partitions, p)
	}
	request.Topics = append(request.Topics, t)
	return request
}

func bombs(r *rig) {
	batch := bomb(compress.Gzip)
	r.createTopic("bombs", 2)
	all := r.dial(30)
	for _, s := range all {
		r.write(s, s.Frame(produceRequest("bombs", batch, batch)))
	}
	for _, s := range all {
		if err := s.SetDeadline(time.Now().Add(lifeLimit)); err != nil {
			r.t.Fatal(err)
		}
		if _, err := s.Answer(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// createTopic makes a topic.
func (r *rig) createTopic(topic string, partitions int32) {
	r.t.Helper()
	request := kmsg.NewPtrCreateTopicsRequest()
	request.SetVersion(7)
	request.TimeoutMillis = 30_000
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, partitions, 1
	request.Topics = append(request.Topics, one)
	response, err := r.dial(1)[0].Ask(request, lifeLimit)
	if err != nil {
		r.t.Fatal(err)
	}
	if code := response.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
		r.t.Fatalf("create %s: error %d", topic, code)
	}
}

// fill produces a batch of the given size to each partition of a topic in one request.
func (r *rig) fill(topic string, partitions, bytesEach int) {
	r.t.Helper()
	b := record.Builder{ProducerID: record.NoProducer, ProducerEpoch: -1, BaseSequence: -1}
	batch := b.AppendBatch(nil, []record.Record{{Timestamp: time.Now().UnixMilli(), Value: bytes.Repeat([]byte("x"), bytesEach)}})
	batches := make([][]byte, partitions)
	for i := range batches {
		batches[i] = batch
	}
	response, err := r.dial(1)[0].Ask(produceRequest(topic, batches...), lifeLimit)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range response.(*kmsg.ProduceResponse).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			r.t.Fatalf("partition %d: error %d", p.Partition, p.ErrorCode)
		}
	}
}

// fetchRequest asks for partitions [first, end) from an offset, as much as there is.
func fetchRequest(topic string, first, end int, offset int64) *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.SetVersion(12)
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.SessionEpoch = 1000, 1, 1<<30, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	for i := first; i < end; i++ {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), offset, 1<<30
		t.Partitions = append(t.Partitions, p)
	}
	request.Topics = append(request.Topics, t)
	return request
}

// Clients that ask for much, again and again, and never read: each for a part of its
// own, of far more than fits in the caches.
func neverReads(r *rig) {
	const partitions, rounds = 24, 16
	r.createTopic("bulk", partitions)
	for range rounds {
		r.fill("bulk", partitions, 900<<10/2)
	}
	all := r.dial(200)
	for i, s := range all {
		if err := s.SetReadBuffer(4 << 10); err != nil {
			r.t.Fatal(err)
		}
		frame := s.Frame(fetchRequest("bulk", i%3*8, i%3*8+8, int64(i/3)%rounds))
		for range 4 {
			r.write(s, frame)
		}
	}
	for range 5 {
		r.lives()
	}
}

// Clients that ask for the metadata of very many partitions, and never read.
func metadataNeverRead(r *rig) {
	r.createTopic("wide", 10_000)
	everything := kmsg.NewPtrMetadataRequest()
	everything.Version = 12
	for _, s := range r.dial(200) {
		if err := s.SetReadBuffer(4 << 10); err != nil {
			r.t.Fatal(err)
		}
		for range 4 {
			r.write(s, s.Frame(everything))
		}
	}
	for range 5 {
		r.lives()
	}
}

// Idle connections cost some KiB each, and are closed in the end.
func TestIdleConnections(t *testing.T) {
	r := start(t, map[string]string{"connections.max.idle.ms": "2000"})
	before, err := r.broker.Usage()
	if err != nil {
		r.t.Fatal(err)
	}
	const n = 2000
	all := r.dial(n)
	r.lives()
	after, err := r.broker.Usage()
	if err != nil {
		r.t.Fatal(err)
	}
	if each := (after.Resident - before.Resident) / n; each > 48<<10 {
		r.t.Errorf("an idle connection costs %d bytes", each)
	}
	r.gone(all)
}

// One address connects as often as it can: beyond its limit it is closed at once, and
// the citizen's address still comes in.
func flood(r *rig) {
	var all []*Stranger
	for range perIPMax + 500 {
		s, err := Dial(r.broker.Address)
		if err != nil {
			break
		}
		defer s.Close()
		all = append(all, s)
	}
	if err := all[len(all)-1].Gone(goneLimit); err != nil {
		r.t.Error(err)
	}
	other, err := StartCitizen(r.broker.Address, "another-citizen")
	if err != nil {
		r.t.Fatal(err)
	}
	defer other.Stop()
	if err := other.Lives(5, lifeLimit); err != nil {
		r.t.Error(err)
	}
}

// A thousand partitions by one client: one request produces to all, one fetches from
// all, within the limits of frames and of answers.
func TestAThousandPartitionsStayInsideTheBudget(t *testing.T) {
	const partitions, batchBytes, rounds = 1000, 15 << 10, 6
	r := start(t, nil)
	r.createTopic("wide", partitions)
	for range rounds {
		r.fill("wide", partitions, batchBytes)
	}
	s := r.dial(1)[0]
	next := make([]int64, partitions)
	for left := partitions * rounds; left > 0; {
		for _, most := range []int32{1 << 30, 1 << 20, 0} {
			request := fetchRequest("wide", 0, partitions, 0)
			request.MaxBytes = most
			for i := range next {
				request.Topics[0].Partitions[i].FetchOffset = next[i]
			}
			response, err := s.Ask(request, lifeLimit)
			if err != nil {
				t.Fatal(err)
			}
			got, largest := take(t, response.(*kmsg.FetchResponse), next, &left)
			if limit := min(int(most), fetchBytes); got > limit && got > largest {
				t.Fatalf("%d bytes came, the limit is %d", got, limit)
			}
			if got == 0 && left > 0 {
				t.Fatalf("nothing came, %d batches are left", left)
			}
		}
	}
	r.lives()
}

// take counts what a fetch brought and moves on.
func take(t *testing.T, response *kmsg.FetchResponse, next []int64, left *int) (bytes, largest int) {
	t.Helper()
	for _, topic := range response.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				t.Fatalf("partition %d: error %d", p.Partition, p.ErrorCode)
			}
			for rest := p.RecordBatches; len(rest) > 0; {
				h, err := record.ReadHeader(rest)
				if err != nil || h.BaseOffset != next[p.Partition] {
					t.Fatalf("partition %d: a batch at %d, want %d: %v", p.Partition, h.BaseOffset, next[p.Partition], err)
				}
				next[p.Partition] = h.NextOffset()
				bytes, largest, rest = bytes+h.Bytes, max(largest, h.Bytes), rest[h.Bytes:]
				*left--
			}
		}
	}
	return bytes, largest
}
