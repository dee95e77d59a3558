package controller_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"
)

// lose makes broker 5, whose log nobody else can read, the leader of a new topic, and fences it.
func (r *sessionRig) lose() {
	r.s.Register(&metadata.RegisterBroker{ID: 5, Incarnation: [16]byte{5}, Listeners: listeners}, func(err error) { r.must(err) })
	r.learn(5)
	r.log.Propose(&metadata.CreateTopic{ID: metadata.TopicID{9}, Name: "lost", Leaders: []metadata.Leader{{Broker: 5, Epoch: r.epochs[5]}, {Broker: 5, Epoch: r.epochs[5]}}},
		func(_ metadata.Outcome, err error) { r.must(err) })
	r.beat(5, 0)
	r.pass(2*session, 1, 2, 3, 4)
	require.True(r.rig.t.(*testing.T), r.fenced(5))
}

func (r *sessionRig) abandon(id metadata.BrokerID, epoch metadata.BrokerEpoch) (err error) {
	r.s.AbandonWAL(id, epoch, 7, func(verdict error) { err = verdict })
	r.s.ImageChanged()
	return err
}

// R16: a log is given up by the broker's name and epoch, and only while nobody can read it.
func TestLostLogIsGivenUpByName(t *testing.T) {
	r := newSessionRig(t)
	refused := func(code int16, id metadata.BrokerID, epoch metadata.BrokerEpoch) {
		t.Helper()
		var e *controller.Error
		require.ErrorAs(t, r.abandon(id, epoch), &e)
		require.Equal(t, code, e.Code, e.Message)
	}
	refused(wire.BrokerIDNotRegistered, 9, 1)
	refused(wire.InvalidRequest, 2, r.epochs[2]) // alive
	r.lose()
	refused(wire.InvalidRequest, 5, r.epochs[5]+1)
	require.Positive(t, r.telemetry.Mark("controller: partitions wait for a log that only a dead broker has").Hits)
	require.Equal(t, []metadata.WaitingWAL{{Broker: 5, Epoch: r.epochs[5], Partitions: 2, Leaderless: 2}}, r.image.WaitingWALs())
	require.NoError(t, r.abandon(5, r.epochs[5]))
	require.Empty(t, r.image.WaitingWALs())
	for _, p := range r.image.Topics()[0].Partitions {
		require.NotEqual(t, metadata.BrokerID(5), p.Leader)
		s, _ := r.image.Stream(p.Stream)
		require.EqualValues(t, metadata.UncommittedOffsetsMax, s.Newest().Start)
	}
	refused(wire.InvalidRequest, 5, r.epochs[5]) // nothing waits any more
}

// A broker that is back recovers its log itself.
func TestLogOfABrokerThatIsBackIsNotGivenUp(t *testing.T) {
	r := newSessionRig(t)
	r.lose()
	old := r.epochs[5]
	r.s.Register(&metadata.RegisterBroker{ID: 5, Incarnation: [16]byte{6}, Listeners: listeners}, func(err error) { r.must(err) })
	r.learn(5)
	require.Error(t, r.abandon(5, old))
	require.Error(t, r.abandon(5, r.epochs[5]))
}

// Brokers of an older release would end at the record.
func TestNoLogIsGivenUpAmongOlderReleases(t *testing.T) {
	r := newSessionRig(t)
	r.lose()
	r.log.Propose(&metadata.SetFeatures{Features: []metadata.Feature{{Name: controller.MetadataFeature, Level: controller.CleaningLevel - 1}}}, func(_ metadata.Outcome, err error) { r.must(err) })
	var e *controller.Error
	require.ErrorAs(t, r.abandon(5, r.epochs[5]), &e)
	require.EqualValues(t, wire.UnsupportedVersion, e.Code, e.Message)
	require.NotEmpty(t, r.image.WaitingWALs())
}
