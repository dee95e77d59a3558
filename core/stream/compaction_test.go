package stream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/object"
)

// startCompacting starts a node that compacts what it uploads, in tiny sizes.
func startCompacting(t testing.TB, change func(*Options)) (*world, *cluster, *node) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.Compaction = CompactionOptions{
		Interval: time.Second, RewriteFanIn: 4, JoinFanIn: 3, RewriteBytes: 32 << 10, JoinBytesMin: 12 << 10, ObjectBytesMax: 256 << 10,
	}
	if change != nil {
		change(&o)
	}
	return w, c, boot(w, c, o, smallLog)
}

// uploadRounds uploads so often a batch of each of so many streams.
func uploadRounds(n *node, streams, rounds, bytes int) {
	for range rounds {
		for id := metadata.StreamID(1); id <= metadata.StreamID(streams); id++ {
			o := n.owners[id]
			if o == nil {
				o = n.create(id)
			}
			n.w.until("room", func() bool { return o.append(n, 1, bytes, int64(n.w.now)%1000) })
		}
		for id := metadata.StreamID(1); id <= metadata.StreamID(streams); id++ {
			o := n.owners[id]
			n.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
			o.drain(n)
		}
		n.w.turn(n.e.ImageChanged)
	}
}

// atRest waits until compaction has nothing to do.
func (n *node) atRest() {
	n.w.t.Helper()
	n.w.until("the end of compaction", func() bool {
		if n.e.compactor.due.Len() > 0 || len(n.e.compactor.jobs) > 0 {
			return false
		}
		for _, s := range n.e.streams.open {
			if s.compactAfter > n.w.now {
				return false
			}
		}
		return true
	})
	n.w.turn(n.e.ImageChanged)
}

// settleCompaction waits until whatever can be compacted is.
func (n *node) settleCompaction() {
	n.w.t.Helper()
	for done := -1; done != n.c.replacements; {
		done = n.c.replacements
		n.w.turn(n.e.ImageChanged)
		n.atRest()
	}
}

func TestPartsOfAStreamStayFew(t *testing.T) {
	w, c, n := startCompacting(t, nil)
	uploadRounds(n, 8, 120, 300)
	n.settleCompaction()
	for _, id := range c.sorted() {
		require.LessOrEqual(t, len(c.streams[id].Parts), 12, "stream %d", id)
		n.owners[id].readAll(n, 5000)
	}
	require.Positive(t, w.hits("stream compaction: rewritten"))
	require.Positive(t, w.hits("stream compaction: joined"))
	require.Positive(t, w.store.composes)
	w.store.audit()
	n.shutdown()
}

var _ = fmt.Sprint
var _ = slices.Clone[[]int]
var _ = object.Key
