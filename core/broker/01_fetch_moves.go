package broker

import (
	"time"

	"weir/core/wire"
)

// fetchMovePoll is how often a fetch looks whether a partition that moves has its new leader.
const fetchMovePoll = 5 * time.Millisecond

// awaitMoves holds an answer back while a partition of it is on its way from here, or to here, within arrivalLimit. Were it answered with
// NOT_LEADER_OR_FOLLOWER at once, the answer could not say yet who leads (KIP-951), and the client would look at the metadata when it next may:
// seconds later, a hundred times longer than the move takes.
func (f *fetching) awaitMoves() bool {
	if !f.moves() {
		return false
	}
	now := f.plane.loop.Now()
	if f.patience == 0 {
		f.patience = now.Add(arrivalLimit)
	}
	if now >= f.patience {
		return false
	}
	f.plane.moved.Hit()
	f.unwatch()
	f.drop()
	f.round, f.reading = f.round+1, 0 // what is under way is read again
	f.plane.loop.Reset(&f.timer, fetchMovePoll, f.start)
	return true
}

// moves reports whether it is being decided who leads a partition of the fetch.
func (f *fetching) moves() bool {
	for i := range f.targets {
		t := &f.targets[i]
		if p := t.partition; p != nil && p.HandingOver() {
			return true
		}
		if t.code == wire.NotLeaderOrFollower && !f.follower && f.plane.expected(f.byID, t.id, t.name, t.index) {
			return true
		}
	}
	return false
}
