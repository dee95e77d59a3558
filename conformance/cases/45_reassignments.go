package cases

import (
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reassignments are AlterPartitionReassignments and ListPartitionReassignments, on one broker: nothing ever moves.
func reassignments() []suite.Case {
	alter := suite.OfAPI(45,
		suite.Case{Name: "to where it is", Run: func(c *suite.C) {
			r := reassign(newTopic(c, "t", 1).name, 0, []int32{c.Broker.NodeID})
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.OK(answer.Topics[0].Partitions[0].ErrorCode)
			c.Equal("AllowReplicationFactorChange", answer.AllowReplicationFactorChange, true)
		}},
		refusedReassignment("cancelled", kerr.NoReassignmentInProgress, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(newTopic(c, "t", 1).name, 0, nil)
		}),
		refusedReassignment("unknown topic", kerr.UnknownTopicOrPartition, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(c.Name("none"), 0, []int32{c.Broker.NodeID})
		}),
		refusedReassignment("unknown topic, cancelled", kerr.UnknownTopicOrPartition, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(c.Name("none"), 0, nil)
		}),
		refusedReassignment("unknown partition", kerr.UnknownTopicOrPartition, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(newTopic(c, "t", 1).name, 7, []int32{c.Broker.NodeID})
		}),
		refusedReassignment("negative partition", kerr.UnknownTopicOrPartition, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(newTopic(c, "t", 1).name, -1, []int32{c.Broker.NodeID})
		}),
		refusedReassignment("no replicas", kerr.InvalidReplicaAssignment, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(newTopic(c, "t", 1).name, 0, []int32{})
		}),
		refusedReassignment("unknown broker", kerr.InvalidReplicaAssignment, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(newTopic(c, "t", 1).name, 0, []int32{c.Broker.NodeID, c.Broker.NodeID + 90})
		}),
		refusedReassignment("a broker twice", kerr.InvalidReplicaAssignment, func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest {
			return reassign(newTopic(c, "t", 1).name, 0, []int32{c.Broker.NodeID, c.Broker.NodeID})
		}),
		suite.Case{Name: "the same factor, as it must be", Versions: from(1), Run: func(c *suite.C) {
			r := reassign(newTopic(c, "t", 1).name, 0, []int32{c.Broker.NodeID})
			r.AllowReplicationFactorChange = false
			answer := suite.Call(c, r)
			c.OK(answer.Topics[0].Partitions[0].ErrorCode)
			c.Equal("AllowReplicationFactorChange", answer.AllowReplicationFactorChange, false)
		}},
		suite.Case{Name: "no time", Run: func(c *suite.C) {
			r := reassign(newTopic(c, "t", 1).name, 0, []int32{c.Broker.NodeID})
			r.TimeoutMillis = 0
			answer := suite.Call(c, r)
			c.Code(answer.ErrorCode, kerr.RequestTimedOut)
			c.Code(answer.Topics[0].Partitions[0].ErrorCode, kerr.RequestTimedOut)
		}},
		suite.Case{Name: "a topic twice", Run: func(c *suite.C) {
			r := reassign(newTopic(c, "t", 1).name, 0, []int32{c.Broker.NodeID})
			r.Topics = append(r.Topics, r.Topics[0])
			answer := suite.Call(c, r)
			c.Equal("Topics", len(answer.Topics), 2)
			c.OK(answer.Topics[1].Partitions[0].ErrorCode)
		}},
	)
	list := suite.OfAPI(46,
		listedNone("all", func(*suite.C) []kmsg.ListPartitionReassignmentsRequestTopic { return nil }),
		listedNone("no topics", func(*suite.C) []kmsg.ListPartitionReassignmentsRequestTopic {
			return []kmsg.ListPartitionReassignmentsRequestTopic{}
		}),
		listedNone("a topic that does not move", func(c *suite.C) []kmsg.ListPartitionReassignmentsRequestTopic {
			return []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: newTopic(c, "t", 1).name, Partitions: []int32{0, 9}}, {Topic: c.Name("none"), Partitions: []int32{0}}}
		}),
	)
	return append(alter, list...)
}

func reassign(topic string, partition int32, replicas []int32) *kmsg.AlterPartitionAssignmentsRequest {
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	in, p := kmsg.NewAlterPartitionAssignmentsRequestTopic(), kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	p.Partition, p.Replicas = partition, replicas
	in.Topic, in.Partitions = topic, append(in.Partitions, p)
	r.TimeoutMillis, r.Topics = 10_000, append(r.Topics, in)
	return r
}

// refusedReassignment is a case whose partition is refused, and nothing else.
func refusedReassignment(name string, code *kerr.Error, request func(c *suite.C) *kmsg.AlterPartitionAssignmentsRequest) suite.Case {
	return suite.Case{Name: name, Run: func(c *suite.C) {
		answer := suite.Call(c, request(c))
		c.OK(answer.ErrorCode)
		c.Code(answer.Topics[0].Partitions[0].ErrorCode, code)
	}}
}

func listedNone(name string, topics func(c *suite.C) []kmsg.ListPartitionReassignmentsRequestTopic) suite.Case {
	return suite.Case{Name: name, Run: func(c *suite.C) {
		r := kmsg.NewPtrListPartitionReassignmentsRequest()
		r.TimeoutMillis, r.Topics = 10_000, topics(c)
		answer := suite.Call(c, r)
		c.OK(answer.ErrorCode)
		c.Equal("Topics", len(answer.Topics), 0)
	}}
}
