package partition

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/quorum"
	"weir/core/record"
	"weir/core/task"
	"weir/core/wire"
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
	s, err := RecoveredState(task.NewLoop(&fakeClock{}), nil)(nil, 0)
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
		owner, err := LoadState(nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		owner.settle(&producerRoom{max: 4})
		next, end := map[int64]int32{}, int64(0)
		again, _ := LoadState(nil, 0, 0)
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

// While records carry checkpoints, one that does not fit a record could never be committed, and with it nothing that was cut
// later: the log would fill up for ever. Once they lie in objects, a partition may have as many producers as its broker.
func TestTheLargestCheckpointFitsARecordThatCarriesIt(t *testing.T) {
	stores := false
	room := &producerRoom{max: 1 << 20, stores: func() bool { return stores }}
	s := &State{end: math.MaxInt64, maxTimestamp: 1 << 62}
	s.settle(room)
	w := window{epoch: math.MaxInt16, n: windowBatches, coordinator: math.MaxInt32}
	for i := range w.batches {
		w.batches[i] = sequenceRange{base: math.MaxInt32, delta: math.MaxInt32, timestamp: -1 << 62}
	}
	for i := int64(0); !s.full(); i++ {
		s.producers = append(s.producers, &producer{id: i << 49, durable: w, appended: w})
	}
	const rest = 1 << 10 // of the record
	part := metadata.CommitPart{Checkpoint: s.AppendCheckpoint(nil)}
	r := metadata.CommitObject{Parts: []metadata.CommitPart{part}}
	require.LessOrEqual(t, len(r.AppendTo(nil)), quorum.EntryBytesMax-rest)
	require.Greater(t, len(part.Checkpoint), producersInlineMax*(producerBytesMax-9))
	stores = true
	require.False(t, s.full())
}

// A broker's bound is on what all its partitions know together. What a partition brings counts, even above it; what is closed,
// expires or is evicted does not any more.
func TestProducersCountOverAllPartitions(t *testing.T) {
	room := &producerRoom{max: 3}
	state := func(producers ...int64) *State {
		s, err := LoadState(nil, 0, 0)
		require.NoError(t, err)
		for _, id := range producers {
			h := record.Header{BaseOffset: s.end, ProducerID: id}
			require.NoError(t, s.Replay(&h, nil, 0))
		}
		s.settle(room)
		return s
	}
	a := state(1, 2)
	require.False(t, a.full())
	b := state(1, 3)
	require.True(t, a.full())
	require.True(t, b.full())
	b.leave()
	require.Equal(t, 2, room.known)
	require.False(t, b.full(), "nobody's state has no bound")
	b.settle(room)
	require.True(t, a.evict())
	require.Equal(t, 3, room.known)
	b.expire(10, 5)
	require.Equal(t, 1, room.known)
	require.False(t, a.full())
}

// storedAndRead commits a checkpoint as an upload does, and reads it back. The metadata take the same few bytes, however large it is.
func storedAndRead(t *testing.T, checkpoint []byte, end int64) []byte {
	built := object.Build(object.Header{ID: 1}, nil, 1<<20, object.Checkpoint{Stream: 1, End: end, State: checkpoint})
	x := built.Checkpoints[0]
	im := metadata.NewImage()
	for i, r := range []metadata.Record{
		&metadata.RegisterBroker{ID: 1},
		&metadata.CreateTopic{ID: metadata.TopicID{1}, Name: "t", Leaders: []metadata.Leader{{Broker: 1, Epoch: 1}}},
		&metadata.LeaseObjects{Epoch: 1, Count: 1},
		&metadata.CommitObject{Object: 1, Epoch: 1, Bytes: built.Header.Bytes, Parts: []metadata.CommitPart{
			{Stream: 1, Part: metadata.Part{End: end}, Stored: metadata.StoredCheckpoint{Position: x.Position, Bytes: x.Bytes, Sum: x.Sum}},
		}},
	} {
		require.Less(t, len(r.AppendTo(nil)), 100)
		require.NoError(t, im.Apply(uint64(i+1), r))
	}
	require.Less(t, len(im.AppendSnapshot(nil)), 300)
	s, _ := im.Stream(1)
	x = object.CheckpointInfo{Stream: 1, End: s.Stored.End, Position: s.Stored.Position, Bytes: s.Stored.Bytes, Sum: s.Stored.Sum}
	state, err := x.OpenCheckpoint(uint64(s.Stored.Object), slices.Concat(built.Body...)[x.Position:x.Position+int64(x.Bytes)])
	require.NoError(t, err)
	return state
}

// A partition of a hundred thousand producers goes on where it was after a restart from its checkpoint.
func TestAPartitionOfAHundredThousandProducers(t *testing.T) {
	r := newRig(t)
	const producers = 100_000
	for i := range int64(producers) {
		r.send(i, 0, 0, 1)
		r.log.durable(r.log.at)
	}
	require.Equal(t, producers, r.p.state.Producers())
	checkpoint := r.p.Checkpoint(nil)
	loaded, err := LoadState(storedAndRead(t, checkpoint, producers), producers, 0)
	require.NoError(t, err)
	require.Equal(t, checkpoint, loaded.AppendCheckpoint(nil))
	r.p.state.leave()
	loaded.settle(&r.manager.producers)
	r.p.state = loaded
	again := r.send(producers/2, 0, 0, 1)
	r.want(again, wire.None, producers/2)
	next := r.send(producers/2, 0, 1, 1)
	r.log.durable(r.log.at)
	r.want(next, wire.None, producers)
	t.Logf("a checkpoint of %d bytes", len(checkpoint))
}
