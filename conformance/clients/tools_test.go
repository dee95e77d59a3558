package clients

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"weir/internal/process"
	"weir/internal/weirbin"

	"github.com/stretchr/testify/require"
)

var (
	kafkaLibsFlag = flag.String("kafka-libs", "", "directory with Apache Kafka's jars, to run its command-line tools; empty leaves them out")
	javaFlag      = flag.String("java", "java", "the Java 17 program")
)

const (
	consumerGroups = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	transactions   = "org.apache.kafka.tools.TransactionsCommand"

	reassignPartitions = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
)

// Kafka's own tools end well and print what they should.
func TestKafkaTools(t *testing.T) {
	if *kafkaLibsFlag == "" {
		t.Skip("no -kafka-libs given")
	}
	address := startWeir(t, weirbin.Options{Path: weirProgram(t), Dir: t.TempDir(), Config: map[string]string{"node.id": "1", "group.initial.rebalance.delay.ms": "0"}}).Address
	moves := filepath.Join(t.TempDir(), "moves.json")
	require.NoError(t, os.WriteFile(moves, []byte(`{"version":1,"partitions":[{"topic":"tools","partition":0,"replicas":[1]}]}`), 0o600))
	for _, c := range []struct {
		name, class string
		args        []string
		want        string // a line has it
	}{
		{"topics", "org.apache.kafka.tools.TopicCommand", []string{"--create", "--topic", "tools", "--partitions", "2"}, "Created topic tools."},
		{"metadata-quorum status", "org.apache.kafka.tools.MetadataQuorumCommand", []string{"describe", "--status"}, `CurrentVoters:          [{"id": 1, `},
		{"metadata-quorum replication", "org.apache.kafka.tools.MetadataQuorumCommand", []string{"describe", "--replication"}, "Leader"},
		{"features", "org.apache.kafka.tools.FeatureCommand", []string{"describe"}, "Feature: weir.metadata"},
		{"leader-election", "org.apache.kafka.tools.LeaderElectionCommand", []string{"--election-type", "preferred", "--topic", "tools", "--partition", "0"}, "Valid replica already elected for partitions tools-0"},
		{"leader-election of all", "org.apache.kafka.tools.LeaderElectionCommand", []string{"--election-type", "preferred", "--all-topic-partitions"}, ""},
		{"reassign-partitions", reassignPartitions, []string{"--execute", "--reassignment-json-file", moves}, "Successfully started partition reassignments for tools-0"},
		{"reassign-partitions verify", reassignPartitions, []string{"--verify", "--reassignment-json-file", moves}, "Reassignment of partition tools-0 is completed."},
		{"reassign-partitions list", reassignPartitions, []string{"--list"}, "No partition reassignments found."},
		{"log-dirs", "org.apache.kafka.tools.LogDirsCommand", []string{"--describe"}, `"partition":"tools-1"`},
		{"configs of users", "org.apache.kafka.tools.ConfigCommand", []string{"--describe", "--entity-type", "users"}, ""},
		{"configs of clients", "org.apache.kafka.tools.ConfigCommand", []string{"--describe", "--entity-type", "clients"}, ""},
		{"configs of addresses", "org.apache.kafka.tools.ConfigCommand", []string{"--describe", "--entity-type", "ips"}, ""},
		{"configs of client metrics", "org.apache.kafka.tools.ConfigCommand", []string{"--describe", "--entity-type", "client-metrics"}, ""},
		{"configs of a topic", "org.apache.kafka.tools.ConfigCommand", []string{"--describe", "--entity-type", "topics", "--entity-name", "tools", "--all"}, "retention.ms=604800000"},
		{"configs of the broker", "org.apache.kafka.tools.ConfigCommand", []string{"--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"}, "max.connections="},
		{"producer-perf-test in transactions", "org.apache.kafka.tools.ProducerPerformance", []string{
			"--topic", "tools", "--num-records", "500", "--record-size", "100", "--throughput", "-1", "--transaction-duration-ms", "50", "--transactional-id", "perf",
		}, "500 records sent"},
		{"console-consumer in a group", "org.apache.kafka.tools.consumer.ConsoleConsumer", []string{
			"--topic", "tools", "--group", "console", "--from-beginning", "--isolation-level", "read_committed", "--max-messages", "500",
		}, "Processed a total of 500 messages"},
		{"groups", "org.apache.kafka.tools.GroupsCommand", []string{"--list"}, "console"},
		{"consumer-groups state", consumerGroups, []string{"--describe", "--group", "console", "--state"}, "Empty"},
		{"consumer-groups reset", consumerGroups, []string{"--reset-offsets", "--to-earliest", "--topic", "tools", "--group", "console", "--execute"}, "console"},
		{"consumer-groups delete-offsets", consumerGroups, []string{"--delete-offsets", "--topic", "tools:1", "--group", "console"}, "Successful"},
		{"consumer-groups delete", consumerGroups, []string{"--delete", "--group", "console"}, "was successful"},
		{"transactions list", transactions, []string{"list"}, "perf"},
		{"transactions describe", transactions, []string{"describe", "--transactional-id", "perf"}, "CompleteCommit"},
		{"transactions describe-producers", transactions, []string{"describe-producers", "--topic", "tools", "--partition", "0"}, "CurrentTransactionStartOffset"},
		{"transactions find-hanging", transactions, []string{"find-hanging", "--topic", "tools", "--partition", "0"}, "Duration(min)"},
		{"formatter of transactions", "org.apache.kafka.tools.consumer.ConsoleConsumer", []string{
			"--topic", "__transaction_state", "--from-beginning", "--max-messages", "1", "--formatter", "org.apache.kafka.tools.consumer.TransactionLogMessageFormatter",
		}, `"transactionalId":"perf"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := kafkaTool(t, c.class, append([]string{"--bootstrap-server", address}, c.args...))
			require.NoError(t, err, out)
			require.Contains(t, out, c.want)
			require.NotContains(t, out, "Exception")
		})
	}
}

func kafkaTool(t *testing.T, class string, args []string) (string, error) {
	libs, err := filepath.Abs(*kafkaLibsFlag)
	require.NoError(t, err)
	logging := filepath.Join(t.TempDir(), "log4j2.properties")
	require.NoError(t, os.WriteFile(logging, []byte("status = error\nrootLogger.level = OFF\n"), 0o644))
	all := []string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + logging, "-cp", filepath.Join(libs, "*"), class}
	p, err := process.Start(process.Options{Name: class, Path: *javaFlag, Args: append(all, args...), Dir: t.TempDir()})
	require.NoError(t, err)
	err = p.Wait()
	return p.Tail(1000), err
}
