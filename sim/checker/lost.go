package checker

import "slices"

// Lost are offsets that were given up with the only log that held them.
type Lost struct {
	Start, End int64
	By         int64 // stamp by which they were given up
}

func (gone Lost) holds(offset int64) bool { return gone.Start <= offset && offset < gone.End }

// lost reports whether an offset was given up.
func (l *log) lost(offset int64) bool {
	return slices.ContainsFunc(l.Lost, func(gone Lost) bool { return gone.holds(offset) })
}

// offsetsLost is how many offsets nobody may have sent anything for.
func (l *log) offsetsLost() (n int64) {
	for _, gone := range l.Lost {
		n += gone.End - gone.Start
	}
	return n
}

// placeLost: readers pass over what was given up, and over nothing else.
func (l *log) placeLost(r *Read, b Batch) {
	for _, gone := range l.Lost {
		if gone.Start <= b.Base && b.end() <= gone.End {
			return
		}
	}
	l.violate("I1", "%s passes over [%d, %d), which nobody gave up", r.describe(), b.Base, b.end())
}

// checkMissed: nothing is acknowledged at an offset that was given up before, and no producer is told that its batches are missing
// where nothing was lost.
func (l *log) checkMissed() {
	if l.OutOfOrder > 0 && len(l.Lost) == 0 {
		l.violate("I6", "a producer was told %d times that a batch is missing, which was acknowledged, and nothing was given up", l.OutOfOrder)
	}
	for i := range l.Appends {
		a := &l.Appends[i]
		for _, gone := range l.Lost {
			if a.Outcome == Done && a.Base >= gone.Start && a.Base < gone.End && a.Call > gone.By {
				l.violate("I2", "%s, an offset that had been given up by %s", l.describe(int32(i)), instant(gone.By))
			}
		}
	}
}
