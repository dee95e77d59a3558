package broker

import (
	"weir/core/config"
	"weir/core/controller"
	"weir/core/coordinator"
	"weir/core/group"
	"weir/core/metadata"
	"weir/core/wire"
)

// Names of the internal topics whose partitions coordinators lead.
const (
	offsetsTopic     = "__consumer_offsets"
	transactionTopic = "__transaction_state"
)

// groupOperations is every operation on a group: there are no ACLs.
const groupOperations int32 = 3400

// groupOf returns the machine that serves a group.
func (b *Broker) groupOf(id string) (*group.Machine, wire.Code) {
	if b.groups == nil {
		return nil, wire.NotCoordinator
	}
	s, code := b.groups.Find(id)
	if code != wire.None {
		return nil, code
	}
	return s.Machine().(*group.Machine), wire.None
}

// namedGroupOf is groupOf for requests that need the id of a group.
func (b *Broker) namedGroupOf(id string) (*group.Machine, wire.Code) {
	if id == "" {
		return nil, wire.InvalidGroupID
	}
	return b.groupOf(id)
}

// eachGroups calls f for the machines that serve, by partition. The code is COORDINATOR_LOAD_IN_PROGRESS if there is one
// that does not yet.
func (b *Broker) eachGroups(f func(*group.Machine)) wire.Code {
	if b.groups == nil {
		return wire.None
	}
	if b.groups.Loading() {
		return wire.CoordinatorLoadInProgress
	}
	b.groups.Each(func(s *coordinator.Shard) { f(s.Machine().(*group.Machine)) })
	return wire.None
}

// clientOf is who sent a request, as Kafka shows it.
func clientOf(x exchange) group.Client {
	return group.Client{ID: x.clientID(), Host: "/" + x.address()}
}

// createInternalTopic creates a topic of a coordinator, as somebody looks for one. Clients ask again.
func (b *Broker) createInternalTopic(name string) {
	if b.creating[name] {
		return
	}
	b.creating[name] = true
	b.controller.CreateTopics([]controller.NewTopic{b.internalTopic(name)}, false, func([]controller.TopicResult) { delete(b.creating, name) })
}

// internalTopic is a coordinator's topic as Kafka creates it. It has as many partitions as long as it lives: keys are
// assigned to them by that number.
func (b *Broker) internalTopic(name string) controller.NewTopic {
	n := controller.NewTopic{Name: name, Partitions: b.config.Groups.OffsetsTopicPartitions, ReplicationFactor: -1}
	overrides := []config.Override{{Key: "cleanup.policy", Value: "compact"}, {Key: "compression.type", Value: "producer"}, {Key: "segment.bytes", Value: "104857600"}}
	if name == transactionTopic {
		n.Partitions = b.config.TransactionTopicPartitions
		overrides[1].Value = "uncompressed"
		overrides = append(overrides, config.Override{Key: "unclean.leader.election.enable", Value: "false"})
	}
	for _, o := range overrides {
		n.Configs = append(n.Configs, metadata.Config(o))
	}
	return n
}
