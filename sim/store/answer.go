package store

import (
	"fmt"
	"slices"

	"weir/core/env"
	"weir/sim/event"
)

// answer gives the node the result, or the lack of one.
func (r *request) answer(s *Store) {
	lost := r.fate.lost()
	if lost || r.fate == fateRefuse || r.fate == fateDeny {
		s.Injected++
	}
	switch e := r.event.(type) {
	case *env.PutObject:
		e.Outcome, e.Err = verdict(r.fate, e.Outcome, "put "+e.Key)
		r.view.keep(e, r)
		if lost && !r.done {
			r.detach(e)
		}
	case *env.ComposeObject:
		e.Outcome, e.Err = verdict(r.fate, e.Outcome, "compose "+e.Key)
		if lost && !r.done {
			copied := copyOf(e)
			s.deliver(r, e)
			r.event = copied
			return
		}
	case *env.DeleteObject:
		e.Outcome, e.Err = verdict(r.fate, env.OutcomeDone, "delete "+e.Key)
		if lost {
			s.queue.Hit("store: the answer of a DELETE was lost")
		}
		if lost && !r.done {
			r.event = &env.DeleteObject{Key: e.Key}
		}
		s.deliver(r, e)
		return
	case *env.GetObject:
		if r.fate.failed() || r.fate == fateTimedOut {
			e.N = 0
			e.Outcome, e.Err = verdict(r.fate, env.OutcomeFailed, "get "+e.Key)
		}
	case *env.ListObjects:
		if r.fate.failed() || r.fate == fateTimedOut {
			e.Objects = nil
			e.Outcome, e.Err = verdict(r.fate, env.OutcomeFailed, "list")
		}
	}
	if p, ok := r.event.(*env.PutObject); ok && p.Done == nil {
		return // detached: delivered already
	}
	s.deliver(r, r.event)
}

// detach gives a lent PUT back, with a copy of its body left to arrive later.
func (r *request) detach(e *env.PutObject) {
	copied := &env.PutObject{Key: e.Key, Body: [][]byte{slices.Concat(e.Body...)}}
	r.view.store.deliver(r, e)
	r.event = copied
}

func (s *Store) deliver(r *request, e env.Event) {
	s.queue.Note(event.KindStore, r.view.box.Machine, 3, uint64(r.fate), resultOf(e))
	r.view.box.Deliver(e)
}

func resultOf(e env.Event) uint64 {
	switch e := e.(type) {
	case *env.PutObject:
		return uint64(e.Outcome)
	case *env.ComposeObject:
		return uint64(e.Outcome)
	case *env.GetObject:
		return uint64(e.Outcome) | sumOf(e)<<8
	case *env.ListObjects:
		return uint64(e.Outcome) | uint64(len(e.Objects))<<8
	}
	return 0
}

// verdict is how an operation ends by its fate, or by what the store made of it.
func verdict(f fate, done env.Outcome, what string) (env.Outcome, error) {
	fail := func(outcome env.Outcome, cause env.StoreCause, words string) (env.Outcome, error) {
		return outcome, &env.StoreError{Cause: cause, Err: fmt.Errorf("%w: %s: %s", errStore, what, words)}
	}
	switch f {
	case fateRefuse:
		return fail(env.OutcomeFailed, env.CauseThrottled, "503 slow down")
	case fateTimedOut:
		return fail(env.OutcomeFailed, env.CauseStalled, "nothing moved")
	case fateDeny:
		return fail(env.OutcomeFailed, env.CauseDenied, "403 access denied")
	case fateEnded:
		return fail(env.OutcomeFailed, env.CauseEnded, "the process ends")
	case fateJoin:
		return fail(env.OutcomeUnknown, env.CauseBroken, "500 internal error")
	case fateLostBefore, fateLostAfter, fateLate:
		return fail(env.OutcomeUnknown, env.CauseUnreachable, "answer lost")
	}
	if done == env.OutcomeRefused {
		return done, fmt.Errorf("%w: %s: key exists", errStore, what)
	}
	return done, nil
}
