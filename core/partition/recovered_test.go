package partition

import (
	"slices"
	"strings"
	"testing"
	"time"

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
		if err := s.Replay(&h); err != nil {
			t.Fatal(err)
		}
	}
	return s.(*recoveredState)
}

func TestARecoveredStateAgreesWithItsOwnersSummary(t *testing.T) {
	s := replayed(t, 20)
	summary := s.AppendCheckpoint(nil)
	if err := s.Agrees(summary); err != nil {
		t.Fatal(err)
	}
	forgetful := replayed(t, 20)
	forgetful.expire(1<<40, time.Second)
	if err := s.Agrees(forgetful.AppendCheckpoint(nil)); err != nil {
		t.Fatalf("the owner forgot idle producers: %v", err)
	}
	other := replayed(t, 20)
	other.find(7).durable.batches[1].base++
	if err := s.Agrees(other.AppendCheckpoint(nil)); err == nil || !strings.Contains(err.Error(), "producer 7") {
		t.Fatalf("another window of producer 7: %v", err)
	}
	if err := replayed(t, 19).Agrees(summary); err == nil {
		t.Fatal("a summary of another offset agrees")
	}
}
