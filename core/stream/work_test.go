package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
)

// What is done again and again must not look at everything there is. What is counted is the look-ups of
// streams in the image; TestAWalkLooksAtFewEntries counts those in memory.

func TestSizesAreCountedOnceAnImageAndOnlyIfAsked(t *testing.T) {
	_, c, n := start(t)
	o := n.create(1)
	o.fill(n, 300_000)
	o.drain(n)
	looks := func(f func()) int {
		before := c.lookups
		f()
		return c.lookups - before
	}
	require.Equal(t, 1, looks(func() { o.stream.RetentionPoint(-1, -1) }), "nobody asked for sizes")
	size := o.stream.Bytes()
	require.Zero(t, looks(func() { require.Equal(t, size, o.stream.Bytes()) }))

	o.fill(n, 10_000)
	require.Equal(t, o.size(o.stream.LogStart()), o.stream.Bytes(), "what is not uploaded")
	o.drain(n)
	c.trim(1, c.streams[1].Parts[0].End)
	n.w.turn(func() { n.e.StreamsChanged([]metadata.StreamID{1}) })
	require.Equal(t, o.size(o.stream.LogStart()), o.stream.Bytes(), "what is trimmed")
	o.fill(n, 10_000)
	c.trim(1, o.stream.HighWatermark()-3)
	n.w.turn(func() { n.e.StreamsChanged([]metadata.StreamID{1}) })
	require.Equal(t, o.size(o.stream.LogStart()), o.stream.Bytes(), "what is trimmed before it is uploaded")
	n.shutdown()
}

// size is the size of the log from an offset on.
func (o *owner) size(from int64) (bytes int64) {
	for i := o.history.at(from); i < len(o.history.batches); i++ {
		bytes += int64(len(o.history.batches[i]))
	}
	return bytes
}

func TestTheUploadOfATailLooksAtEachStreamAFewTimes(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.UploadInterval = time.Hour
	n := boot(w, c, o, smallLog)
	const streams = 200
	fillAll(n, streams, 1)
	n.shutdown()
	o.TailBytes = 1 // each piece is one batch
	n = boot(w, c, o, smallLog)
	c.lookups, c.proposed = 0, nil
	w.until("the tail's commit", func() bool { return !c.EpochOwes(1) })
	require.Len(t, c.proposed, streams)
	require.Less(t, c.lookups, 10*streams)
	n.shutdown()
}

// countedShipping counts the trims of the log, and the streams that go: each asks for the index of the image.
type countedShipping struct{ trims int }

func (s *countedShipping) AppliedIndex() uint64 { s.trims++; return 1 }
func (s *countedShipping) Shipped() uint64      { return 1 }

// What is done for a stream of a deleted topic must not look at all others, nor move them.
func TestTheStreamsOfADeletedTopicGoTogether(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o, trims := smallOptions, &countedShipping{}
	o.UploadInterval, o.Shipping = time.Hour, trims
	n := boot(w, c, o, smallLog)
	const streams = 20
	fillAll(n, streams, 1)
	order := slices.Clone(n.e.streams.ordered)
	closeUpTo := func(last metadata.StreamID) {
		var gone []metadata.StreamID
		for _, id := range c.sorted() {
			if id <= last {
				gone = append(gone, id)
				delete(c.streams, id)
			}
		}
		w.turn(func() {
			for _, id := range gone {
				n.e.Close(id)
			}
		})
	}
	closeUpTo(8)
	require.Equal(t, 8+1, trims.trims, "one trim for all")
	require.Equal(t, order, n.e.streams.ordered, "nobody was moved")
	closeUpTo(15)
	require.Equal(t, 15+2, trims.trims)
	require.Equal(t, order[15:], n.e.streams.ordered)
	w.turn(n.e.ImageChanged)
	drainAll(n)
	n.shutdown()
}

// What a commit and a summary look at does not grow with partitions that nobody writes to.
func TestStreamsThatNobodyWritesToAreNotLookedAt(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o, shipping := smallOptions, &settableShipping{applied: 1, shipped: 1}
	o.Shipping = shipping
	n := boot(w, c, o, smallLog)
	const streams = 20
	for id := metadata.StreamID(1); id <= streams; id++ {
		n.create(id)
	}
	require.Empty(t, n.e.streams.unsettled())
	for _, id := range []metadata.StreamID{17, 5, 17} {
		n.owners[id].fill(n, 1_000)
	}
	seen := func() (ids []metadata.StreamID) {
		for _, s := range n.e.streams.unsettled() {
			ids = append(ids, s.id)
		}
		return ids
	}
	require.ElementsMatch(t, []metadata.StreamID{17, 5}, seen())
	shipping.applied = 3
	n.owners[5].drain(n)
	n.owners[17].drain(n)
	require.ElementsMatch(t, []metadata.StreamID{17, 5}, seen(), "the commits may be lost")
	shipping.shipped = 3
	n.e.AppendSummary(nil)
	require.Empty(t, seen())
	n.owners[17].fill(n, 1_000)
	require.Equal(t, []metadata.StreamID{17}, seen())
	shipping.applied, shipping.shipped = 9, 9
	drainAll(n)
	n.shutdown()
}
