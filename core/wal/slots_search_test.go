package wal

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/core/env"
)

// schedule is one path through the choices of a run; next moves on to the one after it.
type schedule struct {
	taken, of []int
	at        int
}

// choose takes one of n at a point of the run.
func (s *schedule) choose(n int) int {
	if s.at == len(s.taken) {
		s.taken, s.of = append(s.taken, 0), append(s.of, n)
	}
	s.at++
	return s.taken[s.at-1]
}

// next makes the schedule the next one; false: that was the last.
func (s *schedule) next() bool {
	for len(s.taken) > 0 {
		last := len(s.taken) - 1
		if s.taken[last]++; s.taken[last] < s.of[last] {
			s.at = 0
			return true
		}
		s.taken, s.of = s.taken[:last], s.of[:last]
	}
	return false
}

// A writer with two slots on their way and a recoverer, in every order in which the store may answer them, with one create of
// the writer's whose answer is lost after its effect, or before it comes late: what is acknowledged is what
// the recoverer finds, whenever it was acknowledged; what it finds has no hole; and the writer learns that it is fenced.
func TestEveryOrderOfCreatesAndSeal(t *testing.T) {
	runs := 0
	for s := (&schedule{}); ; runs++ {
		searchOnce(t, s)
		if !s.next() {
			break
		}
	}
	t.Logf("%d orders", runs)
	require.Greater(t, runs, 1000)
}

func searchOnce(t *testing.T, s *schedule) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	for range 2 {
		w.turn(func() { j.append(7500) })
		w.pass(300 * time.Millisecond)
	}
	for i := b.find("compute"); i >= 0; i = b.find("compute") {
		b.finish(i)
	}
	r := b.broker()
	got := r.beginRecovery(0)
	faults := 1
	for steps := 0; got.sealed == nil && got.err == nil; steps++ {
		require.Less(t, steps, 1000)
		if !b.searchStep(s, w, &faults) {
			w.pass(50 * time.Millisecond)
			r.pass(50 * time.Millisecond)
		}
	}
	require.NoError(t, got.err)
	w.turn(func() { j.append(7500) })
	for n := 0; j.failure == nil; n++ {
		require.Less(t, n, 100, "the writer is never fenced")
		for len(b.pending) > 0 {
			b.finish(0)
		}
		w.pass(100 * time.Millisecond)
	}
	require.ErrorContains(t, j.failure, "fenced")
	require.LessOrEqual(t, j.durable, len(got.entries))
	for i, e := range got.entries {
		require.Equal(t, j.accepted[i].BaseOffset, e.BaseOffset)
	}
}

// contested reports whether an operation is of a slot that both want to create.
func contested(what string) bool {
	return strings.HasSuffix(what, slotName(1)) || strings.HasSuffix(what, slotName(2))
}

// searchStep ends one operation of those that matter, as the schedule says. The others end at once, since their order
// makes no difference.
func (b *bucket) searchStep(s *schedule, writer *broker, faults *int) bool {
	for i := 0; i < len(b.pending); {
		op := b.pending[i]
		if !contested(op.what) {
			b.finish(i)
			i = 0
			continue
		}
		i++
	}
	if len(b.pending) == 0 {
		return false
	}
	i := s.choose(len(b.pending))
	op := b.pending[i]
	fate := 0
	if *faults > 0 && strings.HasPrefix(op.what, "put ") && op.broker == writer {
		fate = s.choose(3)
	}
	if fate > 0 {
		*faults--
	}
	switch fate {
	case 0:
		b.finish(i)
	case 1:
		b.finishAs(i, true, env.OutcomeUnknown)
	case 2:
		late := *op
		late.event, late.end = event(func() {}), func(env.Outcome) {}
		b.finishAs(i, false, env.OutcomeUnknown)
		b.pending = append(b.pending, &late)
	}
	return true
}
