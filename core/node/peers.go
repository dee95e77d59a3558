package node

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/quorum"
	"weir/core/task"
)

// kindQuorum is a message of the quorum, beside the kinds of calls.
const kindQuorum = peer.KindOther

// Methods of the calls between nodes.
const (
	methodJoin           peer.Method = iota + 1 // u64 member, then the address of the node; to the quorum's leader
	methodPropose                               // an entry of the quorum's log; to its leader
	methodShip                                  // u64 index that is to be shipped soon; to the leader
	methodCatchUp                               // nothing; the leader answers with the index that is to be applied
	methodRegister                              // a RegisterBroker record; to the leader
	methodHeartbeat                             // see lease.heartbeat; to the leader
	methodMarker                                // WriteTxnMarkers with one partition; to its leader
	methodAddPartitions                         // AddPartitionsToTxn with one transaction; to its coordinator
	methodMove                                  // see moveFor; to the leader of the partitions
	methodDescribeQuorum                        // nothing; the leader answers with a quorum.State
	methodChangeMember                          // see changeMemberFor; to the leader
	methodAbandonWAL                            // a wire.AbandonWALRequest, answered with its response; to the leader
)

// methodLoad is a controller.LoadReport; to the leader of the quorum. The numbers between are free.
const methodLoad peer.Method = 16

// methodLeader is nothing; any node answers, see leaderOf.
const methodLeader peer.Method = 17

// methodArriving is u64 streams that the sender is about to give to the receiver.
const methodArriving peer.Method = 18

// methodLeaving is the i64 broker epoch of the sender, which is about to end: nothing is to be given to it.
const methodLeaving peer.Method = 19

// methodTailRead, after free numbers, is a request of stream.Engine.AnswerOwed; to whoever has the log of a sealed range, see holderOf.
const methodTailRead peer.Method = 24

// Refusals by which callers branch.
const (
	refusedNotLeader uint8 = iota + 1 // ask the leader
	refusedBusy                       // nothing was done; ask again later
	refusedEnded                      // the epoch has ended
	refusedNotHeld                    // the records are not in this node's log
)

// callTimeout bounds the wait for an answer that nobody waits for longer.
const callTimeout = 10 * time.Second

// peerFrameBytesMax holds the largest message of the quorum.
const peerFrameBytesMax = quorum.MessageBytesMax + 1024

// peers is how a node reaches the others of its cluster.
type peers struct {
	node    *Node
	mesh    *peer.Mesh
	calls   *peer.Calls
	address string // of this node, as the others know it
	joining task.Timer
	waits   int // how often it has asked to be added
}

// openPeers lets the other nodes in.
func (n *Node) openPeers(p *task.Proc) error {
	n.drawIncarnation()
	c := &n.config.Cluster
	if !c.Several() {
		if c.ListenerName != "" {
			n.telemetry.Warn("this node is a cluster of its own: its listener for other nodes is not opened without weir.cluster.secret", slog.String("listener", c.Listener.String()))
		}
		return nil
	}
	w := &peers{node: n}
	w.mesh = peer.New(peer.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Node: n.config.NodeID, Incarnation: n.incarnation, Secret: []byte(c.Secret), Secure: c.Secure,
		FrameBytesMax: peerFrameBytesMax, QueueBytesMax: 4 * peerFrameBytesMax, Decode: decodePeer, Received: w.received,
	})
	w.calls = peer.NewCalls(n.loop, n.config.NodeID, w.mesh.Send)
	w.serve()
	op := &env.Listen{Name: c.Listener.Name, Address: c.Listener.Address(), Handler: w.mesh.Handler(), Codec: w.mesh.Codec(), Secure: c.Secure}
	p.Await(func(wake func()) {
		op.Done = func(*env.Listen) { wake() }
		n.env.Network.Listen(op)
	})
	if op.Err != nil {
		return fmt.Errorf("listener %s: %w; free the address, or change the key listeners", c.Listener, op.Err)
	}
	if w.address = c.Advertised.On(n.options.Hostname).Address(); c.Advertised.Port == 0 {
		w.address = op.Bound
	}
	n.peers = w
	for _, v := range c.Voters {
		if v.Node != n.config.NodeID {
			w.mesh.SetAddress(v.Node, v.Address)
		}
	}
	w.join()
	return nil
}

func decodePeer(kind peer.Kind, body []byte) (any, error) {
	switch kind {
	case kindQuorum:
		return quorum.DecodeMessage(body)
	case peer.KindRequest, peer.KindAnswer:
		return peer.DecodeCall(kind, body)
	}
	return nil, fmt.Errorf("kind %d is not known: a newer release sent it", kind)
}

func (w *peers) received(from int32, kind peer.Kind, value any) {
	if w.node.failed {
		return
	}
	m, ok := value.(*quorum.Message)
	switch {
	case !ok:
		w.calls.Received(from, value)
	case m.From.Node() == from && w.node.replica != nil:
		w.node.replica.Receive(m)
	}
}

// Send implements quorum.Peers.
func (w *peers) Send(m *quorum.Message) { w.mesh.Send(m.To.Node(), kindQuorum, m.Bytes(), m) }

// serve answers what other nodes ask for.
func (w *peers) serve() {
	n := w.node
	leading := func(h peer.Handler) peer.Handler {
		return func(from int32, body []byte, reply func([]byte, *peer.Refusal)) {
			if n.quorum == nil || !n.quorum.Leads() || n.controller == nil {
				reply(nil, &peer.Refusal{Code: refusedNotLeader, Text: "this node does not lead the metadata's quorum"})
				return
			}
			h(from, body, reply)
		}
	}
	w.calls.Handle(methodJoin, leading(w.admit))
	w.calls.Handle(methodPropose, leading(n.metadata.proposeFor))
	w.calls.Handle(methodShip, leading(n.metadata.shipFor))
	w.calls.Handle(methodCatchUp, leading(w.confirmIndex))
	w.calls.Handle(methodRegister, leading(n.registerFor))
	w.calls.Handle(methodHeartbeat, leading(n.heartbeatOf))
	w.calls.Handle(methodDescribeQuorum, leading(n.describeQuorumFor))
	w.calls.Handle(methodChangeMember, leading(n.changeMemberFor))
	w.calls.Handle(methodAbandonWAL, leading(n.abandonWALFor))
	w.calls.Handle(methodLoad, leading(n.loadOf))
	w.calls.Handle(methodLeader, w.leaderOf)
	w.calls.Handle(methodMarker, n.markerOf)
	w.calls.Handle(methodAddPartitions, n.addPartitionsOf)
	w.calls.Handle(methodMove, n.moveFor)
	w.calls.Handle(methodArriving, n.arriving)
	w.calls.Handle(methodLeaving, n.leavingOf)
	w.calls.Handle(methodTailRead, n.tailReadOf)
}

// askLeader asks the leader of the quorum, as far as it is known.
func (w *peers) askLeader(m peer.Method, body []byte, timeout time.Duration, done func([]byte, error)) {
	if w.node.replica == nil || w.node.replica.Leader() == 0 {
		w.node.loop.Post(func() {
			done(nil, &peer.Refusal{Code: refusedNotLeader, Text: "the metadata's quorum has no leader at present"})
		})
		return
	}
	w.calls.Call(w.node.replica.Leader().Node(), m, body, timeout, done)
}

// imageChanged learns where the others are.
func (w *peers) imageChanged() {
	for _, b := range w.node.metadata.image.Brokers() {
		if b.ID != metadata.BrokerID(w.node.config.NodeID) && b.Peer != "" {
			w.mesh.SetAddress(int32(b.ID), b.Peer)
		}
	}
}

func (w *peers) close() {
	w.node.loop.Stop(&w.joining)
	w.calls.Close()
	w.mesh.Close()
}

// confirmIndex answers with the index that holds everything that anybody knew when the request was sent.
func (w *peers) confirmIndex(_ int32, _ []byte, reply func([]byte, *peer.Refusal)) {
	w.node.quorum.ConfirmLeadership(func(leads bool) {
		if !leads {
			reply(nil, &peer.Refusal{Code: refusedNotLeader, Text: "this node does not lead the metadata's quorum any more"})
			return
		}
		reply(binary.LittleEndian.AppendUint64(nil, w.node.quorum.Applied()), nil)
	})
}

// catchUp waits until the image has everything that anybody knew when it began.
func (n *Node) catchUp(p *task.Proc) error {
	if n.peers == nil {
		return nil
	}
	for !n.failed {
		var index uint64
		known := false
		p.Await(func(wake func()) {
			n.peers.askLeader(methodCatchUp, nil, callTimeout, func(body []byte, err error) {
				if err == nil && len(body) == 8 {
					index, known = binary.LittleEndian.Uint64(body), true
				}
				wake()
			})
		})
		if !known {
			p.Sleep(startPoll)
			continue
		}
		for n.quorum.Applied() < index && !n.failed {
			p.Sleep(startPoll)
		}
		return nil
	}
	return nil
}

// startPoll is how often a start looks whether it can go on.
const startPoll = 20 * time.Millisecond
