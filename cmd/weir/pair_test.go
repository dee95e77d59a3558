package main

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/process"
)

// freeAddress is one of this machine that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

var readyLine = regexp.MustCompile(`weir is ready on (\S+)\.`)

// readyAt is where clients reach a broker.
func readyAt(t *testing.T, p *process.Process) string {
	t.Helper()
	found := readyLine.FindStringSubmatch(says(t, p, "weir is ready on"))
	if found == nil {
		t.Fatalf("no address in:\n%s", p.Tail(10))
	}
	return found[1]
}

// pair is two brokers of one cluster, of which the first votes.
type pair struct {
	dir       string
	peers     [2]string
	brokers   [2]*process.Process
	addresses [2]string
}

// voterByName and voterByAddress are how the brokers of a pair find the quorum at the first one.
const (
	voterByName    = "controller.quorum.voters=1@%s"
	voterByAddress = "controller.quorum.bootstrap.servers=%s"
)

// startPair starts both, that find the quorum somehow, with some settings more.
func startPair(t *testing.T, quorum string, settings ...string) *pair {
	t.Helper()
	p := &pair{dir: t.TempDir(), peers: [2]string{freeAddress(t), freeAddress(t)}}
	for i := range p.brokers {
		p.brokers[i] = p.launch(t, i+1, quorum, settings)
	}
	for i := range p.brokers {
		p.addresses[i] = readyAt(t, p.brokers[i])
	}
	return p
}

// launch starts a broker of the cluster: one of the pair, or another.
func (p *pair) launch(t *testing.T, id int, quorum string, settings []string) *process.Process {
	t.Helper()
	own := freeAddress(t)
	if id <= len(p.peers) {
		own = p.peers[id-1]
	}
	args := []string{"server"}
	for _, s := range append([]string{
		fmt.Sprintf("node.id=%d", id), fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://%s", own),
		"controller.listener.names=CONTROLLER", fmt.Sprintf(quorum, p.peers[0]),
		"weir.object.store=file:objects", fmt.Sprintf("weir.data.dir=broker-%d", id), "weir.wal.shared=true", "weir.wal.path=wal",
	}, settings...) {
		args = append(args, "--set", s)
	}
	return start(t, p.dir, nil, args...)
}

// create makes a topic.
func (p *pair) create(t *testing.T, name string, partitions int32) {
	t.Helper()
	c, err := dial(p.addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version, r.TimeoutMillis = 5, 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	r.Topics = append(r.Topics, topic)
	response := kmsg.NewPtrCreateTopicsResponse()
	if err := c.ask(r, response); err != nil || response.Topics[0].ErrorCode != 0 {
		t.Fatalf("topic %s was not created: %v, %+v", name, err, response.Topics)
	}
}

// voters are the nodes that vote in the metadata's quorum, by what a broker answers.
func (p *pair) voters(t *testing.T) (nodes []int32) {
	t.Helper()
	c, err := dial(p.addresses[1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	r := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	r.Topics = append(r.Topics, topic)
	response := kmsg.NewPtrDescribeQuorumResponse()
	if err := c.ask(r, response); err != nil || response.ErrorCode != 0 {
		t.Fatalf("the quorum is not described: %v, %+v", err, response)
	}
	for _, v := range response.Topics[0].Partitions[0].CurrentVoters {
		nodes = append(nodes, v.ReplicaID)
	}
	return nodes
}

// A broker finds the quorum by an address alone, and becomes a voter by itself.
func TestBootstrapServers(t *testing.T) {
	p := startPair(t, voterByAddress, "controller.quorum.auto.join.enable=true")
	p.create(t, "t", 2)
	says(t, p.brokers[1], "votes in the metadata's quorum from now on")
	if voters := p.voters(t); len(voters) != 2 {
		t.Errorf("the voters are %v", voters)
	}
}
