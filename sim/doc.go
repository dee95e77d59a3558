// Package sim runs the broker's production code in a deterministic simulation.
//
// A run is (seed, plan): brokers on simulated clocks, disks, network and object
// store, and clients that speak Kafka's protocol to them. Faults strike while the
// clients work. Then all faults heal and the run must converge: every producer gets
// its answers, producers that were idle past their expiry write again, each
// partition takes a write, a waiting fetch is answered in time, and a reader finds
// everything that was acknowledged, again after each restart. At the end package
// checker checks the history, the object store is audited against the metadata
// image, and every slab and frame must have been released.
//
// The world holds any number of machines, each with its disks, node id and zone.
// Links within a zone are faster than links between zones. Clients bootstrap at any
// machine. A fault names the machine or the zone that it strikes. The swarm draws
// one machine; [plan.ClusterSwarm] draws clusters of three to seven brokers, whose clients follow
// leaders and coordinators, and faults of machines, zones and the links between them. At the end
// of a run all brokers' images are the same (I10).
//
// Disks are restored from older copies, cloned and lost, too (R19). A start that lacks
// what the store has catches up from there or ends with its error; then the plan's
// operator does what the error says: it puts the newer disks back, keeps the one of two
// copies whose log is the newest, or runs recover-cluster until that ends well. Nothing
// acknowledged may be lost by it. What clients only saw may be undone.
//
// A cluster may begin as an older release of weir, known by the highest level of weir.metadata that it serves (upgrades.go), whose brokers are restarted as the
// newest one by one; the level is then raised, or too early, or never. A broker of an older release that meets what it does not know before that has found a
// violation.
//
// In a cluster a log may be lost for good (losses.go). Its broker waits for it, partitions wait for the broker, and the plan's administrator gives
// it up by name ([client.Abandoner], R16). The checker is told which offsets that were, after the world has made sure that only lost
// logs held them: what was acknowledged there may be gone, and nothing else, and no offset may have a second value.
//
// The same commit, seed and plan give the same trace hash on every machine, at any
// GOMAXPROCS, with or without the race detector. The simulator starts no goroutine;
// time comes from its event queue, and every random draw from the seed.
//
// Counters that take years to reach their ends in production begin near them in some
// seeds: the producer epochs of new transactional ids, whose overflow gives another
// producer id; the generations of groups, which groups of KIP-848 inherit when they are upgraded; and
// the sequences of producers, which go round. Blocks of producer ids are small.
//
// Marks name places in the code that tests should reach: marks of the broker
// (package telemetry) and of the world ([event.Queue.Hit]). A scenario in
// testdata/scenarios names the marks that it must reach to test what it is about.
// The swarm must reach every mark that testdata/unreached.txt does not list;
// "make sim-cover" checks that and prints the statement coverage of core/.
//
// Package model searches slots, seals and leases exhaustively, apart from the code.
//
// Each device states its fault model in its package: machine, disk, store and
// network. Package plan has the text form of plans. The files in mutants are
// defects to plant in the source; "make mutants" checks that the simulator finds
// each of them.
package sim
