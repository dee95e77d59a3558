package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/wire"
	"weir/sim/event"
)

var errLost = errors.New("answer lost")

const (
	requestTimeout = 4 * time.Second
	backoffMin     = 20 * time.Millisecond
	backoffMax     = 400 * time.Millisecond
)

// session is a client's connections: kept up, each in step, with answers in the order
// of requests. Where one broker serves all, it is one connection. In a cluster of several
// that one is for what any broker answers; each request for a partition or a coordinator
// travels on a connection to the broker that is known to have it (see route).
type session struct {
	*Cluster
	client   int
	owner    sessionOwner
	main     line
	lines    []*line  // to brokers, in the order of their dials
	routes   *routes  // nil: one broker serves all
	topics   []*Topic // whose leaders it wants to know
	up       bool
	stopped  bool
	draws    event.Stream
	versions [96]versionRange
	lag      int64 // how far below the newest version this client may be, in thousandths of the range
	format   *kmsg.RequestFormatter
	serial   uint64
	dials    uint64
	backoff  time.Duration
	losses   int                  // how often an answer was lost
	epochs   map[*Partition]int32 // leader epochs, as last learned
	ceilings map[int16]int16      // newest versions that this client speaks, by key; nil: all
	floors   map[int16]int16      // oldest ones; nil: all
	// committed makes it read committed records only.
	committed bool
	// refreshing: the metadata are being asked for again. asked counts how often.
	refreshing bool
	asked      int
}

type versionRange struct{ min, max int16 }

type sessionOwner interface {
	// sessionUp is called when requests may be sent; all earlier ones have ended.
	sessionUp()
}

func (s *session) init(c *Cluster, client int, owner sessionOwner) {
	s.initAs(c, client, "client", owner)
}

// initAs makes one of several sessions of a client; each has draws of its own.
func (s *session) initAs(c *Cluster, client int, purpose string, owner sessionOwner) {
	s.Cluster, s.client, s.owner = c, client, owner
	s.draws = c.Queue.Stream(purpose, uint64(client))
	s.main = line{session: s, node: anyBroker}
	if c.Several {
		s.routes = newRoutes()
	}
	s.format = kmsg.NewRequestFormatter(kmsg.FormatterClientID(fmt.Sprintf("client-%d", client)))
	s.backoff = backoffMin
	s.epochs = map[*Partition]int32{}
}

// whole reports whether the broker speaks all that these clients do; a stand-in
// may not know of leader epochs.
func (s *session) whole() bool { return s.versions[keyOffsetForLeaderEpoch].max > 0 }

const keyOffsetForLeaderEpoch = 23

// connect makes the first connection, unless there is one.
func (s *session) connect() {
	if s.main.conn != nil || s.stopped {
		return
	}
	s.serial++
	s.main.dial(s.bootstrap(s.client, s.dials))
	s.dials++
}

// after calls f unless the connection has changed by then.
func (s *session) after(d time.Duration, f func()) {
	serial := s.serial
	s.Queue.Call(d, func() {
		if serial == s.serial && !s.stopped {
			f()
		}
	})
}

// connected: requests may be sent.
func (s *session) connected() {
	s.up, s.backoff = true, backoffMin
	s.owner.sessionUp()
}

// floor is the oldest version of a key that these clients speak.
func floor(key int16) int16 {
	switch key {
	case 0:
		return 3
	case 1:
		return 4
	case 2:
		return 1
	case 3:
		return 10 // the first with topic ids
	}
	return 0
}

// request sends a request in a version that both sides speak. done gets the
// response, valid during the call, or errLost; it may come after a reconnect began
// but always before the next sessionUp.
func (s *session) request(r kmsg.Request, done func(kmsg.Response, error)) {
	if !s.choose(r) {
		return
	}
	s.dispatch(requestTimeout, r, done)
}

// requestWithin is request for what the broker may hold back longer than others.
func (s *session) requestWithin(limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	if !s.choose(r) {
		return
	}
	s.dispatch(limit, r, done)
}

// isolation is the level of what it reads.
func (s *session) isolation() int8 {
	if s.committed {
		return 1
	}
	return 0
}

// speaks reports whether the broker has an API.
func (s *session) speaks(key int16) bool { return s.versions[key].max > 0 }

// choose sets a version that both sides speak.
func (s *session) choose(r kmsg.Request) bool {
	v := s.versions[r.Key()]
	low, high := max(v.min, floor(r.Key()), s.floors[r.Key()]), min(v.max, r.MaxVersion())
	if ceiling, ok := s.ceilings[r.Key()]; ok {
		high = min(high, ceiling)
	}
	if low > high {
		s.fail("protocol", "no common version of key %d: broker has %d to %d", r.Key(), v.min, v.max)
		return false
	}
	span := int64(high-low) * s.lag / 1000
	// Chosen per client and key, not per request, as real clients do.
	r.SetVersion(high - int16(s.Queue.Rand.Draw(event.Purpose("version"), uint64(s.client), uint64(r.Key()))%uint64(span+1)))
	return true
}

// post sends a request that has no answer.
func (s *session) post(r kmsg.Request) {
	if s.choose(r) {
		s.carrierOf(r).post(r)
	}
}

// dispatch sends a request whose version is set.
func (s *session) dispatch(limit time.Duration, r kmsg.Request, done func(kmsg.Response, error)) {
	if s.routes == nil {
		s.main.send(limit, r, done)
		return
	}
	s.route(limit, r, done)
}

// drop closes the connections from this end.
func (s *session) drop() {
	if s.main.conn != nil {
		s.main.close()
		s.lost()
	}
}

// leaves reports whether a cluster's broker answered that it timed out, or knows no controller or coordinator, and leaves it: it may hear nobody any more.
// The next connection is to another broker.
func (s *session) leaves(codes ...int16) bool {
	deaf := slices.ContainsFunc(codes, func(code int16) bool {
		return code == wire.RequestTimedOut || code == wire.NotController || code == wire.CoordinatorNotAvailable
	})
	if s.routes == nil || !deaf {
		return false
	}
	s.drop()
	return true
}

// lost ends every open request without an answer, and connects again.
func (s *session) lost() {
	s.up, s.refreshing = false, false
	s.serial++
	open := s.main.end()
	for _, l := range s.lines {
		l.close()
		open = append(open, l.end()...)
	}
	s.lines = nil
	s.forgetCoordinators()
	if len(open) > 0 {
		s.losses++
	}
	for _, p := range open {
		p.done(errLost)
	}
	s.backoff = min(2*s.backoff, backoffMax)
	s.after(s.backoff/2+s.draws.Duration(0, s.backoff/2), s.connect)
}

// stop ends the client.
func (s *session) stop() {
	s.stopped = true
	s.main.close()
	for _, l := range s.lines {
		l.close()
	}
}

// learn asks for the ids of topics, and checks that they never change.
func (s *session) learn(topics []*Topic, done func(known bool)) {
	s.topics = topics
	s.request(metadataOf(topics), func(response kmsg.Response, err error) {
		if err != nil {
			return // the next sessionUp asks again
		}
		done(s.learned(topics, response.(*kmsg.MetadataResponse)))
	})
}

func metadataOf(topics []*Topic) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.AllowAutoTopicCreation = false
	for _, t := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(t.Name)
		r.Topics = append(r.Topics, topic)
	}
	return r
}

func (s *session) learned(topics []*Topic, m *kmsg.MetadataResponse) bool {
	all := true
	s.learnBrokers(m.Brokers)
	for _, t := range topics {
		if s.routes != nil && t.Deleting {
			continue // its name may be another topic's by now
		}
		known := false
		for i := range m.Topics {
			got := &m.Topics[i]
			if got.Topic != nil && *got.Topic == t.Name && got.ErrorCode == 0 && !s.outdated(t, got.TopicID) {
				known = true
				s.checkTopic(t, got, m.Version)
			}
		}
		all = all && known
	}
	return all
}

func (s *session) checkTopic(t *Topic, got *kmsg.MetadataResponseTopic, version int16) {
	t.Created = true
	if version >= 10 {
		if t.ID != [16]byte{} && t.ID != got.TopicID {
			s.fail("I10", "topic %s had id %x and now has %x", t.Name, t.ID, got.TopicID)
		}
		t.ID = got.TopicID
	}
	s.checkCount(t, len(got.Partitions))
	for i := range got.Partitions {
		if p := &got.Partitions[i]; version >= 7 && int(p.Partition) < len(t.Partitions) && p.Partition >= 0 {
			s.learnLeader(t.Partitions[p.Partition], p)
		}
	}
}

// checkCount: a topic has as many partitions as were acknowledged, or as were asked for.
func (s *session) checkCount(t *Topic, partitions int) {
	if t.undone && partitions >= t.acked && partitions < len(t.Partitions) {
		t.Partitions = t.Partitions[:partitions] // nothing was written to those
	}
	if s.routes != nil && partitions < len(t.Partitions) {
		return // another broker's image may lag behind
	}
	if partitions < len(t.Partitions) || partitions > t.asked {
		s.fail("I10", "client %d: topic %s has %d partitions; %d were acknowledged, and %d asked for", s.client, t.Name, partitions, len(t.Partitions), t.asked)
		return
	}
	s.extend(t, partitions)
}

// findCoordinator asks for the coordinator of a key; it makes the internal topic.
// Who asks was told that it moved, and so may the others have.
func (s *session) findCoordinator(key string, kind int8, done func()) {
	s.forgetCoordinators()
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.CoordinatorKey, r.CoordinatorType, r.CoordinatorKeys = key, kind, []string{key}
	s.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FindCoordinatorResponse)
		code := v.ErrorCode
		if v.Version >= 4 {
			if len(v.Coordinators) != 1 || v.Coordinators[0].Key != key {
				s.fail("protocol", "client %d asked for the coordinator of %s and was told of %d", s.client, key, len(v.Coordinators))
				return
			}
			code = v.Coordinators[0].ErrorCode
		}
		s.learnCoordinator(coordinatorKey{key, kind}, v)
		if code != 0 {
			s.after(50*time.Millisecond, func() { s.findCoordinator(key, kind, done) })
			return
		}
		done()
	})
}
