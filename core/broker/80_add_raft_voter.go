// AddRaftVoter (80), versions 0-1 (KIP-853): when to answer (KIP-1186, version 1). What it shares with RemoveRaftVoter
// (81_remove_raft_voter.go) is here too.
//
// A node becomes an observer of the metadata's quorum by configuration alone (controller.quorum.voters or controller.quorum.bootstrap.servers names whom to ask), and
// a voter if that names it. This makes an observer a voter that is not named there. The endpoint of a request is not used: the
// node has told its own. A cluster of one node has no others, and answers as Kafka does with static voters.
//
// Difference from Kafka: whoever is no observer yet is refused with INVALID_REQUEST, where Kafka calls the endpoint. Every answer comes once
// the change is in force.

package broker

import (
	"encoding/base64"
	"fmt"
	"slices"

	"weir/core/controller"
	"weir/core/quorum"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// addRaftVoter makes an observer of the metadata's quorum a voter.
func (b *Broker) addRaftVoter(x exchange, r *kmsg.AddRaftVoterRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.AddRaftVoterResponse)
	v := voterKey{r.VoterID, r.VoterDirectoryID}
	w := b.newWait(x, func() { x.replyMessage(out) })
	w.add()
	out.ErrorCode, out.ErrorMessage = wire.RequestTimedOut, nil
	b.addVoter(r, v, func(err error) {
		if !w.ended {
			out.ErrorCode, out.ErrorMessage = refusal(err)
			w.done()
		}
	})
	w.ready(millisOf(r.TimeoutMillis))
}

func (b *Broker) addVoter(r *kmsg.AddRaftVoterRequest, v voterKey, done func(error)) {
	if err := b.checkVoter(r.ClusterID, v, "Add"); err != nil {
		done(err)
		return
	}
	name := b.peerListener()
	if !slices.ContainsFunc(r.Listeners, func(l kmsg.AddRaftVoterRequestListener) bool { return l.Name == name }) {
		done(&controller.Error{Code: wire.InvalidRequest, Message: "Add voter request didn't include the endpoint for the default listener ListenerName(" + name + ")"})
		return
	}
	b.changeVoter("adding", done, func(s quorum.State) {
		at := slices.IndexFunc(s.Learners, v.is)
		switch {
		case slices.ContainsFunc(s.Voters, func(m quorum.MemberState) bool { return m.ID.Node() == v.node }):
			done(&controller.Error{Code: wire.DuplicateVoter, Message: fmt.Sprintf("The voter id for %v is already part of the set of voters %v.", v, keysOf(s.Voters))})
		case at < 0:
			done(&controller.Error{Code: wire.InvalidRequest, Message: fmt.Sprintf("%v is not an observer of the metadata's quorum: start the node with the keys controller.quorum.bootstrap.servers and controller.listener.names first.", v)})
		default:
			b.cluster.ChangeMember(quorum.PromoteVoter, s.Learners[at].ID, done)
		}
	})
}

// voterKey names a voter as requests do.
type voterKey struct {
	node      int32
	directory [16]byte
}

func (v voterKey) is(m quorum.MemberState) bool {
	return m.ID.Node() == v.node && m.ID.Directory() == v.directory
}

// String is what Kafka writes in the texts of its errors.
func (v voterKey) String() string {
	return fmt.Sprintf("ReplicaKey(id=%d, directoryId=%s)", v.node, base64.RawURLEncoding.EncodeToString(v.directory[:]))
}

func keysOf(members []quorum.MemberState) (keys []voterKey) {
	for _, m := range members {
		keys = append(keys, voterKey{m.ID.Node(), m.ID.Directory()})
	}
	return keys
}

// checkVoter checks what a request says of cluster and voter, in Kafka's order.
func (b *Broker) checkVoter(cluster *string, v voterKey, what string) error {
	switch {
	case cluster != nil && *cluster != b.image.ClusterID():
		return &controller.Error{Code: wire.InconsistentClusterID, Message: fmt.Sprintf("The given id %q doesn't match the cluster id %q", *cluster, b.image.ClusterID())}
	case v.node < 0 || isZero(v.directory):
		return &controller.Error{Code: wire.InvalidRequest, Message: what + " voter request didn't include a valid voter"}
	}
	return nil
}

// changeVoter calls then with the quorum's state, if there may be other members at all.
func (b *Broker) changeVoter(what string, done func(error), then func(quorum.State)) {
	if !b.config.Cluster.Several() {
		done(&controller.Error{Code: wire.UnsupportedVersion, Message: "Cluster doesn't support " + what + " voter because the kraft.version feature is 0"})
		return
	}
	b.cluster.DescribeQuorum(then)
}

// peerListener is the name of the listener for other nodes.
func (b *Broker) peerListener() string {
	if name := b.config.Cluster.ListenerName; name != "" {
		return name
	}
	return "CONTROLLER"
}
