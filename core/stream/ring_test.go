package stream

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"weir/core/object"
)

func newRing() ring[entry, *entry] { return ring[entry, *entry]{pool: &chunkPool[entry]{}} }

// The ring is held against a plain slice.
func TestRing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r, plain := newRing(), []entry(nil)
	next := int64(0)
	for step := range 20_000 {
		switch draw := random.IntN(30); {
		case draw > 10 || len(plain) == 0:
			for range random.IntN(20) {
				e := entry{base: next, offsets: int32(1 + random.IntN(5)), bytes: random.Int32N(1000), maxTimestamp: random.Int64N(1e6), at: 1}
				next = e.end()
				r.push(e)
				plain = append(plain, e)
			}
		case draw == 0:
			n := random.IntN(len(plain) + 1)
			r.truncate(n)
			plain = plain[:n]
			if n > 0 {
				next = plain[n-1].end()
			}
		default:
			n := random.IntN(len(plain) + 1)
			r.drop(n)
			plain = plain[n:]
		}
		require.Equal(t, len(plain), r.len())
		require.EqualValues(t, len(plain), r.pool.entries)
		require.EqualValues(t, len(r.chunks)-r.head, r.pool.chunks)
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
		compareWalks(t, &r, plain, i, i+random.IntN(len(plain)-i+1), plain[random.IntN(len(plain))].maxTimestamp)
	}
}

func compareWalks(t *testing.T, r *ring[entry, *entry], plain []entry, from, to int, ts int64) {
	largest, bytes, found := int64(-1), int64(0), to
	for i := to - 1; i >= from; i-- {
		largest, bytes = max(largest, plain[i].maxTimestamp), bytes+int64(plain[i].bytes)
		if plain[i].maxTimestamp >= ts {
			found = i
		}
	}
	require.Equal(t, largest, r.largest(from, to))
	require.Equal(t, bytes, r.bytes(from, to))
	require.Equal(t, found, r.find(from, to, ts))
}

func TestRingGivesChunksBack(t *testing.T) {
	r := newRing()
	for i := range int64(1000) {
		r.push(entry{base: i, offsets: 1})
	}
	r.drop(1000)
	if got := len(r.pool.idle); got != 1000/chunkEntries+1 || r.chunks != nil {
		t.Fatalf("%d chunks came back", got)
	}
	if slices.ContainsFunc(r.pool.idle, func(c *chunk[entry]) bool { return c.entries[0] != entry{} }) {
		t.Fatal("a chunk still refers to a slab")
	}
}

// countedEntry counts how often a walk looks at an entry.
type countedEntry struct{ at int64 }

var looks int

func (n *countedEntry) end() int64       { looks++; return n.at + 1 }
func (n *countedEntry) size() int64      { looks++; return 1 }
func (n *countedEntry) timestamp() int64 { looks++; return n.at }

func TestAWalkLooksAtFewEntries(t *testing.T) {
	const entries = 100_000
	r := ring[countedEntry, *countedEntry]{pool: &chunkPool[countedEntry]{}}
	for i := range int64(entries) {
		r.push(countedEntry{i})
	}
	for name, walk := range map[string]func(){
		"largest": func() { require.EqualValues(t, entries-2, r.largest(5, entries-1)) },
		"bytes":   func() { require.EqualValues(t, entries-6, r.bytes(5, entries-1)) },
		"find":    func() { require.Equal(t, entries-2, r.find(5, entries, entries-2)) },
		"search":  func() { require.Equal(t, 7777, r.search(7777)) },
	} {
		looks = 0
		walk()
		require.LessOrEqual(t, looks, 2*chunkEntries, name)
	}
}

func TestWhatABatchIsSaidToTake(t *testing.T) {
	require.EqualValues(t, entryChunkBytes, 2*unsafe.Sizeof(chunk[entry]{}))
	require.EqualValues(t, tailChunkBytes, 2*unsafe.Sizeof(chunk[tailEntry]{}))
	require.EqualValues(t, uploadEntryBytes, 2*(unsafe.Sizeof(object.Batch{})+unsafe.Sizeof([]byte{})))
}
