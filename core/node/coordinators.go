package node

import (
	"errors"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/group"
	"weir/core/metadata"
	"weir/core/wire"
)

// offsetsTopic is the internal topic of groups.
const offsetsTopic = "__consumer_offsets"

// buildCoordinators makes the runtimes of coordinators, without shards.
func (n *Node) buildCoordinators() {
	n.coordinatorMemory = coordinator.NewMemory(n.config.CoordinatorBytes, n.telemetry)
	n.transactions, n.transactionRuntime = n.newTransactions()
	n.groupOptions = &group.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Config: n.config, Image: n.metadata.image, GroupConfig: n.groupConfig,
		Verifier: offsetsVerifier{n}, FirstGeneration: n.options.Tuning.FirstGeneration,
	}
	n.groups = n.newRuntime(offsetsTopic, func(s *coordinator.Shard) coordinator.Machine { return group.New(n.groupOptions, s) })
}

func (n *Node) newRuntime(topic string, machine func(*coordinator.Shard) coordinator.Machine) *coordinator.Runtime {
	return coordinator.New(coordinator.Options{
		Loop: n.loop, Env: n.env, Telemetry: n.telemetry, Topic: topic, Image: n.metadata.image, Broker: metadata.BrokerID(n.config.NodeID),
		Partition: func(index int32) coordinator.Log {
			if p := n.partitions.Opened(topic, index); p != nil {
				return p
			}
			return nil
		},
		NewMachine: machine, Leased: n.leased,
		Trim: func(index int32, logStart int64, done func(error)) {
			p, code := n.partitions.ByName(topic, index)
			if code != wire.None {
				done(errors.New("the partition is closed"))
				return
			}
			n.controller.TrimStream(p.Stream, logStart, done)
		},
		CleanBytesMin: n.options.Tuning.CleanBytesMin, Memory: n.coordinatorMemory,
	})
}

// groupConfig is what is configured for a consumer group.
func (n *Node) groupConfig(id string) *config.ConsumerGroup {
	set, _ := n.metadata.image.GroupConfigs(id)
	if len(set) == 0 {
		return &n.config.ConsumerGroup
	}
	c := n.options.Settings.ConsumerGroup(config.Overrides(set))
	return &c
}

// refreshCoordinators follows the partitions that have opened or closed, and topics that were deleted.
func (n *Node) refreshCoordinators(changes *metadata.Changes) {
	n.transactionRuntime.ImageChanged()
	n.groups.ImageChanged()
	n.groups.Each(func(s *coordinator.Shard) { s.Machine().(*group.Machine).ImageChanged(changes.All, changes.Topics) })
}

// awaitApplied calls done once the coordinator of a partition of an internal topic has applied what lies below end.
func (n *Node) awaitApplied(topic string, index int32, end int64, done func(wire.Code)) {
	if topic != offsetsTopic {
		done(wire.None)
		return
	}
	n.groups.AwaitApplied(index, end, done)
}
