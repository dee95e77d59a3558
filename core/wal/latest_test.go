package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/env"
	"weir/core/record"
	"weir/core/task"
)

// soon is what RecoverLatest found: of the summaries it keeps the first.
type soon struct {
	recovered
	summaries int
	done      bool
}

func (s *soon) visit(e Entry) {
	e.Batch = slices.Clone(e.Batch)
	s.entries = append(s.entries, e)
}

func (s *soon) visitSummary(at Position, state []byte) {
	if s.summaries++; s.summaries == 1 {
		s.summary, s.summaryAt = slices.Clone(state), at
	}
}

func (s *soon) ended(sealed *Sealed, err error) { s.sealed, s.err, s.done = sealed, err, true }

func (w *world) recoverLatest(name string) *soon {
	s := &soon{}
	if w.shared {
		require.NoError(w.t, w.fence(name, 1))
		w.disk.closed = 0
	}
	w.turn(func() {
		if w.stores != nil {
			w.loop.Go("recover", func(p *task.Proc) {
				s.ended(recoverLatest(p, &memorySource{world: w, name: name}, name, 1, s.visit, s.visitSummary))
			})
			return
		}
		RecoverLatest(w.loop, w.env(), Stored{Name: name}, s.visit, s.visitSummary, s.ended)
	})
	w.settle()
	require.True(w.t, s.done)
	return s
}

// check holds what was found soon against what all of the log says.
func (s *soon) check(t require.TestingT, whole recovered) {
	if s.err != nil {
		require.ErrorIs(t, s.err, ErrNoSummary)
		return
	}
	require.Equal(t, whole.sealed.End, s.sealed.End)
	require.Equal(t, whole.sealed.BrokerEpoch, s.sealed.BrokerEpoch)
	rest := slices.IndexFunc(whole.entries, func(e Entry) bool { return e.At > s.summaryAt })
	if rest < 0 {
		rest = len(whole.entries)
	}
	require.Len(t, s.entries, len(whole.entries)-rest)
	for i, e := range s.entries {
		require.Equal(t, whole.entries[rest+i].At, e.At)
		require.True(t, bytes.Equal(whole.entries[rest+i].Batch, e.Batch))
	}
}

// counts is a summary of a journal: how many batches were appended.
type counts struct{ j **journal }

func (c counts) AppendSummary(dst []byte) []byte {
	if *c.j == nil {
		return append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(len((*c.j).accepted)), 10)
}

// count is how many batches the summary knows that a recovery began with.
func (s *soon) count(t require.TestingT) int {
	n, err := strconv.Atoi(string(s.summary))
	require.NoError(t, err)
	return n
}

// A long log whose newest summary is recorded is recovered from there on, whatever lies before it: nothing of that is read.
func TestTheEndOfALogIsFoundWithoutWhatLiesBefore(t *testing.T) {
	var j *journal
	w := newWorld(t)
	config := grown()
	config.SummaryEveryBytes = 64 << 10
	j = w.create("wal-7", config, counts{&j})
	for range 15 {
		w.turn(func() { j.append(9000) })
		w.settle()
	}
	w.crash(lose)
	b, at := w.stored(j.accepted[0].At)
	b[at+recordHeaderBytes+200] ^= 1
	s := w.recoverLatest("wal-7")
	require.NoError(t, s.err)
	n := s.count(t)
	require.Greater(t, n, 8)
	require.Less(t, n, len(j.accepted))
	require.Len(t, s.entries, len(j.accepted)-n)
	var corrupt *CorruptError
	require.ErrorAs(t, w.recover("wal-7").err, &corrupt, "all of it is read in the end")
}

// What is damaged behind the newest summary is as loud as ever.
func TestDamageBehindTheNewestSummaryIsLoud(t *testing.T) {
	var j *journal
	w := newWorld(t)
	config := grown()
	config.SummaryEveryBytes = 64 << 10
	j = w.create("wal-7", config, counts{&j})
	for range 15 {
		w.turn(func() { j.append(9000) })
		w.settle()
	}
	w.crash(lose)
	n := w.recoverLatest("wal-7").count(t)
	b, at := w.stored(j.accepted[n].At)
	b[at+recordHeaderBytes+200] ^= 1
	var corrupt *CorruptError
	require.ErrorAs(t, w.recoverLatest("wal-7").err, &corrupt)
}

func TestALogWithoutASummaryIsReadWhole(t *testing.T) {
	w, _ := filled(t, 10, 3000)
	require.ErrorIs(t, w.recoverLatest("wal-7").err, ErrNoSummary)
	require.NoError(t, w.recover("wal-7").err)
	require.ErrorIs(t, w.recoverLatest("wal-8").err, env.ErrNotExist)
}

// The end of a long object log is found with some dozens of small reads.
func TestTheEndOfAnObjectLogIsFoundSoon(t *testing.T) {
	for _, slots := range []int{1, 2, 3, 63, 64, 65, 200, 700} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			b := newBucket(t)
			w := b.broker()
			var j *journal
			j = w.createObject(tiny, counts{&j})
			for range slots {
				w.turn(func() { j.append(100) })
				w.pass(time.Second)
				b.settle(w)
			}
			require.Len(t, j.accepted, j.durable)
			r := b.broker()
			s := r.recoverLatestObject(0)
			b.settle(r)
			require.NoError(t, s.err)
			require.Less(t, len(j.accepted)-s.count(t), 2)
			require.Len(t, s.entries, len(j.accepted)-s.count(t))
			whole := r.recoverObject(0)
			require.NoError(t, whole.err)
			require.Equal(t, whole.sealed.End, s.sealed.End)
			whole.sealed.Close()
			require.Zero(t, r.memory.live)
		})
	}
}

func (r *broker) recoverLatestObject(first uint64) *soon {
	s := &soon{}
	r.turn(func() {
		RecoverLatest(r.loop, r.env(), Stored{Name: ObjectName("c", 7), Object: true, Epoch: 7, First: first}, s.visit, s.visitSummary, s.ended)
	})
	return s
}

// A process that ends gives its reads up, and those that have come already are given back.
func TestASearchThatIsGivenUpKeepsNoSlot(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	for range 20 {
		w.turn(func() { j.append(100) })
		w.pass(time.Second)
		b.settle(w)
	}
	r := b.broker()
	s := r.recoverLatestObject(0)
	for i := range b.pending {
		if i%2 == 0 {
			b.pending[i].event.(*env.GetObject).Err = &env.StoreError{Cause: env.CauseEnded, Err: errors.New("ended")}
		}
	}
	b.settle(r)
	require.Error(t, s.err)
	require.Zero(t, r.memory.live)
}

// Whatever the store does with creates, and whenever the recoverer comes: what the writer has acknowledged is known to the summary with which the
// recoverer begins, or found by it.
func TestNothingAcknowledgedIsLostToARecovererInAHurry(t *testing.T) {
	found := 0
	rapid.Check(t, func(rt *rapid.T) {
		b := newBucket(t)
		w := b.broker()
		var j *journal
		j = w.createObject(tiny, counts{&j})
		var r *broker
		var s *soon
		for range rapid.IntRange(10, 120).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1:
				n := rapid.IntRange(record.HeaderBytes, 4000).Draw(rt, "bytes")
				w.turn(func() { j.append(n) })
			case 2:
				w.pass(rapid.SampledFrom([]time.Duration{5 * time.Millisecond, 100 * time.Millisecond, time.Second}).Draw(rt, "pass"))
			case 3:
				if s == nil && rapid.Bool().Draw(rt, "recover") {
					r = b.broker()
					s = r.recoverLatestObject(0)
				}
				if r != nil {
					r.pass(100 * time.Millisecond)
				}
			default:
				if len(b.pending) > 0 {
					b.strike(rt, rapid.IntRange(0, len(b.pending)-1).Draw(rt, "operation"))
				}
			}
		}
		if s == nil {
			r = b.broker()
			s = r.recoverLatestObject(0)
		}
		b.settle(w, r)
		require.True(rt, s.done)
		whole := r.recoverObject(0)
		require.NoError(rt, whole.err)
		s.check(rt, whole)
		whole.sealed.Close()
		require.Zero(rt, r.memory.live)
		if errors.Is(s.err, ErrNoSummary) {
			return
		}
		found++
		known := map[string]bool{}
		for _, e := range s.entries {
			known[string(e.Batch)] = true
		}
		for i := s.count(rt); i < j.durable; i++ {
			require.True(rt, known[string(want(j.accepted[i]))], "batch %d was acknowledged", i)
		}
	})
	require.NotZero(t, found)
}

// R6: creates in flight leave a hole, and what lies behind it was never acknowledged: the log ends in the hole.
func TestTheEndOfAnObjectLogIsTheFirstHole(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	var j *journal
	j = w.createObject(tiny, counts{&j})
	add := func() {
		w.turn(func() { j.append(100) })
		w.pass(time.Second)
	}
	for range 14 {
		add()
		b.settle(w)
	}
	for range 3 {
		add()
		for i := b.find("compute"); i >= 0; i = b.find("compute") {
			b.finish(i)
		}
	}
	last := b.find("put c/wal/0000000000000007/0000000000000010") // a place where the search looks
	require.GreaterOrEqual(t, last, 0)
	b.finish(last)
	require.Equal(t, 14, j.durable)
	w.crash()
	b.pending = nil
	r := b.broker()
	s := r.recoverLatestObject(0)
	b.settle(r)
	require.NoError(t, s.err)
	require.Equal(t, 14, s.count(t)+len(s.entries))
	require.Contains(t, b.objects, "c/wal/0000000000000007/000000000000000f", "the seal")
}
