package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"weir/conformance/diff"
	"weir/internal/kafkabin"
	"weir/internal/process"
	"weir/internal/weirbin"
)

const (
	kafkaStart = 90 * time.Second
	stopGrace  = 20 * time.Second
)

// rig is the brokers that the command itself starts, on free ports of loopback with data in a directory of its own.
type rig struct {
	libs, java, weir string
	dir              string
	kafka            *process.Process
	subject          *weirbin.Broker
}

func (r *rig) start(o *diff.Options) error {
	dir, err := os.MkdirTemp("", "weir-conformance-")
	if err != nil {
		return err
	}
	r.dir = dir
	if r.libs != "" {
		if o.Reference, err = r.startKafka(); err != nil {
			return err
		}
	}
	if r.weir != "" {
		dir, err := os.MkdirTemp(r.dir, "weir-")
		if err != nil {
			return err
		}
		if r.subject, err = weirbin.Start(weirbin.Options{Path: r.weir, Dir: dir, Config: map[string]string{"node.id": "1", "weir.wal.bytes": "268435456"}}); err != nil {
			return err
		}
		o.Subject = r.subject.Address
	}
	if o.Reference == "" || o.Subject == "" {
		return fmt.Errorf("--reference (or --kafka-libs) and --subject (or --weir) are needed")
	}
	return nil
}

func (r *rig) startKafka() (address string, err error) {
	dir, err := os.MkdirTemp(r.dir, "kafka-")
	if err != nil {
		return "", err
	}
	port, err := process.FreePort()
	if err != nil {
		return "", err
	}
	o := kafkabin.Options{Java: r.java, Libs: r.libs, Dir: dir, Port: port}
	if err := kafkabin.Prepare(o); err != nil {
		return "", err
	}
	if r.kafka, err = kafkabin.Launch(o); err != nil {
		return "", err
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	return address, waitFor(address, r.kafka)
}

// waitFor connects until the broker listens.
func waitFor(address string, p *process.Process) error {
	dialer := &net.Dialer{Timeout: time.Second}
	for deadline := time.Now().Add(kafkaStart); time.Now().Before(deadline); {
		conn, err := dialer.DialContext(context.Background(), "tcp", address)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-p.Ended():
			return fmt.Errorf("kafka ended: %w\n%s", p.Wait(), p.Tail(30))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("kafka does not listen on %s\n%s", address, p.Tail(30))
}

func (r *rig) stop() {
	if r.subject != nil {
		r.subject.Stop(stopGrace)
	}
	if r.kafka != nil {
		r.kafka.Stop(stopGrace)
	}
	if r.dir != "" {
		os.RemoveAll(r.dir)
	}
}
