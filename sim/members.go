package sim

import (
	"slices"
	"time"

	"weir/sim/event"
	"weir/sim/plan"
)

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

// How a zone is lost.
const (
	lostPower = iota
	lostIsolated
	lostDeaf
)

// deafMarkers is how many more markers a transaction may leave in a partition if its coordinator may hear nobody for good: it
// does not hear that they are written, and writes those of the first generation again, until its epoch is known to have ended.
const deafMarkers = 100

// loseZone loses the machines of a zone for good, once all voters vote: before, those that are left may be no majority.
func (w *world) loseZone() {
	c := &w.plan.Config
	switch {
	case w.healed:
		return
	case !w.allVote():
		w.queue.Call(lossRetry, w.loseZone)
		return
	}
	w.queue.Hit([...]string{"world: a zone was lost for good", "world: a zone was isolated for good", "world: a zone went deaf for good"}[c.LostHow])
	w.queue.Note(event.KindFault, 0, event.SumString("lost-zone"), uint64(c.LostZone), uint64(c.LostHow))
	for _, b := range w.brokers {
		if b.zone == c.LostZone {
			b.gone, b.wanted = true, false
		}
	}
	w.keepLost()
}

// lossRetry is after how long the loss of a zone is tried again.
const lossRetry = 100 * time.Millisecond

// allVote reports whether the leader of the quorum knows all voters of the plan as such.
func (w *world) allVote() bool {
	planned := min(len(w.brokers), w.voters())
	return slices.ContainsFunc(w.brokers, func(b *broker) bool {
		n, ok := coreOf(b.machine.Node())
		if !ok || !b.machine.Running() {
			return false
		}
		voters, leads := n.LeadsQuorum()
		return leads && voters == planned
	})
}

// keepLost sees that what is lost stays so, whatever was healed.
func (w *world) keepLost() {
	c := &w.plan.Config
	for _, b := range w.brokers {
		f := plan.Strike{Zone: c.LostZone}
		switch {
		case !b.gone:
		case c.LostHow == lostPower:
			b.crash(true)
		case c.LostHow == lostIsolated:
			f.Kind = "isolate"
			b.set(&f, true)
		case c.LostHow == lostDeaf:
			f.Kind = "peer-cut-in"
			b.set(&f, true)
		}
	}
}

// zombie reports whether the cluster has lost a machine that runs on: its supervisor starts it again.
func (b *broker) zombie() bool { return b.gone && b.plan.Config.LostHow != lostPower }

// endZombies ends the machines that the cluster has lost and that run on: they would never come to rest.
func (w *world) endZombies() {
	for _, b := range w.brokers {
		if b.gone {
			b.crash(true)
		}
	}
}
