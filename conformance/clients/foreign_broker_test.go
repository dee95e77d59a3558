package clients

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/kafkabin"
	"weir/internal/process"
	"weir/internal/weirbin"
)

var onKafkaFlag = flag.String("on-kafka", "", "directory with Apache Kafka's jars: foreign scenarios run on Apache Kafka instead of weir")

const brokerStartLimit = 2 * time.Minute

// foreignBroker is the broker under a program of scenarios, which may have it killed or restarted: weir or Apache Kafka.
type foreignBroker struct {
	address string
	control string // URL: POST /kill and /restart end the broker and start it again before they answer; empty if it is not ours
	start   func() (*process.Process, error)

	mu      sync.Mutex
	process *process.Process
}

// newForeignBroker starts Apache Kafka or weir, or takes the endpoint that the flags name.
func newForeignBroker(t *testing.T) *foreignBroker {
	if *brokersFlag != "" {
		return &foreignBroker{address: *brokersFlag}
	}
	port, err := process.FreePort()
	require.NoError(t, err)
	f := &foreignBroker{}
	if *onKafkaFlag == "" {
		options := weirbin.Options{Path: weirProgram(t), Dir: t.TempDir(), Config: foreignConfig, Port: port}
		f.start = func() (*process.Process, error) {
			broker, err := weirbin.Start(options)
			if err != nil {
				return nil, err
			}
			return broker.Process, nil
		}
	} else {
		options := kafkabin.Options{Java: *javaFlag, Libs: *onKafkaFlag, Dir: t.TempDir(), Port: port}
		for key, value := range foreignConfig {
			options.Extra += key + "=" + value + "\n"
		}
		require.NoError(t, kafkabin.Prepare(options))
		f.start = func() (*process.Process, error) { return kafkabin.Launch(options) }
	}
	f.address = fmt.Sprintf("127.0.0.1:%d", port)
	require.NoError(t, f.begin())
	t.Cleanup(func() {
		f.process.Kill()
		if t.Failed() {
			t.Logf("the broker printed last:\n%s", f.process.Tail(40))
		}
	})
	server := httptest.NewServer(http.HandlerFunc(f.serveControl))
	t.Cleanup(server.Close)
	f.control = server.URL
	return f
}

// begin starts the broker and waits until it answers.
func (f *foreignBroker) begin() error {
	var err error
	if f.process, err = f.start(); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(f.address), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), brokerStartLimit)
	defer cancel()
	for {
		err := client.Ping(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-f.process.Ended():
			return err
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond): // a dial to a closed port fails at once
		}
	}
}

func (f *foreignBroker) serveControl(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/kill"):
		f.process.Kill()
	case strings.HasSuffix(r.URL.Path, "/restart"):
		if err := f.process.Stop(time.Minute); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	default:
		http.NotFound(w, r)
		return
	}
	if err := f.begin(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
