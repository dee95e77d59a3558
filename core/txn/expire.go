package txn

import (
	"time"

	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/wire"
)

// deadline is when a transaction that begins now has timed out.
func (m *Machine) deadline(t *Transaction) env.Time {
	return m.c.Loop.Now().Add(time.Duration(t.TimeoutMillis) * time.Millisecond)
}

func (m *Machine) armAborts() {
	m.c.Loop.Reset(&m.aborts, m.c.Config().AbortInterval, func() { m.abortTimedOut(&entry{}) })
}

// abortChunk is how many transactions are looked at in one turn of the loop: after a restart all begin anew, and many may
// time out at once.
const abortChunk = 1000

// abortTimedOut aborts the transactions whose time is over, from one in the order of deadlines on. One whose record is
// refused is tried again the next time.
func (m *Machine) abortTimedOut(from *entry) {
	now := m.c.Loop.Now()
	var late []*entry
	var next *entry
	m.ongoing.Ascend(from, func(e *entry) bool {
		switch {
		case e.deadline > now:
			return false
		case len(late) == abortChunk:
			next = &entry{id: e.id, deadline: e.deadline} // a place: the transaction itself may move
			return false
		}
		late = append(late, e)
		return true
	})
	for _, e := range late {
		if !e.aborting {
			m.abort(e)
		}
	}
	switch {
	case m.closed:
	case next != nil:
		m.c.Loop.Reset(&m.aborts, 0, func() { m.abortTimedOut(next) })
	default:
		m.armAborts()
	}
}

// abort aborts a transaction that has timed out, unless its id has moved on by its turn.
func (m *Machine) abort(e *entry) {
	deadline := e.deadline
	e.aborting = true
	m.do(e.id, func(t *Transaction, c clock) decision {
		if t != &e.Transaction || t.State != Ongoing || e.deadline != deadline {
			return decision{}
		}
		return t.fence(m.c.Version(), c)
	}, func(d decision) {
		e.aborting = false
		if d.code == wire.None && d.next != nil {
			m.c.timedOut.Add(1)
			m.c.expired.Hit()
		}
	})
}

func (m *Machine) armRemovals() {
	m.c.Loop.Reset(&m.removals, m.c.Config().RemoveInterval, func() { m.removeExpired("") })
}

// removeChunk is how many ids are looked at in one turn of the loop.
const removeChunk = 1000

// removeExpired removes, from an id on, those without a transaction that were not used for long.
func (m *Machine) removeExpired(from string) {
	if m.closed {
		return
	}
	seen, next, open := 0, "", 1
	step := func() {
		if open--; open > 0 || m.closed {
			return
		}
		if seen > removeChunk {
			m.c.Loop.Reset(&m.removals, 0, func() { m.removeExpired(next) })
			return
		}
		m.armRemovals()
	}
	var expired []*entry
	m.ids.Ascend(from, func(id string, e *entry) bool {
		if seen++; seen > removeChunk {
			next = id
			return false
		}
		if m.unused(&e.Transaction) {
			expired = append(expired, e)
		}
		return true
	})
	open += len(expired)
	for _, e := range expired {
		m.removeID(e.id, step)
	}
	step()
}

// unused reports whether an id is to be removed.
func (m *Machine) unused(t *Transaction) bool {
	return t.completed() && m.c.Env.Clock.WallMillis()-t.UpdateMillis >= m.c.Config().IDExpiration.Milliseconds()
}

// removeID writes the tombstone of an id, if it is still unused at its turn.
func (m *Machine) removeID(id string, done func()) {
	m.shard.Do(&coordinator.Operation{
		Key: id,
		Decide: func() []coordinator.Entry {
			if t := m.find(id); t == nil || !m.unused(t) {
				return nil
			}
			return []coordinator.Entry{{Key: encodeKey(id)}}
		},
		Done: func(wire.Code) { done() },
	})
}
