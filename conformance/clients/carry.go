package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Endpoint is a Kafka cluster under test.
type Endpoint interface {
	// Brokers are bootstrap addresses, host:port.
	Brokers() []string
}

// Address is an [Endpoint] known by one host:port.
type Address string

// Brokers is the address.
func (a Address) Brokers() []string { return []string{string(a)} }

// Client is a foreign producer and consumer.
type Client interface {
	Name() string
	// Missing says why the client cannot run here; empty if it can.
	Missing() string
	// Produce writes a workload with acks=all, idempotent, each partition's records in
	// order, and returns once all are acknowledged.
	Produce(ctx context.Context, e Endpoint, topic, codec string, w Workload) error
	// Consume reads a partition from its start until take has been given count records.
	// The value is take's until it returns.
	Consume(ctx context.Context, e Endpoint, topic string, partition int32, count int, take func(offset int64, value []byte) error) error
}

// Carry makes the topic, has one client write the workload to it and every reader
// read it back.
func Carry(ctx context.Context, e Endpoint, topic, codec string, w Workload, writer Client, readers ...Client) error {
	if err := CreateTopic(ctx, e, topic, w.Partitions); err != nil {
		return err
	}
	if err := writer.Produce(ctx, e, topic, codec, w); err != nil {
		return fmt.Errorf("%s produces to %s: %w", writer.Name(), topic, err)
	}
	for _, reader := range readers {
		if err := Verify(ctx, e, topic, w, reader); err != nil {
			return err
		}
	}
	return nil
}

// Verify has a client read the topic and compares it with the workload: every record
// once, byte for byte, in order, at offsets that grow, and nothing else.
func Verify(ctx context.Context, e Endpoint, topic string, w Workload, reader Client) error {
	if err := verifyEnds(ctx, e, topic, w); err != nil {
		return err
	}
	var want []byte
	for partition := range w.Partitions {
		next, last := 0, int64(-1)
		err := reader.Consume(ctx, e, topic, partition, w.Count(partition), func(offset int64, value []byte) error {
			want = w.Value(want[:0], partition, next)
			switch {
			case offset <= last:
				return fmt.Errorf("record %d has offset %d, after %d", next, offset, last)
			case !bytes.Equal(value, want):
				return fmt.Errorf("record %d at offset %d is %q, not %q", next, offset, start(value), start(want))
			}
			next, last = next+1, offset
			return nil
		})
		if err == nil && next != w.Count(partition) {
			err = fmt.Errorf("%d records came, not %d", next, w.Count(partition))
		}
		if err != nil {
			return fmt.Errorf("%s reads %s, partition %d: %w", reader.Name(), topic, partition, err)
		}
	}
	return nil
}

// start is enough of a value to tell it by.
func start(value []byte) []byte { return value[:min(len(value), 60)] }

// verifyEnds holds the end offsets against the workload, so that a record stored
// twice is seen even behind the last one that is read.
func verifyEnds(ctx context.Context, e Endpoint, topic string, w Workload) error {
	client, err := connect(e)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("end offsets of %s: %w", topic, err)
	}
	for partition := range w.Partitions {
		if end, ok := ends.Lookup(topic, partition); !ok || end.Offset != int64(w.Count(partition)) {
			return fmt.Errorf("%s, partition %d ends at offset %d, not %d", topic, partition, end.Offset, w.Count(partition))
		}
	}
	return nil
}

// CreateTopic makes a topic that does not exist.
func CreateTopic(ctx context.Context, e Endpoint, topic string, partitions int32) error {
	client, err := connect(e)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

func connect(e Endpoint, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(e.Brokers()...), kgo.ClientID("weir-conformance")}, options...)...)
}

// Franz is franz-go's client.
type Franz struct{}

// Name is franz-go.
func (Franz) Name() string { return "franz-go" }

// Missing is never.
func (Franz) Missing() string { return "" }

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// Produce writes all partitions at once, record by record in turn.
func (Franz) Produce(ctx context.Context, e Endpoint, topic, codec string, w Workload) error {
	compression, ok := franzCodecs[codec]
	if !ok {
		return fmt.Errorf("no codec %s", codec)
	}
	client, err := connect(e, kgo.ProducerBatchCompression(compression), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer client.Close()
	var first kgo.FirstErrPromise
	for i := range w.Count(0) {
		for partition := range w.Partitions {
			if i < w.Count(partition) {
				client.Produce(ctx, &kgo.Record{Topic: topic, Partition: partition, Value: w.Value(nil, partition, i)}, first.Promise())
			}
		}
	}
	return errors.Join(client.Flush(ctx), first.Err())
}

// Consume reads without a group.
func (Franz) Consume(ctx context.Context, e Endpoint, topic string, partition int32, count int, take func(int64, []byte) error) error {
	client, err := connect(e, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	for count > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("with %d records to come: %w", count, err)
		}
		for records := fetches.RecordIter(); !records.Done(); count-- {
			r := records.Next()
			if err := take(r.Offset, r.Value); err != nil {
				return err
			}
		}
	}
	return nil
}
