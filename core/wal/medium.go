package wal

import (
	"weir/core/env"
	"weir/core/task"
)

// identity tells the groups of one log from all other bytes. Every group header carries it, and
// every record's sum covers the nonce.
type identity struct {
	epoch int64 // of the broker that writes the log (R5)
	nonce uint64
}

// marks are the positions that a log records beside its groups.
type marks struct {
	trim    Position // the lowest position kept, the start of a group
	durable Position // everything below it was durable
	summary Position // of the newest durable summary record, noPosition if there is none
}

// medium is where a Log writes its groups. It belongs to one Log, and runs on its loop.
//
// It reads the log's marks and its state (End, refused, held, closing, drained). It calls the log's
// written once for each group, in any order; confirmed, if it gave a group a ticket before that; spaceCame when reserve may now allow what it refused;
// resized when its capacity changed; fail on an error that ends the log, which is also how a writer
// learns that it was fenced. It makes none of these calls inside its own methods, but for resized in step. Groups
// that the world gives up since the process ends are written with errGivenUp.
type medium interface {
	// room is the largest size of a group that starts at a position. A group that is larger starts
	// that many bytes later, behind a filler.
	room(at Position) int64
	// reserve reports whether the log may grow to end now, and by spare bytes more before it is trimmed.
	reserve(end Position, spare int64) bool
	// due reports whether the group that gathers is to be sealed now. It is asked at the end of each turn.
	due(g *group) bool
	// admits reports whether another group may be written now.
	admits() bool
	// write stores a sealed group durably: its data are laid off the loop first, and lent until written.
	write(g *group)
	// step runs at the end of every turn. It starts to record the marks if that is due, and gives up
	// what lies below the recorded trim point. It reports whether nothing is in flight but groups, and
	// all marks are recorded.
	step() (settled bool)
	// lowestSlot and recorded are Log.LowestSlot and Log.Recorded.
	lowestSlot() uint64
	recorded(slot uint64)
	// abandon ends the work of a log that failed. Groups may still be in flight.
	abandon()
	// close gives the medium up, once the log is drained and step reported that all is settled.
	close()
}

// source is where a log is recovered from: one that its broker writes no more. The broker that
// recovers it need not be the one that wrote it.
type source interface {
	// open prepares the source for reading, on a proc that may wait, and returns what is recorded
	// beside the groups. After an error it is closed.
	open(p *task.Proc) (head, error)
	// openLatest is open for a scan that begins near the end: with the group of the newest summary or, where it is not known which that is,
	// back groups before the end, or some MiB for each after the first. The head's trim point is where it begins. ErrNoSummary: no such group is known.
	openLatest(p *task.Proc, back int) (head, error)
	// group reads the group that may start at a position: the trim point, or the end of the group read
	// before. The header is zero if there is none of this log, and may name another position; data is
	// nil if the group is not wholly there, and valid until the next call. It begins with the group's
	// header and ends with its last record, at least.
	group(at Position) (h groupHeader, data []byte, err error)
	// beyond calls found for the headers of the groups that the writer may have had in flight together
	// with the one missing at a position, until found returns false.
	beyond(missing Position, found func(groupHeader) (more bool)) error
	// secure makes the groups in [from, upTo) durable (R7), which were read whole, and of which no mark says that they
	// are, and sees that the log ends there: nothing that its writer still does becomes part of it (R6). With more,
	// another group had become part of it before: it is to be read, too. After an error all that is open.
	secure(from, upTo Position) (more bool, err error)
	// scanned says that group, beyond and secure are called no more, so that their memory can be freed.
	scanned()
	// read reads bytes, which lie within one group, into a slab of its own, of which done owns the one
	// reference. What is not there reads as zeros.
	read(at Position, bytes int, done func(slab *env.Slab, offset int, err error))
	// close gives the source up. No read is in flight.
	close()
	// remove deletes the log.
	remove(done func(error))
}

// head is what a source knows of its log beside the groups.
type head struct {
	identity
	marks
	blank bool // the creation of the log never finished, so that there are no groups
}
