package stream

import (
	"encoding/binary"
	"errors"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
	"weir/core/telemetry"
)

// ReadStable reads like Read, up to an end that is at most the last stable offset, and names the aborted transactions of
// what it read in [Fetched.Aborted].
func (s *Stream) ReadStable(offset, end int64, maxBytes int, done func(Fetched)) {
	r := &stableRead{stream: s, offset: offset, end: end, maxBytes: maxBytes, deadline: s.stored.deadline(), done: done}
	r.start()
}

// stableRead is one call of ReadStable.
type stableRead struct {
	stream      *Stream
	offset, end int64
	maxBytes    int
	deadline    env.Time // of the reads of what another broker owes
	restarts    int
	done        func(Fetched)
}

func (r *stableRead) start() {
	s := r.stream
	if of, owed := s.owedAt(r.offset); owed && s.owner != nil {
		r.readOwed(&of)
		return
	}
	if s.transactions.Len() == 0 && r.end >= s.highWatermark && s.inCache(r.offset) {
		s.Read(r.offset, r.maxBytes, r.done)
		return
	}
	s.Read(r.offset, r.maxBytes, r.came)
}

// readOwed reads what another broker owes. That broker searches in what it has: the answer says of both how they were at one moment.
func (r *stableRead) readOwed(of *metadata.Range) {
	s := r.stream
	s.engine.owed.start(&owedRead{
		stream: s, deadline: r.deadline,
		request: owedRequest{
			stream: s.id, leaderEpoch: of.LeaderEpoch, offset: r.offset, maxBytes: r.maxBytes, batches: true,
			searches: true, search: object.AbortedSearch{From: r.offset, To: r.end},
		},
		came:   r.cameOwed,
		moved:  r.start,
		failed: func(err error) { r.done(Fetched{Err: err}) },
	})
}

// cameOwed goes on with the search behind the range that was read.
func (r *stableRead) cameOwed(a *owedAnswer) {
	a.fetched.cut(r.end)
	q := r.search(a.fetched)
	q.AbortedSearch, q.at = a.search, a.end
	q.further()
}

// came looks for the aborted transactions of what was read.
func (r *stableRead) came(got Fetched) {
	got.cut(r.end)
	if got.Err != nil || len(got.Batches) == 0 {
		r.done(got)
		return
	}
	last, _ := record.ReadHeader(got.Batches[len(got.Batches)-1])
	q := r.search(got)
	q.From, q.To = r.offset, min(last.NextOffset(), r.end)
	if r.stream.moved(&got, r.offset) {
		q.restart()
		return
	}
	q.next()
}

// search is the search for the aborted transactions of what was read.
func (r *stableRead) search(got Fetched) *abortedSearch {
	q := &abortedSearch{stream: r.stream, got: got, at: r.offset, deadline: r.stream.stored.deadline(), restarts: r.restarts, done: r.done}
	q.again = func() {
		r.restarts = q.restarts
		r.start()
	}
	return q
}

// moved reports whether what was read at an offset lies elsewhere by now. What lies there instead may be compacted by key: then it
// knows nothing of the transactions of records that are gone, and that were read.
func (s *Stream) moved(f *Fetched, offset int64) bool {
	if f.tail {
		_, there := s.engine.recovered.at(s.id, offset)
		return !there
	}
	if f.owed {
		_, still := s.owedAt(offset)
		return !still
	}
	if f.part.Object == 0 {
		return false
	}
	now, err := s.stored.partFor(offset)
	return err == nil && now != f.part
}

// cut drops the batches from end on.
func (f *Fetched) cut(end int64) {
	n := len(f.Batches)
	for n > 0 && int64(binary.BigEndian.Uint64(f.Batches[n-1])) >= end {
		n--
		f.Bytes -= len(f.Batches[n])
	}
	f.Batches = f.Batches[:n]
}

// abortedSearch looks for the aborted transactions of what was read: in the log cache, in recovered tails, in the logs of brokers that
// owe records, and in the indexes of parts, each of which knows the transactions of its own batches. It starts where the read did and goes on
// beyond its end for as long as a transaction of it is undecided.
type abortedSearch struct {
	object.AbortedSearch
	stream   *Stream
	got      Fetched
	at       int64
	deadline env.Time
	restarts int
	lost     bool // a part that was searched is lost: some markers may be
	done     func(Fetched)
	again    func() // reads anew; nil: nothing was read
}

// restart begins anew, for what was read or searched was moved meanwhile.
func (q *abortedSearch) restart() {
	q.stream.engine.base.Telemetry.Hit("stream read: moved during a stable read")
	if q.restarts++; q.restarts > resolvesMax {
		q.end(errMerged)
		return
	}
	if q.again != nil {
		q.got.Release()
		q.again()
		return
	}
	q.AbortedSearch, q.at = object.AbortedSearch{From: q.From, To: q.To}, q.From
	q.next()
}

// errMerged ends a stable read that met new parts each time.
var errMerged = errors.New("the parts that were searched for transactions were merged again and again")

func (q *abortedSearch) next() {
	s := q.stream
	for q.at < s.highWatermark {
		if s.inCache(q.at) {
			if q.visit(&s.transactions, s.end) {
				break
			}
			return
		}
		if t, ok := s.engine.recovered.at(s.id, q.at); ok {
			if !q.visit(&t.transactions, t.next) {
				return
			}
			continue
		}
		if of, owed := s.owedAt(q.at); owed {
			q.searchOwed(&of)
			return
		}
		q.searchPart()
		return
	}
	if q.Undecided() > 0 && q.again != nil && s.moved(&q.got, q.From) {
		q.restart()
		return
	}
	if q.lost {
		q.Abort() // what is not known to be committed
	}
	telemetry.Assert(7, q.Undecided() == 0, "stream %d: %d transactions below the last stable offset have no marker", s.id, q.Undecided())
	q.end(nil)
}

// visit searches one run of batches, and reports whether to go on behind it.
func (q *abortedSearch) visit(t *object.Transactions, end int64) (more bool) {
	if !q.Visit(t, q.at, end) {
		q.end(nil)
		return false
	}
	q.at = end
	return true
}

// searchOwed has the search go on where the range is that another broker owes.
func (q *abortedSearch) searchOwed(of *metadata.Range) {
	s := q.stream
	s.engine.owed.start(&owedRead{
		stream: s, deadline: q.deadline,
		request: owedRequest{stream: s.id, leaderEpoch: of.LeaderEpoch, offset: q.at, searches: true, search: q.Rest()},
		came: func(a *owedAnswer) {
			s.engine.base.Telemetry.Hit("stream read: a search for aborted transactions went on in another broker's log")
			q.Join(&a.search)
			q.at = a.end
			q.further()
		},
		moved:  q.next,
		failed: q.end,
	})
}

// further goes on behind a range that another broker searched.
func (q *abortedSearch) further() {
	if !q.Needs(q.at) {
		q.end(nil)
		return
	}
	q.next()
}

func (q *abortedSearch) searchPart() {
	log := q.stream.stored
	part, err := log.partFor(q.at)
	if err != nil {
		q.end(err)
		return
	}
	if part.Lost() {
		q.lost = true
		if q.visit(&object.Transactions{}, part.End) {
			q.next()
		}
		return
	}
	if q.at != q.From && part.Start != q.at {
		// It was merged with what was searched already. Its index has the first marker of each producer in all of it, but perhaps
		// not the first that lies behind what was searched.
		q.restart()
		return
	}
	failed := func(err error) {
		switch {
		case !log.replaced(&part, err):
			q.end(err)
		case q.again != nil && q.stream.moved(&q.got, q.From):
			q.restart()
		default:
			q.next()
		}
	}
	log.withIndex(&part, q.deadline, failed, func(index *heldIndex) {
		if q.visit(&index.Transactions, part.End) {
			q.next()
		}
	})
}

func (q *abortedSearch) end(err error) {
	if err != nil {
		q.got.Release()
		q.done(Fetched{Err: err})
		return
	}
	q.got.Aborted = q.Found()
	q.done(q.got)
}
