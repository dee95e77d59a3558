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

// startPair starts both with some settings more.
func startPair(t *testing.T, settings ...string) *pair {
	t.Helper()
	p := &pair{dir: t.TempDir(), peers: [2]string{freeAddress(t), freeAddress(t)}}
	for i := range p.brokers {
		args := []string{"server"}
		for _, s := range append([]string{
			fmt.Sprintf("node.id=%d", i+1), fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://%s", p.peers[i]),
			"controller.listener.names=CONTROLLER", "controller.quorum.voters=1@" + p.peers[0],
			"weir.object.store=file:objects", fmt.Sprintf("weir.data.dir=broker-%d", i+1), "weir.wal.shared=true", "weir.wal.path=wal",
		}, settings...) {
			args = append(args, "--set", s)
		}
		p.brokers[i] = start(t, p.dir, nil, args...)
	}
	for i := range p.brokers {
		p.addresses[i] = readyAt(t, p.brokers[i])
	}
	return p
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

func TestDrain(t *testing.T) {
	p := startPair(t)
	p.create(t, "t", 6)
	drain := func(args ...string) *process.Process {
		return start(t, p.dir, nil, append([]string{"drain", "--bootstrap-server", "127.0.0.1:1," + p.addresses[0]}, args...)...)
	}
	waits := drain("--broker", "1", "--wait")
	ends(t, waits)
	printed(t, waits, "Broker 1 is drained, and leads 0 partitions.")
	fails(t, drain("--broker", "2"), "Broker 2 cannot be drained: no other broker is alive")
	fails(t, drain("--broker", "9"), "not currently registered")
	fails(t, drain(), "required flag")
	cancels := drain("--broker", "1", "--cancel")
	ends(t, cancels)
	printed(t, cancels, "Broker 1 is not drained any more.")
	looks := drain("--broker", "2")
	ends(t, looks)
	printed(t, looks, "Broker 2 is drained, and leads")
	fails(t, start(t, p.dir, nil, "drain", "--bootstrap-server", "127.0.0.1:1", "--broker", "1"), "no broker answers")
	fails(t, start(t, p.dir, nil, "server", "--set", "weir.broker.drain=true"), "is set while the broker runs")
}
