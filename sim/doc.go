// Package sim runs the very node that production runs in a world made of one seed.
//
// A run is (seed, plan): brokers on simulated clocks, disks, network and object
// store, and clients that speak Kafka's protocol to them. Faults strike while the
// clients work; then all of them heal, and the run must converge: every producer
// gets its answers, each partition takes a write, and a reader finds everything that
// was acknowledged, once more after each restart. At the end package checker checks
// the history, the object store is audited against the broker's image, and every
// slab and frame must be accounted for.
//
// The world holds any number of machines, each with its disks, node id and zone; a
// link within a zone is faster than one between zones; clients bootstrap at any
// machine. A fault names the machine or the zone that it strikes. Today's plans have
// one machine. A second one may start from a copy of the first one's disks.
//
// Same commit, seed and plan: same trace hash, on every machine, at any GOMAXPROCS,
// with or without the race detector. The simulator starts no goroutine; time comes
// from its queue of events, every draw from the seed.
//
// Places that should be reached sometimes are marks, the node's
// (package telemetry) and the world's ([event.Queue.Hit]): a scenario under
// testdata/scenarios names those without which its story was not told, and the swarm
// as a whole must reach a list of them, or the tests fail.
//
// Each device states its fault model in its own package: machine, disk, store,
// network. The plan's text form is in package plan.
package sim
