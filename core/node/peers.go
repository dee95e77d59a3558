package node

import (
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

// methodFeatures is nothing; any node answers with the features that it serves, as controller.AppendFeatures encodes them.
const methodFeatures peer.Method = 20

// methodTailRead, after free numbers, is a request of stream.Engine.AnswerOwed; to whoever has the log of a sealed range.
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
	waits   int                                        // how often it has asked to be added
	epochs  map[metadata.BrokerID]metadata.BrokerEpoch // of the others; 0: it has ended
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
	w := &peers{node: n, epochs: map[metadata.BrokerID]metadata.BrokerEpoch{}}
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
	handle := func(m peer.Method, h peer.Handler) {
		if n.release.serves(m) {
			w.calls.Handle(m, h)
		}
	}
	handle(methodJoin, leading(w.admit))
	handle(methodPropose, leading(n.metadata.proposeFor))
	handle(methodShip, leading(n.metadata.shipFor))
	handle(methodCatchUp, leading(w.confirmIndex))
	handle(methodRegister, leading(n.registerFor))
	handle(methodHeartbeat, leading(n.heartbeatOf))
	handle(methodDescribeQuorum, leading(n.describeQuorumFor))
	handle(methodChangeMember, leading(n.changeMemberFor))
	handle(methodAbandonWAL, leading(n.abandonWALFor))
	handle(methodLoad, leading(n.loadOf))
	handle(methodLeader, w.leaderOf)
	handle(methodMarker, n.markerOf)
	handle(methodAddPartitions, n.addPartitionsOf)
	handle(methodMove, n.moveFor)
	handle(methodArriving, n.arriving)
	handle(methodLeaving, n.leavingOf)
	handle(methodFeatures, n.featuresOf)
	handle(methodTailRead, n.tailReadOf)
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

// imageChanged learns where the others are, and whose epoch has ended.
func (w *peers) imageChanged() {
	for _, b := range w.node.metadata.image.Brokers() {
		if b.ID == metadata.BrokerID(w.node.config.NodeID) {
			continue
		}
		if b.Peer != "" {
			w.mesh.SetAddress(int32(b.ID), b.Peer)
		}
		w.noteEpoch(b)
	}
}

// noteEpoch gives up what the last epoch of a broker was asked for transactions, once that has ended: nobody answers, and a transaction that
// waited for that would hold up its producer and all readers of committed records for callTimeout. See askForTransaction.
func (w *peers) noteEpoch(b *metadata.Broker) {
	now, before := b.Epoch, w.epochs[b.ID]
	if b.Fenced {
		now = 0
	}
	w.epochs[b.ID] = now
	if before == 0 || before == now {
		return
	}
	w.node.loop.Post(func() { // what follows from the image is done then
		if w.calls.GiveUpTo(int32(b.ID), methodMarker)+w.calls.GiveUpTo(int32(b.ID), methodAddPartitions) > 0 {
			w.node.telemetry.Hit("node: what a broker was asked for a transaction was given up when its epoch ended")
		}
	})
}

func (w *peers) close() {
	w.node.loop.Stop(&w.joining)
	w.calls.Close()
	w.mesh.Close()
}

// startPoll is how often a start looks whether it can go on.
const startPoll = 20 * time.Millisecond
