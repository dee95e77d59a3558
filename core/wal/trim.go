package wal

// trimPoints are starts of groups that the trim point may move to.
type trimPoints struct {
	starts []groupStart // ascending
	apart  Position     // their least distance, which bounds their number
}

// groupStart is where a group starts, and its sequence number.
type groupStart struct {
	at       Position
	sequence uint64
}

func (t *trimPoints) note(h *groupHeader) {
	if n := len(t.starts); n == 0 || h.at >= t.starts[n-1].at+t.apart {
		t.starts = append(t.starts, groupStart{h.at, h.sequence})
	}
}

// take returns the highest start at or below a limit, and forgets it with all below it. Zero: there is none.
func (t *trimPoints) take(limit Position) (start groupStart) {
	n := 0
	for n < len(t.starts) && t.starts[n].at <= limit {
		start = t.starts[n]
		n++
	}
	if n > 0 {
		t.starts = t.starts[:copy(t.starts, t.starts[n:])]
	}
	return start
}
