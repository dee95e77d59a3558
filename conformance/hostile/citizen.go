package hostile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Citizen is a well-behaved client: it produces one record after the other with
// acks=all, idempotent, and reads each back before the next.
type Citizen struct {
	address, topic string
	client         *kgo.Client
	cancel         context.CancelFunc
	done           chan struct{}

	mutex   sync.Mutex
	rounds  int
	slowest time.Duration
	failure error
	changed chan struct{} // closed and replaced after each round
}

// StartCitizen makes the topic and begins. Stop ends it.
func StartCitizen(address, topic string) (*Citizen, error) {
	if err := makeTopic(address, topic); err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Citizen{address: address, topic: topic, client: client, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go c.live(ctx)
	return c, nil
}

func makeTopic(address, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(context.Background(), 1, 1, nil, topic); err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return nil
}

func (c *Citizen) live(ctx context.Context) {
	defer close(c.done)
	next := int64(0)
	for ctx.Err() == nil {
		begin := time.Now()
		err := c.round(ctx, &next)
		if ctx.Err() != nil {
			return
		}
		c.note(time.Since(begin), err)
		if err != nil {
			return
		}
	}
}

// round produces a record and consumes up to it.
func (c *Citizen) round(ctx context.Context, next *int64) error {
	record := kgo.StringRecord(fmt.Sprintf("round %d", *next))
	if err := c.client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if record.Offset != *next {
		return fmt.Errorf("record %d is at offset %d", *next, record.Offset)
	}
	for *next <= record.Offset {
		fetches := c.client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		for _, got := range fetches.Records() {
			if want := fmt.Sprintf("round %d", *next); got.Offset != *next || string(got.Value) != want {
				return fmt.Errorf("offset %d has %q, want %q at %d", got.Offset, got.Value, want, *next)
			}
			*next++
		}
	}
	return nil
}

func (c *Citizen) note(took time.Duration, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.rounds, c.slowest, c.failure = c.rounds+1, max(c.slowest, took), err
	close(c.changed)
	c.changed = make(chan struct{})
}

// Lives waits until the citizen has finished n rounds more. It fails when a round
// does, or when they take longer than the limit.
func (c *Citizen) Lives(n int, limit time.Duration) error {
	timeout := time.After(limit)
	for from := -1; ; {
		c.mutex.Lock()
		rounds, failure, changed := c.rounds, c.failure, c.changed
		c.mutex.Unlock()
		if from < 0 {
			from = rounds
		}
		switch {
		case failure != nil:
			return failure
		case rounds >= from+n:
			return nil
		}
		select {
		case <-changed:
		case <-timeout:
			return fmt.Errorf("%d of %d rounds in %v", rounds-from, n, limit)
		}
	}
}

// Slowest is the longest that a round took so far.
func (c *Citizen) Slowest() time.Duration {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.slowest
}

// Stop ends the citizen.
func (c *Citizen) Stop() {
	c.cancel()
	<-c.done
	c.client.Close()
}
