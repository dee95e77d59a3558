package partition

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/quorum"
	"weir/core/record"
	"weir/core/task"
)

// A summary is what a checkpoint will be once everything appended is durable.
func TestTheSummaryIsAsOfEverythingAppended(t *testing.T) {
	r := newRig(t)
	for i := range int32(8) {
		r.send(7, 0, i*2, 2)
		r.send(9, 1, i, 1)
		r.send(-1, -1, -1, 1)
	}
	summary := r.p.Summary(nil)
	r.log.durable(5)
	if !slices.Equal(r.p.Summary(nil), summary) {
		t.Fatal("durability changed the summary")
	}
	if slices.Equal(r.p.Checkpoint(nil), summary) {
		t.Fatal("the checkpoint runs ahead")
	}
	r.log.durable(r.log.at)
	if !slices.Equal(r.p.Checkpoint(nil), summary) {
		t.Fatal("the checkpoint is not what the summary said")
	}
}

// replayed is a recovered state of some batches of producers 7 and 9.
func replayed(t *testing.T, batches int32) *recoveredState {
	s, err := RecoveredState(task.NewLoop(&fakeClock{}), 0)(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batches {
		h := record.Header{BaseOffset: int64(i), ProducerID: int64(7 + 2*(i%2)), BaseSequence: i / 2, MaxTimestamp: 5}
		if err := s.Replay(&h, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s.(*recoveredState)
}

func TestARecoveredStateAgreesWithItsOwnersSummary(t *testing.T) {
	s := replayed(t, 20)
	summary := s.AppendCheckpoint(nil)
	if err := s.agrees(summary); err != nil {
		t.Fatal(err)
	}
	forgetful := replayed(t, 20)
	forgetful.expire(1<<40, time.Second)
	if err := s.agrees(forgetful.AppendCheckpoint(nil)); err != nil {
		t.Fatalf("the owner forgot idle producers: %v", err)
	}
	other := replayed(t, 20)
	other.find(7).durable.batches[1].base++
	if err := s.agrees(other.AppendCheckpoint(nil)); err == nil || !strings.Contains(err.Error(), "producer 7") {
		t.Fatalf("another window of producer 7: %v", err)
	}
	if err := replayed(t, 19).agrees(summary); err == nil {
		t.Fatal("a summary of another offset agrees")
	}
}

// Producers come and go in a partition that remembers few, as the owner's clock, its deadline for idle
// ones and its writes in flight have it; whoever replays the batches must not find damage in that.
const transactionalBit = 1 << 4 // of a batch's attributes

func TestARecoveredStateAgreesHoweverManyProducersThereWere(t *testing.T) {
	for seed := range uint64(300) {
		draw := rand.New(rand.NewPCG(seed, 0))
		owner, err := LoadState(nil, 0, 0, 4)
		if err != nil {
			t.Fatal(err)
		}
		next, end := map[int64]int32{}, int64(0)
		again, _ := LoadState(nil, 0, 0, 4)
		recovered := &recoveredState{again, task.NewLoop(&fakeClock{})}
		for now := range env.Time(60) {
			id := draw.Int64N(8)
			h := record.Header{BaseOffset: end, ProducerID: id, BaseSequence: next[id], MaxTimestamp: draw.Int64N(9)}
			batch := []byte(nil)
			switch draw.IntN(8) {
			case 0:
				batch = record.AppendMarker(nil, id, 0, record.Marker{CoordinatorEpoch: int32(now)}, h.MaxTimestamp)
				h, _ = record.ReadHeader(batch)
				h.BaseOffset = end
			case 1, 2:
				h.Attributes = transactionalBit
				next[id]++
			default:
				next[id]++
			}
			marker, _ := markerOf(&h, batch)
			owner.appended(&h, marker, end, h.MaxTimestamp, 0, now)
			end++
			if err := recovered.Replay(&h, batch); err != nil {
				t.Fatal(err)
			}
			if draw.IntN(3) > 0 {
				owner.advance(end)
			}
			if draw.IntN(10) == 0 {
				owner.expire(now, 5)
			}
			if err := recovered.agrees(owner.AppendSummary(nil, end)); err != nil {
				t.Fatalf("seed %d, offset %d: %v", seed, end, err)
			}
		}
	}
}

// A checkpoint that does not fit one record could never be committed, and with it nothing that was cut
// later: the log would fill up for ever.
func TestTheLargestCheckpointFitsARecord(t *testing.T) {
	s := &State{end: math.MaxInt64, maxTimestamp: 1 << 62, max: DefaultProducersMax}
	w := window{epoch: math.MaxInt16, n: windowBatches, coordinator: math.MaxInt32}
	for i := range w.batches {
		w.batches[i] = sequenceRange{base: math.MaxInt32, delta: math.MaxInt32, timestamp: -1 << 62}
	}
	for i := range int64(DefaultProducersMax) {
		s.producers = append(s.producers, &producer{id: i << 49, durable: w, appended: w})
	}
	const rest = 1 << 10 // of the record
	part := metadata.CommitPart{Checkpoint: s.AppendCheckpoint(nil)}
	r := metadata.CommitObject{Parts: []metadata.CommitPart{part}}
	if n := len(r.AppendTo(nil)); n > quorum.EntryBytesMax-rest || len(part.Checkpoint) < DefaultProducersMax*(producerBytesMax-9) {
		t.Fatalf("a checkpoint of %d bytes makes a record of %d, at most %d are taken", len(part.Checkpoint), n, quorum.EntryBytesMax)
	}
}
