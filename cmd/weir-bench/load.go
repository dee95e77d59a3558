package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// load says what the clients do. Sizes are bytes.
type load struct {
	Brokers     string        `json:"-"`
	Topic       string        `json:"-"`
	Partitions  int           `json:"partitions"`
	Clients     int           `json:"clients"`
	RecordBytes int           `json:"record_bytes"`
	BatchBytes  int           `json:"batch_bytes"`
	Linger      time.Duration `json:"linger_ns"`
	// A load ends at Bytes of values or after Limit, whichever comes first; zero is no
	// bound.
	Bytes int64         `json:"bytes"`
	Limit time.Duration `json:"limit_ns"`
	// Unsummed lz4 and zstd batches have no checksum inside, like those of the Java client and
	// librdkafka; clients in Go write one. Only replayed loads look at it.
	Unsummed bool `json:"unsummed,omitempty"`
	// Rate is bytes of values a second, of all clients; only `rate` looks at it.
	Rate float64 `json:"rate,omitempty"`
	// Plain turns idempotence off; Acks1 asks for the leader's word only.
	Plain bool `json:"plain,omitempty"`
}

func (l *load) register(set *flag.FlagSet) {
	set.StringVar(&l.Brokers, "brokers", "127.0.0.1:9092", "bootstrap servers, host:port,...")
	set.StringVar(&l.Topic, "topic", "", "the topic; empty makes a new one")
	set.IntVar(&l.Partitions, "partitions", 12, "partitions of a new topic")
	set.IntVar(&l.Clients, "clients", 4, "producers, each with its own connections")
	set.IntVar(&l.RecordBytes, "record-bytes", 1024, "size of each record's value")
	set.IntVar(&l.BatchBytes, "batch-bytes", 16<<10, "largest batch")
	set.DurationVar(&l.Linger, "linger", 0, "how long a batch waits to fill")
	set.BoolVar(&l.Plain, "plain", false, "without idempotence")
}

func (l *load) check() error {
	switch {
	case l.Partitions < 1 || l.Clients < 1 || l.RecordBytes < 1:
		return errors.New("partitions, clients and record bytes must be positive")
	case l.BatchBytes < l.RecordBytes+128:
		return fmt.Errorf("a batch of %d bytes holds no record of %d", l.BatchBytes, l.RecordBytes)
	}
	return nil
}

func seeds(brokers string) kgo.Opt { return kgo.SeedBrokers(strings.Split(brokers, ",")...) }

// inFlightBytesMax bounds what one client holds back: enough for two full batches of
// every partition.
func (l *load) inFlightBytesMax() int { return max(8<<20, 2*l.Partitions*l.BatchBytes) }

func (l *load) producerOptions(written *batches) []kgo.Opt {
	options := []kgo.Opt{
		seeds(l.Brokers), kgo.ClientID("weir-bench"), kgo.DefaultProduceTopic(l.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(l.Linger),
		kgo.ProducerBatchMaxBytes(int32(l.BatchBytes)), kgo.MaxBufferedRecords(l.inFlightBytesMax()/l.RecordBytes + 1),
		kgo.WithHooks(written),
	}
	if l.Plain {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	return options
}

// batches counts what was written, over all clients.
type batches struct{ count, bytes atomic.Int64 }

// OnProduceBatchWritten is a hook of the client.
func (b *batches) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	b.count.Add(1)
	b.bytes.Add(int64(m.UncompressedBytes))
}

func (b *batches) mean() int64 { return b.bytes.Load() / max(b.count.Load(), 1) }

// values are record values that do not compress, built once; records share them.
func values(size int) [][]byte {
	source := rand.NewChaCha8([32]byte{'w', 'e', 'i', 'r'})
	all := make([][]byte, 64)
	for i := range all {
		all[i] = make([]byte, size)
		_, _ = source.Read(all[i])
	}
	return all
}

// newTopic makes a topic of its own for a load, retrying while the broker is not yet
// up, as long as ctx allows.
func newTopic(ctx context.Context, l *load) error {
	if l.Topic != "" {
		return nil
	}
	client, err := kgo.NewClient(seeds(l.Brokers), kgo.ClientID("weir-bench"), kgo.RetryBackoffFn(func(int) time.Duration { return 2 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer client.Close()
	topic := fmt.Sprintf("bench-%x", time.Now().UnixNano())
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(l.Partitions), -1, nil, topic) // as many replicas as the brokers make by default
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	l.Topic = topic
	return nil
}

// awaitLeaders waits until the broker leads every partition of the topic. Kafka answers that a topic is created before it
// does; unlike a real client, a replayed load does not retry.
func awaitLeaders(ctx context.Context, l *load) error {
	ctx, cancel := context.WithTimeout(ctx, leadersTimeout)
	defer cancel()
	client, err := kgo.NewClient(seeds(l.Brokers), kgo.ClientID("weir-bench"))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		offsets, err := kadm.NewClient(client).ListEndOffsets(ctx, l.Topic)
		if err == nil && offsets.Error() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leaders: %w", l.Topic, errors.Join(err, offsets.Error(), ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const leadersTimeout = 30 * time.Second

// ownCPU is this process's CPU time.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
