package checker

import (
	"fmt"
	"math"
)

// startMin is the highest log start that a client knew before a stamp.
func (l *log) startMin(stamp int64) int64 {
	start := int64(0)
	for i := range l.starts {
		if l.starts[i].back < stamp && !l.undoneBetween(l.starts[i].back, stamp) {
			start = max(start, l.starts[i].offset)
		}
	}
	return start
}

// startMax is the lowest log start that a client was told after a stamp: since log
// starts only rise, it was no higher at the stamp.
func (l *log) startMax(stamp int64) int64 {
	start := int64(math.MaxInt64)
	if !l.Retention.any() {
		start = l.trimCeiling(stamp)
	}
	for i := range l.starts {
		if l.starts[i].call > stamp && !l.undoneBetween(stamp, l.starts[i].call) {
			start = min(start, l.starts[i].offset)
		}
	}
	return start
}

// checkLookups: a timestamp leads to the first record that is as late, and the largest
// timestamp to the first record that has it, as far as the log was known when it was
// asked for; never to a record below the log start.
func (l *log) checkLookups() {
	for i := range l.Lookups {
		q := &l.Lookups[i]
		if start := l.startMin(q.Call); q.Offset >= 0 && q.Offset < start {
			l.violate("lookup", "%s led to offset %d below the log start, which was at least %d", q.describe(), q.Offset, start)
		}
		if !l.checkLookup(q) {
			return
		}
	}
}

func (q *Lookup) describe() string {
	what := fmt.Sprintf("timestamp %d", q.Timestamp)
	if q.Timestamp == MaxTimestamp {
		what = "the largest timestamp"
	}
	return fmt.Sprintf("%s, asked for by client %d (%s to %s),", what, q.Client, instant(q.Call), instant(q.Return))
}

func (l *log) checkLookup(q *Lookup) bool {
	if len(l.Lost) > 0 {
		return true // what was lost was found before, and is not any more
	}
	floor := l.startMax(q.Return)
	if q.Offset >= 0 && q.Offset < int64(len(l.at)) && l.at[q.Offset] < 0 {
		if m := l.markerAt(q.Offset); m.Marker.Timestamp != q.Found || m.Marker.Timestamp < q.Timestamp {
			l.violate("lookup", "%s led to offset %d with timestamp %d, which is %s with %d", q.describe(), q.Offset, q.Found, m.describe(), m.Marker.Timestamp)
			return false
		}
	}
	for _, p := range l.placed {
		a := &l.Appends[p.id]
		end := p.base + int64(a.Records)
		if (q.Offset < p.base || q.Offset >= end) && (end <= floor || l.seen[p.id] >= q.Call || a.Max() < q.Timestamp) {
			continue // it does not hold the answer, and could not
		}
		for r := range a.Records {
			offset, at := p.base+int64(r), a.At(r)
			switch {
			case offset == q.Offset:
				if at != q.Found || at < q.Timestamp {
					l.violate("lookup", "%s led to offset %d with timestamp %d, of %s: that record has %d", q.describe(), offset, q.Found, l.describe(p.id), at)
					return false
				}
			case offset < floor || l.seen[p.id] >= q.Call:
				// It may have been deleted, or not been there yet.
			case q.missed(offset, at):
				l.violate("lookup", "%s led to offset %d with timestamp %d, past offset %d with %d of %s", q.describe(), q.Offset, q.Found, offset, at, l.describe(p.id))
				return false
			}
		}
	}
	return true
}

// missed reports whether a record that was there should have been found instead.
func (q *Lookup) missed(offset, at int64) bool {
	if q.Timestamp == MaxTimestamp {
		return q.Offset < 0 || at > q.Found || at == q.Found && offset < q.Offset
	}
	return at >= q.Timestamp && (q.Offset < 0 || offset < q.Offset)
}
