package stream

import (
	"weir/core/metadata"
	"weir/core/task"
)

const leaseIDs = 64 // object ids asked for at once

// idLease is the block of object ids that uploads take theirs from.
type idLease struct {
	*base
	next, end metadata.ObjectID
	asking    bool
	attempts  int
	waiting   []*upload
	retry     task.Timer
}

// take gives an upload the next id, now or once there is one.
func (l *idLease) take(w *upload) {
	if l.next < l.end {
		l.next++
		w.gotID(l.next - 1)
		return
	}
	l.waiting = append(l.waiting, w)
	if !l.asking {
		l.asking = true
		l.Controller.LeaseObjects(l.Epoch, leaseIDs, l.leased)
	}
}

func (l *idLease) leased(first metadata.ObjectID, err error) {
	l.asking = false
	if l.stopping {
		return
	}
	if err != nil {
		l.attempts++
		l.Loop.Reset(&l.retry, l.health.backoff("lease retry", 0, l.attempts), l.serve)
		return
	}
	l.next, l.end, l.attempts = first, first+leaseIDs, 0
	l.serve()
}

// serve gives ids to those who wait, or asks for more.
func (l *idLease) serve() {
	waiting := l.waiting
	l.waiting = nil
	for _, w := range waiting {
		l.take(w)
	}
}
