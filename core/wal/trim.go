package wal

// trimPoints are starts of groups that the trim point may move to.
type trimPoints struct {
	starts []Position // ascending
	apart  Position   // their least distance, which bounds their number
}

func (t *trimPoints) note(start Position) {
	if n := len(t.starts); n == 0 || start >= t.starts[n-1]+t.apart {
		t.starts = append(t.starts, start)
	}
}

// take returns the highest start at or below a limit, and forgets it with all below it. Zero: there is none.
func (t *trimPoints) take(limit Position) (start Position) {
	n := 0
	for n < len(t.starts) && t.starts[n] <= limit {
		start = t.starts[n]
		n++
	}
	if n > 0 {
		t.starts = t.starts[:copy(t.starts, t.starts[n:])]
	}
	return start
}
