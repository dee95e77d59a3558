package metadata

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestChunks: a record holds at most so many, and no more bytes than it may unless it has only one.
func TestChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOf(rapid.IntRange(0, 900)).Draw(t, "sizes")
		countMax, bytesMax := rapid.IntRange(1, 20).Draw(t, "count"), rapid.IntRange(1, 1000).Draw(t, "bytes")
		chunks := Chunks(sizes, countMax, bytesMax, func(size *int) int { return *size })
		require.Equal(t, slices.Concat(chunks...), slices.Concat(sizes), "nothing is lost, and the order stays")
		for _, c := range chunks {
			sum := 0
			for _, size := range c {
				sum += size
			}
			require.LessOrEqual(t, len(c), countMax)
			require.True(t, sum <= bytesMax || len(c) == 1, "%d bytes in %d", sum, len(c))
		}
	})
	require.Len(t, Chunks[int](nil, 1, 1, nil), 1, "an empty list is one chunk")
}
