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
	mutex               sync.Mutex
	left                []int32 // partitions that have not acknowledged anything since the kill
	fenced, first, last time.Time
	// What only the dead broker's log had: the first record of each partition, and the last, which a consumer lacks that had read all others.
	oldest, newest awaited
}

// awaited are records that are read once somebody has them.
type awaited struct {
	at          map[int32]int64 // offsets of those that nobody has yet, by partition
	first, last time.Time
}

// measure kills the victim and watches who takes over.
func (f *failover) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, failoverLimit, fmt.Errorf("no failover within %v", failoverLimit))
	defer cancel()
	t := &takeover{}
	for i := range f.load.Partitions {
		t.left = append(t.left, int32(i))
	}
	var err error
	if t.oldest.at, t.newest.at, err = f.tails(f.brokers[f.victim]); err != nil {
		return err
	}
	killed := time.Now()
	f.brokers[f.victim].Kill()
	var group sync.WaitGroup
	failures := make(chan error, 3*failoverBrokers)
	for i, b := range f.brokers {
		if i == f.victim {
			continue
		}
		for _, watch := range []func(context.Context, *failoverBroker) error{t.awaitFence, t.awaitAcknowledgements, t.awaitOldest, t.awaitNewest} {
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
	fmt.Printf("detection: fenced %v after the kill\nfailover, from the fence: first acknowledgement %v, of the last partition %v\n",
		after(killed, t.fenced), after(t.fenced, t.first), after(t.fenced, t.last))
	fmt.Printf("reads of what only the dead log has, from the fence: the oldest record of some partition %v, of each %v; the newest of some %v, of each %v\n",
		after(t.fenced, t.oldest.first), after(t.fenced, t.oldest.last), after(t.fenced, t.newest.first), after(t.fenced, t.newest.last))
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

// tails are the first and the last offset of each partition that has records.
func (f *failover) tails(b *failoverBroker) (oldest, newest map[int32]int64, err error) {
	p, err := newPipe(b.address)
	if err != nil {
		return nil, nil, err
	}
	defer p.close()
	const latest = -1
	r, topic := kmsg.NewPtrListOffsetsRequest(), kmsg.NewListOffsetsRequestTopic()
	r.Version, r.ReplicaID, topic.Topic = 5, -1, failoverTopic
	for i := range f.load.Partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(i), latest
		topic.Partitions = append(topic.Partitions, p)
	}
	r.Topics = append(r.Topics, topic)
	response, err := p.call(r)
	if err != nil {
		return nil, nil, err
	}
	oldest, newest = map[int32]int64{}, map[int32]int64{}
	for _, p := range response.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return nil, nil, err
		}
		if p.Offset > 0 {
			oldest[p.Partition], newest[p.Partition] = 0, p.Offset-1
		}
	}
	return oldest, newest, nil
}

func (t *takeover) awaitOldest(ctx context.Context, b *failoverBroker) error {
	return t.await(ctx, b, &t.oldest)
}

func (t *takeover) awaitNewest(ctx context.Context, b *failoverBroker) error {
	return t.await(ctx, b, &t.newest)
}

// await reads what only the dead broker's log had, until some broker has had each of the records.
func (t *takeover) await(ctx context.Context, b *failoverBroker, a *awaited) error {
	p, err := newPipe(b.address)
	if err != nil {
		return err
	}
	defer p.close()
	for ctx.Err() == nil {
		t.mutex.Lock()
		r := a.fetch()
		t.mutex.Unlock()
		if r == nil {
			return nil
		}
		response, err := p.call(r)
		if err != nil {
			return err
		}
		t.mutex.Lock()
		err = a.fetched(response.(*kmsg.FetchResponse))
		t.mutex.Unlock()
		if err != nil {
			return err
		}
		time.Sleep(failoverPoll)
	}
	return context.Cause(ctx)
}

// fetch asks for some of the records that nobody had yet; nil: there are none.
func (a *awaited) fetch() *kmsg.FetchRequest {
	const together = 100 // larger answers would measure this program
	if len(a.at) == 0 {
		return nil
	}
	r, topic := kmsg.NewPtrFetchRequest(), kmsg.NewFetchRequestTopic()
	r.Version, r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 11, 0, 1, 64<<20
	topic.Topic = failoverTopic
	for i, offset := range a.at { // any order
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = i, offset, 64<<10
		if topic.Partitions = append(topic.Partitions, p); len(topic.Partitions) == together {
			break
		}
	}
	r.Topics = append(r.Topics, topic)
	return r
}

// fetched takes off the list what came.
func (a *awaited) fetched(r *kmsg.FetchResponse) error {
	if len(r.Topics) == 0 {
		return nil
	}
	for i := range r.Topics[0].Partitions {
		p := &r.Topics[0].Partitions[i]
		err := kerr.ErrorForCode(p.ErrorCode)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			return fmt.Errorf("a record of partition %d is lost: %w", p.Partition, err)
		}
		if err != nil || len(p.RecordBatches) == 0 {
			continue
		}
		if a.last = time.Now(); a.first.IsZero() {
			a.first = a.last
		}
		delete(a.at, p.Partition)
	}
	return nil
}
