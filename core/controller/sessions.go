package controller

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// Heartbeat is what a broker tells the active controller, and asks it to renew its lease.
type Heartbeat struct {
	Broker metadata.BrokerID
	Epoch  metadata.BrokerEpoch
	// Number counts the heartbeats of the epoch, from 1.
	Number uint64
	// Answered is the number of the newest heartbeat whose answer the broker has received; 0: none.
	Answered uint64
	// Applied is the index that the broker's image has.
	Applied uint64
	// Floor is the lowest object id that the epoch may still commit; 0: it has leased none.
	Floor metadata.ObjectID
	// Leaves says that the broker has stopped serving for good: its lease is over.
	Leaves bool
	// WALSick says that a write to its log has hung for long, StoreSick that it has not reached the object store for long.
	WALSick, StoreSick bool
	// Log is what its log holds.
	Log LogUse
}

// SessionsOptions are what Sessions need. All are required.
type SessionsOptions struct {
	Loop      *task.Loop
	Telemetry *telemetry.Registry
	Image     *metadata.Image
	Proposer  Proposer
	Config    *config.Cluster
	// Confirm calls done with whether this node led the quorum after the call, and then everything that was committed by
	// then is applied.
	Confirm func(done func(leads bool))
	// UncommittedOffsetsMax is that of stream.Options, the same on all nodes. Zero: metadata.UncommittedOffsetsMax.
	UncommittedOffsetsMax int64
}

// Sessions is what the active controller knows of who is alive, and what it decides from that (R9 to R13): it renews leases,
// fences brokers whose lease has certainly ended, registers new epochs, and names who recovers a WAL. It knows nothing that a
// new controller would have to be told: that begins with one full lease for everybody.
//
// Safety does not rest on it alone: a WAL is fenced or sealed before anybody reads it to take over. What rests on leases is that
// no reader is served by a broker whose partitions are led elsewhere.
type Sessions struct {
	SessionsOptions
	leads     bool
	term      uint64
	brokers   map[metadata.BrokerID]*session
	assigning map[metadata.BrokerEpoch]bool
	logs      map[metadata.BrokerID]LogUse // as of the last heartbeat
	reminder  task.Timer
	fenced    env.Counter
	alive     env.Gauge
	waiting   env.Gauge
	granted   *telemetry.Mark
}

// session is one broker epoch's.
type session struct {
	id                 metadata.BrokerID
	epoch              metadata.BrokerEpoch
	heard              env.Time // when the last heartbeat came that counts
	leaseEnd           env.Time // by when every lease that was granted has certainly ended, on this node's clock
	answered           uint64   // Heartbeat.Answered of the last that counts
	last               env.Time // when the last heartbeat came, whether it counts or not
	failing            string   // why the last one does not count; empty: it does
	walSick, storeSick bool     // as it said
	target             uint64   // an index that the next heartbeat's image must have to count
	ending             bool     // nothing is granted any more
	left               func()   // tells a broker that gave its lease up that its epoch has ended
	timer              task.Timer
	due                env.Time // of timer
}

// NewSessions returns sessions of a node that does not lead.
func NewSessions(o SessionsOptions) *Sessions {
	if o.UncommittedOffsetsMax == 0 {
		o.UncommittedOffsetsMax = metadata.UncommittedOffsetsMax
	}
	return &Sessions{
		SessionsOptions: o, brokers: map[metadata.BrokerID]*session{}, assigning: map[metadata.BrokerEpoch]bool{}, logs: map[metadata.BrokerID]LogUse{},
		fenced:  o.Telemetry.Counter("weir_controller_brokers_fenced_total", "broker epochs that this controller ended since their lease was not renewed"),
		alive:   o.Telemetry.Gauge("weir_controller_brokers_alive", "brokers that hold a lease, as the active controller knows; 0 on other nodes"),
		waiting: o.Telemetry.Gauge("weir_controller_partitions_awaiting_lost_log", "partitions that wait for the write-ahead log of a broker that is gone, which nobody else can read; 0 on nodes that are not the active controller"),
		granted: o.Telemetry.Mark("controller: a lease was renewed"),
	}
}

// Lead begins with the leadership of a term: whatever leases the controllers before have granted end within one lease from now.
func (s *Sessions) Lead(term uint64) {
	s.Resign()
	s.leads, s.term = true, term
	s.ImageChanged()
}

// Resign ends the leadership.
func (s *Sessions) Resign() {
	s.leads = false
	for _, id := range slices.Sorted(maps.Keys(s.brokers)) {
		s.Loop.Stop(&s.brokers[id].timer)
	}
	clear(s.brokers)
	clear(s.assigning)
	clear(s.logs)
	s.Loop.Stop(&s.reminder)
	s.alive.Set(0)
	s.waiting.Set(0)
}

// ImageChanged follows the image: who is registered, and whose WAL is to be recovered.
func (s *Sessions) ImageChanged() {
	if !s.leads {
		return
	}
	alive := int64(0)
	for _, b := range s.Image.Brokers() {
		known := s.brokers[b.ID]
		if known != nil && (known.epoch != b.Epoch || b.Fenced) {
			s.Loop.Stop(&known.timer)
			delete(s.brokers, b.ID)
			known = nil
		}
		if b.Fenced {
			continue
		}
		alive++
		if known == nil {
			s.begin(b)
		}
	}
	s.alive.Set(alive)
	s.assign()
	s.reviewWaiting()
}

// begin gives a broker one full session.
func (s *Sessions) begin(b *metadata.Broker) {
	now := s.Loop.Now()
	known := &session{id: b.ID, epoch: b.Epoch, heard: now, leaseEnd: now.Add(s.Config.Term())}
	s.brokers[b.ID] = known
	s.expect(known, now.Add(s.Config.SessionTimeout))
}

// expect looks after a session at a time.
func (s *Sessions) expect(k *session, at env.Time) {
	k.due = at
	s.Loop.Reset(&k.timer, at.Sub(s.Loop.Now()), func() { s.review(k) })
}

// review ends a session that is over. A controller that was itself held up for long blames nobody for that.
func (s *Sessions) review(k *session) {
	now := s.Loop.Now()
	over := k.heard.Add(s.Config.SessionTimeout)
	switch {
	case k.ending:
		s.fence(k)
	case now.Sub(k.due) > s.Config.SessionTimeout/4:
		k.heard = now
		s.expect(k, now.Add(s.Config.SessionTimeout))
	case now < over:
		s.expect(k, over)
	default:
		s.Telemetry.Warn("a broker is taken for dead, and its lease is not renewed any more. Its partitions go to others once the lease has ended, if others can read its write-ahead log; else they wait until it is back",
			slog.Int64("broker", int64(k.id)), slog.Int64("epoch", int64(k.epoch)), slog.String("reason", s.reason(k)), slog.Duration("for", now.Sub(k.heard)))
		s.end(k, func() { s.fence(k) })
	}
}

// end grants nothing more, and calls then once every lease of the session has certainly ended (R10).
func (s *Sessions) end(k *session, then func()) {
	k.ending = true
	s.Loop.Reset(&k.timer, max(0, k.leaseEnd.Sub(s.Loop.Now())), then)
}

func (s *Sessions) fence(k *session) {
	s.propose(&metadata.FenceBroker{ID: k.id, Epoch: k.epoch, Term: s.term}, func(err error) {
		if err != nil {
			s.retry(k, err)
			return
		}
		s.fenced.Add(1)
		s.Telemetry.Hit("controller: a broker was fenced")
		if k.left != nil {
			k.left()
		}
		s.Telemetry.Info("fenced a broker", slog.Int64("broker", int64(k.id)), slog.Int64("epoch", int64(k.epoch)))
	})
	s.assign()
}

// retry fences once more, after a while, if it still is to be done.
func (s *Sessions) retry(k *session, err error) {
	if s.brokers[k.id] != k {
		return
	}
	s.Telemetry.Warn("a broker could not be fenced; it is tried again", slog.Int64("broker", int64(k.id)), slog.String("error", err.Error()))
	s.expect(k, s.Loop.Now().Add(s.Config.SessionTimeout/8+time.Millisecond))
}

// propose proposes a record of this controller, in its term. done hears nothing once it is deposed.
func (s *Sessions) propose(r metadata.Record, done func(error)) {
	term := s.term
	s.Proposer.Propose(r, func(_ metadata.Outcome, err error) {
		if s.leads && s.term == term {
			done(err)
		}
	})
}

// Renew renews a broker's lease: granted runs if it is, or once it is given up. ended runs if the epoch is not the broker's any more. Neither runs if
// nothing can be said, and then the broker hears nothing (R9, R10).
func (s *Sessions) Renew(h Heartbeat, granted, ended func()) {
	b, ok := s.Image.Broker(h.Broker)
	if !s.leads || !ok && uint64(h.Epoch) > s.Image.AppliedIndex() || ok && b.Epoch < h.Epoch {
		return // the image may be old, or the broker's word a stranger's
	}
	if !ok || b.Epoch > h.Epoch || b.Fenced { // not there any more: it was unregistered
		ended()
		return
	}
	k := s.brokers[h.Broker]
	if k == nil || k.ending {
		return
	}
	if h.Leaves {
		s.Telemetry.Hit("controller: a broker gave its lease up")
		k.leaseEnd = s.Loop.Now()
		k.left = granted
		s.end(k, func() { s.fence(k) })
		return
	}
	now, applied := s.Loop.Now(), s.Image.AppliedIndex()
	s.logs[h.Broker] = h.Log
	k.last, k.walSick, k.storeSick = now, h.WALSick, h.StoreSick
	if k.failing = s.failing(k, &h); k.failing == "" {
		k.heard, k.answered, k.target = now, h.Answered, applied
	}
	s.Confirm(func(leads bool) {
		if !leads || !s.leads || s.brokers[h.Broker] != k || k.ending {
			return
		}
		k.leaseEnd = max(k.leaseEnd, now.Add(s.Config.Term()))
		s.granted.Hit()
		granted()
	})
}

// failing says why a heartbeat does not count (R13); empty: it does. A broker whose heartbeats do not count for a session is fenced like one that
// sends none: it could do nothing for its partitions, and would keep them from everybody else.
func (s *Sessions) failing(k *session, h *Heartbeat) string {
	switch {
	case h.Answered <= k.answered && k.answered > 0:
		return "it gets no answers"
	case h.Applied < k.target:
		return "its metadata stand still"
	case h.WALSick && s.anotherLogIsWell(k):
		return "writes to its write-ahead log hang"
	case h.StoreSick && s.mostReachTheStore():
		return "it does not reach the object store"
	}
	return ""
}

// anotherLogIsWell reports whether anybody could do better than a broker whose log hangs. If all logs do, to fence all brokers would
// only make it worse.
func (s *Sessions) anotherLogIsWell(k *session) bool {
	for _, id := range slices.Sorted(maps.Keys(s.brokers)) {
		if other := s.brokers[id]; other != k && !other.ending && !other.walSick {
			return true
		}
	}
	return false
}

// mostReachTheStore reports whether the object store is well as far as most brokers say: one that is away for most is
// nobody's own fault.
func (s *Sessions) mostReachTheStore() bool {
	well := 0
	for _, id := range slices.Sorted(maps.Keys(s.brokers)) {
		if k := s.brokers[id]; !k.storeSick && !k.ending {
			well++
		}
	}
	return 2*well > len(s.brokers)
}

// reason is why a session is over.
func (s *Sessions) reason(k *session) string {
	if k.failing != "" && s.Loop.Now().Sub(k.last) < s.Config.SessionTimeout {
		s.Telemetry.Hit("controller: taken for dead, " + k.failing)
		return k.failing
	}
	return "it is silent"
}

// Register proposes a new epoch of a broker, once no lease of its older one can be left (R11). done hears the verdict: it is
// metadata.ErrEpochEnded if this incarnation had its epoch. An incarnation asks until its own image has the answer; what the log has
// already is not proposed again, since a log that grows with each question is one that whoever lags behind never catches up with.
func (s *Sessions) Register(r *metadata.RegisterBroker, done func(error)) {
	r.Term = s.term
	k := s.brokers[r.ID]
	b, ok := s.Image.Broker(r.ID)
	switch again := ok && b.Incarnation == r.Incarnation; {
	case again && b.Fenced:
		done(fmt.Errorf("%w: epoch %d of broker %d", metadata.ErrEpochEnded, b.Epoch, b.ID))
		return
	case again && r.Stands(b):
		done(nil)
		return
	case again || !ok || k == nil:
		s.propose(r, done)
		return
	}
	if k.ending && k.leaseEnd <= s.Loop.Now() {
		s.propose(r, done)
		return
	}
	s.end(k, func() { s.propose(r, done) })
}

const assignRetry = 100 * time.Millisecond

// assign names a recoverer for each WAL that others can read and nobody alive recovers: by turns.
func (s *Sessions) assign() {
	if !s.leads {
		return
	}
	for _, r := range s.Image.Recoveries() {
		alive := s.readersOf(r.Ended)
		if s.Image.Current(r.By) {
			delete(s.assigning, r.Ended)
			continue
		}
		if !r.Shared || s.assigning[r.Ended] || len(alive) == 0 {
			continue
		}
		by := alive[int(uint64(r.Ended)%uint64(len(alive)))]
		s.assigning[r.Ended] = true
		s.Telemetry.Info("a broker recovers the log of an ended epoch", slog.Int64("epoch", int64(r.Ended)), slog.Int64("of", int64(r.Broker)), slog.Int64("by", int64(by.ID)))
		s.propose(&metadata.AssignRecovery{Ended: r.Ended, By: by.Epoch, Term: s.term}, func(err error) {
			delete(s.assigning, r.Ended)
			if err != nil {
				s.Loop.After(assignRetry, s.assign)
			}
		})
	}
}

// readersOf are the brokers that are alive and can read the log of an epoch: any of them if it is of the object kind, else
// those that reach the device.
func (s *Sessions) readersOf(epoch metadata.BrokerEpoch) []*metadata.Broker {
	_, object := s.Image.ObjectWAL(epoch)
	return slices.DeleteFunc(s.Alive(), func(b *metadata.Broker) bool { return !object && !b.SharedWAL })
}

// Alive are the brokers that may lead and are not about to be fenced, by id.
func (s *Sessions) Alive() []*metadata.Broker {
	return slices.DeleteFunc(slices.Clone(s.Image.Brokers()), func(b *metadata.Broker) bool {
		k := s.brokers[b.ID]
		return !b.Ready() || k == nil || k.ending
	})
}
