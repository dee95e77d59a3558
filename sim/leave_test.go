package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/sim/plan"
)

const leavePlan = `
config session=1s election=200ms
broker zone=1
broker zone=2
broker zone=3
topic name=t partitions=24
client producer client=0 rate=80 records=4 value=300 in-flight=5 spread=8 idempotent=1
client consumer client=2 max-wait=100ms min-bytes=1 max-bytes=1000000 partition-bytes=100000 pause=10ms
`

// TestBrokersThatLeaveTogether (R15): two brokers are told to end at about the same time. What each gives to the other, that gives away again, so
// that no partition waits for a broker that is gone.
func TestBrokersThatLeaveTogether(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { leaveTogether(t, seed) })
	}
}

func leaveTogether(t *testing.T, seed uint64) {
	p, err := plan.Parse(leavePlan)
	require.NoError(t, err)
	w := newWorld(seed, p, Options{Build: realNode})
	leaving := w.brokers[:2]
	if seed%2 == 0 {
		leaving = w.brokers[1:]
	}
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		topics := w.createTopics()
		c := w.startClients(topics)
		w.run(3*time.Second, never)
		up := 2
		for _, b := range leaving {
			b.wanted = false
			b.shutdown(func() { up-- })
			w.run(time.Duration(seed-1)*100*time.Millisecond, never)
		}
		w.await(30*time.Second, "the ends of both", func() bool { return up == 0 })
		eachRange(w.newestImage(), func(s *metadata.Stream, r *metadata.Range) {
			for _, b := range leaving {
				if r.Open() && int32(r.Broker) == b.config.NodeID {
					t.Errorf("stream %d waits for broker %d", s.ID, r.Broker)
				}
			}
		})
		for _, b := range leaving {
			b.wanted = true
			b.boot()
		}
		w.await(startLimit, "the next start", w.ready)
		c.end()
		w.await(convergeLimit, "answers", c.idle)
		c.stop()
		w.probe(topics)
		w.drain(topics)
	})
	w.check()
	require.Empty(t, w.violations, "%v", w.lastError())
}
