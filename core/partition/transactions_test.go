package partition

import (
	"math"
	"testing"
	"time"

	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// open appends a transactional batch of n records whose transaction its coordinator knows.
func (r *rig) open(producer int64, epoch int16, sequence int32, n int) *Append {
	a := r.transactional(producer, epoch, sequence, n)
	a.Verification, _ = r.p.Verify(&a.Header, false)
	r.p.Append(a)
	return a
}

func (r *rig) transactional(producer int64, epoch int16, sequence int32, n int) *Append {
	b := record.Builder{ProducerID: producer, ProducerEpoch: epoch, BaseSequence: sequence, Transactional: true}
	records := make([]record.Record, n)
	for i := range records {
		records[i].Timestamp = wallZero
	}
	data := b.AppendBatch(nil, records)
	h, err := record.Check(data)
	require.NoError(r.t, err)
	return &Append{
		Header: h, Data: data, Done: r.appended, Release: func() {}, Deadline: r.clock.now.Add(30 * time.Second),
		Facts: record.Facts{MinTimestamp: wallZero, MaxTimestamp: wallZero, Keyless: -1},
	}
}

func (r *rig) end(producer int64, epoch int16, m record.Marker, version int8) *Append {
	var got *Append
	waits := len(r.p.duplicates)
	r.p.End(EndTransaction{
		ProducerID: producer, ProducerEpoch: epoch, Marker: m, TransactionVersion: version, Deadline: r.clock.now.Add(30 * time.Second),
	}, func(a *Append) { got = a; r.appended(a) })
	switch {
	case got != nil:
		return got
	case len(r.p.duplicates) > waits:
		return r.p.duplicates[waits]
	}
	for a := range r.p.acks.All() {
		got = a
	}
	return got
}

func (r *rig) durable() { r.log.durable(r.log.at) }

func commit(coordinator int32) record.Marker {
	return record.Marker{Commit: true, CoordinatorEpoch: coordinator}
}

func TestTheLastStableOffsetIsTheFirstOfAnOpenTransaction(t *testing.T) {
	r := newRig(t)
	r.send(1, 0, 0, 3)
	require.EqualValues(t, 0, r.p.LastStable(), "nothing is durable")
	r.durable()
	require.EqualValues(t, 3, r.p.LastStable())
	r.open(7, 0, 0, 2)
	require.EqualValues(t, 3, r.p.LastStable())
	r.open(8, 0, 0, 2)
	r.send(1, 0, 3, 1)
	r.durable()
	require.EqualValues(t, 3, r.p.LastStable(), "the transaction of 7 is open")
	r.end(7, 0, commit(1), 0)
	require.EqualValues(t, 3, r.p.LastStable(), "its marker is not durable")
	r.durable()
	require.EqualValues(t, 5, r.p.LastStable(), "the transaction of 8 is open")
	r.end(8, 0, record.Marker{CoordinatorEpoch: 1}, 0)
	r.durable()
	require.EqualValues(t, 10, r.p.LastStable())
}

// DeleteRecords may delete the start of an open transaction.
func TestTheLastStableOffsetIsNotBelowTheLogStart(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 5)
	r.send(1, 0, 0, 3)
	r.durable()
	r.log.start = 4
	require.EqualValues(t, 4, r.p.LastStable())
	r.log.start = 8
	require.EqualValues(t, 8, r.p.LastStable())
}

func TestBatchesOfATransactionThatIsNotOpenAreRefused(t *testing.T) {
	r := newRig(t)
	a := r.transactional(7, 0, 0, 1)
	r.p.Append(a)
	r.want(a, wire.InvalidTxnState, -1)

	a = r.transactional(7, 0, 0, 1)
	guard, ask := r.p.Verify(&a.Header, false)
	require.True(t, ask)
	second := r.transactional(7, 0, 1, 1)
	same, ask := r.p.Verify(&second.Header, false)
	require.True(t, ask)
	require.Equal(t, guard, same, "one transaction, one guard")
	a.Verification, second.Verification = guard, guard
	r.p.Append(a)
	_, ask = r.p.Verify(&second.Header, false)
	require.False(t, ask, "the transaction is open")
	second.Verification = 0
	r.p.Append(second)
	r.durable()
	r.want(a, wire.None, 0)
	r.want(second, wire.None, 1)
}

// A marker between the coordinator's answer and the append: the batch would be in no transaction, and the last stable
// offset would stay there for ever (KAFKA-14884).
func TestAMarkerVoidsAVerification(t *testing.T) {
	for name, again := range map[string]bool{"alone": false, "with the question asked again": true} {
		r := newRig(t)
		a := r.transactional(7, 0, 0, 1)
		a.Verification, _ = r.p.Verify(&a.Header, false)
		r.end(7, 0, record.Marker{}, 0)
		if again {
			fresh, ask := r.p.Verify(&a.Header, false)
			require.True(t, ask)
			require.NotEqual(t, a.Verification, fresh)
		}
		r.p.Append(a)
		r.want(a, wire.InvalidTxnState, -1)
		r.durable()
		require.EqualValues(t, 1, r.p.LastStable(), name)
	}
}

// The next transaction may be asked about before the marker of the one before it is written, and its coordinator says yes
// once it is. In the second generation its epoch tells it from what the marker ends.
func TestAMarkerVoidsNoVerificationOfALaterTransaction(t *testing.T) {
	for _, origin := range []Origin{OriginClient, OriginCoordinator} {
		r := newRig(t)
		r.open(7, 3, 0, 1)
		next, ask := r.transactional(7, 4, 0, 1), true
		if next.Origin = origin; origin == OriginClient {
			next.Verification, ask = r.p.Verify(&next.Header, true)
		} else {
			next.Verification = r.p.VerifyWrite(7, 4)
		}
		require.True(t, ask)
		r.end(7, 4, commit(0), 2)
		r.p.Append(next)
		r.durable()
		r.want(next, wire.None, 2)
		require.EqualValues(t, 2, r.p.LastStable())

		late := r.transactional(7, 4, 1, 1)
		late.Origin, late.Verification = origin, next.Verification
		r.end(7, 5, commit(0), 2)
		r.p.Append(late)
		r.want(late, wire.InvalidTxnState, -1)
	}
}

// The first batch waits for its verification or failed it; what comes behind must not take its place.
func TestTheLowestSequenceThatWaitsGoesFirst(t *testing.T) {
	r := newRig(t)
	first, second := r.transactional(7, 0, 0, 2), r.transactional(7, 0, 2, 2)
	_, _ = r.p.Verify(&first.Header, false)
	second.Verification, _ = r.p.Verify(&second.Header, false)
	r.p.Append(second)
	r.want(second, wire.OutOfOrderSequence, -1)
	first.Verification, _ = r.p.Verify(&first.Header, false)
	r.p.Append(first)
	second = r.transactional(7, 0, 2, 2)
	r.p.Append(second)
	r.durable()
	r.want(first, wire.None, 0)
	r.want(second, wire.None, 2)
}

// A batch that arrives again after the end of its transaction, of the first generation, must not hold up the next.
func TestABatchThatComesTooLateHoldsNobodyUp(t *testing.T) {
	for name, sequence := range map[string]int32{"a duplicate": 4, "one that is forgotten": 0, "one of a wrapped sequence": math.MaxInt32} {
		r := newRig(t)
		r.open(7, 0, 2, 1)
		r.open(7, 0, 3, 1)
		r.open(7, 0, 4, 2)
		r.end(7, 0, commit(0), 0)
		r.durable()
		late := r.transactional(7, 0, sequence, 2)
		_, ask := r.p.Verify(&late.Header, false)
		require.Equal(t, sequence != 4, ask, name)
		r.p.Append(late)
		if sequence == 4 {
			r.want(late, wire.None, 2)
		} else {
			r.want(late, wire.InvalidTxnState, -1)
		}
		a := r.open(7, 0, 6, 1)
		r.durable()
		r.want(a, wire.None, 5)
	}
}

func TestAProducerOfTheSecondGenerationBeginsAtZero(t *testing.T) {
	for bumps, want := range map[bool]wire.Code{true: wire.OutOfOrderSequence, false: wire.None} {
		r := newRig(t)
		a := r.transactional(7, 0, 5, 1)
		a.Verification, _ = r.p.Verify(&a.Header, bumps)
		r.p.Append(a)
		r.durable()
		require.Equal(t, want, a.Code, bumps)
	}
}

// What a coordinator stages in a transaction is verified likewise.
func TestACoordinatorsWriteAfterTheMarkerIsRefused(t *testing.T) {
	r := newRig(t)
	write := func(guard Verification) *Append {
		a := r.transactional(7, 0, 0, 1)
		a.Origin, a.Verification = OriginCoordinator, guard
		r.p.Append(a)
		return a
	}
	r.want(write(0), wire.InvalidTxnState, -1)
	first, second := write(r.p.VerifyWrite(7, 0)), write(r.p.VerifyWrite(7, 0))
	guard := r.p.VerifyWrite(7, 0)
	r.end(7, 0, commit(0), 0)
	r.want(write(guard), wire.InvalidTxnState, -1)
	guard = r.p.VerifyWrite(7, 0)
	r.end(7, 0, commit(0), 0)
	r.want(write(guard), wire.InvalidTxnState, -1)
	r.durable()
	r.want(first, wire.None, 0)
	r.want(second, wire.None, 1)
	require.EqualValues(t, 4, r.p.LastStable())
}

func TestAPlainBatchInATransactionIsRefused(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 1)
	r.want(r.send(7, 0, 1, 1), wire.InvalidTxnState, -1)
	r.end(7, 0, commit(0), 0)
	a := r.send(7, 0, 1, 1)
	r.durable()
	r.want(a, wire.None, 2)
}

func TestSequencesAfterAMarker(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 3)
	r.end(7, 0, commit(0), 0)
	r.want(r.open(7, 0, 4, 2), wire.OutOfOrderSequence, -1)
	a := r.open(7, 0, 3, 2) // the first generation goes on
	r.end(7, 1, commit(0), 2)
	r.want(r.open(7, 0, 5, 1), wire.InvalidProducerEpoch, -1)
	r.want(r.open(7, 1, 5, 1), wire.OutOfOrderSequence, -1)
	b := r.open(7, 1, 0, 1) // the second begins anew
	r.durable()
	r.want(a, wire.None, 4)
	r.want(b, wire.None, 7)
}

func TestMarkersOutOfDateAreRefused(t *testing.T) {
	r := newRig(t)
	r.open(7, 3, 0, 1)
	r.want(r.end(7, 2, commit(5), 0), wire.InvalidProducerEpoch, -1)
	r.want(r.end(7, 3, commit(5), 2), wire.InvalidProducerEpoch, -1)
	r.durable()
	require.EqualValues(t, 0, r.p.LastStable())
	r.end(7, 4, commit(5), 2)
	r.want(r.end(7, 4, commit(4), 2), wire.TransactionCoordinatorFenced, -1)
	r.want(r.end(7, 3, commit(5), 2), wire.InvalidProducerEpoch, -1)
	r.durable()
	require.EqualValues(t, 2, r.p.LastStable())
}

// The answer to a marker was lost, or its coordinator moved: the marker comes again (KAFKA-19999).
func TestAMarkerThatComesAgainEndsNothing(t *testing.T) {
	r := newRig(t)
	r.open(7, 3, 0, 1)
	first := r.end(7, 4, commit(5), 2)
	second := r.end(7, 4, commit(6), 2)
	require.False(t, r.answered(second), "the first is not durable")
	r.want(r.end(7, 4, commit(4), 2), wire.TransactionCoordinatorFenced, -1)
	r.durable()
	r.want(first, wire.None, 1)
	r.want(second, wire.None, 1)
	require.EqualValues(t, 2, r.log.at, "it is written once")
	require.EqualValues(t, 2, r.p.LastStable())
	r.open(7, 4, 0, 1)
	r.want(r.end(7, 4, commit(6), 2), wire.InvalidProducerEpoch, -1)
	r.durable()
	require.EqualValues(t, 2, r.p.LastStable(), "the next transaction is untouched")
	r.end(7, 4, commit(6), 0)
	a := r.end(7, 4, commit(6), 0)
	r.durable()
	r.want(a, wire.None, 4) // of the first generation, which cannot tell
}

// A client may send markers of any numbers. What is appended can be loaded again.
func TestMarkersOfAnyNumbersLeaveAStateThatLoads(t *testing.T) {
	r := newRig(t)
	numbers := []int64{math.MinInt64, math.MinInt32, math.MinInt16, -2, -1, 0, 1, math.MaxInt16, math.MaxInt32, math.MaxInt64}
	for _, id := range numbers {
		for _, epoch := range numbers {
			for _, coordinator := range numbers {
				for _, version := range []int8{0, 2} {
					r.end(id, int16(epoch), commit(int32(coordinator)), version)
				}
			}
		}
		r.durable()
		_, err := LoadState(r.p.state.AppendCheckpoint(nil), r.log.at, 0)
		require.NoError(t, err, "after markers of producer %d", id)
	}
	r.want(r.end(9, 0, commit(-2), 0), wire.TransactionCoordinatorFenced, -1)
}

// Earlier releases took any epoch of a coordinator. A checkpoint made of what they logged must load.
func TestARecoveredMarkerOfANegativeCoordinatorEpoch(t *testing.T) {
	for _, epoch := range []int32{math.MinInt32, -2, -1} {
		state, err := LoadState(nil, 0, 0)
		require.NoError(t, err)
		batch := record.AppendMarker(nil, 7, 3, commit(epoch), wallZero)
		h, err := record.Check(batch)
		require.NoError(t, err)
		require.NoError(t, state.Replay(&h, batch, 0))
		_, err = LoadState(state.AppendCheckpoint(nil), h.NextOffset(), 0)
		require.NoError(t, err, "coordinator epoch %d", epoch)
	}
}

func TestAMarkerForAnUnknownProducer(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 1
	a := r.end(7, 3, commit(5), 2)
	b := r.end(8, 3, commit(5), 2)
	r.durable()
	r.want(a, wire.None, 0)
	r.want(b, wire.None, 0)
	require.EqualValues(t, 1, r.log.at, "there is no room to remember 8, and nothing of it to end")
	require.Equal(t, []ProducerInfo{{ID: 7, Epoch: 3, LastSequence: -1, LastTimestamp: wallZero, CoordinatorEpoch: 5, OpenFrom: -1}}, r.p.Producers())
}

func TestProducersWithAnOpenTransactionDoNotExpire(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 1)
	r.send(8, 0, 0, 1)
	r.durable()
	r.clock.now = r.clock.now.Add(2 * time.Hour)
	r.manager.housekeeping()
	require.Equal(t, []ProducerInfo{{ID: 7, LastTimestamp: wallZero, CoordinatorEpoch: -1, OpenFrom: 0}}, r.p.Producers())
	r.end(7, 0, commit(0), 0)
	r.durable()
	r.clock.now = r.clock.now.Add(2 * time.Hour)
	r.manager.housekeeping()
	require.Empty(t, r.p.Producers())
}

func TestATransactionThatHangsIsCounted(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 1)
	r.open(8, 0, 0, 1)
	r.durable()
	r.clock.now = r.clock.now.Add(19 * time.Minute)
	r.open(8, 0, 1, 1)
	r.durable()
	require.Zero(t, r.p.lateTransactions(r.clock.now))
	r.clock.now = r.clock.now.Add(2 * time.Minute)
	require.Equal(t, 1, r.p.lateTransactions(r.clock.now))
	r.end(7, 0, commit(0), 0)
	require.Zero(t, r.p.lateTransactions(r.clock.now))
}

func TestVerificationsAreBoundedAndExpire(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 3
	var first *Append
	for i := range int64(5) {
		a := r.transactional(10-i, 0, 0, 1)
		a.Verification, _ = r.p.Verify(&a.Header, false)
		if first == nil {
			first = a
		}
	}
	require.Len(t, r.p.verified.all, 3)
	r.p.Append(first)
	r.want(first, wire.InvalidTxnState, -1)
	r.clock.now = r.clock.now.Add(2 * time.Hour)
	r.manager.housekeeping()
	require.Empty(t, r.p.verified.all)
}

// A checkpoint has what is open as of the high watermark, a summary what is open as of the end.
func TestCheckpointsAndSummariesHaveOpenTransactions(t *testing.T) {
	r := newRig(t)
	r.send(1, 0, 0, 1)
	r.open(7, 0, 0, 1)
	r.open(8, 0, 0, 1)
	r.durable()
	r.end(7, 1, commit(4), 2)
	r.open(9, 0, 0, 1)
	check := func(bytes []byte, end int64, open ...int64) {
		s, err := LoadState(bytes, end, 0)
		require.NoError(t, err)
		var firsts []int64
		for _, o := range s.open {
			firsts = append(firsts, o.first)
		}
		require.Equal(t, open, firsts)
	}
	check(r.p.Checkpoint(nil), 3, 1, 2)
	check(r.p.Summary(nil), 5, 2, 4)
	replayed, err := LoadState(r.p.Checkpoint(nil), 3, 0)
	require.NoError(t, err)
	for i := range r.log.taken[3:] {
		batch := r.log.taken[3+i].Data
		record.Patch(batch, int64(3+i), 0)
		h, err := record.ReadHeader(batch)
		require.NoError(t, err)
		require.NoError(t, replayed.Replay(&h, batch, 0))
	}
	require.NoError(t, replayed.agrees(r.p.Summary(nil)))
	r.durable()
	require.Equal(t, r.p.Checkpoint(nil), replayed.AppendCheckpoint(nil))
}

// Readers of committed records wait for bytes below the last stable offset.
func TestWatchersCountWhatTheirIsolationLetsSee(t *testing.T) {
	r := newRig(t)
	var committed, all Watch
	committed.Moved, all.Moved = func() {}, func() {}
	r.p.Watch(&committed, ReadCommitted)
	r.p.Watch(&all, ReadUncommitted)
	plain := int64(r.send(1, 0, 0, 1).Header.Bytes)
	r.durable()
	require.Equal(t, []int64{plain, plain}, []int64{committed.Bytes(), all.Bytes()})
	opened := int64(r.open(7, 0, 0, 4).Header.Bytes)
	r.send(1, 0, 1, 1)
	r.durable()
	require.Equal(t, []int64{plain, 2*plain + opened}, []int64{committed.Bytes(), all.Bytes()})
	marker := int64(r.end(7, 0, commit(0), 0).Header.Bytes)
	r.durable()
	require.Equal(t, []int64{2*plain + opened + marker, 2*plain + opened + marker}, []int64{committed.Bytes(), all.Bytes()})
}

// Transactions that were open when the partition was taken over end one after the other: what lies between them is told of.
func TestWatchersHearOfTheEndOfOlderTransactions(t *testing.T) {
	before := newRig(t)
	before.open(7, 0, 0, 1)
	before.send(1, 0, 0, 3)
	before.open(8, 0, 0, 1)
	before.durable()
	r := newRig(t)
	state, err := LoadState(before.p.Checkpoint(nil), before.p.state.end, 0)
	require.NoError(t, err)
	r.p.state, r.log.at, r.log.hw = state, state.end, state.end
	w := Watch{Moved: func() {}}
	r.p.Watch(&w, ReadCommitted)
	r.end(7, 0, commit(0), 0)
	require.Zero(t, w.Bytes(), "the marker is not durable")
	r.durable()
	require.EqualValues(t, 4, r.p.LastStable())
	require.Positive(t, w.Bytes())
}

// The marker of a transaction was lost with a log that was given up (R16): the next transaction's outcome is not its own (I7).
func TestATransactionWhoseMarkerWasLostEndsBeforeTheNextOne(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 2)
	r.durable()
	a := r.open(7, 1, 0, 3)
	require.EqualValues(t, 3, a.BaseOffset, "behind the marker")
	r.durable()
	require.EqualValues(t, 3, r.p.LastStable(), "the first is over")
	require.EqualValues(t, 3, r.p.Producers()[0].OpenFrom)
	r.end(7, 2, commit(1), 2)
	r.durable()
	require.EqualValues(t, 7, r.p.LastStable())
	m, err := record.ReadMarker(r.log.taken[1].Data)
	require.NoError(t, err)
	require.Equal(t, record.Marker{CoordinatorEpoch: noCoordinator}, m)
}

func TestAForgottenTransactionWaitsForRoom(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 2)
	r.durable()
	var a *Append
	for room := range 2 { // for nothing, then for the marker
		r.log.room = room
		if room == 0 {
			a = r.open(7, 1, 0, 3)
		} else {
			r.p.pump()
		}
		require.EqualValues(t, 2+room, r.log.at)
	}
	r.log.room = -1
	r.p.pump()
	r.durable()
	require.EqualValues(t, 3, a.BaseOffset)
	require.EqualValues(t, 3, r.p.LastStable())
}
