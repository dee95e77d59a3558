package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMovesAreMeasured: a run of few moves has what its command prints.
func TestMovesAreMeasured(t *testing.T) {
	for _, object := range []bool{false, true} {
		r := Moves(MovesOptions{Seed: 1, Brokers: 3, Moves: 5, Bytes: 1 << 20, PartBytes: 256 << 10, ObjectWAL: object})
		require.Empty(t, r.Violations)
		require.Positive(t, r.Parts)
		require.Len(t, r.Calm, 5)
		require.Len(t, r.Moved, 5)
		require.Positive(t, r.Calm[0])
		require.Positive(t, r.Moved[0])
	}
}
