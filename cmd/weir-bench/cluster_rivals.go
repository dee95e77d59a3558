package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/kafkabin"
	"weir/internal/process"
	"weir/internal/weirbin"
)

// clusterRivals say where the programs are, and how many brokers a cluster has.
type clusterRivals struct {
	weir, kafkaLibs, java, only string
	brokers                     int
}

// clusterRow is one way to run a cluster.
type clusterRow struct {
	// note says what an acknowledgement promises.
	name, note string
	// bytesMax bounds each produce load, where all is kept in memory; 0 is no bound.
	bytesMax int64
	make     func(dir string) (cluster, error)
}

// cluster is what a row starts. It does not end it.
type cluster interface {
	// Prepare does, in an empty directory, what is not part of a start. It may start a store, which is not one of the brokers.
	Prepare() (store *process.Process, err error)
	Launch(broker int) (*process.Process, error)
	// Addresses are those for clients; PeerPorts all ports at which brokers reach each other, and nobody else reaches them.
	Addresses() []string
	PeerPorts() []int
}

// rows lists the clusters that can run here, and why others cannot.
func (f *clusterRivals) rows() (all []*clusterRow, missing []string) {
	add := func(r *clusterRow, why string) {
		switch {
		case f.only != "" && !contains(f.only, r.name):
		case why != "":
			missing = append(missing, r.name+": "+why)
		default:
			all = append(all, r)
		}
	}
	weir := absent(f.weir, "build it with `make build`")
	add(&clusterRow{name: "weir-device", note: "synced, logs on a shared device", make: f.deviceCluster}, weir)
	add(&clusterRow{name: "weir-object", note: "in the object store (gofakes3, in memory)", bytesMax: fakeStoreBytesMax, make: f.objectCluster}, weir)
	kafka := "no -kafka-libs given; `make bench-kafka-cluster` fetches them"
	if f.kafkaLibs != "" {
		kafka = absent(f.kafkaLibs, "`make bench-kafka-cluster` fetches it")
	}
	add(&clusterRow{name: "kafka", note: "in the page caches of a replica on each, of which all but one are in sync", make: f.kafkaCluster}, kafka)
	return all, missing
}

// weirCluster is a cluster of weir, and the store that it needs beside files, if it does.
type weirCluster struct {
	*weirbin.Cluster
	store func() (*process.Process, error) // nil: files
}

func (c weirCluster) Prepare() (*process.Process, error) {
	if c.store == nil {
		return nil, nil
	}
	return c.store()
}

func (c weirCluster) Launch(broker int) (*process.Process, error) {
	b, err := c.Cluster.Launch(broker)
	if err != nil {
		return nil, err
	}
	return b.Process, nil
}

// uploading lets uploads run all through a load, as in the comparison of single brokers.
func uploading() map[string]string {
	return map[string]string{"weir.upload.interval.ms": "1000", "weir.upload.bytes": "67108864", "auto.leader.rebalance.enable": "false"}
}

func (f *clusterRivals) newWeir(dir string, config map[string]string) (*weirbin.Cluster, error) {
	path, err := filepath.Abs(f.weir)
	if err != nil {
		return nil, err
	}
	return weirbin.NewCluster(path, dir, f.brokers, config)
}

func (f *clusterRivals) deviceCluster(dir string) (cluster, error) {
	c, err := f.newWeir(dir, uploading())
	return weirCluster{Cluster: c}, err
}

func (f *clusterRivals) objectCluster(dir string) (cluster, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	config := uploading()
	config["weir.wal.kind"] = "object"
	for key, value := range weirbin.S3Config("http://"+address, fakeStoreBucket) {
		config[key] = value
	}
	c, err := f.newWeir(dir, config)
	if err != nil {
		return nil, err
	}
	c.Env = weirbin.S3Env("bench", "bench-secret")
	return weirCluster{c, func() (*process.Process, error) { return startFakeStore(address) }}, nil
}

// startFakeStore starts the store, and returns once it listens.
func startFakeStore(address string) (*process.Process, error) {
	p, err := own("s3", "-listen", address)
	if err != nil {
		return nil, err
	}
	if err := dial(context.Background(), address, p.Ended()); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// kafkaCluster is a cluster of Kafka, whose storage is formatted beforehand.
type kafkaCluster struct{ *kafkabin.Cluster }

func (c kafkaCluster) Prepare() (*process.Process, error) { return nil, c.Cluster.Prepare() }

func (f *clusterRivals) kafkaCluster(dir string) (cluster, error) {
	c, err := kafkabin.NewCluster(kafkabin.Options{Java: f.java, Libs: f.kafkaLibs, Dir: dir}, f.brokers)
	return kafkaCluster{c}, err
}

// runningCluster is a started cluster, in a directory of its own.
type runningCluster struct {
	cluster
	dir     string
	brokers []*process.Process
	store   *process.Process // nil: none
}

// startCluster starts a row on an empty directory under dir, and returns how long it took until all brokers knew of each other and one had
// acknowledged a record. The caller removes it.
func startCluster(ctx context.Context, row *clusterRow, dir string) (*runningCluster, time.Duration, error) {
	dir, err := os.MkdirTemp(dir, "weir-bench-")
	if err != nil {
		return nil, 0, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, 0, err
	}
	r := &runningCluster{dir: dir}
	took, err := r.start(ctx, row)
	if err != nil {
		r.remove()
		return nil, 0, err
	}
	return r, took, nil
}

func (r *runningCluster) start(ctx context.Context, row *clusterRow) (_ time.Duration, err error) {
	if r.cluster, err = row.make(r.dir); err != nil {
		return 0, err
	}
	if r.store, err = r.Prepare(); err != nil {
		return 0, err
	}
	begin := time.Now()
	for i := range r.Addresses() {
		p, err := r.Launch(i)
		if err != nil {
			return 0, err
		}
		r.brokers = append(r.brokers, p)
	}
	if err := r.awaitAll(ctx); err != nil {
		return 0, r.explain(err)
	}
	took, err := firstAck(ctx, r.addresses(), begin, r.brokers[0].Ended())
	if err != nil {
		return 0, r.explain(err)
	}
	return took, nil
}

// awaitAll waits until each broker knows of all.
func (r *runningCluster) awaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstAckLimit)
	defer cancel()
	for i, address := range r.Addresses() {
		if err := dial(ctx, address, r.brokers[i].Ended()); err != nil {
			return err
		}
		for {
			err := knowsAll(ctx, address, len(r.brokers))
			if err == nil {
				break
			}
			if err := pause(ctx, r.brokers[i].Ended(), err); err != nil {
				return err
			}
		}
	}
	return nil
}

func knowsAll(ctx context.Context, address string, brokers int) error {
	client, err := kgo.NewClient(seeds(address), kgo.ClientID("weir-bench"))
	if err != nil {
		return err
	}
	defer client.Close()
	known, err := kadm.NewClient(client).ListBrokers(ctx)
	if err == nil && len(known) < brokers {
		err = fmt.Errorf("%s knows of %d brokers", address, len(known))
	}
	return err
}

func (r *runningCluster) addresses() string { return strings.Join(r.Addresses(), ",") }

// explain adds what the brokers printed last.
func (r *runningCluster) explain(err error) error {
	for i, b := range r.brokers {
		err = fmt.Errorf("%w\nbroker %d printed last:\n%s", err, i+1, b.Tail(15))
	}
	return err
}

// remove kills the cluster and deletes its directory.
func (r *runningCluster) remove() {
	for _, b := range r.brokers {
		b.Kill()
	}
	if r.store != nil {
		r.store.Kill()
	}
	os.RemoveAll(r.dir)
}

// usage is the sum of what the brokers have used.
func (r *runningCluster) usage() (sum process.Usage, err error) {
	for _, b := range r.brokers {
		one, failed := b.Usage()
		err = errors.Join(err, failed)
		sum.CPU, sum.Resident, sum.ResidentMax = sum.CPU+one.CPU, sum.Resident+one.Resident, sum.ResidentMax+one.ResidentMax
	}
	return sum, err
}

// spending is what a cluster has used so far.
type spending struct {
	brokers, store time.Duration // CPU
	sent           socketBytes   // from broker to broker
}

func (r *runningCluster) spent(ctx context.Context) (s spending, err error) {
	used, err := r.usage()
	if err != nil {
		return s, err
	}
	s.brokers = used.CPU
	if r.store != nil {
		if used, err = r.store.Usage(); err != nil {
			return s, err
		}
		s.store = used.CPU
	}
	s.sent, err = sentAt(ctx, r.PeerPorts())
	return s, err
}
