package stream

import (
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
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

// The ring is held against a plain slice.
func TestRing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r, plain := ring{pool: &entryPool{}}, []entry(nil)
	next := int64(0)
	for step := range 20_000 {
		if random.IntN(3) > 0 || len(plain) == 0 {
			for range random.IntN(20) {
				e := entry{base: next, offsets: int32(1 + random.IntN(5)), at: 1}
				next = e.end()
				r.push(e)
				plain = append(plain, e)
			}
		} else {
			n := random.IntN(len(plain) + 1)
			r.drop(n)
			plain = plain[n:]
		}
		if r.len() != len(plain) {
			t.Fatalf("step %d: %d entries, not %d", step, r.len(), len(plain))
		}
		if len(plain) == 0 {
			continue
		}
		i := random.IntN(len(plain))
		if *r.at(i) != plain[i] {
			t.Fatalf("step %d: entry %d differs", step, i)
		}
		offset := plain[i].base + int64(random.IntN(int(plain[i].offsets)))
		if got := r.search(offset); got != i {
			t.Fatalf("step %d: offset %d is found at %d, not %d", step, offset, got, i)
		}
	}
}

func TestRingGivesChunksBack(t *testing.T) {
	r := ring{pool: &entryPool{}}
	for i := range int64(1000) {
		r.push(entry{base: i, offsets: 1})
	}
	r.drop(1000)
	if got := len(r.pool.idle); got != 1000/chunkEntries+1 || r.chunks != nil {
		t.Fatalf("%d chunks came back", got)
	}
	if slices.ContainsFunc(r.pool.idle, func(c *entryChunk) bool { return c[0] != entry{} }) {
		t.Fatal("a chunk still refers to a slab")
	}
}
