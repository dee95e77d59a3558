package clients

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/internal/versitygw"
	"weir/internal/weirbin"
)

var (
	recordsFlag   = flag.Int("records", 20_000, "records of each client in each codec")
	versitygwFlag = flag.String("versitygw", "", "the versitygw program; empty leaves that object store out")
	brokersFlag   = flag.String("brokers", "", "host:port of any Kafka endpoint to judge, too")
	weirFlag      = flag.String("weir", "", "the weir program; empty builds it")
)

const (
	bucket     = "weir-conformance"
	accessKey  = "conformance"
	secretKey  = "conformance-secret"
	partitions = 4
)

// The suite itself is right: an independent broker passes.
func TestFakeKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	e := Address(cluster.ListenAddrs()[0])
	carryAll(t, e, min(*recordsFlag, 20_000))
	trapAll(t, e, kfakeDiffers)
}

// kfakeDiffers are traps in which kfake does not do as Kafka does.
var kfakeDiffers = map[string]string{
	"bad and colliding topic names are refused": "kfake makes a topic with an empty name",
}

// Any endpoint can be judged: -brokers host:port.
func TestGivenEndpoint(t *testing.T) {
	if *brokersFlag == "" {
		t.Skip("no -brokers given")
	}
	carryAll(t, Address(*brokersFlag), *recordsFlag)
	trapAll(t, Address(*brokersFlag), nil)
}

func TestWeirOnFiles(t *testing.T) { validateWeir(t, nil) }

func TestWeirOnGofakes3(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	validateWeir(t, weirbin.S3Config(server.URL, bucket))
}

func TestWeirOnVersitygw(t *testing.T) {
	if *versitygwFlag == "" {
		t.Skip("no -versitygw given; `make clients` installs it and gives it")
	}
	p, endpoint, err := versitygw.Start(versitygw.Options{Path: *versitygwFlag, Dir: t.TempDir(), Bucket: bucket, AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	validateWeir(t, weirbin.S3Config(endpoint, bucket))
}

// validateWeir runs everything on the real broker as `make run` starts it, but for its
// place, and reads all topics once more after a restart.
func validateWeir(t *testing.T, config map[string]string) {
	options := weirbin.Options{
		Path: weirProgram(t), Dir: t.TempDir(), Config: config,
		Env: weirbin.S3Env(accessKey, secretKey),
	}
	broker := startWeir(t, options)
	topics := carryAll(t, Address(broker.Address), *recordsFlag)
	trapAll(t, Address(broker.Address), nil)
	if err := broker.Stop(time.Minute); err != nil {
		t.Fatalf("stop: %v\n%s", err, broker.Tail(30))
	}
	again := startWeir(t, options)
	t.Run("after a restart", func(t *testing.T) {
		for topic, w := range topics {
			if err := Verify(t.Context(), Address(again.Address), topic, w, Franz{}); err != nil {
				t.Error(err)
			}
		}
	})
}

func startWeir(t *testing.T, options weirbin.Options) *weirbin.Broker {
	t.Helper()
	broker, err := weirbin.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		broker.Kill()
		if t.Failed() {
			t.Logf("the broker printed last:\n%s", broker.Tail(40))
		}
	})
	return broker
}

func weirProgram(t *testing.T) string {
	t.Helper()
	if *weirFlag != "" {
		return *weirFlag
	}
	path, err := weirbin.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// carryAll has each client write in each codec and all clients read it, and returns
// the topics.
func carryAll(t *testing.T, e Endpoint, records int) map[string]Workload {
	topics := map[string]Workload{}
	all := []Client{Franz{}, Kcat{}}
	var here []Client
	for _, client := range all {
		if client.Missing() == "" {
			here = append(here, client)
		}
	}
	for _, writer := range all {
		for i, codec := range Codecs {
			t.Run(writer.Name()+"/"+codec, func(t *testing.T) {
				if why := writer.Missing(); why != "" {
					t.Skip(why)
				}
				topic, w := "carry-"+writer.Name()+"-"+codec, Workload{Seed: uint64(i), Partitions: partitions, Records: records}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				if err := Carry(ctx, e, topic, codec, w, writer, here...); err != nil {
					t.Fatal(err)
				}
				topics[topic] = w
			})
		}
	}
	return topics
}

func trapAll(t *testing.T, e Endpoint, differs map[string]string) {
	for i, trap := range Traps() {
		t.Run("trap/"+trap.Name, func(t *testing.T) {
			if why := differs[trap.Name]; why != "" {
				t.Skip(why)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := Try(ctx, e, fmt.Sprintf("trap-%d", i), trap); err != nil {
				t.Error(err)
			}
		})
	}
}

// Clients' missing programs are found out before they are run.
func TestKcatIsMissingOrRuns(t *testing.T) {
	_, err := exec.LookPath("kcat")
	if missing := (Kcat{}).Missing(); (missing == "") != (err == nil) {
		t.Fatalf("missing %q, look-up %v", missing, err)
	}
}

func TestWorkloadsAreTheSameEachTimeAndSumUp(t *testing.T) {
	w := Workload{Seed: 3, Partitions: 4, Records: 10}
	sum := 0
	for p := range w.Partitions {
		sum += w.Count(p)
		for i := range w.Count(p) {
			value := w.Value([]byte("x"), p, i)
			if string(value) != string(w.Value([]byte("x"), p, i)) || len(value) < 101 || len(value) > 1025 || strings.Contains(string(value), "\n") {
				t.Fatalf("value %q", value)
			}
		}
	}
	if sum != w.Records {
		t.Fatalf("%d records, not %d", sum, w.Records)
	}
}
