package partition

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDamagedCheckpointsAreRefused(t *testing.T) {
	r := newRig(t)
	r.send(7, 0, 0, 4)
	r.log.durable(4)
	good := r.p.Checkpoint(nil)
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x40
		if _, err := LoadState(bad, 4, 0); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := LoadState(good[:i], 4, 0); i > 0 && !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := LoadState(good, 3, 0); !errors.Is(err, ErrCheckpoint) {
		t.Fatalf("as of a later offset: %v", err)
	}
}

// R16: what follows the checkpoint is lost, and the log goes on far above. Producers go on where the checkpoint has them.
func TestACheckpointBeforeWhatWasGivenUp(t *testing.T) {
	r := newRig(t)
	r.send(7, 0, 0, 4)
	r.log.durable(4)
	s, err := LoadState(r.p.Checkpoint(nil), 1004, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1004, s.End())
	again, err := LoadState(s.AppendCheckpoint(nil), 1004, 0)
	require.NoError(t, err)
	require.EqualValues(t, 4, again.find(7).durable.nextSequence())
	require.EqualValues(t, 0, again.find(7).durable.batches[0].offset)
}
