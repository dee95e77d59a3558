package object

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// stored is an object in a store.
type stored struct {
	built Built
	body  []byte
}

// draw makes one run of batches of a stream, transactional ones among them.
func drawBatches(draw *rand.Rand, from int64, n int) (batches []Batch) {
	for range n {
		switch draw.IntN(4) {
		case 0:
			batches = append(batches, batch(from, 1+draw.IntN(3), 1+draw.IntN(300), draw.Int64N(1000)))
		case 1:
			batches = append(batches, marker(draw.Int64N(4), from, draw.IntN(2) == 0))
		default:
			batches = append(batches, data(draw.Int64N(4), from))
		}
		from = batches[len(batches)-1].End
	}
	return batches
}

// joined puts the bytes of a joined object together, as a store does.
func joined(built *Built, extents []Extent, objects map[uint64]stored) []byte {
	body := slices.Clone(built.Body[0])
	for _, x := range extents {
		body = append(body, objects[x.Object].body[x.Position:][:x.Bytes]...)
	}
	return append(body, built.Body[1]...)
}

// A part that was joined from the parts of several objects, some of them joined themselves, reads as one that was
// built from all the batches at once, and says the same of transactions.
func TestWhatIsJoinedReadsAsIfItHadBeenBuilt(t *testing.T) {
	for seed := range uint64(300) {
		draw := rand.New(rand.NewPCG(seed, 1))
		streams, rounds := 1+draw.IntN(3), 2+draw.IntN(4)
		whole := make([]Part, streams)
		sources := make([][]*Index, streams)
		objects, nextID := map[uint64]stored{}, uint64(100)
		var extents []Extent
		for range rounds {
			parts := make([]Part, streams)
			for s := range parts {
				from := int64(0)
				if n := len(whole[s].Batches); n > 0 {
					from = whole[s].Batches[n-1].End
				}
				parts[s] = Part{Stream: uint64(s + 1), LeaderEpoch: 3, Batches: drawBatches(draw, from, 1+draw.IntN(9))}
				whole[s].Stream, whole[s].LeaderEpoch = parts[s].Stream, 3
				whole[s].Batches = append(whole[s].Batches, parts[s].Batches...)
			}
			built := Build(Header{ID: nextID, Cluster: "c"}, parts, 1+draw.IntN(800))
			o := stored{built, slices.Concat(built.Body...)}
			objects[nextID] = o
			extents = append(extents, Extent{Object: nextID, Position: HeaderBytes, Bytes: built.Parts[0].IndexPosition - HeaderBytes})
			for s := range parts {
				sources[s] = append(sources[s], indexOf(t, o, s))
			}
			nextID++
			if draw.IntN(3) == 0 {
				var made Built
				made, extents = joinAll(t, nextID, extents, sources, objects)
				for s := range sources {
					sources[s] = []*Index{indexOf(t, objects[nextID], s)}
				}
				require.Equal(t, made.Header.ID, nextID)
				nextID++
			}
		}
		made, _ := joinAll(t, nextID, extents, sources, objects)
		check(t, objects[nextID].body, &made, whole)
		reference := Build(Header{ID: nextID}, whole, 500)
		want := stored{reference, slices.Concat(reference.Body...)}
		for s := range whole {
			got, expected := indexOf(t, objects[nextID], s), indexOf(t, want, s)
			require.Equal(t, expected.Transactions.rows(), got.Transactions.rows(), "seed %d", seed)
			require.Equal(t, reference.Parts[s].MaxTimestamp, made.Parts[s].MaxTimestamp)
			require.Equal(t, reference.Parts[s].Bytes, made.Parts[s].Bytes)
		}
	}
}

func joinAll(t *testing.T, id uint64, extents []Extent, sources [][]*Index, objects map[uint64]stored) (Built, []Extent) {
	var parts []JoinedPart
	for s := range sources {
		parts = append(parts, JoinedPart{Stream: uint64(s + 1), LeaderEpoch: 3, Sources: sources[s]})
	}
	built := Join(Header{ID: id, Cluster: "c"}, extents, parts)
	body := joined(&built, extents, objects)
	require.EqualValues(t, built.Header.Bytes, len(body))
	objects[id] = stored{built, body}
	return built, []Extent{{Object: id, Position: HeaderBytes, Bytes: built.Parts[0].IndexPosition - HeaderBytes}}
}

func indexOf(t *testing.T, o stored, part int) *Index {
	p := &o.built.Parts[part]
	x, err := ParseIndex(o.body[p.IndexPosition:][:p.IndexBytes])
	require.NoError(t, err)
	return x
}

// Only an index whose blocks are scattered has the version that earlier releases do not know.
func TestAJoinOfOneRunStaysReadable(t *testing.T) {
	built := Build(Header{ID: 1}, []Part{{Stream: 1, Batches: drawBatches(rand.New(rand.NewPCG(1, 1)), 0, 30)}}, 300)
	o := stored{built, slices.Concat(built.Body...)}
	x := indexOf(t, o, 0)
	made := Join(Header{ID: 2}, []Extent{{1, HeaderBytes, built.Parts[0].Bytes}}, []JoinedPart{{Stream: 1, Sources: []*Index{x}}})
	require.EqualValues(t, indexTransactions, order.Uint16(made.Body[1][4:]))
	require.Panics(t, func() {
		Join(Header{ID: 2}, []Extent{{1, HeaderBytes, built.Parts[0].Bytes - 1}}, []JoinedPart{{Stream: 1, Sources: []*Index{x}}})
	}, "a block in no extent")
	require.Panics(t, func() {
		Join(Header{ID: 2}, []Extent{{1, HeaderBytes, built.Parts[0].Bytes}}, []JoinedPart{{Stream: 1, Sources: []*Index{x, x}}})
	}, "offsets twice")
}
