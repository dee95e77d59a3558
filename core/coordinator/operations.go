package coordinator

import (
	"weir/core/task"
	"weir/core/wire"
)

// keyOrder orders the operations of one key: shared ones beside each other, an exclusive one alone, each
// in its turn.
type keyOrder struct {
	waiting   task.Queue[*Operation]
	running   int
	exclusive bool // the one that runs
	admitting bool
}

// Do runs the operation when those of its key before it are over, at once if there are none. Done may
// run before Do returns.
func (s *Shard) Do(op *Operation) {
	if s.phase == closed {
		op.Done(s.closedWith)
		return
	}
	if !s.Wait(op.Bytes) {
		op.Done(wire.CoordinatorNotAvailable)
		return
	}
	order := s.orders[op.Key]
	if order == nil {
		order = &keyOrder{}
		s.orders[op.Key] = order
	}
	order.waiting.Push(op)
	s.admit(op.Key, order)
}

// admit runs what may run. A Done that comes back for the same key finds its operation queued.
func (s *Shard) admit(key string, order *keyOrder) {
	if order.admitting {
		return
	}
	order.admitting = true
	for s.phase != closed && order.next() {
		op := order.waiting.Pop()
		order.running++
		order.exclusive = !op.Shared
		s.run(op, func(code wire.Code) {
			order.running--
			s.Waited(op.Bytes)
			op.Done(code)
			s.admit(key, order)
		})
	}
	order.admitting = false
	if s.phase != closed && order.running == 0 && order.waiting.Len() == 0 {
		delete(s.orders, key)
	}
}

func (o *keyOrder) next() bool {
	if o.waiting.Len() == 0 {
		return false
	}
	return o.running == 0 || !o.exclusive && (*o.waiting.Front()).Shared
}

func (s *Shard) run(op *Operation, done func(wire.Code)) {
	entries := op.Decide()
	s.writeStep(op, entries, op.Next == nil, done)
}

// writeStep writes what one step of an operation has decided, and begins the next one in a later turn of the loop.
func (s *Shard) writeStep(op *Operation, entries []Entry, over bool, done func(wire.Code)) {
	then := func(code wire.Code) {
		if code != wire.None || over {
			done(code)
			return
		}
		s.loop().After(0, func() { s.nextStep(op, done) })
	}
	if len(entries) == 0 {
		then(wire.None)
		return
	}
	s.write(op, entries, then)
}

func (s *Shard) nextStep(op *Operation, done func(wire.Code)) {
	if s.phase == closed {
		done(s.closedWith)
		return
	}
	entries, over := op.Next()
	s.writeStep(op, entries, over, done)
}
