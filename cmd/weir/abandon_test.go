package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/wire"
	"weir/internal/process"
)

// freePorts are ports on loopback that nobody listens at now.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startCluster starts three brokers, each with a log disk of its own, and returns where clients reach them, and what starts one again.
func startCluster(t *testing.T, dir string) (brokers []*process.Process, addresses []string, again func(node int) *process.Process) {
	t.Helper()
	ports := freePorts(t, 6)
	var voters []string
	for node := range 3 {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", node, ports[3+node]))
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", ports[node]))
	}
	again = func(node int) *process.Process {
		return start(t, dir, nil, "server", "--set", fmt.Sprintf("node.id=%d", node),
			"--set", fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d", addresses[node], ports[3+node]),
			"--set", "controller.listener.names=CONTROLLER", "--set", "controller.quorum.voters="+strings.Join(voters, ","),
			"--set", "broker.session.timeout.ms=1500", "--set", "weir.object.store=file:"+filepath.Join(dir, "objects"),
			"--set", "weir.data.dir="+filepath.Join(dir, fmt.Sprint("broker-", node)))
	}
	for node := range 3 {
		brokers = append(brokers, again(node))
	}
	for _, p := range brokers {
		says(t, p, "weir is ready")
	}
	return brokers, addresses, again
}

// awaitVoters waits until all three brokers vote: until then the death of one may stop the others.
func awaitVoters(t *testing.T, address string) {
	t.Helper()
	require.Eventually(t, func() bool {
		r := kmsg.NewPtrDescribeQuorumRequest()
		topic, partition := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
		topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
		r.Topics = append(r.Topics, topic)
		out, err := ask[*kmsg.DescribeQuorumResponse](address, r)
		return err == nil && len(out.Topics) == 1 && len(out.Topics[0].Partitions[0].CurrentVoters) == 3
	}, limit, 100*time.Millisecond)
}

// abandon runs weir abandon-wal, and returns what it prints and whether it ended well.
func abandon(t *testing.T, args ...string) (printed string, well bool) {
	t.Helper()
	p := start(t, t.TempDir(), nil, append([]string{"abandon-wal"}, args...)...)
	ends(t, p)
	return p.Tail(100), p.Wait() == nil
}

// R16: a broker dies, and its log disk with it. Its partitions wait, and say so, until somebody accepts the loss by the broker's name; then
// the broker starts again.
func TestLostLogIsAbandonedByName(t *testing.T) {
	dir := t.TempDir()
	brokers, addresses, again := startCluster(t, dir)
	awaitVoters(t, addresses[0])
	topics := kmsg.NewPtrCreateTopicsRequest()
	topics.Version, topics.TimeoutMillis = 7, 20_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 12, 1
	topics.Topics = append(topics.Topics, topic)
	made, err := ask[*kmsg.CreateTopicsResponse](addresses[2], topics)
	require.NoError(t, err)
	require.Zero(t, made.Topics[0].ErrorCode)

	text, well := abandon(t, "--bootstrap-server", addresses[0], "--broker", "2", "--yes")
	require.False(t, well, text)
	require.Contains(t, text, "it is alive")

	sends(t, brokers[2], syscall.SIGKILL)
	ends(t, brokers[2])
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "broker-2", "wal")))
	require.Eventually(t, func() bool {
		out, err := ask[*wire.AbandonWALResponse](addresses[1], &wire.AbandonWALRequest{Broker: 2})
		return err == nil && len(out.Waiting) == 1
	}, limit, 100*time.Millisecond)
	waits := again(2)
	says(t, waits, "is missing, and records that it holds were acknowledged")

	text, well = abandon(t, "--bootstrap-server", addresses[1])
	require.True(t, well, text)
	require.Contains(t, text, "Broker 2 is gone, and ")
	text, well = abandon(t, "--bootstrap-server", addresses[1], "--broker", "2") // nobody types the id
	require.False(t, well, text)
	require.Contains(t, text, "nothing was changed")
	text, well = abandon(t, "--bootstrap-server", "127.0.0.1:1,"+addresses[1], "--broker", "2", "--yes")
	require.True(t, well, text)
	require.Contains(t, text, "The logs of broker 2 are given up.")

	says(t, waits, "weir is ready")
}
