package stream

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/wal"
)

// hurry is a recovery of some streams' only ranges, of which the image knows nothing yet.
func hurry(n *node, ids ...metadata.StreamID) *latest {
	l := &latest{
		logs: &n.e.recovered, epoch: n.c.epoch, into: &replayer{c: n.c, e: n.e, states: map[metadata.StreamID]*testState{}},
		open: map[rangeKey]*openRange{},
	}
	for _, id := range ids {
		l.open[rangeKey{id, 0}] = &openRange{}
		l.ends = append(l.ends, metadata.RangeEnd{Stream: id})
	}
	return l
}

func (l *latest) ended(n *node) ([]metadata.RangeEnd, error) {
	return l.finish(&wal.Sealed{BrokerEpoch: int64(n.c.epoch)}, nil)
}

// entry is one batch of an owner as it lies in the log.
func (o *owner) entry(i int) wal.Entry {
	base := int64(0)
	if i > 0 {
		base = o.history.ends[i-1]
	}
	return wal.Entry{Stream: uint64(o.stream.id), BaseOffset: base, Offsets: int32(o.history.ends[i] - base), Batch: o.history.batches[i]}
}

// two streams with some batches and a summary as of them.
func two(t *testing.T) (n *node, a, b *owner, summary []byte) {
	_, _, n = start(t)
	a, b = n.create(1), n.create(2)
	for range 3 {
		a.append(n, 2, 10, 1)
		b.append(n, 2, 10, 1)
	}
	return n, a, b, n.e.AppendSummary(nil)
}

func TestASummaryAndWhatFollowsSayHowALogEnds(t *testing.T) {
	n, a, _, summary := two(t)
	a.append(n, 2, 10, 1)
	l := hurry(n, 1, 2)
	l.visitSummary(0, summary)
	l.visit(a.entry(3))
	ends, err := l.ended(n)
	require.NoError(t, err)
	require.Equal(t, []metadata.RangeEnd{{Stream: 1, End: 8}, {Stream: 2, End: 6}}, ends)
	states := l.into.(*replayer).states
	for id, end := range map[metadata.StreamID]int64{1: 8, 2: 6} {
		sum, _ := n.c.histories[id].sumAt(end)
		require.Equal(t, &testState{end, sum}, states[id])
	}
}

// R4: a summary is not joined over a gap, whichever stream has it.
func TestASummaryIsNotJoinedOverAGap(t *testing.T) {
	n, a, _, summary := two(t)
	a.append(n, 2, 10, 1)
	a.append(n, 2, 10, 1)
	l := hurry(n, 1, 2)
	l.visitSummary(0, summary)
	l.visit(a.entry(4))
	_, err := l.ended(n)
	require.ErrorContains(t, err, "batch at offset 8 where 6 is next")
}

func TestAStateThatLiesInAnOlderLogIsNotSkipped(t *testing.T) {
	n, _, _, summary := two(t)
	l := hurry(n, 1, 2)
	l.visitSummary(0, summary)
	l.open[rangeKey{3, 0}] = &openRange{start: 7, next: 7}
	l.ends = append(l.ends, metadata.RangeEnd{Stream: 3})
	n.c.streams[3] = &metadata.Stream{ID: 3, CheckpointEnd: 5}
	_, err := l.ended(n)
	require.ErrorContains(t, err, "older log")
}

func TestALogThatEndsBelowWhatIsCommittedIsReadWhole(t *testing.T) {
	n, _, _, summary := two(t)
	l := hurry(n, 1, 2)
	l.open[rangeKey{1, 0}] = &openRange{start: 20, next: 20}
	l.visitSummary(0, summary)
	_, err := l.ended(n)
	require.ErrorContains(t, err, "20 is committed")
}

// A summary that lacks a stream says nothing of any: one that overflowed, or that was written once nobody knew the state of a stream any more.
func TestASummaryWithoutAllStreamsIsNotEnough(t *testing.T) {
	n, _, b, _ := two(t)
	b.stream.owner = &talkative{b}
	overflowed := n.e.AppendSummary(nil)
	n.w.turn(func() { n.e.Close(2) })
	closed := n.e.AppendSummary(nil)
	for _, summary := range [][]byte{overflowed, closed} {
		l := hurry(n, 1, 2)
		l.visitSummary(0, summary)
		_, err := l.ended(n)
		require.ErrorIs(t, err, errSummaryOverflow)
	}
}

// A second summary that does not agree with the first and what follows it is not believed, nor is the first.
func TestSummariesThatDifferAreNotBelieved(t *testing.T) {
	n, a, _, summary := two(t)
	a.append(n, 2, 10, 1)
	l := hurry(n, 1, 2)
	l.visitSummary(0, summary)
	l.visitSummary(100, n.e.AppendSummary(nil))
	_, err := l.ended(n)
	require.ErrorContains(t, err, "says that it ends at 8")
}

// What several recovered logs owe of a stream waits until the last of them was read.
func TestReadersWaitForEachLogThatIsNotReadYet(t *testing.T) {
	n, a, _, _ := two(t)
	image := n.c.streams[1]
	image.Ranges = []metadata.Range{{End: 4}, {LeaderEpoch: 1, Start: 4, Committed: 4, End: 6}, {LeaderEpoch: 2, BrokerEpoch: n.c.epoch, Start: 6, Committed: 6, End: -1}}
	s := a.stream
	defer func(start int64) { s.start = start }(s.start)
	s.start = 6
	read := &tailStream{id: 1, next: 4}
	read.entries.pool = n.e.recovered.notes
	read.entries.push(tailEntry{base: 0, offsets: 4})
	n.e.recovered.tails = []*tail{{epoch: 1, streams: []*tailStream{read}}}
	from, ok := s.owedElsewhere(0)
	require.True(t, ok)
	require.Equal(t, int64(4), from)
	image.Ranges[1].Committed = 6
	_, ok = s.owedElsewhere(0)
	require.False(t, ok)
}
