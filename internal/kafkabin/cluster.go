package kafkabin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/process"
)

// Cluster knows how to start the nodes of one cluster on loopback: each a broker and a voter of the quorum, in a rack of its
// own. New topics have a replica on each, of which all but one must be in sync. It is data: it neither watches nor ends what it
// starts.
type Cluster struct {
	// Options are for all nodes. Dir holds a directory for each; Port is not used.
	Options Options

	ports, replication, controllers []int
}

// NewCluster returns a cluster of n nodes, on ports that were free a moment ago.
func NewCluster(o Options, n int) (*Cluster, error) {
	c := &Cluster{Options: o, ports: make([]int, n), replication: make([]int, n), controllers: make([]int, n)}
	for _, ports := range [][]int{c.ports, c.replication, c.controllers} {
		for i := range ports {
			var err error
			if ports[i], err = process.FreePort(); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// Prepare writes the configurations and formats the storage of all nodes.
func (c *Cluster) Prepare() error {
	for i := range c.ports {
		o := c.options(i)
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return err
		}
		if err := prepare(o, c.properties(i, o.Dir)); err != nil {
			return err
		}
	}
	return nil
}

// Launch starts a node, numbered from 0, on its prepared directory, and does not wait until it listens.
func (c *Cluster) Launch(node int) (*process.Process, error) { return Launch(c.options(node)) }

// Addresses are host:port of each node's listener for clients.
func (c *Cluster) Addresses() []string {
	all := make([]string, len(c.ports))
	for i, port := range c.ports {
		all[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return all
}

// PeerPorts are those of the listeners for other nodes: replication, and the quorum.
func (c *Cluster) PeerPorts() []int {
	return append(append([]int{}, c.replication...), c.controllers...)
}

func (c *Cluster) options(node int) Options {
	o := c.Options
	o.Dir, o.Port = filepath.Join(o.Dir, fmt.Sprintf("node-%d", node+1)), c.ports[node]
	return o
}

func (c *Cluster) properties(node int, dir string) string {
	voters := make([]string, len(c.controllers))
	for i, port := range c.controllers {
		voters[i] = fmt.Sprintf("%d@127.0.0.1:%d", i+1, port)
	}
	n := len(c.ports)
	return fmt.Sprintf(`process.roles=broker,controller
node.id=%[1]d
broker.rack=zone-%[1]d
controller.quorum.voters=%[2]s
listeners=PLAINTEXT://127.0.0.1:%[3]d,REPLICATION://127.0.0.1:%[4]d,CONTROLLER://127.0.0.1:%[5]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[3]d,REPLICATION://127.0.0.1:%[4]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=REPLICATION
log.dirs=%[6]s/logs
default.replication.factor=%[7]d
min.insync.replicas=%[8]d
offsets.topic.replication.factor=%[7]d
transaction.state.log.replication.factor=%[7]d
transaction.state.log.min.isr=%[8]d
share.coordinator.state.topic.replication.factor=%[7]d
share.coordinator.state.topic.min.isr=%[8]d
`, node+1, strings.Join(voters, ","), c.ports[node], c.replication[node], c.controllers[node], dir, n, max(n-1, 1))
}
