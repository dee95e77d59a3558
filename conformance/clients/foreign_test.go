package clients

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/internal/process"
	"weir/internal/weirbin"
)

var (
	javaClientsFlag = flag.String("java-clients", "", "directory with the classes and libs of conformance/clients/java; empty leaves it out")
	pythonFlag      = flag.String("python", "", "a Python program with the packages of conformance/clients/python; empty leaves it out")
	nodeClientsFlag = flag.String("node-clients", "", "directory with conformance/clients/node and its packages; empty leaves it out")
	scenariosFlag   = flag.String("scenarios", "", "a regular expression that the names of foreign scenarios must match")
	wordsFlag       = flag.Int("words", 100_000, "words that the Streams application counts")
	killsFlag       = flag.Int("kills", 3, "kills of the broker under the Streams application, which is killed twice as often")
)

const wordCountLimit = 30 * time.Minute

// foreignConfig lets groups settle at once and keeps the internal topics small.
var foreignConfig = map[string]string{
	"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4",
}

// Kafka's own Java client finds in weir what it finds in Apache Kafka.
func TestJavaClients(t *testing.T) {
	runScenarios(t, *javaFlag, append(javaArgs(t), "weir.clients.Scenarios"))
}

// Both clients of Python, one of them librdkafka, find in weir what they find in Apache Kafka.
func TestPythonClients(t *testing.T) {
	if *pythonFlag == "" {
		t.Skip("no -python given")
	}
	program, err := filepath.Abs("python/scenarios.py")
	require.NoError(t, err)
	runScenarios(t, *pythonFlag, []string{program})
}

// kafkajs finds in weir what it finds in Apache Kafka.
func TestNodeClients(t *testing.T) {
	if *nodeClientsFlag == "" {
		t.Skip("no -node-clients given")
	}
	program, err := filepath.Abs(filepath.Join(*nodeClientsFlag, "scenarios.js"))
	require.NoError(t, err)
	runScenarios(t, "node", []string{program})
}

// runScenarios runs a program of scenarios against the given brokers, or weir. Its arguments are the endpoint and a filter, and
// it exits with zero if all went well.
func runScenarios(t *testing.T, path string, args []string) {
	address := *brokersFlag
	if address == "" {
		address = startWeir(t, weirbin.Options{Path: weirProgram(t), Dir: t.TempDir(), Config: foreignConfig}).Address
	}
	p, err := process.Start(process.Options{Name: "scenarios", Path: path, Args: append(args, address, *scenariosFlag), Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	err = p.Wait()
	t.Log("\n" + p.Tail(1000))
	require.NoError(t, err)
}

func javaArgs(t *testing.T) []string {
	if *javaClientsFlag == "" {
		t.Skip("no -java-clients given")
	}
	dir, err := filepath.Abs(*javaClientsFlag)
	require.NoError(t, err)
	classes := strings.Join([]string{filepath.Join(dir, "classes"), filepath.Join(dir, "libs", "*")}, string(os.PathListSeparator))
	return []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes}
}

// A Streams application with exactly_once_v2 counts each word once, though it and the broker are killed again and again.
func TestStreamsWordCount(t *testing.T) {
	args := javaArgs(t)
	ctx, cancel := context.WithTimeout(context.Background(), wordCountLimit)
	defer cancel()
	options := weirbin.Options{Path: weirProgram(t), Dir: t.TempDir(), Config: foreignConfig}
	var err error
	options.Port, err = process.FreePort()
	require.NoError(t, err)
	broker := startWeir(t, options)

	in, out := "words", "counts"
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Address), kgo.DefaultProduceTopic(in), kgo.ConsumeTopics(out),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopics(ctx, 4, 1, nil, in, out)
	require.NoError(t, err)
	want := produceWords(ctx, t, client, *wordsFlag)

	state := t.TempDir()
	start := func() *process.Process {
		p, err := process.Start(process.Options{
			Name: "word count", Path: *javaFlag, Args: append(args, "weir.clients.WordCount", broker.Address, in, out, state), Dir: t.TempDir(),
		})
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

	// The kills are spread over the words: the application twice, then the broker, and so on.
	counts, seen, kills := map[string]uint64{}, 0, 0
	for seen < *wordsFlag {
		fetches := client.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "%d words of %d are counted", seen, *wordsFlag)
		fetches.EachRecord(func(r *kgo.Record) {
			word, count := string(r.Key), binary.BigEndian.Uint64(r.Value)
			require.Equal(t, counts[word]+1, count, "count of %s at %d/%d", word, r.Partition, r.Offset)
			counts[word] = count
			seen++
		})
		if kills >= 3**killsFlag || seen < (kills+1)**wordsFlag/(3**killsFlag+1) {
			continue
		}
		kills++
		if kills%3 != 0 {
			application.Kill()
			application = start()
			continue
		}
		broker.Kill()
		broker = startWeir(t, options)
	}
	require.Equal(t, want, counts)
	require.Equal(t, 3**killsFlag, kills)
	t.Logf("%d words counted, %d kills", seen, kills)
}

// produceWords writes lines of ten words and returns how often it wrote each word.
func produceWords(ctx context.Context, t *testing.T, client *kgo.Client, words int) map[string]uint64 {
	want := map[string]uint64{}
	for line := range words / 10 {
		var text []string
		for i := range 10 {
			word := fmt.Sprint("word", (line*31+i*i*7)%997)
			want[word]++
			text = append(text, word)
		}
		client.Produce(ctx, kgo.StringRecord(strings.Join(text, " ")), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	require.NoError(t, client.Flush(ctx))
	return want
}
