package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/sim/disk"
	"weir/sim/plan"
)

// copiesPlan is a busy broker with small objects, whose metadata change all the time.
const copiesPlan = `
config duration=10s upload=16384 interval=200ms wal=4194304 restarts=1 snapshot=20 grace=100ms listing=300ms
topic name=t partitions=3
client producer client=0 rate=40 records=4 value=200 in-flight=5 spread=2 idempotent=1
client producer client=1 rate=20 records=4 value=200 in-flight=5 spread=2 idempotent=1
client consumer client=2 max-wait=100ms min-bytes=1 max-bytes=1048576 partition-bytes=65536 pause=20ms
client churn client=3 pause=500ms
`

const copiesSeeds = 12

// copiesFirstSeed is the first of seeds that reach every mark: whether a clone or its original loses is chance.
const copiesFirstSeed = 201

// runCopies tells a story with disks that are copied, put back or lost at some moments of a run, which
// must then end as any other: nothing acknowledged is lost, and nothing that is referred to is deleted.
func runCopies(t *testing.T, tell func(w *world, b *broker), marks ...string) {
	hits := map[string]int64{}
	for seed := uint64(copiesFirstSeed); seed < copiesFirstSeed+copiesSeeds; seed++ {
		p, err := plan.Parse(copiesPlan)
		require.NoError(t, err)
		w := newWorld(seed, p, Options{Build: realNode})
		tell(w, w.brokers[0])
		w.guard(w.story)
		for _, b := range w.brokers {
			if b.machine.Running() {
				b.takeMarks()
				w.guard(b.machine.Crash)
			}
		}
		w.guard(func() { w.check() })
		for mark, n := range w.queue.Marks {
			hits[mark] += n
		}
		require.Empty(t, w.violations, "seed %d: %v\n%v", seed, w.lastError(), w.brokers[0].machine.Log.Tail(12))
	}
	require.Zero(t, hits["copies: an old copy served"])
	for _, mark := range marks {
		require.NotZero(t, hits[mark], mark)
	}
}

// R19: the machine's disks come from an older copy. Its starts end by themselves and delete nothing;
// with the newer disks it goes on.
func TestDisksFromAnOldCopy(t *testing.T) {
	runCopies(t, func(w *world, b *broker) {
		var old, oldWAL, kept, keptWAL *disk.Disk
		w.queue.Call(3*time.Second, func() { old, oldWAL = w.shelve(b.meta), w.shelve(b.wal) })
		w.queue.Call(5*time.Second, func() {
			b.crash(true)
			kept, keptWAL = w.shelve(b.meta), w.shelve(b.wal)
			b.meta.CopyFrom(old)
			b.wal.CopyFrom(oldWAL)
			b.bootAfter(20 * time.Millisecond)
		})
		w.queue.Call(8*time.Second, func() {
			if b.ready {
				w.queue.Hit("copies: an old copy served")
			}
			b.crash(true)
			b.meta.CopyFrom(kept)
			b.wal.CopyFrom(keptWAL)
			b.bootAfter(20 * time.Millisecond)
		})
	}, "quorum: an old disk caught up", "world: the node gave up")
}

// R19: a copy of the disks is started on a second machine beside the original.
func TestACloneBesideTheOriginal(t *testing.T) {
	runCopies(t, func(w *world, b *broker) {
		var clone *broker
		w.queue.Call(3*time.Second, func() { clone = w.addClone(b); clone.wanted = false })
		w.queue.Call(5*time.Second, func() { clone.boot() })
		w.queue.Call(8*time.Second, func() {
			if clone.ready {
				w.queue.Hit("copies: an old copy served")
			}
			clone.crash(true)
		})
	}, "quorum: superseded", "quorum: an old disk caught up")
}
