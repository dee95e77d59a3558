package stream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
	"weir/core/object"
	"weir/core/record"
)

// brokers are several nodes of one cluster, alive at the same time, in one world. They move streams among them by hand.
type brokers struct {
	w        *world
	c        *cluster
	nodes    map[metadata.BrokerEpoch]*node
	fault    func() string // of a question: "" well, "silent" answered too late, "refused", "gone" nobody is there to ask, "damaged" its answer is
	asked    int
	inFlight int
	most     int // in flight at once
}

// startBrokers starts nodes whose uploads fail until fair weather.
func startBrokers(t testing.TB, count int) (*brokers, []*node) {
	w := newWorld(t)
	b := &brokers{w: w, c: newCluster(w), nodes: map[metadata.BrokerEpoch]*node{}, fault: func() string { return "" }}
	b.c.weather = func() string { return "error" }
	b.c.logs = func(epoch metadata.BrokerEpoch) metadata.BrokerEpoch { return b.nodes[epoch].e.base.Epoch }
	var all []*node
	for range count {
		b.c.epoch++
		o := smallOptions
		o.Loop, o.Env, o.Telemetry, o.Image, o.Controller = w.loop, w.env(), w.marks, b.c, b.c
		o.Epoch, o.Cluster, o.NewState, o.AskHolder = b.c.epoch, "cluster", newTestState, b.ask
		o.Compaction.Disabled = true
		o.Failed = func(err error) { t.Fatalf("the engine failed: %v", err) }
		n := &node{w: w, c: b.c, owners: map[metadata.StreamID]*owner{}, e: NewEngine(o)}
		n.createLog(smallLog)
		b.nodes[b.c.epoch] = n
		all = append(all, n)
	}
	return b, all
}

// ask is Options.AskHolder of all of them.
func (b *brokers) ask(holder metadata.BrokerEpoch, request []byte, done func([]byte, error)) bool {
	fault := b.fault()
	if fault == "gone" {
		return false
	}
	b.asked++
	b.inFlight++
	b.most = max(b.most, b.inFlight)
	answered := func(answer []byte, err error) {
		b.w.push(event(func() {
			b.inFlight--
			done(answer, err)
		}), func() {})
	}
	b.w.push(event(func() {
		switch fault {
		case "silent":
			answered(nil, errors.New("no answer"))
		case "refused":
			answered(nil, errors.New("the method is not served here"))
		default:
			b.nodes[holder].e.AnswerOwed(request, func(answer []byte, err error) {
				if fault == "damaged" && len(answer) > 0 {
					answer[len(answer)/2] ^= 1
				}
				answered(answer, err)
			})
		}
	}), func() {})
	return true
}

// move seals a stream at its high watermark and opens it on another node (R15).
func (b *brokers) move(id metadata.StreamID, from, to *node) *owner {
	b.w.t.Helper()
	o := from.owners[id]
	b.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
	s, end := b.c.streams[id], o.stream.End()
	sum, _ := o.history.sumAt(end)
	r := s.Newest()
	r.End, s.Checkpoint, s.CheckpointEnd = end, encodeState(end, sum), end
	s.Ranges = append(s.Ranges, metadata.Range{LeaderEpoch: r.LeaderEpoch + 1, BrokerEpoch: to.e.base.Epoch, Start: end, Committed: end, End: -1})
	b.w.turn(func() { from.e.Close(id) })
	delete(from.owners, id)
	var next *owner
	b.w.turn(func() { next = to.open(id) })
	return next
}

// create makes a stream on a node.
func (b *brokers) create(id metadata.StreamID, on *node) *owner {
	b.c.create(id)
	b.c.streams[id].Ranges[0].BrokerEpoch = on.e.base.Epoch
	return on.open(id)
}

// clear lets everything be uploaded.
func (b *brokers) clear() {
	b.c.weather = func() string { return "" }
	b.w.until("the upload of everything", func() bool {
		for _, id := range b.c.sorted() {
			for _, r := range b.c.streams[id].Ranges {
				if r.End >= 0 && committedOf(&r) < r.End {
					return false
				}
			}
		}
		return true
	})
}

// stop ends a node.
func (b *brokers) stop(n *node) {
	done := false
	b.w.turn(func() {
		for _, id := range b.c.sorted() {
			n.e.Close(id)
		}
		n.e.Shutdown(func() { done = true })
	})
	b.w.until("the end of a shutdown", func() bool { return done })
	b.w.store.ended = false // for the others
}

// shutdown ends all nodes and proves that nothing leaks.
func (b *brokers) shutdown() {
	for epoch := metadata.BrokerEpoch(1); epoch <= b.c.epoch; epoch++ {
		if n := b.nodes[epoch]; n.e.base.Epoch == epoch { // else it was stopped, and that one recovers its log
			b.stop(n)
		}
	}
	require.Zero(b.w.t, b.w.memory.live, "slabs leak")
}

func TestWhatAnOldLeaderOwesIsReadFromItsLog(t *testing.T) {
	b, n := startBrokers(t, 2)
	b.create(1, n[0]).fill(n[0], 20_000)
	o := b.move(1, n[0], n[1])
	o.fill(n[1], 5_000)
	o.readAll(n[1], 3_000)
	o.readAll(n[1], 1)
	require.NotZero(t, b.w.hits("stream read: another broker answered from its log"))
	require.Zero(t, b.w.hits("stream read: waits for what another broker owes"))
	b.clear()
	asked := b.asked
	o.readAll(n[1], 3_000)
	require.Equal(t, asked, b.asked, "what is uploaded is read from the store")
	b.shutdown()
}

// The next leader trims the log before the old one has uploaded what it owes: with that the range is committed, and the image forgets it.
func TestWhatIsOwedAndTrimmedIsUploadedOnce(t *testing.T) {
	b, n := startBrokers(t, 2)
	b.create(1, n[0]).fill(n[0], 5_000)
	o := b.move(1, n[0], n[1])
	o.fill(n[1], 5_000)
	b.c.trim(1, o.stream.HighWatermark())
	b.clear()
	b.w.until("the end of the old range", func() bool { return len(b.c.streams[1].Ranges) == 1 })
	b.w.until("the old leader to forget it", func() bool { return n[0].e.streams.find(1, 0) == nil })
	require.Zero(t, b.w.hits("stream upload: part refused"))
	require.Zero(t, n[0].e.uploads.uncut)
	b.shutdown()
}

func TestAPartitionThatCameBackIsReadFromTheBrokersOwnLog(t *testing.T) {
	b, n := startBrokers(t, 2)
	b.create(1, n[0]).fill(n[0], 5_000)
	b.move(1, n[0], n[1]).fill(n[1], 5_000)
	o := b.move(1, n[1], n[0])
	o.fill(n[0], 5_000)
	o.readAll(n[0], 3_000)
	for at := range o.history.acked {
		o.readStable(n[0], at, 3_000, false)
	}
	require.NotZero(t, b.w.hits("stream read: of a range that this broker led before"))
	require.NotZero(t, b.asked, "what lies between is the other's")
	b.shutdown()
}

// An old leader dies before it has uploaded what it owes. Whoever recovers its log answers, once it has read it.
func TestWhatADeadBrokerOwesIsReadFromItsLogElsewhere(t *testing.T) {
	b, n := startBrokers(t, 3)
	first := b.create(1, n[0])
	for i, choice := range []int{3, 4, 1, 3, 0, 4, 3, 4} { // data and markers
		first.transact(n[0], int64(7+i%2), choice, 100)
	}
	o := b.move(1, n[0], n[1])
	for i, choice := range []int{1, 0} {
		o.transact(n[1], int64(7+i), choice, 100)
	}
	b.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
	b.stop(n[0])
	b.nodes[1] = n[2]
	_, err := b.question(n[2], &owedRequest{stream: 1, maxBytes: 1, batches: true})
	require.ErrorIs(t, err, ErrNotHeld, "the log was not read yet")
	read := false
	b.w.turn(func() {
		n[2].e.RecoverLog(logName(1), 1, nil, func(_ []metadata.RangeEnd, err error) {
			require.NoError(t, err)
			read = true
		})
	})
	b.w.until("the dead broker's log", func() bool { return read })
	for at := range o.history.acked {
		o.readStable(n[1], at, 300, false)
	}
	o.readAll(n[1], 300)
	require.NotZero(t, b.w.hits("stream: another broker's read was answered from a recovered log"))
	require.Zero(t, b.w.hits("stream read: waits for what another broker owes"))
	_, err = b.question(n[2], &owedRequest{stream: 1, leaderEpoch: 1, offset: o.history.acked - 1, maxBytes: 1, batches: true})
	require.ErrorIs(t, err, ErrNotHeld, "of another's range")
	n[2].e.UploadTails()
	b.clear()
	o.readAll(n[1], 300)
	b.shutdown()
}

// Transactions begin, go on and end on whichever side of the moves; readers of committed records see each wholly or not at all.
func TestStableReadsAcrossMoves(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			draws := rand.New(rand.NewPCG(seed, 1))
			b, n := startBrokers(t, 3)
			at := n[0]
			o := b.create(1, at)
			for range 4 {
				for range 1 + draws.IntN(12) {
					o.transact(at, int64(1+draws.IntN(3)), draws.IntN(5), 1+draws.IntN(300))
				}
				to := n[draws.IntN(3)]
				if to == at {
					continue
				}
				o, at = b.move(1, at, to), to
				if draws.IntN(3) == 0 {
					b.clear()
					b.c.weather = func() string { return "error" }
				}
			}
			o.transact(at, 9, 0, 1)
			b.w.until("durability", func() bool { return o.stream.HighWatermark() == o.stream.End() })
			for offset := range o.history.acked {
				o.readStable(at, offset, 1+draws.IntN(3_000), false)
			}
			o.readAll(at, 1+draws.IntN(3_000))
			require.Zero(t, b.w.hits("stream read: waits for what another broker owes"))
			b.clear()
			for offset := range o.history.acked {
				o.readStable(at, offset, 1+draws.IntN(3_000), false)
			}
			b.shutdown()
		})
	}
}

// Whoever has the records may be gone, silent, too old to know the question, or mad: then readers wait for the upload, as without the question.
func TestReadersWaitWhereNobodyAnswers(t *testing.T) {
	for _, fault := range []string{"gone", "silent", "refused", "damaged"} {
		t.Run(fault, func(t *testing.T) {
			b, n := startBrokers(t, 2)
			b.create(1, n[0]).fill(n[0], 5_000)
			o := b.move(1, n[0], n[1])
			b.fault = func() string { return fault }
			began := b.w.now
			ended := false
			b.w.turn(func() {
				o.stream.Read(0, 1, func(f Fetched) {
					require.NoError(t, f.Err)
					o.check(n[1], 0, f)
					f.Release()
					ended = true
				})
			})
			for range 400 {
				b.w.step()
			}
			require.False(t, ended)
			require.NotZero(t, b.w.hits("stream read: waits for what another broker owes"))
			require.LessOrEqual(t, int64(b.asked), 1+int64(b.w.now.Sub(began)/owedQuiet), "it is asked again and again")
			b.clear()
			b.w.until("the read", func() bool { return ended })
			b.shutdown()
		})
	}
}

// An answer that comes once the records were uploaded is dropped, and the read has its records from the store.
func TestALateAnswerIsDropped(t *testing.T) {
	b, n := startBrokers(t, 2)
	b.create(1, n[0]).fill(n[0], 5_000)
	o := b.move(1, n[0], n[1])
	var late []func()
	n[1].e.base.AskHolder = func(_ metadata.BrokerEpoch, request []byte, done func([]byte, error)) bool {
		n[0].e.AnswerOwed(request, func(answer []byte, err error) { late = append(late, func() { done(answer, err) }) })
		return true
	}
	reads := 0
	b.w.turn(func() {
		o.stream.Read(0, 1, func(f Fetched) {
			o.check(n[1], 0, f)
			f.Release()
			reads++
		})
	})
	b.w.until("an answer", func() bool { return len(late) > 0 })
	b.clear()
	b.w.until("the read", func() bool { return reads > 0 })
	b.w.turn(late[0])
	b.w.settle()
	require.Equal(t, 1, reads)
	b.shutdown()
}

func TestQuestionsToOtherBrokersStandInLine(t *testing.T) {
	b, n := startBrokers(t, 2)
	b.create(1, n[0]).fill(n[0], 5_000)
	o := b.move(1, n[0], n[1])
	ended := 0
	b.w.turn(func() {
		for range 50 {
			o.stream.Read(2, 1, func(f Fetched) {
				require.NoError(t, f.Err)
				f.Release()
				ended++
			})
		}
	})
	b.w.settle() // no time passes: whoever waits in line is asked for when a question ends
	require.Equal(t, 50, ended)
	require.Equal(t, owedAsksMax, b.most)
	b.shutdown()
}

func TestAReadThatAsksEndsWithTheEngine(t *testing.T) {
	b, n := startBrokers(t, 2)
	b.create(1, n[0]).fill(n[0], 5_000)
	o := b.move(1, n[0], n[1])
	for _, silent := range []bool{true, false} {
		b.fault = func() string { return map[bool]string{true: "gone"}[silent] }
		b.w.turn(func() {
			for range owedAsksMax + 2 {
				o.stream.Read(0, 1, func(f Fetched) {
					require.ErrorIs(t, f.Err, ErrStopped)
					f.Release()
					b.asked = -1
				})
			}
		})
	}
	b.shutdown()
	require.Equal(t, -1, b.asked)
}

// question asks a node as another would.
func (b *brokers) question(n *node, q *owedRequest) (a owedAnswer, err error) {
	ended := false
	b.w.turn(func() {
		n.e.AnswerOwed(q.append(nil), func(answer []byte, refused error) {
			ended = true
			if err = refused; err == nil {
				a, err = parseOwedAnswer(answer, q, b.c.streams[q.stream].Ranges[q.leaderEpoch].End)
			}
		})
	})
	b.w.until("an answer", func() bool { return ended })
	return a, err
}

// R15: what is answered is final. An open range may have records that are not durable; what is beyond a seal, or was never this broker's, is another's to answer.
func TestOnlyASealedRangeOfTheBrokersOwnIsAnswered(t *testing.T) {
	b, n := startBrokers(t, 2)
	first := b.create(1, n[0])
	first.fill(n[0], 5_000)
	all := owedRequest{stream: 1, maxBytes: 1 << 20, batches: true}
	_, err := b.question(n[0], &all)
	require.ErrorIs(t, err, ErrNotHeld, "the range is open")
	seal := first.stream.End()
	second := b.move(1, n[0], n[1])
	second.fill(n[1], 5_000)

	a, err := b.question(n[0], &all)
	require.NoError(t, err)
	require.Equal(t, seal, first.check(n[0], 0, a.fetched))
	for name, q := range map[string]owedRequest{
		"at the seal":                     {stream: 1, offset: seal, maxBytes: 1, batches: true},
		"of the next range":               {stream: 1, leaderEpoch: 1, offset: seal, maxBytes: 1, batches: true},
		"of a range that there never was": {stream: 1, leaderEpoch: 7, maxBytes: 1, batches: true},
		"of a stream that there is not":   {stream: 2, maxBytes: 1, batches: true},
	} {
		_, err := b.question(n[0], &q)
		require.ErrorIs(t, err, ErrNotHeld, name)
	}
	_, err = b.question(n[1], &all)
	require.ErrorIs(t, err, ErrNotHeld, "it never owned the range")

	// The first leader gets it back, and asks itself for what lies between.
	third := b.move(1, n[1], n[0])
	third.fill(n[0], 5_000)
	_, err = b.question(n[0], &owedRequest{stream: 1, leaderEpoch: 1, offset: seal, maxBytes: 1, batches: true})
	require.ErrorIs(t, err, ErrNotHeld, "it owned the range before, and the one after")
	a, err = b.question(n[0], &all)
	require.NoError(t, err)
	require.Equal(t, seal, third.check(n[0], 0, a.fetched), "nothing of the later range comes with it")

	b.clear()
	_, err = b.question(n[0], &all)
	require.ErrorIs(t, err, ErrNotHeld, "it is uploaded")
	b.shutdown()
}

// owedSample is a request and its answer: two batches, of which one is of a transaction.
func owedSample() (*owedRequest, *owedAnswer) {
	p := record.Builder{BaseOffset: 10, LeaderEpoch: 3, ProducerID: 7, Transactional: true}
	batches := [][]byte{p.AppendBatch(nil, []record.Record{{Value: []byte("a")}}), record.AppendBatch(nil, []record.Record{{Value: []byte("b")}, {Value: []byte("c")}})}
	record.Patch(batches[1], 11, 3)
	q := &owedRequest{stream: 5, leaderEpoch: 3, offset: 10, maxBytes: 500, batches: true, searches: true, search: object.AbortedSearch{From: 10, To: 100}}
	a := &owedAnswer{end: 40}
	var transactions object.Transactions
	for _, b := range batches {
		a.fetched.Batches = append(a.fetched.Batches, b)
		a.fetched.Bytes += len(b)
		h, _ := record.ReadHeader(b)
		transactions.Add(b, h.BaseOffset)
	}
	a.searchIn(&transactions, q)
	return q, a
}

func TestMessagesAboutWhatIsOwed(t *testing.T) {
	q, a := owedSample()
	got, err := parseOwedRequest(q.append(nil))
	require.NoError(t, err)
	require.Equal(t, *q, got)
	encoded := a.append(nil, q)
	require.Len(t, encoded, a.bytes())
	back, err := parseOwedAnswer(encoded, q, 40)
	require.NoError(t, err)
	require.Equal(t, *a, back)
	require.Equal(t, 1, back.search.Undecided())
	require.EqualValues(t, 13, back.search.To)

	for name, change := range map[string]func(b []byte){
		"another version":         func(b []byte) { b[0]++ },
		"other flags":             func(b []byte) { b[1] ^= owedWantsTransactions },
		"no batches":              func(b []byte) { order.PutUint32(b[4:], 0) },
		"batches beyond its end":  func(b []byte) { order.PutUint32(b[4:], 1<<30) },
		"another end":             func(b []byte) { b[8]++ },
		"a damaged batch":         func(b []byte) { b[owedAnswerHeadBytes+70] ^= 1 },
		"another leader epoch":    func(b []byte) { record.Patch(b[owedAnswerHeadBytes:], 10, 4) },
		"a batch behind":          func(b []byte) { record.Patch(b[owedAnswerHeadBytes:], 11, 3) },
		"a batch before":          func(b []byte) { record.Patch(b[owedAnswerHeadBytes:], 8, 3) },
		"a search of other parts": func(b []byte) { b[owedAnswerHeadBytes+a.fetched.Bytes]-- },
	} {
		bad := a.append(nil, q)
		change(bad)
		_, err := parseOwedAnswer(bad, q, 40)
		require.Error(t, err, name)
	}
	_, err = parseOwedAnswer(encoded, q, 12)
	require.Error(t, err, "a batch beyond the end of the range")
	for n := range encoded {
		_, err := parseOwedAnswer(encoded[:n], q, 40)
		require.Error(t, err, n)
	}
	for n := range q.append(nil) {
		_, err := parseOwedRequest(q.append(nil)[:n])
		require.Error(t, err, n)
	}
}

// Whatever another node sends is refused, or is what it could have sent.
func FuzzOwedMessages(f *testing.F) {
	q, a := owedSample()
	f.Add(q.append(nil), a.append(nil, q))
	f.Add((&owedRequest{stream: 1, offset: 12, searches: true, search: object.AbortedSearch{From: 10, To: 12}}).append(nil), []byte{})
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		if r, err := parseOwedRequest(request); err == nil {
			again, err := parseOwedRequest(r.append(nil))
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		got, err := parseOwedAnswer(answer, q, 40)
		if err != nil {
			return
		}
		require.Equal(t, answer, got.append(nil, q))
		next := q.offset
		for i, b := range got.fetched.Batches {
			h, err := record.ReadHeader(b)
			require.NoError(t, err)
			require.True(t, h.BaseOffset == next || i == 0 && h.BaseOffset < next)
			next = h.NextOffset()
		}
		require.LessOrEqual(t, next, int64(40))
	})
}
