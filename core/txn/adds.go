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

// addInOrder adds partitions once the adds before it are answered, or together with them.
func (m *Machine) addInOrder(q *AddRequest, done func(wire.Code)) {
	e, ok := m.ids.Get(q.TransactionalID)
	if !ok {
		m.add(q, done)
		return
	}
	e.adds = append(e.adds, &pendingAdd{request: q, done: done, deadline: m.c.Loop.Now().Add(m.c.Config().AddRetryMax)})
	m.postAdds(e)
}

// postAdds lets adds begin in a later step of the turn, so that those that an answer brings come after all answers.
func (m *Machine) postAdds(e *entry) { m.c.Loop.Post(func() { m.nextAdds(e) }) }

// nextAdds begins the adds of an id that wait, unless some are under way.
func (m *Machine) nextAdds(e *entry) {
	switch {
	case e.adding || len(e.adds) == 0:
	case m.closed: // and the id was removed before
		m.closeAdds(e, wire.NotCoordinator)
	default:
		e.adding = true
		m.tryAdds(e)
	}
}

// tryAdds adds what waits, or waits for the transaction before.
func (m *Machine) tryAdds(e *entry) {
	p := e.adds[0]
	m.doWith(e.id, request{fresh: -1, bytes: p.request.bytes()}, func(t *Transaction, c clock) decision {
		return m.take(e, t, c)
	}, func(d decision) {
		wait := p.deadline.Sub(m.c.Loop.Now())
		if d.code != wire.ConcurrentTransactions || !e.prepared() || wait <= 0 || m.closed {
			m.added(e, d.code)
			return
		}
		m.c.parked.Hit()
		p.parked = true
		m.c.Loop.Reset(&p.timer, wait, func() { m.added(e, wire.ConcurrentTransactions) })
	})
}

// takenBytesMax is the size of a transaction from which adds to it are not merged: the work of one turn stays small.
const takenBytesMax = 16 << 10

// take decides on the adds that wait, on the first together with as many behind it as are not refused: a producer that
// writes to partitions of several brokers has an add from each, and they share one write of the log.
func (m *Machine) take(e *entry, t *Transaction, c clock) (d decision) {
	e.taken = 0
	before := t
	for _, p := range e.adds {
		one := m.decideAdd(p.request, before, t, c)
		if one.code != wire.None {
			if e.taken == 0 {
				return one
			}
			break
		}
		e.taken++
		if one.next != nil {
			d.next, t = one.next, one.next
		}
		if t.bytes(e.id) > takenBytesMax {
			break
		}
	}
	return d
}

// begin lets adds that wait for a transaction begin the next one in the batch that completes it: else they would wait for
// one write of the log more. Nil: none can.
func (m *Machine) begin(e *entry, completed *Transaction, c clock) *Transaction {
	if len(e.adds) == 0 || !e.adds[0].parked {
		return nil
	}
	d := m.take(e, completed, c)
	if d.next == nil || !m.shard.Fits(entriesOf(e.id, completed, d.next)) {
		e.taken = 0
		return nil
	}
	m.c.begun.Hit()
	m.stopWaiting(e.adds[0])
	return d.next
}

// added answers the adds that were taken, or the first, and lets the next ones begin.
func (m *Machine) added(e *entry, code wire.Code) {
	n := max(1, e.taken)
	over := e.adds[:n]
	e.adding, e.taken, e.adds = false, 0, e.adds[n:]
	for _, p := range over {
		p.done(code)
	}
	m.postAdds(e)
}

func (m *Machine) stopWaiting(p *pendingAdd) {
	p.parked = false
	m.c.Loop.Stop(&p.timer)
}

// unpark begins again what waited for the transaction to complete.
func (m *Machine) unpark(e *entry) {
	if len(e.adds) == 0 || !e.adds[0].parked {
		return
	}
	m.stopWaiting(e.adds[0])
	m.c.Loop.Post(func() { m.tryAdds(e) })
}

// closeAdds answers what waits. Adds whose operation is under way are answered with that.
func (m *Machine) closeAdds(e *entry, code wire.Code) {
	waiting := e.adds
	if e.adding && !waiting[0].parked {
		n := max(1, e.taken)
		e.adds, waiting = waiting[:n], waiting[n:]
	} else {
		e.adds = nil
	}
	for _, p := range waiting {
		m.c.Loop.Stop(&p.timer)
		p.done(code)
	}
}
