package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/quorum"
	"weir/core/task"
	"weir/sim/machine"
	"weir/sim/plan"
)

// loudPlan leaves acknowledged batches in the WAL alone.
const loudPlan = `
config upload=1048576 interval=1h wal=4194304
topic name=t partitions=2
client producer client=0 rate=80 records=4 value=300 in-flight=5 spread=2 idempotent=1
`

// damaged runs a broker, ends it, damages what it left, starts it again, and returns
// the error with which that start fails; empty if it serves.
func damaged(t *testing.T, seed uint64, damage func(w *world)) string {
	t.Helper()
	p, err := plan.Parse(loudPlan)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(seed, p, Options{Build: realNode})
	w.boot()
	w.await(startLimit, "the first start", w.ready)
	c := w.startClients(w.createTopics())
	w.run(2*time.Second, never)
	c.end()
	w.await(convergeLimit, "answers", c.idle)
	w.crash(true)
	damage(w)
	w.boot()
	w.run(startLimit, func() bool { return w.lastError() != nil })
	c.stop()
	if w.violated() || w.cluster.Acked == 0 {
		t.Fatalf("%d batches acknowledged, violations %v", w.cluster.Acked, w.violations)
	}
	if w.lastError() == nil {
		if !w.ready() {
			t.Fatal("neither served nor failed")
		}
		return ""
	}
	return w.lastError().Error()
}

// newerNode is as much of a broker of a later version as adds to the quorum's log.
type newerNode struct {
	loop          *task.Loop
	options       quorum.Options
	opened, added bool
}

// newerRecord is of a type that no version knows yet.
var newerRecord = []byte{0xff, 1}

func (n *newerNode) Abandon()                           { n.loop.Abandon() }
func (n *newerNode) Shutdown(done func())               { done() }
func (n *newerNode) Apply(uint64, uint64, []byte) error { return nil }
func (n *newerNode) AppendSnapshot(dst []byte) []byte   { return dst }
func (n *newerNode) Restore(uint64, []byte) error       { return nil }

func (n *newerNode) Turn(events []env.Event) {
	if !n.opened {
		n.opened = true
		quorum.Open(n.options, func(q *quorum.Quorum, err error) {
			if err != nil {
				panic(err)
			}
			q.Propose(newerRecord, func(_ uint64, err error) { n.added = err == nil })
		})
	}
	n.loop.Turn(events)
}

// appendNewerRecord has a broker of a later version run for a moment.
func appendNewerRecord(w *world) {
	build := w.options.Build
	var newer *newerNode
	w.options.Build = func(e env.Env, o NodeOptions) machine.Node {
		newer = &newerNode{loop: task.NewLoop(e.Clock)}
		newer.options = quorum.Options{Loop: newer.loop, Env: e, Node: o.Config.NodeID, Machine: newer, Failed: o.Failed}
		return newer
	}
	w.boot()
	w.await(startLimit, "the newer record", func() bool { return newer.added })
	w.crash(true)
	w.options.Build = build
}

// TestDamageIsLoud: a start that cannot find, or cannot believe, what was acknowledged
// fails, and says what to do. It never serves what is left.
func TestDamageIsLoud(t *testing.T) {
	// The sixth group's first record, behind the two superblocks.
	const inSixthGroup = 8192 + 5*4096 + 100
	tests := []struct {
		name, says string
		damage     func(w *world)
	}{
		{"nothing is wrong", "", func(*world) {}},
		// R18: a voter with an empty disk must not found the cluster anew.
		{"the metadata's disk is empty", "is empty, but the bucket already holds", func(w *world) { w.brokers[0].meta.Wipe() }},
		{"both disks are empty", "is empty, but the bucket already holds", func(w *world) { w.brokers[0].meta.Wipe(); w.brokers[0].wal.Wipe() }},
		// R3: the epoch owes its log.
		{"the log's disk is empty", "is missing", func(w *world) { w.brokers[0].wal.Wipe() }},
		// R7: damage below the durable mark is no torn tail.
		{"a durable byte of the log is damaged", "is damaged", func(w *world) {
			w.brokers[0].wal.Corrupt(logFile(w), inSixthGroup, 0x10)
		}},
		{"both superblocks are damaged", "superblock", func(w *world) {
			w.brokers[0].wal.Corrupt(logFile(w), 20, 1)
			w.brokers[0].wal.Corrupt(logFile(w), 4096+20, 1)
		}},
		// A downgrade.
		{"the metadata hold a record of a newer version", "start the version that wrote it", appendNewerRecord},
		// The wrong bucket, or an emptied one.
		{"the cluster's marker is gone", "holds no cluster", func(w *world) { w.store.Discard("cluster") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 5; seed++ {
				if got := damaged(t, seed, test.damage); !strings.Contains(got, test.says) || (got == "") != (test.says == "") {
					t.Errorf("seed %d: the start failed with %q, want one that says %q", seed, got, test.says)
				}
			}
		})
	}
}

// logFile is the name of the first log on the broker's disk.
func logFile(w *world) string {
	names := w.brokers[0].wal.Names()
	return names[slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, "wal-") })]
}
