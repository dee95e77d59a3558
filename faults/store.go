package faults

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/core/env"
)

// lateMax bounds how long after its answer was lost a write arrives.
const lateMax = 10 * time.Second

// store decorates an env.ObjectStore.
type store struct {
	*injector
	store     env.ObjectStore
	links     [2]env.Time // until when the narrow up- and downlink are busy
	held      []*heldBack
	abandoned bool
}

// injector lets the decorator have a field of its interface's name.
type injector = Injector

// heldBack is a completion that comes late.
type heldBack struct {
	env.Event
	store *store
	over  bool
}

// Deliver implements env.Event: once.
func (h *heldBack) Deliver() {
	if h.over {
		return
	}
	h.over = true
	h.store.held = slices.DeleteFunc(h.store.held, func(o *heldBack) bool { return o == h })
	h.Event.Deliver()
}

// struck draws whether an operation is struck by an effect.
func (s *store) struck(effect Effect) *planned {
	return s.strikes(effect, func(t *Target) bool { return t.Kind == Store && t.At.Has(s.options.Place) })
}

// refused draws whether an operation fails, and how: with 403 if denied is struck, or with 503.
func (s *store) refused(denied Effect, what string) error {
	switch {
	case s.struck(denied) != nil:
		return &env.StoreError{Cause: env.CauseDenied, Err: fmt.Errorf("injected: %s: 403 AccessDenied", what)}
	case s.struck(Refuse) != nil:
		return &env.StoreError{Cause: env.CauseThrottled, Err: fmt.Errorf("injected: %s: 503 SlowDown", what)}
	}
	return nil
}

func lost(what string) error {
	return &env.StoreError{Cause: env.CauseUnreachable, Err: fmt.Errorf("injected: %s: the answer was lost", what)}
}

// ended delivers an operation that began, and moved bytes in one direction.
func (s *store) ended(began env.Time, direction Effect, bytes int, e env.Event) {
	more := s.delay(s.clock.Now().Sub(began), s.struck(Slow), s.struck(Stall)) + s.narrow(direction, bytes)
	if more <= 0 || s.abandoned {
		e.Deliver()
		return
	}
	h := &heldBack{Event: e, store: s}
	s.held = append(s.held, h)
	s.after(more, h)
}

// narrow is how long bytes take over a link of which a fault leaves little: one body after the other.
func (s *store) narrow(direction Effect, bytes int) time.Duration {
	if bytes == 0 {
		return 0
	}
	f := s.struck(direction)
	if f == nil {
		return 0
	}
	busy := &s.links[0]
	if direction == Downlink {
		busy = &s.links[1]
	}
	now := s.clock.Now()
	seconds, rest := int64(bytes)/f.Bytes, int64(bytes)%f.Bytes
	*busy = max(*busy, now).Add(time.Duration(seconds)*time.Second + time.Duration(rest)*time.Second/time.Duration(f.Bytes))
	return busy.Sub(now)
}

// Put implements env.ObjectStore.
func (s *store) Put(o *env.PutObject) {
	what := "put " + o.Key
	if err := s.refused(DenyPut, what); err != nil {
		o.Outcome, o.Err = env.OutcomeFailed, err
		s.later(o)
		return
	}
	late := s.struck(Late)
	if late != nil {
		s.comesLate(late, &env.PutObject{For: o.For, Key: o.Key, Body: [][]byte{slices.Concat(o.Body...)}, Done: func(*env.PutObject) {}})
	}
	if late != nil || s.struck(LostBefore) != nil {
		o.Outcome, o.Err = env.OutcomeUnknown, lost(what)
		s.later(o)
		return
	}
	done, began, isLost := o.Done, s.clock.Now(), s.struck(LostAfter) != nil
	o.Done = func(o *env.PutObject) {
		o.Done = done
		if o.Outcome == env.OutcomeDone {
			s.put()
		}
		if isLost {
			o.Outcome, o.Err = env.OutcomeUnknown, lost(what)
		}
		s.ended(began, Uplink, bytesOf(o.Body), o)
	}
	s.store.Put(o)
}

// Compose implements env.ObjectStore.
func (s *store) Compose(o *env.ComposeObject) {
	what := "compose " + o.Key
	if err := s.refused(DenyPut, what); err != nil {
		o.Outcome, o.Err = env.OutcomeFailed, err
		s.later(o)
		return
	}
	if s.struck(LostBefore) != nil {
		o.Outcome, o.Err = env.OutcomeUnknown, lost(what)
		s.later(o)
		return
	}
	done, began, isLost := o.Done, s.clock.Now(), s.struck(LostAfter) != nil
	o.Done = func(o *env.ComposeObject) {
		o.Done = done
		if o.Outcome == env.OutcomeDone {
			s.put()
		}
		if isLost {
			o.Outcome, o.Err = env.OutcomeUnknown, lost(what)
		}
		sent := 0
		for i := range o.Pieces {
			sent += len(o.Pieces[i].Data)
		}
		s.ended(began, Uplink, sent, o)
	}
	s.store.Compose(o)
}

func bytesOf(body [][]byte) (n int) {
	for _, piece := range body {
		n += len(piece)
	}
	return n
}

// comesLate submits a write whose answer nobody waits for.
func (s *store) comesLate(f *planned, e env.Event) {
	s.after(time.Duration(s.random(f)%uint64(lateMax)), call(func() {
		switch o := e.(type) {
		case *env.PutObject:
			s.store.Put(o)
		case *env.DeleteObject:
			s.store.Delete(o)
		}
	}))
}

// Delete implements env.ObjectStore.
func (s *store) Delete(o *env.DeleteObject) {
	what := "delete " + o.Key
	if s.struck(Refuse) != nil {
		o.Outcome, o.Err = env.OutcomeFailed, &env.StoreError{Cause: env.CauseThrottled, Err: fmt.Errorf("injected: %s: 503 SlowDown", what)}
		s.later(o)
		return
	}
	late := s.struck(Late)
	if late != nil {
		s.comesLate(late, &env.DeleteObject{For: o.For, Key: o.Key, Done: func(*env.DeleteObject) {}})
	}
	if late != nil || s.struck(LostBefore) != nil {
		o.Outcome, o.Err = env.OutcomeUnknown, lost(what)
		s.later(o)
		return
	}
	done, began, isLost := o.Done, s.clock.Now(), s.struck(LostAfter) != nil
	o.Done = func(o *env.DeleteObject) {
		o.Done = done
		if isLost {
			o.Outcome, o.Err = env.OutcomeUnknown, lost(what)
		}
		s.ended(began, Uplink, 0, o)
	}
	s.store.Delete(o)
}

// Get implements env.ObjectStore.
func (s *store) Get(o *env.GetObject) {
	if err := s.refused(DenyGet, "get "+o.Key); err != nil {
		o.N, o.Outcome, o.Err = 0, env.OutcomeFailed, err
		s.later(o)
		return
	}
	done, began := o.Done, s.clock.Now()
	o.Done = func(o *env.GetObject) {
		o.Done = done
		if o.Outcome == env.OutcomeDone && o.N > 0 {
			s.spoil(o)
		}
		s.ended(began, Downlink, o.N, o)
	}
	s.store.Get(o)
}

// spoil ends a read early, or flips a bit of it.
func (s *store) spoil(o *env.GetObject) {
	if f := s.struck(Corrupt); f != nil {
		draw := s.random(f)
		o.Room(int(draw % uint64(o.N)))[0] ^= 1 << (draw >> 32 % 8)
	}
	if f := s.struck(Short); f != nil {
		o.N = int(s.random(f) % uint64(o.N))
	}
}

// List implements env.ObjectStore.
func (s *store) List(o *env.ListObjects) {
	if s.struck(Refuse) != nil {
		o.Objects, o.More, o.Outcome = nil, false, env.OutcomeFailed
		o.Err = &env.StoreError{Cause: env.CauseThrottled, Err: errors.New("injected: list: 503 SlowDown")}
		s.later(o)
		return
	}
	done, began := o.Done, s.clock.Now()
	o.Done = func(o *env.ListObjects) {
		o.Done = done
		s.ended(began, Downlink, 0, o)
	}
	s.store.List(o)
}

// Abandon implements env.Abandoner, also for what is held back here.
func (s *store) Abandon() {
	s.abandoned = true
	for _, h := range s.held {
		s.later(h)
	}
	if a, ok := s.store.(env.Abandoner); ok {
		a.Abandon()
	}
}
