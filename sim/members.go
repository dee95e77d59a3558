package sim

import "weir/sim/event"

// changeMembers arranges what the plan says of machines that come late or go for good, counted from now.
func (w *world) changeMembers() {
	for i, spec := range w.plan.Brokers {
		if b := w.brokers[i]; spec.Start > 0 {
			w.queue.Call(spec.Start, b.join)
		}
	}
	if w.plan.Config.LostZone > 0 {
		w.queue.Call(w.plan.Config.LostAt, w.loseZone)
	}
}

// join starts a machine for the first time.
func (b *broker) join() {
	if b.gone {
		return
	}
	b.queue.Hit("world: a broker joined")
	b.wanted = true
	b.boot()
}

// loseZone ends the machines of a zone for good, by a power failure.
func (w *world) loseZone() {
	w.queue.Hit("world: a zone was lost for good")
	w.queue.Note(event.KindFault, 0, event.SumString("lost-zone"), uint64(w.plan.Config.LostZone), 0)
	for _, b := range w.brokers {
		if b.zone == w.plan.Config.LostZone {
			b.gone, b.wanted = true, false
			b.crash(true)
		}
	}
}
