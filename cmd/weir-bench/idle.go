package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// idle measures what partitions cost that nobody writes to: throughput and latency of a topic of 12 partitions in a broker that has as
// many as 100,000 beside it, and in one that has none. Brokers are fresh in each round, and take turns.
type idle struct {
	load       load
	weir, dir  string
	partitions int
	rounds     int
	bytes      int64
	quiet      time.Duration
	settings   keyValues
}

func idleCommand(ctx context.Context, args []string) error {
	set := newFlags("idle")
	d := &idle{settings: keyValues{}, load: load{Partitions: 12, Clients: 4, RecordBytes: 1024, BatchBytes: 16 << 10}}
	set.StringVar(&d.weir, "weir", "bin/weir", "the program")
	set.StringVar(&d.dir, "dir", "", "where brokers keep their files; empty: a directory for temporary files")
	set.IntVar(&d.partitions, "partitions", 100_000, "partitions in all")
	set.IntVar(&d.rounds, "rounds", 3, "rounds, of which the medians are compared")
	set.Int64Var(&d.bytes, "bytes", 2<<30, "bytes of values in the load of full speed")
	set.DurationVar(&d.load.Limit, "seconds", 6*time.Second, "time of the load at a fixed rate")
	set.DurationVar(&d.quiet, "quiet", 5*time.Second, "for how long nothing is done, to see what the broker does meanwhile")
	set.Var(d.settings, "set", "a key=value of the brokers' configuration; may be given several times")
	rate := set.Float64("mb", 80, "MB (10^6 bytes) of values a second at the fixed rate, of all producers")
	set.Parse(args)
	d.load.Rate = *rate * 1e6
	frugal()
	return d.run(ctx)
}

// idleFigures are those of one broker.
type idleFigures struct {
	partitions    int
	created       time.Duration // it took to create those beside
	quietCPU      float64       // seconds of it a second, while nothing is done
	throughput    float64       // MB/s
	p50, p99      float64       // ms
	cpu           float64       // seconds of the broker, in the load at a fixed rate
	turn          float64       // the longest of the loop, ms
	resident      int64         // bytes, before the first load
	residentAfter int64
}

func (f *idleFigures) String() string {
	return fmt.Sprintf("%6d partitions: created in %.1f s; %.3f CPU s/s and %d MiB resident before; %.0f MB/s; p50 %.2f p99 %.2f ms, CPU %.2f s; longest turn %.1f ms; %d MiB after",
		f.partitions, f.created.Seconds(), f.quietCPU, f.resident>>20, f.throughput, f.p50, f.p99, f.cpu, f.turn, f.residentAfter>>20)
}

func (d *idle) run(ctx context.Context) error {
	var few, many []*idleFigures
	for range d.rounds {
		for _, of := range []struct {
			partitions int
			all        *[]*idleFigures
		}{{d.load.Partitions, &few}, {d.partitions, &many}} {
			f, err := d.measure(ctx, of.partitions)
			if err != nil {
				return err
			}
			fmt.Println(f)
			*of.all = append(*of.all, f)
		}
	}
	for _, row := range []struct {
		name string
		of   func(*idleFigures) float64
	}{
		{"throughput, MB/s", func(f *idleFigures) float64 { return f.throughput }},
		{"p50, ms", func(f *idleFigures) float64 { return f.p50 }},
		{"p99, ms", func(f *idleFigures) float64 { return f.p99 }},
		{"CPU at the fixed rate, s", func(f *idleFigures) float64 { return f.cpu }},
	} {
		a, b := medianOf(many, row.of), medianOf(few, row.of)
		fmt.Printf("%-26s with %d partitions : with %d   %.2f : %.2f = %.2f\n", row.name, d.partitions, d.load.Partitions, a, b, a/cmp.Or(b, 1))
	}
	return nil
}

// medianOf is the median of a figure over rounds.
func medianOf[T any](rounds []T, figure func(T) float64) float64 {
	all := make([]float64, 0, len(rounds))
	for _, r := range rounds {
		all = append(all, figure(r))
	}
	return median(all)
}

func (d *idle) measure(ctx context.Context, partitions int) (*idleFigures, error) {
	broker, err := startWatched(d.weir, d.dir, eagerUploads, d.settings)
	if err != nil {
		return nil, err
	}
	defer broker.remove()
	f := &idleFigures{partitions: partitions}
	begin := time.Now()
	if err := createIdle(ctx, broker.Address, partitions-d.load.Partitions); err != nil {
		return nil, broker.explain(err)
	}
	f.created = time.Since(begin)
	return f, broker.explain(d.loads(ctx, broker, f))
}

func (d *idle) loads(ctx context.Context, broker *watched, f *idleFigures) error {
	l := d.load
	l.Brokers, l.Bytes = broker.Address, d.bytes
	if err := newTopic(ctx, &l); err != nil {
		return err
	}
	if err := sleep(ctx, d.quiet); err != nil {
		return err
	}
	cpu, err := cpuOf(broker.Process, func() error { return sleep(ctx, d.quiet) })
	if err != nil {
		return err
	}
	f.quietCPU = cpu.Seconds() / d.quiet.Seconds()
	if usage, err := broker.Usage(); err == nil {
		f.resident = usage.Resident
	}
	full := l
	full.Limit = 0
	if _, err := produce(ctx, &full); err != nil { // warms up
		return err
	}
	at, err := produce(ctx, &full)
	if err != nil {
		return err
	}
	f.throughput = at.rate() / 1e6
	return d.fixedRate(ctx, broker, &l, f)
}

func (d *idle) fixedRate(ctx context.Context, broker *watched, l *load, f *idleFigures) error {
	if err := broker.awaitUploads(ctx); err != nil {
		return err
	}
	var outcome *latencies
	cpu, err := cpuOf(broker.Process, func() (err error) {
		outcome, err = atRate(ctx, l)
		return err
	})
	if err != nil {
		return err
	}
	f.p50, f.p99, f.cpu = outcome.P50.Seconds()*1e3, outcome.P99.Seconds()*1e3, cpu.Seconds()
	now, err := broker.values(ctx)
	f.turn = now["weir_loop_turn_longest_nanoseconds"] / 1e6
	if usage, err := broker.Usage(); err == nil {
		f.residentAfter = usage.Resident
	}
	return err
}

// idleTopicPartitions is the size of each topic that is created beside.
const idleTopicPartitions = 1000

// createIdle creates topics that nobody writes to, of so many partitions together.
func createIdle(ctx context.Context, brokers string, partitions int) error {
	client, err := kgo.NewClient(seeds(brokers), kgo.ClientID("weir-bench"))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for i := 0; partitions > 0; i++ {
		n := min(partitions, idleTopicPartitions)
		if _, err := admin.CreateTopic(ctx, int32(n), -1, nil, fmt.Sprintf("idle-%d", i)); err != nil {
			return fmt.Errorf("create a topic of %d partitions: %w", n, err)
		}
		partitions -= n
	}
	return nil
}
