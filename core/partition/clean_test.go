package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/clean"
	"weir/core/metadata"
)

// pass lets time pass, and the loop's timers with it.
func (r *rig) pass(d time.Duration) {
	for end := r.clock.now.Add(d); r.clock.now < end; {
		r.clock.now = min(r.clock.now.Add(100*time.Millisecond), end)
		r.loop.Turn(nil)
	}
}

// compacted gives the rig so many compacted partitions, each with its own log.
func (r *rig) compacted(n int) (logs []*fakeLog) {
	r.manager.options.CleanInterval = time.Second
	r.manager.partitions = nil
	for i := range n {
		log := &fakeLog{hw: 100, at: 100}
		p := *r.p
		p.Stream, p.log = metadata.StreamID(i+1), log
		p.topic = &topic{name: "t"}
		p.topic.config.CleanupPolicy, p.topic.config.DirtyRatio, p.topic.config.MaxCompactionLagMillis = "compact", 500_000, 1<<60
		p.topic.config.DeleteRetentionMillis = 77
		p.state = &State{end: 100}
		r.manager.partitions = append(r.manager.partitions, &p)
		logs = append(logs, log)
	}
	r.manager.armCleaning()
	return logs
}

func dirty(share int64) clean.Plan {
	return clean.Plan{End: 10, CleanBytes: 100 - share, DirtyBytes: share}
}

// The partition with the largest share of dirty bytes is compacted first, then the next at once; what is not due waits, and one pass
// runs at a time.
func TestTheDirtiestPartitionIsCompactedFirst(t *testing.T) {
	r := newRig(t)
	logs := r.compacted(2*cleanLooksInTurn + 7)
	logs[5].plan, logs[cleanLooksInTurn+3].plan, logs[2*cleanLooksInTurn+6].plan = dirty(60), dirty(90), dirty(40)
	r.pass(3 * time.Second)
	require.Empty(t, logs[5].cleanings)
	require.Len(t, logs[cleanLooksInTurn+3].cleanings, 1)
	o := logs[cleanLooksInTurn+3].cleanings[0]
	require.EqualValues(t, 77, o.DeleteRetention)
	require.EqualValues(t, 100, logs[5].limit, "the last stable offset")
	logs[cleanLooksInTurn+3].plan = clean.Plan{}
	o.Done(nil)
	r.pass(500 * time.Millisecond)
	require.Len(t, logs[5].cleanings, 1)
	logs[5].plan = clean.Plan{}
	logs[5].cleanings[0].Done(nil)
	r.pass(10 * time.Second)
	require.Empty(t, logs[2*cleanLooksInTurn+6].cleanings, "less than half of it is dirty")
}

// A partition whose passes fail is left alone for longer and longer, and keeps no other from its turn.
func TestAPartitionThatCannotBeCompactedKeepsNoOtherWaiting(t *testing.T) {
	r := newRig(t)
	r.manager.env.Rand = noRand{}
	logs := r.compacted(2)
	logs[0].plan, logs[1].plan = dirty(90), dirty(60)
	r.pass(2 * time.Second)
	require.Len(t, logs[0].cleanings, 1)
	logs[0].cleanings[0].Done(errors.New("the store is down"))
	r.pass(2 * time.Second)
	require.Len(t, logs[0].cleanings, 1)
	require.Len(t, logs[1].cleanings, 1)
	logs[1].plan = clean.Plan{}
	logs[1].cleanings[0].Done(nil)
	r.pass(time.Hour)
	require.Len(t, logs[0].cleanings, 2)
}

type noRand struct{}

func (noRand) Uint64(string, uint64, uint64) uint64 { return 0 }

// A topic that is not compacted, and a partition with an open transaction beyond its first offset, are left alone.
func TestOnlyWhatIsStableOfCompactedTopicsIsPlanned(t *testing.T) {
	r := newRig(t)
	logs := r.compacted(2)
	logs[0].plan = dirty(100)
	r.manager.partitions[0].topic.config.CleanupPolicy = "delete"
	r.manager.partitions[1].state.open = []openTransaction{{first: 40}}
	r.pass(3 * time.Second)
	require.Empty(t, logs[0].cleanings)
	require.EqualValues(t, 40, logs[1].limit)
}

func TestLastRecordsOfActiveProducers(t *testing.T) {
	s := &State{producers: []*producer{{id: 1, durable: newWindow()}, {id: 2, durable: newWindow()}, {id: 3, durable: newWindow()}}}
	s.producers[1].durable.add(4, sequenceRange{offset: 10, delta: 2})
	s.producers[2].durable.setEpoch(6)
	require.Equal(t, map[int64]clean.LastRecord{2: {Data: 12, Epoch: 4}, 3: {Data: -1, Epoch: 6}}, s.lastRecords())
}
