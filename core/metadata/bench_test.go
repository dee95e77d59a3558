package metadata_test

import (
	"fmt"
	"testing"

	"weir/core/metadata"
)

const benchStreams = 10_000

// benchImage has a topic of many partitions, and a lease without end.
func benchImage(b *testing.B) (*metadata.Image, uint64) {
	im := metadata.NewImage()
	leaders := make([]metadata.Leader, benchStreams)
	for i := range leaders {
		leaders[i] = metadata.Leader{Broker: 1, Epoch: 1}
	}
	for i, r := range []metadata.Record{
		&metadata.RegisterBroker{ID: 1, Incarnation: [16]byte{1}},
		&metadata.CreateTopic{ID: topicID("bench"), Name: "bench", Leaders: leaders},
		&metadata.LeaseObjects{Epoch: 1, Count: 1 << 20},
	} {
		if err := im.Apply(uint64(i+1), r); err != nil {
			b.Fatal(err)
		}
	}
	return im, 3
}

func benchCommit(object, offset int64, checkpoint []byte) *metadata.CommitObject {
	r := &metadata.CommitObject{Object: metadata.ObjectID(object), Epoch: 1, Bytes: 1 << 28}
	for id := range benchStreams {
		r.Parts = append(r.Parts, metadata.CommitPart{
			Stream: metadata.StreamID(id + 1), Checkpoint: checkpoint,
			Part: metadata.Part{Start: offset, End: offset + 100, Bytes: 10_000, IndexOffset: 1 << 20, IndexBytes: 100},
		})
	}
	return r
}

// BenchmarkCommit decodes and applies a commit of 10,000 parts.
func BenchmarkCommit(b *testing.B) {
	im, index := benchImage(b)
	checkpoint := make([]byte, 64)
	b.ReportAllocs()
	for i := range int64(b.N) {
		b.StopTimer()
		encoded := benchCommit(i+1, 100*i, checkpoint).AppendTo(nil)
		b.StartTimer()
		r, err := metadata.DecodeRecord(encoded)
		index++
		if err := im.Apply(index, r); err != nil {
			b.Fatal(err)
		}
		if err != nil || !im.Outcome().Accepted[benchStreams-1] {
			b.Fatal("refused", err)
		}
	}
}

// BenchmarkSnapshot writes and loads 10,000 streams of ten parts each.
func BenchmarkSnapshot(b *testing.B) {
	im, index := benchImage(b)
	for i := range int64(10) {
		index++
		if err := im.Apply(index, benchCommit(i+1, 100*i, make([]byte, 64))); err != nil {
			b.Fatal(err)
		}
	}
	snapshot := im.AppendSnapshot(nil)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(snapshot)))
		for range b.N {
			snapshot = im.AppendSnapshot(snapshot[:0])
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(int64(len(snapshot)))
		for range b.N {
			if _, err := metadata.LoadSnapshot(index, snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	im, _ := benchImage(b)
	name := fmt.Sprint("ben", "ch")
	b.ReportAllocs()
	for i := range b.N {
		im.Topic(name)
		im.Stream(metadata.StreamID(i%benchStreams + 1))
	}
}
