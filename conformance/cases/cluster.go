package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster are the APIs that show the cluster and its brokers.
func cluster() []suite.Case {
	return slices.Concat(describeCluster(), describeLogDirs(), describeQuorum(), describeTopicPartitions(), electLeaders(), unregisterBroker(),
		offsetForLeaderEpoch(), describeQuotas(), describeScram())
}

func describeCluster() []suite.Case {
	return suite.OfAPI(60,
		suite.Case{Name: "the brokers", Run: func(c *suite.C) {
			r := suite.Call(c, kmsg.NewPtrDescribeClusterRequest())
			c.OK(r.ErrorCode)
			c.Equal("Brokers", len(r.Brokers), c.Broker.Brokers)
			c.True("the broker is among them", hasBroker(r, c.Broker.NodeID))
			c.True("there is a cluster id", r.ClusterID != "")
			c.Equal("ClusterAuthorizedOperations", r.ClusterAuthorizedOperations, -1<<31)
		}},
		suite.Case{Name: "fenced brokers, of which there are none", Versions: from(2), Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeClusterRequest()
			r.IncludeFencedBrokers = true
			answer := suite.Call(c, r)
			c.Equal("Brokers", len(answer.Brokers), c.Broker.Brokers)
			for i := range answer.Brokers {
				c.Equal("IsFenced", answer.Brokers[i].IsFenced, false)
			}
		}},
		suite.Case{Name: "the controller is one of the brokers", Run: func(c *suite.C) {
			r := suite.Call(c, kmsg.NewPtrDescribeClusterRequest())
			c.True("the broker is known", hasBroker(r, r.ControllerID))
		}},
		suite.Case{Name: "controllers", Versions: from(1), Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeClusterRequest()
			r.EndpointType = 2
			c.Code(suite.Call(c, r).ErrorCode, kerr.MismatchedEndpointType)
		}},
		suite.Case{Name: "an unknown endpoint type", Versions: from(1), Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeClusterRequest()
			r.EndpointType = 9
			c.Code(suite.Call(c, r).ErrorCode, kerr.UnsupportedEndpointType)
		}},
	)
}

func hasBroker(r *kmsg.DescribeClusterResponse, id int32) bool {
	return slices.ContainsFunc(r.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == id })
}

// votersMax is how many brokers of a larger cluster vote.
const votersMax = 3

func unregisterBroker() []suite.Case {
	unknown := func(id int32) func(c *suite.C) {
		return func(c *suite.C) {
			r := kmsg.NewPtrUnregisterBrokerRequest()
			r.BrokerID = id
			c.Code(suite.Call(c, r).ErrorCode, kerr.BrokerIDNotRegistered)
		}
	}
	return suite.OfAPI(64,
		suite.Case{Name: "a broker that never was", Run: unknown(99_999)},
		suite.Case{Name: "a negative id", Run: unknown(-1)},
	)
}

func describeLogDirs() []suite.Case {
	return suite.OfAPI(35,
		suite.Case{Name: "a topic", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			write(c, t, 0, 3)
			r := kmsg.NewPtrDescribeLogDirsRequest()
			in := kmsg.NewDescribeLogDirsRequestTopic()
			in.Topic, in.Partitions = t.name, []int32{0}
			r.Topics = append(r.Topics, in)
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Equal("Dirs", len(answer.Dirs), 1)
			c.OK(answer.Dirs[0].ErrorCode, "the directory")
			c.Equal("Partitions", len(answer.Dirs[0].Topics[0].Partitions), 1)
			p := answer.Dirs[0].Topics[0].Partitions[0]
			c.True("it has a size", p.Size > 0)
			c.Equal("OffsetLag", p.OffsetLag, 0)
			c.Equal("IsFuture", p.IsFuture, false)
		}},
		suite.Case{Name: "no topics", Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeLogDirsRequest()
			r.Topics = []kmsg.DescribeLogDirsRequestTopic{}
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Equal("Topics", len(answer.Dirs[0].Topics), 0)
		}},
	)
}

func describeQuorum() []suite.Case {
	ask := func(c *suite.C, topic string) *kmsg.DescribeQuorumResponse {
		r := kmsg.NewPtrDescribeQuorumRequest()
		in := kmsg.NewDescribeQuorumRequestTopic()
		in.Topic, in.Partitions = topic, append(in.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		r.Topics = append(r.Topics, in)
		return suite.Call(c, r)
	}
	return suite.OfAPI(55,
		suite.Case{Name: "the metadata log", Run: func(c *suite.C) {
			r := ask(c, "__cluster_metadata")
			c.OK(r.ErrorCode)
			p := r.Topics[0].Partitions[0]
			c.OK(p.ErrorCode)
			c.Equal("CurrentVoters", len(p.CurrentVoters), min(c.Broker.Brokers, votersMax))
			leader := slices.IndexFunc(p.CurrentVoters, func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool { return v.ReplicaID == p.LeaderID })
			c.True("the leader votes", leader >= 0)
			c.True("there is a high watermark", p.HighWatermark > 0)
			c.True("there is a leader epoch", p.LeaderEpoch > 0)
			c.Equal("Observers", len(p.Observers), 0)
			c.True("the voter has what is committed", p.CurrentVoters[leader].LogEndOffset >= p.HighWatermark)
		}},
		suite.Case{Name: "the voter's endpoint", Versions: from(2), Run: func(c *suite.C) {
			r := ask(c, "__cluster_metadata")
			c.Equal("Nodes", len(r.Nodes), min(c.Broker.Brokers, votersMax))
			leads := func(n kmsg.DescribeQuorumResponseNode) bool { return n.NodeID == r.Topics[0].Partitions[0].LeaderID }
			c.True("the leader is a node", slices.ContainsFunc(r.Nodes, leads))
			for i := range r.Nodes {
				c.True("it is reached somewhere", len(r.Nodes[i].Listeners) > 0 && r.Nodes[i].Listeners[0].Port > 0)
			}
		}},
		suite.Case{Name: "another topic", Run: func(c *suite.C) {
			c.Code(ask(c, c.Name("none")).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
	)
}

func describeTopicPartitions() []suite.Case {
	ask := func(c *suite.C, limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) *kmsg.DescribeTopicPartitionsResponse {
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		for _, name := range names {
			in := kmsg.NewDescribeTopicPartitionsRequestTopic()
			in.Topic = name
			r.Topics = append(r.Topics, in)
		}
		r.ResponsePartitionLimit, r.Cursor = limit, cursor
		return suite.Call(c, r)
	}
	return suite.OfAPI(75,
		suite.Case{Name: "a topic", Run: func(c *suite.C) {
			t := newTopic(c, "t", 2)
			got := ask(c, 100, nil, t.name)
			c.OK(got.Topics[0].ErrorCode)
			c.Equal("TopicID", got.Topics[0].TopicID, t.id)
			c.Equal("Partitions", len(got.Topics[0].Partitions), 2)
			c.Equal("LeaderID", got.Topics[0].Partitions[1].LeaderID, c.Broker.NodeID)
			c.True("there is no cursor", got.NextCursor == nil)
		}},
		suite.Case{Name: "pages", Run: func(c *suite.C) {
			a, b := newTopic(c, "a", 3), newTopic(c, "b", 3)
			first := ask(c, 4, nil, b.name, a.name)
			c.Equal("Topics", len(first.Topics), 2)
			c.Equal("Topic", *first.Topics[0].Topic, a.name)
			c.Equal("Partitions", len(first.Topics[1].Partitions), 1)
			c.Equal("NextCursor", []any{first.NextCursor.Topic, first.NextCursor.Partition}, []any{b.name, int32(1)})
			cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
			cursor.Topic, cursor.Partition = b.name, 1
			second := ask(c, 4, &cursor, a.name, b.name)
			c.Equal("Topics", len(second.Topics), 1)
			c.Equal("Partitions", len(second.Topics[0].Partitions), 2)
			c.True("there is no cursor", second.NextCursor == nil)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(ask(c, 100, nil, c.Name("none")).Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
		}},
	)
}

func electLeaders() []suite.Case {
	ask := func(c *suite.C, kind int8, name string, partition int32) kmsg.ElectLeadersResponseTopicPartition {
		r := kmsg.NewPtrElectLeadersRequest()
		in := kmsg.NewElectLeadersRequestTopic()
		in.Topic, in.Partitions = name, []int32{partition}
		r.ElectionType, r.Topics, r.TimeoutMillis = kind, append(r.Topics, in), 10_000
		return suite.Call(c, r).Topics[0].Partitions[0]
	}
	return suite.OfAPI(43,
		suite.Case{Name: "the preferred leader leads", Run: func(c *suite.C) {
			c.Code(ask(c, 0, newTopic(c, "t", 1).name, 0).ErrorCode, kerr.ElectionNotNeeded)
		}},
		suite.Case{Name: "unclean while there is a leader", Versions: from(1), Run: func(c *suite.C) {
			c.Code(ask(c, 1, newTopic(c, "t", 1).name, 0).ErrorCode, kerr.ElectionNotNeeded)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(ask(c, 0, c.Name("none"), 0).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown partition", Run: func(c *suite.C) {
			c.Code(ask(c, 0, newTopic(c, "t", 1).name, 7).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
	)
}

func offsetForLeaderEpoch() []suite.Case {
	ask := func(c *suite.C, t topic, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		in, p := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch, p.LeaderEpoch = current, epoch
		in.Topic, in.Partitions = t.name, append(in.Partitions, p)
		r.ReplicaID, r.Topics = -1, append(r.Topics, in)
		return suite.Call(c, r).Topics[0].Partitions[0]
	}
	return suite.OfAPI(23,
		suite.Case{Name: "the present epoch", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			epoch := leaderEpoch(c, t)
			got := ask(c, t, -1, epoch)
			c.OK(got.ErrorCode)
			c.Equal("EndOffset", got.EndOffset, 3)
			c.Equal("LeaderEpoch", got.LeaderEpoch, epoch)
		}},
		suite.Case{Name: "an epoch to come", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			got := ask(c, t, -1, leaderEpoch(c, t)+5)
			c.OK(got.ErrorCode)
			c.Equal("EndOffset", got.EndOffset, -1)
			c.Equal("LeaderEpoch", got.LeaderEpoch, -1)
		}},
		suite.Case{Name: "a present epoch to come", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			c.Code(ask(c, t, leaderEpoch(c, t)+1, 0).ErrorCode, kerr.UnknownLeaderEpoch)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(ask(c, topic{name: c.Name("none")}, -1, 0).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
	)
}

func describeQuotas() []suite.Case {
	return suite.OfAPI(48,
		suite.Case{Name: "none", Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeClientQuotasRequest()
			component := kmsg.NewDescribeClientQuotasRequestComponent()
			component.EntityType, component.Match = "user", pointer(c.Name("nobody"))
			r.Components = append(r.Components, component)
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Equal("Entries", len(answer.Entries), 0)
		}},
		suite.Case{Name: "an unknown entity", Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeClientQuotasRequest()
			component := kmsg.NewDescribeClientQuotasRequestComponent()
			component.EntityType, component.Match = "nonsense", pointer("x")
			r.Components = append(r.Components, component)
			c.Code(suite.Call(c, r).ErrorCode, kerr.UnsupportedVersion)
		}},
	)
}

func describeScram() []suite.Case {
	return suite.OfAPI(50,
		suite.Case{Name: "an unknown user", Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			user := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
			user.Name = c.Name("nobody")
			r.Users = append(r.Users, user)
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Code(answer.Results[0].ErrorCode, kerr.ResourceNotFound)
		}},
		suite.Case{Name: "a user twice", Run: func(c *suite.C) {
			r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			user := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
			user.Name = c.Name("nobody")
			r.Users = append(r.Users, user, user)
			c.Code(suite.Call(c, r).Results[0].ErrorCode, kerr.DuplicateResource)
		}},
	)
}
