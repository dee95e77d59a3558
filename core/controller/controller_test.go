package controller_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/controller"
	"weir/core/metadata"
)

// newTopicCase is a topic asked for and what Kafka makes of it.
type newTopicCase struct {
	name string
	ask  controller.NewTopic
	code int16
	text string
}

func newTopicCases() []newTopicCase {
	long := strings.Repeat("x", 250)
	ofDefaults := func(name string) controller.NewTopic {
		return controller.NewTopic{Name: name, Partitions: -1, ReplicationFactor: -1}
	}
	sized := func(partitions int32, factor int16) controller.NewTopic {
		return controller.NewTopic{Name: "t", Partitions: partitions, ReplicationFactor: factor}
	}
	placed := func(assignment ...[]int32) controller.NewTopic {
		return controller.NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: assignment}
	}
	configured := func(key, value string) controller.NewTopic {
		n := sized(1, 1)
		n.Configs = []metadata.Config{{Key: key, Value: value}}
		return n
	}
	mixed := placed([]int32{1})
	mixed.Partitions = 1
	mixedFactor := placed([]int32{1})
	mixedFactor.ReplicationFactor = 1
	return []newTopicCase{
		{"no name", ofDefaults(""), 17, "the empty string is not allowed"},
		{"dot", ofDefaults("."), 17, "'.' is not allowed"},
		{"two dots", ofDefaults(".."), 17, "'..' is not allowed"},
		{"too long", ofDefaults(long), 17, "longer than the max allowed length 249"},
		{"longest", ofDefaults(long[:249]), 0, ""},
		{"illegal", ofDefaults("a/b"), 17, "other than ASCII alphanumerics"},
		{"not ASCII", ofDefaults("ä"), 17, "other than ASCII alphanumerics"},
		{"taken", ofDefaults("taken.x"), 36, "Topic 'taken.x' already exists."},
		{"collides", ofDefaults("taken_x"), 17, "Topic 'taken_x' collides with existing topic: taken.x"},
		{"does not collide", ofDefaults("taken-x"), 0, ""},
		{"no partitions", sized(0, 1), 37, "non-positive"},
		{"less", sized(-2, 1), 37, "non-positive"},
		{"no replicas", sized(1, 0), 38, "larger than 0"},
		{"fewer", sized(1, -2), 38, "larger than 0"},
		{"one replica", sized(1, 1), 0, ""},
		{"three replicas", sized(1, 3), 38, "only 1 broker(s) are registered"},
		{"placed", placed([]int32{1}, []int32{1}), 0, ""},
		{"placed and sized", mixed, 42, "numPartitions was not set to -1"},
		{"placed and replicated", mixedFactor, 42, "replication factor was not set to -1"},
		{"placed nowhere", placed([]int32{1}, nil), 39, "empty replica list"},
		{"placed twice", placed([]int32{1, 1}), 39, "the broker 1 more than once"},
		{"placed elsewhere", placed([]int32{7}), 39, "broker 7, but no such broker is registered"},
		{"unknown key", configured("what.is.this", "1"), 40, "what.is.this"},
		{"bad value", configured("retention.ms", "soon"), 40, "retention.ms"},
		{"good value", configured("retention.ms", "5"), 0, ""},
	}
}

func TestNewTopicsAreJudgedAsKafkaDoes(t *testing.T) {
	for _, c := range newTopicCases() {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.topic("taken.x", 1)
			records := r.log.records
			result := r.create(c.ask, true)
			wantError(t, result.Err, c.code, c.text)
			if r.log.records != records {
				t.Error("to validate only changed the log")
			}
			again := r.create(c.ask, false)
			wantError(t, again.Err, c.code, c.text)
			if c.code != 0 {
				return
			}
			if len(again.Topic.Partitions) != len(result.Topic.Partitions) || !slices.Equal(again.Topic.Configs, result.Topic.Configs) {
				t.Errorf("made %+v, would have made %+v", again.Topic, result.Topic)
			}
			p := again.Topic.Partitions[0]
			s, _ := r.image.Stream(p.Stream)
			if p.Leader != 1 || p.LeaderEpoch != 0 || s.Newest().BrokerEpoch != r.epoch || !s.Newest().Open() {
				t.Errorf("partition %+v, stream %+v", p, s)
			}
		})
	}
}

func TestReplicasAreShown(t *testing.T) {
	r := newRig(t)
	for _, b := range []metadata.Broker{{ID: 2, Rack: "a", Listeners: listeners}, {ID: 3, Rack: "b", Listeners: listeners}, {ID: 4, Rack: "a", Listeners: listeners}} {
		r.c.RegisterBroker(b, false, func(metadata.BrokerEpoch, error) {})
	}
	wantError(t, r.create(controller.NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 5}, false).Err, 38, "only 4 broker(s) are registered")
	n := controller.NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: [][]int32{{1}, {1, 2}}}
	wantError(t, r.create(n, false).Err, 39, "not consistent with previous partitions, which have 1 replica(s)")
	n.Assignment = [][]int32{{2, 1}, {4, 3}}
	made := r.create(n, false)
	require.NoError(t, made.Err)
	require.Equal(t, metadata.BrokerID(2), made.Topic.Partitions[0].Leader)
	replicas, isr := r.image.Replicas(nil, made.Topic, &made.Topic.Partitions[0])
	require.Equal(t, []int32{2, 3}, replicas, "another rack comes first")
	require.Equal(t, 2, isr)
}

func TestPartitionsAreSpread(t *testing.T) {
	r := newRig(t)
	r.c.RegisterBroker(metadata.Broker{ID: 4}, false, func(metadata.BrokerEpoch, error) {}) // which starts: it has no WAL yet
	r.c.RegisterBroker(ready(2), false, func(metadata.BrokerEpoch, error) {})
	r.c.RegisterBroker(ready(3), false, func(metadata.BrokerEpoch, error) {})
	led := map[metadata.BrokerID]int{}
	for _, p := range r.create(controller.NewTopic{Name: "t", Partitions: 9, ReplicationFactor: 1}, false).Topic.Partitions {
		led[p.Leader]++
	}
	require.Equal(t, map[metadata.BrokerID]int{1: 3, 2: 3, 3: 3}, led)
}

func TestTopicsOfOneRequestAreJudgedEachForItself(t *testing.T) {
	r := newRig(t)
	var got []string
	ask := []controller.NewTopic{
		{Name: "a", Partitions: 2, ReplicationFactor: 1},
		{Name: "", Partitions: 1, ReplicationFactor: 1},
		{Name: "b", Partitions: -1, ReplicationFactor: -1},
	}
	r.log.deferred = true
	r.c.CreateTopics(ask, false, func(results []controller.TopicResult) {
		for _, result := range results {
			got = append(got, fmt.Sprint(result.Name, result.Err == nil))
		}
	})
	if got != nil {
		t.Fatal("answered before the records applied")
	}
	r.log.run()
	if want := []string{"atrue", "false", "btrue"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// Two requests that were judged by the same image are settled by the log.
func TestConflictsAreSettledByTheLog(t *testing.T) {
	r := newRig(t)
	r.log.deferred = true
	results := map[string]error{}
	for i, name := range []string{"t", "t", "a.b", "a_b"} {
		r.c.CreateTopics([]controller.NewTopic{{Name: name, Partitions: 1, ReplicationFactor: 1}}, false, func(all []controller.TopicResult) {
			results[fmt.Sprint(name, i)] = all[0].Err
		})
	}
	r.log.run()
	wantError(t, results["t0"], 0, "")
	wantError(t, results["t1"], 36, "Topic 't' already exists.")
	wantError(t, results["a.b2"], 0, "")
	wantError(t, results["a_b3"], 17, "Topic 'a_b' collides with existing topic: a.b")

	topic, _ := r.image.Topic("t")
	var deletions []error
	for range 2 {
		r.c.DeleteTopics([]metadata.TopicID{topic.ID}, func(all []controller.TopicResult) { deletions = append(deletions, all[0].Err) })
	}
	r.log.run()
	wantError(t, deletions[0], 0, "")
	wantError(t, deletions[1], 100, "")
}

func TestTopicIDsAreUUIDsThatNoOptionStartsWith(t *testing.T) {
	r := newRig(t)
	r.draws = []uint64{62 << 2, 0} // its text form would start with '-'
	id := r.topic("t", 1).ID
	if id[0]>>2 == 62 || id[6]>>4 != 4 || id[8]>>6 != 2 {
		t.Errorf("id is %x", id)
	}
	if other := r.topic("u", 1).ID; other == id {
		t.Errorf("both ids are %x", id)
	}
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name       string
		topic      string
		count      int32
		assignment [][]int32
		code       int16
		text       string
	}{
		{"unknown", "what", 3, nil, 3, ""},
		{"same", "t", 2, nil, 37, "Topic already has 2 partition(s)."},
		{"fewer", "t", 1, nil, 37, "The topic t currently has 2 partition(s); 1 would not be an increase."},
		{"more", "t", 4, nil, 0, ""},
		{"placed", "t", 4, [][]int32{{1}, {1}}, 0, ""},
		{"placed too few", "t", 4, [][]int32{{1}}, 39, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		{"placed nowhere", "t", 4, [][]int32{}, 39, "Attempted to add 2 additional partition(s), but only 0 assignment(s) were specified."},
		{"placed elsewhere", "t", 3, [][]int32{{3}}, 39, "no such broker is registered"},
		{"placed with copies", "t", 3, [][]int32{{1, 3}}, 39, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			topic := r.topic("t", 2)
			for _, validateOnly := range []bool{true, false} {
				called := false
				r.c.CreatePartitions(c.topic, c.count, c.assignment, validateOnly, func(err error) {
					called = true
					wantError(t, err, c.code, c.text)
				})
				grown := c.code == 0 && !validateOnly
				if !called || grown != (len(topic.Partitions) == int(c.count)) && c.topic == "t" && c.name != "same" {
					t.Errorf("answered %v, %d partitions", called, len(topic.Partitions))
				}
			}
		})
	}
}

func TestGrowthThatLostIsJudgedAgain(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 1)
	r.log.deferred = true
	var first, second, third error
	answers := 0
	r.c.CreatePartitions("t", 3, nil, false, func(err error) { first, answers = err, answers+1 })
	r.c.CreatePartitions("t", 3, nil, false, func(err error) { second, answers = err, answers+1 })
	r.c.CreatePartitions("t", 5, nil, false, func(err error) { third, answers = err, answers+1 })
	r.log.run()
	r.turn()
	wantError(t, first, 0, "")
	wantError(t, second, 37, "already has 3")
	wantError(t, third, 0, "")
	if answers != 3 || len(topic.Partitions) != 5 || r.telemetry.Mark("controller: a record was computed anew").Hits != 2 {
		t.Errorf("%d answers, %d partitions", answers, len(topic.Partitions))
	}
}

func TestTopicConfigs(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 1)
	alter := func(replace, validateOnly bool, ops ...controller.ConfigOp) (err error) {
		r.c.AlterTopicConfigs("t", ops, replace, validateOnly, func(e error) { err = e })
		return err
	}
	wantError(t, alter(false, false, controller.ConfigOp{Key: "retention.ms", Value: "5"}, controller.ConfigOp{Key: "flush.ms", Value: "7"}), 0, "")
	wantError(t, alter(false, true, controller.ConfigOp{Key: "retention.ms", Value: "6"}), 0, "")
	wantError(t, alter(false, false, controller.ConfigOp{Key: "retention.ms", Value: "soon"}), 40, "retention.ms")
	wantError(t, alter(false, false, controller.ConfigOp{Key: "retention.ms", Value: "1"}, controller.ConfigOp{Key: "retention.ms", Op: 1}), 42, "duplicate")
	if want := []metadata.Config{{Key: "flush.ms", Value: "7"}, {Key: "retention.ms", Value: "5"}}; !slices.Equal(topic.Configs, want) {
		t.Fatalf("configs are %v", topic.Configs)
	}
	wantError(t, alter(true, false, controller.ConfigOp{Key: "retention.ms", Value: "9"}), 0, "")
	if want := []metadata.Config{{Key: "retention.ms", Value: "9"}}; !slices.Equal(topic.Configs, want) {
		t.Fatalf("configs are %v", topic.Configs)
	}
	r.c.AlterTopicConfigs("what", nil, false, false, func(err error) { wantError(t, err, 3, "'what' does not exist") })
}

// Two changes at once: neither undoes the other.
func TestConfigChangesDoNotUndoEachOther(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 1)
	r.log.deferred = true
	answers := 0
	count := func(err error) { r.must(err); answers++ }
	for _, replica := range []string{"0:1", "1:1", "2:1"} {
		r.c.AlterTopicConfigs("t", []controller.ConfigOp{{Key: "leader.replication.throttled.replicas", Op: 2, Value: replica}}, false, false, count)
		r.c.AlterBrokerConfigs(metadata.AllBrokers, []controller.ConfigOp{{Key: "log.retention.ms", Value: replica[:1]}}, false, false, count)
	}
	for range 4 {
		r.log.run()
		r.turn()
	}
	if answers != 6 || topic.Configs[0].Value != "0:1,1:1,2:1" {
		t.Errorf("%d answers, configs %v", answers, topic.Configs)
	}
	if got := r.image.BrokerConfigs(metadata.AllBrokers); len(got) != 1 || got[0].Value != "2" {
		t.Errorf("broker configs %v", got)
	}
	r.c.AlterBrokerConfigs(1, []controller.ConfigOp{{Key: "node.id", Value: "4"}}, false, false, func(err error) { wantError(t, err, 42, "dynamically") })
}

func TestIDsAreGrantedOnce(t *testing.T) {
	r := newRig(t)
	r.log.deferred = true
	var producers []int64
	var objects []metadata.ObjectID
	for range 3 {
		r.c.AllocateProducerIDs(func(first, count int64, err error) {
			r.must(err)
			if count != 1000 {
				t.Errorf("%d ids", count)
			}
			producers = append(producers, first)
		})
		r.c.LeaseObjects(r.epoch, 10, func(first metadata.ObjectID, err error) {
			r.must(err)
			objects = append(objects, first)
		})
	}
	r.log.run()
	if !slices.Equal(producers, []int64{0, 1000, 2000}) || !slices.Equal(objects, []metadata.ObjectID{1, 11, 21}) {
		t.Errorf("producer ids from %v, object ids from %v", producers, objects)
	}
	old := r.epoch
	r.register()
	r.log.run()
	r.c.LeaseObjects(old, 1, func(_ metadata.ObjectID, err error) {
		if !errors.Is(err, metadata.ErrEpochEnded) {
			t.Errorf("an ended epoch got %v", err)
		}
	})
	r.log.run()
}

func TestLargeCommitIsCutAndAnsweredInWhole(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 100)
	r.c.LeaseObjects(r.epoch, 1, func(metadata.ObjectID, error) {})
	parts := make([]controller.CommitPart, 100)
	for i := range parts {
		parts[i] = controller.CommitPart{
			Stream: topic.Partitions[i].Stream, Checkpoint: make([]byte, 80),
			Part: metadata.Part{End: 10, Bytes: 100, IndexOffset: 5, IndexBytes: 9},
		}
	}
	parts[40].Part.Start = 3
	parts[0].Checkpoint = make([]byte, 5000) // more than a record takes, and nothing to cut
	r.log.bytesMax, r.log.records = 0, 0
	r.c.Commit(1, r.epoch, 12345, 0, parts, func(accepted []bool, err error) {
		r.must(err)
		for i, ok := range accepted {
			if ok != (i != 40) {
				t.Errorf("part %d accepted: %v", i, ok)
			}
		}
	})
	o, _ := r.image.Object(1)
	if o == nil || o.Parts != 99 || o.Bytes != 12345 || r.log.records < 10 || r.log.bytesMax > 6000 {
		t.Errorf("object %+v in %d records of at most %d bytes", o, r.log.records, r.log.bytesMax)
	}
	r.c.Commit(7, r.epoch, 1, 0, parts[:1], func(accepted []bool, err error) {
		if !errors.Is(err, metadata.ErrNotPrepared) || accepted[0] {
			t.Errorf("commit of an id that was never leased: %v %v", accepted, err)
		}
	})
	r.c.Commit(7, r.epoch, 1, 0, nil, func(_ []bool, err error) {
		if !errors.Is(err, metadata.ErrNotPrepared) {
			t.Errorf("commit of nothing: %v", err)
		}
	})
}

// A record is applied in one turn of the loop, which many parts would hold however small they are.
func TestACommitOfManyPartsIsCut(t *testing.T) {
	r := newRigOf(t, 1<<20)
	topic := r.topic("t", 2500)
	r.c.LeaseObjects(r.epoch, 1, func(metadata.ObjectID, error) {})
	parts := make([]controller.CommitPart, 2500)
	for i := range parts {
		parts[i] = controller.CommitPart{Stream: topic.Partitions[i].Stream, Checkpoint: []byte{1}, Part: metadata.Part{End: 10, Bytes: 100}}
	}
	r.log.records = 0
	r.c.Commit(1, r.epoch, 1, 0, parts, func(accepted []bool, err error) {
		r.must(err)
		require.False(t, slices.Contains(accepted, false))
	})
	require.Equal(t, 3, r.log.records)
}

func TestALargeChangeWaitsInTheLogOneRecordAtATime(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 100)
	first := r.epoch
	r.c.LeaseObjects(r.epoch, 1, func(metadata.ObjectID, error) {})
	parts := make([]controller.CommitPart, 100)
	for i := range parts {
		parts[i] = controller.CommitPart{
			Stream: topic.Partitions[i].Stream, Checkpoint: make([]byte, 900), Part: metadata.Part{End: 7, Bytes: 100},
		}
	}
	r.log.deferred, r.log.waiting, r.log.records = true, 0, 0
	commit := func(f func(accepted []bool, err error)) {
		r.c.Commit(1, r.epoch, 1, 0, parts, f)
		r.log.run()
	}
	commit(func(_ []bool, err error) { r.must(err) })
	require.Equal(t, 100, r.log.records)
	require.Equal(t, 1, r.log.waiting)

	r.log.deferred = false
	r.register()
	ends := r.image.OpenRanges(first)
	for i := range ends {
		ends[i].End = 7
	}
	r.log.deferred, r.log.waiting, r.log.records = true, 0, 0
	r.c.TakeOver(r.epoch, ends, r.must)
	r.log.run()
	require.Greater(t, r.log.records, 1)
	require.Equal(t, 1, r.log.waiting)
	require.Empty(t, r.image.OpenRanges(first))
}

func TestACommitEndsWithItsFirstError(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 3)
	r.c.LeaseObjects(r.epoch, 1, func(metadata.ObjectID, error) {})
	parts := make([]controller.CommitPart, 3)
	for i := range parts {
		parts[i] = controller.CommitPart{
			Stream: topic.Partitions[i].Stream, Checkpoint: make([]byte, 900), Part: metadata.Part{End: 7, Bytes: 100},
		}
	}
	r.log.deferred, r.log.records = true, 0
	answers := 0
	r.c.Commit(1, r.epoch, 1, 0, parts, func(accepted []bool, err error) {
		answers++
		require.Error(t, err)
		require.Equal(t, []bool{true, false, false}, accepted)
	})
	first := r.log.pending[0]
	r.log.pending = nil
	first()
	r.log.broken = errors.New("too many proposals wait")
	r.log.run()
	require.Equal(t, 1, answers)
	require.Equal(t, 1, r.log.records)
}

func TestTakeOverNeedsTheEndOfEveryOpenRange(t *testing.T) {
	r := newRig(t)
	topic := r.topic("t", 100)
	first := r.epoch
	r.register()
	var ends []metadata.RangeEnd
	for _, open := range r.image.OpenRanges(first) {
		open.End = 7
		ends = append(ends, open)
	}
	r.c.TakeOver(r.epoch, ends[1:], func(err error) {
		if err == nil || !strings.Contains(err.Error(), "WAL that was not read") {
			t.Errorf("an open range was passed over: %v", err)
		}
	})
	ends = append(ends, metadata.RangeEnd{Stream: 1, LeaderEpoch: 9, End: 3}) // of a range that is no more
	r.log.records = 0
	r.c.TakeOver(r.epoch, ends, r.must)
	s, _ := r.image.Stream(topic.Partitions[99].Stream)
	if topic.Partitions[99].LeaderEpoch != 1 || s.Newest().Start != 7 || s.Newest().BrokerEpoch != r.epoch || r.log.records < 2 {
		t.Errorf("stream %+v after %d records", s, r.log.records)
	}
	if !r.image.EpochOwes(first) || len(r.image.OpenRanges(first)) != 0 {
		t.Error("the old WAL is owed seven offsets of each stream, and open no more")
	}
	r.c.TakeOver(r.epoch, nil, r.must) // nothing is left to do
	r.c.TakeOver(first, nil, func(err error) {
		if err == nil {
			t.Error("an ended epoch took over")
		}
	})
}

func TestTrim(t *testing.T) {
	r := newRig(t)
	stream := r.topic("t", 1).Partitions[0].Stream
	r.c.TrimStream(stream, 10, r.must)
	records := r.log.records
	r.c.TrimStream(stream, 9, r.must)
	if s, _ := r.image.Stream(stream); s.LogStart != 10 || r.log.records != records {
		t.Errorf("log start %d", s.LogStart)
	}
	r.c.TrimStream(99, 1, func(err error) { wantError(t, err, 3, "") })
	r.c.TrimStream(stream, -1, func(err error) { wantError(t, err, 42, "") })
}

func TestNothingDecidedIsToBeAskedAgain(t *testing.T) {
	r := newRig(t)
	r.log.broken = errors.New("the quorum is closed")
	wantError(t, r.create(controller.NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1}, false).Err, 41, "closed")
	r.c.AllocateProducerIDs(func(_, _ int64, err error) { wantError(t, err, 41, "closed") })
	r.c.TrimStream(1, 1, func(err error) {
		if err != r.log.broken {
			t.Errorf("trim failed with %v", err)
		}
	})
	r.c.RegisterBroker(metadata.Broker{ID: 1}, false, func(_ metadata.BrokerEpoch, err error) {
		if !errors.Is(err, r.log.broken) {
			t.Errorf("registration failed with %v", err)
		}
	})
	unregistered := newRig(t)
	*unregistered.image = *metadata.NewImage()
	wantError(t, unregistered.create(controller.NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1}, false).Err, 38, "fenced")
}
