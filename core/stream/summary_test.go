package stream

import (
	"encoding/hex"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

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

// settableShipping is a store that has the metadata's log as far as the test says.
type settableShipping struct{ applied, shipped uint64 }

func (s *settableShipping) AppliedIndex() uint64 { return s.applied }
func (s *settableShipping) Shipped() uint64      { return s.shipped }

// R4, R19: the metadata disks are lost with records that no shipment has; the image that is rebuilt says again that the log holds what those had committed, sealed or
// deleted, and whoever recovers it must not take its newest summary's silence for the contrary.
func TestASummaryIsSilentOnlyOfWhatIsShipped(t *testing.T) {
	w := newWorld(t)
	c := newCluster(w)
	o, shipping := smallOptions, &settableShipping{applied: 1, shipped: 1}
	o.Shipping = shipping
	n := boot(w, c, o, smallLog)
	summaryOf := func() summary {
		s, err := decodeSummary(n.e.AppendSummary(nil))
		require.NoError(t, err)
		return s
	}
	a := n.create(1)
	a.fill(n, 3_000)
	require.Len(t, summaryOf().streams, 1)
	shipping.applied = 5
	a.drain(n)
	require.Equal(t, a.history.end(), c.streams[1].CommittedEnd())
	require.Len(t, summaryOf().streams, 1, "the commit may be lost")
	shipping.shipped = 5
	require.Empty(t, summaryOf().streams)
	require.False(t, summaryOf().overflow)

	b := n.create(2)
	b.fill(n, 3_000)
	shipping.applied = 7
	s := c.streams[2]
	sum, _ := b.history.sumAt(b.stream.End())
	s.Checkpoint, s.CheckpointEnd = encodeState(b.stream.End(), sum), b.stream.End()
	s.Newest().End = b.stream.End()
	s.Ranges = append(s.Ranges, metadata.Range{LeaderEpoch: 1, BrokerEpoch: 99, Start: b.stream.End(), Committed: b.stream.End(), End: -1})
	w.turn(func() { n.e.Close(2) })
	require.True(t, summaryOf().overflow, "the seal may be lost")
	shipping.shipped = 7
	require.False(t, summaryOf().overflow)
	shipping.applied = 9
	w.turn(func() {
		delete(c.streams, 1)
		n.e.ImageChanged()
	})
	require.True(t, summaryOf().overflow, "the deletion may be lost")
	shipping.shipped = 9
	require.False(t, summaryOf().overflow)
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
