package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	commitRate, commitCPU = "commit_rate", "commit_cpu"
	consumersOfGroup      = 10
)

func (c *coordinators) commitRow() coordinatorRow {
	title := fmt.Sprintf("%d consumers, ten to a group, %d commits of each under way, of %d offsets: ", c.consumers, c.inFlight, c.offsets)
	return coordinatorRow{"commits", []coordinatorFigure{
		{commitRate, title + "commits a second", "%.0f", 1},
		{commitCPU, title + "server CPU of a commit, µs", "%.0f", 1e6},
	}, (*coordinatorSession).commits}
}

// commits lets consumers commit offsets without being members, as those do that assign themselves.
func (s *coordinatorSession) commits(ctx context.Context) error {
	if err := awaitCoordinator(ctx, s.brokers); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f, err := s.newFleet(ctx, fail, 1, consumersOfGroup*s.offsets)
	if err != nil {
		return err
	}
	pipes, err := newPipes(s.brokers, s.consumers)
	if err != nil {
		return err
	}
	defer closePipes(pipes)
	var committed atomic.Int64
	for i, p := range pipes {
		c := &committer{pipe: p, topic: f.topics[0], group: fmt.Sprintf("bench-commits-%d", i/consumersOfGroup), count: &committed, fail: fail}
		c.first, c.offsets = i%consumersOfGroup*s.offsets, s.offsets
		for range s.inFlight {
			c.commit(ctx)
		}
	}
	rate, cpu, err := s.counted(ctx, committed.Load)
	s.figures[commitRate] = rate
	if rate > 0 {
		s.figures[commitCPU] = cpu / rate
	}
	return err
}

// committer commits the offsets of some partitions again and again.
type committer struct {
	pipe           *pipe
	topic, group   string
	first, offsets int
	next           atomic.Int64
	count          *atomic.Int64
	fail           context.CancelCauseFunc
}

func (c *committer) commit(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group = 9, c.group
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = c.topic
	at := c.next.Add(1)
	for i := range c.offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(c.first+i), at
		t.Partitions = append(t.Partitions, p)
	}
	r.Topics = append(r.Topics, t)
	c.pipe.send(r, func(response kmsg.Response, err error) {
		if err == nil {
			err = commitFailure(response.(*kmsg.OffsetCommitResponse))
		}
		if err != nil {
			c.fail(fmt.Errorf("commit: %w", err))
			return
		}
		c.count.Add(1)
		c.commit(ctx)
	})
}

func commitFailure(r *kmsg.OffsetCommitResponse) error {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *coordinators) transactionRow(records int) coordinatorRow {
	rate, cpu := fmt.Sprintf("transactions_%d", records), fmt.Sprintf("transactions_%d_cpu", records)
	title := fmt.Sprintf("%d producers, transactions of %d records of %d bytes: ", c.producers, records, c.recordBytes)
	return coordinatorRow{"transactions", []coordinatorFigure{
		{rate, title + "transactions a second", "%.0f", 1},
		{cpu, title + "server CPU of a transaction, µs", "%.0f", 1e6},
	}, func(s *coordinatorSession, ctx context.Context) error {
		perSecond, used, err := s.transactions(ctx, records)
		s.figures[rate] = perSecond
		if perSecond > 0 {
			s.figures[cpu] = used / perSecond
		}
		return err
	}}
}

// transactionRetry is how long a producer waits that is told that its transaction before is not complete yet. Kafka says so after
// 100 ms, where franz-go would wait for 250 ms and more: then the client's wait would be measured.
const transactionRetry = 5 * time.Millisecond

// transactionLinger is linger.ms of Kafka's producer; a commit flushes at once.
const transactionLinger = 5 * time.Millisecond

// transactions lets producers commit transactions, one after another, whose records go to all of 12 partitions in turn.
func (s *coordinatorSession) transactions(ctx context.Context, records int) (rate, cpu float64, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l := &load{Brokers: s.brokers, Partitions: 12, Clients: s.producers, RecordBytes: s.recordBytes, BatchBytes: 64 << 10, Linger: transactionLinger}
	if err := newTopic(ctx, l); err != nil {
		return 0, 0, err
	}
	if err := awaitLeaders(ctx, l); err != nil {
		return 0, 0, err
	}
	shared := values(s.recordBytes)
	var committed atomic.Int64
	var running sync.WaitGroup
	defer running.Wait()
	defer fail(nil)
	for i := range s.producers {
		client, err := kgo.NewClient(append(l.producerOptions(&batches{}), kgo.TransactionalID(fmt.Sprintf("bench-%s-%d", l.Topic, i)),
			kgo.RetryBackoffFn(func(int) time.Duration { return transactionRetry }))...)
		if err != nil {
			return 0, 0, err
		}
		running.Go(func() {
			defer client.Close()
			for n := 0; ctx.Err() == nil; n += records {
				if err := transaction(ctx, client, l, shared, n, records); err != nil {
					fail(err) // or ctx is over
					return
				}
				committed.Add(1)
			}
		})
	}
	return s.counted(ctx, committed.Load)
}

// transaction produces records, from number first on, and commits.
func transaction(ctx context.Context, client *kgo.Client, l *load, values [][]byte, first, records int) error {
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	failures := make(chan error, 1)
	for i := first; i < first+records; i++ {
		record := &kgo.Record{Value: values[i%len(values)], Partition: int32(i % l.Partitions)}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failures <- err:
				default:
				}
			}
		})
	}
	err := client.Flush(ctx)
	select {
	case failed := <-failures:
		err = errors.Join(err, failed)
	default:
	}
	if err != nil {
		return fmt.Errorf("produce in a transaction: %w", err)
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("commit a transaction: %w", err)
	}
	return nil
}
