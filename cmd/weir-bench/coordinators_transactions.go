package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/record"
)

const (
	// transactionPartitions are those of the topic that transactions write to.
	transactionPartitions = 12
	// transactionRetry is how long a producer waits when it is told that its previous transaction is not complete yet. Real clients
	// wait for longer, which would measure them.
	transactionRetry = 5 * time.Millisecond
)

func (c *coordinators) transactionRow(records int) coordinatorRow {
	rate, cpu := fmt.Sprintf("transactions_%d", records), fmt.Sprintf("transactions_%d_cpu", records)
	title := fmt.Sprintf("%d producers, transactions of %d records of %d bytes over %d partitions: ", c.producers, records, c.recordBytes, transactionPartitions)
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

// transactions lets producers commit transactions, each of them one after another.
func (s *coordinatorSession) transactions(ctx context.Context, records int) (rate, cpu float64, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l := &load{Brokers: s.brokers, Partitions: transactionPartitions}
	if err := newTopic(ctx, l); err != nil {
		return 0, 0, err
	}
	if err := awaitLeaders(ctx, l); err != nil {
		return 0, 0, err
	}
	pipes, err := newPipes(s.brokers, s.producers)
	if err != nil {
		return 0, 0, err
	}
	var committed atomic.Int64
	var running sync.WaitGroup
	defer running.Wait()
	defer closePipes(pipes)
	defer fail(nil)
	shared := values(s.recordBytes)
	for i, p := range pipes {
		t := &transactor{pipe: p, id: fmt.Sprintf("%s-%d", l.Topic, i), topic: l.Topic, values: shared}
		if err := t.begin(ctx); err != nil {
			return 0, 0, err
		}
		running.Go(func() {
			for first := 0; ctx.Err() == nil; first += records {
				if err := t.commit(ctx, first, records); err != nil {
					fail(err) // or ctx is over
					return
				}
				committed.Add(1)
			}
		})
	}
	return s.counted(ctx, committed.Load)
}

// transactor is a transactional producer of the second generation (KIP-890): it adds partitions by writing to them, and each
// transaction has an epoch of its own.
type transactor struct {
	pipe       *pipe
	id, topic  string
	producerID int64
	epoch      int16
	values     [][]byte
}

// begin takes the transactional id.
func (t *transactor) begin(ctx context.Context) error {
	find := kmsg.NewPtrFindCoordinatorRequest() // makes the internal topic
	find.Version, find.CoordinatorType, find.CoordinatorKeys = 4, 1, []string{t.id}
	if _, err := t.pipe.call(find); err != nil {
		return err
	}
	r := kmsg.NewPtrInitProducerIDRequest()
	r.Version, r.TransactionalID, r.TransactionTimeoutMillis = 5, &t.id, 60_000
	return t.again(ctx, "take a transactional id", func() (int16, error) {
		response, err := t.pipe.call(r)
		if err != nil {
			return 0, err
		}
		answer := response.(*kmsg.InitProducerIDResponse)
		t.producerID, t.epoch = answer.ProducerID, answer.ProducerEpoch
		return answer.ErrorCode, nil
	})
}

// commit writes a transaction, from record number first on, and commits it.
func (t *transactor) commit(ctx context.Context, first, records int) error {
	r := t.produceRequest(first, records)
	err := t.again(ctx, "write in a transaction", func() (int16, error) {
		response, err := t.pipe.call(r)
		if err != nil {
			return 0, err
		}
		return t.keepRefused(r, response.(*kmsg.ProduceResponse)), nil
	})
	if err != nil {
		return err
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.Version, end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = 5, t.id, t.producerID, t.epoch, true
	return t.again(ctx, "commit a transaction", func() (int16, error) {
		response, err := t.pipe.call(end)
		if err != nil {
			return 0, err
		}
		answer := response.(*kmsg.EndTxnResponse)
		if answer.ErrorCode == 0 {
			t.producerID, t.epoch = answer.ProducerID, answer.ProducerEpoch
		}
		return answer.ErrorCode, nil
	})
}

// again calls what answers with an error code until that is none, as long as it is one that may pass.
func (t *transactor) again(ctx context.Context, what string, call func() (int16, error)) error {
	for {
		code, err := call()
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if err == nil {
			return nil
		}
		if !kerr.IsRetriable(err) && !errors.Is(err, kerr.ConcurrentTransactions) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := sleep(ctx, transactionRetry); err != nil {
			return err
		}
	}
}

// produceRequest has a batch for each partition; the records go to all of them in turn.
func (t *transactor) produceRequest(first, records int) *kmsg.ProduceRequest {
	now := time.Now().UnixMilli()
	var batches [transactionPartitions][]record.Record
	for i := first; i < first+records; i++ {
		at := i % transactionPartitions
		batches[at] = append(batches[at], record.Record{Timestamp: now, Value: t.values[i%len(t.values)]})
	}
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.TransactionID, r.Acks, r.TimeoutMillis = 12, &t.id, -1, int32(replayTimeout.Milliseconds())
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = t.topic
	for i, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		builder := record.Builder{ProducerID: t.producerID, ProducerEpoch: t.epoch, Transactional: true}
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), builder.AppendBatch(nil, batch)
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	return r
}

// keepRefused leaves in the request what was refused, and returns an error code of that.
func (t *transactor) keepRefused(r *kmsg.ProduceRequest, response *kmsg.ProduceResponse) (code int16) {
	refused := map[int32]bool{}
	for _, p := range response.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			code, refused[p.Partition] = p.ErrorCode, true
		}
	}
	all := r.Topics[0].Partitions
	r.Topics[0].Partitions = nil
	for _, p := range all {
		if refused[p.Partition] {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
		}
	}
	return code
}
