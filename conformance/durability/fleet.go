package durability

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic = "durability"
	// bursts a second of each producer, so that batches hold several records.
	bursts = 100
	// bufferedMax records wait in a producer, so that a dead broker stops it soon.
	bufferedMax = 4000
)

// fleet is the producers and the reader that follows them.
type fleet struct {
	o      *Options
	ledger *ledger
	group  sync.WaitGroup
	stop   context.CancelFunc
	all    []*kgo.Client

	mutex  sync.Mutex
	seen   map[int32][]identity
	reader error
}

func connect(address string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(address, ",")...), kgo.ClientID("weir-durability"), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.RequestRetries(1_000_000),
	}, options...)...)
}

// eventually tries until it goes well, the limit for recoveries is over, or ended is
// closed: while a broker starts, connections are refused at once.
func eventually(ctx context.Context, limit time.Duration, ended <-chan struct{}, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("the broker ended by itself: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("not within %v of a start: %w", limit, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// createTopic makes the topic; one that is there was made by a try whose answer was
// lost.
func createTopic(ctx context.Context, o *Options) error {
	client, err := connect(o.Address)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, o.Partitions, 1, nil, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic: %w", err)
	}
	return nil
}

// launch starts producers and reader; they go on through every crash until stopped.
func launch(ctx context.Context, o *Options) (*fleet, error) {
	f := &fleet{o: o, ledger: newLedger(), seen: map[int32][]identity{}}
	ctx, f.stop = context.WithCancel(ctx)
	for producer := range int32(o.Producers) {
		client, err := connect(o.Address, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic), kgo.StopProducerOnDataLossDetected(),
			kgo.RequiredAcks(kgo.AllISRAcks()), kgo.MaxBufferedRecords(bufferedMax), kgo.ProducerLinger(time.Millisecond), kgo.UnknownTopicRetries(-1),
			kgo.ProducerBatchCompression(codecs[int(producer)%len(codecs)]))
		if err != nil {
			f.close()
			return nil, err
		}
		f.all = append(f.all, client)
		f.group.Go(func() { f.produce(ctx, producer, client) })
	}
	client, err := connect(o.Address, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		f.close()
		return nil, err
	}
	f.all = append(f.all, client)
	f.group.Go(func() { f.follow(ctx, client) })
	return f, nil
}

// codecs of the producers, in turn.
var codecs = []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.SnappyCompression(), kgo.GzipCompression()}

// produce sends bursts at a steady pace, to each partition in turn. It returns when ctx
// ends; what is buffered then is still to be flushed.
func (f *fleet) produce(ctx context.Context, producer int32, client *kgo.Client) {
	ticker := time.NewTicker(time.Second / bursts)
	defer ticker.Stop()
	for turn := int32(0); ; turn++ {
		for range max(1, f.o.RecordsPerSecond/bursts) {
			id := f.ledger.sends(account{producer, (turn + producer) % f.o.Partitions})
			record := &kgo.Record{Partition: id.partition, Value: id.appendPayload(nil)}
			client.Produce(context.WithoutCancel(ctx), record, func(r *kgo.Record, err error) { f.ledger.answered(id, r.Offset, err) })
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// follow reads what is written as it comes and remembers it.
func (f *fleet) follow(ctx context.Context, client *kgo.Client) {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		f.mutex.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			if err := f.saw(r); err != nil && f.reader == nil {
				f.reader = err
			}
		})
		f.mutex.Unlock()
	}
}

// saw remembers a record. One that comes twice, as after a client's reset, must be the
// same.
func (f *fleet) saw(r *kgo.Record) error {
	id, err := readPayload(r.Value)
	if err != nil {
		return fmt.Errorf("the reader at partition %d, offset %d: %w", r.Partition, r.Offset, err)
	}
	seen := f.seen[r.Partition]
	switch next := int64(len(seen)); {
	case r.Offset > next:
		return fmt.Errorf("the reader at partition %d got offset %d after %d", r.Partition, r.Offset, next-1)
	case r.Offset < next && seen[r.Offset] != id:
		return fmt.Errorf("the reader at partition %d, offset %d got %v after %v", r.Partition, r.Offset, id, seen[r.Offset])
	case r.Offset == next:
		f.seen[r.Partition] = append(seen, id)
	}
	return nil
}

// finish stops sending, waits until everything sent is answered, and stops the reader.
func (f *fleet) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.o.RecoveryLimit)
	defer cancel()
	f.stop()
	f.group.Wait()
	var failures []error
	for _, client := range f.all[:f.o.Producers] {
		if err := client.Flush(ctx); err != nil {
			failures = append(failures, fmt.Errorf("records are not answered: %w", err))
		}
	}
	return errors.Join(append(failures, f.reader)...)
}

// silence is the longest time so far that a partition went without an acknowledgement, and which one did.
func (f *fleet) silence() (partition int32, longest time.Duration) {
	f.ledger.mutex.Lock()
	defer f.ledger.mutex.Unlock()
	for p := range f.o.Partitions {
		if s := f.ledger.silences[p]; s > longest {
			partition, longest = p, s
		}
	}
	return partition, longest
}

func (f *fleet) close() {
	f.stop()
	for _, client := range f.all {
		client.Close()
	}
	f.group.Wait()
}
