package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// kafkaCommand runs Apache Kafka as `compare` does, on an empty directory, until it
// is interrupted: an oracle for the conformance tests.
func kafkaCommand(ctx context.Context, args []string) error {
	set := newFlags("kafka")
	f := rivalFlags{}
	address := set.String("listen", "127.0.0.1:9092", "host:port; the host must be 127.0.0.1")
	set.StringVar(&f.kafkaLibs, "kafka-libs", ".cache/kafka/libs", "directory with Apache Kafka's jars")
	set.StringVar(&f.java, "java", "java", "the Java 17 program")
	set.Parse(args)
	host, text, err := net.SplitHostPort(*address)
	if err != nil || host != "127.0.0.1" {
		return errors.New("kafka listens on 127.0.0.1:PORT only")
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-bench-kafka-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	row := f.kafkaRow("kafka", "", "")
	if err := row.prepare(dir, port); err != nil {
		return err
	}
	p, err := row.launch(dir, port)
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := dial(ctx, *address, p.Ended()); err != nil {
		return fmt.Errorf("%w\n%s", err, p.Tail(30))
	}
	fmt.Fprintf(os.Stderr, "listening on %s\n", *address)
	select {
	case <-ctx.Done():
		return p.Stop(20 * time.Second)
	case <-p.Ended():
		return fmt.Errorf("kafka ended: %w\n%s", p.Wait(), p.Tail(30))
	}
}
