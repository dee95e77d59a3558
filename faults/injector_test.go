package faults

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
)

// rig is a broker's world that completes everything at once, and a loop that only delivers.
type rig struct {
	*Injector
	t       *testing.T
	now     env.Time
	wake    env.Time
	counts  map[string]int64
	log     []string
	done    []string // what the process was told, and what the store did
	network fakeNetwork
}

func (r *rig) Now() env.Time                              { return r.now }
func (r *rig) WallMillis() int64                          { return int64(r.now) / 1e6 }
func (r *rig) WakeAt(t env.Time)                          { r.wake = t }
func (r *rig) Counter(name, _ string) env.Counter         { return count{r, name} }
func (r *rig) Gauge(name, _ string) env.Gauge             { return nil }
func (r *rig) Histogram(name, _ string) env.Histogram     { return nil }
func (r *rig) Kill()                                      { r.done = append(r.done, "kill") }
func (r *rig) Stop()                                      { r.done = append(r.done, "stop") }
func (r *rig) Pause(d time.Duration)                      { r.done = append(r.done, fmt.Sprint("pause ", d)) }
func (r *rig) Log(_ slog.Level, m string, _ ...slog.Attr) { r.log = append(r.log, m) }

// Uint64 implements env.Rand, by a hash.
func (r *rig) Uint64(purpose string, entity, counter uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, purpose, entity, " ", counter)
	return h.Sum64() >> 3
}

type count struct {
	*rig
	name string
}

func (c count) Add(n int64) { c.counts[c.name] += n }

type deliverer struct{}

func (deliverer) Turn(events []env.Event) {
	for _, e := range events {
		e.Deliver()
	}
}

// fakeStore completes what it is given, and says what it did.
type fakeStore struct{ *rig }

func (s fakeStore) Put(o *env.PutObject) {
	s.done = append(s.done, "put "+o.Key+" "+string(o.Body[0]))
	o.Outcome = env.OutcomeDone
	o.Done(o)
}

func (s fakeStore) Compose(o *env.ComposeObject) { o.Done(o) }
func (s fakeStore) Get(o *env.GetObject)         { o.N, o.Outcome = len(o.Into), env.OutcomeDone; o.Done(o) }
func (s fakeStore) Delete(o *env.DeleteObject)   { o.Done(o) }
func (s fakeStore) List(o *env.ListObjects)      { o.Done(o) }
func (s fakeStore) Abandon()                     { s.rig.done = append(s.rig.done, "abandon") }

// fakeNetwork notes what is sent and given back.
type fakeNetwork struct {
	env.Network
	handler  env.ConnHandler
	sent     []string
	released int
	closed   []env.ConnID
}

func (n *fakeNetwork) Listen(o *env.Listen)        { n.handler = o.Handler }
func (n *fakeNetwork) Release(*env.Frame)          { n.released++ }
func (n *fakeNetwork) Send(o *env.Send)            { n.sent = append(n.sent, o.Message.(text).string) }
func (n *fakeNetwork) Close(id env.ConnID, _ bool) { n.closed = append(n.closed, id) }

type text struct{ string }

func (text) Encode([]byte) [][]byte { return nil }

// place is where the rig's broker is.
var place = Place{Node: 2, Zone: "b"}

func newRig(t *testing.T, plan ...string) *rig {
	r := &rig{t: t, counts: map[string]int64{}}
	p, err := ParsePlan(strings.Join(plan, "\n"))
	require.NoError(t, err)
	e := env.Env{Clock: clockOf{r}, Rand: r, Metrics: r, Log: r, Store: fakeStore{r}, Network: &r.network}
	r.Injector, err = NewInjector(p, Options{Place: place, Env: e, Process: r})
	require.NoError(t, err)
	r.Drive(deliverer{})
	r.Begin(Serving)
	return r
}

// clockOf is the undecorated clock.
type clockOf struct{ r *rig }

func (c clockOf) Now() env.Time     { return c.r.now }
func (c clockOf) WallMillis() int64 { return c.r.WallMillis() }
func (c clockOf) WakeAt(t env.Time) { c.r.WakeAt(t) }

// pass lets time pass in small steps, with a turn at each.
func (r *rig) pass(d time.Duration) {
	for range d / time.Millisecond {
		r.now += env.Time(time.Millisecond)
		r.Turn(nil)
	}
}

func (r *rig) put(key string) (outcome env.Outcome, err error) {
	ended := false
	r.Env().Store.Put(&env.PutObject{For: env.PurposeUpload, Key: key, Body: [][]byte{[]byte("body")}, Done: func(o *env.PutObject) {
		require.False(r.t, ended, "completed twice")
		ended, outcome, err = true, o.Outcome, o.Err
	}})
	for range 100 {
		r.Turn(nil)
	}
	require.True(r.t, ended)
	return outcome, err
}

func TestAFaultLastsForItsTime(t *testing.T) {
	r := newRig(t, "store refuse at=1s for=2s")
	for second, want := range []env.Outcome{env.OutcomeDone, env.OutcomeFailed, env.OutcomeFailed, env.OutcomeDone} {
		outcome, err := r.put("k")
		require.Equal(t, want, outcome, "second %d", second)
		if want == env.OutcomeFailed {
			require.Equal(t, env.CauseThrottled, env.CauseOf(err))
		}
		r.pass(time.Second)
	}
	require.EqualValues(t, 2, r.counts[`weir_faults_injected_total{effect="refuse",target="store"}`])
	require.Equal(t, []string{"a fault begins", "a fault ends"}, r.log)
}

// The share of operations that is struck is the rate, and each fault draws for itself.
func TestARateIsAShare(t *testing.T) {
	r := newRig(t, "store refuse rate=20%", "store lost-after rate=10%")
	outcomes := map[env.Outcome]int{}
	for range 10_000 {
		outcome, _ := r.put("k")
		outcomes[outcome]++
	}
	require.InDelta(t, 2000, outcomes[env.OutcomeFailed], 150)
	require.InDelta(t, 800, outcomes[env.OutcomeUnknown], 100)
	require.Len(t, r.done, outcomes[env.OutcomeDone]+outcomes[env.OutcomeUnknown], "what is lost after took effect, and what is refused did not")
}

func TestOnlyWhatConcernsTheBroker(t *testing.T) {
	for target, want := range map[string]int{
		"store": 1, "store@node:2": 1, "store@node:1": 0, "store@zone:b": 1, "store@zone:a": 0,
	} {
		r := newRig(t, target+" refuse")
		require.Equal(t, want, r.Faults(), target)
		outcome, _ := r.put("k")
		require.Equal(t, want == 1, outcome == env.OutcomeFailed, target)
	}
}

func TestLostAndLateWrites(t *testing.T) {
	before := newRig(t, "store lost-before")
	outcome, err := before.put("k")
	require.Equal(t, env.OutcomeUnknown, outcome)
	require.Equal(t, env.CauseUnreachable, env.CauseOf(err))
	before.pass(lateMax)
	require.Empty(t, before.done)

	late := newRig(t, "store late for=1ms")
	body := []byte("body")
	late.Env().Store.Put(&env.PutObject{Key: "k", Body: [][]byte{body}, Done: func(*env.PutObject) { copy(body, "gone") }})
	late.pass(lateMax)
	require.Equal(t, []string{"put k body"}, late.done, "it has a copy of what was only lent")
}

// What is held back ends with the store: a shutdown does not wait for it.
func TestAbandonedStore(t *testing.T) {
	r := newRig(t, "store stall by=1h")
	ended := 0
	r.Env().Store.Put(&env.PutObject{Key: "k", Body: [][]byte{[]byte("body")}, Done: func(*env.PutObject) { ended++ }})
	r.pass(time.Second)
	require.Zero(t, ended)
	r.Env().Store.(env.Abandoner).Abandon()
	r.Turn(nil)
	require.Equal(t, 1, ended)
	r.pass(time.Second)
	_, err := r.put("later")
	require.NoError(t, err)
	require.Equal(t, 1, ended)
	require.Contains(t, r.done, "abandon")
}

func TestNarrowLinksCarryOneBodyAfterTheOther(t *testing.T) {
	r := newRig(t, "store uplink bytes=4")
	var ended []env.Time
	for range 3 {
		r.Env().Store.Put(&env.PutObject{Key: "k", Body: [][]byte{[]byte("body")}, Done: func(*env.PutObject) { ended = append(ended, r.now) }})
	}
	r.pass(4 * time.Second)
	require.Equal(t, []env.Time{1e9, 2e9, 3e9}, ended)
}

func TestProcessFaults(t *testing.T) {
	r := newRig(t, "nodes pause at=1s for=3s", "node:2 kill at=2s when=put", "nodes stop at=3s", "node:1 kill", "zone:b kill at=4s")
	r.pass(2500 * time.Millisecond)
	require.Equal(t, []string{"pause 3s"}, r.done)
	_, err := r.put("k")
	require.NoError(t, err)
	r.pass(2 * time.Second)
	require.Equal(t, []string{"pause 3s", "put k body", "kill", "stop", "kill"}, r.done)
}

func TestClockFaults(t *testing.T) {
	r := newRig(t, "clock step at=1s by=-1h", "clock drift at=1s for=10s by=100ms")
	c := r.Env().Clock
	require.Equal(t, r.now, c.Now())
	r.pass(3 * time.Second)
	require.Equal(t, r.now.Add(200*time.Millisecond), c.Now())
	require.Equal(t, r.WallMillisReal()-3_600_000, c.WallMillis())
	c.WakeAt(c.Now().Add(1100 * time.Millisecond))
	require.Equal(t, r.now.Add(time.Second), r.wake, "a fast clock is woken early")
	r.pass(20 * time.Second)
	require.Equal(t, r.now.Add(time.Second), c.Now(), "what was gained stays")
}

// The core and what is held back share one wake: neither loses its own.
func TestWakesAreShared(t *testing.T) {
	r := newRig(t, "store stall by=1s")
	r.Turn(nil) // the fault begins
	r.Env().Clock.WakeAt(r.now.Add(5 * time.Second))
	r.Env().Store.Put(&env.PutObject{Key: "k", Body: [][]byte{[]byte("body")}, Done: func(*env.PutObject) {}})
	r.Turn(nil)
	require.Equal(t, env.Time(time.Second), r.wake)
	r.now = r.wake
	r.Turn(nil)
	require.Equal(t, env.Time(5*time.Second), r.wake)
	r.now = r.wake
	r.wake = 0
	r.Turn(nil)
	require.Zero(t, r.wake, "that turn was the one that was asked for")
}

// WallMillisReal is the undecorated wall clock.
func (r *rig) WallMillisReal() int64 { return int64(r.now) / 1e6 }

// heard notes what a handler hears.
type heard struct{ said []string }

func (h *heard) Opened(id env.ConnID, _ env.ConnInfo) {
	h.said = append(h.said, fmt.Sprint("opened ", id))
}

func (h *heard) Closed(id env.ConnID, _ error) { h.said = append(h.said, fmt.Sprint("closed ", id)) }

func (h *heard) Received(id env.ConnID, message any, _ *env.Frame) {
	h.said = append(h.said, fmt.Sprint(message, " ", id))
}

// Other brokers are no clients: what cuts clients off leaves their listener as it is.
func TestOtherBrokersAreNoClients(t *testing.T) {
	r := newRig(t, "link:clients<->nodes cut")
	r.options.Peers = "CONTROLLER"
	h := &heard{}
	r.Env().Network.Listen(&env.Listen{Name: "CONTROLLER", Handler: h})
	r.network.handler.Opened(1, env.ConnInfo{})
	r.network.handler.Received(1, "from a broker", &env.Frame{})
	r.Env().Network.Send(&env.Send{Conn: 1, Message: text{"to a broker"}})
	require.Equal(t, []string{"opened 1", "from a broker 1"}, h.said)
	require.Equal(t, []string{"to a broker"}, r.network.sent)
}

// What a cut holds back arrives once it is over, in order; a connection that ends meanwhile loses it, and gives everything back.
func TestCutLinks(t *testing.T) {
	r := newRig(t, "link:*<->node:2 cut at=1s for=1s", "link:nodes->clients stall at=5s for=1s", "link:clients<->nodes reset at=7s")
	h := &heard{}
	n := r.Env().Network
	n.Listen(&env.Listen{Handler: h})
	in := r.Injector.Env().Network.(interface{ blocked(bool) *planned })
	require.Nil(t, in.blocked(true))
	for id := env.ConnID(1); id <= 2; id++ {
		r.network.handler.Opened(id, env.ConnInfo{})
	}
	r.pass(1500 * time.Millisecond)
	gone := 0
	for id := env.ConnID(1); id <= 2; id++ {
		r.network.handler.Received(id, "first", &env.Frame{})
		r.network.handler.Received(id, "second", &env.Frame{})
		n.Send(&env.Send{Conn: id, Message: text{fmt.Sprint("answer ", id)}, Done: func(o *env.Send) {
			require.ErrorIs(t, o.Err, env.ErrConnGone)
			gone++
		}})
	}
	require.Equal(t, []string{"opened 1", "opened 2"}, h.said)
	require.Empty(t, r.network.sent)
	r.network.handler.Closed(2, errors.New("reset"))
	r.pass(time.Second)
	require.Equal(t, []string{"opened 1", "opened 2", "closed 2", "first 1", "second 1"}, h.said)
	require.Equal(t, []string{"answer 1"}, r.network.sent)
	require.Equal(t, 2, r.network.released)
	require.Equal(t, 1, gone)

	r.pass(3 * time.Second)
	r.network.handler.Received(1, "third", &env.Frame{})
	n.Send(&env.Send{Conn: 1, Message: text{"late"}})
	require.Equal(t, "third 1", h.said[len(h.said)-1], "only the other way is struck")
	require.Len(t, r.network.sent, 1)
	r.pass(time.Second)
	require.Equal(t, []string{"answer 1", "late"}, r.network.sent)
	r.pass(2 * time.Second)
	require.Equal(t, []env.ConnID{1}, r.network.closed)
}

func TestWhatABrokerCannotDoToItself(t *testing.T) {
	for line, why := range map[string]string{
		"nodes crash":                      "power is not its to cut",
		"nodes clone":                      "one machine",
		"nodes kill when=wal":              "no such moment",
		"nodes pause":                      "it needs for",
		"disk:wal shear":                   "simulated disk",
		"disk:meta lose":                   "simulated disk",
		"disk:* restore by=1s":             "simulated disk",
		"store join":                       "not seen here",
		"link:client:1->nodes cut":         "have no numbers",
		"link:node:1->node:2 cut":          "which broker",
		"link:zone:a<->zone:b cut":         "which broker",
		"link:clients->nodes slow times=2": "how long a real link takes",
	} {
		p, err := ParsePlan("store refuse\n" + line)
		require.NoError(t, err)
		_, err = NewInjector(p, Options{Env: env.Env{Metrics: newRig(t), Clock: newRig(t)}, Process: newRig(t)})
		require.ErrorContains(t, err, why, line)
		require.ErrorContains(t, err, line)
	}
	_, err := NewInjector(Plan{{Effect: Kill}}, Options{})
	require.ErrorContains(t, err, "its process is not its own")
}
