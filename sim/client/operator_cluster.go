package client

import (
	"slices"
	"strconv"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file has what an administrator's tools change in a cluster of several brokers. What becomes of the records is what the
// other clients check.

// steerCluster lists the brokers, and moves a partition or unregisters a broker.
func (o *Operator) steerCluster() {
	if o.options.Voters && o.draws.PerMille(300) {
		o.removeVoter()
		return
	}
	r := kmsg.NewPtrDescribeClusterRequest()
	r.EndpointType, r.IncludeFencedBrokers = 1, true
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeClusterResponse)
		o.among("DescribeCluster", v.ErrorCode)
		away := slices.IndexFunc(v.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.IsFenced })
		switch {
		case len(v.Brokers) == 0:
			o.pause()
		case away >= 0 && o.draws.PerMille(500):
			o.unregister(v.Brokers[away].NodeID)
		case o.draws.PerMille(150):
			o.drain(v.Brokers[o.draws.Below(int64(len(v.Brokers)))].NodeID, o.draws.PerMille(500))
		case o.draws.PerMille(900):
			o.reassign(v.Brokers)
		default:
			o.unregister(v.Brokers[o.draws.Below(int64(len(v.Brokers)))].NodeID)
		}
	})
}

// drain tells a broker to give up what it leads, or ends that. The last one that is not drained is refused.
func (o *Operator) drain(id int32, cancel bool) {
	set := "true"
	if cancel {
		set = "false"
	}
	o.alter(kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id)), "weir.broker.drain", set, true, func(code int16) {
		o.among("the drain of a broker", code, wire.InvalidRequest, wire.BrokerIDNotRegistered, wire.NotController)
		o.pause()
	})
}

// reassign moves a partition of any topic to some of the brokers, which may be fenced or gone by then.
func (o *Operator) reassign(brokers []kmsg.DescribeClusterResponseBroker) {
	name, partitions := o.anyTopic()
	partition := int32(o.draws.Below(int64(partitions) + 1)) // the last is not there
	from := o.draws.Below(int64(len(brokers)))
	var replicas []int32
	for i := range o.draws.Between(1, int64(len(brokers))) {
		replicas = append(replicas, brokers[(from+i)%int64(len(brokers))].NodeID)
	}
	r := reassignment(name, partition, replicas)
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.AlterPartitionAssignmentsResponse)
		o.among("AlterPartitionReassignments", v.ErrorCode, wire.NotController)
		o.among("AlterPartitionReassignments of a partition", v.Topics[0].Partitions[0].ErrorCode,
			wire.UnknownTopicOrPartition, wire.InvalidReplicaAssignment, wire.LeaderNotAvailable, wire.RequestTimedOut, wire.NotController)
		o.request(kmsg.NewPtrListPartitionReassignmentsRequest(), func(response kmsg.Response, err error) {
			if err != nil {
				return
			}
			o.among("ListPartitionReassignments", response.(*kmsg.ListPartitionReassignmentsResponse).ErrorCode)
			o.pause()
		})
	})
}

// reassignment asks for a move of a partition: the first of its replicas leads it.
func reassignment(topic string, partition int32, replicas []int32) *kmsg.AlterPartitionAssignmentsRequest {
	p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	p.Partition, p.Replicas = partition, replicas
	t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	r.TimeoutMillis, r.Topics = 3000, append(r.Topics, t)
	return r
}

// removeVoter removes a voter of the metadata's quorum. Its node asks to be added again, and becomes a voter once it has caught up.
func (o *Operator) removeVoter() {
	d := kmsg.NewPtrDescribeQuorumRequest()
	p := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, p)
	d.Topics = append(d.Topics, topic)
	o.request(d, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.DescribeQuorumResponse)
		if v.ErrorCode != wire.None || len(v.Topics) == 0 || len(v.Topics[0].Partitions) == 0 || len(v.Topics[0].Partitions[0].CurrentVoters) < 2 {
			o.pause()
			return
		}
		voters := v.Topics[0].Partitions[0].CurrentVoters
		voter := voters[o.draws.Below(int64(len(voters)))]
		r := kmsg.NewPtrRemoveRaftVoterRequest()
		r.VoterID, r.VoterDirectoryID = voter.ReplicaID, voter.ReplicaDirectoryID
		o.request(r, func(response kmsg.Response, err error) {
			if err != nil {
				return
			}
			code := response.(*kmsg.RemoveRaftVoterResponse).ErrorCode
			o.among("RemoveRaftVoter", code, wire.VoterNotFound, wire.InvalidRequest, wire.RequestTimedOut, wire.NotController, wire.NotLeaderOrFollower)
			if code == wire.None {
				o.Queue.Hit("world: an operator removed a voter")
			}
			o.pause()
		})
	})
}

// anyTopic draws a topic, of the clients or of the coordinators, and how many partitions it has about.
func (o *Operator) anyTopic() (name string, partitions int) {
	internal := []string{"__consumer_offsets", "__transaction_state"}
	i := int(o.draws.Below(int64(len(o.Topics) + len(internal))))
	if i < len(internal) {
		return internal[i], 3
	}
	t := o.Topics[i-len(internal)]
	return t.Name, len(t.Partitions)
}

// unregister removes a broker for good, unless that is alive or still needed. It comes back as a new one.
func (o *Operator) unregister(id int32) {
	r := kmsg.NewPtrUnregisterBrokerRequest()
	r.BrokerID = id
	o.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		o.among("UnregisterBroker", response.(*kmsg.UnregisterBrokerResponse).ErrorCode, wire.InvalidRequest, wire.BrokerIDNotRegistered, wire.NotController)
		o.pause()
	})
}
