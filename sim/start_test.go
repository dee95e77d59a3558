package sim

import (
	"testing"
	"time"

	"weir/sim/plan"
)

// TestAStartCanBeGivenUp: a broker that is told to end while it starts ends, even if
// what it waits for never comes, and the next incarnation starts from where it was.
func TestAStartCanBeGivenUp(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, time.Second, time.Minute} {
		for seed := uint64(1); seed <= 3; seed++ {
			w := newWorld(seed, &plan.Plan{}, Options{Build: realNode})
			w.store.Faults.Refuse = 1000 // founding waits for the store
			w.guard(func() {
				w.boot()
				w.run(after, never)
				w.shutdown(time.Second, "the end of a start that is given up")
				w.store.Faults.Refuse = 0
				w.boot()
				w.await(startLimit, "the start after it", w.ready)
				w.stop()
			})
			if w.violated() {
				t.Fatalf("seed %d, told to end after %v: %v", seed, after, w.violations[0])
			}
		}
	}
}

// TestARestartCanBeGivenUp is the same for one that has a log to recover.
func TestARestartCanBeGivenUp(t *testing.T) {
	p := &plan.Plan{Topics: []plan.Topic{{Name: "t", Partitions: 3}}}
	p.Config.UploadInterval = time.Hour // all stays in the log
	w := newWorld(1, p, Options{Build: realNode})
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		topics := w.createTopics()
		for round := range 24 {
			w.probe(topics)
			w.crash(round%2 == 0)
			w.boot()
			w.run(time.Duration(round)*1500*time.Microsecond, never)
			w.shutdown(time.Second, "the end of a restart that is given up")
			w.boot()
			w.await(startLimit, "the restart after it", w.ready)
		}
		w.drain(topics)
	})
	w.check()
	if w.violated() {
		t.Fatal(w.violations[0])
	}
}
