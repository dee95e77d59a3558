package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumed is the outcome of reading a topic from start to end.
type consumed struct {
	Bytes     int64         `json:"bytes"`
	Records   int64         `json:"records"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	ClientCPU time.Duration `json:"client_cpu_ns"`
}

func (c *consumed) rate() float64 { return float64(c.Bytes) / c.Elapsed.Seconds() }

func (c *consumed) String() string {
	return fmt.Sprintf("%.1f MB/s  %d records, %d MB in %v  client CPU %.2f s (%.2f s a GiB)", c.rate()/1e6, c.Records, c.Bytes/1e6,
		c.Elapsed.Round(time.Millisecond), c.ClientCPU.Seconds(), perGiB(c.ClientCPU, c.Bytes))
}

func consumeCommand(ctx context.Context, args []string) error {
	set := newFlags("consume")
	brokers := set.String("brokers", "127.0.0.1:9092", "bootstrap servers, host:port,...")
	topic := set.String("topic", "", "the topic")
	again := set.Bool("again", false, "read it again and again, until interrupted")
	follow := set.Bool("follow", false, "read what comes from now on, until interrupted")
	set.Parse(args)
	if *topic == "" {
		return errors.New("consume needs -topic")
	}
	frugal()
	if *follow {
		return followEnd(ctx, *brokers, *topic)
	}
	for {
		outcome, err := consume(ctx, *brokers, *topic)
		if err != nil {
			return err
		}
		fmt.Printf("topic %s: %v\n", *topic, outcome)
		if !*again {
			return nil
		}
	}
}

// followEnd reads what comes until ctx ends.
func followEnd(ctx context.Context, brokers, topic string) error {
	client, err := kgo.NewClient(append(consumerOptions(brokers), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	outcome, err := drain(ctx, client, math.MaxInt64)
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(err, fmt.Errorf("the topic ended after %v", outcome))
}

// consume reads, with one client, all that the topic holds when it begins.
func consume(ctx context.Context, brokers, topic string) (*consumed, error) {
	client, err := kgo.NewClient(append(consumerOptions(brokers), kgo.ConsumeTopics(topic))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		first, _ := starts.Lookup(topic, end.Partition)
		left += end.Offset - first.Offset
	})
	return drain(ctx, client, left)
}

func consumerOptions(brokers string) []kgo.Opt {
	return []kgo.Opt{
		seeds(brokers), kgo.ClientID("weir-bench"), kgo.FetchMaxBytes(64 << 20), kgo.FetchMaxPartitionBytes(8 << 20), kgo.FetchMaxWait(500 * time.Millisecond),
	}
}

// drain polls so many records.
func drain(ctx context.Context, client *kgo.Client, records int64) (*consumed, error) {
	outcome := &consumed{}
	cpu, begin := ownCPU(), time.Now()
	for outcome.Records < records {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", outcome.Records, records, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			outcome.Records++
			outcome.Bytes += int64(len(r.Value))
		})
	}
	outcome.Elapsed, outcome.ClientCPU = time.Since(begin), ownCPU()-cpu
	return outcome, nil
}
