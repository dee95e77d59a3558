package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is how the nodes of a cluster reach each other.
type Cluster struct {
	// ListenerName is controller.listener.names, the listener for other nodes; empty: this node is alone.
	ListenerName string
	// Listener is where this node listens for the others, Advertised where they reach it. They have no name if
	// ListenerName is empty.
	Listener, Advertised Listener
	// Voters is controller.quorum.voters, ascending by node.
	Voters []Voter
	// Bootstrap is controller.quorum.bootstrap.servers: addresses of nodes, whichever they are.
	Bootstrap []string
	// AutoJoin is controller.quorum.auto.join.enable: a node that is to vote becomes a voter by itself.
	AutoJoin bool
	// Votes says that this node is to vote: it is among the voters, or there are none, and process.roles allows it.
	Votes bool
	// ElectionTimeout is controller.quorum.election.timeout.ms.
	ElectionTimeout time.Duration
	// SessionTimeout is broker.session.timeout.ms. Too short takes partitions from brokers that are well; too long leaves
	// those of a dead one without a leader.
	SessionTimeout time.Duration
	// HeartbeatInterval is broker.heartbeat.interval.ms, at most a quarter of SessionTimeout.
	HeartbeatInterval time.Duration
	// DriftMaxPPM is weir.clock.drift.max.ppm: by how much two clocks may differ in their rates.
	DriftMaxPPM int64
	// BalanceInterval is leader.imbalance.check.interval.seconds; zero: auto.leader.rebalance.enable is false.
	BalanceInterval time.Duration
	// ImbalancePercent is leader.imbalance.per.broker.percentage.
	ImbalancePercent int
	// BalanceLoadFloor is weir.balance.load.floor.bytes, in bytes a second.
	BalanceLoadFloor int64
	// BalanceMoves is weir.balance.moves.in.flight.
	BalanceMoves int
	// Secret is weir.cluster.secret.
	Secret string
	// Secure says that the listener for other nodes has the protocol SSL in listener.security.protocol.map: both ends of a connection need
	// a certificate that an authority of TLS has signed.
	Secure bool
	// TLS has the certificates of connections between nodes.
	TLS TLS
}

// TLS is where certificates are, as the keys ssl.* say.
type TLS struct {
	KeyStore   string // ssl.keystore.location
	Key, Chain string // ssl.keystore.key, ssl.keystore.certificate.chain
	TrustStore string // ssl.truststore.location
	Trusted    string // ssl.truststore.certificates
	AnyHost    bool   // ssl.endpoint.identification.algorithm is empty
}

// Voter is an element of controller.quorum.voters.
type Voter struct {
	Node    int32
	Address string // host:port
}

// Several reports whether there may be other nodes.
func (c *Cluster) Several() bool {
	return c.ListenerName != "" && (c.Secret != "" || c.Secure || c.loopback())
}

// Voter finds a voter by its node.
func (c *Cluster) Voter(node int32) (Voter, bool) {
	i, ok := slices.BinarySearchFunc(c.Voters, node, func(v Voter, node int32) int { return int(v.Node) - int(node) })
	if !ok {
		return Voter{}, false
	}
	return c.Voters[i], true
}

// Lease is how long a lease lasts on the clock of the broker that has it, from when it asked; Term how long one may last at
// most on the clock of the controller that gave it, from when it was asked.
func (c *Cluster) Lease() time.Duration { return c.SessionTimeout - c.drift() }

// Term is the other bound of [Cluster.Lease].
func (c *Cluster) Term() time.Duration { return c.SessionTimeout + c.drift() }

func (c *Cluster) drift() time.Duration {
	return c.SessionTimeout/1_000_000*time.Duration(c.DriftMaxPPM) + 1
}

func (c *Cluster) loopback() bool {
	h := c.Listener.Host
	return h == "localhost" || strings.HasPrefix(h, "127.") || h == "::1"
}

func (c *Cluster) validate() error {
	switch {
	case c.ListenerName == "" && len(c.Voters)+len(c.Bootstrap) > 0:
		return fmt.Errorf("controller.quorum.voters or controller.quorum.bootstrap.servers is set, and controller.listener.names is not: name the listener for other nodes")
	case c.ListenerName == "":
		return nil
	case c.Listener.Name == "":
		return fmt.Errorf("controller.listener.names: there is no listener %s", c.ListenerName)
	case len(c.Voters)+len(c.Bootstrap) > 1 && !c.Several():
		return fmt.Errorf("weir.cluster.secret, or the protocol SSL in listener.security.protocol.map, is needed where other nodes are reached beyond this machine, or whoever reaches %s is one of them", c.Listener)
	}
	return nil
}

func (s *Settings) cluster() Cluster {
	c := Cluster{
		ElectionTimeout: s.millis("controller.quorum.election.timeout.ms"), SessionTimeout: s.millis("broker.session.timeout.ms"),
		DriftMaxPPM: s.integer("weir.clock.drift.max.ppm"), Secret: s.text("weir.cluster.secret"),
	}
	c.HeartbeatInterval = min(s.millis("broker.heartbeat.interval.ms"), c.SessionTimeout/4)
	if s.boolean("auto.leader.rebalance.enable") {
		c.BalanceInterval = time.Duration(s.integer("leader.imbalance.check.interval.seconds")) * time.Second
	}
	c.BalanceLoadFloor, c.BalanceMoves = s.integer("weir.balance.load.floor.bytes"), int(s.integer("weir.balance.moves.in.flight"))
	c.ImbalancePercent = int(s.integer("leader.imbalance.per.broker.percentage"))
	c.Voters, _ = parseVoters(s.text("controller.quorum.voters")) // validated
	c.Bootstrap, c.AutoJoin = SplitList(s.text("controller.quorum.bootstrap.servers")), s.boolean("controller.quorum.auto.join.enable")
	node := int32(s.integer("node.id"))
	own, named := c.Voter(node)
	c.Votes = (named || len(c.Voters) == 0) && slices.Contains(SplitList(s.text("process.roles")), "controller")
	if names := SplitList(s.text("controller.listener.names")); len(names) == 1 {
		c.ListenerName = strings.ToUpper(names[0])
	}
	c.Secure = c.ListenerName != "" && s.protocolOf(c.ListenerName) == ssl
	c.TLS = TLS{
		KeyStore: s.text("ssl.keystore.location"), Key: s.text("ssl.keystore.key"), Chain: s.text("ssl.keystore.certificate.chain"),
		TrustStore: s.text("ssl.truststore.location"), Trusted: s.text("ssl.truststore.certificates"), AnyHost: s.text("ssl.endpoint.identification.algorithm") == "",
	}
	c.Listener = listenerNamed(s.listeners("listeners"), c.ListenerName)
	c.Advertised = listenerNamed(s.listeners("advertised.listeners"), c.ListenerName)
	if c.Advertised.Name == "" && named {
		if at, err := ParseListeners(c.ListenerName + "://" + own.Address); err == nil {
			c.Advertised = at[0]
		}
	}
	if c.Advertised.Name == "" {
		c.Advertised = c.Listener
	}
	return c
}

// listenerNamed is the listener of a name; one without a name if there is none.
func listenerNamed(all []Listener, name string) Listener {
	for _, l := range all {
		if l.Name == name && name != "" {
			return l
		}
	}
	return Listener{}
}

// clientListeners leaves out the listener of a name.
func clientListeners(all []Listener, name string) []Listener {
	return slices.DeleteFunc(all, func(l Listener) bool { return l.Name == name })
}

// VotersMax is how many voters are useful.
const VotersMax = 5

func checkVoters(value string) error {
	_, err := parseVoters(value)
	return err
}

func parseVoters(value string) ([]Voter, error) {
	var voters []Voter
	for _, one := range SplitList(value) {
		id, address, ok := strings.Cut(one, "@")
		node, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || node < 0 || checkAddress(address) != nil {
			return nil, fmt.Errorf("%q is not node.id@host:port", one)
		}
		voters = append(voters, Voter{int32(node), address})
	}
	slices.SortStableFunc(voters, func(a, b Voter) int { return int(a.Node) - int(b.Node) })
	for i := range voters {
		if i > 0 && voters[i].Node == voters[i-1].Node {
			return nil, fmt.Errorf("node %d is named twice", voters[i].Node)
		}
	}
	if len(voters) > VotersMax {
		return nil, fmt.Errorf("there are %d voters, and at most %d are useful", len(voters), VotersMax)
	}
	return voters, nil
}

func checkRoles(value string) error {
	if !slices.Contains(SplitList(value), "broker") {
		return fmt.Errorf("every node is a broker: broker, or broker,controller")
	}
	return nil
}
