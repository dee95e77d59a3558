// Package group is the group coordinator: a [Machine] holds the groups whose ids fall on one partition of
// __consumer_offsets, with their members and committed offsets. core/coordinator runs it.
//
// # State
//
// What is durable (offsets, the members of a stable generation, the records of KIP-848) is changed in [Machine.Apply] and
// [Machine.ApplyMarker] only. It is stored in Kafka's record schemas, so Kafka's tools can read the topic. Records of a
// group may come in any order, and one that is damaged, or says what cannot be (a partition of two owners, a member that is there
// twice), stops the coordinator of its partition: see core/coordinator. A tombstone for something unknown does nothing. A group without records of its own,
// which only has committed offsets, may become a group of any type.
//
// The rest is soft state: who has joined a rebalance that is under way, sessions, and requests that wait. It is lost when the
// partition moves. A group is loaded as its last stable generation, and the sessions of its members begin again.
//
// # Two protocols
//
// A group of the protocol of KIP-848 is in core/group/consumer; here are its sessions, and what it has to do with the classic
// protocol. A group that is empty takes the type of the first member that joins. A classic group becomes a consumer group while
// it runs when a member of the new protocol joins: its generation becomes the group epoch, and each old member keeps what it
// has. From then on old members are assigned by the broker. They learn of it as they would of a rebalance: a heartbeat
// is answered REBALANCE_IN_PROGRESS while there is something to give back or to take, and each joins and syncs by itself. When only
// old members are left, the group is classic again, in the generation of the group epoch, and its leader assigns.
// group.consumer.migration.policy says which way is open.
//
// # Offsets
//
// A commit inside a transaction is staged until the marker of the transaction. A tombstone drops what is
// staged for its partition too. While a partition has a staged offset, its committed one is not written anew when the log
// is shortened (see [Machine.Floor]): the marker could come before the copy, which would then undo it.
//
// # Memory
//
// At the bound of weir.coordinator.memory.bytes (core/coordinator) these are refused with COORDINATOR_NOT_AVAILABLE: a join of a new
// member, or one that says more of its member than before; a leader's assignment that is larger than the one before; an offset
// of a partition that the group has none of, or with longer metadata, plain or staged; and what regular expressions match. Heartbeats
// that say nothing new, leaving, offsets of the same partitions, markers and deletions go on.
//
// Requests of more than some kilobytes that wait for others, or for a log that is full, count too, against a quarter of that bound.
//
// It may call core/coordinator, core/config, core/metadata, core/task, core/telemetry, core/wire and core/env.
// Invariants: a committed offset is neither lost nor rolled back (I9); every request is answered once; nothing
// depends on map order.
package group
