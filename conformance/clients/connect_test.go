package clients

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/internal/process"
)

var connectLibsFlag = flag.String("connect-libs", "", "directory with the jars of a Kafka Connect worker; empty leaves it out")

const (
	connectRecords = 500 // read by the sink in each part of the test
	connectLimit   = 2 * time.Minute
)

// A standalone worker of Kafka Connect carries all that the verifiable source makes to the verifiable sink, once at least, though
// the broker and the worker are killed meanwhile.
func TestConnect(t *testing.T) {
	if *connectLibsFlag == "" {
		t.Skip("no -connect-libs given")
	}
	w := newConnectWorker(t)
	w.start()
	w.awaitSink(connectRecords)
	answer, err := http.Post(w.broker.control+"/kill", "", nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	w.awaitSink(2 * connectRecords)
	w.process.Kill()
	<-w.process.Ended()
	w.start()
	w.awaitSink(3 * connectRecords)
	w.process.Kill()
	<-w.process.Ended()
	w.output.requireNoGap(t, 3*connectRecords)
}

// connectWorker is a worker with both connectors; its offsets file outlives its processes.
type connectWorker struct {
	t       *testing.T
	dir     string
	broker  *foreignBroker
	process *process.Process
	output  *sinkOutput
}

func newConnectWorker(t *testing.T) *connectWorker {
	w := &connectWorker{t: t, dir: t.TempDir(), broker: newForeignBroker(t), output: &sinkOutput{read: map[int64]bool{}}}
	w.properties("worker", map[string]string{
		"bootstrap.servers": w.broker.address, "listeners": "http://127.0.0.1:0", "offset.storage.file.filename": filepath.Join(w.dir, "offsets"),
		"offset.flush.interval.ms": "500", "key.converter": "org.apache.kafka.connect.json.JsonConverter",
		"value.converter": "org.apache.kafka.connect.json.JsonConverter", "consumer.session.timeout.ms": "6000", "consumer.heartbeat.interval.ms": "1000",
		"consumer.auto.offset.reset": "earliest",
	})
	w.properties("source", map[string]string{
		"name": "source", "connector.class": "org.apache.kafka.connect.tools.VerifiableSourceConnector", "tasks.max": "1", "topic": "verified", "throughput": "200",
	})
	w.properties("sink", map[string]string{
		"name": "sink", "connector.class": "org.apache.kafka.connect.tools.VerifiableSinkConnector", "tasks.max": "1", "topics": "verified",
	})
	return w
}

func (w *connectWorker) file(name string) string { return filepath.Join(w.dir, name+".properties") }

func (w *connectWorker) properties(name string, keys map[string]string) {
	var lines []string
	for key, value := range keys {
		lines = append(lines, key+"="+value+"\n")
	}
	slices.Sort(lines)
	require.NoError(w.t, os.WriteFile(w.file(name), []byte(strings.Join(lines, "")), 0o600))
}

func (w *connectWorker) start() {
	libs, err := filepath.Abs(*connectLibsFlag)
	require.NoError(w.t, err)
	w.process, err = process.Start(process.Options{
		Name: "connect", Path: *javaFlag, Dir: w.dir, Echo: w.output,
		Args: []string{
			"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(libs, "*"),
			"org.apache.kafka.connect.cli.ConnectStandalone", w.file("worker"), w.file("source"), w.file("sink"),
		},
	})
	require.NoError(w.t, err)
	w.t.Cleanup(w.process.Kill)
}

// awaitSink waits until the sink has read a number and all below it.
func (w *connectWorker) awaitSink(number int64) {
	_, err := w.process.WaitLine(func(line string) bool {
		at, ok := sinkNumber([]byte(line))
		return ok && at >= number
	}, connectLimit)
	require.NoError(w.t, err, "the worker printed last:\n%s", w.process.Tail(30))
}

// sinkOutput collects the numbers that the sink prints.
type sinkOutput struct {
	partial []byte
	read    map[int64]bool
}

func (o *sinkOutput) Write(p []byte) (int, error) {
	o.partial = append(o.partial, p...)
	for {
		line, rest, ok := bytes.Cut(o.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if number, ok := sinkNumber(line); ok {
			o.read[number] = true
		}
		o.partial = rest
	}
}

// sinkNumber reads a line of the sink about a record, of which those of the source are copies.
func sinkNumber(line []byte) (int64, bool) {
	var record struct {
		SinkTask *int   `json:"sinkTask"`
		Number   *int64 `json:"seqno"`
	}
	if json.Unmarshal(line, &record) != nil || record.SinkTask == nil || record.Number == nil {
		return 0, false
	}
	return *record.Number, true
}

func (o *sinkOutput) requireNoGap(t *testing.T, below int64) {
	var missing []string
	for i := range below {
		if !o.read[i] {
			missing = append(missing, fmt.Sprint(i))
		}
	}
	require.Empty(t, missing, "the sink has not read them")
}
