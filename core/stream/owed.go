package stream

import (
	"errors"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
	"weir/core/task"
	"weir/core/telemetry"
)

const (
	// owedPoll is how often a read looks whether what another broker owes was committed.
	owedPoll = 20 * time.Millisecond
	// owedAsksMax bounds the questions to other brokers that are under way. Each answer has at most OwedAnswerBytesMax.
	owedAsksMax = 4
	// owedQuiet is for how long a broker that did not answer, or does not know the question, is not asked again.
	owedQuiet = 500 * time.Millisecond
	// owedAnswersMax bounds the answers that are being made.
	owedAnswersMax = 16
)

// owedAgain says how soon a broker that does not hold the records is asked again: perhaps one of both images is behind.
var owedAgain = task.BackOff{First: owedPoll, Max: owedQuiet}

var (
	// ErrNotHeld: this broker's log does not hold that, or not any more, or its image does not say so yet.
	ErrNotHeld = errors.New("stream: the records are not in this broker's write-ahead log")

	errOwed     = errors.New("the records are in the write-ahead log of another broker, or of a dead one, and are not uploaded yet")
	errAnswers  = errors.New("stream: too many reads of other brokers are being answered")
	errTooLarge = errors.New("stream: an answer would be larger than a message may be")
)

// owedReads are reads of what the WALs of other brokers hold (R15): those of this broker's streams, and the answers to those of others.
type owedReads struct {
	*base
	streams   *streamSet
	recovered *recoveredLogs
	asking    int
	line      task.Queue[*owedRead]             // waits for a question that ends
	quiet     map[metadata.BrokerEpoch]env.Time // not to be asked before
	answering int
}

// owedRead is a read of what another broker's WAL holds. It asks that broker, and looks now and then whether the records were
// uploaded meanwhile.
type owedRead struct {
	stream   *Stream
	deadline env.Time
	request  owedRequest
	came     func(*owedAnswer) // what was asked for
	moved    func()            // the records are elsewhere by now: they are to be read anew
	failed   func(error)
	asks     bool // or stands in line
	refusals int
	quiet    env.Time // not to ask before
	over     bool
}

// owedAnswer is what a WAL holds of a sealed range: records that never change, since nothing is appended to the range any more.
type owedAnswer struct {
	fetched Fetched
	search  object.AbortedSearch // as far as end, if it was asked for
	end     int64                // of the range
}

// owedAt finds the range that holds an offset, and that only another broker's WAL has, or a dead one's that another recovers or this one
// has not read yet (R14, R15).
func (s *Stream) owedAt(offset int64) (r metadata.Range, ok bool) {
	image, known := s.engine.base.Image.Stream(s.id)
	if !known || offset < image.LogStart || offset >= s.start {
		return r, false
	}
	for i := range image.Ranges {
		n := &image.Ranges[i]
		if n.Start >= s.start || offset < n.Start {
			break
		}
		if offset >= n.End {
			continue
		}
		_, here := s.engine.recovered.at(s.id, offset)
		return *n, offset >= committedOf(n) && !here
	}
	return r, false
}

// readOwed reads of a range that owedAt found.
func (s *Stream) readOwed(deadline env.Time, of *metadata.Range, offset int64, maxBytes int, again func(), done func(Fetched)) {
	s.engine.owed.start(&owedRead{
		stream: s, deadline: deadline, request: owedRequest{stream: s.id, leaderEpoch: of.LeaderEpoch, offset: offset, maxBytes: maxBytes, batches: true},
		came:   func(a *owedAnswer) { done(a.fetched) },
		moved:  again,
		failed: func(err error) { done(Fetched{Err: err}) },
	})
}

// start begins a read. Unless this broker's own log has the records, from when it led the partition before, it ends in a later step.
func (l *owedReads) start(r *owedRead) {
	r.request.maxBytes = min(r.request.maxBytes, owedReadBytesMax)
	if r.request.batches {
		r.request.maxBytes = max(r.request.maxBytes, 1)
	}
	r.step()
}

// step goes on with a read, or ends it.
func (r *owedRead) step() {
	s := r.stream
	l := &s.engine.owed
	if r.over {
		return
	}
	of, owed := s.owedAt(r.request.offset)
	switch {
	case l.stopping:
		r.fail(ErrStopped)
	case s.owner == nil:
		r.fail(ErrGone)
	case !owed:
		r.over = true
		r.moved()
	case l.Loop.Now() >= r.deadline:
		l.Telemetry.Hit("stream read: gave up on what another broker owes")
		r.fail(errOwed)
	default:
		l.ask(r, &of)
		r.wait()
	}
}

// wait looks again in a while.
func (r *owedRead) wait() {
	if r.over {
		return
	}
	l := &r.stream.engine.owed
	if !r.asks {
		l.Telemetry.Hit("stream read: waits for what another broker owes")
	}
	l.recovered.again.later(owedPoll, r.step)
}

func (r *owedRead) fail(err error) {
	r.over = true
	r.failed(err)
}

// ask asks whoever has the range, unless that is of no use now.
func (l *owedReads) ask(r *owedRead, of *metadata.Range) {
	holder := metadata.BrokerEpoch(0)
	if image, ok := l.Image.Stream(r.request.stream); ok {
		holder = l.Image.Committer(image, of)
	}
	switch {
	case r.asks:
	case of.BrokerEpoch == l.Epoch:
		l.held(&r.request, func(a *owedAnswer, err error) {
			if err == nil {
				l.Telemetry.Hit("stream read: of a range that this broker led before")
				r.end(a)
			}
		})
	case l.AskHolder == nil || holder == l.Epoch || holder == 0 || l.Loop.Now() < max(r.quiet, l.quiet[holder]) || !r.request.fits():
	case l.asking >= owedAsksMax:
		r.asks = true
		l.line.Push(r)
	default:
		l.send(r, holder, of.End)
	}
}

// end hands out what came.
func (r *owedRead) end(a *owedAnswer) {
	if r.stream.owner == nil {
		a.fetched.Release()
		r.fail(ErrGone)
		return
	}
	r.over = true
	a.fetched.owed = true
	r.came(a)
}

func (l *owedReads) send(r *owedRead, holder metadata.BrokerEpoch, end int64) {
	r.asks = l.AskHolder(holder, r.request.append(nil), func(answer []byte, err error) {
		if err != nil {
			l.refused(r, holder, err)
			l.asked(r)
			return
		}
		l.take(r, holder, end, answer)
	})
	if r.asks {
		l.asking++
	}
}

// asked ends a question, and lets the next read in line ask.
func (l *owedReads) asked(r *owedRead) {
	r.asks = false
	l.asking--
	for l.asking < owedAsksMax && l.line.Len() > 0 && !l.stopping {
		next := l.line.Pop()
		next.asks = false
		if of, owed := next.stream.owedAt(next.request.offset); owed && !next.over {
			l.ask(next, &of)
		}
	}
}

// refused notes why a broker did not answer. One that does not hold what was asked for may be asked for other records.
func (l *owedReads) refused(r *owedRead, holder metadata.BrokerEpoch, err error) {
	if errors.Is(err, ErrNotHeld) {
		l.Telemetry.Hit("stream read: another broker does not hold what it was asked for")
		r.quiet = l.Loop.Now().Add(owedAgain.Wait(r.refusals, l.Env.Rand.Uint64("tail read again", uint64(r.stream.id), uint64(r.refusals))))
		r.refusals++
		return
	}
	l.Telemetry.Hit("stream read: another broker did not answer")
	l.quiet[holder] = l.Loop.Now().Add(owedQuiet)
}

// take takes an answer, which is read off the loop.
func (l *owedReads) take(r *owedRead, holder metadata.BrokerEpoch, end int64, answer []byte) {
	if l.stopping {
		return
	}
	q := r.request
	var a owedAnswer
	var err error
	l.begin()
	l.Env.Compute.Submit(&env.Compute{
		Class: env.ComputeTail,
		Work:  func() { a, err = parseOwedAnswer(answer, &q, end) },
		Done: func(*env.Compute) {
			defer l.end()
			if err != nil {
				l.lines.Warn(l.Telemetry, "owed", l.Loop.Now(), "another broker gave damaged records from its log; readers wait until it has uploaded them",
					slog.String("partition", r.stream.stored.name.String()), slog.Int64("epoch", int64(holder)), slog.String("error", err.Error()))
				l.refused(r, holder, err)
			} else if !r.over && !l.stopping {
				l.Telemetry.Hit("stream read: another broker answered from its log")
				l.metrics.owedRead.Add(int64(a.fetched.Bytes))
				r.end(&a)
			}
			l.asked(r)
		},
	})
}

// AnswerOwed answers a request of another engine (Options.AskHolder) from this broker's WAL, or from one that it recovered, if that holds
// the records of a sealed range that are asked for. It needs no lease: what is below a seal never changes, and whoever asks has the lease under which it serves. reply
// is called once, maybe before AnswerOwed returns. ErrNotHeld says that the records are not here, or not yet; any other error, that nothing can be asked for now.
func (e *Engine) AnswerOwed(request []byte, reply func(answer []byte, err error)) {
	l := &e.owed
	q, err := parseOwedRequest(request)
	switch {
	case err != nil:
		reply(nil, err)
		return
	case l.stopping:
		reply(nil, ErrStopped)
		return
	case l.answering >= owedAnswersMax:
		reply(nil, errAnswers)
		return
	}
	l.answering++
	l.held(&q, func(a *owedAnswer, err error) {
		if err == nil && a.bytes() > OwedAnswerBytesMax {
			a.fetched.Release()
			err = errTooLarge
		}
		if err != nil {
			l.answering--
			reply(nil, ErrNotHeld)
			return
		}
		l.encode(&q, a, reply)
	})
}

// encode makes a message of what was read, off the loop.
func (l *owedReads) encode(q *owedRequest, a *owedAnswer, reply func([]byte, error)) {
	var answer []byte
	l.begin()
	l.Env.Compute.Submit(&env.Compute{
		Class: env.ComputeTail,
		Work:  func() { answer = a.append(nil, q) },
		Done: func(*env.Compute) {
			a.fetched.Release()
			l.answering--
			l.Telemetry.Hit("stream: another broker's read was answered from the log")
			l.metrics.owedServed.Add(int64(a.fetched.Bytes))
			reply(answer, nil)
			l.end()
		},
	})
}

// held reads what this broker's WALs hold of a sealed range.
func (l *owedReads) held(q *owedRequest, done func(*owedAnswer, error)) {
	image, ok := l.Image.Stream(q.stream)
	if !ok {
		done(nil, ErrNotHeld)
		return
	}
	of, ok := rangeOf(image, q.leaderEpoch)
	if !ok || q.offset < committedOf(of) || q.offset >= of.End { // which is below all offsets, until the range is sealed
		done(nil, ErrNotHeld)
		return
	}
	if of.BrokerEpoch != l.Epoch {
		l.recoveredOf(q, of, done)
		return
	}
	s := l.streams.find(q.stream, q.leaderEpoch)
	if s == nil || !s.inCache(q.offset) {
		done(nil, ErrNotHeld)
		return
	}
	a := &owedAnswer{fetched: s.readSealed(q, of.End), end: of.End}
	a.searchIn(&s.transactions, q)
	done(a, nil)
}

// recoveredOf reads what a recovered log holds of a sealed range.
func (l *owedReads) recoveredOf(q *owedRequest, of *metadata.Range, done func(*owedAnswer, error)) {
	a := &owedAnswer{end: of.End}
	search := func() {
		t, ok := l.recovered.sealed(q, of)
		if !ok {
			a.fetched.Release()
			done(nil, ErrNotHeld)
			return
		}
		a.searchIn(&t.transactions, q)
		done(a, nil)
	}
	t, ok := l.recovered.sealed(q, of)
	if !q.batches || !ok {
		search()
		return
	}
	l.recovered.read(t, q.offset, q.maxBytes, func() { done(nil, ErrNotHeld) }, func(got Fetched) {
		if got.Err != nil {
			done(nil, got.Err)
			return
		}
		l.Telemetry.Hit("stream: another broker's read was answered from a recovered log")
		a.fetched = got
		search()
	})
}

// sealed finds the tail of a sealed range that holds what is asked for, of a log that was read whole, and has it know of the seal.
func (l *recoveredLogs) sealed(q *owedRequest, of *metadata.Range) (*tailStream, bool) {
	for t := range l.of(q.stream) {
		if t.tail.epoch == of.BrokerEpoch && t.leaderEpoch == of.LeaderEpoch && !t.tail.reading {
			t.refresh(l.Image, l.Epoch)
			_, ok := t.holds(q.offset)
			return t, ok
		}
	}
	return nil, false
}

// find finds a stream by the leader epoch of its range, open or not.
func (t *streamSet) find(id metadata.StreamID, leaderEpoch int32) *Stream {
	for at := t.search(id); at < len(t.ordered) && t.ordered[at].id == id; at++ {
		if s := t.ordered[at]; !s.dead && !s.gone && s.leaderEpoch == leaderEpoch {
			return s
		}
	}
	return nil
}

// readSealed takes batches from the log cache, without a copy, up to the end of the sealed range.
func (s *Stream) readSealed(q *owedRequest, end int64) Fetched {
	telemetry.Assert(3, end <= s.highWatermark, "stream %d, leader epoch %d: sealed at %d, and durable up to %d", s.id, s.leaderEpoch, end, s.highWatermark)
	var g gather
	for i := s.entries.search(q.offset); q.batches && i < s.entries.len(); i++ {
		n := s.entries.at(i)
		if n.base >= end || !g.fits(int(n.bytes), q.maxBytes) {
			break
		}
		g.add(n.data(), n.slab.slab)
	}
	return g.Fetched
}

// searchIn goes on with the search for aborted transactions in those of the range, or begins the one for what was read.
func (a *owedAnswer) searchIn(t *object.Transactions, q *owedRequest) {
	if !q.searches {
		return
	}
	a.search = q.search
	if n := len(a.fetched.Batches); n > 0 {
		last, _ := record.ReadHeader(a.fetched.Batches[n-1])
		a.search.To = min(a.search.To, last.NextOffset())
	}
	a.search.Visit(t, q.offset, a.end)
}
