package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/wal"
)

// appendUntilRefused appends the smallest batches there are, and returns how many came in.
func appendUntilRefused(t *testing.T, n *node, o *owner) int {
	small, batches, refused := batchOf(1, 1, 0, 1), 0, false
	for !refused {
		require.Less(t, batches, 100_000, "appends never end")
		n.w.turn(func() {
			for range 100 {
				if refused = !o.put(slices.Clone(small), 1, 0); refused {
					return
				}
				batches++
			}
		})
		n.w.settle()
	}
	return batches
}

func TestSmallBatchesStayWithinTheCache(t *testing.T) {
	w := newWorld(t)
	o := smallOptions
	o.UploadInterval = time.Hour
	n := boot(w, newCluster(w), o, wal.Config{SizeBytes: 16 << 20, SlabBytes: 32 << 10, GroupBytesMax: 16 << 10})
	w.store.hangs = true
	p := n.create(1)
	batches := appendUntilRefused(t, n, p)
	require.LessOrEqual(t, int64(batches)*(batchOverhead+recordBytesMin), o.CacheBytes, "what is noted of them counts")
	require.LessOrEqual(t, n.e.appends.cache.used(), o.CacheBytes+32<<10)
	n.shutdown()
}

// recordBytesMin is what the smallest batch takes of a slab.
const recordBytesMin = 69

func TestARecoveredTailCountsAgainstTheCache(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o := smallOptions
	o.UploadInterval = time.Hour
	config := wal.Config{SizeBytes: 16 << 20, SlabBytes: 32 << 10, GroupBytesMax: 16 << 10}
	n := boot(w, c, o, config)
	w.store.hangs = true
	appendUntilRefused(t, n, n.create(1))
	n.shutdown()

	n = boot(w, c, o, config)
	tail := n.e.appends.cache.tails.chunks * tailChunkBytes
	require.Greater(t, tail, o.CacheBytes/8)
	batches := appendUntilRefused(t, n, n.owners[1])
	require.LessOrEqual(t, int64(batches)*(batchOverhead+recordBytesMin)+tail, o.CacheBytes)
	n.shutdown()

	w.store.hangs = false
	n = boot(w, c, o, config)
	n.e.appends.refused = true
	w.until("the tails' commit", func() bool { return len(n.e.recovered.tails) == 0 })
	require.Zero(t, n.e.appends.cache.tails.chunks)
	require.False(t, n.e.appends.refused, "who waited for room was told")
	n.shutdown()
}
