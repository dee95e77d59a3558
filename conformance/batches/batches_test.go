package batches

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"weir/internal/weirbin"
)

var kafka = flag.String("kafka", "", "host:port of Apache Kafka, whose answers are to be recorded in testdata")

const recorded = "testdata/kafka-4.4.0.txt"

// Every case is answered as Apache Kafka answers it, or says why not.
func TestBatchesAreAnsweredAsByKafka(t *testing.T) {
	if *kafka != "" {
		renew(t)
		return
	}
	dir := t.TempDir()
	path, err := weirbin.Build(dir)
	require.NoError(t, err)
	b, err := weirbin.Start(weirbin.Options{Path: path, Dir: dir})
	require.NoError(t, err)
	defer b.Kill()
	want := answers(t)
	p := dial(t, b.Address)
	for _, c := range Cases() {
		got := p.answer(c)
		switch {
		case got == want[c.Name] && c.Differs != "":
			t.Errorf("%s: answered as by Kafka, although it is said to differ", c.Name)
		case got != want[c.Name] && c.Differs == "":
			t.Errorf("%s:\n  got  %s\n  want %s", c.Name, got, want[c.Name])
		case c.Differs != "" && !strings.HasPrefix(got, c.Answer):
			t.Errorf("%s:\n  got  %s\n  want %s", c.Name, got, c.Answer)
		}
	}
}

func renew(t *testing.T) {
	var out strings.Builder
	p := dial(t, *kafka)
	for _, c := range Cases() {
		fmt.Fprintf(&out, "%s | %s\n", c.Name, p.answer(c))
	}
	require.NoError(t, os.WriteFile(recorded, []byte(out.String()), 0o644))
}

func answers(t *testing.T) map[string]string {
	f, err := os.Open(recorded)
	require.NoError(t, err)
	defer f.Close()
	all := make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, answer, ok := strings.Cut(lines.Text(), " | ")
		require.True(t, ok, lines.Text())
		all[name] = answer
	}
	return all
}

// prober sends cases, each to a topic of its own.
type prober struct {
	t      *testing.T
	client *kgo.Client
	topics int
	run    int64
}

func dial(t *testing.T, address string) *prober {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(0, 11) // topics by name
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.MaxVersions(versions))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return &prober{t: t, client: client, run: time.Now().UnixNano()}
}

// ask sends a request to the only broker.
func (p *prober) ask(request kmsg.Request) kmsg.Response {
	response, err := p.client.SeedBrokers()[0].RetriableRequest(p.t.Context(), request)
	require.NoError(p.t, err)
	return response
}

func (p *prober) newTopic(kind Topic) string {
	p.topics++
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("batches-%x-%d", p.run, p.topics), 1, 1
	config := kmsg.NewCreateTopicsRequestTopicConfig()
	switch kind {
	case Compacted:
		config.Name, config.Value = "cleanup.policy", kmsg.StringPtr("compact")
	case LogAppendTime:
		config.Name, config.Value = "message.timestamp.type", kmsg.StringPtr("LogAppendTime")
	default:
		config.Name, config.Value = "message.timestamp.type", kmsg.StringPtr("CreateTime")
	}
	topic.Configs = append(topic.Configs, config)
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics, request.TimeoutMillis = append(request.Topics, topic), 10_000
	response := p.ask(request).(*kmsg.CreateTopicsResponse)
	require.NoError(p.t, kerr.ErrorForCode(response.Topics[0].ErrorCode), topic.Topic)
	return topic.Topic
}

// answer is one line: the code, the records that the answer lists, and what was stored.
func (p *prober) answer(c Case) string {
	topic := p.newTopic(c.Topic)
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for _, b := range c.Batches {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Records = b
		t.Partitions = append(t.Partitions, part)
	}
	request.Topics = append(request.Topics, t)
	var line strings.Builder
	for {
		response := p.ask(request).(*kmsg.ProduceResponse)
		parts := response.Topics[0].Partitions
		if parts[0].ErrorCode == kerr.UnknownTopicOrPartition.Code || parts[0].ErrorCode == kerr.NotLeaderForPartition.Code {
			continue // Kafka has not made it yet
		}
		for i := range parts {
			fmt.Fprintf(&line, "%s records%v ", name(parts[i].ErrorCode), blamed(parts[i].ErrorRecords))
		}
		break
	}
	fmt.Fprintf(&line, "end=%s largest=%s", p.offset(topic, -1), p.offset(topic, -3))
	return line.String()
}

func name(code int16) string {
	if err := kerr.TypedErrorForCode(code); err != nil {
		return err.Message
	}
	return "NONE"
}

func blamed(errors []kmsg.ProduceResponseTopicPartitionErrorRecord) (indexes []int32) {
	for i := range errors {
		indexes = append(indexes, errors[i].RelativeOffset)
	}
	return indexes
}

// offset is what ListOffsets answers: an offset, and a timestamp as far as it is a case's.
func (p *prober) offset(topic string, timestamp int64) string {
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp = timestamp
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, part)
	request := kmsg.NewPtrListOffsetsRequest()
	request.Topics = append(request.Topics, t)
	out := p.ask(request).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	at := ""
	if d := out.Timestamp - now; timestamp == -3 && d > -1000 && d < 1000 {
		at = fmt.Sprintf("@now%+d", d)
	} else if timestamp == -3 && out.Timestamp < 1000 {
		at = fmt.Sprintf("@%d", out.Timestamp)
	}
	return fmt.Sprintf("%s:%d%s", name(out.ErrorCode), out.Offset, at)
}
