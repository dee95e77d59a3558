package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/core/compress"
)

// produced is the outcome of a load. Rates count acknowledged values only.
type produced struct {
	Bytes      int64         `json:"bytes"`
	Records    int64         `json:"records"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	ClientCPU  time.Duration `json:"client_cpu_ns"`
	BatchBytes int64         `json:"batch_bytes_mean"`
	Failed     int64         `json:"failed,omitempty"`
}

func (p *produced) rate() float64 { return float64(p.Bytes) / p.Elapsed.Seconds() }

func (p *produced) String() string {
	return fmt.Sprintf("%.1f MB/s  %.0f records/s  mean batch %d bytes  %d MB in %v  client CPU %.2f s (%.2f s a GiB)  failed %d",
		p.rate()/1e6, float64(p.Records)/p.Elapsed.Seconds(), p.BatchBytes, p.Bytes/1e6, p.Elapsed.Round(time.Millisecond),
		p.ClientCPU.Seconds(), perGiB(p.ClientCPU, p.Bytes), p.Failed)
}

func perGiB(cpu time.Duration, bytes int64) float64 {
	if bytes == 0 {
		return 0
	}
	return cpu.Seconds() * (1 << 30) / float64(bytes)
}

func produceCommand(ctx context.Context, args []string) error {
	set := newFlags("produce")
	var l load
	l.register(set)
	set.Int64Var(&l.Bytes, "bytes", 1<<30, "bytes of values in all; 0 is no bound")
	set.DurationVar(&l.Limit, "seconds", 0, "longest time, as 10s; 0 is no bound")
	again := set.Bool("replay", false, "send requests that were made before, of one batch for each partition: with -batch-bytes as small as -record-bytes, the smallest batches at the highest rate")
	codec := set.String("codec", compress.None.String(), "compression of the batches that -replay sends: none, gzip, snappy, lz4, zstd")
	set.BoolVar(&l.Unsummed, "unsummed", false, unsummedUsage)
	set.Parse(args)
	frugal()
	send := produce
	if *again {
		c, err := codecNamed(*codec)
		if err != nil {
			return err
		}
		send = func(ctx context.Context, l *load) (*produced, error) { return replayNew(ctx, l, c) }
	}
	outcome, err := send(ctx, &l)
	if err != nil {
		return err
	}
	fmt.Printf("topic %s: %v\n", l.Topic, outcome)
	return nil
}

const unsummedUsage = "leave the checksum out of replayed lz4 and zstd batches, like the Java client and librdkafka; clients in Go write one"

// replayNew sends, to a new topic, a load of batches that are made before it begins.
func replayNew(ctx context.Context, l *load, c compress.Codec) (*produced, error) {
	if err := newTopic(ctx, l); err != nil {
		return nil, err
	}
	return replayOf(l, c).run(ctx)
}

func codecNamed(name string) (compress.Codec, error) {
	for c := compress.None; c.Valid(); c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return compress.None, fmt.Errorf("no codec is called %q", name)
}

// producer is one client of a load and what it counts.
type producer struct {
	load    *load
	client  *kgo.Client
	slots   *slots
	values  [][]byte
	place   int // of the next record: value and partition follow from it
	acked   int64
	failed  int64
	failure error
}

// start makes the clients of a load.
func start(ctx context.Context, l *load, written *batches, done func(*producer, *slot)) ([]*producer, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if err := newTopic(ctx, l); err != nil {
		return nil, err
	}
	shared := values(l.RecordBytes)
	all := make([]*producer, 0, l.Clients)
	for i := range l.Clients {
		client, err := kgo.NewClient(l.producerOptions(written)...)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		p := &producer{load: l, client: client, values: shared, place: i * l.Partitions / l.Clients * l.run()}
		p.slots = newSlots(l.inFlightBytesMax()/l.RecordBytes/slotsInChunk+2, func(s *slot, err error) { p.answered(s, err, done) })
		all = append(all, p)
	}
	return all, nil
}

func closeAll(all []*producer) {
	for _, p := range all {
		p.client.Close()
	}
}

// answered is called by one goroutine of the client at a time.
func (p *producer) answered(s *slot, err error, done func(*producer, *slot)) {
	if err != nil {
		p.failed++
		p.failure = err
		return
	}
	p.acked++
	if done != nil {
		done(p, s)
	}
}

// run is how many records in a row go to one partition: a batch full.
func (l *load) run() int { return max(1, (l.BatchBytes-100)/(l.RecordBytes+16)) }

// send gives one record to the client, and waits while its buffer is full.
func (p *producer) send(ctx context.Context, due int64) {
	s := p.slots.take()
	s.due = due
	s.record = kgo.Record{Value: p.values[p.place%len(p.values)], Partition: int32(p.place / p.load.run() % p.load.Partitions)}
	p.place++
	p.client.Produce(ctx, &s.record, s.promise)
}

// produce runs a load as fast as the endpoint takes it.
func produce(ctx context.Context, l *load) (*produced, error) {
	var written batches
	all, err := start(ctx, l, &written, nil)
	if err != nil {
		return nil, err
	}
	defer closeAll(all)
	if l.Bytes == 0 && l.Limit == 0 {
		return nil, errors.New("a load needs a bound: bytes or seconds")
	}
	var left atomic.Int64
	left.Store(l.Bytes / int64(l.RecordBytes))
	return measure(ctx, l, all, &written, func(p *producer, begin time.Time) {
		for ctx.Err() == nil && (l.Limit == 0 || time.Since(begin) < l.Limit) {
			n := int64(l.run())
			if l.Bytes > 0 {
				n = min(n, left.Add(-n)+n)
			}
			if n <= 0 {
				return
			}
			for range n {
				p.send(ctx, 0)
			}
		}
	})
}

// measure runs feed for every client, waits for every answer and adds up.
func measure(ctx context.Context, l *load, all []*producer, written *batches, feed func(*producer, time.Time)) (*produced, error) {
	cpu, begin := ownCPU(), time.Now()
	var group sync.WaitGroup
	failures := make([]error, len(all))
	for i, p := range all {
		group.Go(func() {
			feed(p, begin)
			failures[i] = p.client.Flush(ctx)
		})
	}
	group.Wait()
	outcome := &produced{Elapsed: time.Since(begin), ClientCPU: ownCPU() - cpu, BatchBytes: written.mean()}
	for _, p := range all {
		outcome.Records += p.acked
		outcome.Failed += p.failed
		failures = append(failures, p.failure)
	}
	outcome.Bytes = outcome.Records * int64(l.RecordBytes)
	return outcome, errors.Join(failures...)
}
