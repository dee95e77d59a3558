// Package network is the simulated network between clients and brokers, and between brokers.
//
// # Fault model
//
//   - Frames of one direction of a connection arrive in order, each after a
//     latency from the table; directions and connections overtake each other.
//   - A cut holds back what travels between a client and a broker, in one direction
//     or both; what is held arrives when the cut heals or up to as long after as
//     it was cut (3 s at most), if the connection still lives. Nobody is told of a
//     cut.
//   - A reset ends a connection: what is in flight is lost, and the two ends learn
//     of it at different times.
//   - A stall keeps one client from reading: sends to it stay lent.
//   - A crashed broker answers nothing: its peers learn of it by a reset at once
//     (the process died), or only when they send to its successor (power failed).
//   - A broker that dials another is a client of it: cuts and resets are the same, but
//     it may crash, too.
//   - Frames are never damaged, duplicated or reordered within a connection, as TCP
//     guarantees.
//   - A response is encoded some time after it was submitted, and its bytes are
//     read some time after that, so that memory freed too early is detected; a
//     received frame is poisoned when it is released.
//   - A client may send a frame in pieces, or only some of them. Its connection waits for the rest for [FrameTimeout] from
//     the first piece on, then it is closed.
//   - The byte budget of frames, and muting, hold frames back unread.
package network

import (
	"errors"

	"weir/core/env"
	"weir/sim/event"
)

// Errors that Closed carries.
var (
	errReset   = errors.New("connection reset by peer")
	errRefused = errors.New("connection refused")
	errClosed  = errors.New("connection closed")
	errSlow    = errors.New("a frame was not sent in time")
	errTimeout = errors.New("no connection in time")
)

// Client is one end of a client's connection. Its methods run at the client's
// end of the wire.
type Client interface {
	Connected(c *Conn)
	// Received gives a frame's body, valid during the call.
	Received(c *Conn, frame []byte)
	Closed(c *Conn, reason error)
}

// Link is the state of the path between one client and one broker, or between a broker
// that dials (the client) and one that accepts; the zero value is good health.
type Link struct {
	CutToBroker  bool
	CutToClient  bool
	Stalled      bool  // the client reads nothing
	SlowPerMille int64 // scales latencies; 0 and 1000 are once
}

// Network is all paths and connections.
type Network struct {
	// Injected counts faults that took effect.
	Injected int

	queue   *event.Queue
	hosts   []*Host // by machine
	links   []*Link // by machine and client
	peers   map[peers]*Link
	zones   map[int]int64
	conns   []*Conn // open ones, in order of opening
	nextID  env.ConnID
	clients int
	free    []*message
}

// New returns an empty network for clients numbered from 0.
func New(queue *event.Queue, clients int) *Network {
	return &Network{queue: queue, clients: clients, zones: map[int]int64{}, peers: map[peers]*Link{}}
}

// Place puts a client into a zone. Links within a zone are faster; a client that was
// placed nowhere is in no broker's zone.
func (n *Network) Place(client int, zone int64) { n.zones[client] = zone }

// Link is the path between a client and a broker machine.
func (n *Network) Link(client int, machineID uint64) *Link {
	i := int(machineID)*n.clients + client
	for len(n.links) <= i {
		n.links = append(n.links, &Link{})
	}
	return n.links[i]
}

// peers are two broker machines, the one that dials first.
type peers struct{ dialer, acceptor uint64 }

// PeerLink is the path of connections that one broker machine dials to another.
func (n *Network) PeerLink(dialer, acceptor uint64) *Link {
	key := peers{dialer, acceptor}
	if n.peers[key] == nil {
		n.peers[key] = &Link{}
	}
	return n.peers[key]
}

// HealPeers ends the faults of all paths between broker machines.
func (n *Network) HealPeers() {
	for _, l := range n.peers {
		*l = Link{}
	}
}

// Host returns a broker machine's place in the network, made at first use.
func (n *Network) Host(machineID uint64) *Host {
	for _, h := range n.hosts {
		if h.machine == machineID {
			return h
		}
	}
	h := &Host{network: n, machine: machineID, draws: n.queue.Stream("network host", machineID)}
	n.hosts = append(n.hosts, h)
	return h
}

func (n *Network) resolve(address string) *Host {
	for _, h := range n.hosts {
		for i := range h.listeners {
			if h.listeners[i].address == address {
				return h
			}
		}
	}
	return nil
}

// Dial connects a client. Connected or Closed follows; under a cut neither does
// until it heals.
func (n *Network) Dial(client int, address string, handler Client) *Conn {
	c := n.newConn(client, address)
	c.handler = handler
	c.dial()
	return c
}

// newConn returns a connection that is not dialed yet.
func (n *Network) newConn(client int, address string) *Conn {
	n.nextID++
	c := &Conn{id: n.nextID, network: n, client: client, address: address}
	c.draws = n.queue.Stream("connection", uint64(c.id))
	n.conns = append(n.conns, c)
	return c
}

// Fire is event.Func, for calls without allocation of an argument.
type Fire = event.Func

// Healed lets go what a cut or a stall held back, after the links were changed.
func (n *Network) Healed() {
	for _, c := range append([]*Conn(nil), n.conns...) {
		link := c.link()
		if !link.CutToBroker {
			c.letGo(&c.toBroker)
			if c.held && !c.connected && !c.clientClosed {
				c.arriveDial()
			}
		}
		if !link.CutToClient && !link.Stalled {
			c.letGo(&c.toClient)
			if c.accepted != nil {
				c.accepted.pumpSends()
			}
		}
	}
}

// ResetPeers breaks the connections between two broker machines, whoever dialed.
func (n *Network) ResetPeers(a, b uint64) {
	for _, c := range append([]*Conn(nil), n.conns...) {
		if c.dialer == nil || c.host == nil || !c.connected {
			continue
		}
		if from, to := c.dialer.server.host.machine, c.host.machine; from == a && to == b || from == b && to == a {
			n.Injected++
			c.reset()
		}
	}
}

// Reset breaks every connection between a client and a broker machine; client -1
// is all, those that other brokers dialed included.
func (n *Network) Reset(client int, machineID uint64) {
	for _, c := range append([]*Conn(nil), n.conns...) {
		if (client < 0 || c.client == client) && c.host != nil && c.host.machine == machineID && c.connected {
			n.Injected++
			c.reset()
		}
	}
}
