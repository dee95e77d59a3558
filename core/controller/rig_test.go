package controller_test

import (
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// rig is a controller and a sweeper over a one-node log, a clock and a store.
type rig struct {
	t         reporter
	now, wake env.Time
	loop      *task.Loop
	telemetry *telemetry.Registry
	image     *metadata.Image
	log       *fakeLog
	store     *fakeStore
	settings  *config.Settings
	c         *controller.Controller
	epoch     metadata.BrokerEpoch
	draws     []uint64             // what Rand gives first
	others    []controller.Support // what other nodes say that they serve
	asked     int                  // how often they were asked
}

// reporter is a *testing.T or a *rapid.T.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func (r *rig) Now() env.Time      { return r.now }
func (r *rig) WallMillis() int64  { return int64(r.now) / 1e6 }
func (r *rig) WakeAt(at env.Time) { r.wake = at }

func (r *rig) Uint64(purpose string, entity, counter uint64) uint64 {
	if len(r.draws) > 0 {
		first := r.draws[0]
		r.draws = r.draws[1:]
		return first
	}
	h := fnv.New64a()
	h.Write([]byte(purpose))
	x := h.Sum64() ^ entity<<32 ^ counter
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return x ^ x>>31
}

// fakeLog is a quorum of one: records go through their encoding and apply in order,
// at once or when told to.
type fakeLog struct {
	image    *metadata.Image
	index    uint64
	deferred bool
	pending  []func()
	broken   error
	bytesMax int
	records  int
	waiting  int // at a time, at most
}

func (l *fakeLog) Settle(done func(error)) { done(nil) }

func (l *fakeLog) Propose(r metadata.Record, done func(metadata.Outcome, error)) {
	encoded := r.AppendTo(nil)
	l.bytesMax = max(l.bytesMax, len(encoded))
	l.pending = append(l.pending, func() {
		if l.broken != nil {
			done(metadata.Outcome{}, l.broken)
			return
		}
		decoded, err := metadata.DecodeRecord(encoded)
		if err != nil {
			panic(err)
		}
		l.index++
		l.records++
		err = l.image.Apply(l.index, decoded)
		done(l.image.Outcome(), err)
	})
	l.waiting = max(l.waiting, len(l.pending))
	if !l.deferred {
		l.run()
	}
}

func (l *fakeLog) run() {
	for len(l.pending) > 0 {
		next := l.pending[0]
		l.pending = l.pending[1:]
		next()
	}
}

func newRig(t reporter) *rig { return newRigOf(t, 1000) }

// newRigOf is a rig whose records have at most so many bytes.
func newRigOf(t reporter, recordBytesMax int) *rig {
	r := &rig{t: t, telemetry: telemetry.New(nil, nil), image: metadata.NewImage(), settings: &config.Settings{}}
	r.loop = task.NewLoop(r)
	r.log = &fakeLog{image: r.image}
	r.store = &fakeStore{rig: r, objects: map[string]bool{}}
	r.c = controller.New(controller.Options{
		Loop: r.loop, Env: env.Env{Clock: r, Rand: r, Store: r.store}, Telemetry: r.telemetry, Image: r.image, Proposer: r.log,
		Broker: 1, Config: r.settings.Broker(), Settings: r.settings, RecordBytesMax: recordBytesMax, Others: r.askOthers,
	})
	r.c.FoundCluster("MkU3OEVBNTcwNTJENDM2Qg", r.must)
	r.register()
	return r
}

// askOthers answers for other nodes.
func (r *rig) askOthers(done func([]controller.Support)) {
	r.asked++
	r.loop.Post(func() { done(r.others) })
}

// level sets the level of records that the cluster uses.
func (r *rig) level(level int16) {
	set := &metadata.SetFeatures{Features: []metadata.Feature{{Name: controller.MetadataFeature, Level: level}}}
	r.log.Propose(set, func(_ metadata.Outcome, err error) { r.must(err) })
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v", err)
	}
}

// register starts a new incarnation of the broker.
func (r *rig) register() {
	r.c.RegisterBroker(metadata.Broker{ID: 1, Rack: "z", Listeners: listeners}, false, func(epoch metadata.BrokerEpoch, err error) {
		r.must(err)
		r.epoch = epoch
	})
}

// create makes one topic and returns the result.
func (r *rig) create(n controller.NewTopic, validateOnly bool) (result controller.TopicResult) {
	r.c.CreateTopics([]controller.NewTopic{n}, validateOnly, func(all []controller.TopicResult) { result = all[0] })
	return result
}

func (r *rig) topic(name string, partitions int32) *metadata.Topic {
	r.t.Helper()
	result := r.create(controller.NewTopic{Name: name, Partitions: partitions, ReplicationFactor: -1}, false)
	r.must(result.Err)
	return result.Topic
}

// turn lets posted work run.
func (r *rig) turn() {
	r.loop.Turn(nil)
	r.log.run()
	r.loop.Turn(nil)
}

// pass lets time pass, timer by timer.
func (r *rig) pass(d time.Duration) {
	until := r.now.Add(d)
	r.loop.Turn(nil)
	for r.wake <= until && r.wake > r.now {
		r.now = r.wake
		r.loop.Turn(nil)
	}
	r.now = until
	r.loop.Turn(nil)
}

func wantError(t *testing.T, err error, code int16, text string) {
	t.Helper()
	var e *controller.Error
	switch {
	case code == 0 && err != nil:
		t.Errorf("failed: %v", err)
	case code != 0 && (!errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text)):
		t.Errorf("got %v, want code %d and %q", err, code, text)
	}
}

// fakeStore is a bucket of keys. Operations complete in the next turn.
type fakeStore struct {
	rig      *rig
	objects  map[string]bool
	sizes    map[string]int64
	deleted  []string
	fail     func(key string) env.Outcome // nil: all is well
	inFlight int
	most     int
	tries    []env.Time
	pageMax  int
}

func (s *fakeStore) outcome(key string) env.Outcome {
	if s.fail == nil {
		return env.OutcomeDone
	}
	return s.fail(key)
}

func (s *fakeStore) Put(*env.PutObject) { panic("the controller writes no object") }
func (s *fakeStore) Get(*env.GetObject) { panic("the controller reads no object") }

func (s *fakeStore) Delete(op *env.DeleteObject) {
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.tries = append(s.tries, s.rig.now)
	s.rig.loop.After(time.Millisecond, func() {
		s.inFlight--
		if op.Outcome = s.outcome(op.Key); op.Outcome != env.OutcomeDone {
			op.Err = errors.New("503 slow down")
		} else {
			delete(s.objects, op.Key)
			s.deleted = append(s.deleted, op.Key)
		}
		op.Deliver()
	})
}

func (s *fakeStore) Compose(*env.ComposeObject) { panic("not used") }

func (s *fakeStore) List(op *env.ListObjects) {
	s.rig.loop.After(time.Millisecond, func() {
		if op.Outcome = s.outcome("list"); op.Outcome != env.OutcomeDone {
			op.Err = errors.New("503 slow down")
			op.Deliver()
			return
		}
		keys := s.keys(op.Prefix)
		at, found := slices.BinarySearch(keys, op.StartAfter)
		if found {
			at++
		}
		keys = keys[at:]
		limit := op.Limit
		if s.pageMax > 0 {
			limit = min(limit, s.pageMax)
		}
		if op.More = len(keys) > limit; op.More {
			keys = keys[:limit]
		}
		for _, key := range keys {
			op.Objects = append(op.Objects, env.ObjectInfo{Key: key, Size: s.sizes[key]})
		}
		op.Deliver()
	})
}

func (s *fakeStore) keys(prefix string) (keys []string) {
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// listeners are those of a broker that is ready.
var listeners = []metadata.Endpoint{{Listener: "PLAINTEXT", Host: "broker", Port: 9092}}

func ready(id metadata.BrokerID) metadata.Broker {
	return metadata.Broker{ID: id, Listeners: listeners}
}
