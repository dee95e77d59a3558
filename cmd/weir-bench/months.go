package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/internal/process"
	"weir/internal/weirbin"
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

	broker  *weirbin.Broker
	metrics string // URL
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
	dir, err := os.MkdirTemp(m.dir, "weir-months-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if m.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := m.start(); err != nil {
		return err
	}
	defer m.broker.Kill()
	if err := m.run(ctx); err != nil {
		return fmt.Errorf("%w; the broker printed last:\n%s", err, m.broker.Tail(20))
	}
	return nil
}

func (m *months) start() error {
	path, err := filepath.Abs(m.weir)
	if err != nil {
		return err
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	m.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	config := map[string]string{
		"weir.upload.interval.ms": strconv.FormatInt(m.interval.Milliseconds(), 10), "weir.metrics.address": fmt.Sprintf("127.0.0.1:%d", port),
	}
	maps.Copy(config, m.settings)
	m.broker, err = weirbin.Start(weirbin.Options{Path: path, Dir: m.dir, Config: config})
	return err
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
	group.Go(func() { seen.watch(watching, m.metrics) })
	outcome, minutes, err := m.produce(ctx)
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

// produce writes, and returns the latencies of each whole minute.
func (m *months) produce(ctx context.Context) (*produced, []*hdrhistogram.Histogram, error) {
	var (
		written batches
		begin   time.Time
		minutes = map[*producer][]*hdrhistogram.Histogram{}
		whole   = int(m.load.Limit / time.Minute)
	)
	all, err := start(ctx, &m.load, &written, func(p *producer, s *slot) {
		if i := int(s.due / int64(time.Minute)); i < whole {
			_ = minutes[p][i].RecordValue(min(int64(time.Since(begin))-s.due, int64(latencyMax)) / 1000)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	defer closeAll(all)
	for _, p := range all {
		minutes[p] = newMinutes(whole)
		if err := p.client.Ping(ctx); err != nil {
			return nil, nil, err
		}
	}
	gap := float64(m.load.RecordBytes) * float64(m.load.Clients) / m.load.Rate * 1e9 // ns between a client's records
	begin = time.Now()
	outcome, err := measure(ctx, &m.load, all, &written, func(p *producer, _ time.Time) { p.feed(ctx, begin, gap) })
	sum := newMinutes(whole)
	for _, of := range minutes {
		for i, h := range of {
			sum[i].Merge(h)
		}
	}
	return outcome, sum, err
}

func newMinutes(n int) []*hdrhistogram.Histogram {
	all := make([]*hdrhistogram.Histogram, n)
	for i := range all {
		all[i] = hdrhistogram.New(1, latencyMax.Microseconds(), 3)
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

func (s *monthsSeen) watch(ctx context.Context, url string) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.look(context.WithoutCancel(ctx), url)
			return
		case <-ticker.C:
			s.look(ctx, url)
		}
	}
}

func (s *monthsSeen) look(ctx context.Context, url string) {
	now, err := scrape(ctx, url)
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

// scrape reads the metrics that have no labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, watchInterval)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	return parseMetrics(response.Body)
}

func parseMetrics(r io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		all[name] = v
	}
	return all, lines.Err()
}
