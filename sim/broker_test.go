package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/sim/plan"
)

func TestMachinesOfAPlan(t *testing.T) {
	p, err := plan.Parse("broker zone=1\nbroker zone=2\nbroker id=9 zone=2\nclient consumer client=3 zone=2\n")
	require.NoError(t, err)
	w := newWorld(1, p, Options{Build: realNode})
	require.Len(t, w.brokers, 3)
	require.EqualValues(t, 2, w.brokers[1].config.NodeID)
	require.EqualValues(t, 9, w.brokers[2].config.NodeID)
	require.Equal(t, "broker-3", w.brokers[2].config.Listeners[0].Host)
	for _, test := range []struct {
		fault plan.Strike
		want  []uint64
	}{
		{plan.Strike{}, []uint64{1, 2, 3}},
		{plan.Strike{Node: 2}, []uint64{2}},
		{plan.Strike{Zone: 2}, []uint64{2, 3}},
		{plan.Strike{Zone: 2, Node: 1}, nil},
	} {
		var struck []uint64
		for _, b := range w.targets(&test.fault) {
			struck = append(struck, b.machine.ID)
		}
		require.Equal(t, test.want, struck)
	}
	w.strike(&plan.Strike{Kind: "wal-full", Node: 3})
	w.strike(&plan.Strike{Kind: "cut", Zone: 2, Client: 4})
	require.False(t, w.brokers[1].wal.Faults.Full)
	require.True(t, w.brokers[2].wal.Faults.Full)
	require.False(t, w.net.Link(4, 1).CutToBroker)
	require.True(t, w.net.Link(4, 2).CutToBroker)
	w.heal()
	require.False(t, w.net.Link(4, 2).CutToBroker)
}

// TestACloneHoldsWhatWasDurable: the copy of a running broker's disks serves what was
// acknowledged once the original has ended.
func TestACloneHoldsWhatWasDurable(t *testing.T) {
	p := &plan.Plan{Topics: []plan.Topic{{Name: "t", Partitions: 2}}}
	p.Config.UploadInterval = time.Hour // all stays in the log
	w := newWorld(1, p, Options{Build: realNode})
	w.guard(func() {
		w.boot()
		w.await(startLimit, "the first start", w.ready)
		topics := w.createTopics()
		w.probe(topics)
		clone := w.addClone(w.brokers[0])
		require.Equal(t, w.brokers[0].wal.Names(), clone.wal.Names())
		w.brokers[0].crash(true)
		w.brokers[0].wanted = false
		clone.boot()
		w.await(startLimit, "the clone", w.ready)
		w.drain(topics)
		clone.crash(false)
	})
	w.check()
	require.Empty(t, w.violations)
}
