package node

import "weir/core/metadata"

// unshipped knows the streams that changed by records which are not in the object
// store yet: a range that one of them opened is not used before (R19).
type unshipped struct {
	wait    bool // else ranges are used at once
	streams map[metadata.StreamID]uint64
	queue   []unshippedStream // ascending by index
	all     uint64            // every stream may have changed up to this index
}

type unshippedStream struct {
	index uint64
	id    metadata.StreamID
}

// note takes what the records up to index changed. A stream that is noted already
// keeps its index: what it waits for is the record that opened its range.
func (u *unshipped) note(index uint64, changes *metadata.Changes, shipped uint64) {
	if !u.wait || index <= shipped {
		return
	}
	if changes.All {
		u.all = index
	}
	if len(changes.Topics) == 0 {
		return // no range was opened
	}
	for _, id := range changes.Streams {
		if _, known := u.streams[id]; !known {
			u.streams[id] = index
			u.queue = append(u.queue, unshippedStream{index, id})
		}
	}
}

// mayOpen reports whether the newest range of a stream may be used.
func (u *unshipped) mayOpen(id metadata.StreamID) bool {
	_, held := u.streams[id]
	return !held && u.all == 0
}

// shippedTo lets go of what is in the store by now, and returns those streams; all
// says that it may be any.
func (u *unshipped) shippedTo(index uint64) (streams []metadata.StreamID, all bool) {
	if u.all > 0 && u.all <= index {
		u.all, all = 0, true
	}
	for len(streams) < len(u.queue) && u.queue[len(streams)].index <= index {
		id := u.queue[len(streams)].id
		delete(u.streams, id)
		streams = append(streams, id)
	}
	u.queue = append(u.queue[:0], u.queue[len(streams):]...)
	return streams, all
}
