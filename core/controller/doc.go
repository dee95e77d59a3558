// Package controller makes the active controller's decisions: it validates what
// clients ask for as Kafka does, proposes records, and owns the life of objects.
//
// It may call core/metadata, core/config, core/task, core/telemetry and core/env.
// It decides nothing by an image that may be old: what a request is validated against
// before it is proposed only spares the log a record in vain, and gives Kafka's
// message; the verdict is the image's, when the record applies. Where a record
// must be computed from what it changes (configurations, partition counts), it
// names what it was computed from, and is computed anew when that has changed.
//
// What is larger than a record is cut into several, and each is proposed once the one
// before it was applied: a commit or a takeover, however large, takes the room of one
// record in the quorum's queue. An error ends it there; whoever asks again sends what
// the image lacks.
//
// The [Sweeper] deletes what is destroyed or orphaned from the object store, away
// from the path of decisions: it proposes records like any other, and a store that
// answers late or not at all holds up nothing but itself.
//
// Invariants: each done is called once, on the loop, unless the node ends; an
// object id is proposed for deletion only when it is dead, or destroyed for longer
// than the grace (I8, R20).
package controller
