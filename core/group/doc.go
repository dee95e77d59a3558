// Package group is the group coordinator: a [Machine] holds the groups whose ids fall on one partition of
// __consumer_offsets, with their members and committed offsets. core/coordinator runs it.
//
// # State
//
// What is durable (offsets, the members of a stable generation, the records of KIP-848) is changed in [Machine.Apply] and
// [Machine.ApplyMarker] only. It is stored in Kafka's record schemas, so Kafka's tools can read the topic. Records of a
// group may come in any order, and a tombstone for something unknown does nothing. A group without records of its own,
// which only has committed offsets, may become a group of any type.
//
// The rest is soft state: who has joined a rebalance that is under way, sessions, and requests that wait. It is lost when the
// partition moves. A group is loaded as its last stable generation, and the sessions of its members begin again.
//
// # Offsets
//
// A commit inside a transaction is staged until the marker of the transaction. A tombstone drops what is
// staged for its partition too. While a partition has a staged offset, its committed one is not written anew when the log
// is shortened (see [Machine.Floor]): the marker could come before the copy, which would then undo it.
//
// It may call core/coordinator, core/config, core/metadata, core/task, core/telemetry, core/wire and core/env.
// Invariants: a committed offset is neither lost nor rolled back (I9); every request is answered once; nothing
// depends on map order.
package group
