package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/sim/plan"
)

// twoLogsClusterPlan leaves acknowledged batches in the WAL alone. A start takes its ranges over one by one.
const twoLogsClusterPlan = `
config upload=1048576 interval=1h wal-shared=1 session=1s election=200ms record=24
broker zone=1
broker zone=2
broker zone=3
topic name=t partitions=24
client producer client=0 rate=80 records=4 value=300 in-flight=5 spread=8 idempotent=1
client producer client=1 rate=80 records=4 value=300 in-flight=5 spread=8 idempotent=1
`

// TestAnOlderLogThatCannotBeReadAtFirst (R14): a broker dies while it takes its ranges over after a restart. Its newer log has nothing, and the state of
// producers is in the older one, of which some ranges are open still, and which cannot be read at first. Neither log waits for the other.
func TestAnOlderLogThatCannotBeReadAtFirst(t *testing.T) {
	waited := int64(0)
	for seed := uint64(1); seed <= 3; seed++ { // who recovers which log is chance
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := readNewerFirst(t, seed)
			require.Empty(t, w.violations, "%v", w.lastError())
			waited += w.queue.Marks["node: another broker's log waits for an older one, which has the state of its producers"]
		})
	}
	require.NotZero(t, waited)
}

func readNewerFirst(t *testing.T, seed uint64) *world {
	p, err := plan.Parse(twoLogsClusterPlan)
	require.NoError(t, err)
	w := newWorld(seed, p, Options{Build: realNode})
	dies := w.brokers[2]
	open := func() map[metadata.BrokerEpoch]int {
		of := map[metadata.BrokerEpoch]int{}
		eachRange(w.newestImage(), func(_ *metadata.Stream, r *metadata.Range) {
			if int32(r.Broker) == dies.config.NodeID && r.Open() {
				of[r.BrokerEpoch]++
			}
		})
		return of
	}
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		topics := w.createTopics()
		c := w.startClients(topics)
		w.run(2*time.Second, never)
		c.end() // an owner reads, too, with each write
		w.await(convergeLimit, "answers", c.idle)
		dies.crash(true)
		dies.boot()
		w.await(startLimit, "half a restart", func() bool { return len(open()) == 2 })
		dies.crash(true)
		dies.wanted = false

		injected := w.sharedWAL.Injected
		for _, b := range w.brokers[:2] {
			b.walFaults().ReadPPM = 1_000_000
		}
		w.await(convergeLimit, "a read that fails", func() bool { return w.sharedWAL.Injected > injected })
		for _, b := range w.brokers[:2] {
			b.walFaults().ReadPPM = 0
		}
		w.await(convergeLimit, "other leaders", func() bool { return len(open()) == 0 })
		c.stop()
		w.probe(topics)
		w.drain(topics)
	})
	for _, b := range w.brokers {
		b.takeMarks()
	}
	w.check()
	return w
}
