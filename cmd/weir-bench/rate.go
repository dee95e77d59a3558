package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies are of acknowledged records, from the moment at which each was due, so
// that a broker that stalls is charged for everything that waited (no coordinated
// omission).
type latencies struct {
	produced
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

func (o *latencies) String() string {
	return fmt.Sprintf("p50 %v  p99 %v  p99.9 %v  max %v  at %v", o.P50, o.P99, o.P999, o.Max, &o.produced)
}

const (
	// tick is how often records that are due are sent: small beside any latency of
	// interest, large beside a timer's cost.
	tick = 500 * time.Microsecond
	// latencyMax is what the histograms hold; more counts as that much.
	latencyMax = 10 * time.Minute
)

func rateCommand(ctx context.Context, args []string) error {
	set := newFlags("rate")
	var l load
	l.register(set)
	megabytes := set.Float64("mb", 80, "MB (10^6 bytes) of values a second, of all clients")
	set.DurationVar(&l.Limit, "seconds", 10*time.Second, "how long")
	set.Parse(args)
	l.Rate = *megabytes * 1e6
	frugal()
	outcome, err := atRate(ctx, &l)
	if err != nil {
		return err
	}
	fmt.Printf("topic %s: %v\n", l.Topic, outcome)
	return nil
}

// atRate sends records when they are due, whether or not earlier ones are answered.
func atRate(ctx context.Context, l *load) (*latencies, error) {
	var histograms []*hdrhistogram.Histogram
	outcome, err := produceAtRate(ctx, l, func() observer {
		h := newHistogram()
		histograms = append(histograms, h)
		return func(_, took time.Duration) { _ = h.RecordValue(took.Microseconds()) }
	})
	if outcome == nil {
		return nil, err
	}
	sum := newHistogram()
	for _, h := range histograms {
		sum.Merge(h)
	}
	at := func(quantile float64) time.Duration {
		return time.Duration(sum.ValueAtQuantile(quantile)) * time.Microsecond
	}
	return &latencies{produced: *outcome, P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(sum.Max()) * time.Microsecond}, err
}

// newHistogram holds latencies in microseconds.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, latencyMax.Microseconds(), 3)
}

// observer is told when, after the begin of a load, a record was due, and how long after that it was acknowledged. It is called by one
// goroutine at a time.
type observer func(due, took time.Duration)

// produceAtRate is atRate with an observer for each producer.
func produceAtRate(ctx context.Context, l *load, newObserver func() observer) (*produced, error) {
	if l.Rate <= 0 || l.Limit <= 0 {
		return nil, errors.New("a rate load needs a rate and a time")
	}
	var (
		written   batches
		begin     time.Time
		observers = map[*producer]observer{}
	)
	all, err := start(ctx, l, &written, func(p *producer, s *slot) {
		due := time.Duration(s.due)
		observers[p](due, min(time.Since(begin)-due, latencyMax))
	})
	if err != nil {
		return nil, err
	}
	defer closeAll(all)
	for _, p := range all {
		observers[p] = newObserver()
		if err := p.client.Ping(ctx); err != nil {
			return nil, err
		}
	}
	gap := float64(l.RecordBytes) * float64(l.Clients) / l.Rate * 1e9 // ns between a client's records
	begin = time.Now()
	return measure(ctx, l, all, &written, func(p *producer, _ time.Time) { p.feed(ctx, begin, gap) })
}

// feed sends each record at its time, gap nanoseconds after the one before; what
// falls due between two ticks goes out at once, with its own time. An endpoint that
// cannot keep up gets twice the time; what is not sent by then stays unsent, and the
// rate that was reached says so.
func (p *producer) feed(ctx context.Context, begin time.Time, gap float64) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for n := 0; ctx.Err() == nil; {
		now := time.Since(begin)
		for due := float64(n) * gap; due <= float64(now) && due < float64(p.load.Limit); due = float64(n) * gap {
			p.send(ctx, int64(due))
			if n++; n%p.load.run() == 0 && time.Since(begin) > 2*p.load.Limit {
				return
			}
		}
		if now >= p.load.Limit {
			return
		}
		<-ticker.C
	}
}
