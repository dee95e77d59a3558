package object

import (
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func sampleCheckpoints() []Checkpoint {
	return []Checkpoint{{Stream: 3, End: 16, State: []byte("producers of 3")}, {Stream: 7, End: 1, State: []byte{}}, {Stream: 9, End: 0, State: filled(300, 9)}}
}

func TestGoldenCheckpoints(t *testing.T) {
	h, parts := sample()
	got := hex.Dump(slices.Concat(Build(h, parts, 200, sampleCheckpoints()...).Body...))
	const name = "testdata/object-checkpoints-v1.hex"
	if *rewrite {
		require.NoError(t, os.WriteFile(name, []byte(got), 0o644))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "version 1 is not what it was")
}

// Checkpoints come back as they were, and the parts beside them; an object may have either alone.
func TestCheckpointsComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h, parts := sample()
		parts = parts[:rapid.IntRange(0, len(parts)).Draw(rt, "parts")]
		var checkpoints []Checkpoint
		for i := range rapid.IntRange(0, 5).Draw(rt, "checkpoints") {
			state := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(rt, "state")
			checkpoints = append(checkpoints, Checkpoint{Stream: uint64(i), End: rapid.Int64Range(0, 1<<62).Draw(rt, "end"), State: state})
		}
		built := Build(h, parts, 200, checkpoints...)
		data := slices.Concat(built.Body...)
		check(t, data, &built, parts)
		require.Len(rt, built.Checkpoints, len(checkpoints))
		for i, x := range built.Checkpoints {
			state, err := x.OpenCheckpoint(h.ID, data[x.Position:x.Position+int64(x.Bytes)])
			require.NoError(rt, err)
			require.True(rt, bytes.Equal(checkpoints[i].State, state))
			if i > 0 {
				before := built.Checkpoints[i-1]
				require.Equal(rt, before.Position+int64(before.Bytes), x.Position, "they lie side by side")
			}
		}
	})
}

// A block is taken only for what it is: every flipped bit, and every other object, stream, offset and sum is an error.
func TestACheckpointIsTakenForNoOther(t *testing.T) {
	h, parts := sample()
	built := Build(h, parts, 200, sampleCheckpoints()...)
	data := slices.Concat(built.Body...)
	x := built.Checkpoints[0]
	block := data[x.Position : x.Position+int64(x.Bytes)]
	refused := func(x CheckpointInfo, object uint64, b []byte) {
		t.Helper()
		_, err := x.OpenCheckpoint(object, b)
		require.ErrorIs(t, err, ErrDamaged)
	}
	for i := range block {
		bad := slices.Clone(block)
		bad[i] ^= 1 << (i % 8)
		refused(x, h.ID, bad)
		refused(x, h.ID, block[:i])
	}
	refused(x, h.ID+1, block)
	for _, other := range []CheckpointInfo{
		{Stream: x.Stream + 1, End: x.End, Position: x.Position, Bytes: x.Bytes, Sum: x.Sum},
		{Stream: x.Stream, End: x.End + 1, Position: x.Position, Bytes: x.Bytes, Sum: x.Sum},
		{Stream: x.Stream, End: x.End, Position: x.Position, Bytes: x.Bytes, Sum: x.Sum + 1},
		built.Checkpoints[1],
	} {
		refused(other, h.ID, block)
	}
	newer := slices.Clone(block)
	newer[4] = checkpointVersion + 1
	order.PutUint32(newer[atSum:], sumWithout(newer, atSum))
	x.Sum = order.Uint32(newer[atSum:])
	_, err := x.OpenCheckpoint(h.ID, newer)
	require.ErrorIs(t, err, ErrVersion)
}
