package quorum

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/raft/v3"
)

// confirmation waits for a majority to say that this member still leads (R9).
type confirmation struct {
	asked     uint64 // the read index that it waits for; 0: none was asked for yet
	confirmed bool
	index     uint64 // what must be applied then
	done      func(leads bool)
}

// confirmations are those who wait, in the order in which they came.
type confirmations struct {
	waiting []confirmation
	asked   uint64 // read indexes that were asked for
}

// ConfirmLeadership calls done, once, with whether this member led after the call: true once a majority has confirmed it and
// everything that was committed by then is applied here; false if it does not lead, or is deposed first. Calls of one turn
// share one round of messages, and a member that decides alone needs none.
func (q *Quorum) ConfirmLeadership(done func(leads bool)) {
	if !q.leading || q.closing != nil || q.err != nil {
		q.o.Loop.Post(func() { done(false) })
		return
	}
	q.confirm.waiting = append(q.confirm.waiting, confirmation{done: done})
	q.wake()
}

// askConfirmation asks the others on behalf of everybody who came since it last did.
func (q *Quorum) askConfirmation() {
	c := &q.confirm
	if len(c.waiting) == 0 || c.waiting[len(c.waiting)-1].asked != 0 || !q.leading {
		return
	}
	c.asked++
	for i := range slices.Backward(c.waiting) {
		if c.waiting[i].asked != 0 {
			break
		}
		c.waiting[i].asked = c.asked
	}
	q.node.ReadIndex(binary.BigEndian.AppendUint64(nil, c.asked))
}

// confirmed takes raft's word that a majority followed this member when an index was asked for. A later one answers for
// those before it.
func (q *Quorum) confirmed(states []raft.ReadState) {
	for _, s := range states {
		if len(s.RequestCtx) != 8 {
			continue
		}
		upTo := binary.BigEndian.Uint64(s.RequestCtx)
		for i := range q.confirm.waiting {
			w := &q.confirm.waiting[i]
			if w.asked == 0 || w.asked > upTo {
				break
			}
			w.confirmed, w.index = true, max(w.index, s.Index)
		}
	}
}

// answerConfirmed answers those who are confirmed, once what was committed by then is applied: others may have committed an
// entry that this member has yet to write.
func (q *Quorum) answerConfirmed() {
	n := 0
	for n < len(q.confirm.waiting) && q.confirm.waiting[n].confirmed && q.confirm.waiting[n].index <= q.applied {
		n++
	}
	if n > 0 {
		q.answerConfirmations(n, true)
	}
}

// answerConfirmations answers the first n who wait.
func (q *Quorum) answerConfirmations(n int, leads bool) {
	c := &q.confirm
	answered := c.waiting[:n:n]
	c.waiting = append([]confirmation(nil), c.waiting[n:]...)
	for _, a := range answered {
		q.o.Loop.Post(func() { a.done(leads) })
	}
}
