package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/sim/plan"
)

// narrowPlan produces about 300 KB/s into a log of 1 MiB.
const narrowPlan = `
config upload=131072 interval=500ms wal=1048576 cache=4194304 uploads=3
topic name=t partitions=4
client producer client=0 rate=60 records=20 value=4000 in-flight=5 spread=4 idempotent=1
client producer client=1 rate=60 records=20 value=4000 in-flight=5 spread=4
`

// TestUplinkSlowerThanProducers: producers are held back to what the uplink carries, everything that was
// acknowledged ends up stored while the uplink is as slow as before, and nothing is sent over and over:
// not even while the store fails now and then.
func TestUplinkSlowerThanProducers(t *testing.T) {
	p, err := plan.Parse(narrowPlan)
	require.NoError(t, err)
	for seed := uint64(1); seed <= 6; seed++ {
		w := newWorld(seed, p, Options{Build: realNode})
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		c := w.startClients(w.createTopics())
		w.store.SetLinks(60<<10, 0)
		if seed%2 == 0 {
			w.store.Faults.Refuse, w.store.Faults.LostBefore, w.store.Faults.LostAfter, w.store.Faults.Join = 100, 100, 100, 200
		}
		w.run(30*time.Second, never)
		refused := w.brokers[0].metrics.Value("weir_stream_appends_refused_total")
		require.Positive(t, refused.Sum, "seed %d: producers were never held back", seed)
		c.end()
		w.await(2*time.Minute, "answers", c.idle)
		w.store.Faults.Join = 0
		w.await(2*time.Minute, "everything to be stored", func() bool { return w.unstored() == 0 })
		require.Empty(t, w.violations, "seed %d", seed)
		require.Positive(t, w.cluster.Acked)
		require.Less(t, w.store.Sent, w.store.Stored*5/4, "seed %d: bytes are sent over and over", seed)
		c.stop()
	}
}

// unstored is how many partitions have acknowledged records that no object in the image holds.
func (w *world) unstored() (partitions int) {
	image := w.imageHolder().Image()
	topic, _ := image.Topic("t")
	for i, p := range w.cluster.Partitions {
		acked := int64(0)
		for _, a := range p.History.Appends {
			if a.Base >= 0 {
				acked = max(acked, a.Base+int64(a.Records))
			}
		}
		s, _ := image.Stream(topic.Partitions[i].Stream)
		if s.Ranges[len(s.Ranges)-1].Committed < acked {
			partitions++
		}
	}
	return partitions
}
