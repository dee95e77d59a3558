package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"weir/core/compress"
)

// comparison is what `compare` was asked to do.
type comparison struct {
	rivals    rivalFlags
	rounds    int
	warm      int
	bytes     int64
	limit     time.Duration
	rate      float64
	readBytes int64
	passes    int
	touch     int64
	dir       string
	output    string
	clients   int
	unsummed  bool
}

// measured is one broker's round. Server figures leave out the start and warming up.
type measured struct {
	Rival    string        `json:"rival"`
	Round    int           `json:"round"` // negative: warming up, not counted
	FirstAck time.Duration `json:"first_ack_ns"`
	Small    cost          `json:"produce_16KiB"`
	Large    cost          `json:"produce_1MiB"`
	LZ4      cost          `json:"produce_lz4"`
	Zstd     cost          `json:"produce_zstd"`
	Gzip     cost          `json:"produce_gzip"`
	Rate     *latencies    `json:"rate"`
	RateCost cost          `json:"rate_cost"`
	Read     cost          `json:"read"`
	// Idle is resident memory once the first record was acknowledged.
	Idle        int64 `json:"resident_idle_bytes"`
	ResidentMax int64 `json:"resident_max_bytes"`
	Resident    int64 `json:"resident_end_bytes"`
}

// cost is one load's outcome and what it took.
type cost struct {
	Bytes     int64         `json:"bytes"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	ServerCPU time.Duration `json:"server_cpu_ns"`
	ClientCPU time.Duration `json:"client_cpu_ns"`
	Batch     int64         `json:"batch_bytes_mean,omitempty"`
	Ratio     float64       `json:"compression_ratio,omitempty"`
}

func (c *cost) rate() float64 {
	if c.Elapsed == 0 {
		return 0
	}
	return float64(c.Bytes) / c.Elapsed.Seconds()
}

func compareCommand(ctx context.Context, args []string) error {
	set := newFlags("compare")
	c := &comparison{rivals: rivalFlags{weirConfig: keyValues{}}}
	set.StringVar(&c.rivals.weir, "weir", "bin/weir", "the weir program")
	set.StringVar(&c.rivals.weirArgs, "weir-args", "", "more arguments for `weir server`, separated by blanks")
	set.Var(c.rivals.weirConfig, "weir-config", "key=value for weir's configuration file; may be repeated")
	set.StringVar(&c.rivals.kafkaLibs, "kafka-libs", "", "directory with Apache Kafka's jars; empty leaves Kafka out")
	set.StringVar(&c.rivals.java, "java", "java", "the Java 17 program")
	set.StringVar(&c.rivals.only, "only", "", "only these rows, as weir,kafka")
	set.IntVar(&c.rounds, "rounds", 3, "rounds that count; the median is shown")
	set.IntVar(&c.warm, "warm", 0, "rounds before them that do not; brokers are warmed in every round")
	set.Int64Var(&c.bytes, "bytes", 10<<30, "bytes of values in each produce load; a few GiB would measure what the page cache takes in before it writes")
	set.DurationVar(&c.limit, "limit", 15*time.Second, "longest time of a produce load, and time at the fixed rate if that is under 10s")
	set.Float64Var(&c.rate, "mb", 80, "MB a second of the latency load")
	set.Int64Var(&c.readBytes, "read-bytes", 512<<20, "bytes of values in the topic that is read")
	set.IntVar(&c.passes, "passes", 4, "times that topic is read")
	set.IntVar(&c.clients, "clients", 4, "producers")
	set.BoolVar(&c.unsummed, "unsummed", false, unsummedUsage)
	set.Int64Var(&c.touch, "touch", 8<<30, "bytes of memory touched before each round; cold guest memory slows whoever comes first")
	set.StringVar(&c.dir, "dir", "", "where the brokers' directories are made; empty is the system's")
	set.StringVar(&c.output, "o", "", "write every figure to this file, as JSON")
	set.Parse(args)
	frugal()
	return c.run(ctx)
}

// run takes the brokers in turn; each round begins with another one.
func (c *comparison) run(ctx context.Context) error {
	rows, missing := c.rivals.rivals()
	for _, why := range missing {
		fmt.Fprintln(os.Stderr, "left out:", why)
	}
	if len(rows) == 0 {
		return errors.New("no broker to measure")
	}
	report := &report{
		Date: time.Now().UTC().Truncate(time.Second), Machine: describeMachine(), Rivals: rows, Missing: missing, Clients: c.clients, Rate: c.rate * 1e6,
		Bytes: c.bytes, ReadBytes: c.readBytes, Unsummed: c.unsummed,
	}
	for round := -c.warm; round < c.rounds && ctx.Err() == nil; round++ {
		touchMemory(c.touch)
		c.round(ctx, report, round)
	}
	fmt.Print(report.markdown())
	err := errors.Join(ctx.Err(), report.write(c.output))
	for _, r := range rows {
		if r.failed {
			err = errors.Join(err, fmt.Errorf("%s failed", r.Name))
		}
	}
	return err
}

// round measures each broker once. One that fails is left out from then on, so that it
// does not spoil the figures of the others.
func (c *comparison) round(ctx context.Context, report *report, round int) {
	for i := range report.Rivals {
		r := report.Rivals[(i+round+c.warm)%len(report.Rivals)]
		if r.failed || ctx.Err() != nil {
			continue
		}
		m, err := c.measure(ctx, r)
		if err != nil {
			r.failed = true
			report.Missing = append(report.Missing, fmt.Sprintf("%s failed in round %d: %v", r.Name, round, err))
			fmt.Fprintf(os.Stderr, "round %d %s: %v\n", round, r.Name, err)
			continue
		}
		m.Round = round
		report.Rounds = append(report.Rounds, m)
		fmt.Fprintln(os.Stderr, m)
	}
}

// session is one broker under measurement.
type session struct {
	*comparison
	*broker
	outcome *measured
}

// measure starts a broker on an empty directory, takes all figures and ends it.
func (c *comparison) measure(ctx context.Context, r *rival) (*measured, error) {
	b, took, err := startBroker(ctx, r, c.dir)
	if err != nil {
		return nil, err
	}
	defer b.remove()
	s := &session{comparison: c, broker: b, outcome: &measured{Rival: r.Name, FirstAck: took}}
	if err := s.loads(ctx); err != nil {
		return nil, b.explain(err)
	}
	_ = b.process.Stop(20 * time.Second)
	return s.outcome, nil
}

// loads runs each load on a topic of its own.
func (s *session) loads(ctx context.Context) error {
	m := s.outcome
	usage, err := s.process.Usage()
	if err != nil {
		return err
	}
	m.Idle = usage.Resident
	steps := []func(context.Context) error{
		// As much as the memory that a broker will go on using, which is slow at its first touch.
		func(ctx context.Context) error { return s.produce(ctx, 16<<10, s.bytes, &cost{}) },
		func(ctx context.Context) error { return s.produce(ctx, 16<<10, s.bytes, &m.Small) },
		func(ctx context.Context) error { return s.produce(ctx, 1<<20, s.bytes, &m.Large) },
		func(ctx context.Context) error { return s.compressed(ctx, compress.LZ4, &m.LZ4) },
		func(ctx context.Context) error { return s.compressed(ctx, compress.Zstd, &m.Zstd) },
		func(ctx context.Context) error { return s.compressed(ctx, compress.Gzip, &m.Gzip) },
		s.latency, s.read,
	}
	for _, step := range steps {
		runtime.GC() // of the client, so that no load pays for the one before
		if err := step(ctx); err != nil {
			return err
		}
	}
	usage, err = s.process.Usage()
	m.Resident, m.ResidentMax = usage.Resident, usage.ResidentMax
	return err
}

func (s *session) load(batchBytes int, bytes int64) *load {
	return &load{Brokers: s.brokers, Partitions: 12, Clients: s.clients, RecordBytes: 1024, BatchBytes: batchBytes, Bytes: bytes, Limit: s.limit, Unsummed: s.unsummed}
}

// charged runs f and sets what the broker used meanwhile.
func (s *session) charged(c *cost, f func() error) (err error) {
	c.ServerCPU, err = s.cpuOf(f)
	return err
}

func (s *session) produce(ctx context.Context, batchBytes int, bytes int64, c *cost) error {
	if bound := s.rival.bytesMax; bound > 0 {
		bytes = min(bytes, bound)
	}
	l := s.load(batchBytes, bytes)
	return s.charged(c, func() error {
		o, err := produce(ctx, l)
		if err != nil {
			return fmt.Errorf("produce in batches of %d bytes: %w", batchBytes, err)
		}
		c.Bytes, c.Elapsed, c.ClientCPU, c.Batch = o.Bytes, o.Elapsed, o.ClientCPU, o.BatchBytes
		return nil
	})
}

// compressedBatchBytes is the size of the values in a compressed batch: 16 to 24 KiB once compressed,
// as producers send with a batch.size of 16 KiB or a little more.
const compressedBatchBytes = 64 << 10

// compressed replays batches of one codec. Bytes and rates are of the values, decompressed.
func (s *session) compressed(ctx context.Context, codec compress.Codec, c *cost) error {
	bytes := s.bytes
	if bound := s.rival.bytesMax; bound > 0 {
		bytes = min(bytes, bound)
	}
	l := s.load(compressedBatchBytes, bytes)
	if err := newTopic(ctx, l); err != nil {
		return err
	}
	r := replayOf(l, codec)
	runtime.GC()
	return s.charged(c, func() error {
		o, err := r.run(ctx)
		if err != nil {
			return fmt.Errorf("produce %v batches: %w", codec, err)
		}
		c.Bytes, c.Elapsed, c.ClientCPU, c.Batch, c.Ratio = o.Bytes, o.Elapsed, o.ClientCPU, o.BatchBytes, r.Ratio
		return nil
	})
}

func (s *session) latency(ctx context.Context) error {
	l := s.load(16<<10, 0)
	l.Rate, l.Limit = s.rate*1e6, min(l.Limit, 10*time.Second)
	c := &s.outcome.RateCost
	return s.charged(c, func() (err error) {
		if s.outcome.Rate, err = atRate(ctx, l); err != nil {
			return fmt.Errorf("at a fixed rate: %w", err)
		}
		o := s.outcome.Rate
		c.Bytes, c.Elapsed, c.ClientCPU, c.Batch = o.Bytes, o.Elapsed, o.ClientCPU, o.BatchBytes
		return nil
	})
}

// read writes a topic that memory can hold and reads it whole, several times, each
// time with a new client.
func (s *session) read(ctx context.Context) error {
	if s.rival.keepsNothing {
		return nil
	}
	l := s.load(1<<20, s.readBytes)
	if _, err := produce(ctx, l); err != nil {
		return fmt.Errorf("write what is to be read: %w", err)
	}
	c := &s.outcome.Read
	return s.charged(c, func() error {
		for range s.passes {
			o, err := consume(ctx, l.Brokers, l.Topic)
			if err != nil {
				return fmt.Errorf("read: %w", err)
			}
			c.Bytes, c.Elapsed, c.ClientCPU = c.Bytes+o.Bytes, c.Elapsed+o.Elapsed, c.ClientCPU+o.ClientCPU
		}
		return nil
	})
}

// String is one line for whoever watches.
func (m *measured) String() string {
	name := fmt.Sprintf("round %d %s:", m.Round, m.Rival)
	if m.Round < 0 {
		name = "warm-up " + m.Rival + ":"
	}
	return fmt.Sprintf("%-20s first ack %v, 16 KiB %.0f MB/s, 1 MiB %.0f MB/s, lz4 %.0f MB/s, zstd %.0f MB/s, gzip %.0f MB/s, p50 %v, p99 %v, read %.0f MB/s, resident %d MiB", name,
		m.FirstAck.Round(time.Millisecond), m.Small.rate()/1e6, m.Large.rate()/1e6,
		m.LZ4.rate()/1e6, m.Zstd.rate()/1e6, m.Gzip.rate()/1e6, m.Rate.P50, m.Rate.P99, m.Read.rate()/1e6, m.ResidentMax>>20)
}

// touchMemory takes memory from the system, writes to each page, and gives it back.
func touchMemory(bytes int64) {
	const piece = 256 << 20
	var held [][]byte
	for bytes = min(bytes, available()/2); bytes >= piece; bytes -= piece {
		b, err := mapMemory(piece)
		if err != nil {
			break
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		held = append(held, b)
	}
	for _, b := range held {
		unmapMemory(b)
	}
}

// field returns the value after "key:" in a file of such lines.
func field(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if k, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
