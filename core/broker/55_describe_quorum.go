// DescribeQuorum (55), versions 0-2 (KIP-595; the clocks of replicas are KIP-836, nodes and directories KIP-853).
//
// The quorum of weir's metadata is described under the name that KRaft's log has in Kafka, for tools ask for no other. Its leader
// is asked; while there is none, this node says what it knows, with offsets and times of the others as -1, where Kafka fails. Offsets are
// indexes of raft's log, and the leader epoch is raft's term. A directory id names a member's disk (quorum.MemberID). A voter's
// endpoint is its listener for other nodes; a node that is alone has none, and is shown with those of its broker.

package broker

import (
	"time"

	"weir/core/metadata"
	"weir/core/quorum"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeQuorum describes the metadata's quorum.
func (b *Broker) describeQuorum(x exchange, r *kmsg.DescribeQuorumRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DescribeQuorumResponse)
	out.ErrorMessage = kmsg.StringPtr("") // not null, as in Kafka
	if len(r.Topics) != 1 || r.Topics[0].Topic != clusterMetadataTopic || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Partitions[0].Partition != 0 {
		refuseQuorum(r, out)
		x.replyMessage(out)
		return
	}
	b.cluster.DescribeQuorum(func(s quorum.State) {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic, t.Partitions = clusterMetadataTopic, []kmsg.DescribeQuorumResponseTopicPartition{b.quorumState(&s)}
		out.Topics = append(out.Topics, t)
		for _, v := range s.Voters {
			out.Nodes = append(out.Nodes, b.quorumNode(v.ID.Node()))
		}
		x.replyMessage(out)
	})
}

var noQuorum = "This server does not host this topic-partition."

// refuseQuorum answers for every partition asked for: this is not the log of the metadata.
func refuseQuorum(r *kmsg.DescribeQuorumRequest, out *kmsg.DescribeQuorumResponse) {
	for i := range r.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = r.Topics[i].Topic
		for _, q := range r.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorCode = q.Partition, wire.UnknownTopicOrPartition
			p.ErrorMessage = &noQuorum
			t.Partitions = append(t.Partitions, p)
		}
		out.Topics = append(out.Topics, t)
	}
}

func (b *Broker) quorumState(s *quorum.State) kmsg.DescribeQuorumResponseTopicPartition {
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.ErrorMessage = kmsg.StringPtr("")
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = -1, int32(s.Term), int64(s.Applied)+1
	if s.Leader != 0 {
		p.LeaderID = s.Leader.Node()
	}
	now := b.clock.WallMillis()
	p.CurrentVoters, p.Observers = quorumMembers(s.Voters, now), quorumMembers(s.Learners, now)
	return p
}

// quorumMembers shows members at a time of the wall clock. Times are the leader's ages on this node's clock.
func quorumMembers(members []quorum.MemberState, now int64) []kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	before := func(age time.Duration) int64 {
		if age < 0 {
			return -1
		}
		return now - age.Milliseconds()
	}
	out := make([]kmsg.DescribeQuorumResponseTopicPartitionReplicaState, len(members))
	for i, m := range members {
		r := &out[i]
		r.Default()
		r.ReplicaID, r.ReplicaDirectoryID, r.LogEndOffset = m.ID.Node(), m.ID.Directory(), -1
		if m.End > 0 {
			r.LogEndOffset = int64(m.End) + 1
		}
		r.LastFetchTimestamp, r.LastCaughtUpTimestamp = before(m.Heard), before(m.Caught)
	}
	return out
}

// quorumNode says where a voter is reached.
func (b *Broker) quorumNode(id int32) kmsg.DescribeQuorumResponseNode {
	out := kmsg.NewDescribeQuorumResponseNode()
	out.NodeID = id
	add := func(name, host string, port int32) {
		l := kmsg.NewDescribeQuorumResponseNodeListener()
		l.Name, l.Host, l.Port = name, host, uint16(port)
		out.Listeners = append(out.Listeners, l)
	}
	if at, ok := b.cluster.QuorumEndpoint(id); ok {
		add(at.Name, at.Host, at.Port)
		return out
	}
	if n, ok := b.image.Broker(metadata.BrokerID(id)); ok {
		for _, e := range n.Listeners {
			add(e.Listener, e.Host, e.Port)
		}
	}
	return out
}
