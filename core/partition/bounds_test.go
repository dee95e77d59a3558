package partition

import (
	"math"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// write appends what a coordinator stages in a transaction.
func (r *rig) write(producer int64, epoch int16) *Append {
	a := r.transactional(producer, epoch, 0, 1)
	a.Origin, a.Verification = OriginCoordinator, r.p.VerifyWrite(producer, epoch)
	r.p.Append(a)
	return a
}

// Coordinators append for whoever has a transaction. The partition still knows at most so many producers, or its
// checkpoint would fit no record.
func TestCoordinatorsWritesKeepToTheBoundOfProducers(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 3
	for i := range int64(3) {
		r.write(i, 0)
	}
	r.want(r.write(3, 0), wire.PolicyViolation, -1)
	r.durable()
	r.want(r.write(3, 0), wire.PolicyViolation, -1)
	r.end(1, 1, commit(0), 2)
	r.want(r.write(3, 0), wire.PolicyViolation, -1) // the marker is not durable
	r.durable()
	a := r.write(3, 0)
	r.durable()
	r.want(a, wire.None, 4)
	require.Equal(t, 3, r.p.state.Producers())
	require.Nil(t, r.p.state.find(1), "its transaction was over")
}

// A marker that finds no room for its producer is not appended. It still ends the transaction: what of it comes later is refused,
// or it would be open for ever.
func TestAMarkerWithoutRoomEndsWhatIsUnderWay(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 1
	r.write(1, 0)
	late := r.transactional(2, 0, 0, 1)
	late.Origin, late.Verification = OriginCoordinator, r.p.VerifyWrite(2, 0)
	r.end(2, 1, commit(0), 2)
	r.durable()
	r.end(1, 1, commit(0), 2)
	r.durable()
	r.p.Append(late)
	r.want(late, wire.InvalidTxnState, -1)
}

// Anybody can make up producer ids. What a coordinator has agreed to, or is asked about, is not pushed out by them, whether
// they are refused or wait.
func TestStrangersPushOutNoVerification(t *testing.T) {
	r := newRig(t)
	r.manager.producers.max = 5
	ask := func(producer int64) *Append {
		a := r.transactional(producer, 0, 0, 1)
		a.Verification, _ = r.p.Verify(&a.Header, true)
		return a
	}
	agree := func(a *Append) { r.p.Answered(a.Header.ProducerID, a.Verification, true) }
	agreed, written, waiting := ask(1), ask(2), ask(3)
	agree(agreed)
	agree(written)
	stranger := ask(3) // with the id of somebody
	r.p.Answered(3, stranger.Verification, false)
	for id := range int64(20) {
		a := ask(100 + id)
		r.p.Answered(100+id, a.Verification, false)
	}
	agree(waiting)
	for id := range int64(20) {
		ask(200 + id)
	}
	require.Len(t, r.p.verified.all, r.manager.producers.max)
	for _, a := range []*Append{agreed, written, waiting} {
		r.p.Append(a)
	}
	r.durable()
	for i, a := range []*Append{agreed, written, waiting} {
		r.want(a, wire.None, int64(i))
	}
}

// A marker that is given up comes again. It has no sequence, for which the batches behind it would wait for ever.
func TestAMarkerThatTimedOutLeavesNoGap(t *testing.T) {
	r := newRig(t)
	r.log.room = 0
	late := &Append{}
	r.p.End(EndTransaction{ProducerID: 7, ProducerEpoch: 1, Marker: commit(0), TransactionVersion: 2, Deadline: 1}, func(a *Append) { late = a })
	r.clock.now = env.Time(time.Second)
	r.loop.Turn(nil)
	require.EqualValues(t, wire.RequestTimedOut, late.Code)
	r.log.room = -1
	r.manager.space()
	r.end(7, 1, commit(0), 2)
	next := r.open(7, 1, 0, 1)
	r.durable()
	r.want(next, wire.None, 1)
}

// A producer of the first generation goes on with its sequences from one transaction to the next, whether it is known here or
// was forgotten.
func TestVerificationsKeepTheOrderOfSequencesThatWrap(t *testing.T) {
	for _, known := range []bool{true, false} {
		r := newRig(t)
		if known {
			r.send(7, 0, math.MaxInt32-1, 1)
		}
		at := r.log.at
		last, first := r.transactional(7, 0, math.MaxInt32, 1), r.transactional(7, 0, 0, 1)
		for _, a := range []*Append{last, first} {
			a.Verification, _ = r.p.Verify(&a.Header, false)
		}
		r.p.Append(first)
		r.want(first, wire.OutOfOrderSequence, -1)
		r.p.Append(last)
		again := r.open(7, 0, 0, 1)
		r.durable()
		r.want(last, wire.None, at)
		r.want(again, wire.None, at+1)
	}
}

// A fetch adds up what became readable on its partitions.
func TestBytesOfManyWatchesCanBeAdded(t *testing.T) {
	before := newRig(t)
	before.open(7, 0, 0, 1)
	before.durable()
	sum := int64(0)
	for range 4 {
		r := newRig(t)
		state, err := LoadState(before.p.Checkpoint(nil), before.p.state.end, 0)
		require.NoError(t, err)
		r.p.state, r.log.at, r.log.hw = state, state.end, state.end
		w := Watch{Moved: func() {}}
		r.p.Watch(&w, ReadCommitted)
		r.end(7, 0, commit(0), 0)
		r.durable()
		sum += w.Bytes()
		require.Positive(t, w.Bytes())
		require.GreaterOrEqual(t, sum, w.Bytes())
	}
}

// Whatever a state holds, its checkpoint loads, and says the same again. A clock may begin at zero, and a producer may
// write the largest timestamp there is.
func TestACheckpointOfEveryBoundLoads(t *testing.T) {
	times := []int64{math.MinInt64 + 1, -2, -1, 0, 1, wallZero, math.MaxInt64}
	for i := range 2 {
		wantBoundsLoad(t, times, func() bool { return i == 1 })
	}
}

func wantBoundsLoad(t *testing.T, times []int64, dense func() bool) {
	for _, end := range []int64{1, 1 << 31, math.MaxInt64} {
		for i, newest := range times[2:] {
			s := &State{end: end, maxTimestamp: newest, dense: dense}
			for i, w := range windowsAtBounds(end, times[:i+3]) {
				s.producers = append(s.producers, &producer{id: int64(i), durable: w})
			}
			s.producers[len(s.producers)-1].id = math.MaxInt64
			again, err := loadState(s.AppendCheckpoint(nil), end, 0, dense)
			require.NoError(t, err, "end %d, max timestamp %d", end, newest)
			require.Equal(t, s.AppendCheckpoint(nil), again.AppendCheckpoint(nil))
			for i, p := range s.producers {
				require.Equal(t, p.durable, again.producers[i].durable, "end %d, max timestamp %d", end, newest)
			}
		}
	}
}

func windowsAtBounds(end int64, times []int64) (all []window) {
	for _, millis := range times {
		for _, epoch := range []int16{0, math.MaxInt16} {
			for _, coordinator := range []int32{noCoordinator, 0, math.MaxInt32} {
				for _, from := range []int64{noTransaction, 0, end - 1} {
					w := window{epoch: epoch, coordinator: coordinator, openFrom: from, marked: millis}
					all = append(all, w)
					for _, sequence := range []int32{0, math.MaxInt32} {
						w.batches[w.n] = sequenceRange{base: sequence, delta: sequence, offset: (end - 1) * int64(w.n), timestamp: millis}
						w.n++
						all = append(all, w)
					}
				}
			}
		}
	}
	return all
}

// Who closes a topic to producers by its max.message.bytes does not hang the transactions that are open there.
func TestAMarkerIsWrittenWhateverSizeBatchesMayHave(t *testing.T) {
	r := newRig(t)
	r.open(7, 0, 0, 1)
	r.p.topic.config.MaxMessageBytes = 0
	r.want(r.open(7, 0, 1, 1), wire.MessageTooLarge, -1)
	a := r.end(7, 0, commit(0), 0)
	r.durable()
	r.want(a, wire.None, 1)
	require.EqualValues(t, 2, r.p.LastStable())
}
