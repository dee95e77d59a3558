package metadata_test

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/metadata"
)

// packed raises an image's level to that from which on its snapshots are packed.
func packed(t require.TestingT, im *metadata.Image) {
	r := &metadata.SetFeatures{Features: []metadata.Feature{{Name: metadata.LevelFeature, Level: metadata.PackedLevel}}}
	require.NoError(t, im.Apply(im.AppliedIndex()+1, r))
}

// wantPackedGolden holds a packed snapshot to what it was taken of. What its bytes are is the compressor's affair.
func wantPackedGolden(t *testing.T, im *metadata.Image) {
	packed(t, im)
	if *update {
		require.NoError(t, os.WriteFile("testdata/snapshot.v8", im.AppendSnapshot(nil), 0o644))
	}
	golden, err := os.ReadFile("testdata/snapshot.v8")
	require.NoError(t, err)
	loaded, err := metadata.LoadSnapshot(im.AppliedIndex(), golden)
	require.NoError(t, err)
	require.Equal(t, im.AppendSnapshot(nil), loaded.AppendSnapshot(nil))
	wantTopics, wantStreams := show(im)
	topics, streams := show(loaded)
	require.Equal(t, wantTopics, topics)
	require.Equal(t, wantStreams, streams)
	require.EqualValues(t, 8, metadata.SnapshotVersion(golden))
}

// An image whose streams and parts are like those of a broker that is written to, as they come and as a few odd ones make them, comes back from its
// packed snapshot as it was.
func TestPackedSnapshotsHoldAnyImage(t *testing.T) {
	const streams = 20
	rapid.Check(t, func(t *rapid.T) {
		im := metadata.NewImage()
		apply := func(r metadata.Record) { require.NoError(t, im.Apply(im.AppliedIndex()+1, r)) }
		apply(&metadata.RegisterBroker{ID: 1})
		apply(&metadata.CreateTopic{ID: topicID("a"), Name: "a", Leaders: slices.Repeat([]metadata.Leader{{Broker: 1, Epoch: 1}}, streams)})
		apply(&metadata.LeaseObjects{Epoch: 1, Count: 100})
		ends := make([]int64, streams)
		for object := range metadata.ObjectID(rapid.IntRange(0, 10).Draw(t, "objects")) {
			r := &metadata.CommitObject{Object: object + 1, Epoch: 1, Bytes: 1 << 20}
			for i := range ends {
				if rapid.IntRange(0, 3).Draw(t, "writes") > 0 {
					r.Parts = append(r.Parts, drawPart(t, metadata.StreamID(i+1), &ends[i]))
				}
			}
			apply(r)
		}
		for id := range metadata.StreamID(3) {
			apply(&metadata.TrimStream{Stream: id + 1, LogStart: rapid.Int64Range(0, ends[id]).Draw(t, "log start")})
		}
		wantTopics, wantStreams := show(im)
		plain := im.AppendSnapshot(nil)
		packed(t, im)
		loaded, err := metadata.LoadSnapshot(im.AppliedIndex(), im.AppendSnapshot(nil))
		require.NoError(t, err)
		topics, streams := show(loaded)
		require.Equal(t, wantTopics, topics)
		require.Equal(t, wantStreams, streams)
		require.Equal(t, im.AppendSnapshot(nil), loaded.AppendSnapshot(nil))
		require.NotEqual(t, metadata.SnapshotVersion(plain), metadata.SnapshotVersion(im.AppendSnapshot(nil)))
	})
}

// drawPart commits some offsets of a stream, with any numbers that a commit may have, and a checkpoint with or without a sum.
func drawPart(t *rapid.T, id metadata.StreamID, end *int64) metadata.CommitPart {
	number := func(name string, usual, most int64) int64 {
		if rapid.IntRange(0, 9).Draw(t, "odd "+name) == 0 {
			return rapid.Int64Range(0, most).Draw(t, name)
		}
		return usual
	}
	start := *end
	*end += 1 + number("offsets", 99, 1<<40)
	state := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "state")
	if rapid.Bool().Draw(t, "summed") {
		state = binary.BigEndian.AppendUint32(state, crc32.Checksum(state, crc32.MakeTable(crc32.Castagnoli)))
	}
	return metadata.CommitPart{Stream: id, Checkpoint: state, Part: metadata.Part{
		Start: start, End: *end, MaxTimestamp: number("timestamp", 1_700_000_000_000, math.MaxInt64), Bytes: number("bytes", 10_000, math.MaxInt64),
		IndexOffset: number("index", 1<<20, math.MaxInt64), IndexBytes: int32(number("index bytes", 80, math.MaxInt32)),
	}}
}

// What a packed snapshot gave a stream is free once the stream is gone, whatever lives beside it.
func TestStreamsOfAPackedSnapshotAreFreedOneByOne(t *testing.T) {
	im := metadata.NewImage()
	apply := func(r metadata.Record) { require.NoError(t, im.Apply(im.AppliedIndex()+1, r)) }
	apply(&metadata.RegisterBroker{ID: 1})
	apply(&metadata.LeaseObjects{Epoch: 1, Count: 9})
	commit := &metadata.CommitObject{Object: 1, Epoch: 1, Bytes: 9}
	for i, name := range []string{"a", "b"} {
		apply(&metadata.CreateTopic{ID: topicID(name), Name: name, Leaders: []metadata.Leader{{Broker: 1, Epoch: 1}}})
		commit.Parts = append(commit.Parts, metadata.CommitPart{Stream: metadata.StreamID(i + 1), Checkpoint: []byte("c"), Part: metadata.Part{End: 1}})
	}
	apply(commit)
	packed(t, im)
	require.NoError(t, im.Restore(im.AppliedIndex(), im.AppendSnapshot(nil)))
	gone, _ := im.Stream(2)
	part := weak.Make(&gone.Parts[0])
	apply(&metadata.DeleteTopic{ID: topicID("b")})
	im.TakeChanges()
	runtime.GC()
	require.Nil(t, part.Value())
	stays, _ := im.Stream(1)
	require.Len(t, stays.Parts, 1)
}
