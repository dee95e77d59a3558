package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weir/internal/process"
)

// broker is a running rival, in a directory of its own.
type broker struct {
	process *process.Process
	brokers string // host:port
	dir     string
}

// startBroker starts a rival on an empty directory under dir, and returns how long it took to its first acknowledgement. The caller
// removes it.
func startBroker(ctx context.Context, r *rival, dir string) (*broker, time.Duration, error) {
	dir, err := os.MkdirTemp(dir, "weir-bench-")
	if err != nil {
		return nil, 0, err
	}
	b := &broker{}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return nil, 0, err
	}
	took, err := b.start(ctx, r)
	if err != nil {
		b.remove()
		return nil, 0, err
	}
	return b, took, nil
}

func (b *broker) start(ctx context.Context, r *rival) (time.Duration, error) {
	port, err := process.FreePort()
	if err != nil {
		return 0, err
	}
	b.brokers = fmt.Sprintf("127.0.0.1:%d", port)
	if r.prepare != nil {
		if err := r.prepare(b.dir, port); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	if b.process, err = r.launch(b.dir, port); err != nil {
		return 0, err
	}
	took, err := firstAck(ctx, b.brokers, begin, b.process.Ended())
	if err != nil {
		return 0, b.explain(err)
	}
	return took, nil
}

// explain adds what the broker printed last.
func (b *broker) explain(err error) error {
	return fmt.Errorf("%w; it printed last:\n%s", err, b.process.Tail(30))
}

// remove kills the broker and deletes its directory.
func (b *broker) remove() {
	if b.process != nil {
		b.process.Kill()
	}
	os.RemoveAll(b.dir)
}

// cpuOf runs f and returns the CPU time that the broker used meanwhile, to 10 ms.
func (b *broker) cpuOf(f func() error) (time.Duration, error) {
	before, err := b.process.Usage()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := b.process.Usage()
	return after.CPU - before.CPU, err
}
