package object

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"weir/core/record"
)

// Outcome is how a transaction ended.
type Outcome uint8

// The numbers are those of the format.
const (
	Aborted Outcome = iota
	Committed
	// Undecided: its marker is not among the batches.
	Undecided
)

// noMarker stands for the offset of a marker that is not among the batches.
const noMarker = -1

// Transaction is what a run of batches holds of one transaction. It may have begun before them, and end after them.
type Transaction struct {
	Producer int64
	First    int64 // offset of its first batch among these; that of the marker if none is
	Last     int64 // offset of its marker; -1 if it is undecided
	Outcome  Outcome
	// laterFirst is a lower bound of First of all that end after this one.
	laterFirst int64
}

// Transactions are those of a run of batches. It follows from the batches alone, so that whoever has them can make it,
// and says nothing of what lies before or behind them. The zero value is ready for use.
type Transactions struct {
	ended     []Transaction   // ascending by Last
	undecided []Transaction   // ascending by First
	open      map[int64]int64 // producer to First, of the undecided
}

// Add takes the next batch, which is whole, at its base offset. A batch outside transactions changes nothing.
func (t *Transactions) Add(batch []byte, base int64) {
	h, err := record.ReadHeader(batch)
	if err != nil || !h.Transactional() {
		return
	}
	if h.Control() {
		if m, err := record.ReadMarker(batch); err == nil {
			t.end(h.ProducerID, base, m.Commit)
		}
		return
	}
	if _, known := t.open[h.ProducerID]; known {
		return
	}
	t.begin(h.ProducerID, base)
}

func (t *Transactions) begin(producer, first int64) {
	if t.open == nil {
		t.open = make(map[int64]int64)
	}
	t.open[producer] = first
	t.undecided = append(t.undecided, Transaction{Producer: producer, First: first, Last: noMarker, Outcome: Undecided})
}

func (t *Transactions) end(producer, at int64, commit bool) {
	first, known := t.open[producer]
	if known {
		delete(t.open, producer)
		i, _ := slices.BinarySearchFunc(t.undecided, first, func(n Transaction, first int64) int { return cmp.Compare(n.First, first) })
		t.undecided = slices.Delete(t.undecided, i, i+1)
	} else {
		first = at
	}
	n := Transaction{Producer: producer, First: first, Last: at, laterFirst: at + 1}
	if commit {
		n.Outcome = Committed
	}
	if len(t.undecided) > 0 {
		n.laterFirst = t.undecided[0].First
	}
	t.ended = append(t.ended, n)
}

// Join takes in the transactions of the run of batches that follows. What has been dropped from either as of no
// interest to readers (see rows) does not matter to the result's rows.
func (t *Transactions) Join(later *Transactions) {
	for _, n := range later.ended {
		if first, known := t.open[n.Producer]; known {
			n.First = first
			delete(t.open, n.Producer)
			t.undecided = slices.DeleteFunc(t.undecided, func(u Transaction) bool { return u.First == first })
		}
		if len(t.undecided) > 0 {
			n.laterFirst = min(n.laterFirst, t.undecided[0].First)
		}
		t.ended = append(t.ended, n)
	}
	for _, n := range later.undecided {
		if _, known := t.open[n.Producer]; !known {
			t.begin(n.Producer, n.First)
		}
	}
}

// Forget lets go of what ended below an offset. It returns how many transactions that were.
func (t *Transactions) Forget(below int64) int {
	n := t.endedFrom(below)
	t.ended = slices.Delete(t.ended, 0, n)
	return n
}

// Truncate takes back the batches from end on.
func (t *Transactions) Truncate(end int64) {
	old := *t
	*t = Transactions{ended: old.ended[:old.endedFrom(end)]}
	open := append(slices.Clone(old.ended[len(t.ended):]), old.undecided...)
	slices.SortStableFunc(open, func(a, b Transaction) int { return cmp.Compare(a.First, b.First) })
	for _, n := range open {
		if n.First < end {
			t.begin(n.Producer, n.First)
		}
	}
}

// Len is the number of transactions.
func (t *Transactions) Len() int { return len(t.ended) + len(t.undecided) }

func (t *Transactions) endedFrom(offset int64) int {
	i, _ := slices.BinarySearchFunc(t.ended, offset, func(n Transaction, offset int64) int { return cmp.Compare(n.Last, offset) })
	return i
}

// rows is what an index keeps: aborted transactions, undecided ones, and the first marker of each producer, by which a
// reader learns what became of a transaction that began before. Other commits interest nobody.
func (t *Transactions) rows() []Transaction {
	if t.Len() == 0 {
		return nil
	}
	rows, seen := make([]Transaction, 0, t.Len()), make(map[int64]bool)
	for _, n := range t.ended {
		if !seen[n.Producer] || n.Outcome == Aborted && n.First < n.Last {
			rows = append(rows, n)
		}
		seen[n.Producer] = true
	}
	return append(rows, t.undecided...)
}

// AbortedTransaction is one of a Fetch response: the batches of the producer from First on, up to its next abort
// marker, are to be skipped.
type AbortedTransaction struct {
	Producer, First int64
}

// AbortedSearch collects the aborted transactions that overlap the offsets [From, To), from the transactions of runs of
// batches that follow each other. To is at most the last stable offset, so that each of them is decided by some run.
type AbortedSearch struct {
	From, To int64
	found    []AbortedTransaction
	// pending is producer to First, of those that began below To in a run before, and whose markers are still to come.
	// They may be as many as a partition has producers, and are looked up for each marker that a run has.
	pending map[int64]int64
}

// Visit takes the transactions of the run that begins at start; runs come in order, the first with a start at or below
// From. It reports whether the search needs the run that begins at end, where this one ends.
func (s *AbortedSearch) Visit(t *Transactions, start, end int64) (more bool) {
	for _, n := range t.ended[t.endedFrom(max(start, s.From)):] {
		if s.decide(&n) {
			continue
		}
		if n.Outcome == Aborted && n.First < min(n.Last, s.To) {
			s.found = append(s.found, AbortedTransaction{n.Producer, n.First})
		}
		if len(s.pending) == 0 && n.laterFirst >= s.To {
			break
		}
	}
	s.await(t)
	return s.Needs(end)
}

// Needs reports whether the search needs the run that begins at an offset, after all runs before it.
func (s *AbortedSearch) Needs(start int64) bool { return start < s.To || len(s.pending) > 0 }

// decide settles a pending transaction by the next marker of its producer.
func (s *AbortedSearch) decide(n *Transaction) bool {
	first, known := s.pending[n.Producer]
	if !known {
		return false
	}
	if n.Outcome == Aborted {
		s.found = append(s.found, AbortedTransaction{n.Producer, first})
	}
	delete(s.pending, n.Producer)
	return true
}

// await notes what a run leaves undecided.
func (s *AbortedSearch) await(t *Transactions) {
	for _, n := range t.undecided {
		if n.First >= s.To {
			return
		}
		if _, known := s.pending[n.Producer]; known {
			continue
		}
		if s.pending == nil {
			s.pending = make(map[int64]int64)
		}
		s.pending[n.Producer] = n.First
	}
}

// Abort takes it that what no run has decided was aborted: the markers are lost.
func (s *AbortedSearch) Abort() {
	for _, producer := range slices.Sorted(maps.Keys(s.pending)) {
		s.found = append(s.found, AbortedTransaction{producer, s.pending[producer]})
	}
	s.pending = nil
}

// Undecided is how many transactions no run has decided.
func (s *AbortedSearch) Undecided() int { return len(s.pending) }

// Found returns the aborted transactions, ascending by first offset, as clients expect them, then by producer.
func (s *AbortedSearch) Found() []AbortedTransaction {
	slices.SortStableFunc(s.found, func(a, b AbortedTransaction) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Producer, b.Producer))
	})
	return s.found
}

// Rest is the search without what it has found, for whoever has the next runs; what becomes of it is taken back with Join.
func (s *AbortedSearch) Rest() AbortedSearch {
	return AbortedSearch{From: s.From, To: s.To, pending: s.pending}
}

// Join takes in what became of the Rest of the search.
func (s *AbortedSearch) Join(rest *AbortedSearch) {
	s.To, s.pending, s.found = rest.To, rest.pending, append(s.found, rest.found...)
}

// searchHeadBytes and searchEntryBytes are what an encoded search takes, and each transaction in it.
const (
	searchHeadBytes  = 24
	searchEntryBytes = 16
)

// EncodedBytes is how many bytes AppendTo appends.
func (s *AbortedSearch) EncodedBytes() int {
	return searchHeadBytes + (len(s.found)+len(s.pending))*searchEntryBytes
}

// AppendTo appends the search as far as it has come, so that whoever has the next runs can go on with it. All integers are
// little-endian: i64 From, i64 To, u32 transactions found and u32 pending, then i64 producer and i64 first offset of each of the found,
// ascending by first offset, then producer, and of the pending, ascending by producer.
func (s *AbortedSearch) AppendTo(b []byte) []byte {
	b = order.AppendUint64(b, uint64(s.From))
	b = order.AppendUint64(b, uint64(s.To))
	b = order.AppendUint32(b, uint32(len(s.found)))
	b = order.AppendUint32(b, uint32(len(s.pending)))
	for _, f := range s.Found() {
		b = order.AppendUint64(b, uint64(f.Producer))
		b = order.AppendUint64(b, uint64(f.First))
	}
	for _, producer := range slices.Sorted(maps.Keys(s.pending)) {
		b = order.AppendUint64(b, uint64(producer))
		b = order.AppendUint64(b, uint64(s.pending[producer]))
	}
	return b
}

// ParseAbortedSearch reads what AppendTo appended, and nothing behind it. The error says that no search can be like that.
func ParseAbortedSearch(b []byte) (s AbortedSearch, err error) {
	if len(b) < searchHeadBytes {
		return s, damaged("a search for aborted transactions of %d bytes", len(b))
	}
	found, pending := int64(order.Uint32(b[16:])), int64(order.Uint32(b[20:]))
	s = AbortedSearch{From: int64(order.Uint64(b)), To: int64(order.Uint64(b[8:]))}
	if s.From < 0 || s.To < s.From || int64(len(b)) != searchHeadBytes+(found+pending)*searchEntryBytes {
		return AbortedSearch{}, damaged("a search of [%d, %d) with %d found and %d pending in %d bytes", s.From, s.To, found, pending, len(b))
	}
	last := AbortedTransaction{Producer: math.MinInt64}
	for b = b[searchHeadBytes:]; len(b) > 0; b = b[searchEntryBytes:] {
		n := AbortedTransaction{Producer: int64(order.Uint64(b)), First: int64(order.Uint64(b[8:]))}
		isFound := int64(len(s.found)) < found
		if n.First < 0 || n.First >= s.To || isFound && n.before(&last) || !isFound && len(s.pending) > 0 && n.Producer <= last.Producer {
			return AbortedSearch{}, damaged("a search of [%d, %d) has a transaction of producer %d from offset %d", s.From, s.To, n.Producer, n.First)
		}
		s.take(n, isFound)
		last = n
	}
	return s, nil
}

// take takes the next transaction of an encoded search.
func (s *AbortedSearch) take(n AbortedTransaction, found bool) {
	if found {
		s.found = append(s.found, n)
		return
	}
	if s.pending == nil {
		s.pending = make(map[int64]int64)
	}
	s.pending[n.Producer] = n.First
}

// before reports whether clients expect a transaction to come before another.
func (n *AbortedTransaction) before(o *AbortedTransaction) bool {
	return n.First < o.First || n.First == o.First && n.Producer < o.Producer
}

func (n *Transaction) append(b []byte) []byte {
	b = order.AppendUint64(b, uint64(n.Producer))
	b = order.AppendUint64(b, uint64(n.First))
	b = order.AppendUint64(b, uint64(n.Last))
	return append(b, byte(n.Outcome), 0, 0, 0, 0, 0, 0, 0)
}

// parseTransactions reads the rows of an index whose offsets are [start, end).
func parseTransactions(b []byte, start, end int64) (Transactions, error) {
	var t Transactions
	for ; len(b) > 0; b = b[transactionEntryBytes:] {
		n := Transaction{Producer: int64(order.Uint64(b)), First: int64(order.Uint64(b[8:])), Last: int64(order.Uint64(b[16:])), Outcome: Outcome(b[24])}
		if !t.add(&n, start, end) {
			return Transactions{}, damaged("transaction of producer %d, offsets %d to %d, outcome %d", n.Producer, n.First, n.Last, n.Outcome)
		}
	}
	later := int64(math.MaxInt64)
	if len(t.undecided) > 0 {
		later = t.undecided[0].First
	}
	for i := len(t.ended) - 1; i >= 0; i-- {
		t.ended[i].laterFirst = later
		later = min(later, t.ended[i].First)
	}
	return t, nil
}

// add takes a row of an index; false: it cannot be.
func (t *Transactions) add(n *Transaction, start, end int64) bool {
	_, known := t.open[n.Producer]
	switch {
	case n.First < start || n.First >= end || known:
		return false
	case n.Outcome == Undecided:
		if n.Last != noMarker || len(t.undecided) > 0 && t.undecided[len(t.undecided)-1].First >= n.First {
			return false
		}
		t.begin(n.Producer, n.First)
		return true
	case n.Outcome > Undecided || n.Last < n.First || n.Last >= end || len(t.undecided) > 0:
		return false
	case len(t.ended) > 0 && t.ended[len(t.ended)-1].Last >= n.Last:
		return false
	}
	t.ended = append(t.ended, *n)
	return true
}
