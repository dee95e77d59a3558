package clients

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/kafkabin"
	"weir/internal/process"
	"weir/internal/weirbin"
)

var (
	onKafkaFlag = flag.String("on-kafka", "", "directory with Apache Kafka's jars: foreign scenarios run on Apache Kafka instead of weir")
	clusterFlag = flag.Int("cluster", 1, "brokers of weir's cluster under the foreign scenarios; programs know the address of one, drawn for each")
)

const brokerStartLimit = 2 * time.Minute

// foreignBroker is the broker under a program of scenarios, or a cluster of several, which it may have killed or restarted: weir or
// Apache Kafka.
type foreignBroker struct {
	address string // the one that the program knows
	control string // URL: POST /kill and /restart end brokers and start them again before they answer; empty if they are not ours
	all     []*killable

	mu   sync.Mutex
	next int // the broker that the next kill is for
}

// killable is one broker.
type killable struct {
	address string
	start   func() (*process.Process, error)
	process *process.Process
}

// newForeignBroker starts Apache Kafka or weir, or takes the endpoint that the flags name.
func newForeignBroker(t *testing.T) *foreignBroker {
	if *brokersFlag != "" {
		return &foreignBroker{address: *brokersFlag}
	}
	f := &foreignBroker{}
	switch {
	case *onKafkaFlag != "":
		f.all = []*killable{kafkaBroker(t)}
	case *clusterFlag > 1:
		f.all = clusterBrokers(t, *clusterFlag)
	default:
		f.all = []*killable{weirBroker(t)}
	}
	t.Cleanup(func() {
		for _, b := range f.all {
			b.end(t)
		}
	})
	for _, b := range f.all {
		require.NoError(t, b.launch())
	}
	for _, b := range f.all {
		require.NoError(t, b.await(len(f.all)))
	}
	known := rand.IntN(len(f.all))
	f.address = f.all[known].address
	t.Logf("the program knows broker %d of %d", known+1, len(f.all))
	server := httptest.NewServer(http.HandlerFunc(f.serveControl))
	t.Cleanup(server.Close)
	f.control = server.URL
	return f
}

func weirBroker(t *testing.T) *killable {
	port := freePort(t)
	options := weirbin.Options{Path: weirProgram(t), Dir: t.TempDir(), Config: foreignConfig, Port: port}
	return &killable{address: fmt.Sprintf("127.0.0.1:%d", port), start: func() (*process.Process, error) {
		return processOf(weirbin.Launch(options))
	}}
}

func clusterBrokers(t *testing.T, n int) (all []*killable) {
	cluster, err := weirbin.NewCluster(weirProgram(t), t.TempDir(), n, foreignConfig)
	require.NoError(t, err)
	for i := range n {
		all = append(all, &killable{address: cluster.Address(i), start: func() (*process.Process, error) { return processOf(cluster.Launch(i)) }})
	}
	return all
}

func processOf(b *weirbin.Broker, err error) (*process.Process, error) {
	if err != nil {
		return nil, err
	}
	return b.Process, nil
}

func kafkaBroker(t *testing.T) *killable {
	port := freePort(t)
	options := kafkabin.Options{Java: *javaFlag, Libs: *onKafkaFlag, Dir: t.TempDir(), Port: port}
	for key, value := range foreignConfig {
		options.Extra += key + "=" + value + "\n"
	}
	require.NoError(t, kafkabin.Prepare(options))
	return &killable{address: fmt.Sprintf("127.0.0.1:%d", port), start: func() (*process.Process, error) { return kafkabin.Launch(options) }}
}

func freePort(t *testing.T) int {
	port, err := process.FreePort()
	require.NoError(t, err)
	return port
}

func (b *killable) launch() (err error) {
	b.process, err = b.start()
	return err
}

// await waits until the broker says that there are as many as there should be.
func (b *killable) await(brokers int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.RequestRetries(0), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), brokerStartLimit)
	defer cancel()
	for {
		known, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client.SeedBrokers()[0])
		if err == nil && len(known.Brokers) >= brokers {
			return nil
		}
		select {
		case <-b.process.Ended():
			return errors.Join(errors.New("the broker ended by itself"), err)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not know of %d brokers", b.address, brokers), err)
		case <-time.After(50 * time.Millisecond): // a dial to a closed port fails at once
		}
	}
}

func (b *killable) end(t *testing.T) {
	if b.process == nil {
		return
	}
	b.process.Kill()
	if t.Failed() {
		t.Logf("the broker at %s printed last:\n%s", b.address, b.process.Tail(40))
	}
}

// serveControl kills one broker, another each time, or restarts all, one after the other.
func (f *foreignBroker) serveControl(w http.ResponseWriter, r *http.Request) {
	var err error
	switch {
	case strings.HasSuffix(r.URL.Path, "/kill"):
		err = f.strike()
	case strings.HasSuffix(r.URL.Path, "/restart"):
		err = f.roll()
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// strike kills one broker, another each time, and starts it again.
func (f *foreignBroker) strike() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.all[f.next%len(f.all)]
	f.next++
	b.process.Kill()
	return f.begin(b)
}

func (f *foreignBroker) begin(b *killable) error {
	if err := b.launch(); err != nil {
		return err
	}
	return b.await(len(f.all))
}

func (f *foreignBroker) roll() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.all {
		if err := b.process.Stop(time.Minute); err != nil {
			return err
		}
		if err := f.begin(b); err != nil {
			return err
		}
	}
	return nil
}
