package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/record"
)

// takeover is what is seen, from outside, of a failover: it asks each survivor again and again for what it is waiting for.
type takeover struct {
	mutex                    sync.Mutex
	left                     []int32 // partitions that have not acknowledged anything since the kill
	fenced, first, last, old time.Time
}

// measure kills the victim and watches who takes over.
func (f *failover) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, failoverLimit, fmt.Errorf("no failover within %v", failoverLimit))
	defer cancel()
	t := &takeover{}
	for i := range f.load.Partitions {
		t.left = append(t.left, int32(i))
	}
	killed := time.Now()
	f.brokers[f.victim].Kill()
	var group sync.WaitGroup
	failures := make(chan error, 3*failoverBrokers)
	for i, b := range f.brokers {
		if i == f.victim {
			continue
		}
		for _, watch := range []func(context.Context, *failoverBroker) error{t.awaitFence, t.awaitAcknowledgements, t.awaitOldRecord} {
			group.Go(func() {
				if err := watch(ctx, b); err != nil {
					failures <- err
					cancel()
				}
			})
		}
	}
	group.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	after := func(from, to time.Time) time.Duration { return to.Sub(from).Round(time.Millisecond) }
	fmt.Printf("detection: fenced %v after the kill\nfailover, from the fence: first acknowledgement %v, of the last partition %v, first old record read %v\n",
		after(killed, t.fenced), after(t.fenced, t.first), after(t.fenced, t.last), after(t.fenced, t.old))
	f.printTakeover()
	return nil
}

// printTakeover prints what the brokers say of it.
func (f *failover) printTakeover() {
	for i, b := range f.brokers {
		for line := range strings.SplitSeq(b.Tail(200), "\n") {
			if strings.Contains(line, "took over") || strings.Contains(line, "read a dead") {
				fmt.Printf("broker %d: %s\n", i+1, line)
			}
		}
	}
}

// awaitFence waits until a broker says that the victim is fenced and who recovers its log, or any does.
func (t *takeover) awaitFence(ctx context.Context, b *failoverBroker) error {
	for ctx.Err() == nil {
		_, err := b.WaitLine(func(line string) bool {
			return strings.Contains(line, "recovers the log of an ended epoch") || strings.Contains(line, "fenced a broker")
		}, 0)
		t.mutex.Lock()
		if err == nil && t.fenced.IsZero() {
			t.fenced = time.Now()
		}
		known := !t.fenced.IsZero()
		t.mutex.Unlock()
		if known {
			return nil
		}
		time.Sleep(failoverPoll)
	}
	return context.Cause(ctx)
}

// awaitAcknowledgements writes to the partitions at one broker until all are taken over.
func (t *takeover) awaitAcknowledgements(ctx context.Context, b *failoverBroker) error {
	p, err := newPipe(b.address)
	if err != nil {
		return err
	}
	defer p.close()
	batch := record.AppendBatch(nil, []record.Record{{Timestamp: time.Now().UnixMilli(), Value: []byte("after the failover")}})
	for ctx.Err() == nil {
		t.mutex.Lock()
		left := slices.Clone(t.left)
		t.mutex.Unlock()
		if len(left) == 0 {
			return nil
		}
		response, err := p.call(produceOf(left, batch))
		if err != nil {
			return err
		}
		t.acknowledged(response.(*kmsg.ProduceResponse))
		time.Sleep(failoverPoll)
	}
	return context.Cause(ctx)
}

func produceOf(partitions []int32, batch []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = 9, -1, 30_000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = failoverTopic
	for _, i := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = i, batch
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	return r
}

func (t *takeover) acknowledged(r *kmsg.ProduceResponse) {
	now := time.Now()
	taken := map[int32]bool{}
	for _, p := range r.Topics[0].Partitions {
		if p.ErrorCode == 0 {
			taken[p.Partition] = true
		}
	}
	if len(taken) == 0 {
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.first.IsZero() {
		t.first = now
	}
	t.last = now
	t.left = slices.DeleteFunc(t.left, func(i int32) bool { return taken[i] })
}

// awaitOldRecord reads what only the dead broker's log had, the first of a partition's, until any broker has it.
func (t *takeover) awaitOldRecord(ctx context.Context, b *failoverBroker) error {
	p, err := newPipe(b.address)
	if err != nil {
		return err
	}
	defer p.close()
	for ctx.Err() == nil {
		t.mutex.Lock()
		known := !t.old.IsZero()
		t.mutex.Unlock()
		if known {
			return nil
		}
		response, err := p.call(fetchOf(0))
		if err != nil {
			return err
		}
		if err := t.fetched(response.(*kmsg.FetchResponse)); err != nil {
			return err
		}
		time.Sleep(failoverPoll)
	}
	return context.Cause(ctx)
}

func fetchOf(partition int32) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 11, 100, 1, 1<<20
	topic, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = partition, 1<<20
	topic.Topic, topic.Partitions = failoverTopic, append(topic.Partitions, p)
	r.Topics = append(r.Topics, topic)
	return r
}

func (t *takeover) fetched(r *kmsg.FetchResponse) error {
	if len(r.Topics) == 0 || len(r.Topics[0].Partitions) == 0 {
		return nil
	}
	p := &r.Topics[0].Partitions[0]
	err := kerr.ErrorForCode(p.ErrorCode)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("the first record of partition 0 is lost: %w", err)
	}
	if err != nil || len(p.RecordBatches) == 0 {
		return nil
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.old.IsZero() {
		t.old = time.Now()
	}
	return nil
}
