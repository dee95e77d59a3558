// RemoveRaftVoter (81), version 0 (KIP-853).
//
// A voter is removed from the metadata's quorum: one whose disk is gone for good, say. A node that runs asks to be an observer
// again, and becomes a voter again if controller.quorum.voters names it, as in Kafka with controller.quorum.auto.join.enable.

package broker

import (
	"fmt"
	"slices"

	"weir/core/controller"
	"weir/core/quorum"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// removeRaftVoter removes a voter from the metadata's quorum.
func (b *Broker) removeRaftVoter(x exchange, r *kmsg.RemoveRaftVoterRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.RemoveRaftVoterResponse)
	done := func(err error) {
		out.ErrorCode, out.ErrorMessage = refusal(err)
		x.replyMessage(out)
	}
	v := voterKey{r.VoterID, r.VoterDirectoryID}
	if err := b.checkVoter(r.ClusterID, v, "Remove"); err != nil {
		done(err)
		return
	}
	b.changeVoter("removing", done, func(s quorum.State) {
		at := slices.IndexFunc(s.Voters, v.is)
		if at < 0 {
			done(&controller.Error{Code: wire.VoterNotFound, Message: fmt.Sprintf("Cannot remove voter %v from the set of voters %v", v, keysOf(s.Voters))})
			return
		}
		b.cluster.ChangeMember(quorum.RemoveMember, s.Voters[at].ID, done)
	})
}
