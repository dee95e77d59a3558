package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"weir/internal/process"
	"weir/internal/scrape"
)

// footprint measures what a broker needs beside what it was told to use: resident memory less the caches that are configured, beside
// Apache Kafka's less its heap, of which it takes all from the start. Both get the same load: writes at full speed, and a read from the
// start, which in weir fills both caches.
type footprint struct {
	rivals    rivalFlags
	load      load
	dir       string
	metrics   string // URL of weir's
	cache     int64
	blocks    int64
	kafkaHeap int64
}

func footprintCommand(ctx context.Context, args []string) error {
	set := newFlags("footprint")
	m := &footprint{rivals: rivalFlags{weirConfig: keyValues{}, only: "weir,kafka", kafkaHeap: true}, load: load{Partitions: 12, Clients: 4, RecordBytes: 1024, BatchBytes: 16 << 10}}
	set.StringVar(&m.rivals.weir, "weir", "bin/weir", "the weir program")
	set.Var(m.rivals.weirConfig, "weir-config", "key=value for weir's configuration file; may be repeated")
	set.StringVar(&m.rivals.kafkaLibs, "kafka-libs", "", "directory with Apache Kafka's jars; empty leaves Kafka out")
	set.StringVar(&m.rivals.java, "java", "java", "the Java 17 program")
	set.StringVar(&m.rivals.only, "only", m.rivals.only, "only these rows")
	set.Int64Var(&m.load.Bytes, "bytes", 4<<30, "bytes of values that are written, twice, and read")
	set.Int64Var(&m.cache, "cache", 512<<20, "weir.cache.bytes")
	set.Int64Var(&m.blocks, "block-cache", 256<<20, "weir.block.cache.bytes")
	set.StringVar(&m.dir, "dir", "", "where the brokers' directories are made; empty is the system's")
	set.Parse(args)
	m.kafkaHeap = 1 << 30 // as its start script has it
	frugal()
	return m.run(ctx)
}

// footprintSeen are samples of one broker.
type footprintSeen struct {
	resident, residentMax int64
	beside                int64 // at most at one time: resident less what the caches held then
	frames, heap          int64 // of that: requests in memory, and memory of Go
}

const footprintInterval = 100 * time.Millisecond

func (m *footprint) run(ctx context.Context) error {
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	m.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	config := m.rivals.weirConfig
	config["weir.metrics.address"] = fmt.Sprintf("127.0.0.1:%d", port)
	config["weir.cache.bytes"], config["weir.block.cache.bytes"] = fmt.Sprint(m.cache), fmt.Sprint(m.blocks)
	rows, missing := m.rivals.rivals()
	for _, why := range missing {
		fmt.Fprintln(os.Stderr, "left out:", why)
	}
	beside := map[string]float64{}
	for _, r := range rows {
		seen, err := m.measure(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		reserved := m.kafkaHeap
		if r.Name == "weir" {
			reserved = m.cache + m.blocks
			fmt.Printf("weir   at most %d MiB beside what the caches held at the same time; of these %d requests in memory, %d of Go's heap\n", seen.beside>>20, seen.frames>>20, seen.heap>>20)
		}
		beside[r.Name] = float64(seen.residentMax - reserved)
		fmt.Printf("%-6s resident at most %d MiB, at the end %d, less %d configured: %.0f MiB\n", r.Name, seen.residentMax>>20, seen.resident>>20, reserved>>20, beside[r.Name]/(1<<20))
	}
	if beside["kafka"] > 0 {
		fmt.Printf("resident less configured caches : Kafka's less its heap = %.2f\n", beside["weir"]/beside["kafka"])
	}
	return nil
}

func (m *footprint) measure(ctx context.Context, r *rival) (*footprintSeen, error) {
	b, _, err := startBroker(ctx, r, m.dir)
	if err != nil {
		return nil, err
	}
	defer b.remove()
	seen, sampled := &footprintSeen{}, make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(sampled)
		m.sample(watching, b, seen)
	}()
	if err := m.loads(ctx, b); err != nil {
		return nil, b.explain(err)
	}
	stop()
	<-sampled
	usage, err := b.process.Usage()
	seen.resident, seen.residentMax = usage.Resident, usage.ResidentMax
	return seen, err
}

func (m *footprint) loads(ctx context.Context, b *broker) error {
	l := m.load
	l.Brokers = b.brokers
	for range 2 {
		if _, err := produce(ctx, &l); err != nil {
			return err
		}
	}
	_, err := consume(ctx, l.Brokers, l.Topic)
	return err
}

// sample looks at a broker until ctx ends.
func (m *footprint) sample(ctx context.Context, b *broker, seen *footprintSeen) {
	for sleep(ctx, footprintInterval) == nil {
		if b.rival.Name != "weir" {
			continue
		}
		usage, err := b.process.Usage()
		now, failed := scrape.Values(ctx, m.metrics)
		if err != nil || failed != nil {
			continue
		}
		if beside := usage.Resident - int64(now["weir_log_cache_bytes"]+now["weir_block_cache_bytes"]); beside > seen.beside {
			seen.beside = beside
			seen.frames, seen.heap = int64(now["weir_network_budget_used_bytes"]), int64(now["go_memstats_heap_inuse_bytes"])
		}
	}
}
