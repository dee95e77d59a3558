package sim

import (
	"strings"
	"testing"
)

const (
	swarmFirst = 1201
	swarmSeeds = 150
	swarmTwice = 4 // each so many seeds one is run twice
)

// swarmMarks are places that a swarm must reach, or it tests less than it seems to:
// each was reached by several of the seeds below when it was written down.
var swarmMarks = strings.Split(strings.TrimSpace(`
broker: a produce request started behind another
broker: an answer was dropped with its connection
client: a late EndTxn
controller: a commit was cut into several records
coordinator: a log was written anew and cut
disk: a crash tore a write of meta
disk: a crash tore a write of wal
disk: a power failure took a block back
disk: full: meta
disk: full: wal
node: several logs recovered at one start
partition: a duplicate was recognised
partition: a duplicate waited for its original
partition: retention raised a log start
quorum: entries waited for a snapshot
quorum: no room to maintain
quorum: snapshot
store: a DELETE came after it was given up
store: a PUT came after it was given up, and found its key taken
store: a PUT came after its node had died
store: a PUT took effect and its answer was lost
store: a read carried flipped bits
store: a read ended early
store: the answer of a DELETE was lost
stream append refused: cache full
stream append refused: wal full
stream read: a hedge was faster
stream read: ahead
stream read: damaged bytes
stream read: hedged
stream read: several blocks with one GET
stream recover: log removed
stream recover: state agrees
stream recover: summary agrees
stream recover: torn tail
stream tail upload: committed
stream tail upload: without its own checkpoint
stream upload: a part was trimmed meanwhile
stream upload: a part's stream was deleted meanwhile
stream upload: age
stream upload: bytes
stream upload: pressure
stream upload: put unknown
stream upload: settled as absent
stream upload: settled as ours
sweeper: a listing found an object under a dead id
sweeper: prepared ids expired
sweeper: the store failed, and was given time
txn: a partition waited for the transaction before
txn: a transaction timed out
world: the node ended while it was to create the write-ahead log
world: the node ended while it was to open the quorum's log
world: the node ended while it was to recover the write-ahead log
world: the node gave up
`), "\n")

// TestSwarm: seeds break no promise, give the same trace twice, and together reach
// what they are there to reach.
func TestSwarm(t *testing.T) {
	hits := map[string]int64{}
	for seed := uint64(swarmFirst); seed < swarmFirst+swarmSeeds; seed++ {
		r := Run(seed, nil, Options{})
		if !r.OK() {
			t.Fatalf("weir-sim run -seed %d: %v", seed, r.Violations[0])
		}
		for mark, n := range r.Marks {
			hits[mark] += n
		}
		if seed%swarmTwice != 0 {
			continue
		}
		if again := Run(seed, nil, Options{NoLinear: true}); again.Hash != r.Hash || again.Events != r.Events {
			t.Fatalf("weir-sim fuzz -first-seed %d -seeds 1 -twice: hashes %016x and %016x, %d and %d events", seed, r.Hash, again.Hash, r.Events, again.Events)
		}
	}
	for _, mark := range swarmMarks {
		if hits[mark] == 0 {
			t.Errorf("never in %d seeds: %s", swarmSeeds, mark)
		}
	}
}
