package sim

import (
	"fmt"
	"testing"

	"weir/sim/checker"
	"weir/sim/client"
	"weir/sim/plan"
)

// TestMetadataGoOnWithTheReserves: another program takes all that log and metadata leave of their volume. What
// the reserves hold is for the metadata then: topics can still be made.
func TestMetadataGoOnWithTheReserves(t *testing.T) {
	p := &plan.Plan{}
	p.Config.VolumeBytes = 24 << 20
	w := newWorld(1, p, Options{Build: realNode})
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		w.brokers[0].wal.Volume().TakeAll()
		for i := range 80 {
			topic := w.cluster.NewTopic(fmt.Sprint("t", i), 1, checker.Retention{})
			creator := client.NewCreator(w.cluster, creatorClient, []*client.Topic{topic})
			creator.Start()
			w.await(startLimit, "topic "+topic.Name, creator.Done)
			creator.Stop()
			if w.violated() {
				break
			}
		}
		w.brokers[0].takeMarks()
	})
	if w.violated() {
		t.Fatal(w.violations[0])
	}
	if w.queue.Marks["node: a reserve was given up for the metadata"] == 0 {
		t.Fatal("no reserve was given up: the story was not told")
	}
}
