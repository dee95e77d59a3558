package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/sim/plan"
)

// twoLogsPlan leaves acknowledged batches in the WAL alone, and starts without the store.
const twoLogsPlan = `
config upload=1048576 interval=1h wal=4194304 ship-async=1 ahead=2000
topic name=t partitions=2
client producer client=0 rate=80 records=4 value=300 in-flight=5 spread=2 idempotent=1
`

// TestOneOfTwoLogsIsGivenUp (R16): a broker dies twice before the tail of its older log is uploaded, and one of both logs is lost. Told to do
// without, it starts: what the newer log has follows what is lost of the older one, and what the older one has is uploaded before what is
// lost of the newer one.
func TestOneOfTwoLogsIsGivenUp(t *testing.T) {
	t.Run("older", func(t *testing.T) { giveUpOneOfTwo(t, 0) })
	t.Run("newer", func(t *testing.T) { giveUpOneOfTwo(t, 1) })
}

func giveUpOneOfTwo(t *testing.T, lost int) {
	p, err := plan.Parse(twoLogsPlan)
	require.NoError(t, err)
	w := newWorld(1, p, Options{Build: realNode})
	b := w.brokers[0]
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		topics := w.createTopics()
		c := w.startClients(topics)
		w.run(time.Second, never)
		w.store.Faults.Refuse = 1000
		w.run(time.Second, never)
		w.crash(true)
		w.boot()
		w.await(startLimit, "a start without the store", w.ready)
		w.run(time.Second, never)
		c.end()
		w.await(convergeLimit, "answers", c.idle)
		w.crash(true)

		logs := slices.DeleteFunc(b.wal.Names(), func(name string) bool { return !strings.HasPrefix(name, "wal-") })
		require.Len(t, logs, 2)
		b.noteLogs()
		b.wal.Lose(logs[lost])
		b.config.WALAbandoned, b.cluster.LogsLost = logs[lost:lost+1], true
		w.store.Faults.Refuse = 0
		w.boot()
		w.await(startLimit, "a start without one of the logs", w.ready)
		w.await(convergeLimit, "the upload of the other log", func() bool {
			n, ok := coreOf(b.machine.Node())
			return ok && !slices.ContainsFunc(n.Image().Recoveries(), func(r metadata.Recovery) bool { return n.Image().EpochOwes(r.Ended) })
		})
		w.noteLost()
		w.probe(topics)
		w.drain(topics)
		c.stop()
	})
	w.check()
	require.Empty(t, w.violations, "%v", w.lastError())
	require.NotZero(t, w.cluster.Acked)
	require.NotZero(t, w.queue.Marks["losses: offsets were given up"])
}
