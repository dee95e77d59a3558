package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fanout measures tail reads: one producer writes as fast as it can, and some consumers read all of it as it comes. What counts is the
// time until the last consumer has the last record.
type fanout struct {
	rivals  rivalFlags
	load    load
	readers int
	rounds  int
	dir     string
}

// fanoutFigures are those of one round.
type fanoutFigures struct {
	rival     string
	delivered float64 // MB/s, to all consumers together
	serverCPU float64 // s for each GiB delivered
	clientCPU float64
}

func fanoutCommand(ctx context.Context, args []string) error {
	set := newFlags("fanout")
	f := &fanout{rivals: rivalFlags{weirConfig: keyValues{}, only: "weir,kafka,null", nullArgs: []string{"-tail"}}, load: load{Partitions: 12, Clients: 1, RecordBytes: 1024}}
	set.StringVar(&f.rivals.weir, "weir", "bin/weir", "the weir program")
	set.Var(f.rivals.weirConfig, "weir-config", "key=value for weir's configuration file; may be repeated")
	set.StringVar(&f.rivals.kafkaLibs, "kafka-libs", "", "directory with Apache Kafka's jars; empty leaves Kafka out")
	set.StringVar(&f.rivals.java, "java", "java", "the Java 17 program")
	set.StringVar(&f.rivals.only, "only", f.rivals.only, "only these rows")
	set.IntVar(&f.readers, "readers", 4, "consumers, each of which reads everything")
	set.IntVar(&f.rounds, "rounds", 3, "rounds; the median is shown")
	set.Int64Var(&f.load.Bytes, "bytes", 1<<30, "bytes of values that are written")
	set.IntVar(&f.load.BatchBytes, "batch-bytes", 16<<10, "largest batch")
	set.StringVar(&f.dir, "dir", "", "where the brokers' directories are made; empty is the system's")
	set.Parse(args)
	frugal()
	return f.run(ctx)
}

func (f *fanout) run(ctx context.Context) error {
	rows, missing := f.rivals.rivals()
	for _, why := range missing {
		fmt.Fprintln(os.Stderr, "left out:", why)
	}
	all := map[string][]*fanoutFigures{}
	for round := range f.rounds {
		for i := range rows {
			r := rows[(i+round)%len(rows)]
			figures, err := f.measure(ctx, r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			all[r.Name] = append(all[r.Name], figures)
		}
	}
	weir := medianOf(all["weir"], func(f *fanoutFigures) float64 { return f.delivered })
	for _, r := range rows {
		of := all[r.Name]
		delivered := medianOf(of, func(f *fanoutFigures) float64 { return f.delivered })
		fmt.Printf("%-6s %6.0f MB/s to %d consumers together, server CPU %.2f s/GiB, client CPU %.2f s/GiB", r.Name, delivered, f.readers,
			medianOf(of, func(f *fanoutFigures) float64 { return f.serverCPU }), medianOf(of, func(f *fanoutFigures) float64 { return f.clientCPU }))
		if r.Name != "weir" && weir > 0 {
			fmt.Printf("; weir : %s = %.2f", r.Name, weir/cmp.Or(delivered, 1))
		}
		fmt.Println()
	}
	return nil
}

func (f *fanout) measure(ctx context.Context, r *rival) (*fanoutFigures, error) {
	b, _, err := startBroker(ctx, r, f.dir)
	if err != nil {
		return nil, err
	}
	defer b.remove()
	if _, err := f.once(ctx, b); err != nil { // warms up
		return nil, b.explain(err)
	}
	figures, err := f.once(ctx, b)
	if err != nil {
		return nil, b.explain(err)
	}
	fmt.Fprintf(os.Stderr, "%s: %.0f MB/s, server CPU %.2f s/GiB, client CPU %.2f s/GiB\n", r.Name, figures.delivered, figures.serverCPU, figures.clientCPU)
	return figures, nil
}

// once runs the load on a new topic.
func (f *fanout) once(ctx context.Context, b *broker) (*fanoutFigures, error) {
	l := f.load
	l.Brokers = b.brokers
	if err := errors.Join(newTopic(ctx, &l), awaitLeaders(ctx, &l)); err != nil {
		return nil, err
	}
	var elapsed, client time.Duration
	server, err := cpuOf(b.process, func() (err error) {
		cpu, begin := ownCPU(), time.Now()
		err = f.follow(ctx, &l)
		elapsed, client = time.Since(begin), ownCPU()-cpu
		return err
	})
	bytes := l.Bytes / int64(l.RecordBytes) * int64(l.RecordBytes) * int64(f.readers)
	return &fanoutFigures{
		rival: b.rival.Name, delivered: float64(bytes) / elapsed.Seconds() / 1e6, serverCPU: perGiB(server, bytes), clientCPU: perGiB(client, bytes),
	}, err
}

// follow writes the load while all consumers read it, and returns once each has all of it.
func (f *fanout) follow(ctx context.Context, l *load) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		group  sync.WaitGroup
		errs   = make([]error, f.readers+1)
		failed atomic.Bool
	)
	run := func(i int, what func() error) {
		group.Go(func() {
			if errs[i] = what(); errs[i] != nil && !failed.Swap(true) {
				stop() // the others' errors would only say that
			}
		})
	}
	for i := range f.readers {
		client, err := kgo.NewClient(tailOptions(l)...)
		if err != nil {
			return err
		}
		defer client.Close()
		run(i, func() error {
			_, err := drain(ctx, client, l.Bytes/int64(l.RecordBytes))
			return err
		})
	}
	run(f.readers, func() error {
		_, err := produce(ctx, l)
		return err
	})
	group.Wait()
	return errors.Join(errs...)
}

// tailOptions are those of a consumer of a whole topic that is at its end.
func tailOptions(l *load) []kgo.Opt {
	return append(consumerOptions(l.Brokers), kgo.ConsumeTopics(l.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
}
