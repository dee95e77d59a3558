package sim

import (
	"weir/sim/event"
	"weir/sim/plan"
)

// Effect is how often a kind of fault was injected, and how often something was seen from its beginning until two sessions after its
// end. Of faults at the same time each gets what was seen.
type Effect struct {
	Injected  int64
	Retries   int64 // clients tried again
	Fences    int64 // a broker was fenced, or lost its lease
	Failovers int64 // a broker's log was recovered by another
	Moves     int64 // a partition was handed over
	None      int64 // none of these
}

// tally is how often each was seen so far.
type tally struct{ retries, fences, failovers, moves int64 }

// effects watches faults of a cluster.
type effects struct {
	of   map[string]*Effect // by kind
	open []watched
	next event.Time // the earliest end of those that are open
}

// watched is a fault whose effects are still to be seen.
type watched struct {
	effect *Effect
	until  event.Time
	before tally
}

// begin watches a fault that begins now.
func (e *effects) begin(w *world, f *plan.Strike) {
	if w.plan.Config.Session == 0 {
		return
	}
	if e.of == nil {
		e.of = map[string]*Effect{}
	}
	effect := e.of[f.Kind]
	if effect == nil {
		effect = &Effect{}
		e.of[f.Kind] = effect
	}
	effect.Injected++
	until := w.queue.Now().Add(f.For + watchSessions*w.plan.Config.Session)
	if len(e.open) == 0 || until < e.next {
		e.next = until
	}
	e.open = append(e.open, watched{effect, until, w.tally()})
}

// watchSessions is for how many sessions after its end a fault is watched.
const watchSessions = 2

// look ends the watch of faults whose time is over. It is called after each event, and changes nothing in the world.
func (e *effects) look(w *world) {
	if len(e.open) == 0 || w.queue.Now() < e.next {
		return
	}
	now := w.tally()
	open := e.open[:0]
	for _, f := range e.open {
		if w.queue.Now() >= f.until {
			f.effect.see(f.before, now)
			continue
		}
		if len(open) == 0 || f.until < e.next {
			e.next = f.until
		}
		open = append(open, f)
	}
	e.open = open
}

// end ends all watches.
func (e *effects) end(w *world) {
	now := w.tally()
	for _, f := range e.open {
		f.effect.see(f.before, now)
	}
	e.open = nil
}

// Add adds the counts of another run.
func (e *Effect) Add(o *Effect) {
	e.Injected += o.Injected
	e.Retries += o.Retries
	e.Fences += o.Fences
	e.Failovers += o.Failovers
	e.Moves += o.Moves
	e.None += o.None
}

// see counts what was seen between two tallies.
func (e *Effect) see(before, after tally) {
	seen := false
	for _, kind := range []struct {
		n    *int64
		more bool
	}{
		{&e.Retries, after.retries > before.retries},
		{&e.Fences, after.fences > before.fences},
		{&e.Failovers, after.failovers > before.failovers},
		{&e.Moves, after.moves > before.moves},
	} {
		if kind.more {
			*kind.n++
			seen = true
		}
	}
	if !seen {
		e.None++
	}
}

// tally counts what was seen so far, of incarnations that ended and of those that run.
func (w *world) tally() tally {
	t := tally{retries: w.cluster.Resends}
	t.count(w.queue.Marks)
	for _, b := range w.brokers {
		if n, ok := coreOf(b.machine.Node()); ok && b.machine.Running() {
			for _, m := range n.Telemetry().Marks() {
				t.mark(m.Name, m.Hits)
			}
		}
	}
	return t
}

func (t *tally) count(marks map[string]int64) {
	for _, name := range []string{fencedMark, lapsedMark, recoveredMark, movedMark} {
		t.mark(name, marks[name])
	}
}

const (
	fencedMark    = "controller: a broker was fenced"
	lapsedMark    = "node: the lease lapsed"
	recoveredMark = "node: another broker's log was recovered"
	movedMark     = "node: a partition was handed over"
)

func (t *tally) mark(name string, hits int64) {
	switch name {
	case fencedMark, lapsedMark:
		t.fences += hits
	case recoveredMark:
		t.failovers += hits
	case movedMark:
		t.moves += hits
	}
}
