package group

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func commitRequest(topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group = 9, "g"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, 4, kmsg.StringPtr("note")
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return q
}

// commitAs sends OffsetCommit and returns the codes of its partitions.
func (r *rig) commitAs(q *kmsg.OffsetCommitRequest) (codes []wire.Code) {
	c := NewCommit(r.image, q)
	answered := false
	r.machine().Commit(c, func() { answered = true })
	r.Turn()
	if !answered {
		return []wire.Code{noAnswer}
	}
	for _, t := range c.Response().(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			codes = append(codes, wire.Code(p.ErrorCode))
		}
	}
	return codes
}

func (r *rig) commit(topic string, partition int32, offset int64, set ...func(*kmsg.OffsetCommitRequest)) wire.Code {
	q := commitRequest(topic, partition, offset)
	for _, f := range set {
		f(q)
	}
	return r.commitAs(q)[0]
}

func by(member string, generation int32) func(*kmsg.OffsetCommitRequest) {
	return func(q *kmsg.OffsetCommitRequest) { q.MemberID, q.Generation = member, generation }
}

// stage commits an offset in a transaction.
func (r *rig) stage(producer int64, topic string, partition int32, offset int64, set ...func(*kmsg.TxnOffsetCommitRequest)) wire.Code {
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.Version, q.Group, q.TransactionalID, q.ProducerID, q.MemberID = 4, "g", "t", producer, ""
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	q.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
	for _, f := range set {
		f(q)
	}
	c := NewTxnCommit(r.image, q)
	r.machine().Commit(c, func() {})
	r.Turn()
	return wire.Code(c.Response().(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

func (r *rig) marker(producer int64, commit bool) {
	r.log.AppendMarker(producer, 0, commit)
	r.Turn()
}

func (r *rig) fetch(topic string, partition int32, requireStable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	topics, code := r.machine().Fetch("g", nil, -1, []FetchedTopic{{Name: topic, Partitions: []int32{partition}}}, requireStable)
	require.Equal(r.t, wire.Code(wire.None), code)
	return topics[0].Partitions[0]
}

func (r *rig) offset(topic string, partition int32) int64 {
	return r.fetch(topic, partition, false).Offset
}

// 39 to 44: who may commit.
func TestWhoMayCommit(t *testing.T) {
	r := newRig(t)
	v8 := func(q *kmsg.OffsetCommitRequest) { q.Version = 8 }
	require.EqualValues(t, wire.GroupIDNotFound, r.commit("a", 0, 1, by("m", 1)))
	require.EqualValues(t, wire.IllegalGeneration, r.commit("a", 0, 1, by("m", 1), v8))
	require.EqualValues(t, wire.None, r.commit("a", 0, 1), "a group springs up")
	require.EqualValues(t, wire.None, r.commit("a", 0, 2, func(q *kmsg.OffsetCommitRequest) { q.InstanceID = kmsg.StringPtr("i") }))
	require.EqualValues(t, wire.UnknownMemberID, r.commit("a", 0, 1, by("m", 1)))
	require.EqualValues(t, 2, r.offset("a", 0))

	a := r.join("")
	require.EqualValues(t, wire.UnknownMemberID, r.commit("a", 0, 3), "it has a member")
	r.pass(3 * time.Second)
	id := a.out.MemberID
	require.EqualValues(t, wire.RebalanceInProgress, r.commit("a", 0, 3, by(id, 1)))
	r.assign([]string{id}, 1)
	require.EqualValues(t, wire.None, r.commit("a", 0, 3, by(id, 1)))
	require.EqualValues(t, wire.IllegalGeneration, r.commit("a", 0, 3, by(id, 0)))
	require.EqualValues(t, wire.UnknownMemberID, r.commit("a", 0, 3, by("stranger", 1)))
	require.EqualValues(t, wire.UnknownMemberID, r.commit("a", 0, 3))
	for range 5 { // a commit keeps the session
		r.pass(9 * time.Second)
		require.EqualValues(t, wire.None, r.commit("a", 0, 4, by(id, 1)))
	}
	r.join("") // others wait: the old owner flushes
	require.EqualValues(t, wire.None, r.commit("a", 0, 5, by(id, 1)))
}

// 47, 35 and 36 of the traps: a bad partition does not spoil the others, and stages nothing.
func TestPartlyBadCommit(t *testing.T) {
	r := newRig(t)
	q := commitRequest("a", 0, 5)
	long, fits := q.Topics[0].Partitions[0], q.Topics[0].Partitions[0]
	long.Partition, long.Metadata = 1, kmsg.StringPtr(strings.Repeat("x", 4097))
	fits.Partition, fits.Metadata = 1, kmsg.StringPtr(strings.Repeat("ü", 4096))
	absent := fits
	absent.Partition = 2
	q.Topics[0].Partitions = append(q.Topics[0].Partitions, long, absent)
	q.Topics = append(q.Topics, kmsg.OffsetCommitRequestTopic{Topic: "nowhere", Partitions: []kmsg.OffsetCommitRequestTopicPartition{fits}})
	require.Equal(t, []wire.Code{wire.UnknownTopicOrPartition, 0, wire.OffsetMetadataTooLarge, wire.UnknownTopicOrPartition}, r.commitAs(q))
	require.EqualValues(t, 5, r.offset("a", 0))
	require.EqualValues(t, -1, r.offset("a", 1))
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "a", Partitions: []kmsg.OffsetCommitRequestTopicPartition{fits}}}
	require.Equal(t, []wire.Code{0}, r.commitAs(q))

	tooLong := func(q *kmsg.TxnOffsetCommitRequest) {
		bad := q.Topics[0].Partitions[0]
		bad.Partition, bad.Metadata = 1, long.Metadata
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, bad)
	}
	require.EqualValues(t, 0, r.stage(7, "b", 0, 9, tooLong))
	require.EqualValues(t, wire.UnstableOffsetCommit, r.fetch("b", 0, true).ErrorCode)
	require.EqualValues(t, 0, r.fetch("b", 1, true).ErrorCode, "nothing is staged for the bad one")
	r.marker(7, true)
	require.EqualValues(t, 9, r.fetch("b", 0, true).Offset)
}

// 49 to 52, 59: what a fetch shows.
func TestFetch(t *testing.T) {
	r := newRig(t)
	require.EqualValues(t, -1, r.offset("a", 0), "no group")
	all, _ := r.machine().Fetch("g", nil, -1, nil, true)
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopic{}, all)
	r.log.Held = true
	require.EqualValues(t, noAnswer, r.commit("a", 1, 5))
	require.EqualValues(t, -1, r.offset("a", 1), "written, and not durable")
	r.log.Durable()
	r.Turn()
	p := r.fetch("a", 1, false)
	require.EqualValues(t, 5, p.Offset)
	require.EqualValues(t, 4, p.LeaderEpoch)
	require.Equal(t, "note", *p.Metadata)
	r.log.Held = false
	require.EqualValues(t, 0, r.commit("a", 0, 6, func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Metadata = nil }))
	require.Equal(t, "", *r.fetch("a", 0, false).Metadata)
	all, _ = r.machine().Fetch("g", nil, -1, nil, true)
	require.Len(t, all, 1)
	require.Len(t, all[0].Partitions, 2)

	other := FetchedTopic{Name: "a", ID: metadata.TopicID{9}, Partitions: []int32{0}}
	byID, _ := r.machine().Fetch("g", nil, -1, []FetchedTopic{other}, false)
	require.EqualValues(t, -1, byID[0].Partitions[0].Offset, "the topic was made anew")
	require.EqualValues(t, 6, r.offset("a", 0))
}

// 50, 93 of the traps: staged offsets count from the marker on; of two commits the later record counts.
func TestStagedOffsets(t *testing.T) {
	r := newRig(t)
	r.commit("a", 0, 1)
	r.stage(7, "a", 0, 10)
	require.EqualValues(t, 1, r.offset("a", 0))
	require.EqualValues(t, wire.UnstableOffsetCommit, r.fetch("a", 0, true).ErrorCode)
	r.marker(8, true)
	require.EqualValues(t, 1, r.offset("a", 0), "another's marker")
	r.marker(7, false)
	require.EqualValues(t, 1, r.fetch("a", 0, true).Offset)
	r.stage(7, "a", 0, 20)
	r.stage(7, "a", 0, 21)
	r.marker(7, true)
	require.EqualValues(t, 21, r.fetch("a", 0, true).Offset)
	r.stage(7, "a", 0, 30)
	r.commit("a", 0, 31)
	r.marker(7, true)
	require.EqualValues(t, 31, r.offset("a", 0), "the plain commit came later")
	r.stage(7, "a", 0, 40)
	r.reload()
	require.EqualValues(t, wire.UnstableOffsetCommit, r.fetch("a", 0, true).ErrorCode, "staged offsets are in the log")
	r.marker(7, true)
	require.EqualValues(t, 40, r.offset("a", 0))
}

// 96 of the traps: member and generation of a transactional commit.
func TestWhoMayCommitInATransaction(t *testing.T) {
	r := newRig(t)
	as := func(member string, generation int32) func(*kmsg.TxnOffsetCommitRequest) {
		return func(q *kmsg.TxnOffsetCommitRequest) { q.MemberID, q.Generation = member, generation }
	}
	require.EqualValues(t, wire.IllegalGeneration, r.stage(7, "a", 0, 1, as("m", 1)))
	ids, generation := r.stable(1)
	require.EqualValues(t, wire.None, r.stage(7, "a", 0, 1), "a producer that does not say who it is")
	require.EqualValues(t, wire.None, r.stage(7, "a", 0, 1, as(ids[0], generation)))
	require.EqualValues(t, wire.IllegalGeneration, r.stage(7, "a", 0, 1, as(ids[0], generation-1)))
	require.EqualValues(t, wire.UnknownMemberID, r.stage(7, "a", 0, 1, as("stranger", generation)))
	require.EqualValues(t, wire.InvalidGroupID, r.stage(7, "a", 0, 1, func(q *kmsg.TxnOffsetCommitRequest) { q.Group = "" }))
}

type verifier struct {
	calls []bool
	code  wire.Code
}

func (v *verifier) AddPartitions(_ string, _ int64, _ int16, p []Partition, verifyOnly bool, done func(wire.Code)) {
	v.calls = append(v.calls, verifyOnly)
	done(v.code)
}

func TestTransactionalCommitIsVerified(t *testing.T) {
	r := newRig(t)
	v := &verifier{}
	r.machine().Verifier = v
	v5 := func(q *kmsg.TxnOffsetCommitRequest) { q.Version = 5 }
	require.EqualValues(t, wire.None, r.stage(7, "a", 0, 1))
	require.EqualValues(t, wire.None, r.stage(7, "a", 0, 1, v5))
	v.code = wire.InvalidTxnState
	require.EqualValues(t, wire.InvalidTxnState, r.stage(7, "a", 1, 1, v5))
	require.Equal(t, []bool{true, false, false}, v.calls)
	require.EqualValues(t, 0, r.fetch("a", 1, true).ErrorCode)
}

func (r *rig) deleteOffsets(topic string, partitions ...int32) *kmsg.OffsetDeleteResponse {
	q := kmsg.NewPtrOffsetDeleteRequest()
	q.Group = "g"
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic = topic
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
	}
	q.Topics = append(q.Topics, t)
	var out *kmsg.OffsetDeleteResponse
	r.machine().DeleteOffsets(q, func(o *kmsg.OffsetDeleteResponse) { out = o })
	r.Turn()
	return out
}

// 55, 56.
func TestOffsetDelete(t *testing.T) {
	r := newRig(t)
	require.EqualValues(t, wire.GroupIDNotFound, r.deleteOffsets("a", 0).ErrorCode)
	r.stable(1) // reads topic a
	r.stage(7, "b", 0, 1)
	r.stage(7, "b", 1, 1)
	require.EqualValues(t, wire.GroupSubscribedToTopic, r.deleteOffsets("a", 0).Topics[0].Partitions[0].ErrorCode)
	require.EqualValues(t, wire.UnknownTopicOrPartition, r.deleteOffsets("b", 5).Topics[0].Partitions[0].ErrorCode)
	require.EqualValues(t, 0, r.deleteOffsets("b", 0).Topics[0].Partitions[0].ErrorCode)
	require.EqualValues(t, 0, r.fetch("b", 0, true).ErrorCode)
	r.marker(7, true)
	require.EqualValues(t, -1, r.offset("b", 0), "what was staged is deleted too")
	require.EqualValues(t, 1, r.offset("b", 1))

	other := newRig(t)
	other.stable(1, func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "connect" })
	require.EqualValues(t, wire.NonEmptyGroup, other.deleteOffsets("a", 0).ErrorCode)
}

// 48, 57, 64, 33, 34 and 94 of the traps: offsets expire.
func TestOffsetsExpire(t *testing.T) {
	week := 7 * 24 * time.Hour
	r := newRig(t)
	r.commit("a", 0, 1)
	r.commit("a", 1, 0)
	r.stage(7, "a", 1, 1)
	r.pass(week - time.Hour)
	require.EqualValues(t, 1, r.offset("a", 0))
	r.pass(2 * time.Hour)
	require.EqualValues(t, -1, r.offset("a", 0), "a simple group's offsets count since their commit")
	require.EqualValues(t, 0, r.offset("a", 1), "a transaction has staged another")
	r.deleteOffsets("a", 0)
	require.Len(t, r.machine().groups, 1, "a group with staged offsets stays")
	r.marker(7, true)
	require.EqualValues(t, 1, r.offset("a", 1))
	r.pass(20 * time.Minute)
	require.Empty(t, r.machine().groups, "it was old already")

	r = newRig(t)
	ids, generation := r.stable(1, timeouts(25*time.Minute, time.Minute))
	r.commit("a", 0, 1, by(ids[0], generation))
	r.commit("b", 0, 1, by(ids[0], generation))
	for range 7*24*3 + 10 {
		r.pass(20 * time.Minute)
		require.EqualValues(t, 0, r.beat(ids[0], generation))
	}
	require.EqualValues(t, 1, r.offset("a", 0), "it reads the topic")
	require.EqualValues(t, -1, r.offset("b", 0), "and this one not")
	r.leave(ids[0])
	r.pass(week - time.Hour)
	require.EqualValues(t, 1, r.offset("a", 0), "the group is empty since less than a week")
	r.pass(2 * time.Hour)
	require.Empty(t, r.machine().groups)
	r.reload()
	require.Empty(t, r.machine().groups)

	r = newRig(t)
	short := func(q *kmsg.OffsetCommitRequest) { q.Version, q.RetentionTimeMillis = 3, 3_600_000 }
	r.commit("a", 0, 1, short)
	r.reload()
	r.pass(30 * time.Minute)
	require.EqualValues(t, 1, r.offset("a", 0))
	r.pass(time.Hour)
	require.EqualValues(t, -1, r.offset("a", 0), "a client's own retention")

	r = newRig(t)
	kept := func(millis int64) func(*kmsg.OffsetCommitRequest) {
		return func(q *kmsg.OffsetCommitRequest) { q.Version, q.RetentionTimeMillis = 3, millis }
	}
	r.commit("a", 0, 1, kept(math.MaxInt64))
	r.commit("a", 1, 1, kept(0))
	r.commit("b", 0, 1, kept(math.MinInt64))
	r.reload()
	r.pass(30 * time.Minute)
	require.EqualValues(t, -1, r.offset("a", 1))
	require.EqualValues(t, -1, r.offset("b", 0))
	r.pass(100 * week)
	require.EqualValues(t, 1, r.offset("a", 0), "for ever")
}

func TestOffsetsOfDeletedTopicsGo(t *testing.T) {
	r := newRig(t)
	r.commit("a", 0, 1)
	r.commit("b", 0, 2)
	r.image.topics[0] = &metadata.Topic{Name: "a", ID: metadata.TopicID{77}, Partitions: make([]metadata.Partition, 2)}
	r.machine().ImageChanged(false, []metadata.TopicID{{1}})
	r.Turn()
	require.EqualValues(t, -1, r.offset("a", 0))
	require.EqualValues(t, 2, r.offset("b", 0))
}

// Topics that went while the coordinator did not serve, or while an offset was committed, are found too, with or without an id; and
// one without an id stays as long as its name does.
func TestOffsetsOfTopicsThatWentUnseenGo(t *testing.T) {
	r := newRig(t)
	r.commit("a", 0, 1)
	old := offsetEntry("g", topicPartition{"b", 0}, &offset{value: 2, expires: -1})
	r.log.AppendRecord(-1, old.Key, old.Value)
	r.Turn()
	a := r.image.topics[0]
	r.image.topics = r.image.topics[1:]
	r.reload()
	r.machine().ImageChanged(false, nil)
	r.Turn()
	require.EqualValues(t, -1, r.offset("a", 0))
	require.EqualValues(t, 2, r.offset("b", 0))

	late := offsetEntry("g", topicPartition{"a", 1}, &offset{value: 3, expires: -1, topicID: a.ID})
	r.log.AppendRecord(-1, late.Key, late.Value)
	r.Turn()
	r.machine().ImageChanged(false, nil)
	r.Turn()
	require.EqualValues(t, -1, r.offset("a", 1))

	r.image.topics = nil
	r.machine().ImageChanged(false, []metadata.TopicID{{2}})
	r.Turn()
	require.Empty(t, r.machine().groups)
	require.Empty(t, r.machine().uses.counts)
}

// A change looks at what changed, and not at all topics that have offsets: then this takes minutes.
func TestAChangeOfTopicsCostsWhatChanged(t *testing.T) {
	const many = 50_000
	r := newRig(t)
	m := r.machine()
	m.ImageChanged(false, nil)
	for i := range many {
		id := metadata.TopicID{9, byte(i), byte(i >> 8), byte(i >> 16)}
		e := offsetEntry("g", topicPartition{fmt.Sprint("t", i), 0}, &offset{value: 1, expires: -1, topicID: id})
		require.NoError(t, m.Apply(&coordinator.Record{Key: e.Key, Value: e.Value, ProducerID: -1}))
	}
	clear(m.uses.late) // as if they existed
	for range 20_000 {
		m.ImageChanged(false, []metadata.TopicID{{1}})
	}
	require.Equal(t, many, m.groups["g"].committedCount)
}

// 2, 3, 18 of the traps: tombstones of the unknown, records of newer releases.
func TestStrangeRecords(t *testing.T) {
	r := newRig(t)
	m := r.machine()
	apply := func(key, value []byte) error {
		return m.Apply(&coordinator.Record{Key: key, Value: value, ProducerID: -1})
	}
	require.NoError(t, apply(offsetKey("nobody", topicPartition{"a", 0}), nil))
	require.NoError(t, apply(groupKey("nobody"), nil))
	require.NoError(t, apply([]byte{0, 99, 1, 2, 3}, []byte("of a newer release")))
	require.Empty(t, m.groups)
	require.Error(t, apply([]byte{1}, nil))
	require.Error(t, apply(groupKey("g"), []byte{0, 77}))
	entry := offsetEntry("g", topicPartition{"a", 0}, &offset{value: 1, expires: -1})
	require.NoError(t, apply(entry.Key, entry.Value))
	entry.Value[1] = 9
	require.Error(t, apply(entry.Key, entry.Value))
	require.EqualValues(t, 0, r.join("").code()+1000, "a group with offsets only becomes a classic one")
}

// What is looked at for each offset that goes are the transactions that have staged it, not all that are open.
func TestAGroupWithManyStagedOffsetsIsDeleted(t *testing.T) {
	r := newRig(t)
	m := r.machine()
	at := func(group string, partition int32) stagedPartition {
		return stagedPartition{group, topicPartition{"a", partition}}
	}
	for producer := range int64(2_000) {
		m.stage(100+producer, at("other", 0), &offset{})
	}
	for partition := range int32(10_000) {
		m.stage(7, at("g", partition), &offset{value: 5})
	}
	m.stage(8, at("g", 9_999), &offset{value: 6})
	m.applyOffsetTombstone("g", at("g", 3).topicPartition)
	m.stage(7, at("g", 3), &offset{value: 7})
	code := wire.Code(-100)
	m.DeleteGroup("g", func(c wire.Code) { code = c })
	r.Turn()
	require.EqualValues(t, wire.None, code)
	require.Nil(t, m.groups["g"])
	r.marker(7, true)
	r.marker(8, true)
	r.marker(100, true)
	require.Nil(t, m.groups["g"], "what was staged is deleted too")
	require.Len(t, m.groups["other"].stagedBy(at("other", 0).topicPartition), 1_999)
	require.NotNil(t, m.groups["other"].offset(at("other", 0).topicPartition))
}
