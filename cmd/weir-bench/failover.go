package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/process"
	"weir/internal/weirbin"
)

const (
	failoverBrokers = 3
	failoverTopic   = "failover"
	failoverLimit   = 2 * time.Minute
	// failoverPoll is how soon a request that was not taken is sent again.
	failoverPoll = 2 * time.Millisecond
)

// failover measures how long partitions are without a leader: one of three brokers leads all of them, is killed with a log of a given
// size that nothing was uploaded of, and the others take over.
type failover struct {
	load load
	weir string
	dir  string
	kind string // of the log: device, a directory that all reach, or object

	brokers []*failoverBroker
	victim  int
}

// failoverBroker is one of the cluster's brokers.
type failoverBroker struct {
	*process.Process
	address, peer string
}

func failoverCommand(ctx context.Context, args []string) error {
	set := newFlags("failover")
	f := &failover{load: load{Topic: failoverTopic}}
	set.StringVar(&f.weir, "weir", "bin/weir", "the program")
	set.StringVar(&f.dir, "dir", "", "where the brokers keep their files; empty: a directory for temporary files")
	set.StringVar(&f.kind, "log", "device", "the kind of the write-ahead logs: device (a directory that all brokers reach) or object")
	set.IntVar(&f.load.Partitions, "partitions", 1000, "partitions that the killed broker leads")
	set.Int64Var(&f.load.Bytes, "bytes", 1<<30, "bytes of values in its log")
	set.IntVar(&f.load.RecordBytes, "record-bytes", 1024, "size of each record's value")
	set.IntVar(&f.load.BatchBytes, "batch-bytes", 16<<10, "largest batch")
	set.IntVar(&f.load.Clients, "clients", 2, "idempotent producers that write the log")
	rate := set.Float64("mb", 60, "MB (10^6 bytes) of values a second while the log is written: too many for the disk, and the broker uploads")
	set.Parse(args)
	f.load.Rate = *rate * 1e6
	if f.kind != "device" && f.kind != "object" {
		return fmt.Errorf("no log is called %q", f.kind)
	}
	frugal()
	dir, err := os.MkdirTemp(f.dir, "weir-failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if f.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	defer f.kill()
	if err := f.run(ctx); err != nil {
		return f.explain(err)
	}
	return nil
}

func (f *failover) kill() {
	for _, b := range f.brokers {
		b.Kill()
	}
}

// explain adds what the brokers printed last.
func (f *failover) explain(err error) error {
	for i, b := range f.brokers {
		err = fmt.Errorf("%w\nbroker %d printed last:\n%s", err, i+1, b.Tail(20))
	}
	return err
}

func (f *failover) run(ctx context.Context) error {
	if err := f.start(); err != nil {
		return err
	}
	if err := f.createTopic(ctx); err != nil {
		return err
	}
	f.load.Brokers = f.addresses()
	f.load.Limit = time.Duration(float64(f.load.Bytes) / f.load.Rate * float64(time.Second))
	outcome, err := atRate(ctx, &f.load)
	if err != nil {
		return err
	}
	if f.kind == "device" {
		uploaded, err := treeBytes(filepath.Join(f.dir, "objects"))
		if err != nil {
			return err
		}
		fmt.Printf("%d MB in the object store before the kill\n", uploaded/1e6)
	}
	fmt.Printf("%s log, %d partitions: %v\n", f.kind, f.load.Partitions, outcome)
	return f.measure(ctx)
}

// treeBytes is the size of the files below a directory.
func treeBytes(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// start starts the brokers. None of them uploads what the load is.
func (f *failover) start() error {
	var voters []string
	for i := range failoverBrokers {
		client, err := process.FreePort()
		if err != nil {
			return err
		}
		peer, err := process.FreePort()
		if err != nil {
			return err
		}
		b := &failoverBroker{address: fmt.Sprintf("127.0.0.1:%d", client), peer: fmt.Sprintf("127.0.0.1:%d", peer)}
		f.brokers = append(f.brokers, b)
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, b.peer))
	}
	path, err := filepath.Abs(f.weir)
	if err != nil {
		return err
	}
	started := f.brokers
	f.brokers = nil
	for i, b := range started {
		dir := filepath.Join(f.dir, fmt.Sprintf("broker-%d", i+1))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		_, port, err := net.SplitHostPort(b.address)
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		launched, err := weirbin.Launch(weirbin.Options{Path: path, Dir: dir, Port: number, Config: f.config(i, b, voters)})
		if err != nil {
			return err
		}
		b.Process = launched.Process
		f.brokers = append(f.brokers, b)
	}
	return nil
}

func (f *failover) config(i int, b *failoverBroker, voters []string) map[string]string {
	room := strconv.FormatInt(4*f.load.Bytes+256<<20, 10) // an upload begins at a third
	config := map[string]string{
		"node.id": strconv.Itoa(i + 1), "broker.rack": fmt.Sprintf("zone-%d", i+1),
		"listeners":                 fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s", b.address, b.peer),
		"controller.listener.names": "CONTROLLER", "controller.quorum.voters": strings.Join(voters, ","),
		"broker.session.timeout.ms": "2000", "auto.leader.rebalance.enable": "false",
		"weir.object.store":   "file:" + filepath.Join(f.dir, "objects"),
		"weir.wal.size.bytes": room, "weir.cache.bytes": room, "weir.upload.bytes": room, "weir.upload.interval.ms": "3600000",
	}
	kinds := map[string]map[string]string{
		"device": {"weir.wal.shared": "true", "weir.wal.path": filepath.Join(f.dir, "wal")},
		"object": {"weir.wal.kind": "object"},
	}
	maps.Copy(config, kinds[f.kind])
	return config
}

func (f *failover) addresses() string {
	var all []string
	for _, b := range f.brokers {
		all = append(all, b.address)
	}
	return strings.Join(all, ",")
}

// createTopic gives all partitions to a broker that does not lead the quorum: its end shall not cost an election.
func (f *failover) createTopic(ctx context.Context) error {
	client, err := kgo.NewClient(seeds(f.addresses()), kgo.ClientID("weir-bench"), kgo.RetryBackoffFn(func(int) time.Duration { return failoverPoll }))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, failoverLimit)
	defer cancel()
	for {
		err := f.tryCreate(ctx, client)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (f *failover) tryCreate(ctx context.Context, client *kgo.Client) error {
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if len(metadata.Brokers) < failoverBrokers {
		return fmt.Errorf("%d of %d brokers are there", len(metadata.Brokers), failoverBrokers)
	}
	leader, err := quorumLeader(ctx, client)
	if err != nil {
		return err
	}
	f.victim = int(leader % failoverBrokers) // the one after it, counted from 0
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = failoverTopic, -1, -1
	for i := range f.load.Partitions {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), []int32{int32(f.victim + 1)}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis, r.Topics = 30_000, append(r.Topics, topic)
	created, err := r.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(created.Topics[0].ErrorCode); !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	return nil
}

// quorumLeader is who leads the metadata's quorum, once one of the brokers may be missing.
func quorumLeader(ctx context.Context, client *kgo.Client) (int32, error) {
	r, topic, partition := kmsg.NewPtrDescribeQuorumRequest(), kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)
	quorum, err := r.RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(quorum.ErrorCode); err != nil {
		return 0, err
	}
	p := &quorum.Topics[0].Partitions[0]
	if len(p.CurrentVoters) < failoverBrokers {
		return 0, fmt.Errorf("%d of %d brokers vote", len(p.CurrentVoters), failoverBrokers)
	}
	return p.LeaderID, kerr.ErrorForCode(p.ErrorCode)
}
