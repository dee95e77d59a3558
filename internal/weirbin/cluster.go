package weirbin

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weir/internal/process"
)

// votersMax is how many brokers of a cluster vote; the others learn.
const votersMax = 3

// Cluster knows how to start the brokers of one cluster on loopback, each in a rack of its own. It is data: it neither watches
// nor ends what it starts.
type Cluster struct {
	// Path is the weir program, as [Build] returns it.
	Path string
	// Dir holds a directory for each broker, and what they share: the objects, and the logs unless they are objects too.
	Dir string
	// Config has the keys of all brokers beside ids, racks, listeners, voters, and where logs and objects are; they win over
	// those, and an empty value takes a key away.
	Config map[string]string
	// Env is added to the environment of each broker.
	Env []string

	ports, peers []int
}

// NewCluster returns a cluster of n brokers, on ports that were free a moment ago.
func NewCluster(path, dir string, n int, config map[string]string) (*Cluster, error) {
	c := &Cluster{Path: path, Dir: dir, Config: config, ports: make([]int, n), peers: make([]int, n)}
	for i := range n {
		var err error
		if c.ports[i], err = process.FreePort(); err != nil {
			return nil, err
		}
		if c.peers[i], err = process.FreePort(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Brokers is how many there are.
func (c *Cluster) Brokers() int { return len(c.ports) }

// Address is host:port of a broker, numbered from 0; its node id is one more.
func (c *Cluster) Address(broker int) string { return fmt.Sprintf("127.0.0.1:%d", c.ports[broker]) }

// Addresses are those of all brokers.
func (c *Cluster) Addresses() []string {
	all := make([]string, len(c.ports))
	for i := range all {
		all[i] = c.Address(i)
	}
	return all
}

// PeerPorts are those of the listeners for other brokers.
func (c *Cluster) PeerPorts() []int { return slices.Clone(c.peers) }

// Launch starts a broker on the data that it left and does not wait for it. The caller ends it. What it prints is added to weir.log in
// the broker's directory.
func (c *Cluster) Launch(broker int) (*Broker, error) {
	own := filepath.Join(c.Dir, fmt.Sprintf("broker-%d", broker+1))
	if err := os.MkdirAll(own, 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(own, "weir.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	b, err := Launch(Options{Path: c.Path, Dir: own, Port: c.ports[broker], Config: c.config(broker), Env: c.Env, Echo: log})
	if err != nil {
		log.Close()
		return nil, err
	}
	go func() {
		<-b.Ended()
		log.Close()
	}()
	return b, nil
}

func (c *Cluster) config(broker int) map[string]string {
	voters := make([]string, min(len(c.ports), votersMax))
	for i := range voters {
		voters[i] = fmt.Sprintf("%d@127.0.0.1:%d", i+1, c.peers[i])
	}
	config := map[string]string{
		"node.id": fmt.Sprint(broker + 1), "broker.rack": fmt.Sprintf("zone-%d", broker+1),
		"listeners":                 fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", c.ports[broker], c.peers[broker]),
		"controller.listener.names": "CONTROLLER", "controller.quorum.voters": strings.Join(voters, ","), "broker.session.timeout.ms": "2000",
		"weir.object.store": "file:" + filepath.Join(c.Dir, "objects"),
	}
	if c.Config["weir.wal.kind"] != "object" {
		config["weir.wal.shared"], config["weir.wal.path"] = "true", filepath.Join(c.Dir, "wal")
	}
	maps.Copy(config, c.Config)
	maps.DeleteFunc(config, func(_, value string) bool { return value == "" })
	return config
}
