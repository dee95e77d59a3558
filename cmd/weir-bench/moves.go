package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/weirbin"
)

const (
	movesTopic = "moved"
	// movesPace is the time between two records of the producer, which is the resolution of a pause.
	movesPace = time.Millisecond
	// movesSettle is the time from a move to the next: what a move disturbs is over by then.
	movesSettle = 500 * time.Millisecond
	movesLimit  = 10 * time.Second
)

// movesCommand measures how long a producer and a consumer are held up while their partition moves from broker to broker.
func movesCommand(ctx context.Context, args []string) error {
	set := newFlags("moves")
	weir := set.String("weir", "bin/weir", "the weir program")
	brokers := set.Int("brokers", 3, "brokers of the cluster")
	moves := set.Int("moves", 100, "how often the partition moves")
	megabytes := set.Int("mib", 10, "MiB in the partition before")
	settle := set.Duration("settle", 70*time.Second, "how long to wait once they are written: all of them are uploaded by then")
	object := set.Bool("object-wal", false, "keep logs in the object store instead of a shared directory")
	set.Parse(args)
	dir, err := os.MkdirTemp("", "weir-moves-")
	if err != nil {
		return err
	}
	running := &runningCluster{dir: dir}
	defer running.remove()
	config := map[string]string{"auto.leader.rebalance.enable": "false"}
	if *object {
		config["weir.wal.kind"] = "object"
	}
	cluster, err := weirbin.NewCluster(*weir, dir, *brokers, config)
	if err != nil {
		return err
	}
	for i := range *brokers {
		b, err := cluster.Launch(i)
		if err != nil {
			return err
		}
		running.brokers = append(running.brokers, b.Process)
	}
	m := &mover{brokers: *brokers}
	defer m.close()
	if err := m.begin(ctx, cluster.Addresses(), *megabytes<<20); err != nil {
		return running.explain(err)
	}
	if err := sleep(ctx, *settle); err != nil {
		return err
	}
	if err := m.run(ctx, *moves, *megabytes); err != nil {
		return running.explain(err)
	}
	return nil
}

// movesMetadataAge is how old the metadata of the eager consumer may be at least. With the client's default, 2.5 s, a consumer that finds its leader
// gone may wait for that long, whatever the brokers do.
const movesMetadataAge = 20 * time.Millisecond

// mover moves one partition under one producer and one consumer with the client's defaults, and one that looks at the metadata soon.
type mover struct {
	brokers int
	client  *kgo.Client
	usual   reader
	eager   reader
	admin   *kadm.Client

	mutex  sync.Mutex
	acked  []delay // of acknowledged records, in the order of their answers
	failed error
}

// reader is a consumer, and the delays of the records that came to it.
type reader struct {
	client   *kgo.Client
	consumed []delay
}

// delay is how long a record took, from when it was due.
type delay struct {
	due  time.Time
	took time.Duration
}

// begin waits for all brokers, makes the topic, and fills it.
func (m *mover) begin(ctx context.Context, addresses []string, size int) (err error) {
	m.client, err = kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.DefaultProduceTopic(movesTopic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	m.admin = kadm.NewClient(m.client)
	err = retry(ctx, func() error {
		known, err := m.admin.ListBrokers(ctx)
		if err == nil && len(known) < m.brokers {
			err = fmt.Errorf("%d of %d brokers", len(known), m.brokers)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := m.admin.CreateTopic(ctx, 1, 1, nil, movesTopic); err != nil {
		return err
	}
	value := make([]byte, 100<<10)
	for range size / len(value) {
		m.client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { m.fail(err) })
	}
	if err := errors.Join(m.client.Flush(ctx), m.failed); err != nil {
		return err
	}
	consumes := []kgo.Opt{kgo.SeedBrokers(addresses...), kgo.ConsumeTopics(movesTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())}
	if m.usual.client, err = kgo.NewClient(consumes...); err != nil {
		return err
	}
	m.eager.client, err = kgo.NewClient(append(consumes, kgo.MetadataMinAge(movesMetadataAge))...)
	return err
}

func (m *mover) close() {
	for _, c := range []*kgo.Client{m.client, m.usual.client, m.eager.client} {
		if c != nil {
			c.Close()
		}
	}
}

func (m *mover) fail(err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.failed = errors.Join(m.failed, err)
}

func (m *mover) run(ctx context.Context, moves, megabytes int) error {
	producing, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { m.usual.consume(producing) })
	group.Go(func() { m.eager.consume(producing) })
	time.Sleep(movesSettle)
	group.Go(func() { m.produce(producing) })
	time.Sleep(movesSettle)
	var calm, began []time.Time
	for range moves {
		calm = append(calm, time.Now())
		time.Sleep(movesSettle)
	}
	for range moves {
		began = append(began, time.Now())
		if err := m.move(ctx); err != nil {
			stop()
			return err
		}
		time.Sleep(movesSettle)
	}
	stop()
	group.Wait()
	if err := errors.Join(m.client.Flush(ctx), m.failed); err != nil {
		return err
	}
	for _, side := range []struct {
		who    string
		delays []delay
	}{{"producer", m.acked}, {"consumer", m.usual.consumed}, {"consumer that looks for its leader at once", m.eager.consumed}} {
		fmt.Printf("%d moves of a partition of %d MiB: a %s waits %v; in as many spans of %v without a move %v; load of the machine %.0f\n",
			moves, megabytes, side.who, pausesOf(side.delays, began), movesSettle, pausesOf(side.delays, calm), machineLoad())
	}
	return nil
}

// pausesOf are the longest delays of records that were due in the spans that began then.
func pausesOf(delays []delay, began []time.Time) pauses {
	var all pauses
	for _, at := range began {
		all = append(all, longest(delays, at, at.Add(movesSettle)))
	}
	slices.Sort(all)
	return all
}

// pauses are sorted.
type pauses []time.Duration

func (p pauses) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, at most %v", quantile(p, 50), quantile(p, 99), p[len(p)-1].Round(100*time.Microsecond))
}

// produce sends a record whenever one is due.
func (m *mover) produce(ctx context.Context) {
	for due := time.Now(); ctx.Err() == nil; due = due.Add(movesPace) {
		time.Sleep(time.Until(due))
		value := binary.LittleEndian.AppendUint64(nil, uint64(due.UnixNano()))
		m.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			took := time.Since(due)
			m.mutex.Lock()
			defer m.mutex.Unlock()
			m.failed = errors.Join(m.failed, err)
			m.acked = append(m.acked, delay{due, took})
		})
	}
}

// consume notes how long after it was due each record came to a consumer.
func (r *reader) consume(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := r.client.PollFetches(ctx)
		now := time.Now()
		fetches.EachRecord(func(got *kgo.Record) {
			if len(got.Value) == dueBytes {
				due := time.Unix(0, int64(binary.LittleEndian.Uint64(got.Value)))
				r.consumed = append(r.consumed, delay{due, now.Sub(due)})
			}
		})
	}
}

// dueBytes is the size of the value of a record, which is when it was due.
const dueBytes = 8

// move gives the partition to the next broker and waits until the metadata say so.
func (m *mover) move(ctx context.Context) error {
	leader, err := m.leader(ctx)
	if err != nil {
		return err
	}
	next := leader%int32(m.brokers) + 1
	if err := retry(ctx, func() error { return m.ask(ctx, next) }); err != nil {
		return fmt.Errorf("move from %d to %d: %w", leader, next, err)
	}
	return retry(ctx, func() error {
		now, err := m.leader(ctx)
		if err == nil && now != next {
			err = fmt.Errorf("broker %d leads, not %d", now, next)
		}
		return err
	})
}

// ask asks for a move. Where brokers do not hear from each other in time it is refused, and can be asked for again.
func (m *mover) ask(ctx context.Context, next int32) error {
	var to kadm.AlterPartitionAssignmentsReq
	to.Assign(movesTopic, 0, []int32{next})
	answers, err := m.admin.AlterPartitionAssignments(ctx, to)
	return errors.Join(err, answers.Error())
}

func (m *mover) leader(ctx context.Context) (int32, error) {
	name := movesTopic
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	answer, err := r.RequestWith(ctx, m.client)
	if err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(answer.Topics[0].ErrorCode); err != nil {
		return 0, err
	}
	return answer.Topics[0].Partitions[0].Leader, nil
}

// longest is the longest delay of a record that was due in a span.
func longest(delays []delay, from, to time.Time) (longest time.Duration) {
	for _, d := range delays {
		if !d.due.Before(from) && d.due.Before(to) {
			longest = max(longest, d.took)
		}
	}
	return longest
}

// quantile is a percentile of sorted values: the least that so many of them do not exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1].Round(100 * time.Microsecond)
}

func retry(ctx context.Context, try func() error) error {
	for deadline := time.Now().Add(movesLimit); ; time.Sleep(5 * time.Millisecond) {
		err := try()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}
