package group

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// manyPartitions have so many offsets that their tombstones do not fit into one batch.
const manyPartitions = 60_000

// newLargeRig has one topic of many partitions, and a log that takes batches of 1 MiB, as Kafka's.
func newLargeRig(t testing.TB) *rig {
	r := newRig(t)
	r.setPartitions(manyPartitions)
	r.log.BytesMax = 1 << 20
	return r
}

func (r *rig) setPartitions(count int) {
	r.image.topics[0] = &metadata.Topic{Name: "a", ID: metadata.TopicID{1}, Partitions: make([]metadata.Partition, count)}
}

// commitAll commits an offset for each of the partitions of the large topic.
func (r *rig) commitAll() {
	const each = 5000
	for first := int32(0); first < manyPartitions; first += each {
		q := commitRequest("a", first, 1)
		for p := first + 1; p < first+each; p++ {
			next := q.Topics[0].Partitions[0]
			next.Partition = p
			q.Topics[0].Partitions = append(q.Topics[0].Partitions, next)
		}
		require.EqualValues(r.t, wire.None, r.commitAs(q)[0])
	}
	require.Len(r.t, r.machine().groups["g"].offsets["a"], manyPartitions)
}

func (r *rig) deleteGroup() wire.Code {
	code := wire.Code(noAnswer)
	r.machine().DeleteGroup("g", func(c wire.Code) { code = c })
	r.Turn()
	return code
}

// A group goes, however many offsets it has: when it is deleted, when they expire, and with its topic.
func TestManyOffsetsOfOneGroupGo(t *testing.T) {
	for name, remove := range map[string]func(*rig){
		"the group is deleted": func(r *rig) { require.EqualValues(t, wire.None, r.deleteGroup()) },
		"they expire":          func(r *rig) { r.pass(8 * 24 * time.Hour) },
		"the topic is deleted": func(r *rig) {
			r.image.topics = r.image.topics[1:]
			r.machine().ImageChanged(false, []metadata.TopicID{{1}})
			r.Turn()
		},
		"they are deleted": func(r *rig) {
			partitions := make([]int32, manyPartitions)
			for i := range partitions {
				partitions[i] = int32(i)
			}
			require.EqualValues(t, wire.None, r.deleteOffsets("a", partitions...).ErrorCode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newLargeRig(t)
			r.commitAll()
			remove(r)
			require.Empty(t, r.machine().groups)
			require.Zero(t, r.Memory.Held())
			r.reload()
			require.Empty(t, r.machine().groups)
		})
	}
}

// A turn of the loop looks at a bounded number of offsets of many groups.
func TestExpiryTakesTurns(t *testing.T) {
	r := newRig(t)
	m := r.machine()
	for i := range 10 * 5000 {
		e := offsetEntry(fmt.Sprint("g", i/5000), topicPartition{"a", int32(i)}, &offset{value: 1, expires: -1, topicID: metadata.TopicID{1}})
		require.NoError(t, m.Apply(&coordinator.Record{Key: e.Key, Value: e.Value, ProducerID: -1}))
	}
	for left := 9; left >= 0; left-- {
		r.pass(10 * time.Minute)
		require.Len(t, m.groups, left)
	}
}

// It writes, or deletes, a bounded number of one group's.
func TestOneLargeGroupTakesTurns(t *testing.T) {
	const many = 6 * walkChunk
	for name, remove := range map[string]func(*rig){
		"the group is deleted": func(r *rig) {
			r.machine().DeleteGroup("g", func(code wire.Code) { require.EqualValues(t, wire.None, code) })
		},
		"they expire": func(r *rig) {
			r.Clock.At = r.Clock.At.Add(8 * 24 * time.Hour)
			r.machine().expireGroup(r.machine().groups["g"])
		},
		"the topic is deleted": func(r *rig) {
			r.image.topics = r.image.topics[1:]
			r.machine().ImageChanged(false, []metadata.TopicID{{1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.setPartitions(many)
			m := r.machine()
			for i := range int32(many) {
				e := offsetEntry("g", topicPartition{"a", i}, &offset{value: 1, expires: -1, topicID: metadata.TopicID{1}})
				require.NoError(t, m.Apply(&coordinator.Record{Key: e.Key, Value: e.Value, ProducerID: -1}))
			}
			remove(r)
			turns := 0
			for left := many; m.groups["g"] != nil; turns++ {
				r.Loop.Turn(nil)
				now := 0
				if g := m.groups["g"]; g != nil {
					now = g.committedCount
				}
				require.LessOrEqual(t, left-now, 2*walkChunk)
				left = now
			}
			require.GreaterOrEqual(t, turns, 3)
			require.Zero(t, r.Memory.Held())
		})
	}
}

// Who joins a group that is being deleted stays.
func TestAGroupIsJoinedWhileItIsDeleted(t *testing.T) {
	r := newLargeRig(t)
	r.commitAll()
	code := wire.Code(noAnswer)
	r.machine().DeleteGroup("g", func(c wire.Code) { code = c })
	j := r.join("")
	r.Turn()
	require.EqualValues(t, wire.NonEmptyGroup, code)
	r.pass(3 * time.Second)
	require.EqualValues(t, wire.None, j.code())
	require.Equal(t, r.machine().recount(), r.Memory.Held())
}

// What is written anew in many steps is the whole group, but for what a transaction stages.
func TestALargeGroupIsWrittenAnew(t *testing.T) {
	r := newLargeRig(t)
	r.commitAll()
	r.stage(7, "a", 77, 5)
	m := r.machine()
	m.Keys()
	entries, rest := m.Rewrite("g")
	require.LessOrEqual(t, len(entries), walkChunk)
	for over := rest == nil; !over; {
		var more []coordinator.Entry
		more, over = rest()
		require.LessOrEqual(t, len(more), walkChunk)
		entries = append(entries, more...)
	}
	require.Len(t, entries, manyPartitions-1)
	require.Equal(t, m.groups["g"].offset(topicPartition{"a", 77}).at, m.Floor())
}

// When a topic is deleted, groups are asked for their offsets of it, and not for all that they have: then this takes minutes.
func TestDeletedTopicCostsNothingOfOthers(t *testing.T) {
	r := newRig(t)
	r.commit("a", 0, 1)
	m := r.machine()
	for i := range 200_000 {
		e := offsetEntry("g", topicPartition{"b", int32(i)}, &offset{value: 1, expires: -1, topicID: metadata.TopicID{2}})
		require.NoError(t, m.Apply(&coordinator.Record{Key: e.Key, Value: e.Value, ProducerID: -1}))
	}
	for i := range 2_000 { // what is deleted cannot be written
		r.image.topics[0] = &metadata.Topic{Name: "a", ID: metadata.TopicID{77, byte(i), byte(i >> 8)}, Partitions: make([]metadata.Partition, 2)}
		r.log.Refuse = wire.RequestTimedOut
		m.ImageChanged(false, []metadata.TopicID{{1}, {77, byte(i), byte(i >> 8)}})
		r.Turn()
	}
	require.EqualValues(t, 1, r.offset("a", 0))
	r.log.Refuse = wire.None
	m.ImageChanged(false, nil) // a change of another topic tries again
	r.Turn()
	require.EqualValues(t, -1, r.offset("a", 0))
	require.EqualValues(t, 1, r.offset("b", 77))
}

// A deletion that fails half-way leaves the group with fewer offsets, also for a coordinator after it, and may be tried again.
func TestDeletionThatFailsHalfWay(t *testing.T) {
	r := newLargeRig(t)
	r.commitAll()
	r.log.Held = true
	code := wire.Code(noAnswer)
	r.machine().DeleteGroup("g", func(c wire.Code) { code = c })
	r.log.Refuse = wire.RequestTimedOut
	r.log.Durable()
	r.Turn()
	require.EqualValues(t, wire.CoordinatorNotAvailable, code)
	left := len(r.machine().groups["g"].offsets["a"])
	require.Less(t, left, manyPartitions)
	require.Positive(t, left)
	r.log.Refuse, r.log.Held = wire.None, false
	r.reload()
	require.Len(t, r.machine().groups["g"].offsets["a"], left)
	require.EqualValues(t, wire.None, r.deleteGroup())
	require.Empty(t, r.machine().groups)
}

// A group goes in a time that is proportional to what is staged for it: with work that is quadratic, each of these takes minutes.
func TestManyStagedOffsetsOfOneGroupGo(t *testing.T) {
	t.Run("of one transaction", func(t *testing.T) {
		const many = 150_000
		r := newRig(t)
		r.setPartitions(many)
		require.EqualValues(t, wire.None, r.stage(7, "a", 0, 1, func(q *kmsg.TxnOffsetCommitRequest) {
			of := &q.Topics[0].Partitions
			for p := int32(1); p < many; p++ {
				*of = append(*of, (*of)[0])
				(*of)[p].Partition = p
			}
		}))
		require.EqualValues(t, wire.None, r.deleteGroup())
		require.Empty(t, r.machine().groups)
		r.marker(7, true)
		require.Empty(t, r.machine().groups)
		require.Zero(t, r.Memory.Held())
	})
	t.Run("of a transaction for each", func(t *testing.T) {
		const many = 20_000
		r := newRig(t)
		r.setPartitions(many)
		m := r.machine()
		for i := range int32(many) {
			e := offsetEntry("g", topicPartition{"a", i}, &offset{value: 1, expires: -1})
			require.NoError(t, m.Apply(&coordinator.Record{Key: e.Key, Value: e.Value, ProducerID: int64(i)}))
		}
		require.EqualValues(t, wire.None, r.deleteGroup())
		require.Empty(t, m.groups)
	})
}

// What a transaction stages again after it was deleted counts once; and the order of what was staged stays as short as that is.
func TestStagedAgainAfterItWasDeleted(t *testing.T) {
	r := newRig(t)
	r.stage(7, "b", 0, 1)
	for i := range int64(50) {
		require.EqualValues(t, wire.None, r.stage(7, "a", 0, i))
		require.EqualValues(t, wire.None, r.stage(8, "a", 0, 100+i))
		r.deleteOffsets("a", 0)
	}
	require.LessOrEqual(t, len(r.machine().open[7].order), 3)
	r.stage(7, "a", 0, 77)
	r.marker(8, true)
	require.EqualValues(t, -1, r.offset("a", 0))
	r.marker(7, true)
	require.EqualValues(t, 77, r.offset("a", 0))
	require.EqualValues(t, 1, r.offset("b", 0))
	require.EqualValues(t, wire.None, r.fetch("a", 0, true).ErrorCode)
	require.Equal(t, r.machine().recount(), r.Memory.Held())
}

// A commit may name one partition again and again, of a group whose id is long: its records are as large as a batch at most, while
// they are made.
func TestCommitIsBoundedWhileItIsMade(t *testing.T) {
	const many = 20_000
	r := newRig(t)
	r.log.BytesMax = 1 << 20
	q := commitRequest("a", 0, 1)
	q.Group = strings.Repeat("g", 30_000)
	q.Topics[0].Partitions = slices.Repeat(q.Topics[0].Partitions, many)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	codes := r.commitAs(q)
	runtime.ReadMemStats(&after)
	require.Len(t, codes, many)
	require.EqualValues(t, wire.UnknownServerError, codes[0])
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(many*len(q.Group)/10))
}

// TestTopicsAreFoundAgainWhateverTheirOrder: partitions of a topic that a request names twice come together, others stay apart.
func TestTopicsAreFoundAgainWhateverTheirOrder(t *testing.T) {
	r := newRig(t)
	names := []string{"absent", "b", "absent", "", "b", "absent"}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group = 8, "g"
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group = "g"
	for i, name := range names {
		name, index := strings.Clone(name), int32(1000+i)
		commit.Topics = append(commit.Topics, kmsg.OffsetCommitRequestTopic{Topic: name, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: index}, {Partition: index + 100}}})
		remove.Topics = append(remove.Topics, kmsg.OffsetDeleteRequestTopic{Topic: name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: index}, {Partition: index + 100}}})
	}
	want := "absent [1000 1100 1002 1102 1005 1105] b [1001 1101 1004 1104]  [1003 1103]"
	var committed, removed []string
	for _, topic := range NewCommit(r.machine().Image, commit).Response().(*kmsg.OffsetCommitResponse).Topics {
		var indexes []int32
		for _, p := range topic.Partitions {
			indexes = append(indexes, p.Partition)
		}
		committed = append(committed, fmt.Sprint(topic.Topic, " ", indexes))
	}
	require.Equal(t, want, strings.Join(committed, " "))
	out := remove.ResponseKind().(*kmsg.OffsetDeleteResponse)
	r.machine().deleteOffsets(&Group{}, remove, out)
	for _, topic := range out.Topics {
		var indexes []int32
		for _, p := range topic.Partitions {
			indexes = append(indexes, p.Partition)
		}
		removed = append(removed, fmt.Sprint(topic.Topic, " ", indexes))
	}
	require.Equal(t, want, strings.Join(removed, " "))
}
