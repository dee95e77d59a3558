package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// beside measures what a reader that catches up costs producers: their latency while a client reads all partitions from the start,
// again and again, beside their latency without it. Both are of one broker, in turns.
type beside struct {
	load      load
	weir, dir string
	oldBytes  int64
	rounds    int
	elsewhere bool
	settings  keyValues
}

func besideCommand(ctx context.Context, args []string) error {
	set := newFlags("beside")
	b := &beside{settings: keyValues{}, load: load{Partitions: 12, Clients: 4, RecordBytes: 1024, BatchBytes: 16 << 10}}
	set.StringVar(&b.weir, "weir", "bin/weir", "the program")
	set.StringVar(&b.dir, "dir", "", "where brokers keep their files; empty: a directory for temporary files")
	set.Int64Var(&b.oldBytes, "old-bytes", 4<<30, "bytes of values that the topic has from before")
	set.IntVar(&b.rounds, "rounds", 3, "rounds: producers alone, then beside the reader; medians are compared")
	set.DurationVar(&b.load.Limit, "seconds", 6*time.Second, "time of each of the two")
	set.BoolVar(&b.elsewhere, "elsewhere", false, "the reader reads from a second broker: what it costs to share the machine with one, and no broker")
	set.Var(b.settings, "set", "a key=value of the brokers' configuration; may be given several times")
	rate := set.Float64("mb", 80, "MB (10^6 bytes) of values a second, of all producers")
	set.Parse(args)
	b.load.Rate = *rate * 1e6
	frugal()
	return b.run(ctx)
}

// eagerUploads are uploads that go on all through a load of some seconds.
var eagerUploads = map[string]string{"weir.upload.interval.ms": "1000", "weir.upload.bytes": "67108864"}

// besideTimes are histograms of the broker that say where the time goes.
var besideTimes = []string{"weir_produce_nanoseconds", "weir_wal_write_nanoseconds", "weir_loop_turn_nanoseconds"}

// besideLatencies are what producers saw, and means of what the broker saw meanwhile.
type besideLatencies struct {
	*latencies
	means []float64 // µs, of besideTimes
}

func (l *besideLatencies) String() string {
	return fmt.Sprintf("p50 %v  p99 %v  max %v  %.1f MB/s; mean µs of %s: %.0f", l.P50, l.P99, l.Max, l.rate()/1e6, strings.Join(besideTimes, ", "), l.means)
}

func (b *beside) atRate(ctx context.Context, broker *watched) (*besideLatencies, error) {
	before, err := broker.values(ctx)
	if err != nil {
		return nil, err
	}
	l, err := atRate(ctx, &b.load)
	if err != nil {
		return nil, err
	}
	after, err := broker.values(ctx)
	o := &besideLatencies{latencies: l}
	for _, name := range besideTimes {
		grew := func(of string) float64 { return after[name+of] - before[name+of] }
		o.means = append(o.means, grew("_sum")/max(grew("_count"), 1)/1e3)
	}
	return o, err
}

func (b *beside) run(ctx context.Context) error {
	broker, err := startWatched(b.weir, b.dir, eagerUploads, b.settings)
	if err != nil {
		return err
	}
	defer broker.remove()
	b.load.Brokers = broker.Address
	readFrom := broker
	if b.elsewhere {
		if readFrom, err = startWatched(b.weir, b.dir, eagerUploads, b.settings); err != nil {
			return err
		}
		defer readFrom.remove()
	}
	old, err := b.fill(ctx, readFrom)
	if err != nil {
		return readFrom.explain(err)
	}
	if !b.elsewhere {
		b.load.Topic = old
	}
	if _, err := atRate(ctx, &b.load); err != nil { // warms up
		return broker.explain(err)
	}
	var rounds besideRounds
	for range b.rounds {
		if err := b.round(ctx, broker, readFrom, old, &rounds); err != nil {
			return broker.explain(err)
		}
	}
	rounds.print()
	return nil
}

// fill writes what there is to catch up with, and waits until it was uploaded. It returns the topic.
func (b *beside) fill(ctx context.Context, broker *watched) (string, error) {
	old := b.load
	old.Brokers, old.BatchBytes, old.Bytes, old.Limit = broker.Address, 1<<20, b.oldBytes, 0
	if _, err := produce(ctx, &old); err != nil {
		return "", err
	}
	return old.Topic, broker.awaitUploads(ctx)
}

// besideRounds are the figures of all rounds.
type besideRounds struct {
	alone, with [2][]float64 // p50 and p99, ms
	reads       []float64    // MB/s
}

// restAfterRead is how long a broker rests after its reader ended, so that the next round begins as the first one did.
const restAfterRead = 2 * time.Second

// readerWarmBytes are what a reader has got once it counts as one that reads.
const readerWarmBytes = 64 << 20

func (b *beside) round(ctx context.Context, broker, readFrom *watched, old string, rounds *besideRounds) error {
	alone, err := b.atRate(ctx, broker)
	if err != nil {
		return err
	}
	reader, err := own("consume", "-brokers", readFrom.Address, "-topic", old, "-again")
	if err != nil {
		return err
	}
	defer reader.Kill()
	if err := readFrom.awaitSent(ctx, readerWarmBytes); err != nil {
		return err
	}
	before, err := readFrom.values(ctx)
	if err != nil {
		return err
	}
	with, err := b.atRate(ctx, broker)
	if err != nil {
		return err
	}
	after, err := readFrom.values(ctx)
	if err != nil {
		return err
	}
	reader.Kill()
	read := (after["weir_network_sent_bytes_total"] - before["weir_network_sent_bytes_total"]) / with.Elapsed.Seconds() / 1e6
	fmt.Printf("producers alone: %v\nbeside a reader: %v\nthe reader got %.0f MB/s, and the store was read with %.0f MB/s; reads were held to %.0f MB/s at the end\n", alone, with, read,
		(after["weir_store_get_bytes_total"]-before["weir_store_get_bytes_total"])/with.Elapsed.Seconds()/1e6, after["weir_store_get_limit_bytes_per_second"]/1e6)
	for i, of := range []func(*besideLatencies) time.Duration{func(o *besideLatencies) time.Duration { return o.P50 }, func(o *besideLatencies) time.Duration { return o.P99 }} {
		rounds.alone[i] = append(rounds.alone[i], of(alone).Seconds()*1e3)
		rounds.with[i] = append(rounds.with[i], of(with).Seconds()*1e3)
	}
	rounds.reads = append(rounds.reads, read)
	return sleep(ctx, restAfterRead)
}

func (r *besideRounds) print() {
	for i, name := range []string{"p50", "p99"} {
		with, alone := median(r.with[i]), median(r.alone[i])
		fmt.Printf("%s of producers beside a catch-up : without   %.2f : %.2f ms = %.2f\n", name, with, alone, with/cmp.Or(alone, 1))
	}
	fmt.Printf("the catch-up got                          %.0f MB/s (median of %d rounds)\n", median(r.reads), len(r.reads))
}
