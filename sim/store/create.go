package store

import (
	"fmt"
	"slices"

	"weir/core/env"
	"weir/sim/event"
	"weir/sim/latency"
)

func (v *view) Compose(c *env.ComposeObject) {
	checkKey(c.Key)
	v.store.Puts++
	sent := 0
	for i := range c.Pieces {
		if c.Pieces[i].Key != "" {
			checkKey(c.Pieces[i].Key)
		}
		sent += len(c.Pieces[i].Data)
	}
	r := v.submit(c, true)
	if r.fate == fateDone && v.store.strikes(v.faults().Join) {
		r.fate = fateJoin
	}
	if r.fate == fateDone && v.store.strikes(v.faults().DenyPut) {
		r.fate = fateDeny
	}
	if r.fate == fateDone && v.store.putInFlight(c.Key, r) && v.store.draws.PerMille(500) {
		r.fate = fateRefuse // 409: a conflicting request is in progress
	}
	v.schedule(r, &latency.StorePut, sent)
}

// compose puts pieces together; false: an object of them is not there.
func (s *Store) compose(pieces []env.Piece) (body []byte, whole bool) {
	for i := range pieces {
		p := &pieces[i]
		if p.Key == "" {
			body = append(body, p.Data...)
			continue
		}
		object, there := s.bodies[p.Key]
		if !there {
			return nil, false
		}
		if p.Offset < 0 || p.Bytes <= 0 || p.Offset+p.Bytes > int64(len(object.Body)) {
			panic(fmt.Sprintf("sim: a run of %d bytes at %d of object %s, which has %d", p.Bytes, p.Offset, p.Key, len(object.Body)))
		}
		body = append(body, object.Body[p.Offset:p.Offset+p.Bytes]...)
	}
	return body, true
}

// copyOf is an operation that may arrive after what it was lent is given back.
func copyOf(c *env.ComposeObject) *env.ComposeObject {
	copied := &env.ComposeObject{For: c.For, Key: c.Key, Pieces: slices.Clone(c.Pieces)}
	for i := range copied.Pieces {
		copied.Pieces[i].Data = slices.Clone(copied.Pieces[i].Data)
	}
	return copied
}

// create takes the effect of a request that creates an object; it is not whole if what it is made of is gone.
func (s *Store) create(r *request, key string, body []byte, whole bool) env.Outcome {
	_, exists := s.bodies[key]
	s.markPut(r, exists)
	s.queue.Note(event.KindStore, r.view.box.Machine, 1, event.SumString(key), uint64(r.fate))
	switch {
	case exists:
		return env.OutcomeRefused
	case !whole:
		s.queue.Hit("store: an object was to be composed of one that is gone")
		return env.OutcomeRefused
	}
	s.Stored += int64(len(body))
	s.insert(key, body)
	if s.OnPut != nil {
		s.OnPut(key)
	}
	return env.OutcomeDone
}

// creates is the key of the object that an operation creates, or empty.
func creates(e env.Event) string {
	switch e := e.(type) {
	case *env.PutObject:
		return e.Key
	case *env.ComposeObject:
		return e.Key
	}
	return ""
}

// markPut counts the PUTs that make stories.
func (s *Store) markPut(r *request, exists bool) {
	late := r.dead || r.fate == fateLate
	switch {
	case late && exists:
		s.queue.Hit("store: a PUT came after it was given up, and found its key taken")
	case late && r.dead:
		s.queue.Hit("store: a PUT came after its node had died")
	case late:
		s.queue.Hit("store: a PUT came after it was given up")
	case exists:
		s.queue.Hit("store: a PUT found its key taken")
	case r.fate == fateLostAfter:
		s.queue.Hit("store: a PUT took effect and its answer was lost")
	}
}
