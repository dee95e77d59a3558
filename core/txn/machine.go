package txn

import (
	"cmp"
	"log/slog"
	"strings"

	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"

	"github.com/tidwall/btree"
)

// Machine is the state of the transactional ids of one partition. Its methods are called on the loop only.
type Machine struct {
	c       *Coordinator
	shard   *coordinator.Shard
	ids     btree.Map[string, *entry]
	ongoing *btree.BTreeG[*entry] // by deadline, then id
	serving bool
	closed  bool

	aborts   task.Timer // looks for transactions that timed out
	removals task.Timer // looks for ids to be removed
}

// entry is a transactional id: what its last record says, and what is going on with it.
type entry struct {
	id string
	Transaction
	deadline env.Time // of an ongoing transaction
	aborting bool     // its time is over, and the abort is under way
	marking  *marking // set while markers are written
	adds     []*pendingAdd
	adding   bool // the first of adds is under way
	taken    int  // so many of adds are in a batch that is being written
	bytes    int64
}

var _ coordinator.Machine = (*Machine)(nil)

func newMachine(c *Coordinator, s *coordinator.Shard) *Machine {
	return &Machine{c: c, shard: s, ongoing: btree.NewBTreeGOptions(func(a, b *entry) bool {
		return cmp.Or(cmp.Compare(a.deadline, b.deadline), strings.Compare(a.id, b.id)) < 0
	}, btree.Options{NoLocks: true})}
}

// find returns the state of an id; nil: there is none.
func (m *Machine) find(id string) *Transaction {
	if e, ok := m.ids.Get(id); ok {
		return &e.Transaction
	}
	return nil
}

// Apply implements coordinator.Machine. A tombstone of an unknown id does nothing. A record of a type that a later release
// made is passed over, as in Kafka.
func (m *Machine) Apply(r *coordinator.Record) error {
	id, known, err := decodeKey(r.Key)
	if err != nil || !known {
		return err
	}
	if r.Value == nil {
		m.remove(id)
		return nil
	}
	t, err := decodeValue(r.Value)
	if err != nil {
		return err
	}
	e, ok := m.ids.Get(id)
	if !ok {
		e = &entry{id: id, Transaction: Transaction{ProducerID: -1}}
		m.ids.Set(id, e)
	}
	m.set(e, t)
	return nil
}

// ApplyMarker implements coordinator.Machine: no transaction writes to this topic.
func (m *Machine) ApplyMarker(*coordinator.Marker) error { return nil }

// set gives an id its next state.
func (m *Machine) set(e *entry, t *Transaction) {
	began := t.State == Ongoing && (e.State != Ongoing || e.StartMillis != t.StartMillis)
	if m.serving && e.ProducerID == t.ProducerID {
		telemetry.Assert(7, t.Epoch == e.Epoch || t.Epoch == e.Epoch+1, "%s: the epoch of producer %d goes from %d to %d in one step", e.id, t.ProducerID, e.Epoch, t.Epoch)
	}
	if e.State == Ongoing {
		m.ongoing.Delete(e)
	}
	e.Transaction = *t
	bytes := t.bytes(e.id)
	m.shard.Hold(bytes - e.bytes)
	e.bytes = bytes
	if began {
		e.deadline = m.deadline(t)
	}
	if t.State == Ongoing {
		m.ongoing.Set(e)
	}
	m.stopMarking(e)
	if !m.serving {
		return
	}
	if t.prepared() {
		m.mark(e)
		return
	}
	m.unpark(e)
}

func (m *Machine) remove(id string) {
	e, ok := m.ids.Delete(id)
	if !ok {
		return
	}
	m.shard.Hold(-e.bytes)
	if e.State == Ongoing {
		m.ongoing.Delete(e)
	}
	m.stopMarking(e)
	m.unpark(e)
}

// Serve implements coordinator.Machine: timeouts begin anew, and what was prepared is completed.
func (m *Machine) Serve() {
	m.serving = true
	m.ongoing.Clear()
	m.ids.Scan(func(_ string, e *entry) bool {
		if e.State == Ongoing {
			e.deadline = m.deadline(&e.Transaction)
			m.ongoing.Set(e)
		}
		if e.prepared() {
			m.mark(e)
		}
		return true
	})
	m.armAborts()
	m.armRemovals()
}

// Close implements coordinator.Machine.
func (m *Machine) Close(code wire.Code) {
	m.closed, m.serving = true, false
	m.c.Loop.Stop(&m.aborts)
	m.c.Loop.Stop(&m.removals)
	m.ids.Scan(func(_ string, e *entry) bool {
		m.stopMarking(e)
		m.closeAdds(e, code)
		return true
	})
}

// Keys implements coordinator.Machine.
func (m *Machine) Keys() []string { return m.ids.Keys() }

// Rewrite implements coordinator.Machine.
func (m *Machine) Rewrite(id string) ([]coordinator.Entry, coordinator.Next) {
	if t := m.find(id); t != nil {
		return entryOf(id, t), nil
	}
	return nil, nil
}

// do begins an operation on an id. decide is called with a producer id that was never used once it has asked for one.
func (m *Machine) do(id string, decide func(*Transaction, clock) decision, done func(decision)) {
	m.doWith(id, request{fresh: -1}, decide, done)
}

// request is what an operation has beside its decision.
type request struct {
	fresh int64 // a producer id that was never used, or -1
	bytes int64 // see coordinator.Operation
}

func (m *Machine) doWith(id string, r request, decide func(*Transaction, clock) decision, done func(decision)) {
	var d decision
	m.shard.Do(&coordinator.Operation{
		Key: id, Bytes: r.bytes,
		Decide: func() []coordinator.Entry {
			if d = decide(m.find(id), clock{m.c.Env.Clock.WallMillis(), r.fresh, m.c.FirstEpoch}); d.needsID || d.next == nil {
				return nil
			}
			return entriesOf(id, d.next, d.then)
		},
		Done: func(code wire.Code) {
			switch {
			case code != wire.None:
				done(refuse(code))
			case d.needsID:
				m.renew(id, decide, done)
			default:
				done(d)
			}
		},
	})
}

// renew gets a new producer id for an operation, and begins it again.
func (m *Machine) renew(id string, decide func(*Transaction, clock) decision, done func(decision)) {
	m.c.ProducerID(func(fresh int64, code wire.Code) {
		if code != wire.None {
			done(refuse(code))
			return
		}
		m.doWith(id, request{fresh: fresh}, decide, done)
	})
}

// warn logs what an operator must know of an id, now and then.
func (m *Machine) warn(kind, text string, e *entry, more ...slog.Attr) {
	m.c.operators.Warn(m.c.Telemetry, kind, m.c.Loop.Now(), text, append([]slog.Attr{
		slog.String("transactional.id", e.id), slog.Int64("producer", e.ProducerID), slog.String("state", e.State.String()),
	}, more...)...)
}
