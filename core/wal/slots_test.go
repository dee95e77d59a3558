package wal

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/env"
	"weir/core/record"
)

// tiny makes many slots of few records.
var tiny = Config{
	SizeBytes: 256 << 10, SlabBytes: 32 << 10, GroupBytesMax: 8 << 10, AppendBytesMax: 16 << 10, WritesInFlightMax: 3,
	LingerMin: 10 * time.Millisecond, LingerMax: 250 * time.Millisecond, LingerBurst: 1,
}

func slotName(slot uint64) string { return slotKey(logKey, slot) }

// expectObject holds what was recovered against what was appended from some append on: each stream's batches in order.
func (j *journal) expectObject(t require.TestingT, r recovered, from int) {
	require.NoError(t, r.err)
	byStream := func(streams func(int) uint64, n int) map[uint64][]int {
		m := map[uint64][]int{}
		for i := range n {
			m[streams(i)] = append(m[streams(i)], i)
		}
		return m
	}
	want1 := j.accepted[from:]
	got := byStream(func(i int) uint64 { return r.entries[i].Stream }, len(r.entries))
	wanted := byStream(func(i int) uint64 { return want1[i].Stream }, len(want1))
	for stream, indexes := range wanted {
		found := got[stream]
		require.GreaterOrEqual(t, len(indexes), len(found), "stream %d", stream)
		for k, i := range found {
			require.Equal(t, want(want1[indexes[k]]), r.entries[i].Batch, "stream %d, batch %d", stream, k)
		}
	}
}

func TestAnObjectLogIsFoundAndReadBack(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, textSummary{func() string { return "state" }})
	for range 5 {
		w.turn(func() { j.append(100); j.append(3000); j.append(900) })
		b.settle(w)
	}
	require.Equal(t, len(j.accepted), j.durable)
	w.crash()

	r := b.broker()
	got := r.recoverObject(0)
	j.expectObject(t, got, 0)
	require.Len(t, got.entries, len(j.accepted))
	require.Equal(t, "state", string(got.summary))
	for _, e := range got.entries {
		batch, err := r.readBack(got.sealed, e)
		require.NoError(t, err)
		require.Equal(t, e.Batch, batch)
	}
	require.Zero(t, r.memory.live)
}

// Records of a slot are sorted by stream, and its summary comes last: it is as of all of them.
func TestRecordsOfASlotAreSorted(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, textSummary{func() string { return "state" }})
	w.turn(func() {
		for range 13 {
			j.append(200)
		}
	})
	b.settle(w)
	got := b.broker().recoverObject(0)
	j.expectObject(t, got, 0)
	require.True(t, slices.IsSortedFunc(got.entries, func(a, b Entry) int { return cmp.Compare(a.Stream, b.Stream) }))
	require.Greater(t, got.summaryAt, got.entries[len(got.entries)-1].At)
}

func TestAnIdleLogLingersLittleAndABusyOneLong(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.pass(time.Second)
	w.turn(func() { j.append(100) })
	require.Empty(t, b.pending)
	w.pass(20 * time.Millisecond)
	require.Len(t, b.pending, 1, "the first append after a pause goes after LingerMin")
	b.settle()
	w.turn(func() { j.append(100) })
	w.pass(200 * time.Millisecond)
	require.Empty(t, b.pending, "the next one waits for LingerMax after it")
	w.pass(60 * time.Millisecond)
	require.Len(t, b.pending, 1)
	for range 8 {
		w.turn(func() { j.append(1000) })
	}
	require.Len(t, b.pending, 2, "a full one waits for nothing")
}

// A chain of appends, each begun when the one before is acknowledged, waits little as long as slots are saved, and some are again after a pause.
func TestSlotsAreSavedForAChainOfAppends(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	config := tiny
	config.LingerBurst = 3
	j := w.createObject(config, nil)
	waits := func(most time.Duration) {
		w.turn(func() { j.append(100) })
		w.pass(most - time.Millisecond)
		require.Empty(t, b.pending)
		w.pass(2 * time.Millisecond)
		require.Len(t, b.pending, 1)
		b.settle()
	}
	for range 3 {
		waits(10 * time.Millisecond)
	}
	w.pass(750*time.Millisecond - 33*time.Millisecond)
	for range 3 {
		waits(10 * time.Millisecond)
	}
	w.turn(func() { j.append(100) })
	w.pass(200 * time.Millisecond)
	require.Empty(t, b.pending, "none is saved")
	w.pass(40 * time.Millisecond)
	require.Len(t, b.pending, 1)
}

// Whatever is appended and when, the number of slots that are not full is bounded in any time: that is the log's bill.
func TestTheNumberOfSlotsIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBucket(t)
		w := b.broker()
		config := tiny
		config.LingerBurst = rapid.IntRange(1, 5).Draw(rt, "burst")
		config.LingerMax = time.Duration(rapid.IntRange(1, 25).Draw(rt, "linger")) * 10 * time.Millisecond
		j := w.createObject(config, nil)
		var written []env.Time
		for range rapid.IntRange(1, 40).Draw(rt, "appends") {
			w.turn(func() { require.True(rt, j.append(100)) })
			for range rapid.IntRange(0, 30).Draw(rt, "pause") {
				w.pass(10 * time.Millisecond)
				if b.find("compute") >= 0 {
					written = append(written, w.now)
					b.settle()
				}
			}
		}
		for i, from := range written {
			for k, to := range written[i:] {
				require.LessOrEqual(rt, k+1, config.LingerBurst+int(to.Sub(from)/config.LingerMax)+1, "slots from %v to %v", from, to)
			}
		}
		w.pass(time.Second)
		b.settle()
		require.Equal(rt, len(j.accepted), j.durable)
	})
}

func TestSlotsAreAcknowledgedInOrder(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	for range 3 {
		w.turn(func() { j.append(7500) })
		w.pass(300 * time.Millisecond)
	}
	for i := b.find("compute"); i >= 0; i = b.find("compute") {
		b.finish(i)
	}
	for slot, acknowledged := range map[uint64]int{3: 0, 2: 0} {
		b.finish(b.find("put " + slotName(slot)))
		require.Equal(t, acknowledged, j.durable)
	}
	b.finish(b.find("put " + slotName(1)))
	require.Equal(t, 3, j.durable)
}

// Recovery looks so far behind a free slot as its writer may have been ahead of it, whatever was created there.
func TestSlotsAreNotCreatedFarAheadOfWhatIsDurable(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	for range 6 {
		w.turn(func() { j.append(7500) })
		w.pass(300 * time.Millisecond)
		for i := b.find("compute"); i >= 0; i = b.find("compute") {
			b.finish(i)
		}
		for slot := uint64(2); slot < 8; slot++ {
			if i := b.find("put " + slotName(slot)); i >= 0 {
				b.finish(i)
			}
		}
	}
	require.NotContains(t, b.objects, slotName(1))
	require.Contains(t, b.objects, slotName(3))
	require.NotContains(t, b.objects, slotName(4))
}

// The answer of a create is lost: the next try is refused, and the slot has this log's own body.
func TestALostAnswerIsSettledByTheSlot(t *testing.T) {
	for name, landed := range map[string]bool{"landed": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			w := b.broker()
			j := w.createObject(tiny, nil)
			w.turn(func() { j.append(100) })
			w.pass(20 * time.Millisecond)
			b.finish(b.find("compute"))
			b.finishAs(b.find("put "+slotName(1)), landed, env.OutcomeUnknown)
			require.Zero(t, j.durable)
			b.settle(w)
			require.Equal(t, 1, j.durable)
			require.NoError(t, j.failure)
		})
	}
}

// Story of R5 and R6: another has sealed the log. Its writer is fenced at its next create, says so, and acknowledges nothing.
func TestASealedSlotFencesTheWriter(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.turn(func() { j.append(100) })
	b.settle(w)

	r := b.broker()
	got := r.recoverObject(0)
	j.expectObject(t, got, 0)
	require.Len(t, got.entries, 1)

	w.turn(func() { j.append(100) })
	b.settle(w)
	require.ErrorContains(t, j.failure, "fenced")
	require.Equal(t, 1, j.durable)
	require.False(t, j.append(100))
	require.Zero(t, r.memory.live)
}

// Story of R6: create(1) is delayed, a recoverer seals slot 1 and uploads what it found; the create lands at last. The
// seal is still there, so that nothing of it is acknowledged.
func TestALateCreateFindsTheSeal(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.turn(func() { j.append(100) })
	w.pass(20 * time.Millisecond)
	b.finish(b.find("compute"))
	late := b.pending[b.find("put ")]
	b.pending = nil

	r := b.broker()
	got := r.recoverObject(0)
	require.Empty(t, got.entries)
	r.turn(func() { got.sealed.Remove(func(error) {}) })
	b.settle(r)
	require.Len(t, b.objects, 1, "the seal outlives the log")

	b.pending = append(b.pending, late)
	b.settle(w)
	require.Zero(t, j.durable)
	require.ErrorContains(t, j.failure, "fenced")
}

// Story of R6: the create lands between the recoverer's look at the slot and its seal. It counts.
func TestACreateThatBeatsTheSealIsRead(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.turn(func() { j.append(100) })
	w.pass(20 * time.Millisecond)
	b.finish(b.find("compute"))
	put := b.pending[0]
	b.pending = nil

	r := b.broker()
	got := r.beginRecovery(0)
	for b.find("put ") < 0 { // the seal
		b.finish(0)
	}
	b.pending = append([]*storeOp{put}, b.pending...)
	b.settle(w, r)
	require.Equal(t, 1, j.durable)
	j.expectObject(t, *got, 0)
	require.Len(t, got.entries, 1)
}

// Story of R6 and R20: the seal of slot 1 is delayed, a late create wins the slot, and its log is recovered, committed and deleted. The
// seal lands then, and says nothing that a recoverer with an older image would not find by itself.
func TestASealThatComesAfterItsLogWasRemoved(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.turn(func() { j.append(100) })
	w.pass(20 * time.Millisecond)
	b.finish(b.find("compute"))
	put := b.pending[0]
	b.pending = nil

	r := b.broker()
	got := r.beginRecovery(0)
	for b.find("put ") < 0 { // the seal
		b.finish(0)
	}
	i := b.find("put ")
	late := *b.pending[i]
	late.event, late.end = event(func() {}), func(env.Outcome) {}
	b.finishAs(i, false, env.OutcomeUnknown)
	b.pending = append([]*storeOp{put}, b.pending...)
	b.settle(w, r)
	require.Len(t, got.entries, 1)
	r.turn(func() { got.sealed.Remove(func(error) {}) })
	b.settle(r)
	require.NotContains(t, b.objects, slotName(1))

	late.do()
	require.True(t, IsSeal(b.objects[slotName(1)], 7, 1))
	require.False(t, IsSeal(b.objects[slotName(1)], 7, 2))
	behind := b.broker().recoverObject(1) // by an image from before the commit
	require.NoError(t, behind.err)
	require.Empty(t, behind.entries)
	w.turn(func() { j.append(100) })
	b.settle(w)
	require.ErrorContains(t, j.failure, "fenced")
	require.Equal(t, 1, j.durable)
}

// Story of R6: slots 1 and 2 are acknowledged, 1 is committed and deleted. The recoverer begins with the slot of the
// image; one that began with 1 would see from slot 2 that something is missing, and say so.
func TestRecoveryBeginsWithTheSlotOfTheImage(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	for range 3 {
		w.turn(func() { j.append(7500) })
		b.settle(w)
	}
	w.turn(func() { j.log.Trim(j.accepted[1].At) })
	first := j.log.LowestSlot()
	require.Equal(t, uint64(2), first)
	require.Contains(t, b.objects, slotName(1), "nothing is deleted before that is recorded")
	w.turn(func() { j.log.Recorded(first) })
	b.settle(w)
	require.NotContains(t, b.objects, slotName(0))
	require.NotContains(t, b.objects, slotName(1))

	var corrupt *CorruptError
	require.ErrorAs(t, b.broker().recoverObject(1).err, &corrupt)
	require.NotContains(t, b.objects, slotName(1), "it must not be sealed before somebody looked")
	got := b.broker().recoverObject(first)
	j.expectObject(t, got, 1)
	require.Len(t, got.entries, 2)
}

func TestAMissingFirstSlotIsLoud(t *testing.T) {
	b := newBucket(t)
	var corrupt *CorruptError
	require.ErrorAs(t, b.broker().recoverObject(0).err, &corrupt)
	require.Empty(t, b.objects)
}

func TestRecoveryIsRepeatable(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.turn(func() { j.append(100); j.append(5000) })
	b.settle(w)
	w.crash()
	for range 3 {
		got := b.broker().recoverObject(0)
		j.expectObject(t, got, 0)
		require.Len(t, got.entries, 2)
	}
	require.Len(t, b.objects, 3, "one seal")
}

func TestDamagedSlotsAreLoud(t *testing.T) {
	for name, spoil := range map[string]func(o map[string][]byte){
		"flipped": func(o map[string][]byte) { o[slotName(2)][300] ^= 1 },
		"short":   func(o map[string][]byte) { o[slotName(2)] = o[slotName(2)][:200] },
		"another": func(o map[string][]byte) { o[slotName(2)] = o[slotName(1)] },
		"gone":    func(o map[string][]byte) { delete(o, slotName(2)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			w := b.broker()
			j := w.createObject(tiny, nil)
			for range 4 {
				w.turn(func() { j.append(7500) })
				b.settle(w)
			}
			spoil(b.objects)
			r := b.broker()
			var corrupt *CorruptError
			require.ErrorAs(t, r.recoverObject(0).err, &corrupt)
			require.Zero(t, r.memory.live)
		})
	}
}

func TestAStoreWithoutConditionalCreateIsRefused(t *testing.T) {
	b := newBucket(t)
	b.blind = true
	w := b.broker()
	j := w.createObject(tiny, nil)
	require.Nil(t, j.log)
	require.ErrorContains(t, j.failure, "no conditional create")
}

// A store that does not answer holds appends back, and loses none.
func TestAStoreThatIsDownRefusesAppends(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	told := false
	j.log.OnSpace(func() { told = true })
	for n := 0; ; n++ {
		require.Less(t, n, 1000)
		ok := false
		w.turn(func() { ok = j.append(7500) })
		if !ok {
			break
		}
		w.pass(300 * time.Millisecond)
	}
	require.Zero(t, j.durable)
	require.False(t, told)
	b.settle(w)
	require.True(t, told)
	require.Equal(t, len(j.accepted), j.durable)
}

// A shutdown does not wait for a store that is down: what was not acknowledged is given up.
func TestCloseGivesUpWhatTheStoreEnds(t *testing.T) {
	b := newBucket(t)
	w := b.broker()
	j := w.createObject(tiny, nil)
	w.turn(func() { j.append(7500); j.append(7500) })
	closed := false
	w.turn(func() { j.log.Close(func(error) { closed = true }) })
	for i := b.find("compute"); i >= 0; i = b.find("compute") {
		b.finish(i)
	}
	for range 2 {
		i := b.find("put ")
		b.pending[i].event.(*env.PutObject).Err = &env.StoreError{Cause: env.CauseEnded, Err: errors.New("ended")}
		require.False(t, closed)
		b.finishAs(i, false, env.OutcomeFailed)
	}
	require.True(t, closed)
	require.NoError(t, j.failure)
	require.Zero(t, j.durable)
	require.Zero(t, w.memory.live)
}

func TestSlotKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch, slot := rapid.Int64Min(0).Draw(t, "epoch"), rapid.Uint64().Draw(t, "slot")
		e, s, ok := ParseSlotKey("c", slotKey(ObjectName("c", epoch), slot))
		require.Equal(t, []any{epoch, slot, true}, []any{e, s, ok})
	})
	for _, key := range []string{"", "c/wal/", "c/data/0000000000000001", "c/wal/0000000000000001", "c/wal/1/2", "d/wal/0000000000000001/0000000000000002"} {
		_, _, ok := ParseSlotKey("c", key)
		require.False(t, ok, key)
	}
}

// Whatever the store does with creates, in whatever order, and whenever a recoverer comes: what the writer has
// acknowledged, before or after, is what the recoverer finds, but for what was given up; and no stream has a gap.
func TestNothingAcknowledgedIsLostToARecoverer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBucket(t)
		w := b.broker()
		j := w.createObject(tiny, textSummary{func() string { return "state" }})
		first, trimmed := uint64(0), 0
		var r *broker
		var got *recovered
		for range rapid.IntRange(10, 120).Draw(rt, "steps") {
			switch rapid.IntRange(0, 7).Draw(rt, "step") {
			case 0, 1:
				n := rapid.IntRange(record.HeaderBytes, 4000).Draw(rt, "bytes")
				w.turn(func() { j.append(n) })
			case 2:
				w.pass(rapid.SampledFrom([]time.Duration{5 * time.Millisecond, 100 * time.Millisecond, time.Second}).Draw(rt, "pass"))
			case 3: // a commit was applied, and the slot that the next one carries is in the image
				if got != nil || trimmed >= j.durable || j.failure != nil {
					continue
				}
				trimmed = rapid.IntRange(trimmed+1, j.durable).Draw(rt, "trim")
				w.turn(func() {
					if trimmed < len(j.accepted) {
						j.log.Trim(min(j.accepted[trimmed].At, j.log.Durable()))
					} else {
						j.log.Trim(j.log.Durable())
					}
					first = j.log.LowestSlot()
					j.log.Recorded(first)
				})
			case 4:
				if got == nil && rapid.Bool().Draw(rt, "recover") {
					r = b.broker()
					got = r.beginRecovery(first)
				}
				if r != nil {
					r.pass(100 * time.Millisecond)
				}
			default:
				if len(b.pending) == 0 {
					continue
				}
				b.strike(rt, rapid.IntRange(0, len(b.pending)-1).Draw(rt, "operation"))
			}
		}
		if got == nil {
			r = b.broker()
			got = r.beginRecovery(first)
		}
		b.settle(w, r)
		require.NoError(rt, got.err)
		require.NotNil(rt, got.sealed)
		found := map[string]bool{}
		for _, e := range got.entries {
			found[string(e.Batch)] = true
		}
		for i := trimmed; i < j.durable; i++ {
			require.True(rt, found[string(want(j.accepted[i]))], "batch %d was acknowledged, %d trimmed, and is not found from slot %d", i, trimmed, first)
		}
		wantOrdered(rt, j, got.entries)
		got.sealed.Close()
		require.Zero(rt, r.memory.live)
	})
}

// wantOrdered requires that the entries of each stream are batches that were appended, in order and without a gap.
func wantOrdered(t require.TestingT, j *journal, entries []Entry) {
	next := map[uint64]int{}
	for _, e := range entries {
		i := slices.IndexFunc(j.accepted, func(a *Append) bool {
			return a.Stream == e.Stream && a.BaseOffset == e.BaseOffset
		})
		require.GreaterOrEqual(t, i, 0)
		require.True(t, bytes.Equal(want(j.accepted[i]), e.Batch))
		if expected, known := next[e.Stream]; known {
			require.Equal(t, expected, i, "stream %d", e.Stream)
		}
		next[e.Stream] = i + 5 // the journal's streams go round
	}
}

// strike ends an operation in one of the ways in which a store may end it.
func (b *bucket) strike(t *rapid.T, i int) {
	put, compute := b.pending[i].what[:3] == "put", b.pending[i].what == "compute"
	switch fate := rapid.IntRange(0, 5).Draw(t, "fate"); {
	case compute:
		b.finish(i)
	case fate == 0:
		b.finishAs(i, false, env.OutcomeFailed)
	case fate == 1 && put:
		b.finishAs(i, true, env.OutcomeUnknown)
	case fate == 2 && put: // its effect comes later, when nobody waits for it
		op := *b.pending[i]
		op.event, op.end = event(func() {}), func(env.Outcome) {}
		b.finishAs(i, false, env.OutcomeUnknown)
		b.pending = append(b.pending, &op)
	default:
		b.finish(i)
	}
}
