// Package controller makes the active controller's decisions: it validates what
// clients ask for as Kafka does, proposes records, and owns the life of objects.
//
// It may call core/metadata, core/config, core/task, core/telemetry and core/env.
// It decides nothing from an image that may be old. Validation before a proposal only
// saves the log a useless record and gives Kafka's message; the image decides when the
// record is applied. A record that is computed from what it changes (configurations,
// partition counts) names the version that it was computed from, and is computed
// again if that has changed.
//
// A change that is larger than a record is split into several, and each is proposed
// once the one before it was applied: a commit or a takeover of any size takes the
// room of one record in the quorum's queue. An error ends it there; a caller that
// tries again sends what the image lacks.
//
// A cluster uses the levels of [Features] that its records name: those that it was founded with, and those that
// UpdateFeatures has set since (KIP-584). A cluster of a release that did not know a feature goes on without it until an
// administrator raises its level; a program does not start on a cluster that uses a level which it does not serve. A level is raised only once all
// brokers, fenced ones too, and voters have said that they serve it: they are asked each time ([Support]), and nothing is kept of the answers.
//
// The [Sweeper] deletes destroyed and orphaned objects from the object store, the [SlotSweeper] what is left of object
// WALs. They are independent of decisions: they propose records like any other part, and a store that
// answers late or not at all delays only them.
//
// The [Balancer] spreads the leaders of partitions over brokers and zones, by what clients move through them as the brokers report it
// ([LoadReport]), and empties brokers that an administrator drains ([Drained]): those are given nothing, by anybody who opens
// ranges ([Takers]), as long as another is alive. It asks leaders to move partitions, and proposes nothing itself.
//
// Invariants: each done is called once, on the loop, unless the node ends; an
// object id is proposed for deletion only when it is dead, or destroyed for longer
// than the grace (I8, R20).
package controller
