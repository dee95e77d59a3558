package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"weir/core/compress"
	"weir/internal/weirbin"
)

func null(t *testing.T) string { return nullBrokerFor(t, false) }

func nullBrokerFor(t *testing.T, tail bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- serveNull(ctx, listener, tail) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func fake(t *testing.T) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

func small(brokers string) *load {
	return &load{Brokers: brokers, Partitions: 3, Clients: 2, RecordBytes: 100, BatchBytes: 4096, Bytes: 1_000_000}
}

func TestProduceSendsExactlyTheBytesAskedFor(t *testing.T) {
	for name, brokers := range map[string]string{"null": null(t), "kfake": fake(t)} {
		t.Run(name, func(t *testing.T) {
			l := small(brokers)
			outcome, err := produce(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			if outcome.Bytes != l.Bytes || outcome.Records != 10_000 || outcome.Failed != 0 || outcome.BatchBytes > int64(l.BatchBytes) {
				t.Fatalf("%+v", outcome)
			}
		})
	}
}

func TestConsumeReadsAllThatWasProduced(t *testing.T) {
	for name, brokers := range map[string]string{"kfake": fake(t), "null with its tail": nullBrokerFor(t, true)} {
		t.Run(name, func(t *testing.T) {
			l := small(brokers)
			if _, err := produce(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			outcome, err := consume(t.Context(), l.Brokers, l.Topic)
			if err != nil || outcome.Bytes != l.Bytes || outcome.Records != 10_000 {
				t.Fatalf("%+v, error %v", outcome, err)
			}
		})
	}
}

func TestConsumersFollowAProducer(t *testing.T) {
	l := small(nullBrokerFor(t, true))
	if err := newTopic(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	f := &fanout{readers: 3}
	if err := f.follow(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

func TestASoakSaysWhatGrew(t *testing.T) {
	s := &soak{warm: time.Minute, sum: 6 * time.Minute, output: t.TempDir() + "/soak"}
	for i := range 7 {
		s.looks = append(s.looks, soakLook{at: time.Duration(i+1) * time.Minute, resident: 1 << 30, objects: 10, stored: 1 << 20, p50: 1, p99: 5})
	}
	s.looks[0].objects = 1 // warming up
	if err := errors.Join(s.verdict(), s.write()); err != nil {
		t.Fatal(err)
	}
	for i := range s.looks {
		s.looks[i].objects += 2 * i
	}
	if err := s.verdict(); err == nil || !strings.HasSuffix(err.Error(), "not flat: objects") {
		t.Fatalf("verdict: %v", err)
	}
}

func TestRateHoldsTheRate(t *testing.T) {
	l := small(null(t))
	l.Bytes, l.Rate, l.Limit = 0, 1e6, 300*time.Millisecond
	outcome, err := atRate(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(3000); outcome.Records < want-2 || outcome.Records > want+2 || outcome.P50 <= 0 || outcome.P50 > outcome.P99 || outcome.P999 > outcome.Max {
		t.Fatalf("%+v, not %d records", outcome, want)
	}
}

func TestFirstAckComesOrSaysWhyNot(t *testing.T) {
	if took, err := firstAck(t.Context(), fake(t), time.Now(), nil); err != nil || took <= 0 {
		t.Fatalf("%v, error %v", took, err)
	}
	ended := make(chan struct{})
	close(ended)
	if _, err := firstAck(t.Context(), "127.0.0.1:1", time.Now(), ended); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Fatalf("error %v", err)
	}
}

func TestLoadsThatCannotBeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*load){
		"no clients":   func(l *load) { l.Clients = 0 },
		"tiny batches": func(l *load) { l.BatchBytes = 50 },
		"no bound":     func(l *load) { l.Bytes = 0 },
	} {
		l := small(null(t))
		change(l)
		if _, err := produce(t.Context(), l); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The null broker is open to whoever can reach it: no bytes may end it.
func FuzzNullBroker(f *testing.F) {
	f.Add([]byte("\x00\x12\x00\x03\x00\x00\x00\x01\xff\xff\x00\x02a\x02b\x00"))
	f.Add([]byte("\x00\x03\x00\x01\x00\x00\x00\x01\xff\xff\x7f\xff\xff\xff"))
	f.Add([]byte("\x00\x12\x00\x63\x00\x00\x00\x01\xff\xff"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 1 && frame[1] == 1 {
			return // a fetch waits as long as the client says
		}
		b := &nullBroker{host: "127.0.0.1", port: 1, topics: map[string]int32{}, ids: map[[16]byte]string{}}
		_, _ = b.answer(frame, nil)
	})
}

func TestReportShowsMediansAndRatios(t *testing.T) {
	one := func(rival string, round int, seconds int) *measured {
		return &measured{Rival: rival, Round: round, FirstAck: time.Duration(seconds) * time.Second, Rate: &latencies{}}
	}
	r := &report{
		Rivals: []*rival{{Name: "weir", Note: "synced"}, {Name: "kafka", Note: "page cache"}}, Missing: []string{"x: not there"},
		Rounds: []*measured{one("weir", -1, 900), one("weir", 0, 1), one("weir", 1, 2), one("weir", 2, 30), one("kafka", 0, 4), one("kafka", 1, 4)},
	}
	text := r.markdown()
	for _, want := range []string{"median of 3 rounds", "2.00 (x0.50)", "| 4.00 |", "Left out: x: not there", "| weir | synced | - |"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestReplaySendsExactlyTheBytesAskedFor(t *testing.T) {
	for codec := compress.None; codec.Valid(); codec++ {
		for _, unsummed := range []bool{false, true} {
			l := &load{Brokers: fake(t), Partitions: 3, Clients: 2, RecordBytes: 1024, BatchBytes: 64 << 10, Bytes: 10 * 3 * 64 << 10, Unsummed: unsummed}
			if err := newTopic(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			r := replayOf(l, codec)
			outcome, err := r.run(t.Context())
			if err != nil || outcome.Bytes != l.Bytes {
				t.Fatalf("%v: %+v, error %v", codec, outcome, err)
			}
			if codec != compress.None && (r.Ratio < 1.5 || r.Ratio > 5) {
				t.Errorf("%v: compressed %.2f:1", codec, r.Ratio)
			}
			if read, err := consume(t.Context(), l.Brokers, l.Topic); err != nil || read.Bytes != l.Bytes {
				t.Errorf("%v: read %+v, error %v", codec, read, err)
			}
		}
	}
}

func TestUnsummedBatchesAreShorter(t *testing.T) {
	for codec, shorter := range map[compress.Codec]bool{compress.LZ4: true, compress.Zstd: true, compress.Gzip: false, compress.None: false} {
		l := small("")
		summed := len(replayOf(l, codec).requests[0])
		l.Unsummed = true
		if got := len(replayOf(l, codec).requests[0]); got < summed != shorter {
			t.Errorf("%v: a request of %d bytes, with checksums %d", codec, got, summed)
		}
	}
}

// Every load ends, and gives each of its figures.
func TestCoordinatorLoadsOnWeir(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a broker")
	}
	program, err := weirbin.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &coordinators{
		rounds: 1, dir: t.TempDir(), period: 300 * time.Millisecond, groups: 4, members: 2, connections: 4,
		hugeMembers: 10, hugeTopics: 2, topicPartitions: 10, restarting: 3,
		producers: 2, recordBytes: 100, records: []int{10}, consumers: 20, inFlight: 2, offsets: 2, restarted: 50,
	}
	c.rivals.weir = program
	c.rivals.weirConfig = keyValues{
		"group.initial.rebalance.delay.ms": "50", "group.consumer.assignment.interval.ms": "0",
		"group.consumer.min.heartbeat.interval.ms": "100", "group.consumer.heartbeat.interval.ms": "100",
	}
	row := c.rivals.weirRow()
	round, err := c.measure(t.Context(), row, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, load := range c.loads() {
		for _, f := range load.figures {
			if _, ok := round.Figures[f.key]; !ok {
				t.Errorf("no figure of %q", f.title)
			}
		}
	}
	for _, key := range []string{commitRate, "transactions_10", consumerBeats, restartTime, firstTime, reloadTime} {
		if round.Figures[key] <= 0 {
			t.Errorf("%s is %v", key, round.Figures[key])
		}
	}
}

func TestCoordinatorTableShowsRatiosToKafka(t *testing.T) {
	c := &coordinators{rounds: 3, rows: "commits"}
	one := func(rival string, round int, rate float64) *coordinatorRound {
		return &coordinatorRound{Rival: rival, Round: round, Figures: map[string]float64{commitRate: rate}}
	}
	text := c.markdown(time.Now(), machine{}, []*rival{{Name: "weir"}, {Name: "kafka"}}, []*coordinatorRound{
		one("weir", 0, 10), one("kafka", 0, 4), one("weir", 1, 900), one("kafka", 1, 1), one("weir", 2, 6), one("kafka", 2, 900),
	})
	if want := "| 10 | 4 | 2.50 |"; !strings.Contains(text, want) {
		t.Errorf("%q is missing in\n%s", want, text)
	}
}
