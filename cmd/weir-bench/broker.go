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
	rival   *rival
	port    int
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
	b := &broker{rival: r}
	if b.dir, err = filepath.Abs(dir); err != nil {
		return nil, 0, err
	}
	took, err := b.prepareAndStart(ctx)
	if err != nil {
		b.remove()
		return nil, 0, err
	}
	return b, took, nil
}

func (b *broker) prepareAndStart(ctx context.Context) (_ time.Duration, err error) {
	if b.port, err = process.FreePort(); err != nil {
		return 0, err
	}
	b.brokers = fmt.Sprintf("127.0.0.1:%d", b.port)
	if b.rival.prepare != nil {
		if err := b.rival.prepare(b.dir, b.port); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	if err := b.launch(); err != nil {
		return 0, err
	}
	took, err := firstAck(ctx, b.brokers, begin, b.process.Ended())
	if err != nil {
		return 0, b.explain(err)
	}
	return took, nil
}

func (b *broker) launch() (err error) {
	b.process, err = b.rival.launch(b.dir, b.port)
	return err
}

// restart kills the broker, starts it again on what it has kept, and returns once it takes connections.
func (b *broker) restart(ctx context.Context) error {
	b.process.Kill()
	<-b.process.Ended()
	if err := b.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, firstAckLimit)
	defer cancel()
	return dial(ctx, b.brokers, b.process.Ended())
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
func (b *broker) cpuOf(f func() error) (time.Duration, error) { return cpuOf(b.process, f) }

// cpuOf runs f and returns the CPU time that a process used meanwhile, to 10 ms.
func cpuOf(p *process.Process, f func() error) (time.Duration, error) {
	before, err := p.Usage()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := p.Usage()
	return after.CPU - before.CPU, err
}
