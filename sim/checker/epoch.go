package checker

import "fmt"

// checkEpochs: leader epochs rise along the log, and an answer to OffsetForLeaderEpoch
// agrees with the batches that clients read (KIP-320).
func (l *log) checkEpochs() {
	last := int32(unknown)
	for _, p := range l.placed {
		epoch := l.epoch[p.id]
		if epoch != unknown && epoch < last {
			l.violate("epoch", "%s at %d is of leader epoch %d, below it lies epoch %d", l.describe(p.id), p.base, epoch, last)
			return
		}
		last = max(last, epoch)
	}
	for i := range l.Ends {
		if !l.checkEnd(&l.Ends[i]) {
			return
		}
	}
}

func (l *log) checkEnd(q *EpochEnd) bool {
	if q.Epoch > q.Asked {
		l.violate("epoch", "%s: answered with a later epoch", q.describe())
		return false
	}
	for _, p := range l.placed {
		epoch, end := l.epoch[p.id], p.base+int64(l.Appends[p.id].Records)
		known := l.seen[p.id] < q.Call
		wrong := ""
		switch {
		case epoch == unknown:
		case q.Epoch < 0 && known && epoch >= q.Asked:
			wrong = "answered with no epoch"
		case q.Epoch < 0:
		case epoch > q.Asked && p.base < q.End && p.base >= l.startMax(q.Return):
			wrong = "the answered end lies within a later epoch"
		case epoch <= q.Epoch && known && end > q.End:
			wrong = "the answered end lies below what was written"
		case epoch > q.Epoch && epoch <= q.Asked && known && p.base >= l.startMax(q.Return):
			wrong = "there was a later epoch below the one that was asked for"
		}
		if wrong != "" {
			l.violate("epoch", "%s: %s, %s of epoch %d at %d", q.describe(), wrong, l.describe(p.id), epoch, p.base)
			return false
		}
	}
	return true
}

func (q *EpochEnd) describe() string {
	return fmt.Sprintf("client %d asked for the end of leader epoch %d (%s to %s) and was told epoch %d, offset %d",
		q.Client, q.Asked, instant(q.Call), instant(q.Return), q.Epoch, q.End)
}
