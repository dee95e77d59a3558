package partition

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// fakeImage is the cluster's metadata as a test writes it.
type fakeImage struct {
	topics  []*metadata.Topic
	streams map[metadata.StreamID]*metadata.Stream
}

func (im *fakeImage) Topics() []*metadata.Topic { return im.topics }
func (im *fakeImage) TopicByID(id metadata.TopicID) (*metadata.Topic, bool) {
	for _, t := range im.topics {
		if t.ID == id {
			return t, true
		}
	}
	return nil, false
}

func (im *fakeImage) Stream(id metadata.StreamID) (*metadata.Stream, bool) {
	s, ok := im.streams[id]
	return s, ok
}

// fakeEngine opens fake logs at the start of the newest range.
type fakeEngine struct {
	image  *fakeImage
	open   map[metadata.StreamID]*fakeLog
	closed []metadata.StreamID
	// batchMax is the largest batch; 0: a mebibyte.
	batchMax int
	onClose  func() // nil: nobody looks
}

func (e *fakeEngine) Open(id metadata.StreamID, _ int32, owner stream.Owner) Log {
	ranges := e.image.streams[id].Ranges
	start := ranges[len(ranges)-1].Start
	l := &fakeLog{owner: owner, room: -1, hw: start, at: start}
	e.open[id] = l
	return l
}

func (e *fakeEngine) Close(id metadata.StreamID) {
	e.closed = append(e.closed, id)
	if e.onClose != nil {
		e.onClose()
	}
}
func (e *fakeEngine) OnSpace(func())      {}
func (e *fakeEngine) AppendBytesMax() int { return cmp.Or(e.batchMax, 1<<20) }

const (
	me      = metadata.BrokerID(1)
	myEpoch = metadata.BrokerEpoch(10)
)

type managed struct {
	image  *fakeImage
	engine *fakeEngine
	m      *Manager
}

func newManaged() *managed {
	image := &fakeImage{streams: map[metadata.StreamID]*metadata.Stream{}}
	engine := &fakeEngine{image: image, open: map[metadata.StreamID]*fakeLog{}}
	clock := &fakeClock{}
	return &managed{image: image, engine: engine, m: NewManager(Options{
		Loop: task.NewLoop(clock), Env: env.Env{Clock: clock}, Image: image, Broker: me, Epoch: myEpoch, Engine: engine,
		TopicConfig: func(overrides []metadata.Config) config.Topic {
			return config.Topic{MaxMessageBytes: int32(100 + len(overrides))}
		},
	})}
}

func (g *managed) topic(name string, id byte, streams ...metadata.StreamID) *metadata.Topic {
	t := &metadata.Topic{Name: name, ID: metadata.TopicID{id}}
	for i, s := range streams {
		t.Partitions = append(t.Partitions, metadata.Partition{Index: int32(i), Stream: s, Leader: me, LeaderEpoch: 3})
		g.image.streams[s] = &metadata.Stream{ID: s, Ranges: []metadata.Range{{LeaderEpoch: 3, BrokerEpoch: myEpoch, End: -1}}}
	}
	g.image.topics = append(g.image.topics, t)
	return t
}

func (g *managed) changed(t *testing.T) {
	t.Helper()
	if err := g.m.ImageChanged(); err != nil {
		t.Fatal(err)
	}
}

func TestManagerOpensFindsAndCloses(t *testing.T) {
	g := newManaged()
	a := g.topic("a", 1, 11, 12)
	a.Partitions[1].Leader = 2
	g.topic("b", 2, 13)
	g.changed(t)
	g.changed(t) // nothing new
	p, code := g.m.ByName("a", 0)
	if code != wire.None || p.Stream != 11 || p.LeaderEpoch() != 3 || len(g.m.Partitions()) != 2 {
		t.Fatalf("code %d, %+v", code, p)
	}
	if q, code := g.m.ByID(metadata.TopicID{1}, 0); q != p || code != wire.None {
		t.Fatalf("by id: %v %d", q, code)
	}
	for _, c := range []struct {
		name  string
		index int32
		want  wire.Code
	}{{"a", 1, wire.NotLeaderOrFollower}, {"a", 2, wire.UnknownTopicOrPartition}, {"a", -1, wire.UnknownTopicOrPartition}, {"c", 0, wire.UnknownTopicOrPartition}} {
		if _, code := g.m.ByName(c.name, c.index); code != c.want {
			t.Errorf("%s-%d: code %d, want %d", c.name, c.index, code, c.want)
		}
	}
	if _, code := g.m.ByID(metadata.TopicID{9}, 0); code != wire.UnknownTopicID {
		t.Errorf("unknown id: code %d", code)
	}
	a.Partitions[0].Leader = 2
	g.image.topics = g.image.topics[:1] // b is deleted
	b, _ := g.m.ByName("b", 0)
	g.changed(t)
	if p.Closed() != wire.NotLeaderOrFollower || b.Closed() != wire.UnknownTopicOrPartition || len(g.engine.closed) != 2 || len(g.m.Partitions()) != 0 {
		t.Fatalf("closed with %d and %d", p.Closed(), b.Closed())
	}
}

// What changed is named, and nothing else is looked at.
func TestManagerFollowsTheTopicsThatChanged(t *testing.T) {
	g := newManaged()
	held := metadata.StreamID(12)
	g.m.options.MayOpen = func(id metadata.StreamID) bool { return id != held }
	g.topic("a", 1, 11, 12)
	b := g.topic("b", 2, 13)
	a := []metadata.TopicID{{1}}
	require.NoError(t, g.m.TopicsChanged(a))
	require.Len(t, g.m.Partitions(), 1, "one of a may not be opened yet, and b is not named")
	held = 0
	require.NoError(t, g.m.TopicsChanged(append(a, a...)))
	require.Len(t, g.m.Partitions(), 2)
	g.image.topics = []*metadata.Topic{b}
	g.topic("a", 3, 14)
	require.NoError(t, g.m.TopicsChanged([]metadata.TopicID{{1}, {3}}))
	require.Equal(t, []metadata.StreamID{11, 12}, g.engine.closed)
	p, code := g.m.ByName("a", 0)
	require.Equal(t, wire.Code(wire.None), code)
	require.EqualValues(t, 14, p.Stream)
	g.changed(t)
	require.Len(t, g.m.Partitions(), 2)
}

// A topic is named once for each of its partitions when they may be opened. It is looked at once: it may have thousands.
func TestATopicThatIsNamedManyTimesIsLookedAtOnce(t *testing.T) {
	g := newManaged()
	looks := 0
	g.m.options.MayOpen = func(metadata.StreamID) bool { looks++; return false }
	g.topic("a", 1, 11, 12, 13)
	a := []metadata.TopicID{{1}, {1}, {1}}
	require.NoError(t, g.m.TopicsChanged(a))
	require.Equal(t, 3, looks)
	require.NoError(t, g.m.TopicsChanged(a))
	require.Equal(t, 6, looks)
	g.changed(t)
	require.Equal(t, 9, looks)
}

// The partitions of a topic that goes are taken out run by run, and those behind them are moved once for each.
func TestADroppedTopicMovesTheOthersOnce(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11, 12, 13, 15, 16)
	g.topic("b", 2, 14, 17, 18)
	g.changed(t)
	b := slices.Clone(g.m.byID[metadata.TopicID{2}].partitions)
	runs := 0
	for range g.m.runsOf(g.m.byID[metadata.TopicID{1}].partitions) {
		runs++
	}
	require.Equal(t, 2, runs)
	g.image.topics = g.image.topics[1:]
	require.NoError(t, g.m.TopicsChanged([]metadata.TopicID{{1}}))
	require.Equal(t, []metadata.StreamID{11, 12, 13, 15, 16}, g.engine.closed)
	require.Equal(t, b, g.m.Partitions())
}

// One request may delete thousands of topics. The others are moved once for all of them.
func TestDeletedTopicsAreTakenOutTogether(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11)
	g.topic("b", 2, 12)
	g.topic("c", 3, 13)
	g.changed(t)
	var left []int
	g.engine.onClose = func() { left = append(left, len(g.m.topics)) }
	g.image.topics = g.image.topics[1:2]
	require.NoError(t, g.m.TopicsChanged([]metadata.TopicID{{1}, {3}, {1}, {2}}))
	require.Equal(t, []int{3, 3}, left)
	require.Len(t, g.m.topics, 1)
	require.Equal(t, "b", g.m.topics[0].name)
}

func TestATopicMadeAnewUnderItsNameIsAnotherTopic(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11)
	g.changed(t)
	old, _ := g.m.ByName("a", 0)
	g.image.topics = nil
	g.topic("a", 2, 12)
	g.changed(t)
	if p, code := g.m.ByName("a", 0); code != wire.None || p.Stream != 12 || old.Closed() == wire.None {
		t.Fatalf("code %d", code)
	}
	if _, code := g.m.ByID(metadata.TopicID{1}, 0); code != wire.UnknownTopicID {
		t.Fatalf("the old id gives code %d", code)
	}
}

func TestConfigurationFollowsTheImage(t *testing.T) {
	g := newManaged()
	a := g.topic("a", 1, 11)
	g.changed(t)
	p, _ := g.m.ByName("a", 0)
	a.Configs = []metadata.Config{{Key: "retention.ms", Value: "1"}}
	g.changed(t)
	if p.Config().MaxMessageBytes != 101 {
		t.Fatal("the change was not seen")
	}
}

func TestConfigurationFollowsWhatItFallsBackOn(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11)
	g.changed(t)
	p, _ := g.m.ByName("a", 0)
	g.m.options.TopicConfig = func([]metadata.Config) config.Topic { return config.Topic{MaxMessageBytes: 7} }
	g.m.ConfigurationChanged(time.Hour, time.Minute)
	if p.Config().MaxMessageBytes != 7 {
		t.Fatal("the change of a default was not seen")
	}
}

func TestARangeOfAnEndedIncarnationIsNotOpened(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11)
	g.image.streams[11].Ranges[0].BrokerEpoch = myEpoch - 1
	g.changed(t)
	if _, code := g.m.ByName("a", 0); code != wire.NotLeaderOrFollower {
		t.Fatalf("code %d", code)
	}
}

func TestRecoveredHeadersJoinTheCheckpoint(t *testing.T) {
	header := func(offset int64, sequence int32) record.Header {
		return record.Header{BaseOffset: offset, LastOffsetDelta: 9, ProducerID: 7, BaseSequence: sequence, Records: 10}
	}
	state, err := LoadState(nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := header(0, 0)
	if err := state.Replay(&first, nil, 0); err != nil {
		t.Fatal(err)
	}
	prepare := func() *managed {
		g := newManaged()
		g.topic("a", 1, 11)
		s := g.image.streams[11]
		s.Checkpoint, s.CheckpointEnd = state.AppendCheckpoint(nil), 10
		s.Ranges = []metadata.Range{
			{LeaderEpoch: 2, BrokerEpoch: myEpoch - 1, End: 30},
			{LeaderEpoch: 3, BrokerEpoch: myEpoch, Start: 30, End: -1},
		}
		return g
	}
	g := prepare()
	for _, h := range []record.Header{first, header(10, 10), header(20, 20)} { // the first is in the checkpoint too
		require.NoError(t, g.m.Replay(11, &h, nil))
	}
	g.changed(t)
	p, _ := g.m.ByName("a", 0)
	again := header(20, 20)
	if d := p.state.duplicateOf(&again); !d.found || d.batch.offset != 20 {
		t.Fatalf("the recovered batch is unknown: %+v", d)
	}
	if epoch, end := p.EpochEnd(2); epoch != 2 || end != 30 {
		t.Fatalf("epoch 2 ends at %d", end)
	}
	for name, headers := range map[string][]record.Header{"none": {}, "an end too low": {header(10, 10)}} {
		g := prepare()
		for _, h := range headers {
			require.NoError(t, g.m.Replay(11, &h, nil))
		}
		require.Error(t, g.m.ImageChanged(), "%s: opened with a state that does not join", name)
	}
	gap := header(20, 20)
	require.Error(t, prepare().m.Replay(11, &gap, nil), "a gap between checkpoint and batches")
}

// What was replayed of one log is too old once the tail behind it was uploaded: the next log's batches follow the checkpoint.
func TestARecoveryBeginsAtTheNewestCheckpoint(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11)
	header := func(offset int64, sequence int32) record.Header {
		return record.Header{BaseOffset: offset, LastOffsetDelta: 9, ProducerID: 7, BaseSequence: sequence, Records: 10}
	}
	first, second, next := header(0, 0), header(10, 10), header(20, 20)
	require.NoError(t, g.m.Replay(11, &first, nil))
	require.Error(t, g.m.Replay(11, &next, nil), "another broker recovers what lies between")
	newer, err := LoadState(nil, 0, 0)
	require.NoError(t, err)
	for _, h := range []record.Header{first, second} {
		require.NoError(t, newer.Replay(&h, nil, 0))
	}
	s := g.image.streams[11]
	s.Checkpoint, s.CheckpointEnd = newer.AppendCheckpoint(nil), 20
	require.NoError(t, g.m.Replay(11, &next, nil))
}

// A tail that was uploaded before its partition is opened has moved the checkpoint.
func TestANewerCheckpointCountsBeforeWhatWasReplayed(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11)
	header := func(offset int64, sequence int32) record.Header {
		return record.Header{BaseOffset: offset, LastOffsetDelta: 9, ProducerID: 7, BaseSequence: sequence, Records: 10}
	}
	s := g.image.streams[11]
	h := header(0, 0)
	require.NoError(t, g.m.Replay(11, &h, nil))
	newer, err := LoadState(nil, 0, 0)
	require.NoError(t, err)
	for _, h := range []record.Header{header(0, 0), header(10, 10)} {
		require.NoError(t, newer.Replay(&h, nil, 0))
	}
	s.Checkpoint, s.CheckpointEnd = newer.AppendCheckpoint(nil), 20
	s.Ranges = []metadata.Range{{LeaderEpoch: 3, BrokerEpoch: myEpoch, Start: 20, End: -1}}
	require.NoError(t, g.m.ImageChanged())
}

// R4: a partition whose checkpoint lies in the object store opens once that is there, with the producers that it has; the others of
// its topic do not wait.
func TestAPartitionOpensOnceItsCheckpointIsThere(t *testing.T) {
	g := newManaged()
	g.topic("a", 1, 11, 12)
	state, err := LoadState(nil, 0, 0)
	require.NoError(t, err)
	h := record.Header{LastOffsetDelta: 9, ProducerID: 7, Records: 10}
	require.NoError(t, state.Replay(&h, nil, 0))
	s := g.image.streams[11]
	s.CheckpointEnd, s.Stored = 10, metadata.StoredCheckpoint{Object: 5, Position: 96, Bytes: 200, End: 10}
	s.Ranges = []metadata.Range{{LeaderEpoch: 3, BrokerEpoch: myEpoch, Start: 10, Committed: 10, End: -1}}
	here := false
	g.m.options.Checkpoint = func(s *metadata.Stream) ([]byte, bool) {
		if !s.Stored.Named() {
			return s.Checkpoint, true
		}
		return state.AppendCheckpoint(nil), here
	}
	g.changed(t)
	_, code := g.m.ByName("a", 0)
	require.EqualValues(t, wire.NotLeaderOrFollower, code)
	require.Len(t, g.m.Partitions(), 1)
	next := record.Header{BaseOffset: 10, LastOffsetDelta: 9, ProducerID: 7, BaseSequence: 10, Records: 10}
	require.ErrorIs(t, g.m.Replay(11, &next, nil), stream.ErrCheckpointAway)
	here = true
	require.NoError(t, g.m.TopicsChanged([]metadata.TopicID{{1}}))
	p, code := g.m.ByName("a", 0)
	require.EqualValues(t, wire.None, code)
	require.True(t, p.state.duplicateOf(&h).found)
}
