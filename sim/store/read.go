package store

import (
	"fmt"

	"weir/core/env"
	"weir/sim/event"
)

func (r *request) read(s *Store, g *env.GetObject) {
	if r.dead {
		return
	}
	object, ok := s.bodies[g.Key]
	g.N, g.Size = 0, 0
	if !ok {
		g.Outcome, g.Err = env.OutcomeRefused, fmt.Errorf("%w: get %s: no such object", errStore, g.Key)
		return
	}
	g.Outcome, g.Err, g.Size = env.OutcomeDone, nil, int64(len(object.Body))
	if g.Offset < g.Size {
		g.N = scatter(g, object.Body[g.Offset:])
	}
	s.Account.Moved(g.For, 0, int64(g.N))
	if g.N > 0 && r.fate == fateShort {
		s.Injected++
		s.queue.Hit("store: a read ended early")
		g.N = int(r.draw % uint64(g.N))
	}
	if g.N > 0 && r.fate == fateCorrupt {
		s.Injected++
		s.queue.Hit("store: a read carried flipped bits")
		g.Room(int(r.draw % uint64(g.N)))[0] ^= byte(1 << (r.draw >> 32 % 8))
	}
}

// scatter copies a body into the pieces of memory of a read.
func scatter(g *env.GetObject, body []byte) (n int) {
	for room := g.Room(0); len(room) > 0 && n < len(body); room = g.Room(n) {
		n += copy(room, body[n:])
	}
	return n
}

// sumOf is the sum of what a read brought.
func sumOf(g *env.GetObject) uint64 {
	room := g.Room(0)
	room = room[:min(len(room), g.N)]
	sum := event.Sum(room)
	for n := len(room); n < g.N; n += len(room) {
		room = g.Room(n)
		room = room[:min(len(room), g.N-n)]
		sum = sum*31 + event.Sum(room)
	}
	return sum
}
