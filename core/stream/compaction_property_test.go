package stream

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/metadata"
)

// shelf is streams of which nothing but parts is known, and what the policy of compaction makes of them.
type shelf struct {
	mergePolicy
	t       require.TestingT
	streams [][]metadata.Part // by id
	next    []int64           // offset of what is uploaded next
	seen    []uint64          // large parts that had nothing to join
	objects metadata.ObjectID
	sparsed map[metadata.ObjectID]bool // little of them is in use
	merges  int
	written int64 // bytes of all merges
}

func newShelf(t require.TestingT, p mergePolicy, streams int) *shelf {
	return &shelf{mergePolicy: p, t: t, streams: make([][]metadata.Part, streams), next: make([]int64, streams), seen: make([]uint64, streams), sparsed: map[metadata.ObjectID]bool{}}
}

// each implements mergeView.
func (s *shelf) each(first, end metadata.StreamID, visit func(metadata.StreamID, []metadata.Part)) {
	for id := first; id < min(end, metadata.StreamID(len(s.streams))); id++ {
		visit(id, s.streams[id])
	}
}

// sparse implements mergeView.
func (s *shelf) sparse(id metadata.ObjectID) bool { return s.sparsed[id] }

// add puts a part behind the others of a stream; of object 0: offsets that are lost.
func (s *shelf) add(id int, object metadata.ObjectID, bytes int64) {
	offsets := max(bytes, 1)
	s.streams[id] = append(s.streams[id], metadata.Part{Object: object, Start: s.next[id], End: s.next[id] + offsets, Bytes: bytes})
	s.next[id] += offsets
}

// trim removes the first parts of a stream.
func (s *shelf) trim(id, parts int) {
	s.streams[id] = s.streams[id][min(parts, len(s.streams[id])):]
}

// consider does the first thing that the policy says of a stream; false: it says nothing.
func (s *shelf) consider(id int) bool {
	_, large := s.largeParts(s.streams[id])
	plans := s.planner(s)
	plan, ok := plans.plan(metadata.StreamID(id), s.streams[id], large != s.seen[id])
	if !ok {
		s.seen[id] = large
		return false
	}
	s.merge(&plan)
	return true
}

// merge does what a plan says, and checks it.
func (s *shelf) merge(plan *mergePlan) {
	s.merges++
	s.objects++
	require.True(s.t, plan.join || plan.bytes() <= s.rewriteBytes, "%d bytes are in memory", plan.bytes())
	require.True(s.t, plan.move || plan.bytes() <= s.objectBytesMax, "an object of %d bytes", plan.bytes())
	merged := false
	s.written += plan.bytes()
	for _, run := range plan.runs {
		merged = merged || len(run.parts) > 1
		s.replace(run)
	}
	require.True(s.t, plan.move || merged, "nothing becomes less")
}

// replace makes a run of parts one.
func (s *shelf) replace(run mergeRun) {
	parts := s.streams[run.stream]
	at := slices.IndexFunc(parts, func(p metadata.Part) bool { return p.Start == run.parts[0].Start })
	part := metadata.Part{Object: s.objects, Start: run.parts[0].Start, End: run.parts[0].Start}
	for i, p := range run.parts {
		require.Equal(s.t, parts[at+i], p)
		require.False(s.t, p.Lost(), "stream %d: nobody has what is lost", run.stream)
		require.Equal(s.t, part.End, p.Start, "stream %d: a gap", run.stream)
		part.End, part.Bytes = p.End, part.Bytes+p.Bytes
	}
	s.streams[run.stream] = slices.Concat(parts[:at], []metadata.Part{part}, parts[at+len(run.parts):])
}

// settle compacts until there is nothing to do: no merge but moves leaves as many parts as there were, so that is soon.
func (s *shelf) settle() {
	s.sparsed = map[metadata.ObjectID]bool{}
	most := 0
	for _, parts := range s.streams {
		most += len(parts)
	}
	before := s.merges
	for busy := true; busy; {
		busy = false
		for id := range s.streams {
			for s.consider(id) {
				busy = true
				require.LessOrEqual(s.t, s.merges-before, most, "compaction goes round in circles")
			}
		}
	}
}

// requireFew: a stream has no more parts than it should have beside those that are settled; or else no two that lie side by side fit
// into one object. What is settled has its share of a large object, so that there is no more of it than there are bytes for.
func (s *shelf) requireFew(id int) {
	parts, held := s.streams[id], holdings{}
	first, end := neighbours(metadata.StreamID(id), s.joinStreams)
	s.each(first, end, func(of metadata.StreamID, parts []metadata.Part) {
		for i := range parts {
			held.add(of, &parts[i])
		}
	})
	bytes, lost, settled := int64(0), 0, 0
	for i := range parts {
		p := &parts[i]
		bytes += p.Bytes
		switch {
		case p.Lost():
			lost++
		case s.settled(p, held[p.Object]):
			settled++
		}
	}
	most := max(partsWanted+settled, int(2*bytes/s.objectBytesMax)+2*(lost+settled)+1)
	require.LessOrEqual(s.t, len(parts), most, "stream %d, of which %d parts are settled: %v", id, settled, parts)
	require.LessOrEqual(s.t, int64(settled), 2*settledShare*int64(s.joinStreams)*bytes/s.objectBytesMax, "stream %d: %v", id, parts)
}

// Whatever was uploaded, in whatever sizes and by whichever streams together, trimmed, lost or deleted, compacted meanwhile or not: in
// the end the parts of each stream are few.
func TestPartsAreFewAfterAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := mergePolicy{
			rewriteFanIn: rapid.IntRange(2, 9).Draw(t, "rewrite fan-in"), joinFanIn: rapid.IntRange(2, 5).Draw(t, "join fan-in"),
			rewriteBytes: rapid.SampledFrom([]int64{200, 2_000, 20_000}).Draw(t, "rewrite bytes"), rewriteStreams: 8, joinStreams: 4,
		}
		p.joinBytesMin = p.rewriteBytes / rapid.SampledFrom([]int64{4, 20}).Draw(t, "join share")
		p.objectBytesMax = p.rewriteBytes * rapid.SampledFrom([]int64{1, 5, 100}).Draw(t, "object share")
		s := newShelf(t, p, rapid.IntRange(1, 12).Draw(t, "streams"))
		size := rapid.SampledFrom([]int64{1, 3, 11, 43, 171, 683, 2731})
		stream := rapid.IntRange(0, len(s.streams)-1)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			switch rapid.IntRange(0, 19).Draw(t, "step") {
			case 0:
				s.trim(stream.Draw(t, "trimmed"), rapid.IntRange(1, 50).Draw(t, "parts"))
			case 1:
				s.add(stream.Draw(t, "loser"), 0, 0)
			case 2:
				s.sparsed[metadata.ObjectID(rapid.Uint64Range(1, uint64(s.objects)+1).Draw(t, "sparse"))] = true
			case 3, 4, 5, 6:
				s.consider(stream.Draw(t, "compacted"))
			default:
				s.objects++
				each := rapid.IntRange(0, 3).Draw(t, "writers") // one in so many, or all
				for id := range s.streams {
					if each == 0 || stream.Draw(t, "writes")%each == 0 {
						s.add(id, s.objects, size.Draw(t, "bytes"))
					}
				}
			}
		}
		s.settle()
		for id := range s.streams {
			s.requireFew(id)
		}
	})
}

// Sizes in an order in which no run of parts doubles its largest do not keep them from being merged.
func TestSizesThatNeverDoubleAreMerged(t *testing.T) {
	s := newShelf(t, defaultPolicy(), 1)
	for i := range 64 { // 1 3 1 11 1 3 1 43 ...: each is larger than all between it and the next one as large
		bytes := int64(10_000)
		for at := i + 1; at%2 == 0; at /= 2 {
			bytes *= 4
		}
		s.objects++
		s.add(0, s.objects, bytes)
	}
	s.settle()
	require.LessOrEqual(t, len(s.streams[0]), partsWanted)
}

// What is lost is a boundary: both what lies before it and what lies behind it is merged.
func TestPartsAreMergedOnBothSidesOfWhatIsLost(t *testing.T) {
	s := newShelf(t, defaultPolicy(), 1)
	for i := range 32 {
		if i == 16 {
			s.add(0, 0, 0)
		}
		s.objects++
		s.add(0, s.objects, 1000)
	}
	s.settle()
	require.Len(t, s.streams[0], 3)
	require.True(t, s.streams[0][1].Lost())
}

// A stream that many large objects have a share of is not rewritten for their sake: what is settled stays, and does not make what
// is small too many.
func TestSettledPartsStay(t *testing.T) {
	p := defaultPolicy()
	s := newShelf(t, p, int(p.joinStreams))
	for range 30 {
		s.objects++
		for id := range s.streams {
			s.add(id, s.objects, 6<<30/int64(p.joinStreams))
		}
	}
	for range 6 { // fewer than are rewritten
		s.objects++
		for id := range s.streams {
			s.add(id, s.objects, 50_000)
		}
	}
	s.settle()
	require.Zero(t, s.merges)
	require.Len(t, s.streams[0], 36)
}

// Where each upload has few of the streams, a join for one of them does not copy most of what the others have.
func TestAJoinLeavesWhatItWouldOnlyMove(t *testing.T) {
	for _, streams := range []int{2, 8, 16, 64} {
		for writers := 1; writers <= 3; writers++ {
			draws := rand.New(rand.NewPCG(uint64(streams), uint64(writers)))
			s, uploaded := newShelf(t, defaultPolicy(), streams), int64(0)
			for range 150 {
				s.objects++
				for _, id := range draws.Perm(streams)[:min(writers, streams)] {
					bytes := 256<<10 + draws.Int64N(8<<20)
					s.add(id, s.objects, bytes)
					uploaded += bytes
				}
			}
			s.settle()
			require.LessOrEqual(t, s.written, 4*uploaded, "%d streams, of which %d are written together", streams, writers)
			for id := range s.streams {
				s.requireFew(id)
			}
		}
	}
}
