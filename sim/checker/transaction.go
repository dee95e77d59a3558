package checker

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Decision is what a producer asked for at the end of a transaction.
type Decision uint8

const (
	// Nothing: it never sent an EndTxn; the coordinator aborts the transaction.
	Nothing Decision = iota
	Commit
	Abort
)

// Transaction is one transaction of a producer. Its appends name it.
type Transaction struct {
	Client   int32
	Producer int64
	Epoch    int16
	// First: of the first generation, in which several transactions have the same producer id and epoch.
	First bool
	// Stale: an EndTxn of an earlier transaction with the same producer id and epoch may still arrive.
	// Kafka lets it decide this one (KAFKA-17754), so that I7 is not checked.
	Stale bool
	Asked Decision
	// Outcome is that of the EndTxn. Open: none was sent, or its answer does not tell.
	Outcome      Outcome
	Call, Return int64 // of the EndTxn; without an answer, Return has no bound
	Inputs       []Input
}

// Input is what a transaction consumed: its offset commit, in the same transaction, is To.
type Input struct {
	Group     string
	Partition string // name
	From, To  int64  // offsets; From is where the one before ended, as the group's committed offset said
	Processed int64  // records
	// Anew: From is where the log began, since the group had no committed offset, and those that it had may have expired.
	Anew bool
}

// String names a decision.
func (d Decision) String() string { return [...]string{"nothing", "commit", "abort"}[d] }

func (t *Transaction) describe() string {
	generation, answer := "second", t.Outcome.String()
	if t.First {
		generation = "first"
	}
	return fmt.Sprintf("transaction of client %d (producer %d epoch %d, %s generation, %s asked for at %s, %s)",
		t.Client, t.Producer, t.Epoch, generation, t.Asked, instant(t.Call), answer)
}

// verdict is how a transaction ended, as the markers say.
type verdict struct {
	kind  Kind // AbortMarker or CommitMarker; Data: no marker follows
	where string
}

// transactions is the state of one check.
type transactions struct {
	all      []Transaction
	first    map[int64]bool // producer ids with transactions of the first generation
	verdicts []verdict      // by transaction
	found    []Violation
}

func (t *transactions) violate(format string, args ...any) {
	if len(t.found) < 8 {
		t.found = append(t.found, Violation{"I7", fmt.Sprintf(format, args...)})
	}
}

// CheckTransactions checks the transactions of a run on its partitions. It returns the first few violations, and
// decides for the offset commits of [CheckGroup] which transactions took effect.
func CheckTransactions(all []Transaction, partitions []*Partition) []Violation {
	t := &transactions{all: all, first: map[int64]bool{}, verdicts: make([]verdict, len(all))}
	if len(all) == 0 {
		return nil
	}
	for i := range all {
		if all[i].First {
			t.first[all[i].Producer] = true
		}
	}
	for _, p := range partitions {
		t.checkPartition(p)
	}
	for i := range all {
		t.settle(i)
	}
	t.checkInputs(partitions)
	return t.found
}

// ended is the marker that ends each append's transaction, by append; nil: none; [unseen].
type ended []*placedMarker

// unseen stands for a marker that may lie where nobody read: it was deleted before.
var unseen = &placedMarker{}

func (t *transactions) checkPartition(p *Partition) {
	l := newLog(p)
	if len(l.markers) == 0 && !slices.ContainsFunc(p.Appends, func(a Append) bool { return a.Transaction != 0 }) {
		return
	}
	ends := t.replay(l)
	for i := range p.Reads {
		if r := &p.Reads[i]; r.Committed {
			t.checkRead(l, r, ends)
		}
	}
}

// replay follows the log: a marker ends the open transaction of its producer.
func (t *transactions) replay(l *log) ended {
	ends := make(ended, len(l.Appends))
	open := map[int64][]int32{}
	last := map[int64]*placedMarker{}
	next := 0
	for base, at := range l.at {
		if at != 0 && base > next {
			for _, ids := range open {
				for _, id := range ids {
					ends[id] = unseen
				}
			}
			clear(open)
		}
		switch {
		case at > 0:
			next = base + int(l.Appends[at-1].Records)
			if txn := l.Appends[at-1].Transaction; txn != 0 {
				producer := t.all[txn-1].Producer
				t.checkJoined(l, at-1, open[producer])
				open[producer] = append(open[producer], at-1)
			}
		case at < 0:
			next = base + 1
			m := l.markerAt(int64(base))
			t.checkMarker(l, m, last[m.Marker.Producer], open[m.Marker.Producer])
			for _, id := range open[m.Marker.Producer] {
				ends[id] = m
				t.decided(l, id, m)
			}
			delete(open, m.Marker.Producer)
			last[m.Marker.Producer] = m
		}
	}
	if len(l.Drains) == 0 {
		return ends
	}
	for id := range l.Appends {
		if txn := l.Appends[id].Transaction; txn != 0 && l.position[id] != unknown && ends[id] == nil {
			t.violate("%s: %s at %d belongs to a transaction that never ends: %s", l.Name, l.describe(int32(id)), l.position[id], t.all[txn-1].describe())
			break
		}
	}
	return ends
}

// checkJoined: a batch does not join another transaction of its producer that is still open.
func (t *transactions) checkJoined(l *log, id int32, open []int32) {
	if len(open) == 0 {
		return
	}
	before, own := l.Appends[open[0]].Transaction, l.Appends[id].Transaction
	if before != own && !t.all[own-1].Stale {
		t.violate("%s: %s at %d joins a transaction that is still open: %s", l.Name, l.describe(id), l.position[id], t.all[before-1].describe())
	}
}

// checkMarker: a marker of the second generation is written once, and has a higher epoch than what it ends.
func (t *transactions) checkMarker(l *log, m, last *placedMarker, open []int32) {
	if last != nil && last.Marker.Epoch > m.Marker.Epoch {
		t.violate("%s: %s at %d follows one of epoch %d at %d", l.Name, m.describe(), m.Base, last.Marker.Epoch, last.Base)
	}
	if last != nil && last.Marker.Epoch == m.Marker.Epoch && !t.first[m.Marker.Producer] {
		t.violate("%s: %s at %d was written before, at %d", l.Name, m.describe(), m.Base, last.Base)
	}
	if len(open) == 0 {
		return
	}
	txn := &t.all[l.Appends[open[0]].Transaction-1]
	if !txn.First && m.Marker.Epoch <= txn.Epoch || m.Marker.Epoch < txn.Epoch {
		t.violate("%s: %s at %d ends the %s", l.Name, m.describe(), m.Base, txn.describe())
	}
}

// decided: a transaction ends alike everywhere.
func (t *transactions) decided(l *log, id int32, m *placedMarker) {
	i := l.Appends[id].Transaction - 1
	txn, v := &t.all[i], &t.verdicts[i]
	where := fmt.Sprintf("%s, %d at %d", l.Name, l.position[id], m.Base)
	if v.kind != Data && v.kind != m.Kind && !txn.Stale {
		t.violate("torn: %s ends as %s, and %s says otherwise at %s", txn.describe(), v.where, m.describe(), where)
		return
	}
	v.kind, v.where = m.Kind, where
}

// checkRead: a reader of committed records is given a transaction's records after its commit, and leaves out
// those of aborted ones.
func (t *transactions) checkRead(l *log, r *Read, ends ended) {
	for _, b := range l.Batches(r) {
		if b.marker() || b.ID < 0 || int(b.ID) >= len(l.Appends) {
			continue
		}
		a, m := &l.Appends[b.ID], ends[b.ID]
		switch {
		case a.Transaction == 0 && b.Kind == Aborted:
			t.violate("%s: %s left out %s, which belongs to no transaction", l.Name, r.describe(), l.describe(b.ID))
		case a.Transaction == 0 || m == unseen:
		case b.Kind == Aborted && m != nil && m.Kind == CommitMarker:
			t.violate("lost: %s: %s left out %s at %d, which is committed at %d", l.Name, r.describe(), l.describe(b.ID), b.Base, m.Base)
		case b.Kind == Aborted:
		case m == nil || m.Base >= r.HighWatermark:
			t.violate("precommitted read: %s: %s shows %s at %d, whose transaction is open: %s", l.Name, r.describe(), l.describe(b.ID), b.Base, t.all[a.Transaction-1].describe())
		case m.Kind == AbortMarker:
			t.violate("aborted read: %s: %s shows %s at %d, which is aborted at %d", l.Name, r.describe(), l.describe(b.ID), b.Base, m.Base)
		case t.all[a.Transaction-1].Call >= r.Return && !t.all[a.Transaction-1].Stale:
			t.violate("precommitted read: %s: %s shows %s before its commit: %s", l.Name, r.describe(), l.describe(b.ID), t.all[a.Transaction-1].describe())
		}
	}
}

// settle compares the markers with what the client asked for and heard. Without records, the answer counts.
func (t *transactions) settle(i int) {
	txn, v := &t.all[i], t.verdicts[i]
	switch {
	case txn.Stale:
	case v.kind == CommitMarker && txn.Asked != Commit:
		t.violate("committed though nobody asked for it: %s, %s", txn.describe(), v.where)
	case v.kind == AbortMarker && txn.Asked == Commit && txn.Outcome == Done:
		t.violate("lost: aborted though its commit is acknowledged: %s, %s", txn.describe(), v.where)
	}
	if v.kind == CommitMarker {
		txn.Outcome = Done
	}
	if v.kind == AbortMarker || txn.Asked == Abort && !txn.Stale {
		txn.Asked, txn.Outcome = Abort, Done
	}
}

// committed reports whether a transaction took effect; certain is false if nothing tells.
func (txn *Transaction) committed() (yes, certain bool) {
	return txn.Asked == Commit && txn.Outcome == Done, txn.Asked != Commit || txn.Outcome != Open || txn.Stale
}

// checkInputs: committed transactions consumed each partition for a group without overlap or gap (exactly once).
func (t *transactions) checkInputs(partitions []*Partition) {
	type consumer struct{ group, partition string }
	type span struct {
		Input
		txn     *Transaction
		certain bool
	}
	spans, anew := map[consumer][]span{}, map[consumer]int{}
	var order []consumer
	excused := map[string]bool{}
	for i := range t.all {
		txn := &t.all[i]
		yes, certain := txn.committed()
		for _, in := range txn.Inputs {
			excused[in.Group] = excused[in.Group] || txn.Stale
			if !yes && certain || in.To <= in.From {
				continue
			}
			c := consumer{in.Group, in.Partition}
			if spans[c] == nil {
				order = append(order, c)
			}
			spans[c] = append(spans[c], span{in, txn, certain})
			if in.Anew {
				anew[c]++
			}
		}
	}
	trims := map[string]bool{}
	for _, p := range partitions {
		trims[p.Name] = len(p.Trims) > 0 || p.Retention.any()
	}
	for _, c := range order {
		if excused[c.group] || anew[c] > 1 { // the committed offsets expired in between, which I9 checks
			continue
		}
		list := spans[c]
		slices.SortStableFunc(list, func(a, b span) int { return cmp.Compare(a.From, b.From) })
		maybe := map[int64]int64{}
		next := int64(math.MaxInt64)
		for _, s := range list {
			if !s.certain {
				maybe[s.From] = s.To
				continue
			}
			for next < s.From {
				to, known := maybe[next]
				if !known {
					break
				}
				next = to
			}
			switch {
			case next == math.MaxInt64:
			case s.From < next:
				t.violate("processed twice: group %s consumed %s from %d, which was consumed up to %d before: %s", c.group, c.partition, s.From, next, s.txn.describe())
			case s.From > next && !trims[c.partition]:
				t.violate("skipped: group %s consumed %s from %d, and before that up to %d: %s", c.group, c.partition, s.From, next, s.txn.describe())
			}
			next = s.To
		}
	}
}

// checkLastStable: the last stable offset is at most the high watermark, and never goes back in real time. One that
// a deletion of records raised may go back where that is undone, as the log start does.
func (l *log) checkLastStable() {
	var stable, raised []mark // raised: it was the log start, or may have been
	for i := range l.Reads {
		r := &l.Reads[i]
		if r.HighWatermark < 0 || r.LastStable < 0 {
			continue
		}
		if r.LastStable > r.HighWatermark {
			l.violate("I3", "%s: last stable offset %d above the high watermark %d", r.describe(), r.LastStable, r.HighWatermark)
		}
		m := mark{r.Call, r.Return, r.LastStable, "fetch", r.Client}
		if r.LastStable > r.LogStart {
			stable = append(stable, m)
		} else {
			raised = append(raised, m)
		}
	}
	for i := range l.Bounds {
		if b := &l.Bounds[i]; b.Latest && b.Committed {
			raised = append(raised, mark{b.Call, b.Return, b.Offset, "list offsets", b.Client})
		}
	}
	l.eachPeriod(func(from int64, within func([]mark) []mark) {
		floors := append(within(raised), stable...)
		if low, high, ok := backwards(within(append(slices.Clone(stable), raised...)), floors); !ok {
			l.violate("I3", "last stable offset %d by %s, after %s had shown %d", low.offset, low.describe(), high.describe(), high.offset)
		}
	})
}
