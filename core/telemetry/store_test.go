package telemetry_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
	"weir/core/telemetry"
)

// hands is a clock that a test moves.
type hands struct{ now env.Time }

func (h *hands) Now() env.Time     { return h.now }
func (h *hands) WallMillis() int64 { return int64(h.now)/1e6 + 5000 }
func (h *hands) WakeAt(env.Time)   {}

// answering is a store that completes each operation at once as it is told.
type answering struct {
	outcome env.Outcome
	err     error
}

func (a *answering) Put(o *env.PutObject)         { o.Outcome, o.Err = a.outcome, a.err; o.Done(o) }
func (a *answering) Get(o *env.GetObject)         { o.Outcome, o.Err = a.outcome, a.err; o.Done(o) }
func (a *answering) Delete(o *env.DeleteObject)   { o.Outcome, o.Err = a.outcome, a.err; o.Done(o) }
func (a *answering) Compose(o *env.ComposeObject) { o.Outcome, o.Err = a.outcome, a.err; o.Done(o) }
func (a *answering) List(o *env.ListObjects)      { o.Outcome, o.Err = a.outcome, a.err; o.Done(o) }

// register keeps the values of metrics.
type register map[string]int64

type entry struct {
	register
	name string
}

func (r register) Counter(name, _ string) env.Counter     { return entry{r, name} }
func (r register) Gauge(name, _ string) env.Gauge         { return entry{r, name} }
func (r register) Histogram(name, _ string) env.Histogram { return entry{r, name} }
func (e entry) Add(n int64)                               { e.register[e.name] += n }
func (e entry) Set(n int64)                               { e.register[e.name] = n }
func (e entry) Observe(int64)                             {}

func TestARefusingStoreIsToldOfAtOnce(t *testing.T) {
	p, clock, store, counts := &pages{}, &hands{}, &answering{}, register{}
	w := telemetry.WatchStore(store, clock, telemetry.New(p, counts))
	heard := 0
	put := func() { w.Put(&env.PutObject{Key: "k", Done: func(*env.PutObject) { heard++ }}) }
	store.outcome = env.OutcomeFailed
	store.err = &env.StoreError{Cause: env.CauseDenied, Err: errors.New("put k: 403 AccessDenied"), Advice: "check the credentials"}
	for range 36 {
		put()
		clock.now += env.Time(time.Second)
	}
	w.Get(&env.GetObject{Key: "k", Done: func(*env.GetObject) {}})
	store.outcome, store.err = env.OutcomeDone, nil
	put()
	put()
	const says = "WARN the object store fails; what needs it waits and is tried again"
	require.Equal(t, []string{
		says + "[operation=put cause=denied for=0s error=put k: 403 AccessDenied; check the credentials]",
		says + "[operation=put cause=denied for=30s error=put k: 403 AccessDenied; check the credentials left_out=29]",
		says + "[operation=get cause=denied for=0s error=put k: 403 AccessDenied; check the credentials]",
		"INFO the object store answers again[operation=put after=36s]",
	}, p.lines)
	require.Equal(t, 38, heard)
	require.EqualValues(t, 36, counts["weir_store_put_failures_denied_total"])
	require.EqualValues(t, 1, counts["weir_store_get_failures_denied_total"])
	require.EqualValues(t, 41, counts["weir_store_put_last_success_timestamp_seconds"])
}

func TestPassingWeatherIsToldOfOnceItLasts(t *testing.T) {
	p, clock, store := &pages{}, &hands{}, &answering{}
	w := telemetry.WatchStore(store, clock, telemetry.New(p, nil))
	list := func() {
		w.List(&env.ListObjects{Done: func(*env.ListObjects) {}})
		clock.now += env.Time(time.Second)
	}
	throttled := &env.StoreError{Cause: env.CauseThrottled, Err: errors.New("SlowDown")}
	for range 3 {
		store.outcome, store.err = env.OutcomeFailed, throttled
		for range 5 {
			list()
		}
		store.outcome, store.err = env.OutcomeDone, nil
		list()
	}
	require.Empty(t, p.lines)
	store.outcome, store.err = env.OutcomeFailed, throttled
	for range 6 {
		list()
	}
	require.Len(t, p.lines, 1)
	require.Contains(t, p.lines[0], "operation=list cause=throttled for=5s")
}
