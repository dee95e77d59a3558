package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/node"
	"weir/sim/plan"
)

// TestALogStaysUntilTheCommitThatFreesItIsShipped: a recovered log is uploaded and committed, and the store goes away
// before it has that commit. Whatever the setting, the next start keeps the log: with the metadata disk it would
// be the last copy that anybody can find.
func TestALogStaysUntilTheCommitThatFreesItIsShipped(t *testing.T) {
	p := &plan.Plan{Topics: []plan.Topic{{Name: "t", Partitions: 1}}}
	p.Config.ShipAsync = 1
	p.Config.UploadInterval = time.Hour // the first log keeps all
	w := newWorld(1, p, Options{Build: realNode})
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		b := w.brokers[0]
		w.probe(w.createTopics())
		first := b.machine.Node().(*node.Node).Epoch()
		w.crash(true)
		w.boot()
		w.await(startLimit, "the commit of the recovered log", func() bool {
			n := b.machine.Node().(*node.Node)
			return b.ready && !n.Image().EpochOwes(first)
		})
		w.store.Faults.Refuse = 1000
		log := b.wal.Names()[slices.IndexFunc(b.wal.Names(), func(n string) bool { return strings.HasPrefix(n, "wal-") })]
		w.run(10*time.Second, never)
		w.crash(false)
		w.boot()
		w.await(startLimit, "the start without the store", w.ready)
		if !slices.Contains(b.wal.Names(), log) {
			t.Errorf("%s is removed, and the store lacks the commit that freed it", log)
		}
		w.store.Faults.Refuse = 0
		w.await(startLimit, "the end of the log", func() bool { return !slices.Contains(b.wal.Names(), log) })
	})
	if w.violated() {
		t.Fatal(w.violations[0])
	}
}
