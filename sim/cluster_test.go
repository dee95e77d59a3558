package sim

import (
	"strings"
	"testing"

	"weir/sim/plan"
)

const (
	clusterFirst = 1001
	clusterSeeds = 24
	clusterTwice = 6 // each so many seeds one is run twice
)

// clusterMarks are places that a swarm of clusters must reach: each was reached by several of the seeds below when it was
// written down.
var clusterMarks = strings.Split(strings.TrimSpace(`
controller: a broker gave its lease up
controller: a broker was fenced
node: a partition was handed over
node: another broker's log was recovered
node: several logs recovered at one start
node: the lease lapsed
partition: a duplicate was recognised
partition: a duplicate waited for its original
quorum: a snapshot was installed
quorum: deposed
quorum: joined
quorum: the leadership was handed on
stream read: another broker answered from its log
stream recover: state agrees
txn: a transaction timed out
world: a broker joined
world: a zone was lost for good
`), "\n")

// TestClusterSwarm is TestSwarm for clusters of several brokers.
func TestClusterSwarm(t *testing.T) {
	hits := map[string]int64{}
	for seed := uint64(clusterFirst); seed < clusterFirst+clusterSeeds; seed++ {
		r := Run(seed, plan.ClusterSwarm(seed), Options{})
		if !r.OK() {
			t.Fatalf("weir-sim run -cluster -seed %d: %v", seed, r.Violations[0])
		}
		for mark, n := range r.Marks {
			hits[mark] += n
		}
		if seed%clusterTwice != 0 {
			continue
		}
		if again := Run(seed, plan.ClusterSwarm(seed), Options{NoLinear: true}); again.Hash != r.Hash || again.Events != r.Events {
			t.Fatalf("weir-sim fuzz -cluster -first-seed %d -seeds 1 -twice: hashes %016x and %016x, %d and %d events", seed, r.Hash, again.Hash, r.Events, again.Events)
		}
	}
	for _, mark := range clusterMarks {
		if hits[mark] == 0 {
			t.Errorf("never in %d seeds: %s", clusterSeeds, mark)
		}
	}
}
