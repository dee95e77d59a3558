package metadata

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// columnsOf are the columns of an image as they are before they are compressed.
func columnsOf(s *contents) []byte {
	c := coder{version: snapshotPacked}
	s.columns(&c)
	return c.b
}

// Columns that make no sense are refused, whatever they say of lengths; what is taken says the same when it is packed again. The compressor would hide
// them from a fuzzer of snapshots.
func FuzzColumns(f *testing.F) {
	golden, err := os.ReadFile("testdata/snapshot.v8")
	require.NoError(f, err)
	im, err := LoadSnapshot(1<<20, golden)
	require.NoError(f, err)
	whole := im.contents()
	f.Add(columnsOf(&whole))
	state := []byte("a state")
	state = binary.BigEndian.AppendUint32(state, crc32.Checksum(state, castagnoli))
	few := contents{streams: []*Stream{
		{Parts: []Part{{Object: 1, Start: 0, End: 9}, {Object: 2, Start: 9, End: 20, Bytes: 1 << 40}}, Checkpoint: state},
		{Checkpoint: []byte{0x80, 0x80, 1}},
		{Parts: []Part{{Object: 2, Start: 3, End: 4, MaxTimestamp: -1}}},
	}}
	f.Add(columnsOf(&few))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again contents
		c := coder{b: bytes.Clone(b), decoding: true, version: snapshotPacked}
		s.columns(&c)
		if c.failed {
			return
		}
		packed := columnsOf(&s)
		c = coder{b: bytes.Clone(packed), decoding: true, version: snapshotPacked}
		again.columns(&c)
		require.False(t, c.failed)
		require.Empty(t, c.b)
		require.Equal(t, s.streams, again.streams)
	})
}
