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

// testCluster is three brokers, 0 to 2, each with disks of its own.
type testCluster struct {
	t         *testing.T
	dir       string
	ports     []int
	addresses []string // where clients reach them
	voters    string
	brokers   []*process.Process
}

// startCluster starts three brokers, and waits until all of them vote: until then the death of one may stop the others.
func startCluster(t *testing.T) *testCluster {
	t.Helper()
	c := &testCluster{t: t, dir: t.TempDir(), ports: freePorts(t, 6)}
	var voters []string
	for node := range 3 {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", node, c.ports[3+node]))
		c.addresses = append(c.addresses, fmt.Sprintf("127.0.0.1:%d", c.ports[node]))
	}
	c.voters = strings.Join(voters, ",")
	for node := range 3 {
		c.brokers = append(c.brokers, c.run("server", node))
	}
	for _, p := range c.brokers {
		says(t, p, "weir is ready")
	}
	c.awaitVoters()
	return c
}

// run runs a command with the configuration of a broker.
func (c *testCluster) run(command string, node int, more ...string) *process.Process {
	c.t.Helper()
	args := []string{
		command, "--set", fmt.Sprintf("node.id=%d", node),
		"--set", fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d", c.addresses[node], c.ports[3+node]),
		"--set", "controller.listener.names=CONTROLLER", "--set", "controller.quorum.voters=" + c.voters,
		"--set", "broker.session.timeout.ms=1500", "--set", "weir.object.store=file:" + filepath.Join(c.dir, "objects"),
		"--set", "weir.data.dir=" + filepath.Join(c.dir, fmt.Sprint("broker-", node)),
	}
	return start(c.t, c.dir, nil, append(args, more...)...)
}

// kill ends a broker at once, and loses one of its disks.
func (c *testCluster) kill(node int, disk string) {
	c.t.Helper()
	sends(c.t, c.brokers[node], syscall.SIGKILL)
	ends(c.t, c.brokers[node])
	require.NoError(c.t, os.RemoveAll(filepath.Join(c.dir, fmt.Sprint("broker-", node), disk)))
}

// createTopic creates a topic of 12 partitions.
func (c *testCluster) createTopic(name string) {
	c.t.Helper()
	topics := kmsg.NewPtrCreateTopicsRequest()
	topics.Version, topics.TimeoutMillis = 7, 20_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 12, 1
	topics.Topics = append(topics.Topics, topic)
	made, err := ask[*kmsg.CreateTopicsResponse](c.addresses[2], topics)
	require.NoError(c.t, err)
	require.Zero(c.t, made.Topics[0].ErrorCode)
}

func (c *testCluster) awaitVoters() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		r := kmsg.NewPtrDescribeQuorumRequest()
		topic, partition := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
		topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
		r.Topics = append(r.Topics, topic)
		out, err := ask[*kmsg.DescribeQuorumResponse](c.addresses[0], r)
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
	c := startCluster(t)
	c.createTopic("t")
	text, well := abandon(t, "--bootstrap-server", c.addresses[0], "--broker", "2", "--yes")
	require.False(t, well, text)
	require.Contains(t, text, "it is alive")

	c.kill(2, "wal")
	require.Eventually(t, func() bool {
		out, err := ask[*wire.AbandonWALResponse](c.addresses[1], &wire.AbandonWALRequest{Broker: 2})
		return err == nil && len(out.Waiting) == 1
	}, limit, 100*time.Millisecond)
	waits := c.run("server", 2)
	says(t, waits, "is missing, and records that it holds were acknowledged")

	text, well = abandon(t, "--bootstrap-server", c.addresses[1])
	require.True(t, well, text)
	require.Contains(t, text, "Broker 2 is gone, and ")
	text, well = abandon(t, "--bootstrap-server", c.addresses[1], "--broker", "2") // nobody types the id
	require.False(t, well, text)
	require.Contains(t, text, "nothing was changed")
	text, well = abandon(t, "--bootstrap-server", "127.0.0.1:1,"+c.addresses[1], "--broker", "2", "--yes")
	require.True(t, well, text)
	require.Contains(t, text, "The logs of broker 2 are given up.")

	says(t, waits, "weir is ready")
}

// R19: the metadata disks of all brokers are lost. One of them is rebuilt from the object store, and the others join it.
func TestClusterIsRecoveredFromTheStore(t *testing.T) {
	c := startCluster(t)
	c.createTopic("t")
	for node := range 3 {
		c.kill(node, "meta")
	}
	p := c.run("recover-cluster", 1)
	fails(t, p, "1 topics with 12 partitions", "The cluster has 3 brokers.", "nothing was changed")
	p = c.run("recover-cluster", 1, "--yes")
	ends(t, p)
	require.NoError(t, p.Wait(), p.Tail(30))
	for _, node := range []int{1, 0, 2} {
		c.brokers[node] = c.run("server", node)
	}
	for _, p := range c.brokers {
		says(t, p, "weir is ready")
	}
	c.createTopic("u")
}
