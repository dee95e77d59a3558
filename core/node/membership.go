package node

import (
	"encoding/binary"
	"log/slog"
	"slices"
	"time"

	"weir/core/config"
	"weir/core/peer"
	"weir/core/quorum"
)

// tendInterval is how often the leader looks whether a learner can become a voter.
const tendInterval = time.Second

// joinLine is after how many election timeouts operators hear that a node is not added.
const joinLine = 30

// join asks to be added to the quorum for as long as this node's disk is no member of it. One that hears no leader asks too: it may have been
// removed while it was down, and then nobody tells it so. To whoever is a member the answer is that it is one.
func (w *peers) join() {
	n := w.node
	n.loop.Reset(&w.joining, n.config.Cluster.ElectionTimeout, w.join)
	w.seekVote()
	if n.replica == nil || n.replica.Member() == 0 || !n.replica.AwaitsAdmission() && n.replica.Leader() != 0 {
		return
	}
	if w.waits++; w.waits%joinLine == 0 && n.replica.AwaitsAdmission() {
		n.telemetry.Warn("this node waits to be added to the metadata's quorum, and nobody does: a majority of the voters must run, and controller.quorum.voters or controller.quorum.bootstrap.servers must name their addresses",
			slog.String("member", n.replica.Member().String()))
	}
	body := append(binary.LittleEndian.AppendUint64(nil, uint64(n.replica.Member())), w.address...)
	for _, v := range n.config.Cluster.Voters {
		if v.Node != n.config.NodeID {
			w.calls.Call(v.Node, methodJoin, body, n.config.Cluster.ElectionTimeout, func([]byte, error) {})
		}
	}
	for _, address := range n.config.Cluster.Bootstrap {
		w.knock(address, body)
	}
}

// mayFound reports whether this node may found a cluster: it is to vote, and the others will find it.
func (w *peers) mayFound() bool {
	c := &w.node.config.Cluster
	return c.Votes && (len(c.Bootstrap) == 0 || slices.Contains(c.Bootstrap, w.address) || len(c.Voters) > 0)
}

// knock asks whoever listens at an address who leads the quorum, and that to be added to it.
func (w *peers) knock(address string, join []byte) {
	if address == w.address {
		return
	}
	timeout := w.node.config.Cluster.ElectionTimeout
	id, ok := w.mesh.Find(address)
	if !ok {
		return
	}
	w.calls.Call(id, methodLeader, nil, timeout, func(b []byte, err error) {
		if err != nil || len(b) < 4 || int32(binary.LittleEndian.Uint32(b)) == w.node.config.NodeID {
			return
		}
		leader := int32(binary.LittleEndian.Uint32(b))
		w.mesh.SetAddress(leader, string(b[4:]))
		w.calls.Call(leader, methodJoin, join, timeout, func([]byte, error) {})
	})
}

// leaderOf answers with the leader of the quorum as far as this node knows it: i32 node, then its address.
func (w *peers) leaderOf(_ int32, _ []byte, reply func([]byte, *peer.Refusal)) {
	n := w.node
	if n.replica == nil || n.replica.Leader() == 0 {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "no leader of the metadata's quorum is known here"})
		return
	}
	id, address := n.replica.Leader().Node(), w.address
	if id != n.config.NodeID {
		address = n.peerAddress(id)
	}
	if address == "" {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "where the leader listens is not known here"})
		return
	}
	reply(append(binary.LittleEndian.AppendUint32(nil, uint32(id)), address...), nil)
}

// seekVote asks to become a voter, if this node is to by itself and only follows.
func (w *peers) seekVote() {
	n := w.node
	if c := &n.config.Cluster; !c.AutoJoin || !c.Votes || n.quorum == nil || n.quorum.Leads() || n.shutting {
		return
	}
	voters, learners := n.quorum.Members()
	if id := n.quorum.Member(); slices.Contains(learners, id) && len(voters) < config.VotersMax {
		clusterOf{n}.ChangeMember(quorum.PromoteVoter, id, func(err error) {
			if err == nil {
				n.telemetry.Hit("node: a voter joined by itself")
				n.telemetry.Info("this node votes in the metadata's quorum from now on")
			}
		})
	}
}

// admit adds the disk of another node to the quorum (R18). An older disk of that node is removed: its entries are gone with it.
func (w *peers) admit(from int32, body []byte, reply func([]byte, *peer.Refusal)) {
	if len(body) < 8 {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "malformed"})
		return
	}
	id, address := quorum.MemberID(binary.LittleEndian.Uint64(body)), string(body[8:])
	if id.Node() != from {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: "a node may only add itself"})
		return
	}
	w.mesh.SetAddress(from, address)
	q := w.node.quorum
	voters, learners := q.Members()
	change, member := quorum.AddLearner, id
	for _, other := range append(voters, learners...) {
		if other.Node() == from && other != id {
			change, member = quorum.RemoveMember, other
		}
	}
	if change == quorum.AddLearner && slices.Contains(append(voters, learners...), id) {
		reply(nil, nil) // it only heard no leader
		return
	}
	q.ChangeMembers(change, member, func(err error) {
		if err != nil {
			reply(nil, &peer.Refusal{Code: refusedBusy, Text: err.Error()})
			return
		}
		w.node.telemetry.Info("the members of the metadata's quorum changed", slog.String("member", member.String()), slog.Bool("removed", change == quorum.RemoveMember))
		reply(nil, nil)
	})
}

// tend makes learners voters that are to be.
func (w *peers) tend() {
	n := w.node
	if n.failed || n.shutting || !n.quorum.Leads() {
		return
	}
	n.loop.After(tendInterval, w.tend)
	_, learners := n.quorum.Members()
	i := slices.IndexFunc(learners, func(id quorum.MemberID) bool { _, votes := n.config.Cluster.Voter(id.Node()); return votes })
	if i < 0 {
		return
	}
	n.quorum.ChangeMembers(quorum.PromoteVoter, learners[i], func(err error) {
		if err == nil {
			n.telemetry.Info("a member of the metadata's quorum votes from now on", slog.String("member", learners[i].String()))
		}
	})
}
