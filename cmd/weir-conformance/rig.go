package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"weir/conformance/diff"
	"weir/core/config"
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
	brokers          int
	dir              string
	kafka            *process.Process
	subject          *weirbin.Broker
	members          []*weirbin.Broker // of a cluster
}

// both starts the reference and the subject of a comparison.
func (r *rig) both(o *diff.Options) (err error) {
	if r.libs != "" {
		if o.Reference, err = r.startKafka(nil); err != nil {
			return err
		}
	}
	if r.weir != "" {
		start := r.startWeir
		if r.brokers > 1 {
			start = r.startCluster
		}
		if o.Subject, err = start(nil); err != nil {
			return err
		}
	}
	if o.Reference == "" || o.Subject == "" {
		return errors.New("--reference (or --kafka-libs) and --subject (or --weir) are needed")
	}
	return nil
}

// directory makes a directory for a broker.
func (r *rig) directory(name string) (dir string, err error) {
	if r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "weir-conformance-"); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(r.dir, name)
}

func (r *rig) startWeir(settings map[string]string) (address string, err error) {
	dir, err := r.directory("weir-")
	if err != nil {
		return "", err
	}
	keys := known(settings)
	keys["node.id"], keys["weir.wal.bytes"] = "1", "268435456"
	r.subject, err = weirbin.Start(weirbin.Options{Path: r.weir, Dir: dir, Config: keys})
	if err != nil {
		return "", err
	}
	return r.subject.Address, nil
}

// startCluster starts brokers of one cluster, in which nothing moves by itself, and returns the address of the first.
func (r *rig) startCluster(settings map[string]string) (address string, err error) {
	dir, err := r.directory("weir-")
	if err != nil {
		return "", err
	}
	keys := known(settings)
	keys["auto.leader.rebalance.enable"] = "false"
	keys["broker.rack"], keys["broker.session.timeout.ms"] = "", "" // as a broker alone
	cluster, err := weirbin.NewCluster(r.weir, dir, r.brokers, keys)
	if err != nil {
		return "", err
	}
	for i := range r.brokers {
		b, err := cluster.Launch(i)
		if err != nil {
			return "", err
		}
		r.members = append(r.members, b)
	}
	for _, b := range r.members {
		if err := waitFor(b.Address, b.Process); err != nil {
			return "", err
		}
	}
	return cluster.Address(0), nil
}

// known are the settings that weir has.
func known(settings map[string]string) map[string]string {
	keys := map[string]string{}
	for key, value := range settings {
		if _, known := config.BrokerKey(key); known {
			keys[key] = value
		}
	}
	return keys
}

func (r *rig) startKafka(settings map[string]string) (address string, err error) {
	dir, err := r.directory("kafka-")
	if err != nil {
		return "", err
	}
	port, err := process.FreePort()
	if err != nil {
		return "", err
	}
	o := kafkabin.Options{Java: r.java, Libs: r.libs, Dir: dir, Port: port}
	for _, key := range sortedKeys(settings) {
		o.Extra += key + "=" + settings[key] + "\n"
	}
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
			return fmt.Errorf("the broker ended: %w\n%s", p.Wait(), p.Tail(30))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("no broker listens on %s\n%s", address, p.Tail(30))
}

func (r *rig) stop() {
	if r.subject != nil {
		r.subject.Stop(stopGrace)
	}
	for _, b := range r.members {
		b.Kill() // one after the other could wait for those that are gone
	}
	if r.kafka != nil {
		r.kafka.Stop(stopGrace)
	}
	if r.dir != "" {
		os.RemoveAll(r.dir)
	}
}
