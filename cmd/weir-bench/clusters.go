package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// clusters is what `clusters` was asked to do: loads on clusters of several brokers, side by side.
type clusters struct {
	rivals    clusterRivals
	rounds    int
	bytes     int64
	limit     time.Duration
	warm      time.Duration
	rate      float64
	readBytes int64
	passes    int
	clients   int
	dir       string
	output    string
}

// clusterRound is what one cluster did in one round: figures by key.
type clusterRound struct {
	Rival   string             `json:"rival"`
	Round   int                `json:"round"`
	Figures map[string]float64 `json:"figures"`
}

func clustersCommand(ctx context.Context, args []string) error {
	set := newFlags("clusters")
	c := &clusters{}
	set.StringVar(&c.rivals.weir, "weir", "bin/weir", "the weir program")
	set.StringVar(&c.rivals.kafkaLibs, "kafka-libs", "", "directory with Apache Kafka's jars; empty leaves Kafka out")
	set.StringVar(&c.rivals.java, "java", "java", "the Java 17 program")
	set.StringVar(&c.rivals.only, "only", "", "only these rows, as weir-device,weir-object,kafka")
	set.IntVar(&c.rivals.brokers, "brokers", 3, "brokers of each cluster, all in racks of their own")
	set.IntVar(&c.rounds, "rounds", 3, "rounds; the median is shown, with the least and the most. Clusters are warmed in each")
	set.Int64Var(&c.bytes, "bytes", 4<<30, "bytes of values in each produce load, at most")
	set.DurationVar(&c.limit, "limit", 10*time.Second, "longest time of a produce load, and time at the fixed rate")
	set.DurationVar(&c.warm, "warm", time.Minute, "longest time of the load before those, which is not counted: a virtual machine compiles what it runs often, and memory is slow at its first touch")
	set.Float64Var(&c.rate, "mb", 40, "MB a second of the latency load")
	set.Int64Var(&c.readBytes, "read-bytes", 512<<20, "bytes of values in the topic that is read")
	set.IntVar(&c.passes, "passes", 4, "times that topic is read")
	set.IntVar(&c.clients, "clients", 4, "producers")
	set.StringVar(&c.dir, "dir", "", "where the clusters' directories are made; empty is the system's. Kafka needs room for three times what it is sent")
	set.StringVar(&c.output, "o", "", "write every figure to this file, as JSON")
	set.Parse(args)
	frugal()
	return c.run(ctx)
}

// run takes the clusters in turn; each round begins with another one.
func (c *clusters) run(ctx context.Context) error {
	rows, missing := c.rivals.rows()
	for _, why := range missing {
		fmt.Fprintln(os.Stderr, "left out:", why)
	}
	if len(rows) == 0 {
		return errors.New("no cluster to measure")
	}
	rounds, err := c.measureAll(ctx, rows)
	fmt.Print(c.markdown(time.Now().UTC(), describeMachine(), rows, rounds))
	return errors.Join(err, c.write(rounds))
}

// measureAll returns what was measured until a cluster failed, too.
func (c *clusters) measureAll(ctx context.Context, rows []*clusterRow) (rounds []*clusterRound, err error) {
	for round := range c.rounds {
		for i := range rows {
			row := rows[(i+round)%len(rows)]
			figures, err := c.measure(ctx, row)
			if err != nil {
				return rounds, fmt.Errorf("round %d of %s: %w", round, row.name, err)
			}
			rounds = append(rounds, &clusterRound{Rival: row.name, Round: round, Figures: figures})
			fmt.Fprintf(os.Stderr, "round %d %s: %v\n", round, row.name, figures)
		}
	}
	return rounds, nil
}

func (c *clusters) write(rounds []*clusterRound) error {
	if c.output == "" {
		return nil
	}
	text, err := json.MarshalIndent(rounds, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.output, append(text, '\n'), 0o644)
}

// machineLoad is how many threads ran or waited to run in the last minute, on average.
func machineLoad() (load float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(text), &load)
	return load
}

// clusterSession is one cluster under load.
type clusterSession struct {
	*clusters
	row     *clusterRow
	running *runningCluster
	figures map[string]float64
}

// measure starts a cluster on an empty directory, takes all figures and ends it.
func (c *clusters) measure(ctx context.Context, row *clusterRow) (map[string]float64, error) {
	running, took, err := startCluster(ctx, row, c.dir)
	if err != nil {
		return nil, err
	}
	defer running.remove()
	s := &clusterSession{clusters: c, row: row, running: running, figures: map[string]float64{"start": took.Seconds()}}
	if err := s.loads(ctx); err != nil {
		return nil, running.explain(err)
	}
	return s.figures, nil
}

// loads runs each load on a topic of its own.
func (s *clusterSession) loads(ctx context.Context) error {
	used, err := s.running.usage()
	if err != nil {
		return err
	}
	s.figures["idle"] = float64(used.Resident)
	steps := []struct {
		key string
		run func(context.Context) (*produced, error)
	}{
		{"", func(ctx context.Context) (*produced, error) { return s.produce(ctx, 16<<10, s.warm) }},
		{"small", func(ctx context.Context) (*produced, error) { return s.produce(ctx, 16<<10, s.limit) }},
		{"large", func(ctx context.Context) (*produced, error) { return s.produce(ctx, 1<<20, s.limit) }},
		{"rate", s.latency},
		{"read", s.read},
	}
	for _, step := range steps {
		runtime.GC() // of the client, so that no load pays for the one before
		if err := s.charged(ctx, step.key, step.run); err != nil {
			return fmt.Errorf("load %s: %w", step.key, err)
		}
	}
	used, err = s.running.usage()
	s.figures["peak"], s.figures["load"] = float64(used.ResidentMax), machineLoad()
	return err
}

// charged runs a load, and sets what it did and what was used meanwhile. A load without a key is only run.
func (s *clusterSession) charged(ctx context.Context, key string, run func(context.Context) (*produced, error)) error {
	before, err := s.running.spent(ctx)
	if err != nil {
		return err
	}
	outcome, err := run(ctx)
	if err != nil {
		return err
	}
	after, err := s.running.spent(ctx)
	if err != nil || key == "" {
		return err
	}
	s.figures[key+"/rate"] = outcome.rate()
	s.figures[key+"/cpu"] = perGiB(after.brokers-before.brokers, outcome.Bytes)
	s.figures[key+"/client"] = perGiB(outcome.ClientCPU, outcome.Bytes)
	s.figures[key+"/store"] = perGiB(after.store-before.store, outcome.Bytes)
	s.figures[key+"/peers"] = float64(after.sent.since(before.sent)) / float64(outcome.Bytes)
	return nil
}

func (s *clusterSession) load(batchBytes int, bytes int64) *load {
	return &load{Brokers: s.running.addresses(), Partitions: 12, Clients: s.clients, RecordBytes: 1024, BatchBytes: batchBytes, Bytes: bytes, Limit: s.limit}
}

func (s *clusterSession) produce(ctx context.Context, batchBytes int, limit time.Duration) (*produced, error) {
	bytes := s.bytes
	if s.row.bytesMax > 0 {
		bytes = min(bytes, s.row.bytesMax)
	}
	l := s.load(batchBytes, bytes)
	l.Limit = limit
	return produce(ctx, l)
}

func (s *clusterSession) latency(ctx context.Context) (*produced, error) {
	l := s.load(16<<10, 0)
	l.Rate = s.rate * 1e6
	o, err := atRate(ctx, l)
	if err != nil {
		return nil, err
	}
	s.figures["p50"], s.figures["p99"], s.figures["p99.9"] = o.P50.Seconds(), o.P99.Seconds(), o.P999.Seconds()
	return &o.produced, nil
}

// read writes a topic that memory can hold, and reads it whole, several times, each time with a new client. What the brokers use for
// the writing is a part of its figures.
func (s *clusterSession) read(ctx context.Context) (*produced, error) {
	l := s.load(1<<20, s.readBytes)
	if _, err := produce(ctx, l); err != nil {
		return nil, err
	}
	sum := &produced{}
	for range s.passes {
		o, err := consume(ctx, l.Brokers, l.Topic)
		if err != nil {
			return nil, err
		}
		sum.Bytes, sum.Elapsed, sum.ClientCPU = sum.Bytes+o.Bytes, sum.Elapsed+o.Elapsed, sum.ClientCPU+o.ClientCPU
	}
	return sum, nil
}

// clusterFigures are the lines of the table.
var clusterFigures = []coordinatorFigure{
	{"start", "start of all brokers until all are known and a record is acknowledged, s", "%.2f", 1},
	{"small/rate", "produce in batches of 16 KiB, MB/s", "%.0f", 1e-6},
	{"small/cpu", "brokers' CPU, s/GiB", "%.2f", 1},
	{"small/client", "client's CPU, s/GiB", "%.2f", 1},
	{"small/store", "object store's CPU, s/GiB", "%.2f", 1},
	{"small/peers", "bytes from broker to broker for each byte written", "%.4f", 1},
	{"large/rate", "produce in batches of 1 MiB, MB/s", "%.0f", 1e-6},
	{"large/cpu", "brokers' CPU, s/GiB", "%.2f", 1},
	{"large/peers", "bytes from broker to broker for each byte written", "%.4f", 1},
	{"p50", "latency at a fixed rate, p50, ms", "%.1f", 1e3},
	{"p99", "p99, ms", "%.1f", 1e3},
	{"p99.9", "p99.9, ms", "%.1f", 1e3},
	{"rate/rate", "rate that was reached, MB/s", "%.0f", 1e-6},
	{"rate/cpu", "brokers' CPU, s/GiB", "%.2f", 1},
	{"read/rate", "a topic written once and read four times, MB/s", "%.0f", 1e-6},
	{"read/cpu", "brokers' CPU, s/GiB", "%.2f", 1},
	{"idle", "resident memory after the start, all brokers, MiB", "%.0f", 1.0 / (1 << 20)},
	{"peak", "at most, MiB", "%.0f", 1.0 / (1 << 20)},
	{"load", "threads of the whole machine that ran or waited, on average", "%.0f", 1},
}

// markdown shows the medians, with the least and the most in parentheses.
func (c *clusters) markdown(date time.Time, m machine, rows []*clusterRow, rounds []*clusterRound) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %s. Clusters of %d brokers, the clients in one franz-go process on the same machine: %d producers, acks=all, idempotent, records of 1 KiB, 12 partitions, %.0f MB/s at the fixed rate; medians of %d rounds (least to most).\n\n| |",
		date.Format("2006-01-02"), m, c.rivals.brokers, c.clients, c.rate, c.rounds)
	for _, r := range rows {
		fmt.Fprintf(&b, " %s: %s |", r.name, r.note)
	}
	fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat("---:|", len(rows)))
	for _, f := range clusterFigures {
		fmt.Fprintf(&b, "| %s |", f.title)
		for _, r := range rows {
			fmt.Fprintf(&b, " %s |", f.spread(valuesOf(rounds, r.name, f.key)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func valuesOf(rounds []*clusterRound, rival, key string) (all []float64) {
	for _, r := range rounds {
		if r.Rival == rival {
			all = append(all, r.Figures[key])
		}
	}
	return all
}

// spread is "median (least to most)", or a dash for a figure that is always zero.
func (f coordinatorFigure) spread(all []float64) string {
	middle := median(all) // sorts
	if len(all) == 0 || all[len(all)-1] == 0 {
		return "-"
	}
	one := func(v float64) string { return fmt.Sprintf(f.format, v*f.scale) }
	least, most := slices.Min(all), slices.Max(all)
	return fmt.Sprintf("%s (%s to %s)", one(middle), one(least), one(most))
}
