package durability

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
)

const (
	rollingGroup = "durability-rolling"
	rollingPace  = 5 * time.Millisecond // between two records of a producer
	stopGrace    = time.Minute
)

// RollingReport is what applications saw of planned restarts.
type RollingReport struct {
	Restarts int
	Acked    int64
	Read     int64
	// StopMax is the longest time that a broker took to end, and SilenceMax the longest that a partition went without an
	// acknowledgement.
	StopMax, SilenceMax time.Duration
}

// RunRolling restarts the brokers of a cluster one after the other, rounds times, while applications with franz-go's defaults
// produce, idempotently and without, and consume in a group. An error that reaches one of them is returned, as is a record that was
// acknowledged and does not reach the group. The brokers are dead when it returns.
func RunRolling(ctx context.Context, o ClusterOptions, rounds int) (report RollingReport, err error) {
	c := &clusterRun{o: &o, brokers: make([]*process.Process, o.Brokers)}
	defer func() { c.end(err) }()
	if err := c.begin(ctx); err != nil {
		return report, err
	}
	a := &applications{seen: map[uint64]bool{}, acked: map[uint64]bool{}, lastAck: map[int32]time.Time{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.start(ctx, &o); err != nil {
		return report, err
	}
	defer a.close()
	for range rounds {
		for i := range c.brokers {
			if err := c.sleep(ctx, o.Calm); err != nil {
				return report, err
			}
			took, err := c.restart(ctx, i)
			if err != nil {
				return report, err
			}
			report.Restarts++
			report.StopMax = max(report.StopMax, took)
			o.Log("restarted broker %d, which took %v to end", i+1, took.Round(time.Millisecond))
		}
	}
	if err := c.sleep(ctx, o.Calm); err != nil {
		return report, err
	}
	err = a.finish(ctx, o.RecoveryLimit)
	report.Acked, report.Read, report.SilenceMax = int64(len(a.acked)), int64(len(a.seen)), a.silence
	return report, err
}

// restart stops a broker as an operator does, starts it again, and waits until it is back. It returns how long the stop took.
func (c *clusterRun) restart(ctx context.Context, i int) (took time.Duration, err error) {
	began := time.Now()
	if err := c.brokers[i].Stop(stopGrace); err != nil {
		return 0, fmt.Errorf("broker %d: %w", i+1, err)
	}
	took = time.Since(began)
	if err := c.launch(i); err != nil {
		return took, err
	}
	return took, eventually(ctx, c.o.RecoveryLimit, c.brokers[i].Ended(), func(ctx context.Context) error {
		return awaitBrokers(ctx, c.o, c.o.Addresses[i])
	})
}

// applications are producers and members of a group with the client's defaults. All records have a number as their value.
type applications struct {
	group   sync.WaitGroup
	stop    context.CancelFunc
	produce []*kgo.Client
	consume []*kgo.Client

	mutex    sync.Mutex
	next     uint64
	acked    map[uint64]bool
	seen     map[uint64]bool
	lastAck  map[int32]time.Time
	silence  time.Duration
	failures []error
}

func (a *applications) start(ctx context.Context, o *ClusterOptions) error {
	seeds := kgo.SeedBrokers(o.Addresses...)
	for _, options := range [][]kgo.Opt{{seeds}, {seeds, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks())}} {
		client, err := kgo.NewClient(append(options, kgo.DefaultProduceTopic(topic))...)
		if err != nil {
			return err
		}
		a.produce = append(a.produce, client)
	}
	for range 2 {
		client, err := kgo.NewClient(seeds, kgo.ConsumerGroup(rollingGroup), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		a.consume = append(a.consume, client)
	}
	var producing context.Context
	producing, a.stop = context.WithCancel(ctx)
	for _, client := range a.produce {
		a.group.Go(func() { a.writeAll(producing, client) })
	}
	for _, client := range a.consume {
		go a.readAll(ctx, client)
	}
	return nil
}

func (a *applications) writeAll(ctx context.Context, client *kgo.Client) {
	ticker := time.NewTicker(rollingPace)
	defer ticker.Stop()
	for {
		a.mutex.Lock()
		a.next++
		number := a.next
		a.mutex.Unlock()
		value := binary.BigEndian.AppendUint64(nil, number)
		client.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: value, Value: value}, func(r *kgo.Record, err error) { a.answered(number, r.Partition, err) })
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (a *applications) answered(number uint64, partition int32, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if err != nil {
		a.failures = append(a.failures, fmt.Errorf("the producer of record %d: %w", number, err))
		return
	}
	a.acked[number] = true
	now := time.Now()
	if last, ok := a.lastAck[partition]; ok {
		a.silence = max(a.silence, now.Sub(last))
	}
	a.lastAck[partition] = now
}

func (a *applications) readAll(ctx context.Context, client *kgo.Client) {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		a.mutex.Lock()
		fetches.EachError(func(_ string, partition int32, err error) {
			a.failures = append(a.failures, fmt.Errorf("the consumer of partition %d: %w", partition, err))
		})
		fetches.EachRecord(func(r *kgo.Record) { a.seen[binary.BigEndian.Uint64(r.Value)] = true })
		a.mutex.Unlock()
	}
}

// finish ends the producers and waits until the group has read all that was acknowledged.
func (a *applications) finish(ctx context.Context, limit time.Duration) error {
	a.stop()
	a.group.Wait()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, client := range a.produce {
		if err := client.Flush(ctx); err != nil {
			return fmt.Errorf("records are not answered: %w", err)
		}
	}
	return errors.Join(eventually(ctx, limit, nil, func(context.Context) error { return a.missing() }), a.failed())
}

func (a *applications) failed() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return errors.Join(a.failures[:min(len(a.failures), 10)]...)
}

func (a *applications) missing() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	missing := 0
	for number := range a.acked {
		if !a.seen[number] {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d acknowledged records did not reach the group", missing, len(a.acked))
	}
	return nil
}

func (a *applications) close() {
	a.stop()
	for _, client := range append(a.produce, a.consume...) {
		client.Close()
	}
}
