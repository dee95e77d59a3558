package controller_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
)

const prefix = "cluster/data/"

func keyOf(id metadata.ObjectID) string { return fmt.Sprintf("%s%016x", prefix, uint64(id)) }

func (r *rig) sweeper() *controller.Sweeper {
	return r.sweeperThat(func(*controller.SweeperOptions) {})
}

func (r *rig) sweeperThat(change func(*controller.SweeperOptions)) *controller.Sweeper {
	o := controller.SweeperOptions{
		Loop: r.loop, Env: env.Env{Clock: r, Rand: r, Store: r.store}, Telemetry: r.telemetry, Image: r.image, Proposer: r.log,
		Prefix: prefix, KeyOf: keyOf, InFlightMax: 4,
	}
	change(&o)
	s := controller.NewSweeper(o)
	s.Start()
	return s
}

// lease leases ids to the current epoch and puts an object under each.
func (r *rig) lease(count int32) (first metadata.ObjectID) {
	r.c.LeaseObjects(r.epoch, count, func(id metadata.ObjectID, err error) {
		r.must(err)
		first = id
	})
	for i := range count {
		r.store.objects[keyOf(first+metadata.ObjectID(i))] = true
	}
	return first
}

// commit commits the next ten offsets of a stream in an object.
func (r *rig) commit(object metadata.ObjectID, stream metadata.StreamID) {
	r.t.Helper()
	s, _ := r.image.Stream(stream)
	n := s.Newest()
	part := controller.CommitPart{Stream: stream, LeaderEpoch: n.LeaderEpoch, Checkpoint: []byte("state")}
	part.Part.Start, part.Part.End = n.Committed, n.Committed+10
	r.c.Commit(object, r.epoch, 10, 0, []controller.CommitPart{part}, func(accepted []bool, err error) {
		r.must(err)
		if !accepted[0] {
			r.t.Fatalf("commit of object %d was refused", object)
		}
	})
}

func (r *rig) wantKept(ids ...metadata.ObjectID) {
	r.t.Helper()
	var want []string
	for _, id := range ids {
		want = append(want, keyOf(id))
	}
	if got := r.store.keys(prefix); !slices.Equal(got, want) {
		r.t.Errorf("the store holds %v, want %v", got, want)
	}
}

func TestDestroyedObjectsLiveForTheGraceAndNoLonger(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(3)
	s := r.sweeper()
	for i := range 3 {
		r.commit(first+metadata.ObjectID(i), stream)
	}
	s.InUseFloor(r.epoch, first+3)
	r.pass(10 * time.Minute)
	r.c.TrimStream(stream, 20, r.must)
	r.pass(59 * time.Second)
	r.wantKept(first, first+1, first+2)
	r.pass(3 * time.Second)
	r.wantKept(first + 2)
	if _, ok := r.image.Object(first); ok || !r.image.Dead(first) {
		t.Error("the image still has a deleted object")
	}
	r.c.DeleteTopics([]metadata.TopicID{r.image.Topics()[0].ID}, func([]controller.TopicResult) {})
	r.pass(62 * time.Second)
	r.wantKept()
}

// The grace is counted anew after a restart: what readers hold is not known.
func TestGraceStartsAgainWithTheSweeper(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(1)
	r.commit(first, stream)
	r.c.TrimStream(stream, 10, r.must)
	s := r.sweeper()
	r.pass(50 * time.Second)
	s.Stop()
	r.sweeper()
	r.pass(50 * time.Second)
	r.wantKept(first)
	r.pass(12 * time.Second)
	r.wantKept()
}

func TestOrphansOfAnEndedEpochGo(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(5)
	r.commit(first+2, stream)
	old := r.epoch
	s := r.sweeper()
	r.pass(10 * time.Minute)
	r.wantKept(first, first+1, first+2, first+3, first+4) // it may yet commit them
	r.register()
	r.pass(3 * time.Second)
	r.wantKept(first + 2)
	if len(r.image.Leases()) != 0 {
		t.Errorf("prepared are %v", r.image.Leases())
	}
	r.c.Commit(first, old, 1, 0, nil, func(_ []bool, err error) {
		if err == nil {
			t.Error("an expired id was committed")
		}
	})
	s.Stop()
}

func TestOrphansOfThisEpochGoBelowItsFloorOnly(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(6)
	s := r.sweeper()
	s.InUseFloor(r.epoch, first+3)
	s.InUseFloor(r.epoch, first+1) // a floor does not sink
	r.pass(3 * time.Second)
	r.wantKept(first+3, first+4, first+5)
	records := r.log.records
	r.pass(time.Minute)
	if r.log.records != records {
		t.Error("records were proposed with nothing to do")
	}
	r.commit(first+4, stream)
	s.InUseFloor(r.epoch, first+6)
	r.pass(3 * time.Second)
	r.wantKept(first + 4)
}

// The story of R20: the sweeper is about to expire an id that is being committed.
func TestACommitThatComesFirstWins(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(2)
	s := r.sweeper()
	r.log.deferred = true
	r.commit0(first, stream)
	s.InUseFloor(r.epoch, first+2)
	r.pass(2 * time.Second) // the expiry is proposed behind the commit
	r.log.run()
	r.pass(2 * time.Second)
	r.log.run()
	r.pass(2 * time.Second)
	r.wantKept(first)
}

// commit0 proposes a commit of [0, 10).
func (r *rig) commit0(object metadata.ObjectID, stream metadata.StreamID) {
	part := controller.CommitPart{Stream: stream, Part: metadata.Part{End: 10}, Checkpoint: []byte("state")}
	r.c.Commit(object, r.epoch, 10, 0, []controller.CommitPart{part}, func(_ []bool, err error) { r.must(err) })
}

func TestLatePutsAreFoundByListing(t *testing.T) {
	r := newRig(t)
	first := r.lease(4)
	s := r.sweeper()
	s.InUseFloor(r.epoch, first+4)
	r.pass(3 * time.Second)
	r.wantKept()
	r.store.pageMax = 1
	live := r.lease(2)                                 // prepared, not dead
	r.store.objects[keyOf(first+1)] = true             // late PUTs
	r.store.objects[keyOf(first+3)] = true             //
	r.store.objects[keyOf(live+100)] = true            // of a later epoch, as far as this image knows
	r.store.objects[prefix+"readme.txt"] = true        // not weir's
	r.store.objects[prefix+"0000000000000001x"] = true // nor this
	r.store.objects["cluster/wal/1"] = true
	r.pass(6 * time.Minute)
	want := []string{"cluster/wal/1", prefix + "0000000000000001x", keyOf(live), keyOf(live + 1), keyOf(live + 100), prefix + "readme.txt"}
	slices.Sort(want)
	if got := r.store.keys(""); !slices.Equal(got, want) {
		t.Errorf("the store holds %v, want %v", got, want)
	}
	if r.telemetry.Mark("sweeper: a listing found a key that names no object").Hits < 2 {
		t.Error("keys that name no object were not counted")
	}
}

// Where records come all the time, the newest is never shipped when a listing looks. What it finds is deleted once the image
// that knew it to be dead is shipped.
func TestLatePutsDieAlsoIfTheNewestRecordIsNeverShipped(t *testing.T) {
	r := newRig(t)
	first := r.lease(2)
	shipped := uint64(0)
	s := r.sweeperThat(func(o *controller.SweeperOptions) { o.Shipped = func() uint64 { return shipped } })
	s.InUseFloor(r.epoch, first+2)
	r.pass(3 * time.Second)
	r.wantKept()
	r.store.objects[keyOf(first)] = true // late PUTs
	r.store.objects[keyOf(first+1)] = true
	listed := r.image.AppliedIndex()
	shipped = listed - 1
	r.pass(6 * time.Minute)
	r.wantKept(first, first+1) // the record that expired them may be lost yet
	for range 3 {
		r.lease(1)
		shipped = r.image.AppliedIndex() - 1
		r.pass(6 * time.Minute)
	}
	if keys := r.store.keys(keyOf(first)[:len(keyOf(first))-1]); slices.Contains(keys, keyOf(first)) || slices.Contains(keys, keyOf(first+1)) {
		t.Errorf("the store holds %v for ever", keys)
	}
}

// A store that fails is given more and more time, and not by every deletion at once.
func TestSweeperBacksOff(t *testing.T) {
	r := newRig(t)
	first := r.lease(40)
	outcome := env.OutcomeFailed
	r.store.fail = func(string) env.Outcome { return outcome }
	s := r.sweeper()
	s.InUseFloor(r.epoch, first+40)
	r.pass(10 * time.Minute)
	if n := len(r.store.tries); n > 250 || n < 20 {
		t.Errorf("%d tries in ten minutes", n)
	}
	last := r.store.tries[len(r.store.tries)-1]
	if gap := r.now.Sub(last); gap > 31*time.Second {
		t.Errorf("the last try was %v ago", gap)
	}
	outcome = env.OutcomeDone
	r.pass(40 * time.Second)
	r.wantKept()
	if r.store.most > 4 {
		t.Errorf("%d deletions at a time", r.store.most)
	}
}

// A deletion whose answer was lost is done again; the record follows the answer.
func TestUnknownDeletionsAreRepeated(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(1)
	r.commit(first, stream)
	r.c.TrimStream(stream, 10, r.must)
	lost := 3
	r.store.fail = func(key string) env.Outcome {
		if lost > 0 && key == keyOf(first) {
			lost--
			if _, ok := r.image.Object(first); !ok {
				t.Error("an unknown deletion was recorded")
			}
			delete(r.store.objects, key)
			return env.OutcomeUnknown
		}
		return env.OutcomeDone
	}
	r.sweeper()
	r.pass(70 * time.Second)
	if _, ok := r.image.Object(first); ok || len(r.store.tries) != 4 {
		t.Errorf("%d tries; still in the image: %v", len(r.store.tries), ok)
	}
}

// While the quorum takes no records nothing is lost, and nothing deleted is forgotten.
func TestSweeperOutlivesAQuorumThatRefuses(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	first := r.lease(3)
	r.commit(first, stream)
	r.c.TrimStream(stream, 10, r.must)
	s := r.sweeper()
	s.InUseFloor(r.epoch, first+3)
	r.log.broken = errors.New("no leader")
	r.pass(5 * time.Minute)
	r.wantKept(first+1, first+2)
	r.log.broken = nil
	r.pass(5 * time.Second)
	r.wantKept()
	if _, ok := r.image.Object(first); ok {
		t.Error("the image still has the deleted object")
	}
}

// I8, by random lives: no object that is referred to or may still be committed is
// ever deleted, and in the end nothing but those is left.
func TestEveryObjectIsNeededOrDies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t)
		topic := r.topic("t", 3)
		r.store.fail = func(string) env.Outcome {
			return rapid.SampledFrom([]env.Outcome{env.OutcomeDone, env.OutcomeDone, env.OutcomeDone, env.OutcomeFailed, env.OutcomeUnknown}).Draw(t, "outcome")
		}
		s := r.sweeper()
		var prepared []metadata.ObjectID
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			stream := topic.Partitions[rapid.IntRange(0, 2).Draw(t, "partition")].Stream
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0:
				first := r.lease(int32(rapid.IntRange(1, 5).Draw(t, "count")))
				for id := first; id < r.image.NextObject(); id++ {
					prepared = append(prepared, id)
				}
			case 1, 2:
				if len(prepared) > 0 {
					r.commit(prepared[0], stream)
					prepared = prepared[1:]
				}
			case 3:
				r.c.TrimStream(stream, rapid.Int64Range(0, 60).Draw(t, "log start"), r.must)
			case 4:
				if len(prepared) > 1 {
					prepared = prepared[1:]
					s.InUseFloor(r.epoch, prepared[0])
				}
			case 5:
				r.restart(&s, &prepared)
			}
			r.pass(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "millis")) * time.Millisecond)
			r.wantNeededKept(prepared)
		}
		r.store.fail = nil
		for id := range r.image.NextObject() {
			if r.image.Dead(id) {
				r.store.objects[keyOf(id)] = true // every PUT comes back late
			}
		}
		r.pass(8 * time.Minute)
		for _, key := range r.store.keys(prefix) {
			var id metadata.ObjectID
			_, _ = fmt.Sscanf(key, prefix+"%x", &id)
			if o, ok := r.image.Object(id); (!ok || o.Parts == 0) && !slices.Contains(prepared, id) {
				t.Errorf("object %d is needed by nobody and lives", id)
			}
		}
	})
}

// restart gives the broker a new epoch, which takes over where the committed ends are.
func (r *rig) restart(s **controller.Sweeper, prepared *[]metadata.ObjectID) {
	(*s).Stop()
	old := r.epoch
	r.register()
	var ends []metadata.RangeEnd
	for _, e := range r.image.OpenRanges(old) {
		stream, _ := r.image.Stream(e.Stream)
		e.End = max(stream.Newest().Committed, stream.LogStart)
		ends = append(ends, e)
	}
	r.c.TakeOver(r.epoch, ends, r.must)
	*prepared = nil
	*s = r.sweeper()
}

func (r *rig) wantNeededKept(prepared []metadata.ObjectID) {
	r.t.Helper()
	needed := slices.Clone(prepared)
	for id := range r.image.NextObject() {
		if o, ok := r.image.Object(id); ok && o.Parts > 0 {
			needed = append(needed, id)
		}
	}
	for _, id := range needed {
		if !r.store.objects[keyOf(id)] {
			r.t.Fatalf("object %d is needed, and was deleted", id)
		}
	}
}
