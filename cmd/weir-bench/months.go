package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"weir/core/controller"
	"weir/core/metadata"
)

// months measures what many uploads leave behind: as many as months of little traffic bring, in some minutes. One broker writes a few
// records of each of many partitions to the store again and again, on an empty directory.
type months struct {
	load     load
	weir     string
	dir      string
	interval time.Duration
	uploads  int
	settings keyValues

	broker *watched
}

func monthsCommand(ctx context.Context, args []string) error {
	set := newFlags("months")
	m := &months{settings: keyValues{}}
	set.StringVar(&m.weir, "weir", "bin/weir", "the program")
	set.StringVar(&m.dir, "dir", "", "where the broker keeps its files; empty: a directory for temporary files")
	set.DurationVar(&m.interval, "interval", 200*time.Millisecond, "time between two uploads")
	set.IntVar(&m.uploads, "uploads", 2000, "uploads in all")
	set.IntVar(&m.load.Partitions, "partitions", 5000, "partitions, all of which are written")
	set.IntVar(&m.load.RecordBytes, "record-bytes", 100, "size of each record's value")
	set.IntVar(&m.load.BatchBytes, "batch-bytes", 1024, "largest batch; as many records in a row go to one partition")
	set.IntVar(&m.load.Clients, "clients", 4, "producers, each with its own connections")
	set.BoolVar(&m.load.Plain, "plain", false, "without idempotence: no producers are kept in the metadata")
	set.Var(m.settings, "set", "a key=value of the broker's configuration; may be given several times")
	rate := set.Float64("mb", 2, "MB (10^6 bytes) of values a second, of all clients")
	set.Parse(args)
	m.load.Rate = *rate * 1e6
	frugal()
	var err error
	if m.broker, err = startWatched(m.weir, m.dir, map[string]string{"weir.upload.interval.ms": strconv.FormatInt(m.interval.Milliseconds(), 10)}, m.settings); err != nil {
		return err
	}
	defer m.broker.remove()
	return m.broker.explain(m.run(ctx))
}

func (m *months) run(ctx context.Context) error {
	m.load.Brokers = m.broker.Address
	m.load.Limit = time.Duration(m.uploads) * m.interval
	if err := newTopic(ctx, &m.load); err != nil {
		return err
	}
	if err := awaitLeaders(ctx, &m.load); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	var (
		seen  monthsSeen
		group sync.WaitGroup
	)
	group.Go(func() { seen.watch(watching, m.broker) })
	outcome, minutes, err := produceBySpan(ctx, &m.load, time.Minute)
	stop()
	group.Wait()
	if outcome == nil {
		return err
	}
	fmt.Println(outcome)
	for i, h := range minutes {
		fmt.Printf("minute %2d: p50 %6.2f ms  p99 %7.2f ms  max %7.2f ms\n", i+1, milliseconds(h, 50), milliseconds(h, 99), milliseconds(h, 100))
	}
	seen.print(&m.load, minutes)
	return err
}

func milliseconds(h *hdrhistogram.Histogram, quantile float64) float64 {
	return float64(h.ValueAtQuantile(quantile)) / 1000
}

// produceBySpan writes at the load's rate, and returns the latencies of each whole span of its time.
func produceBySpan(ctx context.Context, l *load, span time.Duration) (*produced, []*hdrhistogram.Histogram, error) {
	whole := int(l.Limit / span)
	var each [][]*hdrhistogram.Histogram // producer
	outcome, err := produceAtRate(ctx, l, func() observer {
		spans := newHistograms(whole)
		each = append(each, spans)
		return func(due, took time.Duration) {
			if i := int(due / span); i < whole {
				_ = spans[i].RecordValue(took.Microseconds())
			}
		}
	})
	sum := newHistograms(whole)
	for _, spans := range each {
		for i, h := range spans {
			sum[i].Merge(h)
		}
	}
	return outcome, sum, err
}

func newHistograms(n int) []*hdrhistogram.Histogram {
	all := make([]*hdrhistogram.Histogram, n)
	for i := range all {
		all[i] = newHistogram()
	}
	return all
}

// monthsSeen is what the broker's metrics said meanwhile.
type monthsSeen struct {
	last               map[string]float64
	streamParts, parts float64 // at most
	turns              []float64
	looks              []monthsLook
	snapshot           float64
	failed             error
}

// monthsLook is what was seen at one time. Where others use the machine, too, processor time says more than latency.
type monthsLook struct {
	cpu     float64 // seconds of the broker, so far
	uploads float64 // so far
	load    string  // of the machine: processes that run or wait, on average of a minute
}

// watchInterval is half the shortest time that the longest turn is told for.
const watchInterval = 15 * time.Second

func (s *monthsSeen) watch(ctx context.Context, broker *watched) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.look(context.WithoutCancel(ctx), broker)
			return
		case <-ticker.C:
			s.look(ctx, broker)
		}
	}
}

func (s *monthsSeen) look(ctx context.Context, broker *watched) {
	now, err := broker.values(ctx)
	if err != nil {
		s.failed = err
		return
	}
	s.last = now
	s.streamParts, s.parts = max(s.streamParts, now["weir_compaction_stream_parts"]), max(s.parts, now["weir_compaction_parts"])
	s.snapshot = max(s.snapshot, now["weir_quorum_snapshot_bytes"])
	s.turns = append(s.turns, now["weir_loop_turn_longest_nanoseconds"]/1e6)
	load, _ := os.ReadFile("/proc/loadavg") // empty on other systems
	first, _, _ := strings.Cut(string(load), " ")
	s.looks = append(s.looks, monthsLook{cpu: now["process_cpu_seconds_total"], uploads: now["weir_upload_objects_total"], load: first})
}

func (s *monthsSeen) print(l *load, minutes []*hdrhistogram.Histogram) {
	if s.failed != nil {
		fmt.Printf("the broker's metrics could not always be read: %v\n", s.failed)
	}
	topics := float64(topicsAlone(l.Partitions))
	n := len(minutes)
	fmt.Printf("uploads %.0f, objects written by compaction %.0f; bytes for each byte uploaded %.2f\n", s.last["weir_upload_objects_total"],
		s.last["weir_compaction_objects_total"], 1+s.last["weir_compaction_written_bytes_total"]/max(s.last["weir_upload_bytes_total"], 1))
	if n > 1 {
		first, last := milliseconds(minutes[0], 99), milliseconds(minutes[n-1], 99)
		fmt.Printf("p99 of the last minute : first   %.2f : %.2f ms = %.2f\n", last, first, last/first)
	}
	const minute = int(time.Minute / watchInterval)
	for i := minute; i < len(s.looks); i += minute {
		a, b := s.looks[i-minute], s.looks[i]
		fmt.Printf("minute %2d: %5.1f CPU seconds of the broker, %3.0f uploads, load average %s\n", i/minute, b.cpu-a.cpu, b.uploads-a.uploads, b.load)
	}
	fmt.Printf("parts of a stream                at most %.0f, on average at most %.1f\n", s.streamParts, s.parts/float64(l.Partitions))
	fmt.Printf("snapshot of the metadata         at most %.0f bytes, %.1f times the topics alone (%.0f)\n", s.snapshot, s.snapshot/topics, topics)
	if len(s.turns) > 0 {
		fmt.Printf("longest turns of the loop        %.1f ms at most; of each look, in ms: %.1f\n", slices.Max(s.turns), s.turns)
	}
}

// topicsAlone is the size of a snapshot that has a topic of so many partitions, which nothing was written to, encoded as the broker's.
func topicsAlone(partitions int) int {
	im := metadata.NewImage()
	for i, r := range []metadata.Record{
		&metadata.SetFeatures{Features: []metadata.Feature{{Name: metadata.LevelFeature, Level: controller.MetadataLevelMax}}},
		&metadata.RegisterBroker{ID: 1},
		&metadata.CreateTopic{ID: metadata.TopicID{1}, Name: "bench", Leaders: slices.Repeat([]metadata.Leader{{Broker: 1, Epoch: 2}}, partitions)},
	} {
		if err := im.Apply(uint64(i+1), r); err != nil {
			panic(err)
		}
	}
	return len(im.AppendSnapshot(nil))
}
