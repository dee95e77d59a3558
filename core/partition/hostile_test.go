package partition

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weir/core/record"

	"github.com/stretchr/testify/require"
)

// hostile sends to a partition whatever clients, strangers and coordinators could, with numbers near their ends.
type hostile struct {
	*rig
	draw    *rand.Rand
	answers map[*Append]int
	guards  []Verification
	stable  int64
}

func pick[T any](h *hostile, of ...T) T { return of[h.draw.IntN(len(of))] }

func (h *hostile) epoch() int16 { return pick[int16](h, 0, 0, 1, 1, 2, math.MaxInt16-1, math.MaxInt16) }

func (h *hostile) step() {
	producer := h.draw.Int64N(5)
	switch h.draw.IntN(12) {
	case 0:
		h.log.room = pick(h, 0, 1, 2, -1)
		h.manager.space()
	case 1:
		h.clock.now = h.clock.now.Add(pick(h, time.Second, 40*time.Second, 31*time.Minute))
		h.loop.Turn(nil)
		h.manager.housekeeping()
	case 2, 3:
		h.durableTo(h.log.hw + h.draw.Int64N(h.log.at-h.log.hw+1))
	case 4, 5, 6:
		h.mark(producer)
	default:
		h.batch(producer)
	}
}

func (h *hostile) batch(producer int64) {
	sequence := pick[int32](h, 0, 1, 2, math.MaxInt32, math.MaxInt32-1)
	if known := h.p.state.find(producer); known != nil && h.draw.IntN(3) > 0 {
		sequence = known.appended.nextSequence()
	}
	a := h.transactional(producer, h.epoch(), sequence, 1+h.draw.IntN(2))
	a.Origin = pick(h, OriginClient, OriginClient, OriginCoordinator)
	if known := h.p.state.find(producer); known != nil && h.draw.IntN(2) > 0 {
		a.Header.ProducerEpoch = known.appended.epoch
	}
	b := record.Builder{ProducerID: producer, ProducerEpoch: a.Header.ProducerEpoch, BaseSequence: sequence, Transactional: h.draw.IntN(4) > 0}
	a.Data = b.AppendBatch(nil, make([]record.Record, a.Header.Records))
	a.Header, _ = record.ReadHeader(a.Data)
	a.Facts.MaxTimestamp = a.Header.MaxTimestamp
	if a.Header.Transactional() {
		h.guards = append(h.guards, h.verify(a))
		a.Verification = h.guards[len(h.guards)-1-h.draw.IntN(min(2, len(h.guards)))]
		if h.draw.IntN(2) > 0 {
			h.p.Answered(producer, h.guards[len(h.guards)-1], h.draw.IntN(2) > 0)
		}
	}
	h.send(a)
}

func (h *hostile) verify(a *Append) Verification {
	if a.Origin == OriginCoordinator {
		return h.p.VerifyWrite(a.Header.ProducerID, a.Header.ProducerEpoch)
	}
	guard, _ := h.p.Verify(&a.Header, h.draw.IntN(2) == 0)
	return guard
}

func (h *hostile) send(a *Append) {
	h.answers[a] = 0
	a.Done = func(a *Append) { h.answers[a]++ }
	h.p.Append(a)
}

func (h *hostile) mark(producer int64) {
	e := EndTransaction{
		ProducerID: producer, ProducerEpoch: h.epoch(), TransactionVersion: pick[int8](h, 0, 1, 2, 3), Deadline: h.clock.now.Add(30 * time.Second),
		Marker: record.Marker{Commit: h.draw.IntN(2) == 0, CoordinatorEpoch: pick[int32](h, math.MinInt32, -1, 0, 0, 1, 1, math.MaxInt32)},
	}
	if known := h.p.state.find(producer); known != nil && h.draw.IntN(2) > 0 {
		e.ProducerEpoch = known.appended.epoch
	}
	key := &Append{}
	h.answers[key] = 0
	h.p.End(e, func(*Append) { h.answers[key]++ })
}

// durableTo makes durable what ends at or below an offset.
func (h *hostile) durableTo(upTo int64) {
	end := int64(0)
	for i := range h.log.taken {
		next := end + int64(h.log.taken[i].Offsets)
		if next > upTo {
			break
		}
		end = next
	}
	if end > h.log.hw {
		h.log.durable(end)
	}
}

// check compares the state with the log.
func (h *hostile) check() {
	stable := h.log.hw
	for _, from := range h.undecided() {
		stable = min(stable, from)
	}
	require.Equal(h.t, stable, h.p.LastStable())
	require.GreaterOrEqual(h.t, stable, h.stable)
	h.stable = stable
	require.LessOrEqual(h.t, h.p.state.Producers(), h.manager.producers.max)
	checkpoint := h.p.Checkpoint(nil)
	again, err := LoadState(checkpoint, h.log.hw, 0)
	require.NoError(h.t, err)
	require.Equal(h.t, checkpoint, again.AppendCheckpoint(nil))
	fresh, err := LoadState(nil, 0, 0)
	require.NoError(h.t, err)
	for _, s := range []*State{fresh, again} {
		h.eachFrom(s.end, func(header *record.Header, b []byte) { require.NoError(h.t, s.Replay(header, b, h.clock.now)) })
		require.NoError(h.t, s.agrees(h.p.Summary(nil)))
	}
}

// undecided are the producers with a transaction that has no durable marker, and where each begins.
func (h *hostile) undecided() map[int64]int64 {
	first := map[int64]int64{}
	h.eachFrom(0, func(header *record.Header, _ []byte) {
		_, open := first[header.ProducerID]
		switch {
		case header.BaseOffset >= h.log.hw:
		case header.Control():
			delete(first, header.ProducerID)
		case header.Transactional() && !open:
			first[header.ProducerID] = header.BaseOffset
		}
	})
	return first
}

// eachFrom calls f for each batch of the log from an offset on.
func (h *hostile) eachFrom(offset int64, f func(*record.Header, []byte)) {
	at := int64(0)
	for i := range h.log.taken {
		header, err := record.ReadHeader(h.log.taken[i].Data)
		require.NoError(h.t, err)
		header.BaseOffset = at
		if at >= offset {
			f(&header, h.log.taken[i].Data)
		}
		at = header.NextOffset()
	}
}

// Whatever is sent, the last stable offset follows from the log alone and never goes back, the state keeps to its bound, its
// checkpoint loads, who replays the log agrees with it, and everything is answered once.
func TestHostileClientsLeaveAStateThatTheLogSays(t *testing.T) {
	for seed := range uint64(200) {
		h := &hostile{rig: newRig(t), draw: rand.New(rand.NewPCG(seed, 1)), answers: map[*Append]int{}}
		h.manager.producers.max = 3
		for range 150 {
			h.step()
			h.check()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		h.log.room = -1
		h.manager.space()
		h.durableTo(math.MaxInt64)
		h.check()
		for a, n := range h.answers {
			require.Equal(t, 1, n, "seed %d: %+v", seed, a.Header)
		}
		require.Empty(t, h.p.duplicates)
	}
}
