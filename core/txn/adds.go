package txn

import (
	"weir/core/env"
	"weir/core/task"
	"weir/core/wire"
)

// pendingAdd is a partition, or several, that a broker adds to a transaction for a producer.
type pendingAdd struct {
	request  *AddRequest
	done     func(wire.Code)
	deadline env.Time // until when it waits for the transaction before to complete
	parked   bool     // it does
	timer    task.Timer
}

// addInOrder adds partitions once the adds before it are answered.
func (m *Machine) addInOrder(q *AddRequest, done func(wire.Code)) {
	e, ok := m.ids.Get(q.TransactionalID)
	if !ok {
		m.add(q, done)
		return
	}
	e.adds = append(e.adds, &pendingAdd{request: q, done: done, deadline: m.c.Loop.Now().Add(m.c.Config().AddRetryMax)})
	m.nextAdd(e)
}

// nextAdd begins the first add of an id that waits, unless one is under way.
func (m *Machine) nextAdd(e *entry) {
	switch {
	case e.adding || len(e.adds) == 0:
	case m.closed: // and the id was removed before
		m.closeAdds(e, wire.NotCoordinator)
	default:
		e.adding = true
		m.tryAdd(e, e.adds[0])
	}
}

// tryAdd adds, or waits for the transaction before.
func (m *Machine) tryAdd(e *entry, p *pendingAdd) {
	m.add(p.request, func(code wire.Code) {
		wait := p.deadline.Sub(m.c.Loop.Now())
		if code != wire.ConcurrentTransactions || !e.prepared() || wait <= 0 || m.closed {
			m.added(e, p, code)
			return
		}
		m.c.parked.Hit()
		p.parked = true
		m.c.Loop.Reset(&p.timer, wait, func() { m.added(e, p, wire.ConcurrentTransactions) })
	})
}

// added answers the first add, and lets the next one begin.
func (m *Machine) added(e *entry, p *pendingAdd, code wire.Code) {
	e.adding, e.adds = false, e.adds[1:]
	p.done(code)
	if len(e.adds) > 0 {
		m.c.Loop.Post(func() { m.nextAdd(e) })
	}
}

// unpark begins again what waited for the transaction to complete.
func (m *Machine) unpark(e *entry) {
	if len(e.adds) == 0 || !e.adds[0].parked {
		return
	}
	p := e.adds[0]
	p.parked = false
	m.c.Loop.Stop(&p.timer)
	m.c.Loop.Post(func() { m.tryAdd(e, p) })
}

// closeAdds answers what waits. An add whose operation is under way is answered with that.
func (m *Machine) closeAdds(e *entry, code wire.Code) {
	waiting := e.adds
	if e.adding && !waiting[0].parked {
		e.adds, waiting = waiting[:1], waiting[1:]
	} else {
		e.adds = nil
	}
	for _, p := range waiting {
		m.c.Loop.Stop(&p.timer)
		p.done(code)
	}
}
