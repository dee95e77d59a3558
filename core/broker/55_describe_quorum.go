// DescribeQuorum (55), versions 0-2 (KIP-595; the clocks of replicas are KIP-836, nodes and directories KIP-853).
//
// The quorum of weir's metadata is described under the name that KRaft's log has in Kafka, for tools ask for no other. It has
// one voter, this node, which has applied what it committed: high watermark and end of the log are the same. Offsets are
// indexes of raft's log. There is no listener for controllers: a node has those of its broker.

package broker

import (
	"weir/core/metadata"
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
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic, t.Partitions = clusterMetadataTopic, []kmsg.DescribeQuorumResponseTopicPartition{b.quorumState()}
	out.Topics = append(out.Topics, t)
	if n, ok := b.image.Broker(metadata.BrokerID(b.config.NodeID)); ok {
		out.Nodes = []kmsg.DescribeQuorumResponseNode{quorumNode(n)}
	}
	x.replyMessage(out)
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

func (b *Broker) quorumState() kmsg.DescribeQuorumResponseTopicPartition {
	end, now := int64(b.image.AppliedIndex())+1, b.clock.WallMillis()
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.LogEndOffset, voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = b.config.NodeID, end, now, now
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.ErrorMessage = kmsg.StringPtr("")
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = b.config.NodeID, int32(b.quorum.Term()), end
	p.CurrentVoters = append(p.CurrentVoters, voter)
	return p
}

func quorumNode(n *metadata.Broker) kmsg.DescribeQuorumResponseNode {
	out := kmsg.NewDescribeQuorumResponseNode()
	out.NodeID = int32(n.ID)
	for _, e := range n.Listeners {
		l := kmsg.NewDescribeQuorumResponseNodeListener()
		l.Name, l.Host, l.Port = e.Listener, e.Host, uint16(e.Port)
		out.Listeners = append(out.Listeners, l)
	}
	return out
}
