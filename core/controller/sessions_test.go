package controller_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/telemetry"
	"weir/core/wire"
)

const session = 2 * time.Second

// sessionRig is a rig whose node leads the quorum in term 1, with three more brokers.
type sessionRig struct {
	*rig
	s       *controller.Sessions
	config  *config.Cluster
	leads   bool
	confirm []func(bool) // that wait for the majority
	epochs  map[metadata.BrokerID]metadata.BrokerEpoch
	sent    map[metadata.BrokerID]uint64 // heartbeats
}

func newSessionRig(t *testing.T) *sessionRig {
	r := &sessionRig{
		rig: newRig(t), leads: true, epochs: map[metadata.BrokerID]metadata.BrokerEpoch{}, sent: map[metadata.BrokerID]uint64{},
		config: &config.Cluster{SessionTimeout: session, HeartbeatInterval: session / 4, DriftMaxPPM: 10_000},
	}
	r.image.BeginTerm(1)
	r.s = controller.NewSessions(controller.SessionsOptions{
		Loop: r.loop, Telemetry: r.telemetry, Image: r.image, Proposer: r.log, Config: r.config,
		Confirm: func(done func(bool)) { r.confirm = append(r.confirm, done) },
	})
	r.s.Lead(1)
	r.learn(1)
	for id := range metadata.BrokerID(3) {
		require.True(t, r.incarnate(id+2, 1))
	}
	return r
}

// incarnate registers an incarnation of a broker, and reports whether it was at once.
func (r *sessionRig) incarnate(id metadata.BrokerID, incarnation byte) bool {
	done := false
	r.s.Register(&metadata.RegisterBroker{ID: id, Incarnation: [16]byte{incarnation, byte(id)}, Listeners: listeners, SharedWAL: true}, func(err error) {
		r.must(err)
		done = true
	})
	r.learn(id)
	return done
}

func (r *sessionRig) learn(id metadata.BrokerID) {
	if b, ok := r.image.Broker(id); ok {
		r.epochs[id] = b.Epoch
	}
	r.s.ImageChanged()
}

// beat sends a heartbeat, whose sender got every answer before; the majority confirms. It reports what was answered.
func (r *sessionRig) beat(id metadata.BrokerID, answered uint64) (granted, ended bool) {
	r.sent[id]++
	h := controller.Heartbeat{Broker: id, Epoch: r.epochs[id], Number: r.sent[id], Answered: answered, Applied: r.image.AppliedIndex()}
	r.s.Renew(h, func() { granted = true }, func() { ended = true })
	r.majority(true)
	return granted, ended
}

func (r *sessionRig) majority(leads bool) {
	waiting := r.confirm
	r.confirm = nil
	for _, done := range waiting {
		done(leads)
	}
}

// pass lets time pass in small steps, as it does, while some brokers renew their leases.
func (r *sessionRig) pass(d time.Duration, alive ...metadata.BrokerID) {
	for end := r.now.Add(d); r.now < end; {
		r.now = r.now.Add(min(session/8, end.Sub(r.now)))
		r.loop.Turn(nil)
		r.s.ImageChanged()
		for _, id := range alive {
			r.beat(id, r.sent[id])
		}
	}
}

func (r *sessionRig) fenced(id metadata.BrokerID) bool {
	b, ok := r.image.Broker(id)
	return ok && b.Fenced
}

func TestSilentBrokerIsFencedOnceItsLeaseHasEnded(t *testing.T) {
	r := newSessionRig(t)
	granted, _ := r.beat(2, 0)
	require.True(t, granted)
	leased := r.now.Add(r.config.Lease()) // on the broker's clock, which may be slower by the bound
	r.pass(session-time.Millisecond, 1, 3, 4)
	require.False(t, r.fenced(2))
	r.pass(r.config.Term()-session, 1, 3, 4)
	r.pass(session/4, 1, 3, 4)
	require.True(t, r.fenced(2))
	require.Greater(t, r.now, leased)
	for _, id := range []metadata.BrokerID{1, 3, 4} {
		require.False(t, r.fenced(id), "broker %d is alive", id)
	}
	_, ended := r.beat(2, r.sent[2])
	require.True(t, ended, "it hears that its epoch is over")
}

// R10: nothing is granted any more from the moment on that the fence is decided, so that no delayed heartbeat renews what is
// about to be fenced.
func TestHeartbeatDoesNotRenewWhatIsBeingFenced(t *testing.T) {
	r := newSessionRig(t)
	r.log.deferred = true
	r.pass(session+session/8, 1, 3, 4) // the decision; the lease runs on
	granted, ended := r.beat(2, r.sent[2])
	require.False(t, granted || ended, "it hears nothing")
	r.pass(session/2, 1, 3, 4)
	r.log.run()
	require.True(t, r.fenced(2))
}

// R9: a lease is granted only by who leads, as a majority says after the heartbeat came.
func TestLeaseIsGrantedByALeaderAlone(t *testing.T) {
	r := newSessionRig(t)
	granted := false
	renew := func() {
		r.s.Renew(controller.Heartbeat{Broker: 2, Epoch: r.epochs[2], Number: 1, Applied: r.image.AppliedIndex()}, func() { granted = true }, func() {})
	}
	renew()
	require.False(t, granted, "no majority has answered")
	r.majority(false)
	require.False(t, granted, "another leads")
	renew()
	r.s.Resign()
	r.majority(true)
	require.False(t, granted, "it has resigned")
}

// R10: a record of a controller that was deposed changes nothing.
func TestFenceOfADeposedControllerIsDropped(t *testing.T) {
	r := newSessionRig(t)
	r.log.deferred = true
	r.pass(2*session, 1, 3, 4)
	r.image.BeginTerm(2)
	r.log.run()
	require.False(t, r.fenced(2))
}

// R9: whoever is elected waits for what the controllers before it may have granted.
func TestNewControllerWaitsOneLease(t *testing.T) {
	r := newSessionRig(t)
	r.pass(session-session/8, 1, 3, 4)
	r.s.Lead(1) // anew: it knows of no heartbeat
	r.pass(session-session/8, 1, 3, 4)
	require.False(t, r.fenced(2))
	r.pass(session/2, 1, 3, 4)
	require.True(t, r.fenced(2))
}

// R13: a broker that gets no answers, or whose image stands still, is as good as silent.
func TestBrokerThatHearsNothingIsFenced(t *testing.T) {
	for name, h := range map[string]func(r *sessionRig) controller.Heartbeat{
		"no answers": func(r *sessionRig) controller.Heartbeat {
			return controller.Heartbeat{Broker: 2, Epoch: r.epochs[2], Answered: 1, Applied: r.image.AppliedIndex()}
		},
		"an old image": func(r *sessionRig) controller.Heartbeat {
			r.sent[2]++
			return controller.Heartbeat{Broker: 2, Epoch: r.epochs[2], Answered: r.sent[2], Applied: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSessionRig(t)
			for range 40 {
				r.s.Renew(h(r), func() {}, func() {})
				r.majority(true)
				r.pass(session/8, 1, 3, 4)
			}
			require.True(t, r.fenced(2))
		})
	}
}

// sick sends a heartbeat of a broker, well but for its log or its way to the store.
func (r *sessionRig) sick(id metadata.BrokerID, wal, store bool) {
	r.sent[id]++
	r.s.Renew(controller.Heartbeat{
		Broker: id, Epoch: r.epochs[id], Number: r.sent[id], Answered: r.sent[id], Applied: r.image.AppliedIndex(), WALSick: wal, StoreSick: store,
	}, func() {}, func() {})
	r.majority(true)
}

// R13: a broker whose log hangs, or that alone does not reach the store, is as good as silent. What is away for all is nobody's
// own fault.
func TestSickBrokersAreFencedIfOthersAreWell(t *testing.T) {
	for name, c := range map[string]struct {
		wal, store []metadata.BrokerID
		fenced     []metadata.BrokerID
	}{
		"one log":                  {wal: []metadata.BrokerID{2}, fenced: []metadata.BrokerID{2}},
		"all logs but one":         {wal: []metadata.BrokerID{1, 2, 3}, fenced: []metadata.BrokerID{1, 2, 3}},
		"all logs":                 {wal: []metadata.BrokerID{1, 2, 3, 4}},
		"the store from one":       {store: []metadata.BrokerID{2}, fenced: []metadata.BrokerID{2}},
		"the store from half":      {store: []metadata.BrokerID{2, 3}},
		"the store from all":       {store: []metadata.BrokerID{1, 2, 3, 4}},
		"a log, the store for all": {wal: []metadata.BrokerID{3}, store: []metadata.BrokerID{1, 2, 3, 4}, fenced: []metadata.BrokerID{3}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSessionRig(t)
			for range 40 {
				for id := metadata.BrokerID(1); id <= 4; id++ {
					r.sick(id, slices.Contains(c.wal, id), slices.Contains(c.store, id))
				}
				r.pass(session / 8)
			}
			for id := metadata.BrokerID(1); id <= 4; id++ {
				require.Equal(t, slices.Contains(c.fenced, id), r.fenced(id), "broker %d", id)
			}
		})
	}
}

// A log that hangs for less than a session is slow, no more.
func TestBrokersRecoverFromSickness(t *testing.T) {
	r := newSessionRig(t)
	for range 10 {
		for range 6 {
			r.sick(2, true, true)
			r.pass(session/8, 1, 3, 4)
		}
		r.pass(session/8, 1, 2, 3, 4)
	}
	require.False(t, r.fenced(2))
}

// R11: a node that starts anew waits until no lease of its older process can be left.
func TestRegistrationWaitsForTheOlderLease(t *testing.T) {
	r := newSessionRig(t)
	granted, _ := r.beat(2, 0)
	require.True(t, granted)
	leased := r.now.Add(r.config.Lease())
	registered := env.Time(0)
	r.s.Register(&metadata.RegisterBroker{ID: 2, Incarnation: [16]byte{9}, Listeners: listeners, SharedWAL: true}, func(err error) {
		r.must(err)
		registered = r.now
	})
	require.Zero(t, registered)
	r.pass(2*session, 1, 3, 4)
	require.Greater(t, registered, leased)
	b, _ := r.image.Broker(2)
	require.Equal(t, byte(9), b.Incarnation[0])
	require.False(t, b.Fenced)
}

// An incarnation asks until its own image has its registration. However often it does, the log has it once.
func TestRegistrationThatIsRepeatedIsNotProposedAgain(t *testing.T) {
	r := newSessionRig(t)
	index := r.image.AppliedIndex()
	require.True(t, r.incarnate(2, 1))
	require.Equal(t, index, r.image.AppliedIndex())

	r.pass(2*session, 1, 3, 4)
	require.True(t, r.fenced(2))
	index = r.image.AppliedIndex()
	var refused error
	r.s.Register(&metadata.RegisterBroker{ID: 2, Incarnation: [16]byte{1, 2}, Listeners: listeners, SharedWAL: true}, func(err error) { refused = err })
	require.ErrorIs(t, refused, metadata.ErrEpochEnded)
	require.Equal(t, index, r.image.AppliedIndex())
}

func TestBrokerThatLeavesIsFencedAtOnce(t *testing.T) {
	r := newSessionRig(t)
	r.beat(2, 0)
	told := false
	r.s.Renew(controller.Heartbeat{Broker: 2, Epoch: r.epochs[2], Leaves: true}, func() { told = true }, func() {})
	r.loop.Turn(nil)
	require.True(t, r.fenced(2))
	require.True(t, told)
}

// A broker that was unregistered while it could not be heard is told that its epoch has ended: else it would ask for ever.
func TestUnregisteredBrokerIsToldWhenItWakesUp(t *testing.T) {
	r := newSessionRig(t)
	unregister := func(id metadata.BrokerID) (code int16) {
		r.c.UnregisterBroker(id, func(err error) {
			var e *controller.Error
			if errors.As(err, &e) {
				code = e.Code
			}
		})
		return code
	}
	require.EqualValues(t, wire.InvalidRequest, unregister(2), "it is alive")
	require.EqualValues(t, wire.BrokerIDNotRegistered, unregister(9))
	r.pass(2*session, 1, 3, 4)
	require.True(t, r.fenced(2))
	zombie := r.epochs[2]
	require.Zero(t, unregister(2))
	_, known := r.image.Broker(2)
	require.False(t, known)
	r.s.ImageChanged()
	_, ended := r.beat(2, 0)
	require.True(t, ended)
	r.epochs[2] = metadata.BrokerEpoch(r.image.AppliedIndex()) + 5
	granted, ended := r.beat(2, 0)
	require.False(t, granted || ended, "the image may be too old to know that epoch")
	require.True(t, r.incarnate(2, 2))
	require.Greater(t, r.epochs[2], zombie)
	granted, _ = r.beat(2, 0)
	require.True(t, granted)
}

// What a dead broker holds is needed until it is committed elsewhere.
func TestBrokerThatOwesRecordsStaysRegistered(t *testing.T) {
	r := newSessionRig(t)
	r.must(r.create(controller.NewTopic{Name: "t", Partitions: 8, ReplicationFactor: 1}, false).Err)
	r.pass(2*session, 1, 3, 4)
	require.True(t, r.fenced(2))
	var refused *controller.Error
	r.c.UnregisterBroker(2, func(err error) { require.ErrorAs(t, err, &refused) })
	require.EqualValues(t, wire.InvalidRequest, refused.Code)
}

// A log that others can read goes to a broker that is alive, and to another if that dies, too.
func TestRecovererIsNamedAndReplaced(t *testing.T) {
	r := newSessionRig(t)
	n := controller.NewTopic{Name: "t", Partitions: 8, ReplicationFactor: 1}
	r.must(r.create(n, false).Err)
	r.pass(2*session, 1, 3, 4)
	require.True(t, r.fenced(2))
	recoveries := r.image.Recoveries()
	require.Len(t, recoveries, 1)
	first := recoveries[0].By
	require.True(t, r.image.Current(first))
	var alive []metadata.BrokerID
	for id, epoch := range r.epochs {
		if epoch != first && id != 2 {
			alive = append(alive, id)
		}
	}
	r.pass(2*session, append(alive, 1)...)
	for _, a := range r.image.Recoveries() {
		require.True(t, r.image.Current(a.By), "epoch %d is recovered by %d", a.Ended, a.By)
		require.NotEqual(t, first, a.By)
	}
}

// A controller that was itself held up for long blames nobody.
func TestPausedControllerFencesNobody(t *testing.T) {
	r := newSessionRig(t)
	r.pass(session/4, 1, 2, 3, 4)
	r.now = r.now.Add(10 * session)
	r.loop.Turn(nil)
	r.pass(session/2, 1, 2, 3, 4)
	for id := range r.epochs {
		require.False(t, r.fenced(id), "broker %d", id)
	}
}

func TestBalancerSpreadsLeadersAndRests(t *testing.T) {
	r := newSessionRig(t)
	r.must(r.create(controller.NewTopic{Name: "t", Partitions: 40, ReplicationFactor: 1}, false).Err)
	moves := 0
	b := controller.NewBalancer(controller.BalancerOptions{
		Loop: r.loop, Telemetry: telemetry.New(nil, nil), Image: r.image, Alive: r.s.Alive, Interval: time.Second, ImbalancePercent: 10,
		Move: func(stream metadata.StreamID, to metadata.BrokerID, done func(error)) {
			moves++
			s, _ := r.image.Stream(stream)
			next, _ := r.image.Broker(to)
			r.log.Propose(&metadata.SealRanges{By: s.Newest().BrokerEpoch, Seals: []metadata.Seal{{
				RangeEnd: metadata.RangeEnd{Stream: stream, LeaderEpoch: s.Newest().LeaderEpoch}, Next: metadata.Leader{Broker: to, Epoch: next.Epoch},
			}}}, func(metadata.Outcome, error) { done(nil) })
		},
	})
	b.Start()
	r.pass(5*time.Second, 1, 2, 3, 4)
	require.Zero(t, moves, "new partitions are spread already")
	require.True(t, r.incarnate(9, 1))
	r.pass(5*time.Second, 1, 2, 3, 4, 9)
	led := map[metadata.BrokerID]int{}
	topic, _ := r.image.Topic("t")
	for _, p := range topic.Partitions {
		led[p.Leader]++
	}
	require.Equal(t, map[metadata.BrokerID]int{1: 8, 2: 8, 3: 8, 4: 8, 9: 8}, led)
	before := moves
	r.pass(20*time.Second, 1, 2, 3, 4, 9)
	require.Equal(t, before, moves, "it comes to rest")
}
