package task_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/task"
)

func TestBackOffDoublesUpToItsMax(t *testing.T) {
	b := task.BackOff{First: 100 * time.Millisecond, Max: time.Second}
	for failures, want := range []time.Duration{50, 100, 200, 400, 500, 500} {
		require.Equal(t, want*time.Millisecond, b.Wait(failures, 0))
	}
	require.Equal(t, 500*time.Millisecond, b.Wait(math.MaxInt, 0))
}

func TestBackOffDrawsHalf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := task.BackOff{First: time.Duration(rapid.Int64Range(2, 1e9).Draw(t, "first")), Max: time.Duration(rapid.Int64Range(2, 1e11).Draw(t, "max"))}
		failures, draw := rapid.IntRange(0, 100).Draw(t, "failures"), rapid.Uint64().Draw(t, "draw")
		least := b.Wait(failures, 0)
		wait := b.Wait(failures, draw)
		require.GreaterOrEqual(t, wait, least)
		require.LessOrEqual(t, wait, min(2*least, b.Max))
	})
}
