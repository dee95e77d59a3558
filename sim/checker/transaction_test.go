package checker

import (
	"math"
	"strings"
	"testing"
)

// txnStory is a history of two partitions and transactions, built by hand.
type txnStory struct {
	parts        [2]story
	now          int64
	transactions []Transaction
	group        Group
}

func newTxnStory() *txnStory {
	s := &txnStory{group: Group{Name: "g"}}
	s.parts[0].Name, s.parts[1].Name = "t-0", "t-1"
	return s
}

func (s *txnStory) stamp() int64 {
	s.now += 10
	s.parts[0].now, s.parts[1].now = s.now, s.now
	return s.now
}

// begin begins a transaction and returns its number.
func (s *txnStory) begin(producer int64, epoch int16) int32 {
	s.transactions = append(s.transactions, Transaction{Producer: producer, Epoch: epoch, Call: math.MaxInt64, Return: math.MaxInt64})
	return int32(len(s.transactions))
}

// send records an acknowledged batch of one record.
func (s *txnStory) send(txn int32, part int, base int64) {
	call := s.stamp()
	p := &s.parts[part]
	p.Appends = append(p.Appends, Append{Records: 1, Base: base, Outcome: Done, Transaction: txn, Call: call, Return: s.stamp()})
	p.MarkersMax++
}

func (s *txnStory) end(txn int32, asked Decision, outcome Outcome) {
	t := &s.transactions[txn-1]
	t.Asked, t.Call = asked, s.stamp()
	if t.Outcome = outcome; outcome != Open {
		t.Return = s.stamp()
	}
}

func marker(base, producer int64, epoch int16, kind Kind) Batch {
	return Batch{Base: base, Records: 1, Kind: kind, Marker: Marker{Producer: producer, Epoch: epoch}}
}

func left(base int64, id int32) Batch { return Batch{Base: base, ID: id, Records: 1, Kind: Aborted} }

// read records a fetch of committed records.
func (s *txnStory) read(part int, high int64, batches ...Batch) {
	call := s.stamp()
	s.parts[part].AddRead(Read{Committed: true, HighWatermark: high, LastStable: high, LogStart: -1, Call: call, Return: s.stamp()}, batches)
}

// drain reads a whole partition.
func (s *txnStory) drain(part int, end int64, batches ...Batch) {
	p := &s.parts[part]
	s.stamp()
	p.drain(0, end, batches...)
	p.Reads[len(p.Reads)-1].LastStable = end
	s.now = p.now
}

func (s *txnStory) check() []Violation {
	var found []Violation
	for i := range s.parts {
		found = append(found, CheckLog(&s.parts[i].Partition)...)
	}
	found = append(found, CheckTransactions(s.transactions, []*Partition{&s.parts[0].Partition, &s.parts[1].Partition})...)
	return append(found, CheckGroup(&s.group, s.transactions)...)
}

// whole tells a transaction over both partitions that ends with a marker in each.
func (s *txnStory) whole(asked Decision, outcome Outcome, kinds ...Kind) {
	txn := s.begin(7, 0)
	s.send(txn, 0, 0)
	s.send(txn, 1, 0)
	s.end(txn, asked, outcome)
	for part, kind := range kinds {
		s.drain(part, 2, data(0, 0, 1, 0), marker(1, 7, 1, kind))
	}
}

func TestPlantedTransactions(t *testing.T) {
	tests := []struct {
		name string
		want string // invariant and words of the text; empty: good
		tell func(s *txnStory)
	}{
		{"good: committed", "", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.read(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker))
		}},
		{"good: aborted", "", func(s *txnStory) {
			s.whole(Abort, Done, AbortMarker, AbortMarker)
			s.read(0, 2, left(0, 0), marker(1, 7, 1, AbortMarker))
		}},
		{"good: an EndTxn without an answer, either way", "", func(s *txnStory) { s.whole(Commit, Open, AbortMarker, AbortMarker) }},
		{"good: aborted by its timeout", "", func(s *txnStory) { s.whole(Nothing, Open, AbortMarker, AbortMarker) }},
		{"good: another record between two of a transaction (int-send-skip), and interleaved transactions (G0)", "", func(s *txnStory) {
			a, b := s.begin(7, 0), s.begin(8, 0)
			s.send(a, 0, 0)
			s.send(b, 0, 1)
			s.send(a, 0, 2)
			s.end(a, Commit, Done)
			s.end(b, Commit, Done)
			s.drain(0, 5, data(0, 0, 1, 0), data(1, 1, 1, 0), data(2, 2, 1, 0), marker(3, 7, 1, CommitMarker), marker(4, 8, 1, CommitMarker))
		}},
		{"aborted read (G1a)", "I7 aborted read", func(s *txnStory) {
			s.whole(Abort, Done, AbortMarker, AbortMarker)
			s.read(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, AbortMarker))
		}},
		{"a committed record is left out", "I7 lost", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.read(1, 2, left(0, 0), marker(1, 7, 1, CommitMarker))
		}},
		{"a record without a transaction is left out", "I7 belongs to no transaction", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.send(0, 0, 2)
			s.read(0, 3, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker), left(2, 1))
		}},
		{"torn", "I7 torn", func(s *txnStory) { s.whole(Commit, Open, CommitMarker, AbortMarker) }},
		{"torn within a partition", "I7 torn", func(s *txnStory) {
			txn := s.begin(7, 0)
			s.send(txn, 0, 0)
			s.send(txn, 0, 2)
			s.end(txn, Commit, Open)
			s.drain(0, 4, data(0, 0, 1, 0), marker(1, 7, 1, AbortMarker), data(2, 1, 1, 0), marker(3, 7, 2, CommitMarker))
		}},
		{"lost write of a transaction of which a sibling is read", "I1 lost write", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker)
			s.drain(1, 0)
		}},
		{"an acknowledged commit is aborted", "I7 lost: aborted", func(s *txnStory) { s.whole(Commit, Done, AbortMarker, AbortMarker) }},
		{"an acknowledged abort is committed", "I7 committed though", func(s *txnStory) { s.whole(Abort, Done, CommitMarker, CommitMarker) }},
		{"committed by nobody", "I7 committed though", func(s *txnStory) { s.whole(Nothing, Open, CommitMarker, CommitMarker) }},
		{"a delayed EndTxn decides the next transaction", "I7 committed though", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			txn := s.begin(7, 1)
			s.send(txn, 0, 2)
			s.drain(0, 4, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker), data(2, 1, 1, 0), marker(3, 7, 2, CommitMarker))
		}},
		{"good: a delayed EndTxn of the first generation does so (KAFKA-17754)", "", func(s *txnStory) {
			txn := s.begin(7, 0)
			s.transactions[0].First, s.transactions[0].Stale = true, true
			s.send(txn, 0, 0)
			s.drain(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker))
		}},
		{"never ended", "I7 never ends", func(s *txnStory) {
			s.send(s.begin(7, 0), 0, 0)
			s.drain(0, 1, data(0, 0, 1, 0))
		}},
		{"joins an open transaction", "I7 still open", func(s *txnStory) {
			s.send(s.begin(7, 0), 0, 0)
			s.send(s.begin(7, 1), 0, 1)
			s.drain(0, 3, data(0, 0, 1, 0), data(1, 1, 1, 0), marker(2, 7, 2, AbortMarker))
		}},
		{"a marker written twice", "I7 was written before", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.drain(0, 3, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker), marker(2, 7, 1, CommitMarker))
		}},
		{"a marker of an old epoch", "I7 ends the", func(s *txnStory) {
			s.send(s.begin(7, 3), 0, 0)
			s.drain(0, 2, data(0, 0, 1, 0), marker(1, 7, 3, AbortMarker))
		}},
		{"two markers at one offset", "I2 two values", func(s *txnStory) {
			s.whole(Commit, Open, CommitMarker, CommitMarker)
			s.drain(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, AbortMarker))
		}},
		{"precommitted read: before the commit was asked for", "I7 precommitted read", func(s *txnStory) {
			txn := s.begin(7, 0)
			s.send(txn, 0, 0)
			s.read(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker))
			s.end(txn, Commit, Done)
		}},
		{"precommitted read: the marker is not there yet", "I7 precommitted read", func(s *txnStory) {
			txn := s.begin(7, 0)
			s.send(txn, 0, 0)
			s.end(txn, Commit, Done)
			s.read(0, 1, data(0, 0, 1, 0))
			s.drain(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker))
		}},
		{"two transactions read each other's records (G1c)", "I7 precommitted read", func(s *txnStory) {
			a, b := s.begin(7, 0), s.begin(8, 0)
			s.send(a, 0, 0)
			s.send(b, 1, 0)
			s.read(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker)) // by b
			s.end(b, Commit, Done)
			s.read(1, 2, data(0, 0, 1, 0), marker(1, 8, 1, CommitMarker)) // by a
			s.end(a, Commit, Done)
		}},
		{"records above the last stable offset", "I3 above its last stable offset", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.read(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker))
			s.parts[0].Reads[1].LastStable = 1
		}},
		{"the last stable offset goes back", "I3 last stable offset", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.read(0, 2)
			s.read(0, 2)
			s.parts[0].Reads[2].LastStable = 0
		}},
		{"the last stable offset goes back with a disk, and no deletion had raised it", "I3 last stable offset", func(s *txnStory) {
			s.whole(Commit, Done, CommitMarker, CommitMarker)
			s.read(0, 2)
			s.read(0, 2)
			s.parts[0].Reads[2].LastStable = 0
			s.parts[0].Undone = []int64{s.parts[0].Reads[2].Call}
		}},
		{"good: the last stable offset goes back with a disk, to below a deletion that is undone", "", func(s *txnStory) {
			p := &s.parts[0]
			txn := s.begin(7, 0)
			s.send(txn, 0, 0)
			p.Trims = append(p.Trims, Trim{Before: 1, Call: s.stamp()})
			s.read(0, 1)
			p.Reads[0].LogStart, p.Reads[0].LastStable = 1, 1
			p.Undone = []int64{s.stamp()}
			s.read(0, 1)
			p.Reads[1].LogStart, p.Reads[1].LastStable = 0, 0
			s.end(txn, Commit, Done)
			s.drain(0, 2, data(0, 0, 1, 0), marker(1, 7, 1, CommitMarker))
		}},
		{"good: each input once", "", func(s *txnStory) {
			s.consume(0, 3, Commit, Done)
			s.consume(3, 5, Abort, Done)
			s.consume(3, 6, Commit, Open)
			s.consume(6, 8, Commit, Done)
		}},
		{"an input processed twice", "I7 processed twice", func(s *txnStory) {
			s.consume(0, 3, Commit, Done)
			s.consume(2, 6, Commit, Done)
		}},
		{"good: an input again after its offset expired", "", func(s *txnStory) {
			for range 2 {
				txn := s.consume(0, 3, Commit, Done)
				s.transactions[txn-1].Inputs[0].Anew = true
			}
		}},
		{"an input that began anew processed twice", "I7 processed twice", func(s *txnStory) {
			txn := s.consume(0, 3, Commit, Done)
			s.transactions[txn-1].Inputs[0].Anew = true
			s.consume(2, 6, Commit, Done)
		}},
		{"an input skipped", "I7 skipped", func(s *txnStory) {
			s.consume(0, 3, Commit, Done)
			s.consume(3, 6, Abort, Done)
			s.consume(6, 8, Commit, Done)
		}},
		{"good: offsets of a transaction", "", func(s *txnStory) {
			s.commitIn(s.consume(0, 3, Commit, Done), 3)
			s.fetch(3, 1)
		}},
		{"offsets of an aborted transaction", "I9 never took effect", func(s *txnStory) {
			s.commitIn(s.consume(0, 3, Abort, Done), 3)
			s.fetch(3, 1)
		}},
		{"offsets of a transaction before its commit", "I9 before it could", func(s *txnStory) {
			txn := s.begin(7, 0)
			s.commitIn(txn, 3)
			s.fetch(3, 1)
			s.end(txn, Commit, Done)
		}},
		{"offsets of a committed transaction are lost", "I9 there is none", func(s *txnStory) {
			txn := s.begin(7, 0)
			s.commitIn(txn, 3)
			s.end(txn, Commit, Done)
			s.fetch(-1, 0)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newTxnStory()
			test.tell(s)
			requireFound(t, s.check(), test.want)
		})
	}
}

func requireFound(t *testing.T, found []Violation, want string) {
	t.Helper()
	if want == "" {
		if len(found) > 0 {
			t.Errorf("a good history was judged bad: %v", found)
		}
		return
	}
	invariant, words, _ := strings.Cut(want, " ")
	for _, v := range found {
		if v.Invariant == invariant && strings.Contains(v.Text, words) {
			return
		}
	}
	t.Errorf("found %v, want %s", found, want)
}

// consume tells a transaction that only consumed.
func (s *txnStory) consume(from, to int64, asked Decision, outcome Outcome) int32 {
	txn := s.begin(7, int16(len(s.transactions)))
	s.transactions[txn-1].Inputs = []Input{{Group: "g", Partition: "in-0", From: from, To: to}}
	s.end(txn, asked, outcome)
	return txn
}

func (s *txnStory) commitIn(txn int32, offset int64) {
	call := s.stamp()
	s.group.Commits = append(s.group.Commits, OffsetCommit{Partition: "in-0", Offset: offset, Generation: -1, Transaction: txn, Outcome: Done, Call: call, Return: s.stamp()})
}

func (s *txnStory) fetch(offset int64, number int32) {
	call := s.stamp()
	s.group.Fetches = append(s.group.Fetches, OffsetFetch{Partition: "in-0", Offset: offset, Number: number, Stable: true, Call: call, Return: s.stamp()})
}

// groupStory is a group's history, built by hand.
type groupStory struct {
	Group
	transactions []Transaction
	now          int64
}

func (s *groupStory) stamp() int64 { s.now += 10; return s.now }

func (s *groupStory) commit(offset int64, outcome Outcome) *OffsetCommit {
	c := OffsetCommit{Partition: "t-0", Offset: offset, Generation: -1, Outcome: outcome, Call: s.stamp(), Return: math.MaxInt64}
	if outcome != Open {
		c.Return = s.stamp()
	}
	s.Commits = append(s.Commits, c)
	return &s.Commits[len(s.Commits)-1]
}

func (s *groupStory) fetch(offset int64, number int32) *OffsetFetch {
	call := s.stamp()
	s.Fetches = append(s.Fetches, OffsetFetch{Partition: "t-0", Offset: offset, Number: number, Stable: true, Call: call, Return: s.stamp()})
	return &s.Fetches[len(s.Fetches)-1]
}

func (s *groupStory) sync(member string, generation int32, partitions ...string) {
	call := s.stamp()
	s.Syncs = append(s.Syncs, Sync{Member: member, Generation: generation, Partitions: partitions, Call: call, Return: s.stamp()})
}

func (s *groupStory) own(member string, from, to int64) {
	s.Owned = append(s.Owned, Ownership{Member: member, Partition: "t-0", From: from, To: to})
}

func (s *groupStory) remove(outcome Outcome) {
	d := OffsetDeletion{Partition: "t-0", Outcome: outcome, Call: s.stamp(), Return: math.MaxInt64}
	if outcome != Open {
		d.Return = s.stamp()
	}
	s.Deletions = append(s.Deletions, d)
}

// stage commits in a transaction, with what comes before its end in between.
func (s *groupStory) stage(offset int64, between func()) {
	s.Simple = true
	s.commit(offset, Done).Transaction = int32(len(s.transactions) + 1)
	between()
	call := s.stamp()
	s.transactions = append(s.transactions, Transaction{Asked: Commit, Outcome: Done, Call: call, Return: s.stamp()})
}

func TestPlantedGroups(t *testing.T) {
	tests := []struct {
		name string
		want string
		tell func(s *groupStory)
	}{
		{"good: the last commit counts", "", func(s *groupStory) {
			s.fetch(-1, 0)
			s.commit(3, Done)
			s.fetch(3, 1)
			s.commit(2, Done) // going back is the client's right
			s.fetch(2, 2)
			s.commit(9, Failed)
			s.fetch(2, 2)
		}},
		{"good: a commit without an answer takes effect late", "", func(s *groupStory) {
			s.commit(3, Open)
			s.commit(4, Done)
			s.fetch(4, 2)
			s.fetch(3, 1)
			s.fetch(3, 1)
		}},
		{"good: concurrent commits in either order", "", func(s *groupStory) {
			s.commit(3, Done)
			s.commit(4, Done)
			s.Commits[0].Return = s.stamp()
			s.fetch(3, 1)
		}},
		{"lost", "I9 there is none", func(s *groupStory) {
			s.commit(3, Done)
			s.fetch(-1, 0)
		}},
		{"lost after it was seen", "I9 there is none", func(s *groupStory) {
			s.commit(3, Open)
			s.fetch(3, 1)
			s.fetch(-1, 0)
		}},
		{"rolled back", "I9 meanwhile", func(s *groupStory) {
			s.commit(3, Done)
			s.commit(4, Done)
			s.fetch(3, 1)
		}},
		{"rolled back after it was seen", "I9 meanwhile", func(s *groupStory) {
			s.commit(3, Open)
			s.commit(4, Open)
			s.fetch(3, 1)
			s.fetch(4, 2)
			s.fetch(3, 1)
		}},
		{"a refused commit takes effect", "I9 never took effect", func(s *groupStory) {
			s.commit(3, Failed)
			s.fetch(3, 1)
		}},
		{"another's offset", "I9 of another commit", func(s *groupStory) {
			s.commit(3, Done)
			s.fetch(4, 1)
		}},
		{"seen before it was sent", "I9 before it could", func(s *groupStory) {
			s.fetch(3, 1)
			s.commit(3, Done)
		}},
		{"an offset that nobody committed", "I9 nobody sent", func(s *groupStory) { s.fetch(3, 5) }},
		{"good: expired", "", func(s *groupStory) {
			s.Retention = 50
			s.commit(3, Done)
			s.now += 100
			s.fetch(-1, 0)
		}},
		{"expired too early", "I9 there is none", func(s *groupStory) {
			s.Retention = 50
			s.commit(3, Done)
			s.now += 5
			s.fetch(-1, 0)
		}},
		{"good: deleted, and committed again", "", func(s *groupStory) {
			s.commit(3, Done)
			s.remove(Done)
			s.fetch(-1, 0)
			s.commit(4, Done)
			s.fetch(4, 2)
		}},
		{"good: a deletion without an answer, either way", "", func(s *groupStory) {
			s.commit(3, Done)
			s.remove(Open)
			s.fetch(3, 1)
			s.fetch(-1, 0)
		}},
		{"lost after a deletion", "I9 there is none", func(s *groupStory) {
			s.commit(3, Done)
			s.remove(Done)
			s.commit(4, Done)
			s.fetch(-1, 0)
		}},
		{"lost, and a deletion was refused", "I9 there is none", func(s *groupStory) {
			s.commit(3, Done)
			s.remove(Failed)
			s.fetch(-1, 0)
		}},
		{"back after it was deleted", "I9 was deleted", func(s *groupStory) {
			s.commit(3, Done)
			s.remove(Done)
			s.fetch(3, 1)
		}},
		{"good: a plain commit and a deletion override what is staged", "", func(s *groupStory) {
			s.stage(3, func() { s.commit(4, Done) })
			s.fetch(4, 2)
			s.stage(5, func() { s.remove(Done) })
			s.fetch(-1, 0)
		}},
		{"what is staged overrides a later plain commit", "I9 never took effect", func(s *groupStory) {
			s.stage(3, func() { s.commit(4, Done) })
			s.fetch(3, 1)
		}},
		{"what is staged is back after it was deleted", "I9 never took effect", func(s *groupStory) {
			s.stage(3, func() { s.remove(Done) })
			s.fetch(3, 1)
		}},
		{"what is staged is seen too early", "I9 before it could", func(s *groupStory) {
			s.stage(3, func() { s.fetch(3, 1) })
		}},
		{"what was staged is lost", "I9 there is none", func(s *groupStory) {
			s.stage(3, func() {})
			s.fetch(-1, 0)
		}},
		{"good: two generations", "", func(s *groupStory) {
			s.sync("a", 1, "t-0", "t-1")
			s.sync("a", 2, "t-0")
			s.sync("b", 2, "t-1")
			s.sync("b", 2, "t-1")
			s.own("a", 0, 10)
			s.own("b", 20, 30)
			s.own("a", 40, 50)
		}},
		{"two owners in a generation", "group has two owners in generation", func(s *groupStory) {
			s.sync("a", 2, "t-0", "t-1")
			s.sync("b", 2, "t-1")
		}},
		{"two owners at a time", "group has two owners", func(s *groupStory) {
			s.own("a", 0, 30)
			s.own("b", 20, 40)
		}},
		{"two owners at a time, after a short one", "group has two owners", func(s *groupStory) {
			s.own("a", 0, 90)
			s.own("a", 10, 20)
			s.own("b", 50, 60)
		}},
		{"a zombie's commit", "group though generation", func(s *groupStory) {
			s.sync("a", 1, "t-0")
			s.sync("b", 2, "t-0")
			s.commit(3, Done).Generation = 1
		}},
		{"good: a zombie's commit is refused", "", func(s *groupStory) {
			s.sync("b", 2, "t-0")
			s.commit(3, Failed).Generation = 1
			s.commit(4, Done).Generation = 2
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &groupStory{Group: Group{Name: "g"}}
			test.tell(s)
			requireFound(t, CheckGroup(&s.Group, s.transactions), test.want)
		})
	}
}
