package checker

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

const unknown = -1

// log is the state of one check.
type log struct {
	*Partition
	at       []int32 // by offset: index of the append that lies there, plus one; negative: of the marker
	markers  []placedMarker
	position []int64 // by append: its offset, or unknown
	seen     []int64 // by append: stamp at which a client first knew it was in the log
	epoch    []int32 // by append: leader epoch in which it was written, or unknown
	placed   []placed
	starts   []mark  // log starts that clients were told
	called   []int64 // by append: records of it and of all that were called before
	end      int64
	found    []Violation
}

// placed is an append whose place is known, in order of offsets.
type placed struct {
	base    int64
	id      int32
	maxCall int64 // of it and all before it
}

// placedMarker is a marker that a client read.
type placedMarker struct {
	Batch
	by *Read
}

// CheckLog checks a partition's history. It returns at most one violation of each kind.
func CheckLog(p *Partition) []Violation {
	l := newLog(p)
	l.checkRealTime()
	l.checkWatermarks()
	l.checkLastStable()
	l.checkTrims()
	l.checkRetention()
	l.checkLookups()
	l.checkEpochs()
	l.checkSessions()
	l.checkDrains()
	return l.found
}

// newLog orders a partition's history by offset.
func newLog(p *Partition) *log {
	l := &log{Partition: p, position: make([]int64, len(p.Appends)), seen: make([]int64, len(p.Appends)), epoch: make([]int32, len(p.Appends))}
	sum := int64(0)
	for i := range l.position {
		l.position[i], l.seen[i], l.epoch[i] = unknown, math.MaxInt64, unknown
		sum += int64(p.Appends[i].Records)
		l.called = append(l.called, sum)
	}
	for _, text := range p.foreign {
		l.violate("I2", "%s", text)
	}
	l.checkMissed()
	l.placeAcknowledged()
	l.placeReads()
	l.orderByOffset()
	return l
}

func (l *log) violate(invariant, format string, args ...any) {
	if len(l.found) < 8 {
		l.found = append(l.found, Violation{invariant, l.Name + ": " + fmt.Sprintf(format, args...)})
	}
}

func (l *log) describe(id int32) string {
	a := &l.Appends[id]
	session, answer := "", a.Outcome.String()
	if a.Session != 0 {
		session = fmt.Sprintf("batch %d of session %d, ", a.Sequence, a.Session)
	}
	switch {
	case a.Outcome == Done && a.Base >= 0:
		answer = fmt.Sprintf("acknowledged at %d at %s", a.Base, instant(a.Return))
	case a.Outcome != Done && a.Code != 0:
		answer += ", " + CodeName(a.Code)
	}
	return fmt.Sprintf("value %d (client %d, %d records, %scalled at %s, %s)", id, a.Client, a.Records, session, instant(a.Call), answer)
}

// describe names a read: who, from where, and when.
func (r *Read) describe() string {
	who := fmt.Sprintf("client %d", r.Client)
	if r.Drain > 0 {
		who = fmt.Sprintf("drain %d (client %d)", r.Drain, r.Client)
	}
	return fmt.Sprintf("%s's fetch from %d (%s to %s)", who, r.From, instant(r.Call), instant(r.Return))
}

func (l *log) placeAcknowledged() {
	for i := range l.Appends {
		a := &l.Appends[i]
		if a.Outcome != Done {
			continue
		}
		l.seen[i] = a.Return
		if a.Base >= 0 {
			l.place(a.Base, int32(i), "acknowledged")
		}
	}
}

// grow makes room for an offset.
func (l *log) grow(base int64) {
	for int64(len(l.at)) <= base {
		l.at = append(l.at, make([]int32, max(64, int(base)+1-len(l.at)))...)
	}
}

// place puts a value at an offset: one value for an offset, one offset for a value.
func (l *log) place(base int64, id int32, how string) {
	l.grow(base)
	if l.at[base] < 0 {
		l.violate("I2", "offset %d has two values: %s and, %s, %s", base, l.markerAt(base).describe(), how, l.describe(id))
		return
	}
	if other := l.at[base] - 1; other >= 0 && other != id {
		l.violate("I2", "offset %d has two values: %s and, %s, %s", base, l.describe(other), how, l.describe(id))
		return
	}
	l.at[base] = id + 1
	if before := l.position[id]; before != unknown && before != base {
		if l.lost(before) { // it was sent again
			l.position[id] = base
			return
		}
		if l.lost(base) {
			return
		}
		l.violate("I6", "%s lies at offset %d and, %s, at %d", l.describe(id), before, how, base)
		return
	}
	l.position[id] = base
}

func (l *log) placeReads() {
	for i := range l.Reads {
		r := &l.Reads[i]
		l.checkShape(r)
		for _, b := range l.Batches(r) {
			l.placeRead(r, b)
		}
	}
}

func (l *log) markerAt(base int64) *placedMarker { return &l.markers[-l.at[base]-1] }

func (m *placedMarker) describe() string {
	what := "abort"
	if m.Kind == CommitMarker {
		what = "commit"
	}
	return fmt.Sprintf("the %s of producer %d epoch %d, read in %s,", what, m.Marker.Producer, m.Marker.Epoch, m.by.describe())
}

// placeMarker puts a marker at an offset.
func (l *log) placeMarker(r *Read, b Batch) {
	l.grow(b.Base)
	m := placedMarker{b, r}
	switch at := l.at[b.Base]; {
	case at > 0:
		l.violate("I2", "offset %d has two values: %s and %s", b.Base, l.describe(at-1), m.describe())
	case at < 0:
		if other := l.markerAt(b.Base); other.Kind != b.Kind || other.Marker != b.Marker {
			l.violate("I2", "offset %d has two values: %s and %s", b.Base, other.describe(), m.describe())
		}
	default:
		l.markers = append(l.markers, m)
		l.at[b.Base] = -int32(len(l.markers))
	}
}

func (l *log) placeRead(r *Read, b Batch) {
	if b.Kind == GivenUp {
		l.placeLost(r, b)
		return
	}
	if b.marker() {
		l.placeMarker(r, b)
		return
	}
	if int(b.ID) >= len(l.Appends) || b.ID < 0 {
		l.violate("I2", "offset %d holds value %d, which nobody wrote, in %s", b.Base, b.ID, r.describe())
		return
	}
	a := &l.Appends[b.ID]
	switch {
	case a.Records != b.Records:
		l.violate("I2", "%s has %d records in %s", l.describe(b.ID), b.Records, r.describe())
	case a.Outcome == Failed:
		l.violate("I6", "aborted read: %s lies at offset %d in %s", l.describe(b.ID), b.Base, r.describe())
	case a.Call >= r.Return:
		l.violate("I2", "read from the future: %s in %s", l.describe(b.ID), r.describe())
	}
	l.place(b.Base, b.ID, "read")
	if l.lost(b.Base) {
		return
	}
	l.seen[b.ID] = min(l.seen[b.ID], r.Return)
	if before := l.epoch[b.ID]; before != unknown && before != b.Epoch {
		l.violate("epoch", "%s was of leader epoch %d and is of %d in %s", l.describe(b.ID), before, b.Epoch, r.describe())
	}
	l.epoch[b.ID] = b.Epoch
}

// checkShape: a read is without gaps, begins at its offset, and stays below its
// high watermark.
func (l *log) checkShape(r *Read) {
	next := int64(unknown)
	for i, b := range l.Batches(r) {
		end := b.end()
		switch {
		case i == 0 && (r.From < b.Base || r.From >= end):
			l.violate("I1", "skip: %s begins with the batch [%d, %d)", r.describe(), b.Base, end)
		case i > 0 && b.Base != next:
			l.violate("I1", "skip: %s goes from %d to %d", r.describe(), next, b.Base)
		case end > r.HighWatermark:
			l.violate("I3", "%s shows the batch [%d, %d) above its high watermark %d", r.describe(), b.Base, end, r.HighWatermark)
		case r.Committed && b.Base >= r.LastStable:
			l.violate("I3", "%s shows the batch [%d, %d) above its last stable offset %d", r.describe(), b.Base, end, r.LastStable)
		}
		next = end
	}
}

func (l *log) orderByOffset() {
	var maxCall int64
	for base, id := range l.at {
		switch {
		case id == 0:
			continue
		case id < 0:
			if int64(base) < l.end {
				l.violate("I2", "%s at %d lies within the batch before it, which ends at %d", l.markerAt(int64(base)).describe(), base, l.end)
			}
			l.end = max(l.end, int64(base)+1)
			continue
		}
		id--
		if int64(base) < l.end {
			l.violate("I2", "%s at %d overlaps the batch before it, which ends at %d", l.describe(id), base, l.end)
		}
		maxCall = max(maxCall, l.Appends[id].Call)
		l.placed = append(l.placed, placed{int64(base), id, maxCall})
		l.end = max(l.end, int64(base)+int64(l.Appends[id].Records))
	}
	for _, gone := range l.Lost {
		l.end = max(l.end, gone.End)
	}
}

// checkRealTime: nothing known to be in the log before an append was called lies above it.
func (l *log) checkRealTime() {
	earliest, by := int64(math.MaxInt64), int32(0)
	for i := len(l.placed) - 1; i >= 0; i-- {
		id := l.placed[i].id
		if l.Appends[id].Call > earliest {
			l.violate("I2", "real-time order: %s at %d was called after %s at %d was known to be in the log",
				l.describe(id), l.placed[i].base, l.describe(by), l.position[by])
			return
		}
		if l.seen[id] < earliest {
			earliest, by = l.seen[id], id
		}
	}
}

// mark is something known about the high watermark (or log start) over an interval.
type mark struct {
	call, back int64
	offset     int64
	what       string
	client     int32
}

func (m *mark) describe() string {
	return fmt.Sprintf("client %d's %s (%s to %s)", m.client, m.what, instant(m.call), instant(m.back))
}

func (l *log) checkWatermarks() {
	var queries, floors []mark
	for i := range l.Reads {
		if r := &l.Reads[i]; r.HighWatermark >= 0 {
			queries = append(queries, mark{r.Call, r.Return, r.HighWatermark, "fetch", r.Client})
		}
	}
	for i := range l.Bounds {
		if b := &l.Bounds[i]; b.Latest && !b.Committed {
			queries = append(queries, mark{b.Call, b.Return, b.Offset, "list offsets", b.Client})
		}
	}
	floors = append(floors, queries...)
	for i := range l.Appends {
		if a := &l.Appends[i]; a.Outcome == Done && a.Base >= 0 {
			floors = append(floors, mark{a.Call, a.Return, a.Base + int64(a.Records), "append", a.Client})
		}
	}
	if low, high, ok := backwards(queries, floors); !ok {
		l.violate("I3", "high watermark %d by %s, after %s had shown %d", low.offset, low.describe(), high.describe(), high.offset)
	}
	for _, q := range queries {
		l.checkNotAhead(q)
	}
	l.checkOutOfRange(floors)
}

// checkNotAhead: everything below a high watermark had been called before it was shown.
func (l *log) checkNotAhead(q mark) {
	i, _ := slices.BinarySearchFunc(l.placed, q.offset, func(p placed, offset int64) int { return cmp.Compare(p.base, offset) })
	if i > 0 && l.placed[i-1].maxCall >= q.back {
		l.violate("I3", "high watermark %d by %s passed what was called only later", q.offset, q.describe())
	}
	called, _ := slices.BinarySearchFunc(l.Appends, q.back, func(a Append, back int64) int { return cmp.Compare(a.Call, back) })
	sent := l.MarkersMax + l.offsetsLost()
	if called > 0 {
		sent += l.called[called-1]
	}
	if q.offset > sent {
		l.violate("I3", "high watermark %d by %s lies above all records that producers had sent by then", q.offset, q.describe())
	}
	if len(l.Drains) > 0 && q.offset > l.end && len(l.Trims) == 0 && !l.Retention.any() {
		l.violate("I1", "high watermark %d by %s lies above the end %d of everything ever seen", q.offset, q.describe(), l.end)
	}
}

// backwards finds a query that shows less than what was known when it was called.
func backwards(queries, floors []mark) (low, high mark, ok bool) {
	slices.SortStableFunc(floors, func(a, b mark) int { return cmp.Compare(a.back, b.back) })
	slices.SortStableFunc(queries, func(a, b mark) int { return cmp.Compare(a.call, b.call) })
	var best mark
	next := 0
	for _, q := range queries {
		for next < len(floors) && floors[next].back < q.call {
			if floors[next].offset > best.offset {
				best = floors[next]
			}
			next++
		}
		if q.offset < best.offset {
			return q, best, false
		}
	}
	return mark{}, mark{}, true
}

// checkOutOfRange: an offset that was certainly there is not refused.
func (l *log) checkOutOfRange(floors []mark) {
	if l.Retention.any() {
		return
	}
	for i := range l.Reads {
		r := &l.Reads[i]
		if !r.OutOfRange || r.From < l.trimCeiling(r.Return) {
			continue
		}
		for _, f := range floors {
			if f.back < r.Call && f.offset >= r.From {
				l.violate("I1", "%s was out of range, though %s had shown %d", r.describe(), f.describe(), f.offset)
				return
			}
		}
	}
}

// trimCeiling is the highest log start that trims called before a stamp could make.
func (l *log) trimCeiling(before int64) int64 {
	ceiling := int64(0)
	for i := range l.Trims {
		t := &l.Trims[i]
		switch {
		case t.Call >= before || t.Outcome == Failed:
		case t.Before < 0 && t.Outcome == Done:
			ceiling = max(ceiling, t.LogStart)
		case t.Before < 0:
			return math.MaxInt64
		default:
			ceiling = max(ceiling, t.Before)
		}
	}
	return ceiling
}

func (l *log) checkTrims() {
	var queries []mark
	for i := range l.Bounds {
		if b := &l.Bounds[i]; !b.Latest {
			queries = append(queries, mark{b.Call, b.Return, b.Offset, "list offsets", b.Client})
		}
	}
	for i := range l.Reads {
		if r := &l.Reads[i]; r.LogStart >= 0 {
			queries = append(queries, mark{r.Call, r.Return, r.LogStart, "fetch", r.Client})
		}
	}
	l.starts = slices.Clone(queries)
	floors := slices.Clone(queries)
	for i := range l.Trims {
		if t := &l.Trims[i]; t.Outcome == Done {
			floors = append(floors, mark{t.Call, t.Return, t.LogStart, "delete records", unknown})
			if t.LogStart < t.Before {
				l.violate("trim", "delete records before %d answered log start %d", t.Before, t.LogStart)
			}
		}
	}
	l.checkStartsRise(queries, floors)
	if l.Retention.any() {
		return
	}
	for _, q := range queries {
		if ceiling := l.trimCeiling(q.back); q.offset > ceiling {
			l.violate("I1", "log start %d by %s, but no trim asked for more than %d", q.offset, q.describe(), ceiling)
			return
		}
	}
}

// checkStartsRise: no log start is below one that was known before, nor below one that was asked for and
// acknowledged. An exchange of the metadata disk may undo the former.
func (l *log) checkStartsRise(queries, floors []mark) {
	l.eachPeriod(func(from int64, within func([]mark) []mark) {
		known := within(floors)
		for j := range l.Trims {
			if t := &l.Trims[j]; t.Outcome == Done && t.Return < from {
				known = append(known, mark{t.Call, t.Return, t.Before, "delete records", unknown})
			}
		}
		if low, high, ok := backwards(within(queries), known); !ok {
			l.violate("trim", "log start %d by %s, after %s had shown %d", low.offset, low.describe(), high.describe(), high.offset)
		}
	})
}

// eachPeriod calls f for each period between two exchanges of the metadata disk, which begins at from; within
// picks the marks that were called in it.
func (l *log) eachPeriod(f func(from int64, within func([]mark) []mark)) {
	for i := range len(l.Undone) + 1 {
		from, to := int64(math.MinInt64), int64(math.MaxInt64)
		if i > 0 {
			from = l.Undone[i-1]
		}
		if i < len(l.Undone) {
			to = l.Undone[i]
		}
		f(from, func(marks []mark) (some []mark) {
			for _, m := range marks {
				if m.call >= from && m.call < to {
					some = append(some, m)
				}
			}
			return some
		})
	}
}

// undoneBetween reports whether the metadata disk was exchanged between two stamps.
func (l *log) undoneBetween(a, b int64) bool {
	return slices.ContainsFunc(l.Undone, func(at int64) bool { return a < at && at < b })
}

// checkSessions: a session's batches lie in its order, and the known ones are a prefix.
func (l *log) checkSessions() {
	order := make([]int32, 0, len(l.Appends))
	for i := range l.Appends {
		if l.Appends[i].Session != 0 {
			order = append(order, int32(i))
		}
	}
	slices.SortStableFunc(order, func(x, y int32) int {
		a, b := &l.Appends[x], &l.Appends[y]
		return cmp.Or(cmp.Compare(a.Session, b.Session), cmp.Compare(a.Sequence, b.Sequence))
	})
	for i := 1; i < len(order); i++ {
		before, after := order[i-1], order[i]
		if l.Appends[before].Session != l.Appends[after].Session || l.position[after] == unknown {
			continue
		}
		switch {
		case l.position[before] > l.position[after]:
			l.violate("I6", "%s at %d lies below its predecessor %s at %d", l.describe(after), l.position[after], l.describe(before), l.position[before])
		case l.position[before] == unknown && !l.mayBeTrimmed(l.position[after]):
			l.violate("I6", "%s lies at %d, but its predecessor %s nowhere", l.describe(after), l.position[after], l.describe(before))
		}
	}
}

func (l *log) mayBeTrimmed(int64) bool {
	return l.Retention.any() || len(l.Trims) > 0 && l.trimCeiling(math.MaxInt64) > 0 || len(l.Drains) == 0
}

// checkDrains: each drain is whole, and holds all that was known before it.
func (l *log) checkDrains() {
	for d := range l.Drains {
		drain := &l.Drains[d]
		held := make([]bool, len(l.Appends))
		next := drain.Start
		for i := range l.Reads {
			r := &l.Reads[i]
			if r.Drain != int32(d+1) {
				continue
			}
			for _, b := range l.Batches(r) {
				if !b.marker() && b.ID >= 0 && int(b.ID) < len(held) {
					held[b.ID] = true
				}
				next = max(next, b.Base+int64(b.Records))
			}
		}
		if next < drain.End {
			l.violate("I1", "drain %d ended at %d of %d", d+1, next, drain.End)
		}
		l.checkHeld(d, drain, held)
	}
}

func (l *log) checkHeld(d int, drain *Drain, held []bool) {
	for id, stamp := range l.seen {
		position := l.position[id]
		if stamp >= drain.Call || held[id] {
			continue
		}
		if position == unknown && (len(l.Trims) > 0 || l.Retention.any()) {
			continue
		}
		if position != unknown && position+int64(l.Appends[id].Records) <= drain.Start {
			continue // trimmed; whether rightly so, checkTrims says
		}
		if position == unknown && len(l.Lost) > 0 || position != unknown && l.lost(position) {
			continue
		}
		l.violate("I1", "lost write: %s, known at %s to lie at %d, is not in drain %d [%d, %d)",
			l.describe(int32(id)), instant(stamp), position, d+1, drain.Start, drain.End)
		return
	}
}
