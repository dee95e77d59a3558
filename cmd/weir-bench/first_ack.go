package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
)

const firstAckLimit = 2 * time.Minute

func firstAckCommand(ctx context.Context, args []string) error {
	set := newFlags("first-ack")
	brokers := set.String("brokers", "127.0.0.1:9092", "where the program will listen, host:port")
	set.Parse(args)
	if set.NArg() == 0 {
		return errors.New("first-ack needs a program: weir-bench first-ack -- bin/weir server")
	}
	begin := time.Now()
	p, err := process.Start(process.Options{Path: set.Arg(0), Args: set.Args()[1:], Echo: os.Stderr})
	if err != nil {
		return err
	}
	defer p.Kill()
	took, err := firstAck(ctx, *brokers, begin, p.Ended())
	if err != nil {
		return err
	}
	fmt.Printf("first acknowledgement after %v\n", took.Round(time.Millisecond))
	return p.Stop(time.Minute)
}

// firstAck makes a topic and writes one record to it, as soon as the endpoint lets
// it, and returns the time since begin. It gives up once ended is closed.
func firstAck(ctx context.Context, brokers string, begin time.Time, ended <-chan struct{}) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, firstAckLimit)
	defer cancel()
	first, _, _ := strings.Cut(brokers, ",")
	if err := dial(ctx, first, ended); err != nil {
		return 0, err
	}
	l := load{Brokers: brokers, Partitions: 1, Clients: 1, RecordBytes: 1024, BatchBytes: 16 << 10}
	for {
		err := newTopic(ctx, &l)
		if err == nil {
			break
		}
		if err := pause(ctx, ended, err); err != nil {
			return 0, err
		}
	}
	client, err := kgo.NewClient(append(l.producerOptions(&batches{}), kgo.RetryBackoffFn(func(int) time.Duration { return 2 * time.Millisecond }))...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := client.ProduceSync(ctx, &kgo.Record{Value: values(l.RecordBytes)[0]}).FirstErr(); err != nil {
		return 0, fmt.Errorf("the first record: %w", err)
	}
	return time.Since(begin), nil
}

// dial returns once the endpoint accepts connections.
func dial(ctx context.Context, address string, ended <-chan struct{}) error {
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if err := pause(ctx, ended, err); err != nil {
			return err
		}
	}
}

// pause waits for 2 ms before another try, or says why there should be none.
func pause(ctx context.Context, ended <-chan struct{}, why error) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("no answer in time: %w", why)
	case <-ended:
		return fmt.Errorf("the broker ended: %w", why)
	case <-time.After(2 * time.Millisecond):
		return nil
	}
}
