package checker

import (
	"cmp"
	"slices"
)

// checkRetention: what lies below a log start was trimmed on request, or was as old as
// retention asks, or so many bytes lay behind it as retention keeps. The broker's clock,
// and what was sent by then and never seen, count in its favour.
func (l *log) checkRetention() {
	if !l.Retention.any() {
		return
	}
	starts := slices.Clone(l.starts)
	slices.SortStableFunc(starts, func(a, b mark) int { return cmp.Compare(a.back, b.back) })
	checked, next := int64(0), 0
	for _, q := range starts {
		if q.offset <= checked {
			continue
		}
		checked = q.offset
		trimmed := l.trimCeiling(q.back)
		for ; next < len(l.placed) && l.placed[next].base < q.offset; next++ {
			p := l.placed[next]
			a := &l.Appends[p.id]
			end := p.base + int64(a.Records)
			if end > q.offset {
				break
			}
			if end <= trimmed || l.old(a, q.back) || l.lost(p.base) {
				continue
			}
			if behind := l.bytesBehind(end, q.back); l.Retention.Bytes == 0 || behind < l.Retention.Bytes {
				l.violate("I1", "log start %d by %s: retention deleted %s at %d, timestamp %d, with at most %d bytes behind it",
					q.offset, q.describe(), l.describe(p.id), p.base, a.Max(), behind)
				return
			}
		}
	}
}

// old reports whether retention by time may have deleted a batch by a stamp. What has no
// timestamp is as old as its upload, which came after the batch was sent: by the clock of the
// broker that uploaded it, which another's may be ahead of.
func (l *log) old(a *Append, stamp int64) bool {
	r := &l.Retention
	newest := a.Max()
	if newest < 0 && l.MarkersMax > 0 {
		return r.Millis > 0 // an older marker may be what has the largest timestamp beside it
	}
	if newest < 0 {
		newest = r.WallBase - r.Behind + a.Call/1e6
	}
	return r.Millis > 0 && newest < r.WallBase+r.Ahead+stamp/1e6-r.Millis+1
}

// bytesBehind is how many bytes may have lain at or above an offset at a stamp.
func (l *log) bytesBehind(offset, stamp int64) int64 {
	sum := l.MarkersMax * markerBytesMax
	for i := range l.Appends {
		if a := &l.Appends[i]; a.Call < stamp && a.Outcome != Failed && (l.position[i] == unknown || l.position[i] >= offset) {
			sum += a.Bytes
		}
	}
	return sum
}

// markerBytesMax is the most that a marker takes in the log.
const markerBytesMax = 200
