package stream

import (
	"encoding/hex"
	"flag"
	"os"
	"testing"

	"weir/core/metadata"
)

var rewrite = flag.Bool("rewrite-golden", false, "write golden files anew")

func TestGoldenSummary(t *testing.T) {
	_, _, n := start(t)
	for id, batches := range map[metadata.StreamID]int{1: 3, 7: 0, 300: 200} {
		n.create(id)
		for range batches {
			n.owners[id].append(n, 1, 10, 1)
		}
	}
	data := n.e.AppendSummary(nil)
	got := hex.Dump(data)
	const name = "testdata/summary-v1.hex"
	if *rewrite {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || got != string(want) {
		t.Fatalf("%v: version 1 is not what it was:\n%s", err, got)
	}
	s, err := decodeSummary(data)
	if err != nil || len(s.streams) != 2 || s.streams[1].stream != 300 || s.streams[1].end != 200 || s.overflow {
		t.Fatalf("decoded as %+v, %v", s, err)
	}
}

func TestSummaryHasABound(t *testing.T) {
	_, _, n := start(t)
	for id := metadata.StreamID(1); id <= 3; id++ {
		n.create(id)
		n.owners[id].append(n, 1, 10, 1)
	}
	n.owners[2].stream.owner = &talkative{n.owners[2]}
	s, err := decodeSummary(n.e.AppendSummary(nil))
	if err != nil || !s.overflow || len(s.streams) != 1 {
		t.Fatalf("decoded as %d streams, overflow %v, %v", len(s.streams), s.overflow, err)
	}
}

// talkative is an owner with a state larger than a summary may be.
type talkative struct{ *owner }

func (o *talkative) Summary(dst []byte) []byte { return append(dst, make([]byte, 2<<20)...) }

func FuzzSummary(f *testing.F) {
	f.Add([]byte{summaryVersion, 0})
	f.Add([]byte{summaryVersion, 0, 1, 0, 3, 2, 9, 9, 5, 1, 8, 0})
	f.Add([]byte{summaryVersion, summaryOverflow, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSummary(b)
		if err == nil && len(s.streams) > len(b)/summaryStreamBytesMin {
			t.Fatalf("%d streams in %d bytes", len(s.streams), len(b))
		}
	})
}
